//! Runs the `dia` command in a temporary folder, and reads and writes the FITS files there.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "shared by test files that do not need all of it"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

use dia_cli::fits::{self, FitsFile, HduData, HduOut, Header};
use tempfile::TempDir;

/// A folder in which the command runs; it goes away with the value.
pub struct Folder(TempDir);

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with a simulated pair, reference.fits and target.fits; `options` are those of `dia simulate`.
    pub fn with_pair(options: &[&str]) -> Self {
        let folder = Self::new();
        folder.simulate(".", options);
        folder
    }

    /// The same without events and defects.
    pub fn with_quiet_pair(options: &[&str]) -> Self {
        let none = ["--variables=0", "--transients=0", "--cosmic-rays=0", "--bad-columns=0"];
        Self::with_pair(&[options, &none].concat())
    }

    /// Simulates a pair into a folder of this one.
    pub fn simulate(&self, name: &str, options: &[&str]) {
        let _ = self.succeed(&[&["simulate", "-o", name], options].concat());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs `dia` here.
    pub fn dia(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dia"));
        let output = command.args(arguments).current_dir(self.0.path()).output().unwrap();
        let text = |bytes: &[u8]| str::from_utf8(bytes).unwrap().to_owned();
        Ended {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs `dia` here; it must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Ended {
        let ended = self.dia(arguments);
        assert_eq!(ended.code, Some(0), "dia {}\n{}", arguments.join(" "), ended.stderr);
        ended
    }

    /// All files here and below, with their contents.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn collect(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, all);
                } else {
                    // What cannot be read still counts as a file.
                    all.insert(path.clone(), fs::read(&path).unwrap_or_default());
                }
            }
        }
        let mut all = BTreeMap::new();
        collect(self.0.path(), &mut all);
        all
    }
}

/// An image with its mask, as `dia simulate` writes them.
#[derive(Clone)]
pub struct Frame {
    pub header: Header,
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<f32>,
    pub mask_header: Header,
    pub mask: Vec<i16>,
}

impl Frame {
    pub fn read(folder: &Folder, name: &str) -> Self {
        let file = FitsFile::open(&folder.path(name)).unwrap();
        let image = file.read_image::<f32>(0).unwrap();
        let mask = file.read_integers(1).unwrap().pixels;
        Self {
            header: file.hdu(0).unwrap().header.clone(),
            height: image.height,
            width: image.width,
            pixels: image.pixels,
            mask_header: file.hdu(1).unwrap().header.clone(),
            mask: mask.into_iter().map(|planes| planes.try_into().unwrap()).collect(),
        }
    }

    /// One without a mask.
    pub fn read_unmasked(folder: &Folder, name: &str) -> Self {
        let file = FitsFile::open(&folder.path(name)).unwrap();
        let image = file.read_image::<f32>(0).unwrap();
        Self {
            header: file.hdu(0).unwrap().header.clone(),
            height: image.height,
            width: image.width,
            mask: vec![0; image.pixels.len()],
            pixels: image.pixels,
            mask_header: Header::new(),
        }
    }

    /// Writes IMAGE and MASK.
    pub fn write(&self, folder: &Folder, name: &str) {
        let hdus = [self.image_hdu("IMAGE"), self.mask_hdu("MASK")];
        fits::write(&folder.path(name), &hdus).unwrap();
    }

    /// Writes IMAGE alone.
    pub fn write_unmasked(&self, folder: &Folder, name: &str) {
        fits::write(&folder.path(name), &[self.image_hdu("IMAGE")]).unwrap();
    }

    pub fn image_hdu<'a>(&'a self, name: &'a str) -> HduOut<'a> {
        let data = HduData::F32(&self.pixels);
        HduOut { name, header: &self.header, image: Some((self.height, self.width, data)) }
    }

    pub fn mask_hdu<'a>(&'a self, name: &'a str) -> HduOut<'a> {
        let data = HduData::I16(&self.mask);
        HduOut { name, header: &self.mask_header, image: Some((self.height, self.width, data)) }
    }

    /// The part of `height` rows from `y` and `width` columns from `x`.
    pub fn cut(&self, (y, x): (usize, usize), (height, width): (usize, usize)) -> Self {
        let places = || (y..y + height).flat_map(|y| (x..x + width).map(move |x| (y, x)));
        Self {
            height,
            width,
            pixels: places().map(|(y, x)| self.pixels[y * self.width + x]).collect(),
            mask: places().map(|(y, x)| self.mask[y * self.width + x]).collect(),
            ..self.clone()
        }
    }
}

/// Writes planes of one kind of number as a FITS file of one image.
pub fn write_plane(folder: &Folder, name: &str, shape: (usize, usize), data: HduData<'_>) {
    let header = Header::new();
    let hdu = HduOut { name: "", header: &header, image: Some((shape.0, shape.1, data)) };
    fits::write(&folder.path(name), &[hdu]).unwrap();
}

/// The blocks of a header made by hand from the texts of its cards.
pub fn header_blocks(cards: &[&str]) -> Vec<u8> {
    let cards = cards.iter().chain(&["END"]);
    let mut bytes: Vec<u8> = cards.flat_map(|card| format!("{card:80.80}").into_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}
