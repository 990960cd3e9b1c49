//! Cards of headers.

use proptest::prelude::*;

use super::square;
use crate::fits::{CARD_LENGTH, Header, Value, mended};

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

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
