//! Files that are cut, damaged or absurd: an error each, and never a panic.

use std::io::Write;

use proptest::prelude::*;

use super::{file_bytes, header_bytes, open, zipped};
use crate::fits::{CARD_LENGTH, FitsError, damaged};

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
}
