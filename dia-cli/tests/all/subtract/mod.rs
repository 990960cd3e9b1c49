//! `dia subtract` from files to files: what it writes, against the truth and against itself.

mod models;
mod planes;
mod written;

use std::collections::BTreeMap;

use dia_cli::fits::{FitsFile, Header};
use serde_json::Value;

use crate::dia::{Folder, Frame};

const BASE: [&str; 7] =
    ["subtract", "reference.fits", "target.fits", "-o", "out.fits", "--report", "report.json"];

/// A difference read back.
struct Subtraction {
    file: FitsFile,
    report: Value,
    shape: (usize, usize),
    difference: Vec<f64>,
    variance: Vec<f64>,
    mask: Vec<i64>,
    model: Vec<f64>,
}

impl Subtraction {
    /// Subtracts reference.fits from target.fits with further options.
    fn run(folder: &Folder, options: &[&str]) -> Self {
        let _ = folder.succeed(&[&BASE, options].concat());
        Self::read(folder)
    }

    /// Reads out.fits and report.json.
    fn read(folder: &Folder) -> Self {
        let file = FitsFile::open(&folder.path("out.fits")).unwrap();
        let plane = |index| file.read_image::<f64>(index).unwrap().pixels;
        Self {
            report: serde_json::from_slice(&folder.bytes("report.json")).unwrap(),
            shape: file.hdu(0).unwrap().shape().unwrap(),
            difference: plane(0),
            variance: plane(1),
            mask: file.read_integers(2).unwrap().pixels,
            model: plane(3),
            file,
        }
    }

    /// A number of the report by its JSON pointer.
    fn number(&self, pointer: &str) -> f64 {
        number(&self.report, pointer)
    }

    fn text(&self, pointer: &str) -> &str {
        self.report.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}"))
    }

    fn header(&self) -> &Header {
        &self.file.hdu(0).unwrap().header
    }

    /// D/σ at the good pixels.
    fn residuals(&self) -> impl Iterator<Item = f64> {
        let residuals = self.difference.iter().zip(&self.variance).map(|(d, v)| d / v.sqrt());
        residuals.filter(|z| z.is_finite())
    }

    /// Largest |D − D'|/σ of two differences, which must have the same good pixels.
    fn distance(&self, other: &Self) -> f64 {
        assert_eq!(self.mask, other.mask);
        let both = self.difference.iter().zip(&other.difference).zip(&self.variance);
        let distances = both.map(|((a, b), variance)| (a - b).abs() / variance.sqrt());
        distances.filter(|d| d.is_finite()).fold(0.0, f64::max)
    }
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {pointer}"))
}

/// The bits of every plane of a file, by name; one bit pattern for all NaN.
fn bits(folder: &Folder, name: &str) -> BTreeMap<String, Vec<u64>> {
    let file = FitsFile::open(&folder.path(name)).unwrap();
    let planes = file.hdus().iter().map(|hdu| {
        let pixels = file.read_image::<f64>(hdu.index).unwrap().pixels;
        let one_nan = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
        (hdu.name().unwrap(), pixels.into_iter().map(one_nan).collect())
    });
    planes.collect()
}

/// A pair with defects, and cards of an observatory in the target's header.
fn observed_pair() -> Folder {
    let folder = Folder::with_pair(&["--size", "256", "--seed", "11", "--saturation", "3000"]);
    let mut target = Frame::read(&folder, "target.fits");
    let header = &mut target.header;
    header.set("OBSERVER", "C. Herschel", "who was there");
    header.set("ESO TEL AIRM START", 1.25, "airmass");
    header.set("CTYPE1", "RA---TAN", "");
    header.set("CTYPE2", "DEC--TAN", "");
    header.set("CRVAL1", 266.416_816_625, "[deg]");
    header.set("CRVAL2", -29.007_824_972, "[deg]");
    header.set("CRPIX1", 64.5, "");
    header.set("CRPIX2", 64.5, "");
    header.set("CD1_1", -7.2e-5, "");
    header.set("CD2_2", 7.2e-5, "");
    header.push_comment("observed through thin cloud");
    target.write(&folder, "target.fits");
    folder
}
