//! World coordinates against astropy.wcs, where python3 has it; skips loudly without.

use std::path::Path;
use std::process::Command;

use dia_align::wcs::Wcs;

/// Largest disagreement in pixels that is allowed; what is reached is a thousand times smaller.
const LARGEST: f64 = 1e-3;

/// Headers of astropy's own tests that have to be among those that are understood, for the test not to become empty.
const NEEDED: [&str; 12] = [
    "1904-66_TAN.hdr",
    "1904-66_SIN.hdr",
    "1904-66_STG.hdr",
    "1904-66_ARC.hdr",
    "1904-66_ZEA.hdr",
    "1904-66_CAR.hdr",
    "1904-66_NCP.hdr",
    "irac_sip.hdr",
    "tpvonly.hdr",
    "too_many_pv.hdr",
    "defunct_keywords.hdr",
    "sip.fits[0]",
];

#[test]
fn pixels_and_sky_are_those_of_astropy() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/astropy_oracle.py");
    let output = Command::new("python3").arg(&script).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("SKIPPED: python3 with astropy is needed for {}", script.display());
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let mut understood = Vec::new();
    for block in text.split("HEADER ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (cards, points) = rest.split_once("END\n").unwrap();
        let wcs = match Wcs::from_cards(cards) {
            Ok(wcs) => wcs,
            Err(error) => {
                println!("{name:24} refused: {error}");
                continue;
            }
        };
        let (mut forth, mut back, mut count) = (0.0_f64, 0.0_f64, 0);
        for line in points.lines() {
            let v: Vec<f64> = line.split(' ').map(|v| v.parse().unwrap()).collect();
            let [x, y, longitude, latitude, back_x, back_y] = v[..] else { panic!("{line}") };
            if !longitude.is_finite() {
                assert_eq!(wcs.pixel_to_sky(x, y), None, "{name}: {line}");
                continue;
            }
            let sky = wcs.pixel_to_sky(x, y).unwrap_or_else(|| panic!("{name}: {line}"));
            // In pixels: how far astropy's place on the sky is from ours.
            let at = wcs.sky_to_pixel(longitude, latitude);
            let own = wcs.sky_to_pixel(sky.0, sky.1);
            let (Some(at), Some(own)) = (at, own) else { panic!("{name}: {line}") };
            forth = forth.max((at.0 - own.0).hypot(at.1 - own.1));
            if back_x.is_finite() {
                back = back.max((at.0 - back_x).hypot(at.1 - back_y));
            }
            count += 1;
        }
        println!("{name:24} {count:3} places: to the sky {forth:.1e}, back {back:.1e} pixels");
        assert!(forth <= LARGEST && back <= LARGEST && count > 0, "{name}: {forth} {back}");
        understood.push(name);
    }
    for name in NEEDED {
        assert!(understood.contains(&name), "{name} is not among {understood:?}");
    }
}
