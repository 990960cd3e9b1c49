//! `dia subtract` with tables of what changed: against the truth of a simulated pair, and with what users get wrong.

use std::collections::BTreeMap;

use crate::dia::{Folder, Frame, write_plane};
use dia_cli::fits::{FitsFile, HduData};
use serde_json::Value;

const PAIR: [&str; 11] = [
    "--size",
    "256",
    "--seed",
    "5",
    "--density",
    "12",
    "--transients",
    "5",
    "--variables=0",
    "--cosmic-rays=0",
    "--bad-columns=0",
];

const BASE: [&str; 5] = ["subtract", "reference.fits", "target.fits", "-o", "out.fits"];

/// A table of comma-separated values: its rows, by the names of the columns.
fn rows(folder: &Folder, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = String::from_utf8(folder.bytes(name)).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let fields = line.split(',').map(str::to_owned);
        names.iter().map(|name| (*name).to_owned()).zip(fields).collect()
    };
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or(f64::NAN)
}

/// (x, y, flux) of the transients.
fn truth(folder: &Folder) -> Vec<(f64, f64, f64)> {
    let truth: Value = serde_json::from_slice(&folder.bytes("truth.json")).unwrap();
    let of = |event: &Value| {
        let number = |name: &str| event[name].as_f64().unwrap();
        (number("x"), number("y"), number("flux_change"))
    };
    truth["events"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn sources_and_forced_fluxes_are_those_of_the_truth() {
    let folder = Folder::with_pair(&PAIR);
    let events = truth(&folder);
    let lines = events.iter().map(|(x, y, _)| format!("a,{x},{y}\n"));
    folder.write(
        "at.csv",
        ("name,X,Y\n".to_owned() + &lines.collect::<Vec<_>>().concat()).as_bytes(),
    );
    let ended = folder.succeed(
        &[
            &BASE[..],
            &[
                "--sources",
                "s.ecsv",
                "--at",
                "at.csv",
                "--photometry",
                "f.csv",
                "--apertures",
                "4",
                "--report",
                "r.json",
            ],
        ]
        .concat(),
    );
    assert!(ended.stdout.contains("detections above 5 σ"), "{}", ended.stdout);
    let (found, forced) = (rows(&folder, "s.ecsv"), rows(&folder, "f.csv"));
    assert_eq!(forced.len(), events.len());
    for ((x, y, flux), row) in events.iter().zip(&forced) {
        // Five of them at S/N 8 … 40: beyond four σ once in 3000 pairs of tests.
        let pull = (number(row, "psfFlux") - flux) / number(row, "psfFluxErr");
        assert!(pull.abs() < 4.0, "{pull}");
        assert_eq!((number(row, "x"), number(row, "y")), (*x, *y));
        assert!((number(row, "apFlux") - flux).abs() < 4.0 * number(row, "apFluxErr"));
        assert!((number(row, "scale") - 0.8).abs() < 5.0 * number(row, "scaleErr") + 0.01);
        let near = |row: &&BTreeMap<String, String>| {
            (number(row, "x") - x).hypot(number(row, "y") - y) < 1.0
        };
        let detection = found.iter().find(near).expect("a transient of S/N 8 and more is found");
        let pull = (number(detection, "x") - x) / number(detection, "xErr");
        assert!(pull.abs() < 4.0, "{pull}");
        assert_eq!(detection["isNegative"], "False");
    }
    let strengths: Vec<f64> = found.iter().map(|row| number(row, "snr").abs()).collect();
    assert!(strengths.is_sorted_by(|a, b| a >= b));
    let report: Value = serde_json::from_slice(&folder.bytes("r.json")).unwrap();
    assert_eq!(report["photometry"]["detections"], found.len());
    assert_eq!(report["photometry"]["positions"], events.len());
    assert!(report["photometry"]["psf"]["stars"].as_u64() > Some(4));

    // The difference is the same, bit for bit, as without the tables, whose report says nothing of them.
    let with = folder.bytes("out.fits");
    let _ = folder.succeed(&[&BASE[..], &["--report", "r.json"]].concat());
    assert!(folder.bytes("out.fits") == with);
    let report: Value = serde_json::from_slice(&folder.bytes("r.json")).unwrap();
    assert!(report.get("photometry").is_none() && report["timings_s"].get("photometry").is_none());
}

#[test]
fn planes_are_added_where_they_are_asked_for() {
    let folder = Folder::with_pair(&PAIR);
    let _ = folder
        .succeed(&[&BASE[..], &["--planes", "decorrelated,score,flux-error,flux,score"]].concat());
    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    let names: Vec<String> = file.hdus().iter().filter_map(dia_cli::fits::Hdu::name).collect();
    let last = names.iter().position(|name| name == "LEFT_OUT").unwrap() + 1;
    assert_eq!(names[last..], ["SCORE", "FLUX", "FLUXERR", "DECORR", "DECORRVAR"]);
    let plane = |name: &str| {
        let index = file.hdus().iter().position(|hdu| hdu.name().as_deref() == Some(name));
        file.read_image::<f64>(index.unwrap()).unwrap().pixels
    };
    let (score, flux, sigma) = (plane("SCORE"), plane("FLUX"), plane("FLUXERR"));
    let known = (0..score.len()).filter(|i| score[*i].is_finite());
    // Rounded to f32 each.
    assert!(
        known
            .clone()
            .all(|i| (score[i] - flux[i] / sigma[i]).abs() < 1e-5 * (1.0 + score[i].abs()))
    );
    let mut sorted: Vec<f64> = known.map(|i| score[i]).collect();
    sorted.sort_by(f64::total_cmp);
    // Between the quartiles are 1.349 σ of noise; sources are few. Some thousand independent values know it to 3 %.
    let width = (sorted[3 * sorted.len() / 4] - sorted[sorted.len() / 4]) / 1.349;
    assert!((width - 1.0).abs() < 0.1, "{width}");
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is_written() {
    let folder = Folder::with_pair(&PAIR);
    folder.write("sky.csv", b"ra,dec\n1,2\n");
    folder.write("galactic.csv", b"l,b\n1,2\n");
    folder.write("bad.csv", b"x,y\n1,2\n3,here\n");
    folder.write("good.csv", b"x,y\n1,2\n");
    write_plane(&folder, "even.fits", (4, 6), HduData::F32(&[1.0; 24]));
    write_plane(&folder, "dark.fits", (5, 5), HduData::F32(&[0.0; 25]));
    let before = folder.contents();
    let refused = |options: &[&str], code: i32, words: &[&str]| {
        let ended = folder.dia(&[&BASE, options].concat());
        assert_eq!(ended.code, Some(code), "{options:?}\n{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} is missing: {}", ended.stderr);
        }
        assert!(folder.contents() == before, "{options:?}");
    };
    refused(&["--at", "good.csv"], 2, &["--photometry"]);
    refused(&["--photometry", "f.csv"], 2, &["--at"]);
    refused(&["--sources", "s.csv", "--threshold", "-3"], 2, &["--threshold"]);
    refused(&["--planes", "everything"], 2, &["score", "decorrelated"]);
    let at = |file: &'static str| ["--at", file, "--photometry", "f.csv"];
    refused(&at("galactic.csv"), 1, &["galactic.csv", "l, b", "x and y", "ra and dec"]);
    refused(&at("sky.csv"), 1, &["target.fits", "no world coordinates", "x and y"]);
    refused(&at("bad.csv"), 1, &["bad.csv", "y in row 2", "\"here\""]);
    refused(&at("none.csv"), 1, &["none.csv"]);
    refused(&at("target.fits"), 1, &["target.fits", "no binary table"]);
    refused(&["--sources", "s.txt"], 1, &["s.txt", ".ecsv, .csv, .fits"]);
    refused(&["--sources", "out.fits"], 1, &["out.fits", "another file of this command"]);
    refused(
        &["--at", "good.csv", "--photometry", "good.csv"],
        1,
        &["good.csv", "another file of this command"],
    );
    let sources = ["--sources", "s.csv"];
    let with = |options: &[&'static str]| [&sources, options].concat();
    refused(&with(&["--reference-psf", "even.fits"]), 1, &["even.fits", "odd sides"]);
    refused(&with(&["--reference-psf", "dark.fits"]), 1, &["dark.fits", "sums up to 0"]);
    refused(&with(&["--convolve", "target"]), 1, &["--convolve reference"]);
    refused(
        &["--at", "good.csv", "--photometry", "f.csv", "--apertures", "1,2,3,4,5,6"],
        1,
        &["5 at most"],
    );
}

/// Gives the target world coordinates that are turned, so that x and y cannot change places unseen.
fn with_sky(folder: &Folder, projection: &str) {
    let mut target = Frame::read(folder, "target.fits");
    let header = &mut target.header;
    header.set("CTYPE1", format!("RA---{projection}"), "");
    header.set("CTYPE2", format!("DEC--{projection}"), "");
    for (keyword, value) in [
        ("CRVAL1", 120.0),
        ("CRVAL2", 40.0),
        ("CRPIX1", 128.5),
        ("CRPIX2", 100.5),
        ("CD1_1", -1e-4),
        ("CD1_2", 2e-5),
        ("CD2_1", 3e-5),
        ("CD2_2", 1e-4),
    ] {
        header.set(keyword, value, "");
    }
    target.write(folder, "target.fits");
}

#[test]
fn a_difference_that_was_written_is_measured_as_it_was_at_once() {
    let folder = Folder::with_pair(&PAIR);
    with_sky(&folder, "TAN");
    let events = truth(&folder);
    let lines: Vec<String> = events.iter().map(|(x, y, _)| format!("{x},{y}\n")).collect();
    // A place outside, one on the border, one without a value, one twice: a row for each.
    let odd = "-50,3\n2,2\n,7\n2,2\n";
    folder.write("at.csv", format!("x,y\n{}{odd}", lines.concat()).as_bytes());
    let at_once = ["--sources", "s.fits", "--at", "at.csv", "--photometry", "f.ecsv"];
    let options = [&at_once[..], &["--apertures", "3,5", "--planes", "scene"]].concat();
    let _ = folder.succeed(&[&BASE[..], &options].concat());
    let _ = folder.succeed(&["detect", "out.fits", "--sources", "s2.fits", "--threads", "1"]);
    let _ = folder.succeed(&[
        "photometry",
        "out.fits",
        "--at",
        "at.csv",
        "-o",
        "f2.ecsv",
        "--apertures",
        "3,5",
    ]);
    assert!(folder.bytes("f.ecsv") == folder.bytes("f2.ecsv"), "fluxes differ");
    // The header of the detections' table tells the same too.
    assert!(folder.bytes("s.fits") == folder.bytes("s2.fits"), "detections differ");

    let forced = rows(&folder, "f2.ecsv");
    assert_eq!(forced.len(), events.len() + 4);
    let flags: Vec<&str> =
        forced[events.len()..].iter().map(|row| row["flagNames"].as_str()).collect();
    assert_eq!(flags[0], "OUTSIDE");
    assert!(flags[1].contains("MASKED") && flags[3].contains("DUPLICATE"), "{flags:?}");
    assert_eq!(flags[2], "NOT_FINITE");
    // Without a table, the terminal shows them.
    let listed = folder.succeed(&["detect", "out.fits", "--threshold", "8"]).stdout;
    assert!(listed.contains("S/N") && listed.lines().count() > events.len() / 2, "{listed}");

    // The same places by their right ascension and declination.
    let sky: Vec<String> =
        forced.iter().map(|row| format!("{},{}\n", row["ra"], row["dec"])).collect();
    folder.write("sky.csv", format!("RA,DEC\n{}", sky.concat()).as_bytes());
    let _ = folder.succeed(&["photometry", "out.fits", "--at", "sky.csv", "-o", "f3.ecsv"]);
    for (a, b) in forced.iter().zip(rows(&folder, "f3.ecsv")).take(events.len()) {
        assert!((number(a, "x") - number(&b, "x")).abs() < 1e-6);
        let change = (number(a, "psfFlux") - number(&b, "psfFlux")) / number(a, "psfFluxErr");
        assert!(change.abs() < 1e-3, "{change}");
    }
    // CRPIX counts from 1: pixel (127.5, 99.5) from 0 is at CRVAL, and one column on lies CD (−1e-4, 3e-5)° from it.
    folder.write("centre.csv", b"x,y\n127.5,99.5\n128.5,99.5\n");
    let _ = folder.succeed(&["photometry", "out.fits", "--at", "centre.csv", "-o", "c.csv"]);
    let centre = rows(&folder, "c.csv");
    assert!((number(&centre[0], "ra") - 120.0).abs() < 1e-10);
    assert!((number(&centre[0], "dec") - 40.0).abs() < 1e-10);
    let step = (number(&centre[1], "ra") - 120.0) * 40.0_f64.to_radians().cos();
    assert!((step + 1e-4).abs() < 1e-9, "{step}");
    assert!((number(&centre[1], "dec") - 40.0 - 3e-5).abs() < 1e-9);
}

#[test]
fn a_file_that_cannot_be_measured_says_what_it_lacks() {
    let folder = Folder::with_pair(&PAIR);
    with_sky(&folder, "TNX");
    let options = ["--sources", "s.csv", "--at", "at.csv", "--photometry", "f.csv"];
    folder.write("at.csv", b"x,y\n100,100\n");
    folder.write("sky.csv", b"ra,dec\n120,40\n");
    let ended = folder.succeed(&[&BASE[..], &options].concat());
    assert!(ended.stdout.contains("no ra and dec") && ended.stdout.contains("TNX"));
    assert!(!rows(&folder, "f.csv")[0].contains_key("ra"));
    let refused = |arguments: &[&str], words: &[&str]| {
        let ended = folder.dia(arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} is missing: {}", ended.stderr);
        }
    };
    refused(&["detect", "target.fits"], &["target.fits", "no difference that dia wrote"]);
    refused(&["detect", "out.fits"], &["out.fits", "PARAMETERS", "--planes scene"]);
    refused(&["detect", "out.fits", "--sources", "out.fits"], &["another file of this command"]);
    let photometry = |at: &'static str| ["photometry", "out.fits", "--at", at, "-o", "g.csv"];
    refused(&photometry("at.csv"), &["--planes scene"]);
    refused(&photometry("none.csv"), &["none.csv"]);
    let _ = folder.succeed(&[&BASE[..], &["--planes", "scene"]].concat());
    refused(&photometry("sky.csv"), &["target.fits", "TNX", "columns x and y"]);
    let _ = folder.succeed(&photometry("at.csv"));
}

#[test]
fn injected_stars_tell_what_the_measurements_are_worth() {
    let folder = Folder::with_pair(&PAIR);
    let _ = folder.succeed(&BASE);
    let without = folder.bytes("out.fits");
    let options = ["--inject", "80", "--report", "r.json", "--sources", "s.csv"];
    let figures = ["--inject-figure", "inject.png", "--sources-figure", "sources.png"];
    let ended = folder.succeed(&[&BASE[..], &options, &figures].concat());
    for name in ["inject.png", "sources.png"] {
        // Width and height follow the signature and the head of the first chunk.
        let png = folder.bytes(name);
        assert!(png.starts_with(b"\x89PNG\r\n") && png.len() > 20_000, "{name}");
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert!(side(16) >= 1200 && side(20) >= 460, "{name}");
    }
    assert!(ended.stdout.contains("stars injected into the target"), "{}", ended.stdout);
    // The target that was subtracted has none of them.
    assert!(folder.bytes("out.fits") == without);
    let report: Value = serde_json::from_slice(&folder.bytes("r.json")).unwrap();
    let injection = &report["photometry"]["injection"];
    let stars = injection["stars"].as_u64().unwrap();
    let pull = |name: &str, what: &str| injection[name][what].as_f64().unwrap();
    assert!(stars > 40, "{injection}");
    // Of 40 stars and more, means are known to 0.16 and standard deviations to 0.11: four of these.
    assert!(pull("flux_pull", "mean").abs() < 0.65, "{injection}");
    assert!((pull("flux_pull", "deviation") - 1.0).abs() < 0.45, "{injection}");
    assert!((pull("position_pull", "deviation") - 1.0).abs() < 0.6, "{injection}");
    let half = injection["half_complete"].as_f64().unwrap();
    assert!((half - 5.0).abs() < 1.0, "{injection}");
    let ranges = injection["completeness"].as_array().unwrap();
    let sum = |name: &str| ranges.iter().map(|range| range[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("injected"), stars);
    let last = ranges.last().unwrap();
    assert_eq!(last["injected"], last["found"]);
    // Without tables too, and never none.
    let _ = folder.succeed(&[&BASE[..], &["--inject", "5"]].concat());
    assert_eq!(folder.dia(&[&BASE[..], &["--inject", "0"]].concat()).code, Some(2));
    // A figure of what was not asked for, and one of nothing.
    for option in ["--inject-figure", "--sources-figure"] {
        assert_eq!(folder.dia(&[&BASE[..], &[option, "f.png"]].concat()).code, Some(2));
    }
    let nothing = ["--sources", "s.csv", "--threshold", "1e6", "--sources-figure", "none.png"];
    let _ = folder.succeed(&[&BASE[..], &nothing].concat());
    assert!(folder.bytes("none.png").starts_with(b"\x89PNG"));
}

#[test]
fn a_star_that_rules_the_fit_keeps_a_variance() {
    let mut pair: Vec<&str> = PAIR.to_vec();
    pair.extend(["--reference-depth", "0.25", "--reference-fwhm", "2.4"]);
    pair.extend(["--target-fwhm", "3.0"]);
    let folder = Folder::with_pair(&pair);
    let truth: Value = serde_json::from_slice(&folder.bytes("truth.json")).unwrap();
    let stars = truth["stars"].as_array().unwrap().iter();
    let place =
        |star: &Value| [&"x", &"y", &"flux_target"].map(|name| star[*name].as_f64().unwrap());
    let mut stars: Vec<[f64; 3]> = stars.map(place).collect();
    stars.retain(|[x, y, _]| (40.0..216.0).contains(x) && (40.0..216.0).contains(y));
    stars.sort_by(|a, b| b[2].total_cmp(&a[2]));
    let bright = &stars[..5];
    let places = bright.iter().map(|[x, y, _]| format!("{x},{y}"));
    let lines: Vec<String> = std::iter::once("x,y".into()).chain(places).collect();
    folder.write("at.csv", lines.join("\n").as_bytes());
    let tables = ["--at", "at.csv", "--photometry", "fluxes.csv", "--fail-on=never"];
    let _ = folder.succeed(&[&BASE[..], &tables].concat());
    for (row, [.., flux]) in rows(&folder, "fluxes.csv").iter().zip(bright) {
        let [own, template, covariance, scale] =
            ["psfFluxErr", "templateFluxErr", "psfFlux_templateFlux_Cov", "scale"]
                .map(|name| number(row, name));
        // Of F_r + f/P, the flux of the star in both images: no less than its own photons make in the target, at 1.5 e⁻/ADU. A tenth for the light of the model in their place.
        let variance = template * template + own * own / (scale * scale) + 2.0 * covariance / scale;
        let photons = flux / 1.5 / (scale * scale);
        assert!(variance > 0.9 * photons, "{flux}: {variance} of {photons}");
    }
}
