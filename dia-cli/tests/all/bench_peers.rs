//! `dia bench peers`, with a stand-in for a tool.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::dia::Folder;
use serde_json::Value;

const SMALL: [&str; 8] = ["bench", "peers", "--size", "128", "--pairs", "1", "--half-width", "5"];

/// Runs `dia bench peers` with `hotpants` from this folder, and no Python.
fn peers(folder: &Folder, hotpants: Option<&str>) -> Vec<Value> {
    let tools = folder.path("tools");
    std::fs::create_dir_all(&tools).unwrap();
    if let Some(script) = hotpants {
        let path = tools.join("hotpants");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let output = Command::new(env!("CARGO_BIN_EXE_dia"))
        .args(SMALL)
        .args(["--python", "no-such-python", "-o", "peers.json"])
        .env("PATH", path)
        .current_dir(folder.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&folder.bytes("peers.json")).unwrap();
    let rows = json["rows"].as_array().unwrap().clone();
    let tools: Vec<&str> = rows.iter().map(|row| row["tool"].as_str().unwrap()).collect();
    assert_eq!(tools, ["dia subtract", "hotpants", "sfft", "PyTorchDIA"]);
    rows
}

#[test]
fn a_tool_is_run_and_scored_and_missing_ones_are_rows() {
    let folder = Folder::new();
    // A difference without a model: the target itself, where the tool is asked to write it.
    let script = "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in -inim) in=$2;; -outim) out=$2;; esac; shift; done\ncp \"$in\" \"$out\"\n";
    let rows = peers(&folder, Some(script));
    let number =
        |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"));
    let ours = &rows[0];
    assert_eq!(ours["status"], "ran");
    // n = 80 unknowns on some 5000 pixels; a few per cent of the variance are fitted away, and the reference's noise adds as much.
    assert!((number(ours, "mfv") - 1.0).abs() < 0.2, "{ours}");
    assert!(number(ours, "scale_error").abs() < 0.05, "{ours}");
    assert!(number(ours, "wall_s") > 0.0);
    let stand_in = &rows[1];
    assert_eq!(stand_in["status"], "ran");
    // M = I − I = 0: all of the scale is missing, and D is many σ of sky.
    assert!((number(stand_in, "scale_error") + 1.0).abs() < 1e-6, "{stand_in}");
    assert!(number(stand_in, "mfb") > 10.0, "{stand_in}");
    for row in &rows[2..] {
        assert!(row["status"].as_str().unwrap().starts_with("not installed"), "{row}");
        assert!(row["wall_s"].is_null() && row["scale_error"].is_null(), "{row}");
    }
}

#[test]
fn a_tool_that_fails_or_writes_nothing_is_a_row_with_its_words() {
    let folder = Folder::new();
    let status =
        |script: &str| peers(&folder, Some(script))[1]["status"].as_str().unwrap().to_owned();
    assert_eq!(status("#!/bin/sh\necho no stamps >&2\nexit 1\n"), "failed: no stamps");
    assert!(status("#!/bin/sh\nexit 0\n").starts_with("there is no difference image"));
    let folder = Folder::new();
    let rows = peers(&folder, None);
    assert_eq!(rows[1]["status"], "not installed: no hotpants on PATH");
}
