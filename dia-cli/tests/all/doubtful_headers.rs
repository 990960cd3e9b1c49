//! What headers say that the pixels contradict, and what pixels say that no header does.

use crate::dia::{Folder, Frame};
use serde_json::Value;

const OPTIONS: [&str; 7] = [
    "subtract",
    "reference.fits",
    "target.fits",
    "-o",
    "out.fits",
    "--fail-on=never",
    "--report=report.json",
];

/// A clean pair, of which the target was changed.
fn subtracted(simulation: &[&str], change: impl Fn(&mut Frame)) -> Value {
    let clean = ["--seed", "9", "--cosmic-rays", "0", "--bad-columns", "0"];
    let folder = Folder::with_pair(&[&clean[..], simulation].concat());
    let mut target = Frame::read(&folder, "target.fits");
    change(&mut target);
    target.write(&folder, "target.fits");
    let _ = folder.succeed(&OPTIONS);
    serde_json::from_slice(&folder.bytes("report.json")).unwrap()
}

fn pull(report: &Value, truth: f64) -> f64 {
    let number = |name: &str| report["photometric_scale"][name].as_f64().unwrap();
    (number("value") - truth) / number("sigma")
}

fn notice<'a>(report: &'a Value, code: &str) -> Option<&'a Value> {
    report["notices"].as_array().unwrap().iter().find(|notice| notice["code"] == code)
}

#[test]
fn saturation_levels_that_leave_no_pixel_are_not_believed() {
    for level in [0.0, -1.0, 150.0] {
        let report =
            subtracted(&["--size", "160"], |target| target.header.set("SATURATE", level, ""));
        let notice = notice(&report, "saturation").unwrap_or_else(|| panic!("{level}: {report}"));
        assert!(notice["text"].as_str().unwrap().contains("not believed"), "{notice}");
        // Four σ: one in fifteen thousand.
        assert!(pull(&report, 0.8).abs() < 4.0, "{level}: {report}");
    }
}

#[test]
fn a_pedestal_is_seen_in_the_scatter_of_the_sky() {
    let pedestal = 300.0;
    let report = subtracted(&["--size", "256", "--density", "10"], |target| {
        target.pixels.iter_mut().for_each(|value| *value += pedestal);
    });
    assert!(notice(&report, "pedestal").is_some(), "{report}");
    // By the level of 700 ADU it would be 0.78: the sky's scatter is known to 3 %.
    let scatter = report["residuals"]["robust_std"].as_f64().unwrap();
    assert!((scatter - 1.0).abs() < 0.05, "{scatter}");
    assert!(pull(&report, 0.8).abs() < 4.0, "{report}");
}

#[test]
fn a_gain_that_is_named_so_comes_before_a_setting_of_the_camera() {
    let report = subtracted(&["--size", "160"], |target| {
        target.header.set("GAIN", 26.0, "");
        target.header.set("GAINADU", 1.5, "");
    });
    assert_eq!(report["target"]["gain"]["source"], "keyword GAINADU");
}

#[test]
fn a_transparency_that_changes_over_the_field_is_doubted() {
    let clouds = |target: &mut Frame| {
        let width = target.width;
        for (i, value) in target.pixels.iter_mut().enumerate() {
            // The sky stays, with its noise nearly so.
            let along = 2.0 * (i % width) as f32 / (width - 1) as f32 - 1.0;
            *value = 400.0 + (*value - 400.0) * (1.0 + 0.25 * along);
        }
    };
    let sky = ["--size", "300", "--sky", "400", "--sky-gradient-x", "0", "--sky-gradient-y", "0"];
    let simulation =
        [&sky[..], &["--density", "5", "--transients", "0", "--variables", "0"]].concat();
    let report = subtracted(&simulation, clouds);
    assert!(notice(&report, "transparency").is_some(), "{report}");
    assert!(notice(&subtracted(&simulation, |_| ()), "transparency").is_none());
}

#[test]
fn a_trail_is_doubted() {
    let folder = Folder::with_pair(&[
        "--size",
        "300",
        "--seed",
        "4",
        "--variables",
        "0",
        "--transients",
        "0",
    ]);
    let mut reference = Frame::read(&folder, "reference.fits");
    let width = reference.width;
    for (i, value) in reference.pixels.iter_mut().enumerate() {
        let (y, x) = ((i / width) as f32, (i % width) as f32);
        // Eight pixels wide, along a diagonal.
        let distance = (0.6 * x - 0.8 * y + 20.0) / 4.0;
        *value += 150.0 * (-0.5 * distance * distance).exp();
    }
    reference.write(&folder, "reference.fits");
    let _ = folder.succeed(&OPTIONS);
    let report: Value = serde_json::from_slice(&folder.bytes("report.json")).unwrap();
    assert!(notice(&report, "trail").is_some(), "{report}");
}

#[test]
fn an_image_that_is_not_linear_is_doubted_and_variable_stars_are_not() {
    let simulation = ["--size", "300", "--density", "40", "--transients", "0", "--variables", "0"];
    // A stretch that takes a third of the brightest stars' peaks, and a detector that loses a tenth at 3 000 ADU.
    let stretched = |target: &mut Frame| {
        target.pixels.iter_mut().for_each(|value| *value = 1500.0 * (*value / 1500.0).asinh());
    };
    let bent = |target: &mut Frame| {
        target.pixels.iter_mut().for_each(|value| *value *= 1.0 - *value / 30_000.0);
    };
    for change in [&stretched as &dyn Fn(&mut Frame), &bent] {
        let report = subtracted(&simulation, change);
        assert!(notice(&report, "nonlinear").is_some(), "{report}");
    }
    assert!(notice(&subtracted(&simulation, |_| ()), "nonlinear").is_none());
    // The brightest star of all has changed.
    let report = subtracted(&[&simulation[..], &["--brightest-varies"]].concat(), |_| ());
    assert!(notice(&report, "nonlinear").is_none(), "{report}");
}
