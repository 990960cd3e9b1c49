//! One sky by every solver and model, and by any number of threads.

use super::{BASE, Subtraction, bits, observed_pair};
use crate::dia::Folder;

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
