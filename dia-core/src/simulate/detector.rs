//! What the detector makes of the light: photons, read noise, saturation.

use rand::SeedableRng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::random::{Purpose, seed_of};
use crate::{CcdNoise, Image, Mask, MaskPlanes};

/// From this number of electrons on a Gaussian stands for Poisson's distribution, whose skewness is 1 % there.
pub(super) const GAUSSIAN_ELECTRONS: f64 = 1e4;

/// Photons and read noise on an image of expected values.
///
/// The noise of a pixel depends on its own expected value, its place and the seed alone.
pub(super) fn observe(
    expected: &Image<f64>,
    noise: CcdNoise,
    seed: u64,
    purpose: Purpose,
) -> Image<f64> {
    let seed = seed_of(seed, purpose);
    let mut image = expected.clone();
    image.pixels_mut().par_iter_mut().enumerate().for_each(|(i, value)| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(i as u64));
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let read_noise = noise.read_noise * normal();
        let electrons = noise.gain * value.max(0.0);
        let detected = if electrons >= GAUSSIAN_ELECTRONS {
            electrons + electrons.sqrt() * normal()
        } else {
            // No photons are expected where Poisson's distribution is not defined: at a mean of 0.
            Poisson::new(electrons).map_or(0.0, |photons| photons.sample(&mut rng))
        };
        // A sky below zero is an offset without photons.
        *value = value.min(0.0) + (detected + read_noise) / noise.gain;
    });
    image
}

pub(super) fn saturation_mask(image: &Image<f64>, level: Option<f64>) -> Mask {
    let mut mask = Mask::good(image.height(), image.width());
    if let Some(level) = level {
        mask.merge(|i| {
            if image.pixels()[i] >= level { MaskPlanes::SATURATED } else { MaskPlanes::empty() }
        });
    }
    mask
}
