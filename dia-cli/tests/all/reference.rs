//! `dia reference`: a stack of frames against the truth of their sky, and what it is as a reference.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::Value;

use crate::dia::{Folder, Frame};

const GAIN: f64 = 1.5;
const READ_NOISE: f64 = 6.0;
const SIDE: usize = 220;

/// A frame of one sky without changes, of which `transparency` is left, with noise of its own.
fn frame(folder: &Folder, name: &str, seed: u64, fwhm: &str, transparency: f32, dx: &str) {
    let options = [
        "--size",
        "220",
        "--seed",
        "3",
        "--density",
        "20",
        "--variables=0",
        "--transients=0",
        "--cosmic-rays=0",
        "--bad-columns=0",
        // Photons without noise: it is added below.
        "--gain=1e9",
        "--read-noise=1",
        "--target-fwhm",
        fwhm,
        "--dx",
        dx,
    ];
    folder.simulate(name, &options);
    let mut frame = Frame::read(folder, &format!("{name}/target.fits"));
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    for value in &mut frame.pixels {
        *value *= transparency;
        let noise: f64 = StandardNormal.sample(&mut random);
        let variance = (f64::from(*value) * GAIN + READ_NOISE * READ_NOISE) / (GAIN * GAIN);
        *value += (variance.sqrt() * noise) as f32;
    }
    frame.header.set("GAIN", GAIN, "");
    frame.header.set("RDNOISE", READ_NOISE, "");
    frame.write_unmasked(folder, &format!("{name}.fits"));
}

/// Five frames for a stack (b is the sharpest), one of bad seeing, and a later one.
fn frames() -> Folder {
    let folder = Folder::new();
    for (seed, (name, fwhm, transparency, dx)) in [
        ("a", "3.2", 0.8, "0"),
        ("b", "3.0", 0.7, "2.3"),
        // Half a pixel from b: a whole-pixel offset may be rounded one way in the stack and the other way afterwards.
        ("c", "3.3", 0.85, "-3.2"),
        ("d", "3.25", 0.75, "1"),
        ("e", "3.2", 0.8, "0.4"),
        ("wide", "5.6", 0.8, "0"),
        ("later", "4.4", 0.9, "-1"),
    ]
    .into_iter()
    .enumerate()
    {
        frame(&folder, name, seed as u64, fwhm, transparency, dx);
    }
    folder
}

fn json(folder: &Folder, name: &str) -> Value {
    serde_json::from_slice(&folder.bytes(name)).unwrap()
}

#[test]
fn a_stack_is_deeper_than_its_frames_and_a_better_reference() {
    let folder = frames();
    // A trail and a source that one frame alone has.
    let mut spoilt = Frame::read_unmasked(&folder, "d.fits");
    for i in 59 * SIDE..62 * SIDE {
        spoilt.pixels[i] += 3000.0;
    }
    spoilt.write_unmasked(&folder, "d.fits");
    folder.write("list.txt", b"c.fits\nd.fits\ne.fits\nwide.fits\n");
    let made = folder.succeed(&[
        "reference",
        "a.fits",
        "b.fits",
        "list.txt",
        "-o",
        "ref.fits",
        "--report",
        "ref.json",
    ]);
    assert!(made.stdout.contains("5 of 6 frames on the grid of b.fits"), "{}", made.stdout);
    assert!(made.stderr.contains("wide.fits: is not in the reference: its seeing"));
    let report = json(&folder, "ref.json");
    let frame = |name: &str| {
        let frames = report["frames"].as_array().unwrap();
        frames.iter().find(|frame| frame["file"] == name).unwrap().clone()
    };
    // Equal exposures through skies of 0.7 to 0.85: nearly √5, less the seeing of the others.
    let gain = report["gain"].as_f64().unwrap();
    assert!((1.8..2.5).contains(&gain), "{gain}");
    for (name, scale) in [("a.fits", 0.8), ("c.fits", 0.85), ("e.fits", 0.8)] {
        let found = frame(name);
        let value = |key: &str| found[key].as_f64().unwrap();
        let pull = (value("scale") - 0.7 / scale) / value("scale_sigma");
        assert!(pull.abs() < 4.0, "{name}: {pull}");
    }

    // Sky pixels have the scatter that VARIANCE says, along the trail too.
    let stack = dia_cli::fits::FitsFile::open(&folder.path("ref.fits")).unwrap();
    let names: Vec<String> = stack.hdus().iter().filter_map(dia_cli::fits::Hdu::name).collect();
    assert_eq!(names, ["REFERENCE", "VARIANCE", "MASK", "COVERAGE", "PSF"]);
    let pixels = stack.read_image::<f32>(0).unwrap().pixels;
    let coverage = stack.read_integers(3).unwrap().pixels;
    let row = |y: usize| pixels[y * SIDE + 20..y * SIDE + 200].to_vec();
    let median = |mut values: Vec<f32>| {
        values.sort_by(f32::total_cmp);
        values[values.len() / 2]
    };
    // It was 3000 ADU in one of five.
    let (trail, beside) = (median(row(60)), median([row(55), row(65)].concat()));
    assert!((trail - beside).abs() < 40.0, "{trail} {beside}");
    let without = (20..200).filter(|x| coverage[60 * SIDE + x] == 4).count();
    assert!(without > 150, "{without}");

    // A frame that is not in it, and one that is.
    for (target, scale, contained) in
        [("later.fits", 0.9, false), ("a.fits", 0.8, true), ("c.fits", 0.85, true)]
    {
        let _ =
            folder.succeed(&["subtract", "ref.fits", target, "-o", "d.fits", "--report", "d.json"]);
        let report = json(&folder, "d.json");
        let value = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap();
        // The unit of the stack is that of its base, whose noise is in the scales of all frames alike.
        let relative = |frame: &Value| {
            frame["scale_sigma"].as_f64().unwrap() / frame["scale"].as_f64().unwrap()
        };
        let of_unit = relative(&frame("a.fits")) * scale / 0.7;
        let sigma = value("/photometric_scale/sigma").hypot(of_unit);
        let pull = (value("/photometric_scale/value") - scale / 0.7) / sigma;
        assert!(pull.abs() < 4.0, "{target}: {pull}");
        assert_eq!(report["verdict"]["level"], "pass", "{target}: {}", report["verdict"]);
        // 48 400 pixels tell it to 0.3 %; the noise of a stack is not known better than its frames' alignment.
        assert!((value("/residuals/robust_std") - 1.0).abs() < 0.04, "{target}");
        let said = report["notices"].to_string().contains("frame-of-reference");
        assert_eq!(said, contained, "{target}: {}", report["notices"]);
    }
}

#[test]
fn the_same_files_are_made_by_any_number_of_threads() {
    let folder = frames();
    for (name, threads) in [("one.fits", "1"), ("two.fits", "2")] {
        let _ = folder.succeed(&[
            "reference",
            "a.fits",
            "b.fits",
            "e.fits",
            "-o",
            name,
            "--threads",
            threads,
            "-q",
        ]);
    }
    assert!(folder.bytes("one.fits") == folder.bytes("two.fits"));
}

#[test]
fn what_cannot_be_stacked_is_named() {
    let folder = frames();
    folder.write("none.fits", b"no image");
    folder.simulate("other", &["--size", "220", "--seed", "77"]);
    let made = folder.succeed(&[
        "reference",
        "a.fits",
        "e.fits",
        "none.fits",
        "other/target.fits",
        "-o",
        "r.fits",
    ]);
    assert!(made.stderr.contains("none.fits: is not in the reference: "), "{}", made.stderr);
    assert!(made.stderr.contains("other/target.fits: is not in the reference: "));
    for (arguments, said) in [
        (&["reference", "none.fits", "-o", "r.fits"][..], "no frame can be the reference"),
        (&["reference", "a.fits", "b.fits", "-o", "a.fits"], "over"),
        (&["reference", "a.fits", "a.fits", "-o", "r.fits"], "twice"),
        (
            &["reference", "a.fits", "b.fits", "-o", "r.fits", "--convolve", "reference"],
            "--convolve reference",
        ),
        (&["reference", "a.fits", "b.fits", "-o", "r.fits", "--max-memory", "1MiB"], "--most"),
    ] {
        let ended = folder.dia(arguments);
        assert!(ended.code == Some(1) && ended.stderr.contains(said), "{}", ended.stderr);
    }
    assert_eq!(folder.dia(&["reference", "-o", "r.fits"]).code, Some(2));
}

#[test]
fn a_night_without_a_reference_makes_one() {
    let folder = frames();
    let night = || folder.succeed(&["night", "--targets", "?.fits", "later.fits", "-o", "n"]);
    let first = night();
    assert!(
        first.stderr.contains("5 frames are the reference, on the grid of b.fits"),
        "{}",
        first.stderr
    );
    let made = folder.bytes("n/reference.fits");
    let lines = |ended: &crate::dia::Ended, text: &str| ended.stderr.matches(text).count();
    // The base is a target too, and sharper than the stack.
    assert!(lines(&first, "PASS") >= 5, "{}", first.stderr);
    let again = night();
    assert_eq!(lines(&again, "was done before"), 6, "{}", again.stderr);
    assert!(!again.stderr.contains("matched") && folder.bytes("n/reference.fits") == made);
    let record = json(&folder, "n/night.json");
    assert!(record["reference"].as_str().unwrap().ends_with("reference.fits"));
}

#[test]
fn a_target_that_the_reference_is_made_of_is_known_and_taken_out() {
    let folder = Folder::new();
    let names = ["p", "q", "r"];
    for (seed, name) in names.into_iter().enumerate() {
        frame(&folder, name, 20 + seed as u64, "3.2", 0.8, "0");
        let file = format!("{name}.fits");
        let mut frame = Frame::read_unmasked(&folder, &file);
        // A cosmic ray each, which is interpolated where the frame is convolved.
        frame.pixels[(60 + 20 * seed) * SIDE + 90] += 8000.0;
        frame.write_unmasked(&folder, &file);
    }
    let _ = folder.succeed(&["reference", "p.fits", "q.fits", "r.fits", "-o", "ref.fits"]);
    for name in names {
        let file = format!("{name}.fits");
        let _ =
            folder.succeed(&["subtract", "ref.fits", &file, "-o", "d.fits", "--report", "d.json"]);
        let report = json(&folder, "d.json");
        let value = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap();
        assert!(report["notices"].to_string().contains("frame-of-reference"), "{name}");
        let [scale, sigma] =
            ["value", "sigma"].map(|key| value(&format!("/photometric_scale/{key}")));
        // The unit of a stack of three is known to about 1/√3 of what a frame's scale is.
        assert!((scale - 1.0).abs() < 4.0 * 1.2 * sigma, "{name}: {scale} ± {sigma}");
        assert!((value("/residuals/robust_std") - 1.0).abs() < 0.04, "{name}");
    }

    // A mean that was taken elsewhere says nothing of its frames, but its noise does.
    let mut mean = Frame::read_unmasked(&folder, "p.fits");
    let other = Frame::read_unmasked(&folder, "q.fits");
    mean.pixels.iter_mut().zip(&other.pixels).for_each(|(a, b)| *a = 0.5 * (*a + b));
    mean.header.set("GAIN", 2.0 * GAIN, "");
    mean.header.set("RDNOISE", 2.0_f64.sqrt() * READ_NOISE, "");
    mean.write_unmasked(&folder, "mean.fits");
    let subtract = |target: &str, options: &[&str]| {
        let command = ["subtract", "mean.fits", target, "-o", "d.fits", "--report", "d.json"];
        folder.dia(&[&command, options].concat()).stderr
    };
    let said = subtract("p.fits", &[]);
    assert!(said.contains("of their noise in common"), "{said}");
    let said = subtract("p.fits", &["--reference-contains-target", "2"]);
    assert!(!said.contains("noise in common") && said.contains("taken out of it"), "{said}");
    let said = subtract("r.fits", &[]);
    assert!(!said.contains("noise in common"), "{said}");
}
