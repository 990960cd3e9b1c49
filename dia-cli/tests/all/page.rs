//! The page of a pair: what is in it, and how wide a browser shows it.

use std::path::Path;
use std::process::Command;

use crate::dia::Folder;

/// A page with all of its parts. The target's name has letters that mean something in HTML.
fn page() -> Folder {
    let folder = Folder::with_pair(&["--size", "200", "--seed", "5", "--transients", "3"]);
    std::fs::rename(folder.path("target.fits"), folder.path("a<b>&c.fits")).unwrap();
    let _ = folder.succeed(&[
        "subtract",
        "reference.fits",
        "a<b>&c.fits",
        "-o",
        "out.fits",
        "--sources",
        "sources.ecsv",
        "--inject",
        "6",
        "--html",
        "report.html",
        "--convolve",
        "reference",
        "--fail-on=never",
    ]);
    folder
}

#[test]
fn a_page_tells_all_and_needs_nothing_else() {
    let folder = page();
    let page = String::from_utf8(folder.bytes("report.html")).unwrap();
    let parts = [
        "this result",
        "blinks between reference and target",
        "difference of ",
        "What the reference is convolved with",
        "above 5 σ, the strongest first",
        "psfFluxErr",
        "Half of them are found",
        "photometric scale P: target per reference ADU",
        "DIAOPT",
        "--html report.html",
        "in all ",
        env!("CARGO_PKG_VERSION"),
    ];
    for part in parts {
        assert!(page.to_lowercase().contains(&part.to_lowercase()), "{part:?} is missing");
    }
    // Four pictures and the kernel, within the page.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 5);
    for from_elsewhere in ["http://", "https://", "src=\"/", "<link", "@import"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
    assert!(page.contains("a&lt;b&gt;&amp;c.fits") && !page.contains("a<b>"));
}

#[test]
fn a_page_is_not_written_over_another_file() {
    let folder = Folder::with_pair(&["--size", "160", "--seed", "5"]);
    let pair = ["subtract", "reference.fits", "target.fits", "-o", "out.fits", "--html"];
    for name in ["target.fits", "out.fits", "none/report.html"] {
        let ended = folder.dia(&[&pair[..], &[name]].concat());
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("the page"), "{}", ended.stderr);
    }
}

/// Widths of the window and of the page in it, as a browser lays out a page on a phone; None where there is no browser.
fn widths(page: &Path) -> Option<(u32, u32)> {
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())?;
    let mut html = std::fs::read_to_string(page).unwrap();
    html += "<script>addEventListener('load', () => document.documentElement.dataset.widths = \
             innerWidth + ' ' + document.documentElement.scrollWidth);</script>";
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("page.html");
    std::fs::write(&copy, html).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--window-size=390,844", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", copy.display()))
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = shown.split_once("data-widths=\"").expect("the page is shown");
    let (window, page) = rest.split_once('"').unwrap().0.split_once(' ').unwrap();
    Some((window.parse().unwrap(), page.parse().unwrap()))
}

/// Checks that a page is no wider than the window of a phone.
pub(crate) fn assert_fits_a_phone(page: &Path) {
    match widths(page) {
        Some((window, width)) => assert!(width <= window, "{width} in a window of {window} px"),
        None => eprintln!("SKIPPED: no Chromium to show {}", page.display()),
    }
}

#[test]
fn a_page_fits_a_phone() {
    assert_fits_a_phone(&page().path("report.html"));
}
