//! The tutorials of the book: what they include exists, and what they show is run.

use std::path::{Path, PathBuf};

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The parts of a text between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).filter_map(|part| part.split_once(end)).map(|part| part.0).collect()
}

#[test]
fn every_page_and_what_it_includes_is_there() {
    let summary = text(&pages().join("SUMMARY.md"));
    let listed = between(&summary, "](", ")");
    for page in &listed {
        for included in between(&text(&pages().join(page)), "{{#include ", "}}") {
            let (file, anchor) = included.split_once(':').unwrap_or((included, ""));
            let part = text(&pages().join(file));
            assert!(
                anchor.is_empty() || part.contains(&format!("ANCHOR: {anchor} ")),
                "{included}"
            );
        }
    }
    // No page is forgotten.
    for entry in std::fs::read_dir(pages()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "SUMMARY.md" || listed.contains(&name.as_str()), "{name} is not listed");
    }
}

/// Runs the blocks of shell of a page one after the other in one folder, and returns that.
#[cfg(unix)]
fn run(page: &str) -> crate::dia::Folder {
    let folder = crate::dia::Folder::new();
    let own = Path::new(env!("CARGO_BIN_EXE_dia")).parent().unwrap();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(own.to_owned()).chain(std::env::split_paths(&others));
    let places = std::env::join_paths(places).unwrap();
    let page = text(&pages().join(page));
    let blocks = between(&page, "```sh\n", "```");
    assert!(blocks.len() > 3);
    for block in blocks {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-e", "-c", block]).env("PATH", &places).current_dir(folder.path("."));
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{said}");
    }
    folder
}

#[cfg(unix)]
#[test]
fn the_tutorial_of_a_pair_runs() {
    let folder = run("one-pair.md");
    for name in ["report.html", "changes.ecsv", "fluxes.csv", "completeness.png", "found.png"] {
        assert!(!folder.bytes(name).is_empty(), "{name}");
    }
    assert_eq!(String::from_utf8(folder.bytes("fluxes.csv")).unwrap().lines().count(), 3);
}

#[cfg(unix)]
#[test]
fn the_tutorial_of_a_night_runs() {
    let folder = run("a-night.md");
    for name in ["results/report.html", "results/lightcurves.ecsv", "deep.fits", "further.ecsv"] {
        assert!(!folder.bytes(name).is_empty(), "{name}");
    }
}
