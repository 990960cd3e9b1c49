//! The page of a pair: what is in it, and how wide a browser shows it.

use std::path::Path;
use std::process::Command;

use crate::dia::Folder;

/// A name that is wider than a phone, with letters that mean something in HTML.
const NAME: &str = "a<b>&an_exposure_of_a_night_with_many_words_in_its_name.fits";

/// A page with all of its parts.
fn page() -> Folder {
    let folder = Folder::with_pair(&["--size", "200", "--seed", "5", "--transients", "3"]);
    std::fs::rename(folder.path("target.fits"), folder.path(NAME)).unwrap();
    let _ = folder.succeed(&[
        "subtract",
        "reference.fits",
        NAME,
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
        "his result",
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
        assert!(page.contains(part), "{part:?} is missing");
    }
    // Four pictures, the kernel, and the figure of injected stars, within the page.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 6);
    for from_elsewhere in ["http://", "https://", "src=\"/", "<link", "@import"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
    assert!(page.contains("a&lt;b&gt;&amp;an_exposure") && !page.contains("a<b>"));
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

/// Width of a page in CSS pixels where there is room for `room`, as a browser lays it out; None where there is no
/// browser.
fn width(page: &str, room: u32) -> Option<u32> {
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())?;
    // Within a frame, for a window has a least width.
    let framed = format!(
        "<iframe width={room} srcdoc=\"{}\"></iframe><script>addEventListener('load', () => document.documentElement.dataset.width = \
         document.querySelector('iframe').contentDocument.documentElement.scrollWidth);</script>",
        page.replace('&', "&amp;").replace('"', "&quot;")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("framed.html");
    std::fs::write(&path, framed).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args(["--disable-background-networking", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = shown.split_once("data-width=\"").expect("the page is shown");
    Some(rest.split_once('"').unwrap().0.parse().unwrap())
}

/// Checks that a page is no wider than a phone.
pub(crate) fn assert_fits_a_phone(page: &Path) {
    const PHONE: u32 = 390;
    match width(&std::fs::read_to_string(page).unwrap(), PHONE) {
        Some(width) => assert!(width <= PHONE, "{} is {width} px wide", page.display()),
        None => eprintln!("SKIPPED: no Chromium to show {}", page.display()),
    }
}

#[test]
fn a_page_fits_a_phone() {
    assert_fits_a_phone(&page().path("report.html"));
    // What does not fit is seen.
    let wide = width("<div style=\"width: 900px; height: 9px\"></div>", 390);
    assert!(wide.is_none_or(|width| width >= 900), "{wide:?}");
}
