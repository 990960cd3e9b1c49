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
fn the_committed_pair_gives_what_it_gave() {
    let (pair, folder) = (testdata(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [reference, target] =
        ["reference.fits", "target.fits"].map(|name| pair.join(name).display().to_string());
    let (output, report) = (path("difference.fits"), path("report.json"));
    dia(&[
        "subtract",
        &reference,
        &target,
        "-o",
        &output,
        "--report",
        &report,
        "--half-width",
        "6",
    ]);
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let number =
        |pointer: &str| report.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap();

    // The fit ends within 0.01 σ of the minimum, so P is reproduced to 0.01 of its own σ on any machine.
    let (scale, sigma) = (number("/photometric_scale/value"), number("/photometric_scale/sigma"));
    assert!((scale - 0.762_019_2).abs() < 0.01 * sigma, "P = {scale} ± {sigma}");
    assert!((sigma - 0.008_065_4).abs() < 0.02 * sigma, "σ_P = {sigma}");
    let used = number("/pixels/used");
    assert_eq!(used, 6972.0);
    // A change of x by 0.01 σ changes Σz² by at most 2 · 0.01 √(Σz²) < 3.
    assert!((number("/residuals/chi2_dof") - 2.897_737_6).abs() < 3.0 / (used - 163.0));
    // The truth: 0.8. Two transients disturb it a little; five standard deviations.
    assert!((scale - 0.8).abs() < 5.0 * sigma);
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
        "96",
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
