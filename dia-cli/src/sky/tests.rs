use super::Sky;
use crate::fits::Header;

fn header(text: &[(&str, &str)], numbers: &[(&str, f64)]) -> Header {
    let mut header = Header::new();
    for (keyword, value) in text {
        header.set(keyword, *value, "");
    }
    for (keyword, value) in numbers {
        header.set(keyword, *value, "");
    }
    header
}

fn of(kinds: [&str; 2], numbers: &[(&str, f64)]) -> Sky {
    Sky::of(&header(&[("CTYPE1", kinds[0]), ("CTYPE2", kinds[1])], numbers)).unwrap().unwrap()
}

/// Pixels from 0 and what `all_pix2world(…, 0)` of astropy 8.0.2 makes of them, (ra, dec) in degrees.
fn check(sky: &Sky, golden: &[[(f64, f64); 2]]) {
    for [(x, y), (ra, dec)] in golden {
        let (ours_ra, ours_dec) = sky.of_pixel(*x, *y);
        // A hundredth of a milliarcsecond.
        let off = ((ours_ra - ra) * dec.to_radians().cos()).hypot(ours_dec - dec);
        assert!(off < 3e-9, "({x}, {y}): {ours_ra} {ours_dec} instead of {ra} {dec}");
        let (back_x, back_y) = sky.pixel_of(*ra, *dec).unwrap();
        assert!((back_x - x).hypot(back_y - y) < 1e-6, "{back_x} {back_y} instead of {x} {y}");
    }
}

#[test]
fn a_rotated_field_across_the_zero_of_right_ascension_is_that_of_astropy() {
    let sky = of(
        ["RA---TAN", "DEC--TAN"],
        &[
            ("CRVAL1", 0.05),
            ("CRVAL2", -25.285),
            ("CRPIX1", 256.5),
            ("CRPIX2", 200.25),
            ("CD1_1", -8.1e-5),
            ("CD1_2", 2.3e-6),
            ("CD2_1", 2.1e-6),
            ("CD2_2", 8.2e-5),
        ],
    );
    check(
        &sky,
        &[
            [(0.0, 0.0), (0.072_384_610_978_018_75, -25.301_873_359_967_65)],
            [(37.25, 411.5), (0.070_088_474_891_643_15, -25.268_052_466_108_013)],
            [(800.0, 123.75), (0.001_028_250_248_550_910_4, -25.290_039_466_208_01)],
        ],
    );
    // CRPIX counts from 1.
    let (ra, dec) = sky.of_pixel(255.5, 199.25);
    assert!((ra - 0.05).abs() < 1e-12 && (dec + 25.285).abs() < 1e-12);
    assert_eq!(sky.pixel_of(180.0, 25.0), None);
}

#[test]
fn swapped_axes_beside_the_pole_are_those_of_astropy() {
    let sky = of(
        ["DEC--TAN", "RA---TAN"],
        &[
            ("CRVAL1", 89.9),
            ("CRVAL2", 123.4),
            ("CRPIX1", 100.0),
            ("CRPIX2", 50.0),
            ("CDELT1", 1e-3),
            ("CDELT2", -1e-3),
            ("PC1_1", 0.8),
            ("PC1_2", -0.6),
            ("PC2_1", 0.6),
            ("PC2_2", 0.8),
            ("LONPOLE", 170.0),
        ],
    );
    check(
        &sky,
        &[
            [(0.0, 0.0), (162.116_021_506_251_8, 89.830_925_183_261_23)],
            [(37.25, 411.5), (96.905_314_679_537_97, 89.545_501_799_200_96)],
            [(800.0, 123.75), (3.413_898_885_633_543, 89.350_381_513_664_52)],
        ],
    );
}

#[test]
fn crota_is_that_of_astropy() {
    let sky = of(
        ["RA---TAN", "DEC--TAN"],
        &[
            ("CRVAL1", 210.8),
            ("CRVAL2", 54.35),
            ("CRPIX1", 512.0),
            ("CRPIX2", 512.0),
            ("CDELT1", -2e-4),
            ("CDELT2", 2e-4),
            ("CROTA2", 33.0),
        ],
    );
    check(
        &sky,
        &[
            [(0.0, 0.0), (211.042_385_493_529_05, 54.319_707_077_093_47)],
            [(37.25, 411.5), (210.955_068_477_359_56, 54.384_815_658_128_666)],
            [(800.0, 123.75), (210.789_228_234_282_43, 54.253_564_439_253_39)],
        ],
    );
}

#[test]
fn sip_is_that_of_astropy() {
    let sky = of(
        ["RA---TAN-SIP", "DEC--TAN-SIP"],
        &[
            ("CRVAL1", 202.5),
            ("CRVAL2", 47.2),
            ("CRPIX1", 128.0),
            ("CRPIX2", 128.0),
            ("CD1_1", 1.0e-5),
            ("CD1_2", 3.4e-4),
            ("CD2_1", 3.4e-4),
            ("CD2_2", -1.1e-5),
            ("A_ORDER", 3.0),
            ("A_0_2", 2.16e-6),
            ("A_0_3", 1.1e-9),
            ("A_1_1", 5.2e-6),
            ("A_1_2", -2.5e-9),
            ("A_2_0", 8.5e-6),
            ("A_2_1", -7.7e-10),
            ("A_3_0", -4.2e-9),
            ("B_ORDER", 3.0),
            ("B_0_2", -7.2e-6),
            ("B_0_3", -4.2e-9),
            ("B_1_1", 6.1e-6),
            ("B_1_2", 3.4e-9),
            ("B_2_0", 2.1e-6),
            ("B_3_0", -1.4e-9),
        ],
    );
    check(
        &sky,
        &[
            [(0.0, 0.0), (202.434_644_270_119_12, 47.158_289_606_265_605)],
            [(37.25, 411.5), (202.640_537_728_537_17, 47.166_331_630_017_08)],
            [(800.0, 123.75), (202.508_609_520_763_77, 47.429_718_775_873_8)],
        ],
    );
}

#[test]
fn tpv_and_scamp_s_name_of_it_are_those_of_astropy() {
    let numbers = [
        ("CRVAL1", 150.1),
        ("CRVAL2", 2.2),
        ("CRPIX1", -3000.0),
        ("CRPIX2", 4100.0),
        ("CD1_1", -1e-7),
        ("CD1_2", 7.3e-5),
        ("CD2_1", 7.3e-5),
        ("CD2_2", 2e-7),
        ("PV1_0", -3.1e-3),
        ("PV1_1", 1.011),
        ("PV1_2", 7.1e-3),
        ("PV1_3", 2e-4),
        ("PV1_4", -1.2e-2),
        ("PV1_5", -9e-3),
        ("PV1_6", -3e-3),
        ("PV1_7", 5e-3),
        ("PV1_8", 1e-3),
        ("PV1_9", 3e-3),
        ("PV1_10", -2e-3),
        ("PV1_11", 1e-3),
        ("PV1_12", 4e-3),
        ("PV1_23", 1e-3),
        ("PV1_39", 2e-3),
        ("PV2_0", 1.2e-3),
        ("PV2_1", 1.009),
        ("PV2_2", -5e-3),
        ("PV2_4", 6e-3),
        ("PV2_5", -7e-3),
        ("PV2_6", 2e-3),
        ("PV2_7", -9e-3),
        ("PV2_8", -3e-3),
        ("PV2_9", -3e-3),
        ("PV2_10", 3e-3),
        ("PV2_17", 2e-3),
        ("PV2_20", 2e-3),
        ("PV2_38", 1e-3),
    ];
    for kinds in [["RA---TPV", "DEC--TPV"], ["RA---TAN", "DEC--TAN"]] {
        check(
            &of(kinds, &numbers),
            &[
                [(0.0, 0.0), (149.794_716_431_820_58, 2.423_610_555_026_125)],
                [(37.25, 411.5), (149.825_286_409_839_75, 2.426_252_566_838_785)],
                [(800.0, 123.75), (149.804_282_801_316_25, 2.482_708_272_466_801_3)],
            ],
        );
    }
}

#[test]
fn what_is_not_known_is_named() {
    let refused = |text: &[(&str, &str)], word: &str| {
        let numbers = [("CRVAL1", 1.0), ("CRVAL2", 2.0), ("CRPIX1", 3.0), ("CRPIX2", 4.0)];
        let error = Sky::of(&header(text, &numbers)).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    refused(&[("CTYPE1", "RA---TNX"), ("CTYPE2", "DEC--TNX")], "TNX");
    refused(&[("CTYPE1", "GLON-CAR"), ("CTYPE2", "GLAT-CAR")], "GLON-CAR");
    refused(&[("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"), ("CUNIT1", "Hz")], "CUNIT1");
    refused(&[("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"), ("CPDIS1", "LOOKUP")], "CPDIS1");
    assert_eq!(Sky::of(&Header::new()), Ok(None));
    assert_eq!(Sky::of(&header(&[("CTYPE1", "LINEAR"), ("CTYPE2", "LINEAR")], &[])), Ok(None));
}
