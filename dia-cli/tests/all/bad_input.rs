//! What a user can do wrong: each mistake ends with the right exit code and with words that name the file, the cause and
//! the remedy, and leaves no file behind.

use crate::dia::{Ended, Folder, Frame, header_blocks, write_plane};
use dia_cli::fits::{HduData, HduOut, Header};

/// The exit codes.
const FAILURE: i32 = 1;
const USAGE: i32 = 2;

/// A small pair; the simulation itself is tested elsewhere.
fn pair() -> Folder {
    Folder::with_pair(&["--size", "96", "--seed", "3", "--density", "100"])
}

/// Runs `dia` in `folder`. It must end with `code`, say all `words`, and leave every file and no other as it was.
fn refused(folder: &Folder, code: i32, arguments: &[&str], words: &[&str]) -> Ended {
    let before = folder.contents();
    let ended = folder.dia(arguments);
    let said = format!("dia {}\n{}", arguments.join(" "), ended.stderr);
    assert_eq!(ended.code, Some(code), "{said}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is missing: {said}");
    }
    assert_eq!(ended.stdout, "", "{said}");
    if code == FAILURE {
        assert!(ended.stderr.starts_with("dia: error: "), "{said}");
        assert_eq!(ended.stderr.lines().count(), 1, "{said}");
    }
    assert!(folder.contents() == before, "files were written or changed: {said}");
    ended
}

/// [`refused`] for `dia subtract reference.fits target.fits -o out.fits` with further `options`.
fn subtract_refused(folder: &Folder, options: &[&str], words: &[&str]) {
    let base = ["subtract", "reference.fits", "target.fits", "-o", "out.fits"];
    let _ = refused(folder, FAILURE, &[&base, options].concat(), words);
}

/// [`refused`] for bad.fits in the place of the reference, then of the target.
fn image_refused(folder: &Folder, words: &[&str]) {
    let as_reference = ["subtract", "bad.fits", "target.fits", "-o", "out.fits"];
    let said = [&["bad.fits", "reference"], words].concat();
    let _ = refused(folder, FAILURE, &as_reference, &said);
    let as_target = ["subtract", "reference.fits", "bad.fits", "-o", "out.fits"];
    let said = [&["bad.fits", "target"], words].concat();
    let _ = refused(folder, FAILURE, &as_target, &said);
}

#[test]
fn wrong_usage_ends_with_code_2() {
    let folder = pair();
    let base = ["subtract", "reference.fits", "target.fits", "-o", "out.fits"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["--bogus"], &["unexpected argument '--bogus'"]),
        (&["--gain=-1"], &["--gain", "'-1'", "must be positive"]),
        (&["--gain", "-1"], &["--gain", "'-1'", "must be positive"]),
        (&["--reference-gain", "0"], &["--reference-gain", "must be positive"]),
        (&["--target-gain", "nan"], &["--target-gain", "must be positive"]),
        (&["--read-noise", "-2"], &["--read-noise", "must be zero or positive"]),
        (&["--saturation", "0"], &["--saturation", "must be positive"]),
        (&["--tolerance", "0"], &["--tolerance", "expected a positive number"]),
        (&["--tolerance", "-0.1"], &["--tolerance", "expected a positive number"]),
        (&["--half-width", "nine"], &["--half-width", "whole number of pixels, `auto`, `aic`"]),
        (&["--half-width", "-3"], &["--half-width", "whole number of pixels, `auto`, `aic`"]),
        (&["--half-width", "2.5"], &["--half-width", "whole number of pixels, `auto`, `aic`"]),
        (&["--threads", "0"], &["--threads", "1..="]),
        (&["--background-degree", "99"], &["--background-degree", "99"]),
        (&["--solver", "magic"], &["--solver", "pcg", "lsqr", "cholesky"]),
        (&["--quiet", "--verbose"], &["--quiet", "--verbose", "cannot be used"]),
    ];
    for (options, words) in cases {
        let _ = refused(&folder, USAGE, &[&base, *options].concat(), words);
    }
    let _ = refused(&folder, USAGE, &base[..3], &["--output"]);
    let _ = refused(&folder, USAGE, &["subtract", "-o", "out.fits"], &["<REFERENCE>", "<TARGET>"]);
    let empty = ["subtract", "reference.fits[]", "target.fits", "-o", "out.fits"];
    let _ = refused(&folder, USAGE, &empty, &["reference.fits[]", "FILE[EXT]"]);
    let _ = refused(&folder, USAGE, &["simulate"], &["--output"]);
    let _ = refused(&folder, USAGE, &["add"], &["unrecognized subcommand 'add'"]);
}

#[test]
fn files_that_are_no_fits_images() {
    let folder = pair();
    let whole = folder.bytes("target.fits");
    // 96 × 96 pixels of four bytes follow one header block.
    let (in_header, in_data) = (1000, 2880 + 4 * 96 * 50);
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let cases: &[(&[u8], &[&str])] = &[
        (b"", &["is empty", "fetch it again"]),
        (
            b"not an image\n",
            &["is not a FITS file", "begins with \"not an im", "give a plain or gzipped FITS file"],
        ),
        (png, &["is not a FITS file", "PNG"]),
        (&whole[..in_header], &["no END card", "cut short", "fetch it again"]),
        (&whole[..in_data], &["declares 36864 bytes", "only 19200", "cut short", "fetch it again"]),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0", &["cannot uncompress", "fetch the file again"]),
    ];
    for (bytes, words) in cases {
        folder.write("bad.fits", bytes);
        image_refused(&folder, words);
        let _ = refused(&folder, FAILURE, &["info", "bad.fits"], &[&["bad.fits"], *words].concat());
    }
}

#[test]
fn files_without_a_two_dimensional_image() {
    let folder = pair();
    let empty = header_blocks(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T"]);
    let cube = header_blocks(&[
        "SIMPLE  = T",
        "BITPIX  = 16",
        "NAXIS   = 3",
        "NAXIS1  = 24",
        "NAXIS2  = 10",
        "NAXIS3  = 6",
    ]);
    let table = header_blocks(&[
        "XTENSION= 'BINTABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 8",
        "NAXIS2  = 360",
        "PCOUNT  = 0",
        "GCOUNT  = 1",
        "TFIELDS = 1",
        "TFORM1  = 'D'",
        "EXTNAME = 'SOURCES'",
    ]);
    // Data of both the cube and the table: one block.
    let data = [0; 2880];

    folder.write("bad.fits", &empty);
    image_refused(&folder, &["no two-dimensional image", "0: empty"]);
    folder.write("bad.fits", &[cube.as_slice(), &data].concat());
    image_refused(&folder, &["no two-dimensional image", "0: 24 x 10 x 6 pixels"]);
    folder.write("bad.fits", &[empty.as_slice(), &table, &data].concat());
    image_refused(&folder, &["no two-dimensional image", "1 (SOURCES): a table"]);

    // The same, asked for by name.
    let asked = |image: &str, words: &[&str]| {
        let arguments = ["subtract", image, "target.fits", "-o", "out.fits"];
        let _ = refused(&folder, FAILURE, &arguments, words);
    };
    asked("bad.fits[SOURCES]", &["bad.fits", "holds a table, not an image", "FILE[EXT]"]);
    asked("bad.fits[7]", &["bad.fits has no HDU 7", "1 (SOURCES): a table"]);
    asked("target.fits[WEIGHT]", &["target.fits has no HDU WEIGHT", "0 (IMAGE)", "1 (MASK)"]);
    folder.write("bad.fits", &[cube.as_slice(), &data].concat());
    asked("bad.fits[0]", &["bad.fits", "not a two-dimensional image", "24, 10, 6"]);
    asked("missing.fits", &["cannot read missing.fits", "No such file", "check the path"]);
    asked(".", &["cannot read .", "directory", "check the path"]);
}

#[test]
fn an_error_is_told_once() {
    let folder = pair();
    let arguments = ["subtract", "missing.fits", "target.fits", "-o", "out.fits"];
    let ended = refused(&folder, FAILURE, &arguments, &[]);
    assert_eq!(ended.stderr.matches("No such file").count(), 1, "{}", ended.stderr);
}

#[cfg(not(feature = "cfitsio"))]
#[test]
fn tile_compressed_images_need_cfitsio() {
    let folder = pair();
    let primary = header_blocks(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"]);
    let compressed = header_blocks(&[
        "XTENSION= 'BINTABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 8",
        "NAXIS2  = 96",
        "PCOUNT  = 2112",
        "GCOUNT  = 1",
        "TFIELDS = 1",
        "TFORM1  = '1PB(22)'",
        "TTYPE1  = 'COMPRESSED_DATA'",
        "ZIMAGE  = T",
        "ZCMPTYPE= 'RICE_1'",
        "ZBITPIX = 16",
        "ZNAXIS  = 2",
        "ZNAXIS1 = 96",
        "ZNAXIS2 = 96",
    ]);
    folder.write("bad.fits", &[primary.as_slice(), &compressed, &[0; 2880]].concat());
    image_refused(&folder, &["tile-compressed", "--features cfitsio", "funpack"]);
}

#[cfg(unix)]
#[test]
fn files_that_may_not_be_read() {
    use std::fs::{File, Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let folder = pair();
    folder.write("bad.fits", &folder.bytes("target.fits"));
    set_permissions(folder.path("bad.fits"), Permissions::from_mode(0o000)).unwrap();
    if File::open(folder.path("bad.fits")).is_ok() {
        eprintln!("SKIPPED: this user may read every file");
        return;
    }
    image_refused(&folder, &["cannot read bad.fits", "ermission denied", "permissions"]);
}

#[test]
fn images_of_different_size_are_subtracted_where_they_overlap() {
    let folder = Folder::with_pair(&["--size", "128", "--dx", "0", "--dy", "0"]);
    let target = Frame::read(&folder, "target.fits");
    target.cut((5, 9), (100, 110)).write(&folder, "target.fits");
    let words = ["reference.fits", "128 × 128", "target.fits", "100 × 110", "--align integer"];
    subtract_refused(&folder, &["--align", "none"], &words);

    let arguments = ["subtract", "reference.fits", "target.fits", "-o", "out.fits"];
    for align in ["auto", "integer"] {
        let _ = folder.succeed(&[&arguments[..], &["--align", align]].concat());
        let file = dia_cli::fits::FitsFile::open(&folder.path("out.fits")).unwrap();
        let header = &file.hdu(0).unwrap().header;
        assert_eq!(file.hdu(0).unwrap().shape(), Some((100, 110)), "{align}");
        // What is at column 9 and row 5 of the reference is at 0 of the target.
        let offset = (header.get_i64("DIADX"), header.get_i64("DIADY"));
        assert_eq!(offset, (Some(-9), Some(-5)), "{align}");
    }
}

#[test]
fn images_without_usable_pixels_or_without_structure() {
    let folder = pair();
    let good = Frame::read(&folder, "target.fits");
    let filled = |value| Frame { pixels: vec![value; good.pixels.len()], ..good.clone() };
    // All of them, however the images are aligned.
    for align in ["integer", "none"] {
        for (role, base) in [
            ("reference", ["subtract", "bad.fits", "target.fits", "-o", "out.fits", "--align"]),
            ("target", ["subtract", "reference.fits", "bad.fits", "-o", "out.fits", "--align"]),
        ] {
            let arguments = [&base[..], &[align]].concat();
            filled(f32::NAN).write(&folder, "bad.fits");
            let words = ["bad.fits", role, "no pixel", "9216 have no value", "another image"];
            let _ = refused(&folder, FAILURE, &arguments, &words);
            filled(250.0).write(&folder, "bad.fits");
            let words = ["bad.fits", role, "is constant (250 ADU", "right file"];
            let _ = refused(&folder, FAILURE, &arguments, &words);
        }
    }

    let all = vec![1_i16; good.mask.len()];
    write_plane(&folder, "all.fits", (96, 96), HduData::I16(&all));
    for role in ["reference", "target"] {
        let option = format!("--{role}-mask");
        let words = ["all.fits", "100 % of the pixels", "--mask-good-is nonzero"];
        subtract_refused(&folder, &[&option, "all.fits"], &words);
        let words = [&format!("{role}.fits"), "no pixel", "9216 are masked (all.fits", &option];
        subtract_refused(&folder, &[&option, "all.fits", "--mask-good-is", "zero"], &words);
        // Both skies are above 200 ADU.
        let option = format!("--{role}-saturation");
        let words = [&format!("{role}.fits"), "no pixel", "saturation level of 10 ADU", &option];
        subtract_refused(&folder, &[&option, "10"], &words);
    }
}

#[test]
fn kernels_too_large_for_the_image() {
    let folder = pair();
    for half_width in ["48", "1000000000", "18446744073709551615"] {
        let words = [half_width, "target.fits", "96 × 96", "smaller --half-width"];
        subtract_refused(&folder, &["--half-width", half_width], &words);
    }
    // 46 × 46 valid pixels, 51² + 6 unknowns.
    let words = ["target.fits", "2607 unknowns", "smaller half-width"];
    let options = ["--half-width", "25", "--basis", "delta", "--kernel-shape", "square"];
    subtract_refused(&folder, &options, &words);
}

#[test]
fn impossible_gains() {
    let folder = pair();
    let good = Frame::read(&folder, "target.fits");
    let with_gain = |card: Option<&str>| {
        let mut frame = good.clone();
        frame.header.remove("GAIN");
        if let Some(card) = card {
            let mut bytes = [b' '; 80];
            bytes[..card.len()].copy_from_slice(card.as_bytes());
            frame.header.push_card(bytes);
        }
        frame.write(&folder, "bad.fits");
    };
    for (card, words) in [
        (
            "GAIN    =                 -1.5",
            ["GAIN = -1.5", "cannot be one, which is positive", "-gain"],
        ),
        (
            "GAIN    =                  0.0",
            ["GAIN = 0", "cannot be one, which is positive", "-gain"],
        ),
        ("GAIN    =                  NaN", ["GAIN = NaN", "is not a number", "-gain"]),
        ("GAIN    = 'high    '", ["GAIN = high", "is not a number", "-gain"]),
        ("GAIN    =", ["GAIN = undefined", "is not a number", "-gain"]),
    ] {
        with_gain(Some(card));
        image_refused(&folder, &words);
    }
    with_gain(None);
    image_refused(
        &folder,
        &["gain", "is not known", "EGAIN, GAINADU, GAIN, CCDGAIN", "-gain", "-variance"],
    );

    let words = ["reference.fits", "no header keyword NOSUCH", "gain", "another keyword"];
    subtract_refused(&folder, &["--gain", "NOSUCH"], &words);
    let words = ["target.fits", "OBJECT = simulated is not a number", "read noise of the target"];
    subtract_refused(&folder, &["--target-read-noise", "OBJECT"], &words);
}

#[test]
fn planes_that_do_not_fit_their_image() {
    let folder = pair();
    write_plane(&folder, "small.fits", (10, 12), HduData::F32(&[1.0; 120]));
    write_plane(&folder, "zero.fits", (96, 96), HduData::F32(&vec![0.0; 96 * 96]));
    write_plane(&folder, "negative.fits", (96, 96), HduData::F32(&vec![-4.0; 96 * 96]));
    write_plane(&folder, "half.fits", (96, 96), HduData::F32(&vec![0.5; 96 * 96]));
    for role in ["reference", "target"] {
        let (mask, variance) = (format!("--{role}-mask"), format!("--{role}-variance"));
        for option in [&mask, &variance] {
            let words = ["small.fits", "10 × 12", "96 × 96", "a plane of the image's size"];
            subtract_refused(&folder, &[option, "small.fits"], &words);
            subtract_refused(&folder, &[option, "nope.fits"], &[role, "cannot read nope.fits"]);
        }
        let words = ["half.fits", "holds 0.5 at x = 0, y = 0", "mask of integer"];
        subtract_refused(&folder, &[&mask, "half.fits"], &words);
        let words = ["negative.fits", role, "not positive", &variance, "-gain"];
        subtract_refused(&folder, &[&variance, "negative.fits"], &words);
    }
    // A reference without noise is possible, a target is not.
    let words = ["zero.fits", "target", "not positive", "--target-variance in ADU²"];
    subtract_refused(&folder, &["--target-variance", "zero.fits"], &words);
}

#[test]
fn unrelated_fields() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "6"]);
    folder.simulate("other", &["--size", "128", "--seed", "7"]);
    let arguments = ["subtract", "reference.fits", "other/target.fits", "-o", "out.fits"];
    let words =
        ["reference.fits", "other/target.fits", "no common pattern", "same field", "--align none"];
    let _ = refused(&folder, FAILURE, &arguments, &words);
}

#[test]
fn too_few_stars_for_an_automatic_half_width() {
    let folder = Folder::with_pair(&["--size", "64", "--density", "0", "--transients", "0"]);
    subtract_refused(
        &folder,
        &["--align", "none"],
        &["seeing of reference.fits", "too few", "--half-width"],
    );
}

#[test]
fn places_where_nothing_can_be_written() {
    let folder = pair();
    std::fs::create_dir(folder.path("folder")).unwrap();
    let base = ["subtract", "reference.fits", "target.fits", "-o"];
    let to = |output: &[&str], words: &[&str]| {
        let _ = refused(&folder, FAILURE, &[&base, output].concat(), words);
    };
    to(&["none/out.fits"], &["the difference none/out.fits", "no folder none", "make it first"]);
    to(&["folder"], &["the difference folder", "is a folder", "path of a file"]);
    to(&["target.fits/out.fits"], &["target.fits/out.fits", "no folder target.fits"]);
    // The report and the figure are looked at before the fit: there is no difference either.
    for option in ["--report", "--figure"] {
        let what = &option[2..];
        to(&["out.fits", option, "none/it"], &[what, "none/it", "no folder none", "make it first"]);
        to(&["out.fits", option, "folder"], &[what, "folder", "path of a file"]);
        to(&["out.fits", option, "./out.fits"], &[what, "./out.fits", "another path"]);
    }
    // Inputs are not overwritten.
    to(&["target.fits"], &["written over target.fits", "another path"]);
    to(&["folder/../reference.fits"], &["reference.fits", "another path"]);
    write_plane(&folder, "mask.fits", (96, 96), HduData::I16(&vec![0; 96 * 96]));
    to(&["mask.fits", "--target-mask", "mask.fits"], &["written over mask.fits", "another path"]);
    let arguments = ["simulate", "-o", "target.fits"];
    let _ = refused(&folder, FAILURE, &arguments, &["cannot make the folder target.fits"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    use std::os::unix::fs::FileTypeExt;

    let folder = pair();
    let is_device = || {
        std::fs::metadata("/dev/full").is_ok_and(|metadata| metadata.file_type().is_char_device())
    };
    if !is_device() {
        eprintln!("SKIPPED: there is no /dev/full");
        return;
    }
    let base = ["subtract", "reference.fits", "target.fits", "--quiet"];
    let words = ["cannot write /dev/full", "No space left", "free some space"];
    let _ = refused(&folder, FAILURE, &[&base[..], &["-o", "/dev/full"]].concat(), &words);
    assert!(is_device());

    // A report that fails while it is written leaves the difference, which is whole.
    let ended = folder.dia(&[&base[..], &["-o", "out.fits", "--report", "/dev/full"]].concat());
    assert_eq!(ended.code, Some(FAILURE), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot write /dev/full"), "{}", ended.stderr);
    assert!(ended.stderr.contains("space"), "{}", ended.stderr);
    assert!(is_device());
    let difference = dia_cli::fits::FitsFile::open(&folder.path("out.fits")).unwrap();
    assert_eq!(difference.hdus().len(), 6);
}

#[test]
fn an_old_difference_survives_a_failure() {
    let folder = pair();
    let arguments = ["subtract", "reference.fits", "target.fits", "-o", "out.fits"];
    let _ = folder.succeed(&arguments);
    // `refused` compares every file with what it was.
    subtract_refused(&folder, &["--half-width", "60"], &["smaller --half-width"]);
    subtract_refused(&folder, &["--target-mask", "nope.fits"], &["nope.fits"]);
}

#[test]
fn impossible_simulations() {
    let folder = Folder::new();
    let simulate = |options: &[&str], words: &[&str]| {
        let arguments = [&["simulate", "-o", "pair"], options].concat();
        let _ = refused(&folder, FAILURE, &arguments, words);
    };
    simulate(&["--size", "8"], &["height is 8", "from 32"]);
    simulate(&["--gain", "0"], &["gain is 0", "must be positive"]);
    simulate(&["--dx", "1000"], &["1000", "from −24 to 24"]);
    simulate(&["--reference-fwhm", "0.1"], &["reference_fwhm is 0.1", "from 1 to 30"]);
    let arguments = ["simulate", "-o", "pair", "--size", "big"];
    let _ = refused(&folder, USAGE, &arguments, &["--size", "SIDE or HEIGHTxWIDTH"]);
    // The smallest size that is allowed works.
    folder.simulate("pair", &["--size", "32"]);
}

/// Not a mistake: the difference of an image and itself is zero.
#[test]
fn one_file_as_reference_and_target() {
    let folder = pair();
    let arguments = ["subtract", "target.fits", "target.fits", "-o", "out.fits"];
    let _ = refused(
        &folder,
        FAILURE,
        &arguments,
        &["target.fits", "the same image", "another exposure"],
    );
}

/// Bytes that are no text are damage: it is named, and where it may concern the pixels, it is refused. Letters of other alphabets are text.
#[test]
fn cards_with_forbidden_bytes() {
    let folder = pair();
    let mut frame = Frame::read(&folder, "target.fits");
    let mut placeholder = [b' '; 80];
    placeholder[..10].copy_from_slice(b"OBSERVER= ");
    frame.header.push_card(placeholder);
    frame.write(&folder, "target.fits");
    let whole = folder.bytes("target.fits");
    let place = whole.windows(10).position(|window| window == b"OBSERVER= ").unwrap();
    let with = |name: &str, at: usize, text: &[u8]| {
        let mut bytes = whole.clone();
        bytes[place + at..place + at + text.len()].copy_from_slice(text);
        folder.write(name, &bytes);
    };
    for damage in [&b"BZ\xc5RO   = 7"[..], b"BSCALE  = \xb2.0", &[0; 80]] {
        with("bad.fits", 0, damage);
        image_refused(&folder, &["header of HDU 0 is damaged", "is no text"]);
    }
    let base =
        ["subtract", "reference.fits", "target.fits", "-o", "out.fits", "--fail-on", "never"];
    for (text, damaged) in
        [(&[0xff; 70][..], true), (b"'K\xe6nig'", true), ("'Jérôme Lalande'".as_bytes(), false)]
    {
        with("target.fits", 10, text);
        let ended = folder.succeed(&base);
        assert_eq!(
            ended.stderr.contains("a card of its header is damaged: \"OBSERVER= "),
            damaged,
            "{}",
            ended.stderr
        );
        let difference = folder.bytes("out.fits");
        assert!(difference[..2880].iter().all(u8::is_ascii));
    }
}

/// A primary HDU without data says nothing of its extension's pixels.
#[test]
fn a_gain_of_the_extension_that_is_no_number_is_not_replaced_by_another() {
    let folder = pair();
    let mut frame = Frame::read(&folder, "target.fits");
    frame.header.set("GAIN", "unknown", "");
    let mut primary = Header::new();
    primary.set("GAIN", 9.0, "of another detector");
    let hdus = [HduOut { name: "", header: &primary, image: None }, frame.image_hdu("SCI")];
    dia_cli::fits::write(&folder.path("bad.fits"), &hdus).unwrap();
    image_refused(&folder, &["GAIN = unknown", "is not a number", "-gain"]);
}
