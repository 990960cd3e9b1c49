//! Simulated pairs of images with a known truth.
//!
//! [`simulate`] draws a field of stars and takes it twice: a deep, sharp reference R and a target I of worse seeing,
//! moved by a part of a pixel, of another transparency and sky. Some stars of the target vary, new ones appear,
//! cosmic rays hit it. Without those, and without noise, the target is
//!
//! > M_true(p) = Σ_i P F_i ψ_I(p − p_i − s) + sky_I(p), beside R_true(p) = Σ_i F_i ψ_R(p − p_i) + sky_R,
//!
//! with F_i the flux of star i in reference ADU, P the photometric scale, s the shift and ψ the point spread
//! functions integrated over pixels, Σ_p ψ(p) = 1. The images hold M_true (or M_true with its events) in photons of a
//! Poisson distribution of mean G M, and Gaussian read noise: σ² = (σ₀/G)² + M/G, which is [`CcdNoise`].
//!
//! # Accuracy
//! A profile is integrated over each pixel by Gauss–Legendre quadrature, to 10⁻⁴ of its central pixel or better for
//! widths from 1 px on. It is cut where it is below a hundredth of the noise of an empty pixel and less than 5 · 10⁻⁴
//! of the flux lies beyond; so a star's pixels sum to its flux within 10⁻³.
//!
//! # Reproducibility
//! Stars, variables, transients, cosmic rays, bad columns, and the noise of every single pixel each have a random
//! generator of their own (xoshiro256++, Blackman & Vigna 2021, ACM TOMS 47, 36), seeded from
//! [`SimulationOptions::seed`] and their purpose. So an option that is switched on changes nothing else, and the
//! images have the same bits for any number of threads. On another platform exp and ln may round differently: values
//! then agree to about 10⁻¹⁴ of themselves, but for a very rare photon.

mod detector;
mod field;
mod options;
mod profile;
mod random;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{CcdNoise, Image, Mask, MaskPlanes};

use detector::{observe, saturation_mask};
use field::{
    draw_bad_columns, draw_cosmic_rays, draw_stars, draw_transients, draw_variables, touches_mask,
};
use profile::{Source, add_sources};
use random::Purpose;

pub use field::{CosmicRayPixel, Event, EventKind, Star};
pub use options::SimulationOptions;
pub use profile::Psf;

/// A parameter with which no pair of images can be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// A value outside its range.
    #[error("{name} is {value}; it must be {range}")]
    Parameter {
        /// The field of [`SimulationOptions`].
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
}

/// All that is known about a simulated pair; enough to simulate it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Version of this crate; another one may draw another field from the same seed.
    pub version: String,
    /// The options, among them P, shift, widths, gain and read noise of the target.
    pub options: SimulationOptions,
    /// Effective gain of the reference, G d, in e⁻/ADU: see [`SimulationOptions::reference_noise`].
    pub reference_gain: f64,
    /// Effective read noise of the reference, σ₀ √d, in e⁻.
    pub reference_read_noise: f64,
    /// All stars, those up to 48 px outside the image too, whose wings it holds.
    pub stars: Vec<Star>,
    /// Variable stars, the brightest first if it varies; then transients.
    pub events: Vec<Event>,
    /// Pixels hit by cosmic rays, track after track.
    pub cosmic_rays: Vec<CosmicRayPixel>,
    /// The dead columns of the target, from left to right.
    pub bad_columns: Vec<usize>,
}

/// A pair of images and how they came about. All planes have one shape; values are in ADU, variances in ADU².
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedPair {
    /// R, as observed.
    pub reference: Image<f64>,
    /// I, as observed.
    pub target: Image<f64>,
    /// Saturated pixels of the reference.
    pub reference_mask: Mask,
    /// Saturated pixels and dead columns (`BAD`) of the target. Cosmic rays are not marked: finding them is the task.
    pub target_mask: Mask,
    /// R_true, without noise and saturation.
    pub reference_noiseless: Image<f64>,
    /// M_true: the target without noise, saturation, dead columns, variability, transients and cosmic rays.
    pub target_noiseless: Image<f64>,
    /// σ² of the reference at R_true.
    pub reference_variance: Image<f64>,
    /// σ² of the target at M_true.
    pub target_variance: Image<f64>,
    /// Stars, events and options.
    pub truth: Truth,
}

/// Simulates a pair of images.
///
/// ```
/// use dia_core::simulate::{SimulationOptions, simulate};
///
/// let options = SimulationOptions { height: 150, width: 200, seed: 7, ..Default::default() };
/// let pair = simulate(&options)?;
/// assert_eq!(pair.target.view().shape(), (150, 200));
/// assert_eq!(pair.truth.events.len(), options.variables + options.transients);
/// # Ok::<(), dia_core::simulate::SimulationError>(())
/// ```
///
/// # Errors
/// [`SimulationError::Parameter`] if an option is out of its range.
pub fn simulate(options: &SimulationOptions) -> Result<SimulatedPair, SimulationError> {
    options.validate()?;
    let (height, width) = (options.height, options.width);
    let (target_noise, reference_noise) = (options.target_noise(), options.reference_noise());
    let stars = draw_stars(options);

    // R_true and M_true.
    let profile = options.reference_profile();
    let faintest = faintest_value(reference_noise, options.reference_sky);
    let sources: Vec<Source> = stars
        .iter()
        .map(|star| {
            let (x, y) = (star.x - options.shift_x, star.y - options.shift_y);
            Source::new(x, y, star.flux_reference, profile, faintest)
        })
        .collect();
    let mut reference_noiseless = Image::filled(height, width, options.reference_sky);
    add_sources(&mut reference_noiseless, &sources);

    let faintest = faintest_value(target_noise, options.target_sky);
    let target_source = |x, y, flux| {
        let profile = options.target_profile(x, y);
        Source::new(x, y, flux, profile, faintest)
    };
    let sources: Vec<Source> =
        stars.iter().map(|star| target_source(star.x, star.y, star.flux_target)).collect();
    let mut target_noiseless =
        Image::from_fn(height, width, |y, x| options.target_sky_at(x as f64, y as f64));
    add_sources(&mut target_noiseless, &sources);

    let reference_variance = reference_noiseless.map(|r| reference_noise.variance(r, 1.0));
    let target_variance = target_noiseless.map(|m| target_noise.variance(m, 1.0));

    // What happens in the target.
    let sensitivity = |x, y| target_source(x, y, 1.0).inverse_sigma(&target_variance);
    let mut events = draw_variables(options, &stars, sensitivity);
    events.extend(draw_transients(options, &stars, sensitivity));
    let mut expected = target_noiseless.clone();
    let sources: Vec<Source> =
        events.iter().map(|event| target_source(event.x, event.y, event.flux_change)).collect();
    add_sources(&mut expected, &sources);

    // What the detector makes of it.
    let mut reference =
        observe(&reference_noiseless, reference_noise, options.seed, Purpose::ReferenceNoise);
    let mut target = observe(&expected, target_noise, options.seed, Purpose::TargetNoise);
    let reference_mask = saturation_mask(&reference, options.saturation);
    let mut target_mask = saturation_mask(&target, options.saturation);
    let cosmic_rays = draw_cosmic_rays(options);
    for hit in &cosmic_rays {
        target.row_mut(hit.y)[hit.x] += hit.value;
    }
    let bad_columns = draw_bad_columns(options);
    for y in 0..height {
        for &x in &bad_columns {
            target.row_mut(y)[x] = 0.0;
            target_mask.insert(y, x, MaskPlanes::BAD);
        }
    }
    if let Some(level) = options.saturation {
        for image in [&mut reference, &mut target] {
            for value in image.pixels_mut() {
                *value = value.min(level);
            }
        }
    }
    for event in &mut events {
        let radius = options.target_profile(event.x, event.y).fwhm;
        let (x, y) = (event.x - options.shift_x, event.y - options.shift_y);
        event.masked = touches_mask(&target_mask, event.x, event.y, radius)
            || touches_mask(&reference_mask, x, y, radius);
    }

    let truth = Truth {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        options: *options,
        reference_gain: reference_noise.gain,
        reference_read_noise: reference_noise.read_noise,
        stars,
        events,
        cosmic_rays,
        bad_columns,
    };
    Ok(SimulatedPair {
        reference,
        target,
        reference_mask,
        target_mask,
        reference_noiseless,
        target_noiseless,
        reference_variance,
        target_variance,
        truth,
    })
}

/// A star's pixels end where they are below this fraction of the noise of an empty pixel.
const CUT_OF_NOISE: f64 = 0.01;

/// The value in ADU at which the pixels of a star may end.
fn faintest_value(noise: CcdNoise, sky: f64) -> f64 {
    CUT_OF_NOISE * noise.variance(sky, 1.0).sqrt()
}
