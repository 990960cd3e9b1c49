//! Inputs as people have them: what headers and planes mean is found, or it is named.

mod noise;
mod outputs;
mod pixels;

use dia_cli::fits::{self, HduData, HduOut, Header};
use serde_json::Value;

use crate::dia::{Folder, Frame};

const BASE: [&str; 5] = ["-o", "out.fits", "--report", "report.json", "--fail-on=never"];

/// Side of the images.
const SIDE: usize = 128;

/// A clean pair, and its target.
fn pair() -> (Folder, Frame) {
    let side = SIDE.to_string();
    let clean = [
        "--size",
        &side,
        "--seed",
        "9",
        "--density",
        "100",
        "--cosmic-rays",
        "0",
        "--bad-columns",
        "0",
    ];
    let folder = Folder::with_pair(&clean);
    let target = Frame::read(&folder, "target.fits");
    (folder, target)
}

/// The report of subtracting reference.fits from `target`.
fn subtract(folder: &Folder, target: &str, options: &[&str]) -> Value {
    let _ = folder.succeed(&[&["subtract", "reference.fits", target], &BASE[..], options].concat());
    serde_json::from_slice(&folder.bytes("report.json")).unwrap()
}

/// What is said where it is refused.
fn refused(folder: &Folder, target: &str, options: &[&str], words: &[&str]) {
    let ended = folder.dia(&[&["subtract", "reference.fits", target], &BASE[..], options].concat());
    assert_eq!(ended.code, Some(1), "{target}: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is missing: {}", ended.stderr);
    }
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number {pointer} in {json}"))
}

fn codes(report: &Value) -> Vec<&str> {
    report["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["code"].as_str().unwrap())
        .collect()
}

/// P is `unit` times that of the simulation, and the residuals are those of the noise. On 10⁴ pixels the robust scatter is known to 1.2 %, and what the kernel
/// takes of the noise is less than another 5 %.
fn right(folder: &Folder, report: &Value, unit: f64) {
    let truth: Value = serde_json::from_slice(&folder.bytes("truth.json")).unwrap();
    let scale = number(report, "/photometric_scale/value") / unit;
    let sigma = number(report, "/photometric_scale/sigma") / unit;
    assert!((scale - number(&truth, "/options/scale")).abs() <= 5.0 * sigma, "{scale} ± {sigma}");
    let std = number(report, "/residuals/robust_std");
    assert!((0.9..1.1).contains(&std), "{std}");
}

/// The variance of the target's pixels, from the pixels themselves.
fn variance_of(target: &Frame) -> Vec<f32> {
    let number = |keyword| target.header.get_f64(keyword).unwrap() as f32;
    let (gain, read_noise) = (number("GAIN"), number("RDNOISE"));
    target.pixels.iter().map(|pixel| pixel.max(0.0) / gain + (read_noise / gain).powi(2)).collect()
}

/// Writes the target without its gain, and a plane beside it.
fn with_plane(folder: &Folder, target: &Frame, name: &str, cards: &[(&str, &str)], pixels: &[f32]) {
    let mut image = target.header.clone();
    let _ = ["GAIN", "RDNOISE", "EXTNAME"].map(|keyword| image.remove(keyword));
    let mut header = Header::new();
    for (keyword, value) in cards {
        header.set(keyword, *value, "");
    }
    let shape = |data| Some((target.height, target.width, data));
    let hdus = [
        HduOut { name: "SCI", header: &image, image: shape(HduData::F32(&target.pixels)) },
        HduOut { name, header: &header, image: shape(HduData::F32(pixels)) },
    ];
    fits::write(&folder.path("planes.fits"), &hdus).unwrap();
}

trait MapBits {
    fn map_bits(self) -> Vec<u64>;
}

impl MapBits for Vec<f64> {
    /// One bit pattern for all NaN.
    fn map_bits(self) -> Vec<u64> {
        self.into_iter().map(|v| if v.is_nan() { f64::NAN } else { v }.to_bits()).collect()
    }
}
