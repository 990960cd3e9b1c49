//! `dia subtract --backend vulkan` does what it does on the CPU. Skipped, loudly, without a Vulkan device.

use std::io::{Write, stderr};

use crate::dia::Folder;
use dia_cli::fits::FitsFile;
use serde_json::Value;

const BASE: [&str; 7] =
    ["subtract", "reference.fits", "target.fits", "-o", "out.fits", "--report", "report.json"];

/// A simulated pair, where there is a device.
fn pair(test: &str) -> Option<Folder> {
    if let Err(error) = dia_vulkan::devices() {
        let required = std::env::var("DIA_REQUIRE_VULKAN").is_ok_and(|value| value == "1");
        assert!(!required, "DIA_REQUIRE_VULKAN=1, but: {error}");
        let _ = writeln!(stderr(), "\nSKIPPED {test}: {error}\n");
        return None;
    }
    Some(Folder::with_pair(&["--size", "150", "--seed", "7"]))
}

/// The report, the difference and its variance.
fn subtracted(folder: &Folder, options: &[&str]) -> (Value, [Vec<f64>; 2], String) {
    let ended = folder.succeed(&[&BASE, options].concat());
    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    let planes = [0, 1].map(|plane| file.read_image::<f64>(plane).unwrap().pixels);
    (serde_json::from_slice(&folder.bytes("report.json")).unwrap(), planes, ended.stderr)
}

#[test]
fn a_device_gives_the_difference_of_the_cpu() {
    let Some(folder) = pair("a_device_gives_the_difference_of_the_cpu") else { return };
    let (cpu, [expected, variance], _) = subtracted(&folder, &["--backend", "cpu"]);
    assert_eq!(cpu["backend"], "cpu");
    // All rows on the device, and most of them beside it.
    for (options, beside) in [(&[][..], false), (&["--max-device-memory", "600kB"], true)] {
        let device = [&["--backend", "vulkan:0"], options].concat();
        let (report, [difference, _], note) = subtracted(&folder, &device);
        assert!(report["backend"].as_str().unwrap().starts_with("vulkan: "));
        assert!(report["traffic"]["submits"].as_u64().unwrap() > 0);
        assert_eq!(note.contains("stay in the host's memory"), beside, "{note}");
        assert_eq!(report["half_width"], cpu["half_width"]);
        let mut square = 0.0;
        for ((ours, twin), v) in difference.iter().zip(&expected).zip(&variance) {
            assert_eq!(ours.is_nan(), twin.is_nan());
            square += if ours.is_nan() { 0.0 } else { (ours - twin).powi(2) / v };
        }
        // Both are within 0.01 σ of the minimum, in the norm over all pixels.
        assert!(square.sqrt() < 0.02, "{}", square.sqrt());
    }
}

#[test]
fn the_best_half_width_is_the_same_on_a_device() {
    let Some(folder) = pair("the_best_half_width_is_the_same_on_a_device") else { return };
    let half_width = |backend| {
        let options = ["--half-width", "bic", "--backend", backend];
        let (report, ..) = subtracted(&folder, &options);
        (report["half_width"].as_u64().unwrap(), report["backend"].clone())
    };
    let (on_cpu, on_device) = (half_width("cpu"), half_width("vulkan:0"));
    assert_eq!(on_cpu.0, on_device.0);
    assert_ne!(on_cpu.1, on_device.1);
}

#[test]
fn what_a_device_cannot_do_is_an_error() {
    let Some(folder) = pair("what_a_device_cannot_do_is_an_error") else { return };
    let refused = |options: &[&str], says: &str| {
        let ended = folder.dia(&[&BASE[..], &["--backend", "vulkan:0"], options].concat());
        assert!(ended.code != Some(0) && ended.stderr.contains(says), "{}", ended.stderr);
        assert!(!folder.path("out.fits").exists());
    };
    refused(&["--precision", "f64"], "single precision");
    refused(&["--max-memory", "100kB"], "more than the limit of 97.7 KiB");
    // Images and masks fit, and the rows that the device may not take do not.
    let options = ["--max-memory", "3MB", "--max-device-memory", "100kB"];
    refused(&options, "a fit of 150 × 150 pixels needs about");
}
