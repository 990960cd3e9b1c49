//! `FILE`, `FILE[EXT]` and `FILE[EXT][PLANE]` on the command line.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{error::FitsError, read::FitsFile};

/// Which HDU of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HduSelector {
    /// By place, 0 for the primary HDU.
    Index(usize),
    /// By name without regard to case and, for names that occur several times, by EXTVER.
    Name(String, Option<i64>),
}

/// A file and perhaps one of its HDUs, as given on the command line.
///
/// A path that exists with brackets in its name wins over the bracket syntax. Without a selector the primary HDU is
/// meant if it has a two-dimensional image, else the first image extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitsSpec {
    /// The file.
    pub path: PathBuf,
    /// The HDU, if one was named.
    pub selector: Option<HduSelector>,
    /// The plane of a cube, from 0.
    pub plane: Option<usize>,
}

impl FitsSpec {
    /// Parses `FILE`, `FILE[NUMBER]`, `FILE[NAME]` or `FILE[NAME,EXTVER]`, the last three perhaps with `[PLANE]` after them; looks
    /// at the file system for the first.
    ///
    /// # Errors
    /// [`FitsError::Spec`] if the file or the extension is empty, EXTVER or PLANE is not a number, or the file is `-`.
    pub fn parse(argument: impl AsRef<OsStr>) -> Result<Self, FitsError> {
        let argument = argument.as_ref();
        let whole = Self { path: argument.into(), selector: None, plane: None };
        let error = || FitsError::Spec { text: argument.to_string_lossy().into_owned() };
        if argument.is_empty() || argument == "-" {
            return Err(error());
        }
        let brackets = argument.to_str().and_then(in_brackets);
        let Some((mut file, mut extension)) = brackets.filter(|_| !Path::new(argument).exists())
        else {
            return Ok(whole);
        };
        let mut plane = None;
        if let Some((cube, of_cube)) = in_brackets(file).filter(|_| !Path::new(file).exists()) {
            plane = Some(extension.trim().parse().map_err(|_| error())?);
            (file, extension) = (cube, of_cube);
        }
        let extension = extension.trim();
        if file.is_empty() || extension.is_empty() {
            return Err(error());
        }
        let selector = match (extension.parse(), extension.split_once(',')) {
            (Ok(index), _) => HduSelector::Index(index),
            (_, Some((name, version))) => HduSelector::Name(
                name.trim().to_owned(),
                Some(version.trim().parse().map_err(|_| error())?),
            ),
            _ => HduSelector::Name(extension.to_owned(), None),
        };
        Ok(Self { path: file.into(), selector: Some(selector), plane })
    }

    /// Opens the file and finds the HDU; returns both, the HDU by its index.
    ///
    /// # Errors
    /// Those of [`FitsFile::open`]; [`FitsError::NoSuchHdu`]; [`FitsError::NoImage`]; [`FitsError::NoSuchPlane`].
    pub fn open_selected(&self) -> Result<(FitsFile, usize), FitsError> {
        let mut file = FitsFile::open(&self.path)?;
        let index = match &self.selector {
            None => file.hdus().iter().position(|hdu| hdu.shape().is_some()),
            Some(HduSelector::Index(index)) => {
                Some(*index).filter(|&index| index < file.hdus().len())
            }
            Some(HduSelector::Name(name, version)) => file.hdus().iter().position(|hdu| {
                hdu.name().is_some_and(|found| found.eq_ignore_ascii_case(name))
                    && version
                        .is_none_or(|version| version == hdu.header.get_i64("EXTVER").unwrap_or(1))
            }),
        };
        if let Some(index) = index {
            if let Some(plane) = self.plane {
                file.select_plane(index, plane)?;
            }
            return Ok((file, index));
        }
        let (path, available) = (self.path.clone(), file.describe());
        Err(match &self.selector {
            None => FitsError::NoImage { path, available },
            Some(selector) => {
                FitsError::NoSuchHdu { path, wanted: selector.to_string(), available }
            }
        })
    }
}

/// `text[inner]` as (text, inner).
fn in_brackets(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix(']')?.rsplit_once('[')
}

impl FromStr for FitsSpec {
    type Err = FitsError;

    fn from_str(argument: &str) -> Result<Self, FitsError> {
        Self::parse(argument)
    }
}

impl std::fmt::Display for HduSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name, None) => f.write_str(name),
            Self::Name(name, Some(version)) => write!(f, "{name},{version}"),
        }
    }
}

impl std::fmt::Display for FitsSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.selector.as_ref().map_or(Ok(()), |selector| write!(f, "[{selector}]"))?;
        self.plane.map_or(Ok(()), |plane| write!(f, "[{plane}]"))
    }
}
