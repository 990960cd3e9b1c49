use super::{System, Wcs, WcsError};

const HEADER: &str = "\
CTYPE1  = 'RA---TAN'
CTYPE2  = 'DEC--TAN'
CRPIX1  =                300.5
CRPIX2  =                300.5
CRVAL1  =                150.0
CRVAL2  =                -30.0
CD1_1   =              -2.0E-4
CD2_2   =               2.0D-4 / exponents of FORTRAN
";

/// The header with a card replaced or added.
fn with(keyword: &str, value: &str) -> String {
    let card = format!("{keyword:8}= {value}");
    let others = HEADER.lines().filter(|line| !line.starts_with(keyword));
    let mut lines: Vec<&str> = others.collect();
    if !value.is_empty() {
        lines.push(&card);
    }
    lines.join("\n") + "\n"
}

#[test]
fn what_is_wrong_is_named() {
    for (keyword, value, words) in [
        ("CRVAL1", "NaN", "CRVAL1"),
        ("CRVAL2", "", "CRVAL2"),
        ("CRVAL2", "95.0", "CRVAL2"),
        ("CRVAL2", "'south'", "CRVAL2"),
        ("CTYPE1", "'RA---TNX'", "CTYPE2"),
        ("CTYPE1", "", "CTYPE1"),
        ("CD1_1", "0.0", "no inverse"),
        ("CUNIT2", "'parsec'", "CUNIT2"),
        ("A_ORDER", "3", "B_ORDER"),
        ("CPDIS1", "'LOOKUP'", "CPDIS1"),
    ] {
        let error = Wcs::from_cards(&with(keyword, value)).unwrap_err().to_string();
        assert!(error.contains(words), "{keyword} = {value}: {error}");
    }
    let sip = with("CTYPE1", "'RA---TAN-SIP'").replace("DEC--TAN'", "DEC--TAN-SIP'");
    let error = Wcs::from_cards(&(sip + "A_2_0   = 1E-6\n")).unwrap_err();
    assert_eq!(error, WcsError::Missing { keyword: "A_ORDER".into(), needed_by: "SIP".into() });
}

#[test]
fn cards_of_80_characters_are_lines_too() {
    let cards: Vec<String> = HEADER.lines().map(|line| format!("{line:80}")).collect();
    let wcs = Wcs::from_cards(&cards.concat()).unwrap();
    assert_eq!(wcs, Wcs::from_cards(HEADER).unwrap());
    assert_eq!(wcs.system(), System::Equatorial);
}

#[test]
fn what_is_not_seen_has_no_pixel() {
    let wcs = Wcs::from_cards(HEADER).unwrap();
    assert_eq!(wcs.sky_to_pixel(330.0, 30.0), None);
    assert!(wcs.sky_to_pixel(150.1, -30.1).is_some());
}

#[test]
fn a_distortion_beyond_its_range_has_no_inverse() {
    // u − u²/800 turns round at 400 pixels.
    let sip = with("CTYPE1", "'RA---TAN-SIP'").replace("DEC--TAN'", "DEC--TAN-SIP'");
    let sip = sip + "A_ORDER = 2\nB_ORDER = 2\nA_2_0   = -1.25E-3\n";
    let wcs = Wcs::from_cards(&sip).unwrap();
    let plain = Wcs::from_cards(HEADER).unwrap();
    let seen = plain.pixel_to_sky(399.5, 299.5).unwrap();
    let beyond = plain.pixel_to_sky(599.5, 299.5).unwrap();
    assert!(wcs.sky_to_pixel(seen.0, seen.1).is_some());
    assert_eq!(wcs.sky_to_pixel(beyond.0, beyond.1), None);
}

#[test]
fn two_headers_make_a_map() {
    let other =
        with("CRPIX1", "250.5").replace("CRVAL2  =                -30.0", "CRVAL2  = -30.002");
    let (one, other) = (Wcs::from_cards(HEADER).unwrap(), Wcs::from_cards(&other).unwrap());
    let map = one.map_to(&other, (600, 600)).unwrap();
    assert!(map.residual <= 0.005);
    let (x, y) = map.map.place(299.5, 299.5);
    assert!((x - 249.5).abs() < 1e-3 && (y - 309.5).abs() < 1e-3, "{x} {y}");
    let galactic = HEADER.replace("RA---", "GLON-").replace("DEC--", "GLAT-");
    assert!(one.map_to(&Wcs::from_cards(&galactic).unwrap(), (600, 600)).is_none());
}
