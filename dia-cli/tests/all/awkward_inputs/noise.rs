//! Gains, units and planes of the noise.

use dia_cli::fits::{self, FitsFile, HduData};

use super::{
    MapBits, SIDE, codes, number, pair, refused, right, subtract, variance_of, with_plane,
};
use crate::dia::{Folder, write_plane};

#[test]
fn the_gain_is_found_where_headers_have_it() {
    let (folder, target) = pair();
    let plain = subtract(&folder, "target.fits", &[]);
    let gain = target.header.get_f64("GAIN").unwrap();
    let difference = |folder: &Folder| {
        FitsFile::open(&folder.path("out.fits"))
            .unwrap()
            .read_image::<f64>(0)
            .unwrap()
            .pixels
            .map_bits()
    };
    let expected = difference(&folder);
    right(&folder, &plain, 1.0);
    let text = format!("{gain} e-/ADU");
    let cases: [(&[(&str, fits::Value)], &str); 6] = [
        (&[("GAIN", 100.into()), ("EGAIN", gain.into())], "gain"),
        (&[("GAIN", (-25).into()), ("EPERADU", gain.into())], "gain"),
        (&[("GAIN", text.as_str().into())], ""),
        (&[("GAIN", 0.into()), ("ATODGAIN", gain.into())], "gain"),
        (&[("GAINA", (gain - 0.25).into()), ("GAINB", (gain + 0.25).into())], ""),
        (&[("ESO DET OUT1 CONAD", gain.into())], ""),
    ];
    for (cards, code) in cases {
        let mut frame = target.clone();
        frame.header.remove("GAIN");
        for (keyword, value) in cards {
            frame.header.set(keyword, value.clone(), "");
        }
        frame.write(&folder, "other.fits");
        let report = subtract(&folder, "other.fits", &[]);
        assert_eq!(number(&report, "/target/gain/value"), gain, "{cards:?}");
        assert!(code.is_empty() || codes(&report).contains(&code), "{cards:?}");
        assert!(difference(&folder) == expected, "{cards:?}");
    }
}

#[test]
fn units_are_respected_and_kept() {
    let (folder, target) = pair();
    let gain = target.header.get_f64("GAIN").unwrap();
    for (unit, seconds, squared) in [
        ("electron", 1.0, "electron2"),
        ("electron/s", 60.0, "(electron/s)**2"),
        ("ELECTRONS/S", 30.0, "(ELECTRONS/S)**2"),
    ] {
        let mut frame = target.clone();
        let factor = gain / seconds;
        frame.pixels.iter_mut().for_each(|pixel| *pixel *= factor as f32);
        frame.header.remove("SATURATE");
        frame.header.set("BUNIT", unit, "");
        frame.header.set("GAIN", 1.9, "left over");
        frame.header.set("EXPTIME", seconds, "[s]");
        frame.write(&folder, "units.fits");
        let report = subtract(&folder, "units.fits", &[]);
        right(&folder, &report, factor);
        assert_eq!(number(&report, "/target/gain/value"), seconds);
        assert_eq!(report["target"]["unit"], unit);
        assert!(codes(&report).contains(&"gain"));
        let file = FitsFile::open(&folder.path("out.fits")).unwrap();
        let units: Vec<_> =
            (0..4).map(|hdu| file.hdu(hdu).unwrap().header.get_str("BUNIT")).collect();
        assert_eq!(units, [Some(unit.into()), Some(squared.into()), None, Some(unit.into())]);
    }
}

#[test]
fn planes_of_the_noise_are_taken_for_what_they_are() {
    let (folder, target) = pair();
    let variance = variance_of(&target);
    let sigma: Vec<f32> = variance.iter().map(|v| v.sqrt()).collect();
    let weight: Vec<f32> = variance.iter().map(|v| v.recip()).collect();
    for (name, cards, pixels) in [
        ("VAR", &[][..], &variance),
        ("UNCERT", &[("UTYPE", "VarianceUncertainty")], &variance),
        ("ERR", &[], &sigma),
        ("UNCERT", &[("UTYPE", "StdDevUncertainty")], &sigma),
        ("WHT", &[], &weight),
        ("UNCERT", &[("UTYPE", "InverseVariance")], &weight),
    ] {
        with_plane(&folder, &target, name, cards, pixels);
        let report = subtract(&folder, "planes.fits", &[]);
        right(&folder, &report, 1.0);
        assert!(report["target"]["variance"].as_str().unwrap().contains(name), "{report}");
    }
    // The same by options, and what is wrong with it is named with the remedy.
    let shape = (SIDE, SIDE);
    target.write_unmasked(&folder, "image.fits");
    for (name, pixels) in [("variance", &variance), ("sigma", &sigma), ("weight", &weight)] {
        write_plane(&folder, &format!("{name}.fits"), shape, HduData::F32(pixels));
    }
    for right_kind in ["variance", "sigma", "weight"] {
        let file = format!("{right_kind}.fits");
        for kind in ["variance", "sigma", "weight"] {
            let option = format!("--target-{kind}");
            if kind == right_kind {
                right(&folder, &subtract(&folder, "image.fits", &[&option, &file]), 1.0);
            } else {
                let remedy = format!("give --target-{right_kind}");
                refused(
                    &folder,
                    "image.fits",
                    &[&option, &file],
                    &[&file, "scatter of the sky", &remedy],
                );
            }
        }
    }
}

#[test]
fn a_weight_that_is_no_inverse_variance_is_not_one() {
    let (folder, target) = pair();
    let (exposure, mut frame) = (vec![1000.0; SIDE * SIDE], target);
    with_plane(&folder, &frame, "WHT", &[], &exposure);
    refused(&folder, "planes.fits", &[], &["gain of the target is not known", "--target-gain"]);
    frame.header.set("EGAIN", frame.header.get_f64("GAIN").unwrap(), "");
    frame.header.set("ENOISE", frame.header.get_f64("RDNOISE").unwrap(), "");
    with_plane(&folder, &frame, "WHT", &[], &exposure);
    let report = subtract(&folder, "planes.fits", &[]);
    right(&folder, &report, 1.0);
    assert!(codes(&report).contains(&"weight"));
}

#[test]
fn a_gain_beside_a_plane_of_the_noise_is_named() {
    let (folder, target) = pair();
    with_plane(&folder, &target, "VARIANCE", &[], &variance_of(&target));
    let gain = target.header.get_f64("GAIN").unwrap().to_string();
    let given = ["--target-gain", &gain, "--target-read-noise", "5"];
    for options in [&given[..], &[&given[..], &["--target-variance", "planes.fits[1]"]].concat()] {
        let report = subtract(&folder, "planes.fits", options);
        assert!(codes(&report).contains(&"contradiction"), "{options:?}");
        assert_eq!(report["verdict"]["level"], "warn");
    }
}
