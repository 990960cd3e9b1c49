use dia_core::{Image, Mask, MaskPlanes};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Warped, warp};
use crate::PlaneMap;

const SIDE: usize = 160;

/// Images of noise for a test.
const IMAGES: u64 = 12;

fn turned(angle: f64, scale: f64, at: (f64, f64)) -> PlaneMap {
    let (sin, cos) = angle.to_radians().sin_cos();
    let (a, b) = (scale * cos, scale * sin);
    // The middle of the grid stays, but for `at`.
    let c = 0.5 * (SIDE as f64 - 1.0);
    PlaneMap::affine([[c - a * c + b * c + at.0, a, -b], [c - b * c - a * c + at.1, b, a]])
}

fn noise(seed: u64) -> Image<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    Image::from_fn(SIDE, SIDE, |_, _| StandardNormal.sample(&mut rng))
}

/// With the given variance, which tells how much noise is put back.
fn warped(image: &Image<f64>, map: &PlaneMap, variance: f64, seed: u64) -> Warped<f64> {
    let (variance, mask) = (Image::filled(SIDE, SIDE, variance), Mask::good(SIDE, SIDE));
    warp(image.view(), variance.view(), &mask, map, (SIDE, SIDE), seed)
}

/// The image behind a Gaussian of unit square sum, where it lies well inside.
fn smoothed(image: &Image<f64>, sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma).ceil() as isize;
    let at = |d: isize| if sigma > 0.0 { (-0.5 * (d as f64 / sigma).powi(2)).exp() } else { 1.0 };
    let squares: f64 = (-reach..=reach).map(|d| at(d).powi(2)).sum();
    let inside = 40..SIDE as isize - 40;
    let sum = |y: isize, x: isize| -> f64 {
        (-reach..=reach)
            .flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)))
            .map(|(dy, dx)| at(dy) * at(dx) * image.view().at((y + dy) as usize, (x + dx) as usize))
            .sum()
    };
    inside
        .clone()
        .flat_map(|y| inside.clone().map(move |x| (y, x)))
        .map(|(y, x)| sum(y, x) / squares)
        .collect()
}

#[test]
fn noise_is_white_and_of_the_variance_that_is_said_at_every_phase() {
    for (angle, scale, at) in [
        (0.0, 1.0, (0.1, 0.1)),
        (0.0, 1.0, (0.25, 0.25)),
        (0.0, 1.0, (0.5, 0.5)),
        (0.0, 1.0, (0.5, 0.0)),
        (17.0, 1.0, (0.3, 0.6)),
        (45.0, 0.8, (0.0, 0.0)),
        (-100.0, 1.25, (0.2, 0.4)),
    ] {
        let map = turned(angle, scale, at);
        let sigmas = [0.0, 0.8, 1.3, 2.0];
        let (mut seen, mut said, mut beside) = ([0.0; 4], 0.0, 0.0);
        for seed in 0..IMAGES {
            let moved = warped(&noise(seed), &map, 1.0, 7000 + 1000 * seed);
            for (seen, sigma) in seen.iter_mut().zip(sigmas) {
                let values = smoothed(&moved.image, sigma);
                *seen += values.iter().map(|v| v * v).sum::<f64>();
            }
            let rows = 40..SIDE - 40;
            for row in rows.clone() {
                let (pixels, next) = (moved.image.view().row(row), moved.image.view().row(row + 1));
                for x in rows.clone() {
                    beside += pixels[x] * (pixels[x + 1] + next[x]) / 2.0;
                    said += moved.variance.view().at(row, x);
                }
            }
        }
        for (seen, sigma) in seen.into_iter().zip(sigmas) {
            let ratio = seen / said;
            // Images of 80² pixels, of which a smoothed one has 80²/(4πσ²) that are independent.
            let independent = IMAGES as f64 * 6400.0
                / (4.0 * std::f64::consts::PI * f64::powi(sigma, 2)).max(1.0);
            let error = (2.0 / independent).sqrt();
            println!("{angle:6}° × {scale:4} at {at:?}, σ {sigma}: {ratio:.3} ± {error:.3}");
            assert!(
                (ratio - 1.0).abs() < 4.0 * error + 0.03,
                "{angle}° {scale} {at:?} σ {sigma}: {ratio}"
            );
        }
        assert!(
            (beside / said).abs() < 0.04,
            "{angle}° {scale} {at:?}: neighbours {}",
            beside / said
        );
    }
}

#[test]
fn light_is_kept_and_stars_land_where_the_map_says() {
    let place = (83.3, 71.8);
    let star = |y: usize, x: usize| {
        let square = (x as f64 - place.0).powi(2) + (y as f64 - place.1).powi(2);
        (-square / (2.0 * 1.5_f64.powi(2))).exp()
    };
    let image = Image::from_fn(SIDE, SIDE, star);
    let light: f64 = image.pixels().iter().sum();
    for (angle, scale) in [(0.0, 1.0), (33.0, 1.0), (180.0, 0.75), (-60.0, 1.3), (10.0, 2.0)] {
        let map = turned(angle, scale, (0.37, -0.21));
        let moved = warped(&image, &map, 0.0, 1).image;
        let (mut sum, mut sx, mut sy) = (0.0, 0.0, 0.0);
        for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
            let value = moved.view().at(y, x);
            if value.is_finite() {
                sum += value;
                sx += value * x as f64;
                sy += value * y as f64;
            }
        }
        assert!((sum / light - 1.0).abs() < 2e-3, "{angle}° × {scale}: {}", sum / light);
        let (tx, ty) = map.back(place.0, place.1).unwrap();
        // The window moves light by up to 0.02 pixels, by phase.
        let off = (sx / sum - tx).hypot(sy / sum - ty);
        assert!(off < 0.025, "{angle}° × {scale}: {off}");
    }
}

#[test]
fn whole_pixels_are_only_moved() {
    let image = noise(3);
    let moved = warped(&image, &turned(0.0, 1.0, (5.0, -3.0)), 1.0, 1);
    for (y, x) in [(50, 60), (10, 10), (100, 140)] {
        let (value, expected) = (moved.image.view().at(y, x), image.view().at(y - 3, x + 5));
        assert!((value - expected).abs() < 1e-6);
        assert!((moved.variance.view().at(y, x) - 1.0).abs() < 1e-9);
        assert_eq!(moved.mask.at(y, x), MaskPlanes::empty());
    }
    assert_eq!(moved.mask.at(1, 50), MaskPlanes::NO_DATA);
    assert!(moved.image.view().at(0, 50).is_nan());
}

#[test]
fn a_spoilt_pixel_spoils_what_it_reaches_and_adds_nothing() {
    let mut image = Image::filled(SIDE, SIDE, 100.0_f64);
    let mut mask = Mask::good(SIDE, SIDE);
    image.row_mut(80)[80] = 1e9;
    mask.insert(80, 80, MaskPlanes::SATURATED);
    let variance = Image::filled(SIDE, SIDE, 0.0);
    let map = turned(0.0, 1.0, (0.5, 0.5));
    let moved = warp(image.view(), variance.view(), &mask, &map, (SIDE, SIDE), 1);
    assert_eq!(moved.mask.at(80, 80), MaskPlanes::SATURATED);
    assert_eq!(moved.mask.at(78, 79), MaskPlanes::SATURATED);
    assert_eq!(moved.mask.at(76, 79), MaskPlanes::empty());
    for y in 70..90 {
        for x in 70..90 {
            assert!((moved.image.view().at(y, x) - 100.0).abs() < 1e-9);
        }
    }
}
