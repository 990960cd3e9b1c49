//! Light in the sky that follows no polynomial of low degree, which is the background's and not the kernel's.

use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    Difference, FitOptions, LEAST_BACKGROUND, Variation, subtract, with_largest_background,
};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::field::{Planes, design_of_seeing};

const SIDE: usize = 256;

/// A field with a bump of light of so many ADU, and its noise, in the target.
fn lit(seed: u64, light: f64) -> SimulatedPair {
    let options = SimulationOptions { height: SIDE, width: SIDE, seed, ..Default::default() };
    let mut pair = simulate(&options).unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    for (i, value) in pair.target.pixels_mut().iter_mut().enumerate() {
        let (y, x) = ((i / SIDE) as f64, (i % SIDE) as f64);
        let square = ((y - 190.0) / 50.0).powi(2) + ((x - 60.0) / 70.0).powi(2);
        let light = light * (-0.5 * square).exp();
        let noise: f64 = StandardNormal.sample(&mut random);
        *value += light + (light / options.gain).sqrt() * noise;
    }
    pair
}

fn fitted(pair: &SimulatedPair, is_free: bool) -> Difference<f32> {
    let planes = Planes::<f32>::of(pair);
    let (reference, target) = planes.exposures(pair);
    let design = design_of_seeing(SIDE, pair.truth.options.target_fwhm);
    let options = FitOptions {
        target_fwhm: Some(pair.truth.options.target_fwhm),
        variation: Variation::Tested,
        least_background: Some(LEAST_BACKGROUND),
        ..FitOptions::default()
    };
    let design = if is_free { with_largest_background(design) } else { design };
    subtract(&reference, &target, design, FftDesignMatrix::new, &options, &mut |_| ()).unwrap()
}

fn degree(difference: &Difference<f32>) -> usize {
    difference.design.background().unwrap().degree()
}

fn pull(difference: &Difference<f32>, pair: &SimulatedPair) -> f64 {
    let scale = difference.photometric_scale;
    (scale.value - pair.truth.options.scale) / scale.sigma
}

#[test]
fn scattered_light_is_the_background_s() {
    let fields: Vec<SimulatedPair> = (1..=4).map(|seed| lit(seed, 200.0)).collect();
    let pulls = |is_free| -> Vec<f64> {
        fields.iter().map(|pair| pull(&fitted(pair, is_free), pair)).collect()
    };
    // Of four pulls of deviation 1 the sum of squares exceeds 18.5 in one case of a thousand (χ²₄).
    let square = |pulls: &[f64]| pulls.iter().map(|pull| pull * pull).sum::<f64>();
    let free = pulls(true);
    assert!(square(&free) < 18.5, "{free:?}");
    // Without it, the kernel's wings take the light: a test that sees nothing would not see its absence.
    let bound = pulls(false);
    assert!(square(&bound) > 100.0, "{bound:?}");
}

#[test]
fn a_plain_sky_has_a_plain_background() {
    for seed in 1..=4 {
        assert_eq!(degree(&fitted(&lit(seed, 0.0), true)), LEAST_BACKGROUND, "{seed}");
    }
    assert!(degree(&fitted(&lit(1, 200.0), true)) > LEAST_BACKGROUND);
}
