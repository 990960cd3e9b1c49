//! A little of what the program `fuzz` does at length: damaged files give errors, and nothing else.

use std::process::Command;

#[test]
fn damaged_files_are_read_or_refused() {
    let folder = std::env::temp_dir().join(format!("dia-fuzz-{}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz"))
        .args(["all", "150", "7"])
        .arg(&folder)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("150 inputs of seed 7, 0 failures").count(), 6, "{said}");
    std::fs::remove_dir_all(&folder).expect("its folder is there");
}
