//! The committed pair of `testdata`, subtracted.

use std::path::{Path, PathBuf};
use std::process::Command;

fn dia(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_dia")).args(args).output().expect("dia runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/pair")
}

#[test]
fn the_committed_pair_gives_the_truth() {
    let (pair, folder) = (testdata(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [reference, target] =
        ["reference.fits", "target.fits"].map(|name| pair.join(name).display().to_string());
    let (output, report) = (path("difference.fits"), path("report.json"));
    dia(&["subtract", &reference, &target, "-o", &output, "--report", &report]);
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let number =
        |pointer: &str| report.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap();

    // P = 0.8 was simulated; three standard deviations, and those of a field that determines P.
    let (scale, sigma) = (number("/photometric_scale/value"), number("/photometric_scale/sigma"));
    assert!((scale - 0.8).abs() < 3.0 * sigma && sigma < 0.01, "P = {scale} ± {sigma}");
    // Both transients were found and left out, and no star beside them.
    assert_eq!(report["variables"]["sources"].as_array().unwrap().len(), 2);
    // What is left is noise. A robust standard deviation of N values is known to 1.17/√(2N); five of that, and N > 10 000 pixels.
    let robust_std = number("/residuals/robust_std");
    assert!(number("/pixels/used") > 1e4 && (robust_std - 1.0).abs() < 0.04, "{robust_std}");
}

// Elsewhere, exp and ln of the system's library may round the last bit of a pixel differently.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn the_command_in_the_readme_still_makes_the_pair() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().display().to_string();
    dia(&[
        "simulate",
        "-o",
        &output,
        "--size",
        "160",
        "--psf",
        "gaussian",
        "--reference-fwhm",
        "2.6",
        "--target-fwhm",
        "3.4",
        "--seed",
        "2026",
        "--transients",
        "2",
        "--variables",
        "0",
        "--cosmic-rays",
        "2",
        "--bad-columns",
        "1",
    ]);
    for name in ["reference.fits", "target.fits", "true_model.fits"] {
        let committed = std::fs::read(testdata().join(name)).unwrap();
        let made = std::fs::read(folder.path().join(name)).unwrap();
        assert!(committed == made, "{name} differs from the committed one");
    }
}
