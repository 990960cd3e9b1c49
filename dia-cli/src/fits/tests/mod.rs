//! Files built by hand or by the writer, read back, cut short and damaged.

#![allow(
    clippy::float_cmp,
    clippy::unreadable_literal,
    reason = "values are exact by construction"
)]

mod cards;
mod damage;
mod pixels;
mod written;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::fits::{FitsError, FitsFile};

/// A header of the given card texts, END and padding.
fn header_bytes(cards: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        cards.iter().flat_map(|card| format!("{card:80.80}").into_bytes()).collect();
    bytes.extend(format!("{:80}", "END").bytes());
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

fn file_bytes(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut bytes = header_bytes(cards);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

fn put(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("file.fits");
    fs::write(&path, bytes).unwrap();
    path
}

fn open(bytes: &[u8]) -> Result<FitsFile, FitsError> {
    let folder = tempfile::tempdir().unwrap();
    FitsFile::open(&put(folder.path(), bytes))
}

/// A 2 x 2 image of this BITPIX with further cards.
fn square(bitpix: i64, more: &[&str], data: &[u8]) -> FitsFile {
    let bitpix = format!("BITPIX  = {bitpix}");
    let mut cards = vec!["SIMPLE  = T", &bitpix, "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2"];
    cards.extend(more);
    open(&file_bytes(&cards, data)).unwrap()
}

fn same(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    assert!(actual.iter().zip(expected).all(equal), "{actual:?} is not {expected:?}");
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
