//! Pairs that lie in any way: what is done about it, and whether the difference is right.

use std::fmt::Write as _;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::Value;

use crate::dia::Folder;
use dia_cli::fits::{self, HduData, HduOut, Header};

const GAIN: f64 = 1.5;
const READ_NOISE: f64 = 6.0;

/// How the target lies: a star at (x, y) from the middle of the reference is at that, its columns reversed if it is mirrored, turned, scaled and shifted from the middle of the target.
#[derive(Clone, Copy, Debug)]
struct Lie {
    angle: f64,
    scale: f64,
    mirrored: bool,
    shift: (f64, f64),
}

const STRAIGHT: Lie = Lie { angle: 0.0, scale: 1.0, mirrored: false, shift: (0.0, 0.0) };

impl Lie {
    fn place(self, (x, y): (f64, f64)) -> (f64, f64) {
        let (sin, cos) = self.angle.to_radians().sin_cos();
        let x = if self.mirrored { -x } else { x };
        let turned = (cos * x - sin * y, sin * x + cos * y);
        (self.scale * turned.0 + self.shift.0, self.scale * turned.1 + self.shift.1)
    }
}

/// Gaussian stars (x, y, flux) from the middle, on a sky, with the noise of `depth` exposures.
fn image(
    stars: &[(f64, f64, f64)],
    (height, width): (usize, usize),
    (sigma, sky, depth): (f64, f64, f64),
    rng: &mut Xoshiro256PlusPlus,
) -> Vec<f32> {
    let mut pixels = vec![sky; height * width];
    for (x, y, flux) in stars {
        let at = (x + 0.5 * (width as f64 - 1.0), y + 0.5 * (height as f64 - 1.0));
        let range = |centre: f64, size: usize| {
            let from = (centre - 6.0 * sigma).max(0.0) as usize;
            from..((centre + 6.0 * sigma + 1.0).max(0.0) as usize).min(size)
        };
        for (py, px) in range(at.1, height).flat_map(|y| range(at.0, width).map(move |x| (y, x))) {
            let square = (px as f64 - at.0).powi(2) + (py as f64 - at.1).powi(2);
            let peak = flux / (std::f64::consts::TAU * sigma * sigma);
            pixels[py * width + px] += peak * (-0.5 * square / (sigma * sigma)).exp();
        }
    }
    let noisy = |value: f64| {
        let variance = (value / GAIN + (READ_NOISE / GAIN).powi(2)) / depth;
        let noise: f64 = StandardNormal.sample(rng);
        (value + variance.sqrt() * noise) as f32
    };
    pixels.into_iter().map(noisy).collect()
}

fn write(
    folder: &Folder,
    name: &str,
    shape: (usize, usize),
    pixels: &[f32],
    depth: f64,
    sky: &str,
) {
    let mut header = Header::new();
    header.set("GAIN", GAIN * depth, "");
    header.set("RDNOISE", READ_NOISE * depth.sqrt(), "");
    for card in sky.lines() {
        let (keyword, value) = card.split_once('=').unwrap();
        match value.trim().parse::<f64>() {
            Ok(number) => header.set(keyword.trim(), number, ""),
            Err(_) => header.set(keyword.trim(), value.trim(), ""),
        }
    }
    let data = Some((shape.0, shape.1, HduData::F32(pixels)));
    fits::write(&folder.path(name), &[HduOut { name: "", header: &header, image: data }]).unwrap();
}

/// Writes reference.fits and target.fits, of fields of about `count` stars; the widths are σ.
fn pair(
    folder: &Folder,
    seed: u64,
    count: usize,
    lie: Lie,
    shapes: [(usize, usize); 2],
    skies: [&str; 2],
) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (place, unit) = (Uniform::new(-400.0, 400.0).unwrap(), Uniform::new(0.0, 1.0).unwrap());
    let all = (count as f64 * 800.0 * 800.0 / (shapes[0].0 * shapes[0].1) as f64) as usize;
    let stars: Vec<(f64, f64, f64)> = (0..all)
        .map(|_| {
            let (x, y) = (place.sample(&mut rng), place.sample(&mut rng));
            let flux: f64 = unit.sample(&mut rng);
            (x, y, 4e3 * flux.powf(-0.7).min(60.0))
        })
        .collect();
    let seen: Vec<(f64, f64, f64)> = stars
        .iter()
        .map(|(x, y, flux)| {
            let (x, y) = lie.place((*x, *y));
            (x, y, *flux)
        })
        .collect();
    let reference = image(&stars, shapes[0], (1.3, 300.0, 8.0), &mut rng);
    let target = image(&seen, shapes[1], (1.7 * lie.scale.max(1.0), 400.0, 1.0), &mut rng);
    write(folder, "reference.fits", shapes[0], &reference, 8.0, skies[0]);
    write(folder, "target.fits", shapes[1], &target, 1.0, skies[1]);
}

const SUBTRACT: [&str; 7] =
    ["subtract", "reference.fits", "target.fits", "-o", "out.fits", "--report", "report.json"];

fn report(folder: &Folder) -> Value {
    serde_json::from_slice(&folder.bytes("report.json")).unwrap()
}

const SQUARE: (usize, usize) = (320, 320);

#[test]
fn turned_mirrored_scaled_and_cut_targets_are_right() {
    let folder = Folder::new();
    for (k, (lie, shape, decision)) in [
        (STRAIGHT, SQUARE, "shift"),
        (Lie { angle: 0.15, ..STRAIGHT }, SQUARE, "kernel"),
        // 1.2 pixels at the corners: as much as the kernel is wide.
        (Lie { angle: 0.3, ..STRAIGHT }, SQUARE, "warp"),
        (Lie { angle: 1.0, ..STRAIGHT }, SQUARE, "warp"),
        (Lie { angle: 45.0, scale: 1.02, ..STRAIGHT }, SQUARE, "warp"),
        (Lie { angle: -120.0, mirrored: true, ..STRAIGHT }, SQUARE, "warp"),
        (Lie { scale: 1.25, ..STRAIGHT }, SQUARE, "warp"),
        (
            Lie { angle: 10.0, scale: 0.8, shift: (60.0, -40.0), mirrored: false },
            (280, 300),
            "warp",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        pair(&folder, 20 + k as u64, 150, lie, [SQUARE, shape], ["", ""]);
        let _ = folder.succeed(&SUBTRACT);
        let report = report(&folder);
        let said = format!("{lie:?}: {report:#}");
        assert_eq!(report["alignment"]["decision"], decision, "{said}");
        let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
        let (p, sigma) = (number("/photometric_scale/value"), number("/photometric_scale/sigma"));
        assert!((p - 1.0).abs() < 5.0 * sigma && sigma < 0.02, "{said}");
        assert!((0.95..1.05).contains(&number("/residuals/robust_std")), "{said}");
        assert!((0.93..1.07).contains(&number("/residuals/chi2_dof")), "{said}");
        let map = |name: &str| number(&format!("/alignment/map/{name}"));
        let turn = (map("rotation") - lie.angle + 180.0).rem_euclid(360.0) - 180.0;
        assert!(turn.abs() < 0.05 && (map("scale") / lie.scale - 1.0).abs() < 1e-3, "{said}");
        assert_eq!(report["alignment"]["map"]["mirrored"], lie.mirrored, "{said}");
        assert!(map("residual") < 0.25 && number("/alignment/log10_chance") < -6.0, "{said}");
    }
}

#[test]
fn the_map_leads_from_the_target_to_the_reference() {
    let folder = Folder::new();
    let lie = Lie { angle: 30.0, scale: 1.1, mirrored: true, shift: (12.0, -7.0) };
    pair(&folder, 5, 200, lie, [SQUARE, SQUARE], ["", ""]);
    let _ = folder.succeed(&["align", "reference.fits", "target.fits", "-o", "map.json"]);
    let map: Value = serde_json::from_slice(&folder.bytes("map.json")).unwrap();
    let map = &map["alignment"]["map"];
    let list = |name: &str| -> Vec<f64> {
        map[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let (centre, unit) = (list("centre"), map["unit"].as_f64().unwrap());
    for place in [(0.0, 0.0), (-100.0, 60.0), (90.0, 90.0)] {
        let (x, y) = lie.place(place);
        let (x, y) = ((x + 159.5 - centre[0]) / unit, (y + 159.5 - centre[1]) / unit);
        let terms = [1.0, x, y, x * x, x * y, y * y];
        let at = |c: Vec<f64>| c.iter().zip(terms).map(|(c, t)| c * t).sum::<f64>() - 159.5;
        let (u, v) = (at(list("x")), at(list("y")));
        assert!((u - place.0).hypot(v - place.1) < 0.15, "{place:?}: {u} {v}");
    }
}

/// A header for the reference's grid, or for that of a target that lies so.
fn sky(lie: Lie, declination: f64) -> String {
    let (sin, cos) = lie.angle.to_radians().sin_cos();
    let step = 1e-4 / lie.scale;
    let sign = if lie.mirrored { -1.0 } else { 1.0 };
    let mut text = String::from("CTYPE1 = RA---TAN\nCTYPE2 = DEC--TAN\nCRVAL1 = 150.0\n");
    for (keyword, value) in [
        ("CRVAL2", declination),
        ("CRPIX1", 160.5 + lie.shift.0),
        ("CRPIX2", 160.5 + lie.shift.1),
        ("CD1_1", -sign * step * cos),
        ("CD1_2", -sign * step * sin),
        ("CD2_1", -step * sin),
        ("CD2_2", step * cos),
    ] {
        writeln!(text, "{keyword} = {value:e}").unwrap();
    }
    text
}

#[test]
fn images_win_over_headers_and_say_by_how_much() {
    let folder = Folder::new();
    let lie = Lie { angle: 20.0, ..STRAIGHT };
    let wcs = [&SUBTRACT[..], &["--align", "wcs"]].concat();
    // Right, 0.7″ off, 90″ off, of the wrong parity, and of the wrong scale.
    for (declination, changed, by, most) in [
        (-30.0, lie, "wcs and stars", 0.3),
        (-30.0 + 0.7 / 3600.0, lie, "wcs and stars", 2.2),
        (-30.0 + 90.0 / 3600.0, lie, "stars", 251.0),
        (-30.0, Lie { mirrored: true, ..lie }, "stars", 500.0),
        (-30.0, Lie { scale: 1.6, ..lie }, "stars", 200.0),
    ] {
        let skies = [sky(STRAIGHT, -30.0), sky(changed, declination)];
        pair(&folder, 8, 120, lie, [SQUARE, SQUARE], [&skies[0], &skies[1]]);
        for arguments in [&SUBTRACT[..], &wcs] {
            let ended = folder.succeed(arguments);
            let report = report(&folder);
            let asked = arguments.len() > SUBTRACT.len();
            let expected = if asked { by } else { "stars" };
            assert_eq!(report["alignment"]["by"], expected, "{changed:?} {declination}");
            let off = report["alignment"]["wcs"]["disagreement"].as_f64().unwrap();
            assert!(
                off <= most && off > 0.8 * most - 0.3 || most > 150.0 && off > 50.0,
                "{off} {most}"
            );
            let scale = report["photometric_scale"]["value"].as_f64().unwrap();
            assert!((scale - 1.0).abs() < 0.05, "{scale}");
            let contradicts = ended.stderr.contains("the stars were followed");
            assert_eq!(contradicts, asked && by == "stars", "{}", ended.stderr);
        }
    }
}

#[test]
fn what_cannot_be_aligned_is_refused_by_name() {
    let folder = Folder::new();
    let refused = |arguments: &[&str], words: &[&str]| {
        let ended = folder.dia(&[&SUBTRACT[..], arguments].concat());
        assert_ne!(ended.code, Some(0), "{arguments:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} is missing: {}", ended.stderr);
        }
        assert!(!folder.path("out.fits").exists());
    };
    // Three stars at 30°, and none.
    let lie = Lie { angle: 30.0, ..STRAIGHT };
    for count in [3, 0] {
        pair(&folder, 31, count, lie, [SQUARE, SQUARE], ["", ""]);
        refused(&["--align", "stars"], &["reference.fits", "target.fits", "stars"]);
        refused(&[], &["reference.fits", "target.fits"]);
    }
    pair(&folder, 8, 120, lie, [SQUARE, SQUARE], ["", ""]);
    refused(&["--align", "integer"], &["turned by 30", "--align auto"]);
    refused(&["--align", "wcs"], &["CTYPE1", "reference.fits"]);
    let right = sky(STRAIGHT, -30.0);
    let broken = right.replace("CRVAL1 = 150.0", "CRVAL1 = north");
    pair(&folder, 8, 120, lie, [SQUARE, SQUARE], [&right, &broken]);
    refused(&["--align", "wcs"], &["target.fits", "CRVAL1", "north"]);
    let sip = right.replace("TAN\n", "TAN-SIP\n") + "A_2_0 = 1e-6\n";
    pair(&folder, 8, 120, lie, [SQUARE, SQUARE], [&sip, &right]);
    refused(&["--align", "wcs"], &["reference.fits", "A_ORDER"]);
}
