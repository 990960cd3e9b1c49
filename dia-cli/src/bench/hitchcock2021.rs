//! The simulated pairs of Hitchcock et al. (2021, MNRAS 504, 3561, section 3.1).
//!
//! As their notebook `Section 3 - Simulated Image Tests.ipynb` and its `MakeFakeImage.py` (github.com/jah1994/PyTorchDIA) have it. A pair has
//! 142 × 142 pixels, one sky and two round Gaussian point spread functions of widths φ_R and φ_I = √(φ_R² + φ_K²):
//!
//! > R(p) = sky + Σ_i F_i ψ(p − p_i; φ_R), I(p) = sky + Σ_i F_i ψ(p − p_i − s; φ_I),
//!
//! so that the true photometric scale is 1. Gaussian noise has σ² = σ₀² + I, σ₀ = 5 ADU at a gain of 1 e⁻/ADU, and a tenth of that in R.
//!
//! # Profiles
//! ψ is the Gaussian *sampled* at pixel centres and divided by its sum over the image, as there; it is not integrated over pixels. Two things follow
//! that are part of the benchmark. Profiles of φ < 1 px are undersampled: no kernel turns R into I exactly for stars at all sub-pixel places. And a
//! star at the border has all its flux inside the image, in R and in I, so within some φ of the border I is not R convolved.
//!
//! # Signal to noise
//! Because each profile sums to 1 in the image, SNR = Σ(I − sky)/√Σσ² is ΣF/√(N (σ₀² + sky) + ΣF): the regime of a pair is known before an image is made.

use dia_core::Image;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

/// Rows and columns.
pub(crate) const SIDE: usize = 142;
/// Half-width of the kernel in pixels.
pub(crate) const HALF_WIDTH: usize = 9;
/// σ₀ in ADU.
pub(crate) const READ_NOISE: f64 = 5.0;
/// By what the variance of the reference is smaller.
pub(crate) const REFERENCE_DEPTH: f64 = 10.0;
/// Row and column of the brightest star in the reference.
pub(crate) const CENTRE: usize = SIDE / 2;

/// A regime: ranges of SNR, φ_R and φ_K, the last two in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub(crate) snr: (f64, f64),
    pub(crate) phi_reference: (f64, f64),
    pub(crate) phi_kernel: (f64, f64),
}

impl Cell {
    /// The twelve regimes, in the order of the published table.
    pub(crate) fn all() -> Vec<Self> {
        let (wide, narrow) = ((1.0, 2.5), (0.5, 1.0));
        let mut cells = Vec::new();
        for snr in [(8.0, 40.0), (40.0, 200.0), (200.0, 1000.0)] {
            for phi_reference in [wide, narrow] {
                for phi_kernel in [wide, narrow] {
                    cells.push(Self { snr, phi_reference, phi_kernel });
                }
            }
        }
        cells
    }
}

#[derive(Clone, Copy, Debug)]
struct Star {
    y: f64,
    x: f64,
    /// ADU.
    flux: f64,
}

/// A pair of images with its truth.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) phi_reference: f64,
    pub(crate) phi_target: f64,
    /// ADU, in both images.
    pub(crate) sky: f64,
    /// s = (dy, dx): a star's place in the target minus its place in the reference, in pixels.
    pub(crate) shift: (f64, f64),
    pub(crate) reference: Image<f64>,
    pub(crate) target: Image<f64>,
    pub(crate) target_noiseless: Image<f64>,
}

impl Pair {
    /// Pair `index` of a regime. It depends on the seed, the regime and the index alone.
    ///
    /// φ_R and φ_K are drawn within the regime; sky and stars do not depend on them, and are drawn until their SNR is that of the regime. That is the
    /// distribution of the published draws, given the regime.
    pub(crate) fn draw(seed: u64, cell: &Cell, index: u64) -> Self {
        let mut rng = generator(seed, cell, index);
        let phi_reference = between(&mut rng, cell.phi_reference);
        let phi_kernel = between(&mut rng, cell.phi_kernel);
        let phi_target = phi_reference.hypot(phi_kernel);
        let shift = (between(&mut rng, (-0.5, 0.5)), between(&mut rng, (-0.5, 0.5)));
        let (sky, stars) = loop {
            let (sky, stars) = draw_field(&mut rng);
            let snr = signal_to_noise(sky, &stars);
            if cell.snr.0 < snr && snr < cell.snr.1 {
                break (sky, stars);
            }
        };
        let target_noiseless = expose(sky, &stars, phi_target, shift);
        let reference = expose(sky, &stars, phi_reference, (0.0, 0.0));
        let reference = add_noise(&reference, REFERENCE_DEPTH, &mut rng);
        let target = add_noise(&target_noiseless, 1.0, &mut rng);
        Self { phi_reference, phi_target, sky, shift, reference, target, target_noiseless }
    }
}

/// σ² in ADU² of a target pixel of expected value `value` in ADU.
pub(crate) fn variance(value: f64) -> f64 {
    READ_NOISE.powi(2) + value
}

fn generator(seed: u64, cell: &Cell, index: u64) -> Xoshiro256PlusPlus {
    // The finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA): neighbouring numbers have nothing in common afterwards.
    let mix = |state: u64, word: u64| {
        let mut z = state.wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let words = [cell.snr.0, cell.phi_reference.0, cell.phi_kernel.0].map(f64::to_bits);
    let state = words.into_iter().chain([index]).fold(mix(0, seed), mix);
    Xoshiro256PlusPlus::seed_from_u64(state)
}

fn between(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// Sky in ADU and stars: log₁₀ of their number per 100² pixels in U(0, 3), fluxes U(10⁻⁹, 10^−4.5)^(−2/3) ADU; the brightest is moved to the centre.
fn draw_field(rng: &mut impl Rng) -> (f64, Vec<Star>) {
    let density = 10.0_f64.powf(between(rng, (0.0, 3.0)));
    let sky = between(rng, (10.0, 1000.0));
    let side = SIDE as f64;
    let count = (density * (side / 100.0).powi(2)) as usize;
    let mut stars: Vec<Star> = (0..count)
        .map(|_| Star {
            y: between(rng, (0.0, side)),
            x: between(rng, (0.0, side)),
            flux: between(rng, (1e-9, 10.0_f64.powf(-4.5))).powf(-2.0 / 3.0),
        })
        .collect();
    if let Some(brightest) = stars.iter_mut().max_by(|a, b| a.flux.total_cmp(&b.flux)) {
        (brightest.y, brightest.x) = (CENTRE as f64, CENTRE as f64);
    }
    (sky, stars)
}

/// Σ(I − sky)/√Σσ² of the target.
fn signal_to_noise(sky: f64, stars: &[Star]) -> f64 {
    let flux: f64 = stars.iter().map(|star| star.flux).sum();
    let pixels = (SIDE * SIDE) as f64;
    flux / (pixels * variance(sky) + flux).sqrt()
}

/// The noiseless image.
fn expose(sky: f64, stars: &[Star], phi: f64, (dy, dx): (f64, f64)) -> Image<f64> {
    let mut image = Image::filled(SIDE, SIDE, sky);
    for star in stars {
        let (first_y, rows) = line(star.y + dy, phi);
        let (first_x, columns) = line(star.x + dx, phi);
        for (y, row) in rows.iter().enumerate() {
            let pixels = &mut image.row_mut(first_y + y)[first_x..first_x + columns.len()];
            for (pixel, column) in pixels.iter_mut().zip(&columns) {
                *pixel += star.flux * row * column;
            }
        }
    }
    image
}

/// A Gaussian sampled along one axis, of sum 1 inside the image, from its first pixel on.
fn line(centre: f64, phi: f64) -> (usize, Vec<f64>) {
    // Beyond 9 φ it is below e^−40 of its centre.
    let first = (centre - 9.0 * phi).floor().clamp(0.0, (SIDE - 1) as f64) as usize;
    let last = (centre + 9.0 * phi).ceil().clamp(0.0, (SIDE - 1) as f64) as usize;
    let mut values: Vec<f64> = (first..=last)
        .map(|pixel| (-0.5 * ((pixel as f64 - centre) / phi).powi(2)).exp())
        .collect();
    let sum: f64 = values.iter().sum();
    for value in &mut values {
        *value /= sum;
    }
    (first, values)
}

/// Gaussian noise of the detector's variance over `depth`.
fn add_noise(expected: &Image<f64>, depth: f64, rng: &mut impl Rng) -> Image<f64> {
    expected.map(|value| {
        let normal: f64 = StandardNormal.sample(rng);
        value + (variance(value) / depth).sqrt() * normal
    })
}

#[cfg(test)]
mod tests {
    use super::{CENTRE, Cell, HALF_WIDTH, Pair, REFERENCE_DEPTH, SIDE, variance};
    use super::{draw_field, expose, generator, line, signal_to_noise};

    #[test]
    fn a_pair_belongs_to_its_regime() {
        for cell in Cell::all() {
            for index in 0..4 {
                let pair = Pair::draw(5, &cell, index);
                let (mut light, mut noise) = (0.0, 0.0);
                for value in pair.target_noiseless.pixels() {
                    light += value - pair.sky;
                    noise += variance(*value);
                }
                let snr = light / noise.sqrt();
                assert!(cell.snr.0 < snr && snr < cell.snr.1, "{snr}");
                let phi_kernel = (pair.phi_target.powi(2) - pair.phi_reference.powi(2)).sqrt();
                assert!(
                    (cell.phi_reference.0..=cell.phi_reference.1).contains(&pair.phi_reference)
                );
                // Rounding of φ_I² − φ_R², below 7 ε over 2 φ_K, at the ends of the range.
                let (low, high) = cell.phi_kernel;
                assert!((low - 1e-14..=high + 1e-14).contains(&phi_kernel), "{phi_kernel}");
                assert!((10.0..=1000.0).contains(&pair.sky));
                assert!(pair.shift.0.abs() <= 0.5 && pair.shift.1.abs() <= 0.5);
            }
        }
    }

    #[test]
    fn pairs_are_reproducible_and_differ() {
        let cells = Cell::all();
        let image = |seed, cell: usize, index| Pair::draw(seed, &cells[cell], index).target;
        assert_eq!(image(1, 3, 0), image(1, 3, 0));
        for other in [image(2, 3, 0), image(1, 4, 0), image(1, 3, 1)] {
            assert_ne!(image(1, 3, 0), other);
        }
    }

    #[test]
    fn the_brightest_star_is_at_the_centre_and_all_flux_is_in_the_image() {
        let cell = Cell::all()[0];
        for index in 0..8 {
            let (sky, stars) = draw_field(&mut generator(9, &cell, index));
            let brightest = stars.iter().map(|star| star.flux).fold(0.0, f64::max);
            let centre = CENTRE as f64;
            let central = stars.iter().find(|star| (star.y, star.x) == (centre, centre)).unwrap();
            assert_eq!(central.flux, brightest);
            assert!(stars.iter().all(|star| (999.0..=1e6 + 1.0).contains(&star.flux)));
            let image = expose(sky, &stars, 2.0, (0.4, -0.3));
            let light: f64 = image.pixels().iter().map(|value| value - sky).sum();
            let flux: f64 = stars.iter().map(|star| star.flux).sum();
            // Rounding of 20164 pixels of up to 1e6 ADU, ε of each.
            assert!((light - flux).abs() < 20_164.0 * 1e6 * f64::EPSILON, "{light} {flux}");
            let snr = light / image.pixels().iter().map(|v| variance(*v)).sum::<f64>().sqrt();
            assert!((snr / signal_to_noise(sky, &stars) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_line_is_the_normalised_gaussian() {
        let (first, values) = line(70.3, 0.8);
        let ratio = values[71 - first] / values[70 - first];
        let expected = (-0.5 * (0.7_f64.powi(2) - 0.3_f64.powi(2)) / 0.64).exp();
        assert!(
            (ratio - expected).abs() < 1e-14 && (values.iter().sum::<f64>() - 1.0).abs() < 1e-14
        );
        // At the border and a little beyond the last centre.
        assert!((line(141.9, 2.5).1.iter().sum::<f64>() - 1.0).abs() < 1e-14);
    }

    #[test]
    fn noise_has_the_variances_of_target_and_reference() {
        let pair = Pair::draw(3, &Cell::all()[4], 1);
        let mean_square = |image: &[f64], truth: &[f64], depth: f64| {
            let squares = image.iter().zip(truth).map(|(v, t)| (v - t).powi(2) / variance(*t));
            depth * squares.sum::<f64>() / truth.len() as f64
        };
        let truth = pair.target_noiseless.pixels();
        // The mean of N squares of unit normals has a standard deviation of √(2/N) = 0.010; five of them.
        assert!((mean_square(pair.target.pixels(), truth, 1.0) - 1.0).abs() < 0.05);
        // Far from stars, the reference's own noise is that of the sky.
        let mut values: Vec<f64> = pair.reference.pixels().to_vec();
        values.sort_by(f64::total_cmp);
        // The half of the pixels below the median m of Gaussian noise has √mean (v − m)² = σ; stars only add pixels above.
        let sky = pair.sky;
        let below: Vec<f64> =
            values.iter().filter(|v| **v < sky).map(|v| (v - sky).powi(2)).collect();
        let measured = below.iter().sum::<f64>() / below.len() as f64;
        let expected = variance(sky) / REFERENCE_DEPTH;
        // Some thousand pixels; those that stars lift by a part of σ still fall below, which narrows the distribution a little.
        assert!((0.7..1.1).contains(&(measured / expected)), "{}", measured / expected);
        assert_eq!(pair.reference.view().shape(), (SIDE, SIDE));
        const { assert!(2 * HALF_WIDTH < SIDE) };
    }
}
