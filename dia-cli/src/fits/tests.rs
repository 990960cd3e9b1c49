//! Files built by hand or by the writer, read back, cut short and damaged.

#![allow(
    clippy::float_cmp,
    clippy::unreadable_literal,
    reason = "values are exact by construction"
)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use crate::fits::*;

/// A header of the given card texts, END and padding.
fn header_bytes(cards: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        cards.iter().flat_map(|card| format!("{card:80.80}").into_bytes()).collect();
    bytes.extend(format!("{:80}", "END").bytes());
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

fn file_bytes(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut bytes = header_bytes(cards);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

fn put(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("file.fits");
    fs::write(&path, bytes).unwrap();
    path
}

fn open(bytes: &[u8]) -> Result<FitsFile, FitsError> {
    let folder = tempfile::tempdir().unwrap();
    FitsFile::open(&put(folder.path(), bytes))
}

/// A 2 x 2 image of this BITPIX with further cards.
fn square(bitpix: i64, more: &[&str], data: &[u8]) -> FitsFile {
    let bitpix = format!("BITPIX  = {bitpix}");
    let mut cards = vec!["SIMPLE  = T", &bitpix, "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2"];
    cards.extend(more);
    open(&file_bytes(&cards, data)).unwrap()
}

fn same(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    assert!(actual.iter().zip(expected).all(equal), "{actual:?} is not {expected:?}");
}

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
fn cut_files_name_both_sizes() {
    let cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 100", "NAXIS2  = 100"];
    let bytes = file_bytes(&cards, &vec![1; 20000]);
    assert!(open(&bytes[..2880 + 20000]).is_ok(), "missing padding is harmless");
    let error = open(&bytes[..2880 + 19999]).unwrap_err().to_string();
    assert!(error.contains("20000 bytes") && error.contains("19999"), "{error}");
    let error = open(&bytes[..2000]).unwrap_err();
    assert!(matches!(error, FitsError::HeaderCut { hdu: 0, bytes: 2000, .. }), "{error}");
    assert!(matches!(open(b""), Err(FitsError::Empty { .. })));
    assert!(matches!(open(b"not a FITS file at all"), Err(FitsError::NotFits { .. })));
}

#[test]
fn only_an_end_card_ends_a_header() {
    let end = |card: &str| {
        let cards = [
            "SIMPLE  = T",
            "BITPIX  = 8",
            "NAXIS   = 2",
            "NAXIS1  = 2",
            "NAXIS2  = 2",
            card,
            "LAST    = 1",
        ];
        open(&file_bytes(&cards, &[1, 2, 3, 4]))
    };
    for card in
        ["END     =                 92.5 / of the exposure", "ENDING  = 3", "END OF THE NIGHT"]
    {
        let file = end(card).unwrap();
        assert_eq!(file.hdus()[0].header.get_i64("LAST"), Some(1), "{card}");
    }
    let error = end("END").unwrap_err().to_string();
    assert!(error.contains("cards follow its END card: \"LAST    = 1\""), "{error}");
    // Some writers fill up with zeros.
    let mut bytes = file_bytes(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[]);
    bytes[243..].fill(0);
    assert!(open(&bytes).is_ok());
}

#[test]
fn bytes_that_are_no_text_are_damage() {
    let file = |place: usize, text: &[u8]| {
        let cards =
            ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "OBSERVER= 'somebody'", "BZERO   = 7"];
        let mut bytes = header_bytes(&cards);
        bytes[place..place + text.len()].copy_from_slice(text);
        open(&bytes)
    };
    let observer = 3 * CARD_LENGTH + 10;
    for damage in [&b"'a\xff'"[..], b"'a\0b'", b"\x80\x81\x82\x83"] {
        let damaged = damaged(&file(observer, damage).unwrap().hdus()[0].header);
        assert!(
            matches!(damaged.as_slice(), [card] if card.starts_with("OBSERVER= ")),
            "{damaged:?}"
        );
    }
    let alphabet = file(observer, "'Jérôme'".as_bytes()).unwrap();
    assert!(damaged(&alphabet.hdus()[0].header).is_empty());
    // What may have said how to read the pixels cannot be left out.
    let zero = 4 * CARD_LENGTH;
    for (place, damage) in
        [(zero + 1, &b"\xda"[..]), (zero + 10, b"\xb7"), (zero, &[0; CARD_LENGTH])]
    {
        let error = file(place, damage).unwrap_err().to_string();
        assert!(error.contains("HDU 0 is damaged: its card 5 is no text"), "{error}");
    }
}

#[test]
fn blocks_too_many_or_too_few_are_named() {
    let header = [
        "SIMPLE  = T",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 100",
        "NAXIS2  = 100",
        "EXTEND  = T",
    ];
    let mut whole = file_bytes(&header, &[3; 10000]);
    let end = whole.len();
    let extension = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 50",
        "NAXIS2  = 20",
        "PCOUNT  = 0",
        "GCOUNT  = 1",
    ];
    whole.extend(file_bytes(&extension, &[0; 1000]));
    assert_eq!(open(&whole).unwrap().hdus().len(), 2);
    let inserted = |at: usize, block: u8| [&whole[..at], &[block; 2880], &whole[at..]].concat();
    let lost = |at: usize| [&whole[..at], &whole[at + 2880..]].concat();
    for (damaged, at) in [
        (inserted(end, 0), end + 2880),
        (inserted(2880, 9), end + 2880),
        (lost(2880), end - 2880),
        (lost(5760), end - 2880),
    ] {
        for bytes in [damaged.clone(), zipped(&damaged)] {
            let error = open(&bytes).unwrap_err().to_string();
            let words = [
                format!("begins at byte {at}"),
                format!("ends at byte {end}"),
                "lost or inserted".into(),
            ];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
    // Without an extension after it, what a block pushed out is left over. Filling is nothing.
    let alone = &whole[..end];
    for (more, trailing) in [(&[0; 2880][..], 0), (b" ", 0), (&[5; 2880], 2880)] {
        assert_eq!(open(&[alone, more].concat()).unwrap().trailing(), trailing);
    }
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn streams_are_read_no_further_than_their_headers_say() {
    let cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2"];
    // Zeros without end, nearly: 256 MiB of them after an image of four pixels.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&file_bytes(&cards, &[1, 2, 3, 4])).unwrap();
    (0..256).for_each(|_| encoder.write_all(&vec![0; 1 << 20]).unwrap());
    let bomb = encoder.finish().unwrap();
    let file = open(&bomb).unwrap();
    assert_eq!(file.read_image::<f32>(0).unwrap().pixels, [1.0, 2.0, 3.0, 4.0]);
    // No image at all: the first block is enough to tell.
    let error = open(&zipped(&vec![0; 1 << 20])).unwrap_err();
    assert!(matches!(error, FitsError::NotFits { .. }), "{error}");
    let cards =
        ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 1000000", "NAXIS2  = 1000000"];
    let error = open(&zipped(&file_bytes(&cards, &[0; 8]))).unwrap_err();
    assert!(matches!(error, FitsError::StreamTooLong { .. }), "{error}");
}

#[test]
fn illegal_cards_are_mended_or_become_comments() {
    let mend = |text: &str| {
        let mut header = Header::new();
        let mut card = [b' '; CARD_LENGTH];
        card[..text.len()].copy_from_slice(text.as_bytes());
        header.push_card(card);
        let (mended, count) = mended(&header);
        let cards: Vec<String> = mended
            .cards()
            .iter()
            .map(|card| String::from_utf8_lossy(card).trim_end().to_owned())
            .collect();
        (cards.join("|"), count)
    };
    for legal in [
        "OBJECT  = 'it''s M31' / a name",
        "GAIN    =                  1.5",
        "X       = -.5D-03 /",
        "FLAG    =                    T / yes",
        "Z       = (1.0, 2.0)",
        "NOTHING =",
        "HIERARCH ESO DET OUT1 CONAD = 1.5",
        "HISTORY it was",
        "",
    ] {
        assert_eq!(mend(legal), (legal.to_owned(), 0));
    }
    for (illegal, better) in [
        ("object  = 'M31     '", "OBJECT  = 'M31     '"),
        ("SEEING  = 1.2e0", "SEEING  =                  1.2"),
        ("TESTVERI= 'never closed", "TESTVERI= 'never closed'"),
        ("DATE-OLD= 13.02.2017 / old", "DATE-OLD= '13.02.2017'         / old"),
        ("AMP ='left'", "AMP     = 'left    '"),
        (";??S    =                  351", "COMMENT ;??S    =                  351"),
        ("EXPID** =                    1", "COMMENT EXPID** =                    1"),
        ("\\fixlen = T", "COMMENT \\fixlen = T"),
        ("WHAT is this", "COMMENT WHAT is this"),
        ("END     = 92.5", "COMMENT END     = 92.5"),
        ("CONTINUE  'of nothing'", "COMMENT CONTINUE  'of nothing'"),
        ("history of old", "HISTORY of old"),
    ] {
        assert_eq!(mend(illegal), (better.to_owned(), 1));
    }
}

#[test]
fn absurd_sizes_are_errors_and_allocate_nothing() {
    let square = [
        "SIMPLE  = T",
        "BITPIX  = -64",
        "NAXIS   = 2",
        "NAXIS1  = 8589934592",
        "NAXIS2  = 8589934592",
    ];
    assert!(
        matches!(open(&file_bytes(&square, &[0; 8])), Err(FitsError::DataCut { declared, .. }) if declared == 1 << 69)
    );
    for card in [
        "NAXIS2  = -1",
        "NAXIS2  = 1E30",
        "NAXIS2  = 'x'",
        "BITPIX  = 17",
        "NAXIS   = 1000",
        "PCOUNT  = -5",
        "GCOUNT  = 0",
    ] {
        let cards =
            ["SIMPLE  = T", card, "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2"];
        assert!(
            matches!(open(&file_bytes(&cards, &[0; 4])), Err(FitsError::HeaderBad { .. })),
            "{card}"
        );
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

#[test]
fn header_values_are_parsed() {
    let file = square(
        8,
        &[
            "EXPOSURE= 1.5D+02 / seconds",
            "OBJECT  = 'O''Neill/1  ' / name",
            "FLAG    =                    F",
            "NOTHING =                      / undefined",
            "COUNT   = +12",
            "PLACE   = (1.0, 2.0)",
            "HIERARCH ESO DET chip = 'CCD-44' / x",
            "LONGS   = 'one &'",
            "CONTINUE  'two&' / first",
            "CONTINUE  ' three'",
            "AMPERS  = 'end&'",
            "COMMENT = not a value",
        ],
        &[0; 4],
    );
    let header = &file.hdus()[0].header;
    assert_eq!(header.get_f64("exposure"), Some(150.0));
    assert_eq!(header.get("OBJECT"), Some((Value::Text("O'Neill/1".into()), "name".into())));
    assert_eq!(header.get_bool("FLAG"), Some(false));
    assert_eq!(header.get("NOTHING"), Some((Value::Undefined, "undefined".into())));
    assert_eq!((header.get_i64("COUNT"), header.get_f64("COUNT")), (Some(12), Some(12.0)));
    assert_eq!(header.get("PLACE").unwrap().0, Value::Other("(1.0, 2.0)".into()));
    assert_eq!(header.get_str("ESO DET CHIP").as_deref(), Some("CCD-44"));
    assert_eq!(header.get_str("hierarch eso det chip").as_deref(), Some("CCD-44"));
    assert_eq!(header.get_str("LONGS").as_deref(), Some("one two three"));
    assert_eq!(header.get_str("AMPERS").as_deref(), Some("end&"));
    assert!(!header.contains("COMMENT") && header.get_i64("OBJECT").is_none());
    assert!(header.keywords().any(|keyword| keyword == "ESO DET CHIP"));
}

#[test]
fn cards_are_set_in_place_and_removed_whole() {
    let mut header = Header::new();
    header.set("FIRST", 1, "keeps its comment");
    header.set("LONG", "x".repeat(200), "");
    header.set("LAST", true, "");
    assert_eq!(header.cards().len(), 5);
    header.set("long", "short now", "");
    header.set("first", f64::NAN, "");
    assert_eq!(header.keywords().collect::<Vec<_>>(), ["FIRST", "LONG", "LAST"]);
    assert_eq!(header.get("FIRST"), Some((Value::Undefined, "keeps its comment".into())));
    header.set("LONG", "y".repeat(100), "");
    assert!(header.remove("Long") && !header.remove("LONG"));
    assert_eq!(header.cards().len(), 2);
    header.push_history(&"word ".repeat(40));
    assert_eq!(header.cards().len(), 5);
    assert_eq!(&header.cards()[2][..12], b"HISTORY word");
    assert!(!header.cards().iter().any(|card| card.len() != CARD_LENGTH));
}

#[test]
fn specs_are_parsed_and_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.fits");
    let header = Header::new();
    let mask: &[i32] = &[4];
    let empty = HduOut { name: "", header: &header, image: None };
    let first = HduOut { name: "MASK", header: &header, image: Some((1, 1, HduData::I32(mask))) };
    let mut versioned = Header::new();
    versioned.set("EXTTYPE", "other", "");
    let second = HduOut { name: "", header: &versioned, image: Some((1, 1, HduData::I32(mask))) };
    write(&path, &[empty, first, second]).unwrap();
    let name = path.to_str().unwrap();
    let select = |suffix: &str| {
        FitsSpec::parse(format!("{name}{suffix}")).unwrap().open_selected().map(|found| found.1)
    };
    assert_eq!(select("").unwrap(), 1);
    assert_eq!(select("[0]").unwrap(), 0);
    assert_eq!(select("[mask]").unwrap(), 1);
    assert_eq!(select("[MASK,1]").unwrap(), 1);
    assert_eq!(select("[Other]").unwrap(), 2);
    for wrong in ["[3]", "[SCI]", "[MASK,2]"] {
        let error = select(wrong).unwrap_err().to_string();
        assert!(error.contains("1 (MASK): 1 x 1 pixels"), "{error}");
    }
    fs::copy(&path, folder.path().join("a.fits[9]")).unwrap();
    assert_eq!(select("[9]").unwrap(), 1);
    for wrong in ["", "[1]", "x[]", "x[a,b]"] {
        assert!(matches!(FitsSpec::parse(wrong), Err(FitsError::Spec { .. })), "{wrong}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.fits");
    let mut header = Header::new();
    header.set("BZERO", 32768, "of the input");
    header.set("NAXIS3", 7, "of the input");
    header.set("CHECKSUM", "abc", "of the input");
    header.set("OBJECT", "β Pic\n", "");
    header.set("A LONGER KEYWORD", "it's ".repeat(40), "why not");
    for (index, value) in
        [0.1, -1.2345678901234567e-308, 1e300, 1e16, 5.0, 1e-7].into_iter().enumerate()
    {
        header.set(&format!("F{index}"), value, "");
    }
    header.push_comment("");
    let wide = [1.0, f64::NAN, -0.0, f64::MAX, f64::MIN_POSITIVE, 6.5];
    let narrow = wide.map(|v| v as f32);
    let image = |name, data| HduOut { name, header: &header, image: Some((2, 3, data)) };
    let hdus = [
        image("A", HduData::F32(&narrow)),
        image("B", HduData::F64(&wide)),
        image("C", HduData::I16(&[i16::MIN, -1, 0, 1, 2, i16::MAX])),
        image("D", HduData::I32(&[i32::MIN, -1, 0, 1, 2, i32::MAX])),
    ];
    write(&path, &hdus).unwrap();
    let file = FitsFile::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len() % 2880, 0);
    assert_eq!(file.hdus().len(), 4);
    same(&file.read_image::<f64>(0).unwrap().pixels, &narrow.map(f64::from));
    same(&file.read_image::<f64>(1).unwrap().pixels, &wide);
    assert_eq!(file.read_integers(2).unwrap().pixels, [-32768, -1, 0, 1, 2, 32767]);
    assert_eq!(file.read_integers(3).unwrap().pixels, [-2147483648, -1, 0, 1, 2, 2147483647]);
    let read = &file.hdus()[3].header;
    assert!(["BZERO", "NAXIS3", "CHECKSUM"].iter().all(|keyword| !read.contains(keyword)));
    assert_eq!(read.get_str("OBJECT").as_deref(), Some("? Pic?"));
    assert_eq!(
        read.get("A LONGER KEYWORD"),
        Some((Value::Text("it's ".repeat(40).trim_end().into()), "why not".into()))
    );
    assert_eq!(read.get_f64("F1"), Some(-1.2345678901234567e-308));
    assert_eq!(
        [2, 3, 4, 5].map(|n| read.get_f64(&format!("F{n}")).unwrap()),
        [1e300, 1e16, 5.0, 1e-7]
    );
}

#[test]
#[cfg(unix)]
fn outputs_follow_the_umask_and_leave_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (plain, path) = (folder.path().join("plain"), folder.path().join("out.fits"));
    fs::write(&plain, "").unwrap();
    let header = Header::new();
    let hdus = [HduOut { name: "", header: &header, image: None }];
    write(&path, &hdus).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
    // The file behind a link is replaced and keeps its permissions; the link stays.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write(&link, &hdus).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&path) & 0o777, 0o640);
    let error = write(&folder.path().join("no/such/out.fits"), &hdus).unwrap_err().to_string();
    assert!(error.contains("create its folder") && error.contains("no/such/out.fits"), "{error}");
    assert!(
        write(folder.path(), &hdus).unwrap_err().to_string().contains("give the path of a file")
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(write(&path, &hdus).unwrap_err().to_string().contains("read-only"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let pixels = vec![0.0f32; 1 << 20];
    let header = Header::new();
    let hdus =
        [HduOut { name: "", header: &header, image: Some((1024, 1024, HduData::F32(&pixels))) }];
    let error = write(Path::new("/dev/full"), &hdus).unwrap_err().to_string();
    assert!(error.contains("/dev/full") && error.contains("free some space"), "{error}");
    assert!(fs::metadata("/dev/full").is_ok_and(|metadata| !metadata.is_file()));
    write(Path::new("/dev/null"), &hdus).unwrap();
}

/// A valid file with an empty primary HDU, a scaled image, a table and a float image.
fn varied() -> Vec<u8> {
    let mut bytes = header_bytes(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T"]);
    let image = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  = 16",
        "NAXIS   = 2",
        "NAXIS1  = 3",
        "NAXIS2  = 2",
        "PCOUNT  = 0",
    ];
    let scaled = [
        "GCOUNT  = 1",
        "BZERO   = 32768",
        "BLANK   = -1",
        "HIERARCH MP_LONG NAME = 4",
        "LONG    = 'a&'",
    ];
    bytes.extend(file_bytes(&[&image[..], &scaled, &["CONTINUE  'b'"]].concat(), &[255; 12]));
    let table = [
        "XTENSION= 'BINTABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 4",
        "NAXIS2  = 2",
        "TFIELDS = 1",
    ];
    bytes.extend(file_bytes(&table, &[1; 8]));
    let floats =
        ["XTENSION= 'IMAGE   '", "BITPIX  = -32", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2"];
    bytes.extend(file_bytes(&floats, &[64; 16]));
    bytes
}

/// Everything a reader can do; the outcome does not matter, only that there is one.
fn exercise(bytes: &[u8]) {
    let Ok(file) = open(bytes) else { return };
    for hdu in file.hdus() {
        let _ = (hdu.name(), hdu.shape(), hdu.header.get_str("LONG"));
        let read = file.read_image::<f32>(hdu.index);
        assert!(
            read.is_err() || hdu.shape().is_some_and(|(h, w)| h * w == read.unwrap().pixels.len())
        );
        let _ = file.read_integers(hdu.index);
        let mut header = hdu.header.clone();
        header.set("LONG", "z".repeat(99), "");
        header.remove("BZERO");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_never_a_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        digits in prop::collection::vec((0usize..4, 0usize..12, 10usize..30, b' '..b'~'), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = varied();
        // Flips anywhere, and printable bytes in the value fields of the first cards of the headers.
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let headers = [0, 2880, 8640, 14400];
        for (hdu, card, column, byte) in digits {
            bytes[headers[hdu] + card * CARD_LENGTH + column] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(&bytes);
    }

    #[test]
    fn any_string_survives(text in "[ -~]{0,300}", keyword in "[A-Z][A-Z0-9_ ]{0,30}[A-Z]") {
        // Trailing blanks have no meaning in FITS.
        let mut header = Header::new();
        header.set(&keyword, text.as_str(), "comment");
        prop_assert_eq!(header.get_str(&keyword).unwrap(), text.trim_end());
    }

    #[test]
    fn any_float_survives(bits: u64) {
        let value = f64::from_bits(bits);
        let mut header = Header::new();
        header.set("VALUE", value, "");
        prop_assert_eq!(header.get_f64("VALUE"), value.is_finite().then_some(value));
    }
}
