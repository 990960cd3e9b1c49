//! `dia bench accuracy`, with few pairs.

use crate::dia::Folder;
use serde_json::Value;

const FEW: [&str; 8] =
    ["bench", "accuracy", "--pairs", "1", "--losses", "gaussian", "--solvers", "pcg,cholesky"];

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

#[test]
fn all_regimes_are_measured_and_threads_change_nothing() {
    let folder = Folder::new();
    let ended = folder.succeed(&[&FEW[..], &["--threads", "1", "-o", "one.json"]].concat());
    let again = folder.succeed(&[&FEW[..], &["--threads", "2", "-o", "two.json"]].concat());
    assert_eq!(folder.bytes("one.json"), folder.bytes("two.json"));
    assert_eq!(ended.stdout, again.stdout);
    // Two tables; in each a head, a rule and, per regime, three methods and two published lines.
    let lines = ended.stdout.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(lines, 2 * (2 + 12 * 5));

    let json: Value = serde_json::from_slice(&folder.bytes("one.json")).unwrap();
    let results = json["regimes"].as_array().unwrap();
    let regime = |r: &Value| {
        ["edges", "snr", "phi_reference", "phi_kernel"].map(|k| r[k].to_string()).concat()
    };
    let mut regimes: Vec<String> = results.iter().map(regime).collect();
    regimes.sort();
    regimes.dedup();
    assert_eq!((results.len(), regimes.len()), (24, 24));
    for result in results {
        let methods = result["methods"].as_array().unwrap();
        let names: Vec<&str> = methods.iter().map(|m| m["method"].as_str().unwrap()).collect();
        assert_eq!(names, ["gaussian, pcg f32", "gaussian, cholesky f64", "default f32"]);
        for method in methods {
            assert_eq!((method["pairs"].as_u64(), method["failed"].as_u64()), (Some(1), Some(0)));
            // n = 362 unknowns on N ≥ 124² pixels of unit noise leave a variance of 1 − n/N = 0.976; undersampled stars and the borders of a
            // padded reference add to it. ± 5 √(2/N) = 0.06 of either.
            let mfv = number(&method["summary"], "mfv");
            assert!((0.91..2.0).contains(&mfv), "{mfv} {result}");
        }
        // Both end within 0.01 σ of one minimum, and σ_P is below 0.2 at a signal-to-noise ratio of 8 or more.
        let scale = |m: usize| number(&methods[m]["summary"], "photometric_scale");
        assert!((scale(0) - scale(1)).abs() < 0.02 * 0.2, "{result}");
    }
}

#[test]
fn one_kind_of_edges_can_be_chosen_and_a_bad_output_is_found_at_once() {
    let folder = Folder::new();
    let valid = [&FEW[..6], &["--edges", "valid", "-o", "valid.json"]].concat();
    let _ = folder.succeed(&valid);
    let json: Value = serde_json::from_slice(&folder.bytes("valid.json")).unwrap();
    assert_eq!(json["regimes"].as_array().unwrap().len(), 12);
    let ended = folder.dia(&["bench", "accuracy", "-o", "missing/results.json"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("there is no folder missing"), "{}", ended.stderr);
}
