use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::stars::{Star, find};

use super::match_offset;

const SHAPES: [(usize, usize); 2] = [(400, 400); 2];

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

#[test]
fn sparse_fields_meet_and_unrelated_ones_do_not() {
    let all: Vec<[Vec<Star>; 2]> = (0..12).map(|seed| stars(&field(seed, 1.5))).collect();
    for (k, [reference, target]) in all.iter().enumerate() {
        let matched = match_offset(reference, target, SHAPES).unwrap();
        assert!(matched.log_chance < -6.0, "{k}: {matched:?}");
        assert!(matched.dx.abs() < 0.5 && matched.dy.abs() < 0.5, "{k}: {matched:?}");
        for (other, [_, unrelated]) in all.iter().enumerate().filter(|(other, _)| *other != k) {
            let matched = match_offset(reference, unrelated, SHAPES);
            // 132 pairs of fields: 10⁻⁴ for one of them is rare.
            assert!(matched.is_none_or(|m| m.log_chance > -4.0), "{k} {other}");
        }
    }
}

#[test]
fn one_star_is_enough_where_the_images_are_aligned_already() {
    let star = |x: f64, y: f64| Star { x, y, flux: 1e5 };
    let chance = |dx: f64, dy: f64| {
        let matched = match_offset(&[star(180.0, 220.0)], &[star(180.0 + dx, 220.0 + dy)], SHAPES);
        matched.unwrap().log_chance
    };
    // The disc of 0.4 pixels has 3 × 10⁻⁶ of the area.
    assert!(chance(0.3, -0.2) < -3.5 && chance(1.0, 1.0) < -2.0 && chance(60.0, -30.0) > -1.0);
    assert!(chance(0.3, -0.2) > -6.0);
}

#[test]
fn lists_without_stars_have_no_offset() {
    assert_eq!(match_offset(&[], &[], [(60, 60); 2]), None);
}

#[test]
fn few_stars_in_a_corner_of_a_smaller_image_are_chance() {
    for seed in 0..12 {
        let [reference, _] = stars(&field(seed, 10.0));
        let [_, other] = stars(&field(seed + 50, 10.0));
        let target: Vec<Star> =
            other.into_iter().filter(|star| star.x < 150.0 && star.y < 150.0).collect();
        let matched = match_offset(&reference, &target, [(400, 400), (150, 150)]);
        assert!(matched.is_none_or(|m| m.log_chance > -4.0), "{seed}");
    }
}
