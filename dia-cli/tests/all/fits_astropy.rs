//! Our FITS reader and writer against astropy. Needs python3 with astropy and numpy; without them the tests say so and
//! pass, unless `DIA_REQUIRE_ASTROPY=1`.

#![allow(
    clippy::float_cmp,
    clippy::format_push_string,
    reason = "exact comparisons and small tables"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use dia_cli::fits::{self, FitsError, FitsFile, HduData, HduOut, Header, Value};

/// Runs the oracle; panics with its words if it disagrees.
fn oracle(task: &str, folder: &Path) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/astropy_oracle.py");
    let output = Command::new("python3").arg(script).arg(task).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn astropy_is_there() -> bool {
    let probe = Command::new("python3").args(["-c", "import astropy, numpy"]).output();
    let found = probe.is_ok_and(|output| output.status.success());
    let required = std::env::var_os("DIA_REQUIRE_ASTROPY").is_some_and(|value| value == "1");
    assert!(
        found || !required,
        "DIA_REQUIRE_ASTROPY=1, but python3 cannot import astropy and numpy"
    );
    if !found {
        eprintln!(
            "SKIPPED: python3 cannot import astropy and numpy, so nothing was compared with astropy"
        );
    }
    found
}

fn table(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn dump(path: &Path) -> Vec<f64> {
    fs::read(path).unwrap().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

/// The bits, with one NaN for all.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

#[test]
fn astropys_files_are_read_exactly() {
    if !astropy_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    oracle("make", folder.path());
    let images = table(&folder.path().join("images.tsv"));
    assert!(images.len() > 30);
    for row in images {
        let [name, hdu, height, width, compressed] = row.as_slice() else { panic!("{row:?}") };
        let file = FitsFile::open(&folder.path().join(name)).unwrap();
        let index = hdu.parse().unwrap();
        if compressed == "1" && cfg!(not(feature = "cfitsio")) {
            let error = file.read_image::<f64>(index).unwrap_err();
            assert!(matches!(error, FitsError::NeedsCfitsio { .. }), "{error}");
            continue;
        }
        let expected = dump(&folder.path().join(format!("{name}.{hdu}.f64")));
        let wide = file.read_image::<f64>(index).unwrap();
        let narrow = file.read_image::<f32>(index).unwrap();
        assert_eq!(
            (wide.height.to_string(), wide.width.to_string()),
            (height.clone(), width.clone()),
            "{name}"
        );
        assert_eq!((narrow.height, narrow.width), (wide.height, wide.width), "{name}");
        assert_eq!(wide.pixels.len(), expected.len(), "{name}");
        for (place, expected) in expected.iter().enumerate() {
            let (wide, narrow) = (wide.pixels[place], narrow.pixels[place]);
            assert_eq!(bits(wide), bits(*expected), "{name}: {wide} is not {expected} at {place}");
            assert_eq!(
                bits(narrow.into()),
                bits(f64::from(*expected as f32)),
                "{name}: {narrow} at {place}"
            );
        }
        // Integers too, where the values are integers that f64 and i64 hold exactly.
        if expected.iter().all(|value| value.fract() == 0.0 && value.abs() < 2f64.powi(53)) {
            let integers = file.read_integers(index).unwrap().pixels;
            assert!(
                integers
                    .iter()
                    .zip(&expected)
                    .all(|(&integer, &expected)| integer as f64 == expected),
                "{name}"
            );
        }
    }
    for row in table(&folder.path().join("keywords.tsv")) {
        let [name, hdu, keyword, kind, text] = row.as_slice() else { panic!("{row:?}") };
        let file = FitsFile::open(&folder.path().join(name)).unwrap();
        let (value, _) = file.hdu(hdu.parse().unwrap()).unwrap().header.get(keyword).unwrap();
        let expected = match kind.as_str() {
            "str" => Value::Text(text.clone()),
            "float" => Value::Float(text.parse().unwrap()),
            "int" => Value::Integer(text.parse().unwrap()),
            "bool" => Value::Bool(text == "True"),
            _ => Value::Undefined,
        };
        assert_eq!(value, expected, "{keyword}");
    }
}

#[test]
fn our_files_satisfy_astropy() {
    if !astropy_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = "a string that's longer than one card, and its quotes ' must not be cut in two; "
        .repeat(4)
        + "end";
    let values: Vec<(&str, &str, Value)> = vec![
        ("OBJECT", "str", "O'Neill / 1".into()),
        ("EMPTY", "str", "".into()),
        ("LONGTEXT", "str", long.clone().into()),
        ("QUOTES", "str", "'".repeat(90).into()),
        ("LONGER KEYWORD", "str", long.into()),
        ("EXPTIME", "float", 0.1.into()),
        ("TINY", "float", (-1.234_567_890_123_456_7e-308).into()),
        ("HUGE", "float", f64::MAX.into()),
        ("WHOLE", "float", 1e16.into()),
        ("FIVE", "float", 5.0.into()),
        ("DIA KERNEL SUM", "float", 0.987_654_321_012_345_6.into()),
        ("COUNT", "int", i64::MIN.into()),
        ("MP_DETECTED_NEGATIVE", "int", 6.into()),
        ("FLAG", "bool", true.into()),
        ("DIA CONVERGED FLAG", "bool", false.into()),
        ("NOTHING", "undefined", f64::NAN.into()),
        ("DIA NOTHING AT ALL", "undefined", f64::INFINITY.into()),
    ];
    let mut header = Header::new();
    let mut keywords = String::new();
    for keyword in [
        "BZERO", "BSCALE", "BLANK", "ZIMAGE", "ZNAXIS1", "TFORM1", "CHECKSUM", "DATASUM", "NAXIS3",
        "INHERIT",
    ] {
        header.set(keyword, 3, "of the input");
        keywords += &format!("-\t1\t{keyword}\tabsent\t\n");
    }
    for (keyword, kind, value) in values {
        let text = match &value {
            Value::Text(text) => text.clone(),
            Value::Float(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => String::new(),
        };
        header.set(keyword, value, "a comment");
        for hdu in 0..5 {
            keywords += &format!("-\t{hdu}\t{keyword}\t{kind}\t{text}\n");
        }
    }
    let (first, second) = ("x".repeat(70), "y".repeat(80));
    header.push_history(&format!("{first} {second}\nnext"));
    keywords +=
        &format!("-\t2\tHISTORY\thistory\t{first}|{}|{}|next\n", &second[..72], &second[72..]);
    keywords += "-\t1\tEXTNAME\tstr\tSCI\n";

    let wide = [1.5, f64::NAN, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY];
    let narrow = wide.map(|value| value as f32);
    let (short, int) = ([i16::MIN, -1, 0, 1, 2, i16::MAX], [i32::MIN, -1, 0, 1, 2, i32::MAX]);
    let image = |name, data| HduOut { name, header: &header, image: Some((2, 3, data)) };
    let hdus = [
        HduOut { name: "", header: &header, image: None },
        image("SCI", HduData::F32(&narrow)),
        image("WIDE", HduData::F64(&wide)),
        image("MASK", HduData::I16(&short)),
        image("it's a long name", HduData::I32(&int)),
    ];
    fits::write(&folder.path().join("written.fits"), &hdus).unwrap();
    let mut images = String::new();
    let expected = [
        ("f4", narrow.map(f64::from)),
        ("f8", wide),
        ("i2", short.map(f64::from)),
        ("i4", int.map(f64::from)),
    ];
    for (index, (dtype, pixels)) in expected.iter().enumerate() {
        let bytes: Vec<u8> = pixels.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(folder.path().join(format!("{dtype}.f64")), bytes).unwrap();
        images += &format!("{}\t2\t3\t{dtype}\t{dtype}.f64\n", index + 1);
    }
    fs::write(folder.path().join("images.tsv"), images).unwrap();
    fs::write(folder.path().join("keywords.tsv"), keywords).unwrap();
    oracle("check", folder.path());
}
