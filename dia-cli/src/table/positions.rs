//! Positions to measure at, from a table.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Format;
use crate::Error;
use crate::fits::FitsFile;
use crate::sky::Sky;

/// Where to measure, one pair for each row of a table; NaN where a field is empty or says so.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// (x, y) in pixels of the target, 0 in the middle of the first.
    Pixels(Vec<(f64, f64)>),
    /// Right ascension and declination in degrees, in the frame of the target's world coordinates.
    Sky(Vec<(f64, f64)>),
}

impl Positions {
    /// The positions of all rows of a table, ECSV, CSV or FITS by its suffix: of columns x and y or xcentroid and ycentroid, or where there are none, ra and dec or coord_ra and coord_dec.
    ///
    /// # Errors
    /// Names file, row and column of what is no number, or the columns that are there if those are not.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Ok(read_positions(path)?)
    }

    /// As (x, y) in the pixels of an image whose world coordinates are `sky`; NaN where a place has none, on the other half of the sky say.
    pub(crate) fn in_pixels(&self, sky: Option<&Sky>) -> Option<Vec<(f64, f64)>> {
        match self {
            Self::Pixels(pixels) => Some(pixels.clone()),
            Self::Sky(places) => {
                let sky = sky?;
                let pixel = |(ra, dec): &(f64, f64)| sky.pixel_of(*ra, *dec);
                Some(places.iter().map(|p| pixel(p).unwrap_or((f64::NAN, f64::NAN))).collect())
            }
        }
    }
}

/// Names of the columns, in the order in which they are looked for, without regard to case.
const PIXELS: [(&str, &str); 2] = [("x", "y"), ("xcentroid", "ycentroid")];
const SKY: [(&str, &str); 2] = [("ra", "dec"), ("coord_ra", "coord_dec")];

/// The positions of all rows: of columns x and y, or where there are none, ra and dec.
///
/// # Errors
/// Names file, row and column of what is no number, or the columns that are there if those are not.
pub(crate) fn read_positions(path: &Path) -> Result<Positions> {
    let shown = path.display();
    let positions = match Format::of(path)? {
        Format::Fits => {
            let file = FitsFile::open(path)?;
            let pair = |names: (&str, &str)| -> Result<Option<Vec<(f64, f64)>>> {
                let found = file.read_numbers(&[names.0, names.1])?;
                let [Some(x), Some(y)] = found.as_slice() else { return Ok(None) };
                Ok(Some(x.iter().copied().zip(y.iter().copied()).collect()))
            };
            let mut found = None;
            for names in PIXELS {
                found = found.or(pair(names)?.map(Positions::Pixels));
            }
            for names in SKY {
                found = found.or(pair(names)?.map(Positions::Sky));
            }
            found.with_context(|| {
                format!("{shown}: the table has neither columns x and y nor ra and dec; {REMEDY}")
            })?
        }
        Format::Ecsv | Format::Csv => read_text(path)?,
    };
    if let Positions::Sky(places) = &positions {
        for (row, (ra, dec)) in places.iter().enumerate() {
            ensure!(
                !(ra.abs() > 360.0 || dec.abs() > 90.0),
                "{shown}: row {} is at ra {ra}, dec {dec}; give degrees, the declination from −90 to 90",
                row + 1
            );
        }
    }
    Ok(positions)
}

const REMEDY: &str = "name the pixel coordinates of the target, 0 in the middle of the first pixel, x and y, or right ascension and declination in degrees ra and dec";

fn read_text(path: &Path) -> Result<Positions> {
    let shown = path.display();
    let open = || File::open(path).with_context(|| format!("cannot read the positions {shown}"));
    let delimiter = delimiter(BufReader::new(open()?))
        .with_context(|| format!("cannot read the positions {shown}"))?;
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(BufReader::new(open()?));
    let headers = reader.headers().with_context(|| format!("cannot read the positions {shown}"))?;
    ensure!(
        !headers.is_empty(),
        "{shown} is empty; give a table whose first line names its columns, x and y or ra and dec among them"
    );
    let place = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let pair = |names: &[(&'static str, &'static str)]| {
        names.iter().find_map(|(a, b)| Some(((place(a)?, *a), (place(b)?, *b))))
    };
    let (pixels, sky) = (pair(&PIXELS), pair(&SKY));
    let Some((first, second)) = pixels.or(sky) else {
        let all: Vec<&str> = headers.iter().collect();
        bail!(
            "{shown}: the columns are {}, and neither x and y nor ra and dec; {REMEDY}",
            all.join(", ")
        )
    };
    let mut positions = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.with_context(|| format!("{shown}: row {} cannot be read", row + 1))?;
        let number = |(column, name): (usize, &str)| -> Result<f64> {
            let text = record.get(column).unwrap_or_default();
            if text.is_empty() {
                return Ok(f64::NAN);
            }
            text.parse().ok().with_context(|| {
                format!(
                    "{shown}: {name} in row {} is {text:?}, which is no number; mend it, or leave it empty for a row without a measurement",
                    row + 1
                )
            })
        };
        positions.push((number(first)?, number(second)?));
    }
    Ok(if pixels.is_some() { Positions::Pixels(positions) } else { Positions::Sky(positions) })
}

/// A comma, or what an ECSV header says; a blank where such a header says nothing.
fn delimiter(reader: impl BufRead) -> std::io::Result<u8> {
    let mut enhanced = false;
    for line in reader.lines() {
        let line = line?;
        let Some(comment) = line.strip_prefix('#') else { break };
        enhanced |= comment.trim_start().starts_with("%ECSV");
        if let Some(said) = comment.trim_start().strip_prefix("delimiter:") {
            return Ok(if said.contains(',') { b',' } else { b' ' });
        }
    }
    Ok(if enhanced { b' ' } else { b',' })
}
