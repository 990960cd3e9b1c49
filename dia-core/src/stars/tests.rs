use super::matching::log_tail;
use super::{Star, find, match_offset, match_similarity, similarity};
use crate::simulate::{SimulatedPair, SimulationOptions, simulate};
use crate::{Image, Mask};

fn field(seed: u64, density: f64) -> SimulatedPair {
    simulate(&SimulationOptions { height: 400, width: 400, seed, density, ..Default::default() })
        .unwrap()
}

fn stars(pair: &SimulatedPair) -> [Vec<Star>; 2] {
    [
        find(pair.reference.view(), &pair.reference_mask, 200),
        find(pair.target.view(), &pair.target_mask, 200),
    ]
}

/// The pair with `light` added to both images, at (row, column).
fn with(pair: &SimulatedPair, light: impl Fn(f64, f64) -> f64) -> SimulatedPair {
    let add = |image: &Image<f64>| {
        Image::from_fn(400, 400, |y, x| image.view().at(y, x) + light(y as f64, x as f64))
    };
    SimulatedPair { reference: add(&pair.reference), target: add(&pair.target), ..pair.clone() }
}

#[test]
fn sparse_fields_meet_and_unrelated_ones_do_not() {
    let all: Vec<[Vec<Star>; 2]> = (0..12).map(|seed| stars(&field(seed, 1.5))).collect();
    for (k, [reference, target]) in all.iter().enumerate() {
        let matched = match_offset(reference, target, (400, 400)).unwrap();
        assert!(matched.log_chance < -6.0, "{k}: {matched:?}");
        assert!(matched.dx.abs() < 0.5 && matched.dy.abs() < 0.5, "{k}: {matched:?}");
        for (other, [_, unrelated]) in all.iter().enumerate().filter(|(other, _)| *other != k) {
            let matched = match_offset(reference, unrelated, (400, 400));
            // 132 pairs of fields: 10⁻⁴ for one of them is rare.
            assert!(matched.is_none_or(|m| m.log_chance > -4.0), "{k} {other}");
        }
        let similar = match_similarity(reference, &all[(k + 1) % 12][1], (400, 400));
        assert_eq!(similar, None, "{k}");
    }
}

#[test]
fn gradients_galaxies_and_trails_are_no_stars_and_hide_none() {
    let pair = field(5, 3.0);
    let [_, plain] = stars(&pair);
    let lies_in = |found: &[Star], star: &Star| {
        found.iter().any(|other| (other.x - star.x).hypot(other.y - star.y) < 1.0)
    };
    // A ramp of 50 σ of the sky's noise; a galaxy of 2000 ADU, brighter than faint stars within 40 pixels; a trail of a satellite, flat or with a profile, all with grains of 1 %.
    let grain = |y: f64, x: f64| 1.0 + 0.01 * (12.9898 * x + 78.233 * y).sin();
    let across = |y: f64, x: f64| 0.8 * x - 0.6 * y - 40.0;
    let lights: [&dyn Fn(f64, f64) -> f64; 4] = [
        &|y, x| 2.0 * x + y,
        &|y, x| 2000.0 * (-(y - 210.0).hypot(x - 150.0) / 12.0).exp() * grain(y, x),
        &|y, x| if across(y, x).abs() < 4.5 { 2e4 * grain(y, x) } else { 0.0 },
        &|y, x| 2e4 * (-across(y, x).powi(2) / 18.0).exp() * grain(y, x),
    ];
    for (k, light) in lights.into_iter().enumerate() {
        let [_, found] = stars(&with(&pair, light));
        let hidden = plain.iter().filter(|star| !lies_in(&found, star)).count();
        let new = found.iter().filter(|star| !lies_in(&plain, star)).count();
        // The trail covers a tenth of the field with its sides, and the galaxy's core may be one.
        assert!(5 * hidden <= plain.len() && new <= 3, "{k}: {} {hidden} {new}", plain.len());
    }
}

#[test]
fn one_star_is_enough_where_the_images_are_aligned_already() {
    let star = |x: f64, y: f64| Star { x, y, flux: 1e5 };
    let chance = |dx: f64, dy: f64| {
        let matched =
            match_offset(&[star(180.0, 220.0)], &[star(180.0 + dx, 220.0 + dy)], (400, 400));
        matched.unwrap().log_chance
    };
    // The disc of 0.4 pixels has 3 × 10⁻⁶ of the area.
    assert!(chance(0.3, -0.2) < -3.5 && chance(1.0, 1.0) < -2.0 && chance(60.0, -30.0) > -1.0);
    assert!(chance(0.3, -0.2) > -6.0);
}

#[test]
fn a_rotation_is_measured_from_the_stars_that_meet() {
    let [reference, _] = stars(&field(3, 20.0));
    for (angle, scale) in [(0.0, 1.0), (1.0_f64, 1.0), (-0.6, 1.004)] {
        let turned = turned(&reference, angle, scale);
        let matched = match_offset(&reference, &turned, (400, 400)).unwrap();
        let found = similarity(&reference, &turned, &matched).unwrap();
        assert!(
            (found.angle - angle).abs() < 0.01 && (found.scale - scale).abs() < 1e-4,
            "{found:?}"
        );
    }
}

#[test]
fn any_rotation_and_scale_is_found_in_sparse_and_rich_fields() {
    for (seed, density) in [(3, 20.0), (4, 2.0), (5, 5.0)] {
        let [reference, target] = stars(&field(seed, density));
        for (angle, scale) in [(30.0_f64, 1.0_f64), (-140.0, 1.3), (7.0, 0.5), (2.0, 1.0)] {
            let turned = turned(&target, angle, scale);
            let found = match_similarity(&reference, &turned, (400, 400)).unwrap();
            // Centroids of faint stars are good to a third of a pixel, over some 100 pixels.
            assert!(
                (found.angle - angle).abs() < 0.2 && (found.scale / scale - 1.0).abs() < 4e-3,
                "{density} {angle} {scale}: {found:?}"
            );
        }
    }
}

/// The stars turned and scaled about a place near the centre, and those that are left in the image.
fn turned(stars: &[Star], angle: f64, scale: f64) -> Vec<Star> {
    let (sin, cos) = angle.to_radians().sin_cos();
    let turned = stars.iter().map(|s| {
        let (x, y) = (s.x - 200.0, s.y - 180.0);
        let (x, y) = (scale * (cos * x - sin * y), scale * (sin * x + cos * y));
        Star { x: 200.0 + x, y: 180.0 + y, ..*s }
    });
    turned.filter(|s| (0.0..400.0).contains(&s.x) && (0.0..400.0).contains(&s.y)).collect()
}

#[test]
fn an_image_without_stars_or_smaller_than_one_has_none() {
    for (height, width) in [(0, 0), (5, 400), (60, 60)] {
        let image = Image::from_fn(height, width, |y, x| ((7 * y + 3 * x) % 5) as f64);
        assert_eq!(find(image.view(), &Mask::good(height, width), 9), []);
    }
    assert_eq!(match_offset(&[], &[], (60, 60)), None);
    assert_eq!(match_similarity(&[], &[], (60, 60)), None);
}

#[test]
fn tails_are_those_of_poisson() {
    // P(≥ 3 | 0.5) = 1 − e^−½ (1 + ½ + ⅛) = 0.01439.
    assert!((log_tail(0.5, 3) - 0.01439_f64.log10()).abs() < 0.02);
    assert_eq!(log_tail(5.0, 3), 0.0);
}
