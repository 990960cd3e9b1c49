//! `dia bench solvers` on small problems.

use crate::dia::Folder;
use serde_json::Value;

/// Every method on one small problem.
const SMALL: [&str; 9] =
    ["bench", "solvers", "--sizes", "96", "--half-widths", "2", "--threads", "1", "--quiet"];

fn rows(folder: &Folder, name: &str) -> Vec<Value> {
    serde_json::from_slice(&folder.bytes(name)).unwrap()
}

#[test]
fn all_methods_come_to_one_minimum_and_all_files_are_written() {
    let folder = Folder::new();
    let small = [&SMALL[..], &["--repeats", "1", "--curves", "-o", "out"]].concat();
    let ended = folder.succeed(&small);
    assert!(ended.stdout.contains("### Measurements"), "{}", ended.stdout);
    let rows = rows(&folder, "out/results.json");
    // Eleven methods, two losses.
    assert_eq!(rows.len(), 22);
    for row in &rows {
        let method = row["method"].as_str().unwrap();
        let measured = &row["measured"];
        if method == "cholesky-rebuilt" && row["loss"] == "gaussian" {
            assert!(
                measured.is_null() && row["status"].as_str().unwrap().contains("not applicable")
            );
            continue;
        }
        let number = |key: &str| measured[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"));
        // Those that can tell end within 0.01 σ as they estimate it. With the Gram matrix of uniform weights the estimate is off by a factor of
        // a few; the steps of the two without a unit end far below it, if rounding lets them.
        let bound = match method {
            "pcg-fft-gram" | "pcg-none" | "pcg-jacobi" => 0.1,
            _ => 0.02,
        };
        assert!(number("distance") <= bound, "{row}");
        assert!(number("total_s") > 0.0 && number("products") >= 2.0, "{row}");
        let curve = measured["curve"].as_array().unwrap();
        let last = curve.last().unwrap()["distance"].as_f64().unwrap();
        assert!((last - number("distance")).abs() <= 1e-12 + 1e-9 * last, "{row}");
    }
    // The baseline sees loss and gradient only, and yet it comes to the same minimum, in both losses.
    let baseline: Vec<&Value> = rows.iter().filter(|r| r["method"] == "adam-lbfgs").collect();
    assert!(baseline.len() == 2 && baseline.iter().all(|row| row["converged"] == true));

    let csv = String::from_utf8(folder.bytes("out/results.csv")).unwrap();
    let columns = |line: &str| line.split(',').count();
    assert_eq!(csv.lines().count(), 23);
    assert!(csv.lines().all(|line| columns(line) == columns(csv.lines().next().unwrap())), "{csv}");
    for figure in ["time-pixels", "time-half-width", "convergence", "crossover"] {
        for loss in ["gaussian", "huber"] {
            let png = folder.bytes(&format!("out/{figure}-{loss}.png"));
            assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
            let svg = folder.bytes(&format!("out/{figure}-{loss}.svg"));
            assert!(svg.starts_with(b"<svg"), "{figure}");
        }
    }
    assert_eq!(folder.bytes("out/tables.md"), ended.stdout.as_bytes());
}

#[test]
fn what_is_measured_already_is_not_measured_again() {
    let folder = Folder::new();
    let run = |more: &[&str]| {
        let methods = ["--methods", "cholesky,pcg-sampled-gram", "--losses", "gaussian"];
        folder.succeed(&[&SMALL[..], &methods, &["-o", "out"], more].concat())
    };
    let first = run(&[]);
    let lines = folder.bytes("out/results.jsonl");
    let again = run(&[]);
    assert_eq!(first.stdout, again.stdout);
    assert_eq!(folder.bytes("out/results.jsonl"), lines);
    // Another setting is another measurement; the old ones stay.
    let _ = run(&["--tolerance", "0.1"]);
    let more = folder.bytes("out/results.jsonl");
    assert!(more.starts_with(&lines));
    assert_eq!(String::from_utf8(more).unwrap().lines().count(), 4);
    let _ = run(&["--fresh"]);
    let fresh = String::from_utf8(folder.bytes("out/results.jsonl")).unwrap();
    assert_eq!(fresh.lines().count(), 2);
}

/// A part of the software device's name; `None`, loudly, where there is none and none is required.
fn software_device(folder: &Folder, test: &str) -> Option<&'static str> {
    let listed = folder.dia(&["devices"]);
    if listed.stdout.contains("llvmpipe") {
        return Some("llvmpipe");
    }
    let required = std::env::var("DIA_REQUIRE_VULKAN").is_ok_and(|value| value == "1");
    assert!(!required, "DIA_REQUIRE_VULKAN=1, but: {}", listed.stderr);
    eprintln!("\nSKIPPED {test}: no software Vulkan device; {}\n", listed.stderr);
    None
}

#[test]
fn a_device_comes_to_the_same_minimum_and_is_named() {
    let folder = Folder::new();
    let Some(device) = software_device(&folder, "a_device_comes_to_the_same_minimum") else {
        return;
    };
    let backends = format!("cpu,vulkan:{device},vulkan:{}", device.to_uppercase());
    let methods = "cholesky,cholesky-f32,pcg-fft-gram,pcg-sampled-gram,lsqr,fit-pcg";
    let run = |backends: &str| {
        let _ = folder.succeed(&[
            "bench",
            "solvers",
            "--sizes",
            "128",
            "--half-widths",
            "2",
            "--losses",
            "huber",
            "--threads",
            "1,2",
            "--repeats",
            "1",
            "--quiet",
            "-o",
            "out",
            "--methods",
            methods,
            "--backends",
            backends,
        ]);
        rows(&folder, "out/results.json")
    };
    let cpu = run("cpu");
    let all = run(&backends);
    // One device named twice, and one number of threads on it; what the CPU has measured is kept.
    assert_eq!((cpu.len(), all.len()), (12, 18));
    assert!(cpu.iter().all(|row| row["backend"] == "cpu" && all.contains(row)));
    for row in all.iter().filter(|row| row["backend"] != "cpu") {
        let name = row["backend"].as_str().unwrap();
        assert!(name.starts_with("vulkan:llvmpipe (") && row["threads"] == 2, "{row}");
        if row["method"] == "cholesky" {
            assert_eq!(row["status"], "not applicable: devices compute in single precision");
            continue;
        }
        // As on the CPU, where the bounds are explained: 0.01 σ as estimated, by uniform weights a few times that.
        let measured = &row["measured"];
        assert!(row["converged"] == true && measured["precision"] == "f32", "{row}");
        assert!(measured["distance"].as_f64().unwrap() < 0.05, "{row}");
    }
    let csv = String::from_utf8(folder.bytes("out/results.csv")).unwrap();
    assert!(csv.contains(",\"vulkan:llvmpipe ("), "{csv}");
    let tables = String::from_utf8(folder.bytes("out/tables.md")).unwrap();
    assert!(tables.contains("| vulkan:llvmpipe ("), "{tables}");
    let mut figures = std::fs::read_dir(folder.path("out")).unwrap().flatten();
    let of_device = |name: &str| name.starts_with("crossover-huber-llvmpipe-");
    assert!(figures.any(|figure| of_device(&figure.file_name().to_string_lossy())));
}

#[test]
fn an_unknown_device_ends_the_command_before_anything_is_measured() {
    let folder = Folder::new();
    let ended =
        folder.dia(&[&SMALL[..], &["--backends", "cpu,vulkan:no such GPU", "-o", "out"]].concat());
    // Without a loader or a device the message says that instead.
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("--backends"), "{}", ended.stderr);
    assert!(!folder.path("out").exists());
    let ended = folder.dia(&[&SMALL[..], &["--backends", "cuda"]].concat());
    assert_eq!(ended.code, Some(2));
}

#[test]
fn a_case_over_the_limit_is_a_row_that_says_so() {
    let folder = Folder::new();
    let slow = ["--methods", "adam-lbfgs", "--losses", "huber", "--limit", "0.001", "-o", "out"];
    let _ = folder.succeed(&[&SMALL[..], &slow].concat());
    let rows = rows(&folder, "out/results.json");
    assert_eq!(rows[0]["status"], "over the limit of 0.001 s");
    assert!(rows[0]["measured"].is_null());
}

#[test]
fn impossible_options_are_named() {
    let folder = Folder::new();
    let ended = folder.dia(&["bench", "solvers", "--sizes", "40", "--half-widths", "20"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("half-width 20"), "{}", ended.stderr);
    for wrong in [
        &["--methods", "gauss-seidel"][..],
        &["--sizes", "0"],
        &["--limit", "-1"],
        &["--quick", "--sizes", "128"],
        &["--fresh"],
    ] {
        let ended = folder.dia(&[&["bench", "solvers"], wrong].concat());
        assert_eq!(ended.code, Some(2), "{wrong:?}");
    }
    folder.write("file", b"");
    let ended = folder.dia(&[&SMALL[..], &["-o", "file"]].concat());
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot make the folder file"), "{}", ended.stderr);
    folder.write("results.jsonl", b"{}\n");
    let ended = folder.dia(&[&SMALL[..], &["-o", "."]].concat());
    assert!(ended.stderr.contains("line 1 of ./results.jsonl"), "{}", ended.stderr);
}
