//! What is written and printed: planes, cards, numbers and words.

use dia_cli::fits;
use serde_json::Value;

use super::{BASE, Subtraction, number, observed_pair};
use crate::dia::{Ended, Folder, Frame};

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
