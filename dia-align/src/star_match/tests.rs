use dia_core::stars::Star;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal, Uniform};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{MatchOptions, StarMatch, match_near, match_stars};
use crate::{AlignError, Model, PlaneMap};

const SHAPE: (usize, usize) = (500, 600);

fn turned(angle: f64, scale: f64, mirrored: bool, shift: (f64, f64)) -> PlaneMap {
    let (sin, cos) = angle.to_radians().sin_cos();
    let (a, b) = (scale * cos, scale * sin);
    let sign = if mirrored { -1.0 } else { 1.0 };
    // The middle of the second image falls on that of the first, but for the shift.
    let (x, y) = (300.0, 250.0);
    let (u, v) = (x + shift.0, y + shift.1);
    PlaneMap::affine([
        [u - sign * a * x + b * y, sign * a, -b],
        [v - sign * b * x - a * y, sign * b, a],
    ])
}

/// Stars of a sky that both images see, a tenth of them only one of them, with places good to 0.15 pixels and fluxes to 5 %.
fn lists(seed: u64, stars: usize, map: &PlaneMap) -> [Vec<Star>; 2] {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let wide = Uniform::new(-600.0, 1200.0).unwrap();
    let noise = Normal::new(0.0, 0.15).unwrap();
    let unit = Uniform::new(0.0, 1.0).unwrap();
    let area = 1800.0 * 1800.0 / (SHAPE.0 * SHAPE.1) as f64;
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..(stars as f64 * area) as usize {
        let (u, v) = (wide.sample(&mut rng), wide.sample(&mut rng));
        let flux = 1000.0 * f64::powf(unit.sample(&mut rng), -0.7);
        for (k, list) in seen.iter_mut().enumerate() {
            let place = if k == 0 { Some((u, v)) } else { map.back(u, v) };
            let (x, y) = place.unwrap();
            let flux = flux * (1.0 + noise.sample(&mut rng) / 3.0);
            let (x, y) = (x + noise.sample(&mut rng), y + noise.sample(&mut rng));
            let (height, width) = (SHAPE.0 as f64, SHAPE.1 as f64);
            let inside = (0.0..width).contains(&x) && (0.0..height).contains(&y);
            if inside && unit.sample(&mut rng) > 0.1 {
                list.push(Star { x, y, flux });
            }
        }
    }
    seen.map(|mut list| {
        list.sort_by(|a, b| b.flux.total_cmp(&a.flux));
        list.truncate(1000);
        list
    })
}

fn matched(lists: &[Vec<Star>; 2]) -> Result<StarMatch, AlignError> {
    match_stars(&lists[0], &lists[1], SHAPE, SHAPE, &MatchOptions::default())
}

/// Largest distance in the second image's corners, where the map is known least.
fn error(found: &StarMatch, truth: &PlaneMap) -> f64 {
    let corners = [(0.0, 0.0), (599.0, 0.0), (0.0, 499.0), (599.0, 499.0)];
    let off = corners.map(|(x, y)| {
        let ((u, v), (tu, tv)) = (found.fitted.map.place(x, y), truth.place(x, y));
        (u - tu).hypot(v - tv)
    });
    off.into_iter().fold(0.0, f64::max)
}

#[test]
fn any_rotation_mirror_and_scale_is_found() {
    let mut seed = 0;
    for stars in [20, 60, 400, 3000] {
        for (angle, scale) in [(0.0, 1.0), (1.0, 1.0), (45.0, 1.02), (-133.0, 0.75), (90.0, 1.3)] {
            for mirrored in [false, true] {
                seed += 1;
                let truth = turned(angle, scale, mirrored, (20.0, -30.0));
                let found = matched(&lists(seed, stars, &truth)).unwrap();
                let off = error(&found, &truth);
                assert!(off < 1.0, "{stars} stars, {angle}° × {scale} {mirrored}: {off} {found:?}");
                assert!(found.fitted.residual < 0.35, "{}", found.fitted.residual);
                assert!(found.log_chance < -6.0);
            }
        }
    }
}

#[test]
fn a_fifth_of_overlap_is_enough_where_there_are_stars() {
    for seed in 0..8 {
        let truth = turned(30.0 * seed as f64, 1.0, false, (380.0, 230.0));
        let found = matched(&lists(seed, 400, &truth)).unwrap();
        // The far corners are outside of what is seen of both.
        assert!(found.pairs.len() > 20 && error(&found, &truth) < 3.0, "{seed}: {found:?}");
    }
}

#[test]
fn unrelated_fields_do_not_match() {
    for (seed, stars) in (0..60).zip([5, 8, 20, 60, 200, 1000].into_iter().cycle()) {
        let truth = PlaneMap::identity();
        let [first, _] = lists(seed, stars, &truth);
        let [_, second] = lists(seed + 1000, stars, &truth);
        let found = matched(&[first, second]);
        assert!(found.is_err(), "{stars} stars: {found:?}");
    }
}

#[test]
fn five_stars_match_and_three_are_refused() {
    let places = [(100.0, 80.0), (450.0, 120.0), (300.0, 300.0), (90.0, 410.0), (520.0, 440.0)];
    let truth = turned(77.0, 1.1, true, (0.0, 0.0));
    let star = |place: &(f64, f64)| Star { x: place.0, y: place.1, flux: 1e4 };
    let second: Vec<Star> = places.iter().map(star).collect();
    let first: Vec<Star> = places.iter().map(|p| star(&truth.place(p.0, p.1))).collect();
    let found = matched(&[first.clone(), second.clone()]).unwrap();
    assert!(error(&found, &truth) < 1e-6 && found.pairs.len() == 5);
    assert_eq!(found.fitted.model, Model::Similarity { mirrored: true });
    let refused = matched(&[first[..3].to_vec(), second]).unwrap_err();
    assert_eq!(refused, AlignError::FewStars { first: 3, second: 5, needed: 4 });
}

#[test]
fn distortions_are_fitted_where_stars_show_them() {
    let truth = PlaneMap::polynomial(
        2,
        (300.0, 250.0),
        300.0,
        [&[310.0, 290.0, 60.0, 3.0, -2.0, 1.5], &[240.0, -60.0, 290.0, 1.0, 2.0, -2.0]],
    );
    let found = matched(&lists(5, 400, &truth)).unwrap();
    assert_eq!(found.fitted.model, Model::Quadratic);
    assert!(error(&found, &truth) < 0.5, "{}", error(&found, &truth));
    let straight = turned(12.0, 1.0, false, (0.0, 0.0));
    let found = matched(&lists(6, 400, &straight)).unwrap();
    assert_eq!(found.fitted.model, Model::Affine);
}

#[test]
fn a_map_that_is_known_nearly_is_corrected() {
    let truth = turned(12.0, 1.0, false, (2.0, -1.5));
    let near = turned(12.0, 1.0, false, (0.0, 0.0));
    let lists = lists(9, 40, &truth);
    let found =
        match_near(&lists[0], &lists[1], SHAPE, SHAPE, &near, &MatchOptions::default()).unwrap();
    assert!(error(&found, &truth) < 0.6);
}
