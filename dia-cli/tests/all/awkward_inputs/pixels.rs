//! Masks, and pixels of other kinds.

use dia_cli::fits::{self, FitsFile, HduData, HduOut, Header};

use super::{MapBits, SIDE, pair, refused, right, subtract, variance_of};
use crate::dia::{header_blocks, write_plane};

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
