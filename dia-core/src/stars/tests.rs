use super::{Star, find};
use crate::simulate::{SimulatedPair, SimulationOptions, simulate};
use crate::{Image, Mask};

fn field(seed: u64, density: f64) -> SimulatedPair {
    simulate(&SimulationOptions { height: 400, width: 400, seed, density, ..Default::default() })
        .unwrap()
}

/// Stars of reference and target.
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
fn an_image_without_stars_or_smaller_than_one_has_none() {
    for (height, width) in [(0, 0), (5, 400), (60, 60)] {
        let image = Image::from_fn(height, width, |y, x| ((7 * y + 3 * x) % 5) as f64);
        assert_eq!(find(image.view(), &Mask::good(height, width), 9), []);
    }
}
