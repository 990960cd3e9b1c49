//! Numbers of every kind, as they are stored.

use std::io::Write;

use super::{file_bytes, open, same, square};
use crate::fits::FitsError;

#[test]
fn every_bitpix_is_scaled_and_blanked() {
    const SCALED: &[&str] = &["BSCALE  = 0.5", "BZERO   = 1.0D2", "BLANK   = 7"];
    let integers = [1i8, 7, 3, 120];
    let scaled = [100.5, f64::NAN, 101.5, 160.0];
    let plain = [1.0, 7.0, 3.0, 120.0];
    let cases: [(i64, Vec<u8>); 4] = [
        (8, integers.iter().map(|&v| v as u8).collect()),
        (16, integers.iter().flat_map(|&v| i16::from(v).to_be_bytes()).collect()),
        (32, integers.iter().flat_map(|&v| i32::from(v).to_be_bytes()).collect()),
        (64, integers.iter().flat_map(|&v| i64::from(v).to_be_bytes()).collect()),
    ];
    for (bitpix, data) in cases {
        let file = square(bitpix, SCALED, &data);
        same(&file.read_image::<f64>(0).unwrap().pixels, &scaled);
        assert!(file.read_image::<f32>(0).unwrap().pixels[1].is_nan());
        let file = square(bitpix, &[], &data);
        same(&file.read_image::<f64>(0).unwrap().pixels, &plain);
        assert_eq!(file.read_integers(0).unwrap().pixels, [1, 7, 3, 120]);
    }
    // BLANK has no meaning for floats.
    let floats = [1.0, 7.0, f64::NAN, -0.25];
    let narrow: Vec<u8> = floats.iter().flat_map(|&v| (v as f32).to_be_bytes()).collect();
    let wide: Vec<u8> = floats.iter().flat_map(|&v| v.to_be_bytes()).collect();
    for (bitpix, data) in [(-32, narrow), (-64, wide)] {
        let scaled = square(bitpix, SCALED, &data).read_image::<f64>(0).unwrap().pixels;
        same(&scaled, &[100.5, 103.5, f64::NAN, 99.875]);
        let plain = square(bitpix, &[], &data).read_image::<f32>(0).unwrap().pixels;
        assert_eq!(plain[..2], [1.0, 7.0]);
        assert_eq!(plain[3], -0.25);
    }
}

#[test]
fn unsigned_integers_are_exact() {
    let data: Vec<u8> = [i16::MIN, -1, 0, i16::MAX].iter().flat_map(|v| v.to_be_bytes()).collect();
    let file = square(16, &["BZERO   = 32768"], &data);
    assert_eq!(file.read_integers(0).unwrap().pixels, [0, 32767, 32768, 65535]);
    same(&file.read_image::<f64>(0).unwrap().pixels, &[0.0, 32767.0, 32768.0, 65535.0]);
    let data: Vec<u8> =
        [i64::MIN, i64::MIN + 1, -1, 0].iter().flat_map(|v| v.to_be_bytes()).collect();
    let error = square(64, &["BZERO   = 9223372036854775808"], &data).read_integers(0).unwrap_err();
    assert!(error.to_string().contains("9223372036854775808 at x = 1, y = 1"), "{error}");
}

#[test]
fn a_mask_of_fractions_or_blanks_is_refused() {
    let data: Vec<u8> = [1.0f32, 2.0, 2.5, 4.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    let error = square(-32, &[], &data).read_integers(0).unwrap_err().to_string();
    assert!(error.contains("holds 2.5 at x = 0, y = 1"), "{error}");
    let error =
        square(8, &["BLANK   = 9"], &[1, 9, 3, 4]).read_integers(0).unwrap_err().to_string();
    assert!(error.contains("BLANK) at x = 1, y = 0"), "{error}");
}

#[test]
fn unusable_scaling_is_refused() {
    for card in ["BSCALE  = 0.0", "BZERO   = 'zero'", "BLANK   = 1.5"] {
        let error = square(8, &[card], &[0; 4]).read_image::<f32>(0).unwrap_err();
        assert!(matches!(error, FitsError::Scaling { .. }), "{error}");
    }
}

#[test]
fn cubes_are_refused_unless_flat() {
    let cards = [
        "SIMPLE  = T",
        "BITPIX  = 8",
        "NAXIS   = 3",
        "NAXIS1  = 2",
        "NAXIS2  = 3",
        "NAXIS3  = 1",
        "EXTNAME = 'cube'",
    ];
    let image =
        open(&file_bytes(&cards, &[0, 1, 2, 3, 4, 5])).unwrap().read_image::<f32>(0).unwrap();
    assert_eq!((image.height, image.width, image.pixels[5]), (3, 2, 5.0));
    let cards = cards.map(|card| if card.starts_with("NAXIS3") { "NAXIS3  = 2" } else { card });
    let error =
        open(&file_bytes(&cards, &[0; 12])).unwrap().read_image::<f32>(0).unwrap_err().to_string();
    assert!(
        error.contains("0 (CUBE)") && error.contains("[2, 3, 2]") && error.contains("FILE[EXT]"),
        "{error}"
    );
}

#[test]
fn gzip_is_read_with_all_its_members() {
    let cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2"];
    let bytes = file_bytes(&cards, &[1, 2, 3, 4]);
    let mut packed = Vec::new();
    for part in bytes.chunks(3000) {
        let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    assert_eq!(open(&packed).unwrap().read_image::<f32>(0).unwrap().pixels, [1.0, 2.0, 3.0, 4.0]);
    assert!(matches!(open(&packed[..packed.len() - 9]), Err(FitsError::Gzip { .. })));
}

#[test]
#[cfg(not(feature = "cfitsio"))]
fn compressed_images_name_the_feature() {
    use super::header_bytes;
    use crate::fits::HduKind;

    let mut bytes = header_bytes(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"]);
    let table = [
        "XTENSION= 'BINTABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 8",
        "NAXIS2  = 2",
        "ZIMAGE  = T",
    ];
    let image = ["ZBITPIX = 16", "ZNAXIS  = 2", "ZNAXIS1 = 2", "ZNAXIS2 = 2"];
    bytes.extend(file_bytes(&[&table[..], &image].concat(), &[0; 16]));
    let file = open(&bytes).unwrap();
    assert_eq!(
        (&file.hdus()[1].kind, file.hdus()[1].shape()),
        (&HduKind::CompressedImage, Some((2, 2)))
    );
    let error = file.read_image::<f32>(1).unwrap_err().to_string();
    assert!(error.contains("--features cfitsio") && error.contains("funpack"), "{error}");
}
