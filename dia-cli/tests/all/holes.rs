//! Bad pixels of the image that is convolved: a kernel carries each to everything around.

use serde_json::Value;

use crate::dia::{Folder, Frame};

/// Subtracts a pair of which one image has a hole in every fiftieth pixel, and one bad column.
fn report(fwhms: [&str; 2], spoilt: Option<&str>) -> Value {
    let mut options = vec!["--size", "256", "--seed", "5", "--density", "40"];
    options.extend(["--reference-fwhm", fwhms[0], "--target-fwhm", fwhms[1]]);
    let folder = Folder::with_quiet_pair(&options);
    if let Some(name) = spoilt {
        let mut frame = Frame::read(&folder, name);
        for (i, value) in frame.pixels.iter_mut().enumerate() {
            if i % 256 == 70 || (i / 256 * 7919 + i % 256 * 104_729).is_multiple_of(50) {
                *value = f32::NAN;
            }
        }
        frame.write(&folder, name);
    }
    let _ = folder.succeed(&[
        "subtract",
        "reference.fits",
        "target.fits",
        "-o",
        "out.fits",
        "--report=report.json",
    ]);
    serde_json::from_slice(&folder.bytes("report.json")).unwrap()
}

#[test]
fn single_bad_pixels_cost_hardly_anything() {
    // In the second case, the target is the sharper one, and is convolved.
    for (fwhms, spoilt) in [(["2.4", "3.0"], "reference.fits"), (["3.2", "2.2"], "target.fits")] {
        let [whole, holed] = [None, Some(spoilt)].map(|spoilt| report(fwhms, spoilt));
        assert_eq!(holed["verdict"]["level"], "pass", "{spoilt}: {}", holed["verdict"]);
        let number = |report: &Value, pointer: &str| {
            report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}"))
        };
        let both = |pointer: &str| [number(&whole, pointer), number(&holed, pointer)];
        // A target's own holes, one pixel in 42, are no pixels of its difference.
        let [used, left] = both("/pixels/used");
        assert!(left > 0.97 * used, "{spoilt}: {left} of {used}");
        // The two fits share all but a fiftieth of the data.
        let [p, q] = both("/photometric_scale/value");
        let [sigma, sigma_holed] = both("/photometric_scale/sigma");
        assert!((p - q).abs() < sigma, "{spoilt}: {p} and {q} ± {sigma}");
        // Those next to a hole in the light of a star count less.
        assert!(sigma_holed < 1.25 * sigma, "{spoilt}: {sigma} and {sigma_holed}");
        let scatter = number(&holed, "/residuals/robust_std");
        // Of 50 000 pixels: 0.3 %. The noise of the sky's scatter is given.
        assert!((scatter - 1.0).abs() < 0.02, "{spoilt}: {scatter}");
        let notices = holed["notices"].as_array().unwrap();
        let told = notices.iter().any(|notice| notice["code"] == "interpolated");
        assert!(told, "{notices:?}");
    }
}
