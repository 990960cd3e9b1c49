//! `dia` from files to files: what it writes, against the truth and against itself.

use std::collections::BTreeMap;

use crate::dia::{Ended, Folder, Frame, write_plane};
use dia_cli::fits::{self, FitsFile, HduData, HduOut, Header};
use serde_json::Value;

const BASE: [&str; 7] =
    ["subtract", "reference.fits", "target.fits", "-o", "out.fits", "--report", "report.json"];

/// Bits of the mask, as the MP_ cards of every mask of ours say.
const BAD: i16 = 1 << 3;

/// A difference read back.
struct Subtraction {
    file: FitsFile,
    report: Value,
    shape: (usize, usize),
    difference: Vec<f64>,
    variance: Vec<f64>,
    mask: Vec<i64>,
    model: Vec<f64>,
}

impl Subtraction {
    /// Subtracts reference.fits from target.fits with further options.
    fn run(folder: &Folder, options: &[&str]) -> Self {
        let _ = folder.succeed(&[&BASE, options].concat());
        Self::read(folder)
    }

    /// Reads out.fits and report.json.
    fn read(folder: &Folder) -> Self {
        let file = FitsFile::open(&folder.path("out.fits")).unwrap();
        let plane = |index| file.read_image::<f64>(index).unwrap().pixels;
        Self {
            report: serde_json::from_slice(&folder.bytes("report.json")).unwrap(),
            shape: file.hdu(0).unwrap().shape().unwrap(),
            difference: plane(0),
            variance: plane(1),
            mask: file.read_integers(2).unwrap().pixels,
            model: plane(3),
            file,
        }
    }

    /// A number of the report by its JSON pointer.
    fn number(&self, pointer: &str) -> f64 {
        number(&self.report, pointer)
    }

    fn text(&self, pointer: &str) -> &str {
        self.report.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}"))
    }

    fn header(&self) -> &Header {
        &self.file.hdu(0).unwrap().header
    }

    /// D/σ at the good pixels.
    fn residuals(&self) -> impl Iterator<Item = f64> {
        let residuals = self.difference.iter().zip(&self.variance).map(|(d, v)| d / v.sqrt());
        residuals.filter(|z| z.is_finite())
    }

    /// Largest |D − D'|/σ of two differences, which must have the same good pixels.
    fn distance(&self, other: &Self) -> f64 {
        assert_eq!(self.mask, other.mask);
        let both = self.difference.iter().zip(&other.difference).zip(&self.variance);
        let distances = both.map(|((a, b), variance)| (a - b).abs() / variance.sqrt());
        distances.filter(|d| d.is_finite()).fold(0.0, f64::max)
    }
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {pointer}"))
}

/// The bits of every plane of a file, by name; one bit pattern for all NaN.
fn bits(folder: &Folder, name: &str) -> BTreeMap<String, Vec<u64>> {
    let file = FitsFile::open(&folder.path(name)).unwrap();
    let planes = file.hdus().iter().map(|hdu| {
        let pixels = file.read_image::<f64>(hdu.index).unwrap().pixels;
        let one_nan = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
        (hdu.name().unwrap(), pixels.into_iter().map(one_nan).collect())
    });
    planes.collect()
}

/// A pair with defects, and cards of an observatory in the target's header.
fn observed_pair() -> Folder {
    let folder = Folder::with_pair(&["--size", "256", "--seed", "11", "--saturation", "3000"]);
    let mut target = Frame::read(&folder, "target.fits");
    let header = &mut target.header;
    header.set("OBSERVER", "C. Herschel", "who was there");
    header.set("ESO TEL AIRM START", 1.25, "airmass");
    header.set("CTYPE1", "RA---TAN", "");
    header.set("CTYPE2", "DEC--TAN", "");
    header.set("CRVAL1", 266.416_816_625, "[deg]");
    header.set("CRVAL2", -29.007_824_972, "[deg]");
    header.set("CRPIX1", 64.5, "");
    header.set("CRPIX2", 64.5, "");
    header.set("CD1_1", -7.2e-5, "");
    header.set("CD2_2", 7.2e-5, "");
    header.push_comment("observed through thin cloud");
    target.write(&folder, "target.fits");
    folder
}

#[test]
fn the_difference_of_a_pair_with_defects() {
    let folder = observed_pair();
    let varying = Subtraction::run(&folder, &["--kernel-degree", "2"]);
    let kernels = varying.file.hdus().iter().filter_map(fits::Hdu::name);
    let kernels: Vec<String> = kernels.filter(|name| name.starts_with("KERNEL")).collect();
    assert_eq!(kernels, ["KERNEL", "KERNEL_1", "KERNEL_2", "KERNEL_3", "KERNEL_4", "KERNEL_5"]);

    let ended = folder.succeed(&BASE);
    let d = Subtraction::read(&folder);
    let target = Frame::read(&folder, "target.fits");

    // The planes, in their order.
    let half_width = d.number("/half_width") as usize;
    let side = 2 * half_width + 1;
    let planes: Vec<_> =
        d.file.hdus().iter().map(|hdu| (hdu.name().unwrap(), hdu.shape().unwrap())).collect();
    let expected = [
        ("DIFFERENCE", (256, 256)),
        ("VARIANCE", (256, 256)),
        ("MASK", (256, 256)),
        ("MODEL", (256, 256)),
        ("KERNEL", (side, side)),
        // That of this pair does not vary.
        ("LEFT_OUT", (256, 256)),
    ];
    assert_eq!(planes, expected.map(|(name, shape)| (name.to_string(), shape)));
    let bitpix: Vec<i64> = d.file.hdus().iter().map(|hdu| hdu.bitpix).collect();
    assert_eq!(bitpix, [-32, -32, 16, -32, -64, 16]);

    // D is I − M in single precision, rounded once; it and its variance are NaN exactly where the mask is set.
    for (i, mask) in d.mask.iter().enumerate() {
        assert_eq!(d.difference[i].is_nan(), *mask != 0, "pixel {i}");
        assert_eq!(d.variance[i].is_nan(), *mask != 0, "pixel {i}");
        if *mask == 0 {
            let (data, model) = (target.pixels[i], d.model[i] as f32);
            assert_eq!(d.difference[i], f64::from(data - model), "pixel {i}");
            assert!(d.variance[i] > 0.0, "pixel {i}");
        }
        assert!(*mask != 0 || target.mask[i] == 0, "pixel {i} was masked");
    }
    // What only the fit left out has a plane of its own.
    let left_out = d.file.hdus().last().unwrap();
    let variable = 1 << left_out.header.get_i64("MP_VARIABLE").unwrap();
    let variables = d.file.read_integers(left_out.index).unwrap().pixels;
    let variables = variables.iter().filter(|planes| **planes & variable != 0).count();
    assert_eq!(d.number("/pixels/planes/variable") as usize, variables);
    assert!(variables > 0 && !d.file.hdu(2).unwrap().header.contains("MP_VARIABLE"));
    // An edge as wide as the kernel without its wings, and nothing else, has no valid pixel.
    let edge = 256 * 256 - (256 - 2 * d.number("/kernel/inner") as usize).pow(2);
    assert_eq!(d.number("/pixels/planes/edge") as usize, edge);
    assert!(d.number("/pixels/planes/bad") >= 256.0, "a dead column");
    assert!(d.number("/pixels/planes/saturated") > 0.0);

    // P is that of the simulation; the kernel's sum is P up to the rounding of a sum of side² terms of size up to P.
    let truth: Value = serde_json::from_slice(&folder.bytes("truth.json")).unwrap();
    let scale = d.number("/photometric_scale/value");
    let sigma = d.number("/photometric_scale/sigma");
    assert!((scale - number(&truth, "/options/scale")).abs() <= 5.0 * sigma, "{scale} ± {sigma}");
    assert!(sigma > 0.0 && sigma < 0.1, "{sigma}");
    let kernel: f64 = d.file.read_image::<f64>(4).unwrap().pixels.iter().sum();
    let rounding = f64::EPSILON * (side * side) as f64 * scale;
    assert!((kernel - scale).abs() <= rounding, "{kernel} is not {scale}");

    // Every card of the target is there, but for what describes its pixels or what we say ourselves.
    let kept = |card: &fits::Card| d.header().cards().contains(card);
    let changed = ["SIMPLE", "BITPIX", "NAXIS", "EXTEND", "EXTNAME", "BUNIT"];
    for card in target.header.cards() {
        let text = String::from_utf8_lossy(card);
        assert!(kept(card) || changed.iter().any(|keyword| text.starts_with(keyword)), "{text}");
    }
    for index in 1..4 {
        let plane = &d.file.hdu(index).unwrap().header;
        for keyword in
            ["CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD2_2"]
        {
            assert_eq!(plane.get(keyword), target.header.get(keyword), "{keyword} of HDU {index}");
        }
    }
    let history = d.header().cards().iter().map(|card| String::from_utf8_lossy(card));
    let history = history.filter(|card| card.starts_with("HISTORY"));
    let history: Vec<String> = history.map(|card| card[8..].trim_end().to_string()).collect();
    let history = history.join(" ");
    assert!(history.contains("subtract reference.fits target.fits"), "{history}");

    // The summary names the file, and is plain text where it does not go to a terminal.
    assert!(ended.stdout.contains("wrote out.fits"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\x1b'), "{}", ended.stdout);
    // The simulation has cosmic rays; nothing is doubtful.
    assert!(ended.stderr.lines().all(|line| line.starts_with("note: ")), "{}", ended.stderr);
}

#[test]
fn the_report_says_what_was_done() {
    let folder = observed_pair();
    let d = Subtraction::run(&folder, &[]);
    assert_eq!(d.number("/schema"), 1.0);
    assert_eq!(d.text("/version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(d.text("/output"), "out.fits");
    assert!(d.text("/command").ends_with(&BASE.join(" ")));
    assert_eq!(d.text("/target/image"), "target.fits, 0 (IMAGE)");
    assert_eq!(d.text("/target/mask"), "target.fits, 1 (MASK)");
    assert_eq!(d.text("/target/gain/source"), "keyword GAIN");
    assert_eq!(d.text("/backend"), "cpu");
    // What was not done is left out.
    for pointer in ["/traffic", "/photometry", "/offset/turned", "/target/variance"] {
        assert!(d.report.pointer(pointer).is_none(), "{pointer}");
    }
    assert_eq!(d.header().get_str("BUNIT").as_deref(), Some("adu"));
    assert_eq!(d.number("/pixels/used") + d.number("/pixels/masked"), 256.0 * 256.0);
    // Of the valid pixels, all take part but those that only the fit left out.
    let left_out = d.file.read_integers(d.file.hdus().last().unwrap().index).unwrap().pixels;
    let used = d.mask.iter().zip(&left_out).filter(|(mask, fit)| **mask == 0 && **fit == 0);
    assert_eq!(d.number("/pixels/used") as usize, used.count());
    assert!(d.number("/solver/optimality") <= d.number("/solver/tolerance"));
    let parts = ["read", "prepare", "fit", "apply", "write"];
    let parts: f64 = parts.iter().map(|part| d.number(&format!("/timings_s/{part}"))).sum();
    assert!(parts > 0.0 && parts <= d.number("/timings_s/total"));
}

#[test]
fn without_events_only_the_noise_is_left() {
    let folder = Folder::with_pair(&[
        "--size",
        "256",
        "--seed",
        "5",
        "--variables",
        "0",
        "--transients",
        "0",
        "--cosmic-rays",
        "0",
    ]);
    let d = Subtraction::run(&folder, &[]);
    let used = d.number("/pixels/used");
    let unknowns = d.number("/kernel/coefficients") + 3.0;
    // The mean of N unit normals has the standard deviation 1/√N; fitting a background only makes it smaller.
    let mfb = d.number("/residuals/mfb");
    assert!(mfb.abs() <= 5.0 / used.sqrt(), "mean {mfb}");
    // The n fitted unknowns take a part n/N of the variance away. The standard deviation of the MAD's σ is 1.17/√N, that of
    // the variance √(2/N).
    let expected = 1.0 - unknowns / used;
    let robust_std = d.number("/residuals/robust_std");
    let tolerance = 5.0 * 1.17 / used.sqrt();
    assert!((robust_std - expected.sqrt()).abs() <= tolerance, "robust σ {robust_std}");
    let chi2_dof = d.number("/residuals/chi2_dof");
    assert!((chi2_dof - 1.0).abs() <= 5.0 * (2.0 / used).sqrt(), "χ²/dof {chi2_dof}");
    // The same numbers from the planes that were written.
    let mean = d.residuals().sum::<f64>() / used;
    let mfv = d.residuals().map(|z| (z - mean).powi(2)).sum::<f64>() / (used - 1.0);
    // Single precision rounds σ² once.
    let rounding = f64::from(f32::EPSILON);
    assert!((mean - mfb).abs() <= rounding, "{mean} is not {mfb}");
    assert!((mfv - d.number("/residuals/mfv")).abs() <= rounding * mfv);
}

#[test]
fn the_solvers_agree() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "6"]);
    // To within 10⁻⁴ σ of a minimum each. Penalty and noise of the reference are renewed when the parameters have moved by 100 times that, so the minima
    // themselves differ by a part of 10⁻² σ.
    // Whether a source at the threshold counts as variable is decided before.
    let solve = |solver| {
        let options = ["--solver", solver, "--tolerance", "1e-4", "--precision", "f64"];
        Subtraction::run(&folder, &[&options[..], &["--mask-variables", "off"]].concat())
    };
    let pcg = solve("pcg");
    assert_eq!(pcg.text("/solver/name"), "pcg");
    let scale = pcg.number("/photometric_scale/value");
    let sigma = pcg.number("/photometric_scale/sigma");
    for solver in ["lsqr", "cholesky"] {
        let other = solve(solver);
        assert_eq!(other.text("/solver/name"), solver);
        let difference = (other.number("/photometric_scale/value") - scale).abs();
        assert!(difference <= 1e-2 * sigma, "{solver}: P differs by {difference} ± {sigma}");
        let distance = pcg.distance(&other);
        assert!(distance <= 0.01, "{solver}: a pixel differs by {distance} σ");
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "7"]);
    let run = |threads: &str| {
        let d = Subtraction::run(&folder, &["--threads", threads]);
        assert_eq!(d.number("/threads").to_string(), threads);
        bits(&folder, "out.fits")
    };
    let one = run("1");
    assert!(run("2") == one && run("3") == one);
}

#[test]
fn less_memory_gives_the_same_result_or_an_error() {
    let folder = observed_pair();
    let (height, width) = Subtraction::run(&folder, &[]).shape;
    let free = bits(&folder, "out.fits");
    // 25 planes of pixels and four of masks fit, and the two images of the wings; the spectra do not.
    let tight = format!("{}B", height * width * 121);
    let _ = folder.succeed(&[&BASE[..], &["--max-memory", &tight]].concat());
    assert!(bits(&folder, "out.fits") == free);
    let refused = folder.dia(&[&BASE[..], &["--max-memory", "100kB"]].concat());
    assert!(refused.code != Some(0));
    assert!(refused.stderr.contains("more than the limit of 97.7 KiB"), "{}", refused.stderr);
}

#[test]
fn every_model_works_and_says_what_it_is() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "8"]);
    let default = Subtraction::run(&folder, &[]);
    let (scale, sigma) =
        (default.number("/photometric_scale/value"), default.number("/photometric_scale/sigma"));
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--basis", "gauss"], "/kernel/basis", "gauss"),
        (&["--basis", "delta"], "/kernel/basis", "delta"),
        (&["--kernel-shape", "square"], "/kernel/shape", "square"),
        (&["--loss", "gaussian"], "/loss", "gaussian"),
        (&["--loss", "tukey"], "/loss", "tukey"),
        (&["--loss", "cauchy"], "/loss", "cauchy"),
        (&["--loss", "student-t"], "/loss", "student-t"),
        (&["--loss", "clip"], "/loss", "clip"),
        (&["--reference-noise", "weight"], "/reference_noise", "weight"),
        (&["--reference-noise", "ignore"], "/reference_noise", "ignore"),
        (&["--half-width", "tic"], "/half_width_by", "tic"),
        (&["--scale-degree", "1"], "/kernel/basis", "mixed"),
        (&["--model-variance", "on"], "/kernel/basis", "mixed"),
        (&["--precision", "f64"], "/precision", "f64"),
        (&["--align", "none"], "/kernel/basis", "mixed"),
    ];
    for (options, pointer, name) in cases {
        let d = Subtraction::run(&folder, options);
        assert_eq!(d.text(pointer), *name);
        // Other models of the same sky: they agree within their errors, but for the plain sum of squares, which the
        // variables and cosmic rays of the target pull away.
        let found = d.number("/photometric_scale/value");
        let limit = if *name == "gaussian" { 0.5 } else { 5.0 * sigma };
        assert!((found - scale).abs() <= limit, "{options:?}: {found}, not {scale} ± {sigma}");
    }
    let wide = Subtraction::run(&folder, &["--precision", "f64"]);
    assert_eq!(wide.file.hdu(0).unwrap().bitpix, -64);
    assert!(wide.distance(&default) <= 0.02, "each is within 0.01 σ of the minimum");

    let free = ["--half-width", "6", "--basis", "delta", "--kernel-degree", "0"];
    let square = Subtraction::run(&folder, &[&free[..], &["--kernel-shape", "square"]].concat());
    assert_eq!(square.number("/kernel/coefficients"), 169.0);
    let circle = Subtraction::run(&folder, &free);
    // Pixels within 6½ pixels of the centre.
    let inside = |x: i32, y: i32| x * x + y * y <= 42;
    let count = (-6..=6).flat_map(|x| (-6..=6).filter(move |y| inside(x, *y))).count();
    assert_eq!(circle.number("/kernel/coefficients") as usize, count);

    for (degree, coefficients) in [("0", 1), ("2", 6)] {
        let d = Subtraction::run(&folder, &["--background-degree", degree]);
        assert_eq!(d.number("/background/degree").to_string(), degree);
        let list = d.report.pointer("/background/coefficients").unwrap().as_array().unwrap();
        assert_eq!(list.len(), coefficients);
        assert!(d.header().contains(&format!("DIABG{}", coefficients - 1)));
        assert!(!d.header().contains(&format!("DIABG{coefficients}")));
    }
}

#[test]
fn whole_pixels_of_an_offset_are_taken_out() {
    // Gaussian stars end inside the kernel; the wings of others would bias its moments.
    let folder = Folder::with_pair(&[
        "--size",
        "256",
        "--psf",
        "gaussian",
        "--density",
        "150",
        "--dx",
        "7.3",
        "--dy=-11.4",
    ]);
    let d = Subtraction::run(&folder, &[]);
    assert_eq!((d.number("/offset/dx"), d.number("/offset/dy")), (7.0, -11.0));
    // What is left is in the kernel. If its (2h+1)² pixels have independent errors, that of its centroid is h/√3 · σ_P/P, for
    // h/√3 is the rms distance of a pixel from the middle column.
    let check_centroid = |d: &Subtraction, dx: f64, dy: f64| {
        let error = d.number("/photometric_scale/sigma") / d.number("/photometric_scale/value");
        let tolerance = 5.0 * d.number("/half_width") / 3.0_f64.sqrt() * error;
        let found = (d.number("/kernel/centroid/dx"), d.number("/kernel/centroid/dy"));
        let near = (found.0 - dx).abs() <= tolerance && (found.1 - dy).abs() <= tolerance;
        assert!(near && tolerance < 0.2, "{found:?} is not ({dx}, {dy}) ± {tolerance}");
    };
    check_centroid(&d, 0.3, -0.4);
    // The columns that have no reference any more are masked: 7 on the left, and 11 rows at the top.
    assert!(d.number("/pixels/planes/reference_bad") > 0.0);
    let (_, width) = d.shape;
    let used_column = |x: usize| d.mask.iter().skip(x).step_by(width).any(|planes| *planes == 0);
    let inner = d.number("/kernel/inner") as usize;
    assert!(!used_column(7 + inner - 1) && used_column(7 + inner));

    // Without alignment, the kernel has to reach that far.
    let still = Subtraction::run(&folder, &["--align", "none", "--half-width", "16"]);
    assert_eq!((still.number("/offset/dx"), still.number("/offset/dy")), (0.0, 0.0));
    check_centroid(&still, 7.3, -11.4);
}

/// The target with the variance that the command would give it, so that a variance plane can take the gain's place.
fn variance_of(frame: &Frame) -> Vec<f32> {
    let (gain, read_noise) =
        (frame.header.get_f64("GAIN").unwrap(), frame.header.get_f64("RDNOISE").unwrap());
    let variance = |v: f32| (read_noise / gain).powi(2) + f64::from(v.max(0.0)) / gain;
    frame.pixels.iter().map(|v| variance(*v) as f32).collect()
}

/// A file as LSST's stack writes it: no data in the primary HDU, planes known by EXTTYPE, mask bits by MP_ cards.
fn write_lsst(folder: &Folder, name: &str, frame: &Frame, bits: &[i32]) {
    let (mut primary, mut image, mut mask, mut variance) =
        (Header::new(), Header::new(), Header::new(), Header::new());
    primary.set("TELESCOP", "Simonyi", "");
    primary.set("CRVAL1", 1.0, "of the boresight");
    image.set("EXTTYPE", "IMAGE", "");
    image.set("CRVAL1", 2.0, "of the detector");
    mask.set("EXTTYPE", "MASK", "");
    mask.set("MP_BAD", 0, "");
    mask.set("MP_DETECTED", 5, "");
    mask.set("MP_NO_DATA", 8, "");
    variance.set("EXTTYPE", "VARIANCE", "");
    let sigma2 = variance_of(frame);
    let shape = |data| Some((frame.height, frame.width, data));
    let hdus = [
        HduOut { name: "", header: &primary, image: None },
        HduOut { name: "", header: &image, image: shape(HduData::F32(&frame.pixels)) },
        HduOut { name: "", header: &mask, image: shape(HduData::I32(bits)) },
        HduOut { name: "", header: &variance, image: shape(HduData::F32(&sigma2)) },
    ];
    fits::write(&folder.path(name), &hdus).unwrap();
}

#[test]
fn planes_by_their_names_and_by_options() {
    // Nothing changes but the noise: which sources are left out, and on which way the fit comes to its end, depends on the seeing, and that on the kind of a mask, for
    // pixels that the user masks may spoil their neighbours.
    let constant = ["--variables", "0", "--transients", "0"];
    let field = [&["--size", "128", "--seed", "9", "--density", "100"][..], &constant].concat();
    let folder = Folder::with_pair(&field);
    let target = Frame::read(&folder, "target.fits");
    // Bad pixels of the simulation, a "detected" block that does not matter, and a block without data.
    let named: Vec<i32> = (0..target.mask.len())
        .map(|i| {
            let (y, x) = (i / 128, i % 128);
            let block =
                |y0: usize, x0: usize| (y0..y0 + 5).contains(&y) && (x0..x0 + 5).contains(&x);
            i32::from(target.mask[i] != 0)
                | i32::from(block(60, 30)) << 5
                | i32::from(block(70, 90)) << 8
        })
        .collect();
    write_lsst(&folder, "lsst.fits", &target, &named);
    let base = ["-o", "out.fits", "--report", "report.json"];
    let subtract = |target: &str, options: &[&str]| {
        let arguments =
            [&["subtract", "reference.fits[IMAGE]", target], &base[..], options].concat();
        let _ = folder.succeed(&arguments);
        Subtraction::read(&folder)
    };
    let d = subtract("lsst.fits", &[]);
    assert_eq!(d.text("/target/image"), "lsst.fits, 1 (IMAGE)");
    assert_eq!(d.text("/target/mask"), "lsst.fits, 2 (MASK)");
    assert_eq!(d.text("/target/variance"), "lsst.fits, 3 (VARIANCE)");
    assert!(d.report.pointer("/target/gain").is_none());
    let at = |y: usize, x: usize| d.mask[y * 128 + x];
    let variable = 1 << 7;
    let found = (at(62, 32) & !variable, at(72, 92));
    assert_eq!(found, (0, 1), "DETECTED is no defect, NO_DATA is one");
    for (i, planes) in target.mask.iter().enumerate() {
        assert!(*planes == 0 || d.mask[i] & i64::from(BAD) != 0, "pixel {i} is not bad");
    }
    // The image's own cards win over those of the primary HDU, which are kept otherwise.
    let cards = d.header().keywords().filter(|keyword| keyword == "CRVAL1").count();
    assert_eq!((cards, d.header().get_f64("CRVAL1")), (1, Some(2.0)));
    assert_eq!(d.header().get_str("TELESCOP").as_deref(), Some("Simonyi"));
    for plane in 1..4 {
        assert_eq!(d.file.hdu(plane).unwrap().header.get_f64("CRVAL1"), Some(2.0));
    }
    let expected = bits(&folder, "out.fits");

    // The same by number, by name, and from files of their own.
    for image in ["lsst.fits[1]", "lsst.fits[image]"] {
        let _ = subtract(image, &[]);
        assert!(bits(&folder, "out.fits") == expected, "{image}");
    }
    target.write_unmasked(&folder, "image.fits");
    let options = ["--target-mask", "lsst.fits[2]", "--target-variance", "lsst.fits[VARIANCE]"];
    let d = subtract("image.fits", &options);
    assert_eq!(d.text("/target/variance"), "lsst.fits, 3 (VARIANCE)");
    assert!(bits(&folder, "out.fits") == expected);
    // A mask without names: every value but 0 counts.
    let plain: Vec<i16> = named.iter().map(|bits| i16::from(bits & !32 != 0)).collect();
    write_plane(&folder, "mask.fits", (128, 128), HduData::I16(&plain));
    let options = ["--target-mask", "mask.fits", "--target-variance", "lsst.fits[VARIANCE]"];
    let _ = subtract("image.fits", &options);
    let mut by_user = bits(&folder, "out.fits");
    by_user.insert("MASK".to_string(), expected["MASK"].clone());
    assert!(by_user == expected);
    // A gain wins over the file's own variance.
    let d = subtract("lsst.fits", &["--target-gain", "1.5"]);
    assert!(d.report.pointer("/target/variance").is_none());
    assert_eq!(d.text("/target/gain/source"), "option");
}

#[test]
fn a_file_of_several_detectors() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "9", "--density", "100"]);
    let target = Frame::read(&folder, "target.fits");
    let chip = |version: i64| {
        let mut header = target.header.clone();
        header.remove("EXTNAME");
        header.set("CCDVER", version, "");
        header
    };
    // The writer keeps no EXTVER of its input; a chip's is put into place by hand.
    let (first, second) = (chip(1), chip(2));
    let nothing = vec![0_i16; target.mask.len()];
    let mut everything = target.mask.clone();
    everything[128 * 64..128 * 96].fill(BAD);
    let shape = |data| Some((128, 128, data));
    let primary = Header::new();
    let mut masks = [target.mask_header.clone(), target.mask_header.clone()];
    masks[0].set("CCDVER", 1, "");
    masks[1].set("CCDVER", 2, "");
    let hdus = [
        HduOut { name: "", header: &primary, image: None },
        HduOut { name: "SCI", header: &first, image: shape(HduData::F32(&target.pixels)) },
        HduOut { name: "MASK", header: &masks[0], image: shape(HduData::I16(&everything)) },
        HduOut { name: "SCI", header: &second, image: shape(HduData::F32(&target.pixels)) },
        HduOut { name: "MASK", header: &masks[1], image: shape(HduData::I16(&nothing)) },
    ];
    fits::write(&folder.path("chips.fits"), &hdus).unwrap();
    let text = folder.bytes("chips.fits");
    let renamed: Vec<u8> = rename(&text, b"CCDVER  =", b"EXTVER  =");
    folder.write("chips.fits", &renamed);
    for (chip, mask) in [("1", 2), ("2", 4)] {
        let image = format!("chips.fits[SCI,{chip}]");
        let arguments =
            ["subtract", "reference.fits", &image, "-o", "out.fits", "--report", "report.json"];
        let _ = folder.succeed(&arguments);
        let d = Subtraction::read(&folder);
        assert_eq!(d.text("/target/mask"), format!("chips.fits, {mask} (MASK)"));
    }
}

/// All `from` replaced by `to`, of the same length.
fn rename(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(i, _)| i).collect();
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn what_is_under_a_mask_does_not_matter() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "10", "--bad-columns", "2"]);
    let mut target = Frame::read(&folder, "target.fits");
    let mut reference = Frame::read(&folder, "reference.fits");
    // A hot pixel and a piece of a column of the reference, besides the target's own dead columns.
    reference.mask[128 * 40 + 90] = BAD;
    (20..30).for_each(|y| reference.mask[128 * y + 50] = BAD);
    // A block over a star, so that a leak would show.
    let brightest = (0..128 * 128)
        .filter(|i| (30..98).contains(&(i / 128)) && (30..98).contains(&(i % 128)))
        .max_by(|a, b| target.pixels[*a].total_cmp(&target.pixels[*b]))
        .unwrap();
    (brightest - 2..brightest + 2).for_each(|i| target.mask[i] = BAD);
    reference.write(&folder, "reference.fits");
    target.write(&folder, "target.fits");
    let _ = Subtraction::run(&folder, &[]);
    let expected = bits(&folder, "out.fits");

    for poison in [f32::NAN, f32::INFINITY, 1e30, -1e30, 0.0] {
        for (name, clean) in [("target.fits", &target), ("reference.fits", &reference)] {
            let mut poisoned = clean.clone();
            for (pixel, planes) in poisoned.pixels.iter_mut().zip(&clean.mask) {
                if *planes != 0 {
                    *pixel = poison;
                }
            }
            poisoned.write(&folder, name);
            let _ = Subtraction::run(&folder, &[]);
            clean.write(&folder, name);
            let mut found = bits(&folder, "out.fits");
            // A pixel may have more reasons than before to be masked, but there are no more such pixels.
            let mask = found.insert("MASK".to_string(), expected["MASK"].clone()).unwrap();
            let masked = |mask: &[u64]| mask.iter().map(|planes| *planes != 0).collect::<Vec<_>>();
            assert!(masked(&mask) == masked(&expected["MASK"]), "{poison} in {name}");
            for (plane, expected) in &expected {
                assert!(found[plane] == *expected, "{poison} in {name} changes {plane}");
            }
        }
    }
}

#[test]
fn what_is_printed() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "6"]);
    let silent = |ended: &Ended| ended.stdout.is_empty() && ended.stderr.is_empty();
    assert!(silent(&folder.succeed(&[&BASE[..], &["--quiet"]].concat())));
    let demo = ["demo", "-o", "demo", "--size", "128", "--seed", "6", "--quiet"];
    assert!(silent(&folder.succeed(&demo)));

    let verbose = folder.succeed(&[&BASE[..], &["--verbose"]].concat());
    assert!(verbose.stderr.contains("gain 1.5 e⁻/ADU (keyword GAIN)"), "{}", verbose.stderr);
    assert!(verbose.stderr.contains("fitting: pass"), "{}", verbose.stderr);
    assert!(verbose.stdout.contains("photometric scale"), "{}", verbose.stdout);
    let wrong = folder.dia(&["subtract", "--bogus"]);
    let help = folder.succeed(&["subtract", "--help"]);
    let failed = folder.dia(&["info", "nope.fits"]);
    for ended in [verbose, wrong, help, failed] {
        assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'));
    }
}

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
