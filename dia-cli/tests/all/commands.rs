//! The other commands, and how they end.

use dia_cli::fits::FitsFile;
use serde_json::Value;

use crate::dia::Folder;

/// What `dia help` lists, but for the benchmarks.
const SUBCOMMANDS: [&str; 10] = [
    "subtract",
    "align",
    "detect",
    "photometry",
    "night",
    "lightcurves",
    "simulate",
    "demo",
    "info",
    "devices",
];

#[test]
fn the_other_subcommands() {
    let folder = Folder::with_pair(&["--size", "96"]);
    let version = folder.succeed(&["--version"]).stdout;
    assert_eq!(version, format!("dia {}\n", env!("CARGO_PKG_VERSION")));
    for help in [&["help"][..], &["--help"], &["-h"]] {
        let text = folder.succeed(help).stdout;
        for subcommand in SUBCOMMANDS {
            assert!(text.contains(subcommand), "{subcommand} is missing:\n{text}");
        }
    }
    for subcommand in SUBCOMMANDS {
        let text = folder.succeed(&["help", subcommand]).stdout;
        assert!(text.contains("Usage: dia "), "{text}");
    }

    let info = folder.succeed(&["info", "target.fits", "reference.fits"]).stdout;
    for words in [
        "target.fits\n",
        "reference.fits\n",
        "0 (IMAGE): Image, BITPIX -32, 96 × 96",
        "gain: 1.5 (GAIN)",
        "read noise: 6 (RDNOISE)",
        "saturation: 60000 (SATURATE)",
        "mask bit 3: BAD, masked",
    ] {
        assert!(info.contains(words), "{words:?} is missing:\n{info}");
    }

    // With or without Vulkan on this machine, the answer helps.
    let devices = folder.dia(&["devices"]);
    match devices.code {
        Some(0) => assert!(devices.stdout.starts_with("0 \""), "{}", devices.stdout),
        Some(1) => assert!(devices.stderr.contains("install"), "{}", devices.stderr),
        code => panic!("dia devices ended with {code:?}: {}", devices.stderr),
    }
}

/// A reader that goes away, as `head` does, is no failure.
#[cfg(unix)]
#[test]
fn a_closed_pipe() {
    use std::process::{Command, Stdio};

    let folder = Folder::with_pair(&["--size", "64"]);
    let mut info = Command::new(env!("CARGO_BIN_EXE_dia"))
        .args(["info", "target.fits"])
        .current_dir(folder.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(info.stdout.take());
    let output = info.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_simulation_is_repeatable() {
    let folder = Folder::new();
    let files = ["reference.fits", "target.fits", "true_model.fits", "truth.json"];
    for (name, seed) in [("a", "21"), ("b", "21"), ("c", "22")] {
        folder.simulate(name, &["--size", "80x96", "--seed", seed]);
    }
    for file in files {
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.bytes(&format!("{name}/{file}")));
        assert!(a == b && a != c, "{file}");
    }
    assert_eq!(folder.contents().len(), 3 * files.len());
    let target = FitsFile::open(&folder.path("a/target.fits")).unwrap();
    assert_eq!(target.hdu(0).unwrap().shape(), Some((80, 96)));
}

#[test]
fn the_demonstration_writes_what_it_says() {
    let folder = Folder::new();
    let said = folder.succeed(&["demo", "-o", "night", "--size", "200", "--seed", "2"]).stdout;
    let files = [
        "night/reference.fits",
        "night/target.fits",
        "night/true_model.fits",
        "night/truth.json",
        "night/difference.fits",
        "night/report.html",
        "night/report.json",
        "night/figure.png",
        "night/events.png",
        "night/sources.ecsv",
    ];
    let mut there: Vec<_> = folder.contents().into_keys().collect();
    there.sort();
    let mut expected = files.map(|file| folder.path(file));
    expected.sort();
    assert_eq!(there, expected);
    for file in [
        "night/truth.json",
        "night/difference.fits",
        "night/report.html",
        "night/report.json",
        "night/figure.png",
        "night/events.png",
        "night/sources.ecsv",
    ] {
        assert!(said.contains(file), "{file} is not told:\n{said}");
    }
    assert!(said.contains("photometric scale: true 0.8, found"), "{said}");
    // PNG signature, and the chunks that begin and end every file.
    for figure in ["night/figure.png", "night/events.png"] {
        let figure = folder.bytes(figure);
        assert!(figure.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"));
        assert!(figure.ends_with(b"IEND\xae\x42\x60\x82"));
    }
    // Six planes, one of them the score, and a kernel for each polynomial.
    let report: Value = serde_json::from_slice(&folder.bytes("night/report.json")).unwrap();
    let kernels = report["kernel"]["scale_coefficients"].as_array().unwrap().len();
    let planes = FitsFile::open(&folder.path("night/difference.fits")).unwrap();
    assert_eq!(planes.hdus().len(), 6 + kernels);
}
