//! `dia night`: light curves against the truth, frames that cannot be used, and runs that are ended, shared and repeated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::dia::{Folder, Frame};
use serde_json::Value;

/// A reference and three targets of the same sky with four transients that have another flux in each; the third is turned by 180°.
fn night() -> Folder {
    let folder = Folder::new();
    let sky = [
        "--size",
        "200",
        "--seed",
        "11",
        "--density",
        "14",
        "--variables=0",
        "--cosmic-rays=0",
        "--bad-columns=0",
        "--transients",
        "4",
        "--scale",
        "0.8",
        "--dx",
        "3.3",
    ];
    for (name, fwhm) in [("a", "4.6"), ("b", "5.2"), ("c", "4.2")] {
        folder.simulate(name, &[&sky[..], &["--target-fwhm", fwhm]].concat());
        let mut target = Frame::read(&folder, &format!("{name}/target.fits"));
        if name == "c" {
            target.pixels.reverse();
            target.mask.reverse();
        }
        target.header.set("MJD-OBS", 60_000.5, "");
        target.header.set("EXPTIME", 86.4, "");
        target.write(&folder, &format!("{name}.fits"));
    }
    fs::rename(folder.path("a/reference.fits"), folder.path("reference.fits")).unwrap();
    folder
}

const BASE: [&str; 8] =
    ["night", "--reference", "reference.fits", "--targets", "a.fits", "b.fits", "c.fits", "-o"];

/// What is the same in every run: all but times, the page that tells them, and locks.
fn results(folder: &Folder, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = folder.path(name);
    let own = |path: &PathBuf| path.starts_with(&root);
    let lasting = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        !["timings.json", "report.html", ".lock"].contains(&name.as_ref())
    };
    let files = folder.contents().into_iter().filter(|(path, _)| own(path) && lasting(path));
    files.map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes)).collect()
}

fn assert_equal(a: &BTreeMap<PathBuf, Vec<u8>>, b: &BTreeMap<PathBuf, Vec<u8>>) {
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    for (name, bytes) in a {
        assert!(b[name] == *bytes, "{} differs", name.display());
    }
}

/// Rows of an ECSV table by the names of the columns.
fn rows(folder: &Folder, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = String::from_utf8(folder.bytes(name)).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(line.split(',').map(str::to_owned))
            .collect()
    };
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or(f64::NAN)
}

#[test]
fn light_curves_are_those_of_the_truth_and_a_bad_frame_is_named() {
    let folder = night();
    // A name that is wider than a phone.
    let bad = "bad_exposure_of_a_night_with_many_words_in_its_name.fits";
    folder.write(bad, b"this is no image");
    let truth: Value = serde_json::from_slice(&folder.bytes("a/truth.json")).unwrap();
    let shift = truth["options"]["shift_x"].as_f64().unwrap();
    // Places in the target of frame a are those in the reference and the shift.
    let events = truth["events"].as_array().unwrap();
    let places: Vec<(f64, f64, f64)> = events
        .iter()
        .map(|event| {
            let of = |name: &str| event[name].as_f64().unwrap();
            (
                of("x") - shift,
                of("y") - truth["options"]["shift_y"].as_f64().unwrap(),
                of("flux_change"),
            )
        })
        .collect();
    let lines: Vec<String> = places.iter().map(|(x, y, _)| format!("{x},{y}\n")).collect();
    folder.write("at.csv", format!("x,y\n{}", lines.concat()).as_bytes());
    let targets = [&BASE[..7], &[bad, "none.fits", "-o", "n", "--at", "at.csv"]].concat();
    let ended = folder.dia(&targets);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    for word in [
        "many_words_in_its_name: no difference",
        "not a FITS file",
        "none: no difference",
        "none.fits",
    ] {
        assert!(ended.stderr.contains(word), "{word:?} is missing: {}", ended.stderr);
    }
    assert!(ended.stdout.contains("2 without a difference"), "{}", ended.stdout);

    let curves = rows(&folder, "n/lightcurves.ecsv");
    for name in ["a", "b", "c"] {
        let truth: Value =
            serde_json::from_slice(&folder.bytes(&format!("{name}/truth.json"))).unwrap();
        for (source, event) in (1..).zip(truth["events"].as_array().unwrap()) {
            let flux = event["flux_change"].as_f64().unwrap() / 0.8;
            let of = |row: &&BTreeMap<String, String>| {
                row["frame"] == name && row["sourceId"] == source.to_string()
            };
            let row = curves.iter().find(of).unwrap();
            let pull = (number(row, "diffFlux") - flux) / number(row, "diffFluxErr");
            // Twelve of them: beyond four σ once in a thousand runs.
            assert!(pull.abs() < 4.0, "{name} {source}: {pull}");
            // A transient is nothing in the reference.
            let pull = (number(row, "flux") - flux) / number(row, "fluxErr");
            assert!(pull.abs() < 5.0, "{name} {source}: {pull}");
            assert!(row["isUsable"] == "True");
            // The middle of 86.4 s is half a thousandth of a day after the beginning.
            assert!((number(row, "midpointMjd") - 60_000.500_5).abs() < 1e-9);
        }
    }
    // Every transient is found, and in all frames.
    let sources = rows(&folder, "n/sources.ecsv");
    for (x, y, _) in &places {
        let near = |row: &&BTreeMap<String, String>| {
            row["kind"] == "found" && (number(row, "x") - x).hypot(number(row, "y") - y) < 1.0
        };
        let source = sources.iter().find(near).expect("a transient is found");
        assert_eq!(source["nDetections"], "3");
    }
    // Zero points are 1 within their errors, and what is measured scatters as is expected.
    for frame in rows(&folder, "n/frames.ecsv") {
        let pull = (number(&frame, "zeroPoint") - 1.0) / number(&frame, "zeroPointErr");
        assert!(pull.abs() < 5.0 && number(&frame, "zeroPointStars") > 20.0, "{frame:?}");
    }
    let summary: Value = serde_json::from_slice(&folder.bytes("n/summary.json")).unwrap();
    let factor = summary["error_factor"].as_f64().unwrap();
    // Frames of one seed share most of their noise: their scatter is below what is expected.
    assert!((0.0..1.2).contains(&factor), "{factor}");

    // The page has all in itself, and tells of the frames that are missing.
    let page = String::from_utf8(folder.bytes("n/report.html")).unwrap();
    for word in [">a</a>", "data:image/png;base64,", "<svg", "no image", "prefers-reduced-motion"] {
        let word = if word == "no image" { "not a FITS file" } else { word };
        assert!(page.contains(word), "{word}");
    }
    for word in ["http://", "https://", "src=\"/", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
    crate::page::assert_fits_a_phone(&folder.path("n/report.html"));

    // Further places, without a new fit: the same numbers as before.
    let _ = folder.succeed(&["lightcurves", "n", "--at", "at.csv", "-o", "l.ecsv"]);
    let again = rows(&folder, "l.ecsv");
    assert_eq!(again.len(), 3 * places.len());
    for (row, before) in again.iter().zip(&curves) {
        assert_eq!(row, before);
    }
    let refused = folder.dia(&["lightcurves", "a", "--at", "at.csv", "-o", "l.ecsv"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("night.json"));
}

#[test]
fn a_run_that_is_killed_goes_on_and_two_shards_make_the_same() {
    let folder = night();
    let run = |name: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dia"));
        command.args(BASE).arg(name).args(more).current_dir(folder.path("."));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(run("whole", &[]).status().unwrap().success());
    let whole = results(&folder, "whole");
    assert_eq!(whole.keys().filter(|path| path.ends_with("done.json")).count(), 3);

    // At moments from the first file on to the end.
    let mut finished = false;
    for moment in 0..12 {
        let mut child = run("killed", &["--jobs", "2"]).spawn().unwrap();
        thread::sleep(Duration::from_millis(40 + 173 * moment));
        finished |= child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(run("killed", &[]).status().unwrap().success());
    assert_equal(&whole, &results(&folder, "killed"));
    let _ = finished;

    let mut first = run("shards", &["--shard", "1/2"]).spawn().unwrap();
    let second = run("shards", &["--shard", "2/2", "--threads", "1"]).status().unwrap();
    assert!(second.success() && first.wait().unwrap().success());
    assert_equal(&whole, &results(&folder, "shards"));

    // Two over one folder and the same frames.
    let mut first = run("twins", &[]).spawn().unwrap();
    let second = run("twins", &[]).status().unwrap();
    assert!(second.success() && first.wait().unwrap().success());
    assert_equal(&whole, &results(&folder, "twins"));
}

#[test]
fn what_is_done_is_not_done_again_unless_something_has_changed() {
    let folder = night();
    let night = |more: &[&str]| folder.dia(&[&BASE[..], &["n"], more].concat());
    let first = night(&[]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let done = results(&folder, "n");
    let again = night(&["--threads", "1", "--log", "json"]);
    assert_eq!(again.code, Some(0));
    for line in again.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let known = ["was done before", "all frames are done; measuring light curves"];
        assert!(known.contains(&event["msg"].as_str().unwrap()), "{line}");
        assert!(event["t"].as_f64() > Some(0.0), "{line}");
    }
    assert_equal(&done, &results(&folder, "n"));
    assert!(night(&["--force"]).stderr.contains("detections"));
    assert_equal(&done, &results(&folder, "n"));
    // Another option, and another image under the same name.
    let changed = night(&["--background-degree", "1"]);
    assert_eq!(changed.stderr.matches("detections").count(), 3, "{}", changed.stderr);
    fs::copy(folder.path("b.fits"), folder.path("c.fits")).unwrap();
    let changed = night(&["--background-degree", "1"]);
    assert_eq!(changed.stderr.matches("was done before").count(), 2, "{}", changed.stderr);

    // A frame that failed is tried again when that is asked for.
    folder.write("c.fits", b"no image");
    assert_eq!(night(&[]).code, Some(3));
    let kept = night(&[]);
    assert!(kept.code == Some(3) && kept.stderr.matches("was done before").count() == 3);
    let retried = night(&["--retry-failed"]);
    assert!(retried.stderr.contains("c: no difference"), "{}", retried.stderr);
    assert_eq!(night(&["--task-index", "7"]).code, Some(1));
    assert_eq!(night(&["--shard", "3/2"]).code, Some(2));
    // Without a reference it is chosen among the frames: the sharpest.
    let chosen = folder.dia(&["night", "--targets", "?.fits", "-o", "m"]);
    assert!(chosen.stderr.contains("a.fits is the reference"), "{}", chosen.stderr);
}
