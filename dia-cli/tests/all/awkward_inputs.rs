//! Inputs as people have them: what headers and planes mean is found, or it is named.

use crate::dia::{Folder, Frame, header_blocks, write_plane};
use dia_cli::fits::{self, FitsFile, HduData, HduOut, Header};
use serde_json::Value;

const BASE: [&str; 5] = ["-o", "out.fits", "--report", "report.json", "--fail-on=never"];

/// Side of the images.
const SIDE: usize = 128;

/// A clean pair, and its target.
fn pair() -> (Folder, Frame) {
    let side = SIDE.to_string();
    let clean = [
        "--size",
        &side,
        "--seed",
        "9",
        "--density",
        "100",
        "--cosmic-rays",
        "0",
        "--bad-columns",
        "0",
    ];
    let folder = Folder::with_pair(&clean);
    let target = Frame::read(&folder, "target.fits");
    (folder, target)
}

/// The report of subtracting reference.fits from `target`.
fn subtract(folder: &Folder, target: &str, options: &[&str]) -> Value {
    let _ = folder.succeed(&[&["subtract", "reference.fits", target], &BASE[..], options].concat());
    serde_json::from_slice(&folder.bytes("report.json")).unwrap()
}

/// What is said where it is refused.
fn refused(folder: &Folder, target: &str, options: &[&str], words: &[&str]) {
    let ended = folder.dia(&[&["subtract", "reference.fits", target], &BASE[..], options].concat());
    assert_eq!(ended.code, Some(1), "{target}: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is missing: {}", ended.stderr);
    }
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number {pointer} in {json}"))
}

fn codes(report: &Value) -> Vec<&str> {
    report["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["code"].as_str().unwrap())
        .collect()
}

/// P is `unit` times that of the simulation, and the residuals are those of the noise. On 10⁴ pixels the robust scatter is known to 1.2 %, and what the kernel
/// takes of the noise is less than another 5 %.
fn right(folder: &Folder, report: &Value, unit: f64) {
    let truth: Value = serde_json::from_slice(&folder.bytes("truth.json")).unwrap();
    let scale = number(report, "/photometric_scale/value") / unit;
    let sigma = number(report, "/photometric_scale/sigma") / unit;
    assert!((scale - number(&truth, "/options/scale")).abs() <= 5.0 * sigma, "{scale} ± {sigma}");
    let std = number(report, "/residuals/robust_std");
    assert!((0.9..1.1).contains(&std), "{std}");
}

/// The variance of the target's pixels, from the pixels themselves.
fn variance_of(target: &Frame) -> Vec<f32> {
    let number = |keyword| target.header.get_f64(keyword).unwrap() as f32;
    let (gain, read_noise) = (number("GAIN"), number("RDNOISE"));
    target.pixels.iter().map(|pixel| pixel.max(0.0) / gain + (read_noise / gain).powi(2)).collect()
}

/// Writes the target without its gain, and a plane beside it.
fn with_plane(folder: &Folder, target: &Frame, name: &str, cards: &[(&str, &str)], pixels: &[f32]) {
    let mut image = target.header.clone();
    let _ = ["GAIN", "RDNOISE", "EXTNAME"].map(|keyword| image.remove(keyword));
    let mut header = Header::new();
    for (keyword, value) in cards {
        header.set(keyword, *value, "");
    }
    let shape = |data| Some((target.height, target.width, data));
    let hdus = [
        HduOut { name: "SCI", header: &image, image: shape(HduData::F32(&target.pixels)) },
        HduOut { name, header: &header, image: shape(HduData::F32(pixels)) },
    ];
    fits::write(&folder.path("planes.fits"), &hdus).unwrap();
}

#[test]
fn the_gain_is_found_where_headers_have_it() {
    let (folder, target) = pair();
    let plain = subtract(&folder, "target.fits", &[]);
    let gain = target.header.get_f64("GAIN").unwrap();
    let difference = |folder: &Folder| {
        FitsFile::open(&folder.path("out.fits"))
            .unwrap()
            .read_image::<f64>(0)
            .unwrap()
            .pixels
            .map_bits()
    };
    let expected = difference(&folder);
    right(&folder, &plain, 1.0);
    let text = format!("{gain} e-/ADU");
    let cases: [(&[(&str, fits::Value)], &str); 6] = [
        (&[("GAIN", 100.into()), ("EGAIN", gain.into())], "gain"),
        (&[("GAIN", (-25).into()), ("EPERADU", gain.into())], "gain"),
        (&[("GAIN", text.as_str().into())], ""),
        (&[("GAIN", 0.into()), ("ATODGAIN", gain.into())], "gain"),
        (&[("GAINA", (gain - 0.25).into()), ("GAINB", (gain + 0.25).into())], ""),
        (&[("ESO DET OUT1 CONAD", gain.into())], ""),
    ];
    for (cards, code) in cases {
        let mut frame = target.clone();
        frame.header.remove("GAIN");
        for (keyword, value) in cards {
            frame.header.set(keyword, value.clone(), "");
        }
        frame.write(&folder, "other.fits");
        let report = subtract(&folder, "other.fits", &[]);
        assert_eq!(number(&report, "/target/gain/value"), gain, "{cards:?}");
        assert!(code.is_empty() || codes(&report).contains(&code), "{cards:?}");
        assert!(difference(&folder) == expected, "{cards:?}");
    }
}

trait MapBits {
    fn map_bits(self) -> Vec<u64>;
}

impl MapBits for Vec<f64> {
    /// One bit pattern for all NaN.
    fn map_bits(self) -> Vec<u64> {
        self.into_iter().map(|v| if v.is_nan() { f64::NAN } else { v }.to_bits()).collect()
    }
}

#[test]
fn units_are_respected_and_kept() {
    let (folder, target) = pair();
    let gain = target.header.get_f64("GAIN").unwrap();
    for (unit, seconds, squared) in [
        ("electron", 1.0, "electron2"),
        ("electron/s", 60.0, "(electron/s)**2"),
        ("ELECTRONS/S", 30.0, "(ELECTRONS/S)**2"),
    ] {
        let mut frame = target.clone();
        let factor = gain / seconds;
        frame.pixels.iter_mut().for_each(|pixel| *pixel *= factor as f32);
        frame.header.remove("SATURATE");
        frame.header.set("BUNIT", unit, "");
        frame.header.set("GAIN", 1.9, "left over");
        frame.header.set("EXPTIME", seconds, "[s]");
        frame.write(&folder, "units.fits");
        let report = subtract(&folder, "units.fits", &[]);
        right(&folder, &report, factor);
        assert_eq!(number(&report, "/target/gain/value"), seconds);
        assert_eq!(report["target"]["unit"], unit);
        assert!(codes(&report).contains(&"gain"));
        let file = FitsFile::open(&folder.path("out.fits")).unwrap();
        let units: Vec<_> =
            (0..4).map(|hdu| file.hdu(hdu).unwrap().header.get_str("BUNIT")).collect();
        assert_eq!(units, [Some(unit.into()), Some(squared.into()), None, Some(unit.into())]);
    }
}

#[test]
fn planes_of_the_noise_are_taken_for_what_they_are() {
    let (folder, target) = pair();
    let variance = variance_of(&target);
    let sigma: Vec<f32> = variance.iter().map(|v| v.sqrt()).collect();
    let weight: Vec<f32> = variance.iter().map(|v| v.recip()).collect();
    for (name, cards, pixels) in [
        ("VAR", &[][..], &variance),
        ("UNCERT", &[("UTYPE", "VarianceUncertainty")], &variance),
        ("ERR", &[], &sigma),
        ("UNCERT", &[("UTYPE", "StdDevUncertainty")], &sigma),
        ("WHT", &[], &weight),
        ("UNCERT", &[("UTYPE", "InverseVariance")], &weight),
    ] {
        with_plane(&folder, &target, name, cards, pixels);
        let report = subtract(&folder, "planes.fits", &[]);
        right(&folder, &report, 1.0);
        assert!(report["target"]["variance"].as_str().unwrap().contains(name), "{report}");
    }
    // The same by options, and what is wrong with it is named with the remedy.
    let shape = (SIDE, SIDE);
    target.write_unmasked(&folder, "image.fits");
    for (name, pixels) in [("variance", &variance), ("sigma", &sigma), ("weight", &weight)] {
        write_plane(&folder, &format!("{name}.fits"), shape, HduData::F32(pixels));
    }
    for right_kind in ["variance", "sigma", "weight"] {
        let file = format!("{right_kind}.fits");
        for kind in ["variance", "sigma", "weight"] {
            let option = format!("--target-{kind}");
            if kind == right_kind {
                right(&folder, &subtract(&folder, "image.fits", &[&option, &file]), 1.0);
            } else {
                let remedy = format!("give --target-{right_kind}");
                refused(
                    &folder,
                    "image.fits",
                    &[&option, &file],
                    &[&file, "scatter of the sky", &remedy],
                );
            }
        }
    }
}

#[test]
fn a_weight_that_is_no_inverse_variance_is_not_one() {
    let (folder, target) = pair();
    let (exposure, mut frame) = (vec![1000.0; SIDE * SIDE], target);
    with_plane(&folder, &frame, "WHT", &[], &exposure);
    refused(&folder, "planes.fits", &[], &["gain of the target is not known", "--target-gain"]);
    frame.header.set("EGAIN", frame.header.get_f64("GAIN").unwrap(), "");
    frame.header.set("ENOISE", frame.header.get_f64("RDNOISE").unwrap(), "");
    with_plane(&folder, &frame, "WHT", &[], &exposure);
    let report = subtract(&folder, "planes.fits", &[]);
    right(&folder, &report, 1.0);
    assert!(codes(&report).contains(&"weight"));
}

#[test]
fn a_gain_beside_a_plane_of_the_noise_is_named() {
    let (folder, target) = pair();
    with_plane(&folder, &target, "VARIANCE", &[], &variance_of(&target));
    let gain = target.header.get_f64("GAIN").unwrap().to_string();
    let given = ["--target-gain", &gain, "--target-read-noise", "5"];
    for options in [&given[..], &[&given[..], &["--target-variance", "planes.fits[1]"]].concat()] {
        let report = subtract(&folder, "planes.fits", options);
        assert!(codes(&report).contains(&"contradiction"), "{options:?}");
        assert_eq!(report["verdict"]["level"], "warn");
    }
}

/// Keywords, values and comments.
type Cards<'a> = &'a [(&'a str, fits::Value, &'a str)];

#[test]
fn the_bits_of_masks_mean_what_their_makers_say() {
    let (folder, target) = pair();
    let at = |x: usize| 60 * SIDE + x;
    // A pixel that must not be used, one with harmless bits, and harmless bits nearly everywhere.
    let cases: [(&str, Cards<'_>, i32, i32); 5] = [
        ("DQ", &[("TELESCOP", "JWST".into(), "")], 1 | 4, 4 | 1 << 20),
        ("DQ", &[("TELESCOP", "HST".into(), "")], 4096, 64 | 1024),
        (
            "MASK",
            &[
                ("MP_SPIKE", 12.into(), ""),
                ("MP_DETECTED", 5.into(), ""),
                ("MP_INTRP", 2.into(), ""),
            ],
            1 << 12,
            1 << 5 | 1 << 2,
        ),
        (
            "MASK",
            &[
                ("BIT00", 0.into(), "AIRCRAFT/SATELLITE TRACK"),
                ("BIT01", 1.into(), "CONTAINS SEXTRACTOR DETECTION"),
            ],
            1,
            2,
        ),
        ("MSK", &[("INSTRUME", "DECam".into(), "")], 64 | 32, 32 | 4),
    ];
    for (name, cards, bad, harmless) in cases {
        let mut bits: Vec<i32> =
            (0..SIDE * SIDE).map(|i| if i % 9 == 0 { 0 } else { harmless }).collect();
        bits[at(70)] = bad;
        let mut header = Header::new();
        for (keyword, value, comment) in cards {
            header.set(keyword, value.clone(), comment);
        }
        let hdus = [
            target.image_hdu("SCI"),
            HduOut { name, header: &header, image: Some((SIDE, SIDE, HduData::I32(&bits))) },
        ];
        fits::write(&folder.path("bits.fits"), &hdus).unwrap();
        let report = subtract(&folder, "bits.fits", &[]);
        right(&folder, &report, 1.0);
        let mask =
            FitsFile::open(&folder.path("out.fits")).unwrap().read_integers(2).unwrap().pixels;
        assert!(mask[at(70)] != 0 && mask[at(50)] == 0, "{name} {cards:?}");
        // Other bits, if one says so.
        let report = subtract(&folder, "bits.fits", &["--bad-bits", "1073741824"]);
        let mask =
            FitsFile::open(&folder.path("out.fits")).unwrap().read_integers(2).unwrap().pixels;
        assert_eq!(mask[at(70)], 0, "{report}");
    }
}

#[test]
fn an_inverted_mask_is_named_and_turned_round_on_request() {
    let (folder, target) = pair();
    target.write_unmasked(&folder, "image.fits");
    let bad = |i: usize| (40..44).contains(&(i % SIDE));
    let good: Vec<i16> = (0..SIDE * SIDE).map(|i| i16::from(!bad(i))).collect();
    let usual: Vec<i16> = (0..SIDE * SIDE).map(|i| i16::from(bad(i))).collect();
    write_plane(&folder, "good.fits", (SIDE, SIDE), HduData::I16(&good));
    write_plane(&folder, "bad.fits", (SIDE, SIDE), HduData::I16(&usual));
    // 4 of 128 columns are bad.
    let words = ["good.fits", "leaves out 97 % of the pixels", "--mask-good-is nonzero"];
    refused(&folder, "image.fits", &["--target-mask", "good.fits"], &words);
    let masks = |options: &[&str]| {
        let _ = subtract(&folder, "image.fits", options);
        FitsFile::open(&folder.path("out.fits")).unwrap().read_integers(2).unwrap().pixels
    };
    let turned = masks(&["--target-mask", "good.fits", "--mask-good-is", "nonzero"]);
    assert!(turned == masks(&["--target-mask", "bad.fits", "--mask-good-is", "zero"]));
    assert!(turned == masks(&["--target-mask", "bad.fits"]));
}

#[test]
fn raw_colour_images_are_refused_by_name() {
    let (folder, target) = pair();
    for (keyword, pattern) in [("BAYERPAT", "RGGB"), ("CFAPAT", "GBRG"), ("COLORTYP", "RGGB")] {
        let mut frame = target.clone();
        frame.header.set(keyword, pattern, "");
        frame.write(&folder, "colour.fits");
        refused(&folder, "colour.fits", &[], &["Bayer", keyword, pattern]);
    }
    let mut frame = target;
    frame.header.set("COLORTYP", "MONO", "");
    frame.write(&folder, "mono.fits");
    right(&folder, &subtract(&folder, "mono.fits", &[]), 1.0);
}

#[test]
fn a_plane_of_a_cube_and_a_zipped_output() {
    let (folder, target) = pair();
    let frame = target.clone();
    frame.write_unmasked(&folder, "image.fits");
    let _ = subtract(&folder, "image.fits", &[]);
    let plain = folder.bytes("out.fits");
    // The target as the middle plane of three.
    let cards: Vec<String> = target
        .header
        .cards()
        .iter()
        .map(|card| String::from_utf8_lossy(card).into_owned())
        .filter(|card| {
            !["SIMPLE", "BITPIX", "NAXIS", "EXTEND", "EXTNAME"]
                .iter()
                .any(|name| card.starts_with(name))
        })
        .collect();
    let mut all = vec![
        "SIMPLE  =                    T",
        "BITPIX  =                  -32",
        "NAXIS   =                    3",
    ];
    all.extend([
        "NAXIS1  =                  128",
        "NAXIS2  =                  128",
        "NAXIS3  =                    3",
    ]);
    all.extend(cards.iter().map(String::as_str));
    let mut bytes = header_blocks(&all);
    for plane in 0..3 {
        let values = target.pixels.iter().map(|pixel| if plane == 1 { *pixel } else { 7.0 });
        bytes.extend(values.flat_map(f32::to_be_bytes));
    }
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    folder.write("cube.fits", &bytes);
    refused(&folder, "cube.fits", &[], &["cube.fits", "128 x 128 x 3", "FILE[EXT][PLANE]"]);
    refused(&folder, "cube.fits[0][3]", &[], &["cube.fits", "no plane 3", "it has 3 planes"]);
    refused(&folder, "image.fits[0][1]", &[], &["image.fits", "no plane 1", "it has 1 planes"]);
    let report = subtract(&folder, "cube.fits[0][1]", &[]);
    assert_eq!(report["target"]["image"], "cube.fits, 0, plane 1");
    let planes = |name: &str| {
        let file = FitsFile::open(&folder.path(name)).unwrap();
        file.hdus()
            .iter()
            .map(|hdu| file.read_image::<f64>(hdu.index).unwrap().pixels.map_bits())
            .collect::<Vec<_>>()
    };
    let of_cube = planes("out.fits");
    folder.write("plain.fits", &plain);
    assert!(of_cube == planes("plain.fits"));

    let zipped = ["subtract", "reference.fits", "image.fits", "-o", "out.fits.gz", "--quiet"];
    let _ = folder.succeed(&zipped);
    assert_eq!(folder.bytes("out.fits.gz")[..2], [0x1f, 0x8b]);
    assert!(planes("out.fits.gz") == of_cube);
    let other = folder.dia(&["subtract", "reference.fits", "image.fits", "-o", "out.fits.bz2"]);
    assert!(
        other.code == Some(1) && other.stderr.contains("no .bz2 files are made"),
        "{}",
        other.stderr
    );
}

#[test]
fn large_pedestals_want_double_precision() {
    let (folder, target) = pair();
    let pixels: Vec<f64> = target.pixels.iter().map(|pixel| f64::from(*pixel) + 1e9).collect();
    let mut header = target.header.clone();
    let _ = ["GAIN", "RDNOISE", "SATURATE", "EXTNAME"].map(|keyword| header.remove(keyword));
    let shape = |data| Some((SIDE, SIDE, data));
    let variance = variance_of(&target);
    let plane = Header::new();
    let hdus = [
        HduOut { name: "SCI", header: &header, image: shape(HduData::F64(&pixels)) },
        HduOut { name: "VARIANCE", header: &plane, image: shape(HduData::F32(&variance)) },
    ];
    fits::write(&folder.path("pedestal.fits"), &hdus).unwrap();
    refused(&folder, "pedestal.fits", &[], &["pedestal.fits", "--precision f64"]);
    right(&folder, &subtract(&folder, "pedestal.fits", &["--precision", "f64"]), 1.0);
}

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
    let (folder, _) = pair();
    symlink("out.fits", folder.path("link")).unwrap();
    symlink("link", folder.path("report.json")).unwrap();
    refused(&folder, "target.fits", &[], &["report.json", "another path"]);
    assert!(!folder.path("out.fits").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_or_never_ends_is_found_before_the_fit() {
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
