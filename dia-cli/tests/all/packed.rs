//! Tile-compressed outputs.

#![cfg(feature = "cfitsio")]

use crate::dia::Folder;
use dia_cli::fits::{self, FitsFile, Hdu, HduData, HduOut, Header};

#[test]
fn packed_outputs_lose_a_hundredth_of_the_noise() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "9", "--density", "100"]);
    for name in ["plain.fits", "packed.fits.fz", "again.fits.fz"] {
        let output = ["-o", name, "--planes", "scene", "--quiet"];
        let _ =
            folder.succeed(&[&["subtract", "reference.fits", "target.fits"], &output[..]].concat());
    }
    assert!(folder.bytes("packed.fits.fz") == folder.bytes("again.fits.fz"));
    let [plain, packed] =
        ["plain.fits", "packed.fits.fz"].map(|name| FitsFile::open(&folder.path(name)).unwrap());
    assert!(3 * folder.bytes("packed.fits.fz").len() < 2 * folder.bytes("plain.fits").len());
    let names: Vec<String> = plain.hdus().iter().filter_map(Hdu::name).collect();
    let index = |file: &FitsFile, name: &str| {
        file.hdus().iter().find(|hdu| hdu.name().as_deref() == Some(name)).unwrap().index
    };
    let read =
        |file: &FitsFile, name: &str| file.read_image::<f64>(index(file, name)).unwrap().pixels;
    let integers = |file: &FitsFile, name: &str| file.read_integers(index(file, name)).unwrap();
    assert_eq!(integers(&plain, "MASK"), integers(&packed, "MASK"));
    for name in ["KERNEL", "PSF", "COVARIANCE"] {
        assert!(names.iter().any(|n| n == name));
        assert_eq!(read(&plain, name), read(&packed, name), "{name}");
    }
    let (d, sigma2) = (read(&plain, "DIFFERENCE"), read(&plain, "VARIANCE"));
    let rounded = read(&packed, "DIFFERENCE");
    assert!(d.iter().zip(&rounded).all(|(a, b)| a.is_nan() == b.is_nan()));
    let errors = d.iter().zip(&rounded).zip(&sigma2).filter(|((d, _), _)| !d.is_nan());
    let (sum, count) = errors
        .fold((0.0, 0.0), |(sum, count), ((a, b), v)| (sum + (a - b).powi(2) / v, count + 1.0));
    // A step is a 32nd of the noise of the row, which stars make at most a tenth larger here: 1.1/(32 √12).
    let rms: f64 = f64::sqrt(sum / count);
    assert!((0.005..0.01).contains(&rms), "{rms}");

    // What was packed is measured as what was not.
    let fluxes = ["plain.fits", "packed.fits.fz"].map(|name| {
        let _ = folder.succeed(&["detect", name, "--sources", "found.csv", "--quiet"]);
        String::from_utf8(folder.bytes("found.csv")).unwrap().lines().count()
    });
    assert_eq!(fluxes[0], fluxes[1]);
}

/// Two packed images of 96 × 24 pixels, and where the streams of the second begin: all of them, and each.
fn two_packed(folder: &Folder) -> (Vec<u8>, usize, Vec<usize>) {
    // Noise, of which CFITSIO finds what it is rounded to; without it pixels would not be packed by the algorithm of
    // Rice.
    let noise = |i: u32| f32::from((i.wrapping_mul(2_654_435_761).rotate_left(9) >> 24) as u8);
    let pixels: Vec<f32> = (0..96 * 24).map(|i| noise(i * i + i) + 300.5).collect();
    let header = Header::new();
    let plane =
        |name| HduOut { name, header: &header, image: Some((24, 96, HduData::F32(&pixels))) };
    fits::write(&folder.path("good.fits.fz"), &[plane("FIRST"), plane("SECOND")]).unwrap();
    let file = FitsFile::open(&folder.path("good.fits.fz")).unwrap();
    let second = &file.hdus()[2].header;
    let [row, rows, heap] =
        ["NAXIS1", "NAXIS2", "PCOUNT"].map(|name| second.get_i64(name).unwrap() as usize);
    let bytes = folder.bytes("good.fits.fz");
    let begin = bytes.len() - (row * rows + heap).next_multiple_of(2880);
    let heap = begin + row * rows;
    assert!(bytes[begin..heap].chunks(row).all(|row| row[..4] != [0; 4]), "not packed by Rice");
    // Length and place of a stream are the first numbers of a row.
    let place = |at: usize| u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
    let streams = (0..rows).map(|k| heap + place(begin + k * row)).collect();
    (bytes, heap, streams)
}

#[test]
fn damage_that_cfitsio_would_follow_is_named() {
    let folder = Folder::new();
    let (good, heap, streams) = two_packed(&folder);
    // The card of that name in one of the packed images.
    let card = |image: usize, keyword: &str| {
        let start = format!("{keyword:8}= ");
        let all: Vec<usize> =
            (0..heap).step_by(80).filter(|&at| good[at..].starts_with(start.as_bytes())).collect();
        all[all.len() - 2 + image]
    };
    let with = |at: usize, text: &str| {
        let mut bytes = good.clone();
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    let number = |keyword: &'static str, value: &str| {
        let at = card(1, keyword) + 10;
        (keyword, with(at, &format!("{value:>20}")))
    };
    // What each of these made of CFITSIO: divisions by zero, and reading before or beyond its memory.
    // A pixel, the number of a block whose pixels have two low bits, and zeros for ever.
    let mut endless = good.clone();
    endless[heap..].fill(0);
    for begin in streams {
        endless[begin + 4] = 0b0001_1000;
    }
    let mut cases = vec![
        number("ZTILE2", "0"),
        number("ZTILE1", "128"),
        number("ZTILE2", "2"),
        number("ZDITHER0", "0"),
        number("ZVAL1", "0"),
        number("ZVAL2", "3"),
        ("tile", endless),
    ];
    // Streams beyond the data.
    cases.push(("tile", number("PCOUNT", "8").1));
    for (what, bytes) in cases {
        folder.write("bad.fits.fz", &bytes);
        let file = FitsFile::open(&folder.path("bad.fits.fz")).unwrap();
        let error = file.read_image::<f32>(2).unwrap_err().to_string();
        let known =
            error.contains(what) || error.contains("tiles instead") || error.contains("Rice");
        assert!(known && error.contains("fitsverify"), "{what}: {error}");
        // The image beside it can be read: damage of another HDU does not reach the reader.
        assert_eq!(file.read_image::<f32>(1).unwrap().pixels.len(), 96 * 24, "{what}");
    }
}
