//! What is written of them and where, and what cannot be.

use super::{codes, pair, right, subtract};

#[test]
fn results_do_not_depend_on_where_they_go_or_how_many_compute_them() {
    let (folder, _) = pair();
    let run = |words: &[&str]| {
        let _ = folder.succeed(
            &[&["subtract", "reference.fits", "target.fits", "--loss", "tukey"], words].concat(),
        );
    };
    run(&["-o", "one.fits", "--threads", "1", "--quiet"]);
    run(&["--threads=2", "--output=two.fits", "--report", "two.json"]);
    let one = folder.bytes("one.fits");
    assert!(one == folder.bytes("two.fits"));
    let text = String::from_utf8_lossy(&one);
    let history: Vec<&str> =
        text.split("HISTORY ").skip(1).map(|card| card[..72].trim_end()).collect();
    assert!(
        history.join(" ").contains("dia subtract reference.fits target.fits --loss tukey"),
        "{history:?}"
    );
}

#[test]
fn names_that_are_no_files() {
    let (folder, _) = pair();
    let ended = folder.dia(&["subtract", "-", "target.fits", "-o", "out.fits"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("/dev/stdin"), "{}", ended.stderr);
    let ended = folder.dia(&["subtract", "reference.fits", "target.fits", "-o", "-"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("/dev/stdout"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn a_report_behind_a_link_does_not_overwrite_the_difference() {
    use std::os::unix::fs::symlink;

    use super::refused;

    let (folder, _) = pair();
    symlink("out.fits", folder.path("link")).unwrap();
    symlink("link", folder.path("report.json")).unwrap();
    refused(&folder, "target.fits", &[], &["report.json", "another path"]);
    assert!(!folder.path("out.fits").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_or_never_ends_is_found_before_the_fit() {
    use super::refused;
    use crate::dia::header_blocks;

    let (folder, _) = pair();
    // Nobody makes files there, not even the superuser.
    let ended =
        folder.dia(&["subtract", "reference.fits", "target.fits", "-o", "/proc/out.fits", "-v"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("/proc/out.fits"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("fitting"), "{}", ended.stderr);
    refused(&folder, "/dev/zero", &[], &["/dev/zero", "is not a FITS file"]);
    // A stream of zeros that begins as an image does.
    let header = header_blocks(&[
        "SIMPLE  = T",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 1000000000",
        "NAXIS2  = 1000000000",
    ]);
    folder.write("header", &header);
    let endless = std::process::Command::new("sh")
        .args([
            "-c",
            "cat header /dev/zero | \"$0\" subtract reference.fits /dev/stdin -o out.fits",
        ])
        .arg(env!("CARGO_BIN_EXE_dia"))
        .current_dir(folder.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&endless.stderr);
    assert!(endless.status.code() == Some(1) && said.contains("go on beyond 64 GiB"), "{said}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    use std::os::unix::process::ExitStatusExt;

    use crate::dia::Folder;

    let folder = Folder::new();
    std::fs::create_dir(folder.path("out")).unwrap();
    let unfinished = |folder: &Folder| {
        let mut entries = std::fs::read_dir(folder.path("out")).unwrap();
        entries.any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".part"))
    };
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_dia"))
        .args(["simulate", "-o", "out", "--size", "2048", "--density", "1"])
        .current_dir(folder.path("."))
        .spawn()
        .unwrap();
    while !unfinished(&folder) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before a file was seen");
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    let _ = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert!(!unfinished(&folder));
}

/// astropy reads what was written, without a word: every card, the world coordinates of every plane, and masks.
#[test]
fn outputs_pass_astropys_verification() {
    let probe =
        std::process::Command::new("python3").args(["-c", "import astropy, numpy"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("DIA_REQUIRE_ASTROPY").is_none_or(|value| value != "1"),
            "python3 cannot import astropy and numpy"
        );
        eprintln!("SKIPPED: python3 cannot import astropy and numpy");
        return;
    }
    let (folder, target) = pair();
    let sky: [&[&str]; 4] = [
        &[
            "CTYPE1  = 'RA---TAN-SIP'",
            "CTYPE2  = 'DEC--TAN-SIP'",
            "A_ORDER =                    2",
            "B_ORDER =                    2",
            "A_2_0   =               0.0001",
            "B_0_2   =               0.0002",
        ],
        &[
            "CTYPE1  = 'RA---TAN'",
            "CTYPE2  = 'DEC--TAN'",
            "CDELT1  =              -0.0001",
            "CDELT2  =               0.0001",
            "PC001001=                0.866",
            "PC001002=                 -0.5",
            "PC002001=                  0.5",
            "PC002002=                0.866",
            "EPOCH   =               1950.0",
        ],
        &[
            "CTYPE1  = 'RA---TPV'",
            "CTYPE2  = 'DEC--TPV'",
            "CD1_1   =              -0.0001",
            "CD2_2   =               0.0001",
            "PV1_1   =                  1.0",
            "PV2_1   =                  1.0",
            "PV1_4   =                0.001",
            "RADECSYS= 'FK5     '",
        ],
        &[
            "CTYPE1  = 'RA---TAN'",
            "CTYPE2  = 'DEC--TAN'",
            "CD1_1   =              -0.0001",
            "CD2_2   =               0.0001",
            "CTYPE1A = 'LINEAR  '",
            "CTYPE2A = 'LINEAR  '",
            "CRVAL1A =                 10.0",
            "CDELT1A =                  2.0",
            "WAT0_001= 'system=image'",
        ],
    ];
    let ugly = [
        "observer= 'w. herschel'",
        ";??S    =                  351 / no comment",
        "EXPID** =                    1",
        "TESTVERI= '2017/02/13-16:51:38 / never closed",
        "SEEING  = 1.2e0",
        "DATE-OLD= 13/02/2017",
        "\\fixlen = T",
        "WHAT is this",
        "AIRMASS = NaN",
        "AMP ='left'",
        "CONTINUE  'of nothing'",
        "END     =              92.5 / of the exposure",
        "OBSERVAT= 'Sternwarte K\u{f6}nigstuhl'",
    ];
    for cards in sky {
        let mut frame = target.clone();
        let place = [
            "CRPIX1  =                 64.5",
            "CRPIX2  =                 64.5",
            "CRVAL1  =                150.1",
            "CRVAL2  =                  2.2",
        ];
        for card in cards.iter().chain(&place).chain(&ugly) {
            let mut bytes = [b' '; 80];
            bytes[..card.len()].copy_from_slice(card.as_bytes());
            frame.header.push_card(bytes);
        }
        // The writer would mend them: the header is put together by hand.
        let texts: Vec<String> = frame
            .header
            .cards()
            .iter()
            .map(|card| String::from_utf8_lossy(card).into_owned())
            .collect();
        let mut bytes = Vec::new();
        for card in &texts {
            let card = card.as_bytes();
            bytes.extend_from_slice(card);
        }
        bytes.extend(format!("{:80}", "END").bytes());
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        let after = bytes.len();
        bytes.extend(frame.pixels.iter().flat_map(|pixel| pixel.to_be_bytes()));
        bytes.resize(after + (4 * frame.pixels.len()).next_multiple_of(2880), 0);
        folder.write("ugly.fits", &bytes);
        let report = subtract(&folder, "ugly.fits", &[]);
        right(&folder, &report, 1.0);
        assert!(codes(&report).contains(&"header"), "{report}");
        // astropy ends a header at any card called END: it is shown the legal one.
        let mut clean = target.clone();
        for card in cards.iter().chain(&place) {
            let mut bytes = [b' '; 80];
            bytes[..card.len()].copy_from_slice(card.as_bytes());
            clean.header.push_card(bytes);
        }
        clean.write_unmasked(&folder, "clean.fits");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/astropy_output.py");
        let checked = std::process::Command::new("python3")
            .args([script, "clean.fits", "out.fits"])
            .current_dir(folder.path("."))
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
