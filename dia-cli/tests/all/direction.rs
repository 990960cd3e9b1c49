//! Which image is convolved, and what the difference means then; and targets that are turned.

use dia_cli::fits::FitsFile;
use serde_json::Value;

use crate::dia::{Folder, Frame};

const SIDE: usize = 192;

/// A clean pair of Gaussian stars, of a photometric scale of 0.8.
fn pair(reference_fwhm: &str, target_fwhm: &str) -> Folder {
    let mut options = vec!["--size", "192", "--seed", "5", "--psf", "gaussian", "--density", "60"];
    options.extend(["--scale", "0.8", "--reference-fwhm", reference_fwhm]);
    options.extend(["--target-fwhm", target_fwhm]);
    Folder::with_quiet_pair(&options)
}

fn subtract(folder: &Folder, target: &str, options: &[&str]) -> Value {
    let base = ["subtract", "reference.fits", target, "-o", "out.fits", "--report", "report.json"];
    let _ = folder.succeed(&[&base[..], options].concat());
    serde_json::from_slice(&folder.bytes("report.json")).unwrap()
}

/// The photometric scale and its σ. Over seeds, its pulls have a deviation of 1.0.
fn scale(report: &Value) -> (f64, f64) {
    let of = |key: &str| report["photometric_scale"][key].as_f64().unwrap();
    (of("value"), of("sigma"))
}

fn convolved(folder: &Folder) -> String {
    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    file.hdu(0).unwrap().header.get_str("DIACONV").unwrap()
}

#[test]
fn a_sharper_target_is_convolved_and_the_difference_stays_in_its_units() {
    let folder = pair("4.0", "2.8");
    // A transient of known flux F, a Gaussian as all stars are.
    let (x0, y0, flux, sigma) = (97.3, 88.6, 60_000.0, 2.8 / 2.354_82);
    let mut target = Frame::read(&folder, "target.fits");
    for (i, pixel) in target.pixels.iter_mut().enumerate() {
        let r2 = ((i % SIDE) as f64 - x0).powi(2) + ((i / SIDE) as f64 - y0).powi(2);
        let value = (-0.5 * r2 / (sigma * sigma)).exp() / (std::f64::consts::TAU * sigma * sigma);
        *pixel += (flux * value) as f32;
    }
    target.write(&folder, "target.fits");

    let report = subtract(&folder, "target.fits", &[]);
    assert_eq!(report["kernel"]["convolves"], "target");
    assert_eq!(convolved(&folder), "target");
    let (p, sigma_p) = scale(&report);
    assert!((p - 0.8).abs() <= 3.0 * sigma_p && sigma_p < 0.02, "{p} ± {sigma_p}");

    // All of its light is within 12 pixels, 7 σ of the wider seeing. The noise of the sum is that of the target's pixels there, which the kernel moves about, and the light goes
    // through a kernel whose sum is known to σ_P/P.
    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    let difference = file.read_image::<f64>(0).unwrap().pixels;
    let (gain, read_noise) =
        (target.header.get_f64("GAIN").unwrap(), target.header.get_f64("RDNOISE").unwrap());
    let (mut sum, mut variance) = (0.0, 0.0);
    for (i, d) in difference.iter().enumerate() {
        if ((i % SIDE) as f64 - x0).hypot((i / SIDE) as f64 - y0) <= 12.0 {
            sum += d;
            variance += f64::from(target.pixels[i]) / gain + (read_noise / gain).powi(2);
        }
    }
    let tolerance = 3.0 * variance.sqrt().hypot(flux * sigma_p / p);
    assert!((sum - flux).abs() <= tolerance && tolerance < 0.1 * flux, "{sum} ± {tolerance}");

    // Asked for, the reference is convolved all the same, and that is told.
    let report = subtract(&folder, "target.fits", &["--convolve", "reference", "--fail-on=never"]);
    assert_eq!(report["kernel"]["convolves"], "reference");
    assert_eq!(convolved(&folder), "reference");
    let reasons = report["verdict"]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason["code"] == "deconvolution"), "{reasons:?}");
}

#[test]
fn the_reference_is_convolved_where_the_seeings_are_alike() {
    let folder = pair("3.2", "3.2");
    let report = subtract(&folder, "target.fits", &[]);
    assert_eq!(report["kernel"]["convolves"], "reference");
    let (p, sigma) = scale(&report);
    assert!((p - 0.8).abs() <= 3.0 * sigma, "{p} ± {sigma}");
}

#[test]
fn a_turned_target_is_followed_and_its_turn_is_told() {
    let folder = pair("3.0", "4.0");
    let straight = scale(&subtract(&folder, "target.fits", &[]));
    let mut target = Frame::read(&folder, "target.fits");
    // By 180°.
    target.pixels.reverse();
    target.mask.reverse();
    target.write(&folder, "turned.fits");
    let report = subtract(&folder, "turned.fits", &[]);
    assert_eq!(report["offset"]["turned"], "180");
    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    assert_eq!(file.hdu(0).unwrap().header.get_str("DIATURN").as_deref(), Some("180"));
    let (p, sigma) = scale(&report);
    // The same stars and the same noise; the sample of rows and the grid of the wings are others.
    assert!((p - straight.0).abs() <= 0.5 * sigma, "{p} ± {sigma}, {straight:?}");
}
