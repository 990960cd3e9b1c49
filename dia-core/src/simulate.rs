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

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI};

use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{CcdNoise, Image, Mask, MaskPlanes};

/// The profile of a star before it is integrated over pixels, r being the distance from its centre.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Psf {
    /// ψ ∝ exp(−r²/2σ²), of full width 2 √(2 ln 2) σ at half maximum.
    Gaussian,
    /// ψ ∝ (1 + r²/α²)^−β, of full width 2 α √(2^{1/β} − 1) at half maximum (Moffat 1969, A&A 3, 455).
    Moffat {
        /// The exponent β, 2 to 100; turbulent air gives 2.5 to 4.8, and smaller ones have wider wings.
        beta: f64,
    },
}

/// What is simulated. The default is a decent night of a 1.5 m telescope.
///
/// x and y are columns and rows. u and v are x and y scaled to [−1, 1] across the image. Pairs are (smallest,
/// largest).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationOptions {
    /// Rows, 32 to 32768.
    pub height: usize,
    /// Columns, 32 to 32768.
    pub width: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Stars per 100 × 100 pixels.
    pub density: f64,
    /// The number of stars brighter than F falls as F^−slope between `flux_min` and `flux_max`.
    pub flux_slope: f64,
    /// Flux of the faintest star in ADU of the target.
    pub flux_min: f64,
    /// Flux of the brightest possible star in ADU of the target.
    pub flux_max: f64,
    /// The profile of stars in both images.
    pub psf: Psf,
    /// Full width at half maximum of the reference's stars in pixels, 1 to 30.
    pub reference_fwhm: f64,
    /// Full width at half maximum of the target's stars in pixels, 1 to 30; the geometric mean of both axes.
    pub target_fwhm: f64,
    /// 1 − b/a of the target's stars of axes a and b; the reference's stars are round.
    pub ellipticity: f64,
    /// Direction of the long axis in degrees, from +x towards +y.
    pub position_angle: f64,
    /// The width of the target's stars is `target_fwhm` · (1 + this · u + …).
    pub psf_gradient_x: f64,
    /// The width of the target's stars is `target_fwhm` · (1 + … + this · v).
    pub psf_gradient_y: f64,
    /// x of a star in the target minus x in the reference, in pixels.
    pub shift_x: f64,
    /// y of a star in the target minus y in the reference, in pixels.
    pub shift_y: f64,
    /// The photometric scale P: target ADU per reference ADU of a star.
    pub scale: f64,
    /// Sky of the reference in ADU.
    pub reference_sky: f64,
    /// Sky of the target in ADU at the centre of the field.
    pub target_sky: f64,
    /// Rise of the target's sky from the left edge (u = −1) to the right (u = 1), in ADU.
    pub sky_gradient_x: f64,
    /// Rise of the target's sky from the first row (v = −1) to the last (v = 1), in ADU.
    pub sky_gradient_y: f64,
    /// Quadratic rise of the target's sky: this · (u² + v²)/2, in ADU; so it is reached in the corners.
    pub sky_curvature: f64,
    /// Gain G of the detector in e⁻/ADU.
    pub gain: f64,
    /// Read noise of the detector in e⁻ (rms).
    pub read_noise: f64,
    /// Number of exposures like the target whose mean the reference is, by which its variance is smaller.
    pub reference_depth: f64,
    /// Number of variable stars, beside the brightest one; at most as many as there are stars inside the margin.
    pub variables: usize,
    /// Range of the relative change of flux |ΔF|/F of variable stars, within 0 to 1; half of them brighten.
    pub variable_amplitude: (f64, f64),
    /// Whether the brightest star varies, by the largest amplitude.
    pub brightest_varies: bool,
    /// Number of stars that appear in the target only.
    pub transients: usize,
    /// Range of the [signal-to-noise ratio](Event::signal_to_noise) of transients; drawn evenly in its logarithm.
    pub transient_signal_to_noise: (f64, f64),
    /// Variables and transients keep this distance from the borders of the image, in pixels.
    pub event_margin: f64,
    /// Number of cosmic rays in the target.
    pub cosmic_rays: usize,
    /// Range of the charge that a cosmic ray leaves in each pixel of its track, in e⁻; drawn evenly in its logarithm.
    pub cosmic_ray_charge: (f64, f64),
    /// Level in ADU at which both images saturate, `None` for never.
    pub saturation: Option<f64>,
    /// Number of dead columns of the target, which read 0 ADU; the reference, a mean of moved exposures, has none.
    pub bad_columns: usize,
}

impl Default for SimulationOptions {
    fn default() -> Self {
        Self {
            height: 512,
            width: 512,
            seed: 1,
            density: 30.0,
            flux_slope: 1.5,
            flux_min: 2e3,
            flux_max: 1e6,
            psf: Psf::Moffat { beta: 3.0 },
            reference_fwhm: 3.5,
            target_fwhm: 5.0,
            ellipticity: 0.05,
            position_angle: 30.0,
            psf_gradient_x: 0.0,
            psf_gradient_y: 0.0,
            shift_x: 0.3,
            shift_y: -0.2,
            scale: 0.8,
            reference_sky: 250.0,
            target_sky: 400.0,
            sky_gradient_x: 12.0,
            sky_gradient_y: -8.0,
            sky_curvature: 0.0,
            gain: 1.5,
            read_noise: 6.0,
            reference_depth: 20.0,
            variables: 10,
            variable_amplitude: (0.3, 1.0),
            brightest_varies: false,
            transients: 6,
            transient_signal_to_noise: (8.0, 40.0),
            event_margin: 30.0,
            cosmic_rays: 12,
            cosmic_ray_charge: (300.0, 5000.0),
            saturation: Some(60_000.0),
            bad_columns: 1,
        }
    }
}

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

impl SimulationOptions {
    /// Checks all values.
    ///
    /// # Errors
    /// [`SimulationError::Parameter`] names the first that is out of its range.
    pub fn validate(&self) -> Result<(), SimulationError> {
        let check = |name, value: f64, valid: bool, range| {
            if valid && value.is_finite() {
                Ok(())
            } else {
                Err(SimulationError::Parameter { name, value, range })
            }
        };
        let positive = |name, value: f64| check(name, value, value > 0.0, "positive");
        let not_negative = |name, value: f64| check(name, value, value >= 0.0, "zero or positive");
        let finite = |name, value: f64| check(name, value, true, "a finite number");
        let ordered = |name, (low, high): (f64, f64), highest: f64, range| {
            check(name, low, low > 0.0 && low <= high, range)?;
            check(name, high, high <= highest, range)
        };

        for (name, pixels) in [("height", self.height), ("width", self.width)] {
            let valid = (32..=32_768).contains(&pixels);
            check(name, pixels as f64, valid, "from 32 to 32768 pixels")?;
        }
        let density = self.density;
        let valid = (0.0..=10_000.0).contains(&density);
        check("density", density, valid, "from 0 to 10000 stars per 100 × 100 pixels")?;
        positive("flux_slope", self.flux_slope)?;
        positive("flux_min", self.flux_min)?;
        let valid = self.flux_max >= self.flux_min;
        check("flux_max", self.flux_max, valid, "at least flux_min, in ADU")?;
        if let Psf::Moffat { beta } = self.psf {
            check("psf beta", beta, (2.0..=100.0).contains(&beta), "from 2 to 100")?;
        }
        for (name, fwhm) in
            [("reference_fwhm", self.reference_fwhm), ("target_fwhm", self.target_fwhm)]
        {
            check(name, fwhm, (1.0..=30.0).contains(&fwhm), "from 1 to 30 pixels")?;
        }
        let ellipticity = self.ellipticity;
        check("ellipticity", ellipticity, (0.0..=0.5).contains(&ellipticity), "from 0 to 0.5")?;
        finite("position_angle", self.position_angle)?;
        for (name, gradient) in
            [("psf_gradient_x", self.psf_gradient_x), ("psf_gradient_y", self.psf_gradient_y)]
        {
            check(name, gradient, gradient.abs() <= 0.25, "from −0.25 to 0.25")?;
        }
        for (name, shift) in [("shift_x", self.shift_x), ("shift_y", self.shift_y)] {
            check(name, shift, shift.abs() <= MARGIN / 2.0, "from −24 to 24 pixels")?;
        }
        positive("scale", self.scale)?;
        not_negative("reference_sky", self.reference_sky)?;
        not_negative("target_sky", self.target_sky)?;
        finite("sky_gradient_x", self.sky_gradient_x)?;
        finite("sky_gradient_y", self.sky_gradient_y)?;
        finite("sky_curvature", self.sky_curvature)?;
        positive("gain", self.gain)?;
        // A variance of zero would leave an empty pixel without a σ.
        positive("read_noise", self.read_noise)?;
        positive("reference_depth", self.reference_depth)?;
        let range = "(smallest, largest) within 0 to 1, without 0";
        ordered("variable_amplitude", self.variable_amplitude, 1.0, range)?;
        let range = "(smallest, largest), both positive";
        ordered("transient_signal_to_noise", self.transient_signal_to_noise, f64::MAX, range)?;
        ordered("cosmic_ray_charge", self.cosmic_ray_charge, f64::MAX, range)?;
        let margin = self.event_margin;
        let valid = margin >= 0.0 && 2.0 * margin < (self.height.min(self.width) - 1) as f64;
        check("event_margin", margin, valid, "from 0 to less than half of the shorter side")?;
        if let Some(level) = self.saturation {
            positive("saturation", level)?;
        }
        let valid = self.bad_columns <= self.width / 2;
        check("bad_columns", self.bad_columns as f64, valid, "at most half of the width")
    }

    /// The noise of the target.
    pub fn target_noise(&self) -> CcdNoise {
        CcdNoise { gain: self.gain, read_noise: self.read_noise, subtracted_sky: 0.0 }
    }

    /// The noise of the reference, the mean of d exposures: that of a detector of gain G d and read noise √d times
    /// larger.
    ///
    /// So σ² = (σ₀/G)²/d + R/(G d).
    pub fn reference_noise(&self) -> CcdNoise {
        let depth = self.reference_depth;
        CcdNoise {
            gain: self.gain * depth,
            read_noise: self.read_noise * depth.sqrt(),
            subtracted_sky: 0.0,
        }
    }

    /// x and y scaled to [−1, 1] across the image.
    fn scaled(&self, x: f64, y: f64) -> (f64, f64) {
        let scaled = |x: f64, pixels: usize| 2.0 * x / (pixels - 1) as f64 - 1.0;
        (scaled(x, self.width), scaled(y, self.height))
    }

    fn target_sky_at(&self, x: f64, y: f64) -> f64 {
        let (u, v) = self.scaled(x, y);
        self.target_sky
            + 0.5 * (self.sky_gradient_x * u + self.sky_gradient_y * v)
            + 0.5 * self.sky_curvature * (u * u + v * v)
    }

    fn reference_profile(&self) -> Profile {
        Profile::new(self.psf, self.reference_fwhm, 0.0, 0.0)
    }

    /// The profile of a star at x and y of the target.
    fn target_profile(&self, x: f64, y: f64) -> Profile {
        let (u, v) = self.scaled(x, y);
        // Stars outside the image have the width of those at its edge.
        let (u, v) = (u.clamp(-1.0, 1.0), v.clamp(-1.0, 1.0));
        let fwhm = self.target_fwhm * (1.0 + self.psf_gradient_x * u + self.psf_gradient_y * v);
        Profile::new(self.psf, fwhm, self.ellipticity, self.position_angle.to_radians())
    }
}

/// A star that does not change. Both places and fluxes are exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Star {
    /// Column in the target; subtract [`SimulationOptions::shift_x`] for the reference.
    pub x: f64,
    /// Row in the target; subtract [`SimulationOptions::shift_y`] for the reference.
    pub y: f64,
    /// Flux in reference ADU.
    pub flux_reference: f64,
    /// Flux in target ADU, P times that in the reference; without the variability.
    pub flux_target: f64,
}

/// Why the target differs from the reference at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A star of both images with another flux in the target.
    Variable,
    /// A star that only the target has.
    Transient,
}

/// A true change between reference and target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What changed.
    pub kind: EventKind,
    /// Column in the target.
    pub x: f64,
    /// Row in the target.
    pub y: f64,
    /// ΔF: flux in the target minus P times the flux in the reference, in target ADU.
    pub flux_change: f64,
    /// |ΔF| √(Σ_p ψ²/σ²), the signal-to-noise ratio of a matched filter on the difference from M_true, with σ² the
    /// target's variance at M_true; the reference's own noise would lower it a little.
    pub signal_to_noise: f64,
    /// Whether a masked pixel of either image lies within one width (FWHM) of it: it may then be impossible to find.
    pub masked: bool,
}

/// A pixel hit by a cosmic ray.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CosmicRayPixel {
    /// Row of the target.
    pub y: usize,
    /// Column of the target.
    pub x: usize,
    /// What was added to the pixel, in ADU (before saturation).
    pub value: f64,
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

/// Stars are drawn up to this far outside the image, in pixels.
const MARGIN: f64 = 48.0;

/// A star's pixels end where they are below this fraction of the noise of an empty pixel.
const CUT_OF_NOISE: f64 = 0.01;

/// The largest fraction of a star's flux that may lie beyond its pixels.
const CUT_OF_FLUX: f64 = 5e-4;

/// From this number of electrons on a Gaussian stands for Poisson's distribution, whose skewness is 1 % there.
const GAUSSIAN_ELECTRONS: f64 = 1e4;

/// The longest track of a cosmic ray in pixels.
const LONGEST_TRACK: f64 = 8.0;

/// The value in ADU at which the pixels of a star may end.
fn faintest_value(noise: CcdNoise, sky: f64) -> f64 {
    CUT_OF_NOISE * noise.variance(sky, 1.0).sqrt()
}

/// What random numbers are for: each purpose has a generator of its own.
#[derive(Clone, Copy)]
enum Purpose {
    Stars = 1,
    ReferenceNoise,
    TargetNoise,
    Variables,
    Transients,
    CosmicRays,
    BadColumns,
}

/// The seed of the generators of one purpose; generator i is seeded with this plus i.
fn seed_of(seed: u64, purpose: Purpose) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA): neighbouring seeds have nothing in common.
    let mut z = seed.wrapping_add((purpose as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Generator `index` of a purpose.
fn generator(seed: u64, purpose: Purpose, index: usize) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed_of(seed, purpose).wrapping_add(index as u64))
}

/// A number between `low` and `high`, evenly distributed.
fn between(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A number between `low` and `high` with an evenly distributed logarithm.
fn between_logarithmic(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    between(rng, (low.ln(), high.ln())).exp().clamp(low, high)
}

/// A whole number below `n`, evenly distributed; the same on platforms of any word size.
fn below(rng: &mut impl Rng, n: usize) -> usize {
    ((rng.random::<f64>() * n as f64) as usize).min(n - 1)
}

fn draw_stars(options: &SimulationOptions) -> Vec<Star> {
    let mut rng = generator(options.seed, Purpose::Stars, 0);
    let extent = |pixels: usize| (-0.5 - MARGIN, pixels as f64 - 0.5 + MARGIN);
    let (columns, rows) = (extent(options.width), extent(options.height));
    let area = (columns.1 - columns.0) * (rows.1 - rows.0);
    let count = (options.density * area / 1e4).round() as usize;
    // N(> F) ∝ F^−s: (F_max^−s, F_min^−s) holds F^−s evenly.
    let slope = options.flux_slope;
    let powers = (options.flux_max.powf(-slope), options.flux_min.powf(-slope));
    (0..count)
        .map(|_| {
            let x = between(&mut rng, columns);
            let y = between(&mut rng, rows);
            let flux_target = between(&mut rng, powers)
                .powf(-1.0 / slope)
                .clamp(options.flux_min, options.flux_max);
            Star { x, y, flux_reference: flux_target / options.scale, flux_target }
        })
        .collect()
}

/// Columns and rows that are a margin away from the image's borders.
fn inner(options: &SimulationOptions) -> ((f64, f64), (f64, f64)) {
    let extent = |pixels: usize| (options.event_margin, (pixels - 1) as f64 - options.event_margin);
    (extent(options.width), extent(options.height))
}

/// `sensitivity(x, y)` is the signal-to-noise ratio of 1 ADU of flux in a star there.
fn draw_variables(
    options: &SimulationOptions,
    stars: &[Star],
    sensitivity: impl Fn(f64, f64) -> f64,
) -> Vec<Event> {
    let mut rng = generator(options.seed, Purpose::Variables, 0);
    let (columns, rows) = inner(options);
    let contains = |range: (f64, f64), x: f64| range.0 <= x && x <= range.1;
    let mut candidates: Vec<&Star> =
        stars.iter().filter(|star| contains(columns, star.x) && contains(rows, star.y)).collect();
    // The brightest one is never among the others: they must not depend on whether it varies.
    let brightest = (0..candidates.len())
        .max_by(|&i, &j| candidates[i].flux_target.total_cmp(&candidates[j].flux_target))
        .map(|i| candidates.swap_remove(i));
    let event = |star: &Star, relative_change: f64| {
        let flux_change = relative_change * star.flux_target;
        let signal_to_noise = flux_change.abs() * sensitivity(star.x, star.y);
        let (x, y, kind) = (star.x, star.y, EventKind::Variable);
        Event { kind, x, y, flux_change, signal_to_noise, masked: false }
    };
    let sign = |rng: &mut Xoshiro256PlusPlus| if rng.random::<bool>() { 1.0 } else { -1.0 };
    let mut events = Vec::new();
    // Its sign is drawn in any case, so that the others find the generator in the same state.
    let change = sign(&mut rng) * options.variable_amplitude.1;
    events.extend(brightest.filter(|_| options.brightest_varies).map(|star| event(star, change)));
    for _ in 0..options.variables.min(candidates.len()) {
        let star = candidates.swap_remove(below(&mut rng, candidates.len()));
        let amplitude = between(&mut rng, options.variable_amplitude);
        events.push(event(star, sign(&mut rng) * amplitude));
    }
    events
}

/// Transients keep two widths away from stars that are brighter, and four from each other.
fn draw_transients(
    options: &SimulationOptions,
    stars: &[Star],
    sensitivity: impl Fn(f64, f64) -> f64,
) -> Vec<Event> {
    const TRIES: usize = 200;
    let (columns, rows) = inner(options);
    let mut events: Vec<Event> = Vec::new();
    for index in 0..options.transients {
        let mut rng = generator(options.seed, Purpose::Transients, index);
        let ratio = between_logarithmic(&mut rng, options.transient_signal_to_noise);
        let mut best: Option<(f64, f64, f64, f64)> = None;
        for _ in 0..TRIES {
            let (x, y) = (between(&mut rng, columns), between(&mut rng, rows));
            let flux = ratio / sensitivity(x, y);
            // Distance from what forbids a place, in units of the distance that must be kept.
            let fwhm = options.target_profile(x, y).fwhm;
            let brighter = stars.iter().filter(|star| star.flux_target > flux);
            let room = brighter
                .map(|star| (star.x - x).hypot(star.y - y) / (2.0 * fwhm))
                .chain(events.iter().map(|other| (other.x - x).hypot(other.y - y) / (4.0 * fwhm)))
                .fold(f64::INFINITY, f64::min);
            if best.is_none_or(|(best_room, ..)| room > best_room) {
                best = Some((room, x, y, flux));
            }
            if room >= 1.0 {
                break;
            }
        }
        // In a field without any such place, the loneliest one that was tried.
        events.extend(best.map(|(_, x, y, flux_change)| Event {
            kind: EventKind::Transient,
            x,
            y,
            flux_change,
            signal_to_noise: ratio,
            masked: false,
        }));
    }
    events
}

/// Straight tracks of 1 to 8 px of random place and direction, with a random charge in each pixel.
fn draw_cosmic_rays(options: &SimulationOptions) -> Vec<CosmicRayPixel> {
    let mut hits: Vec<CosmicRayPixel> = Vec::new();
    for index in 0..options.cosmic_rays {
        let mut rng = generator(options.seed, Purpose::CosmicRays, index);
        let start_x = below(&mut rng, options.width) as f64;
        let start_y = below(&mut rng, options.height) as f64;
        let angle = between(&mut rng, (0.0, 2.0 * PI));
        let length = 1 + below(&mut rng, LONGEST_TRACK as usize);
        // One pixel per step along the longer axis.
        let (sine, cosine) = angle.sin_cos();
        let longer = sine.abs().max(cosine.abs());
        for step in 0..length {
            let value = between_logarithmic(&mut rng, options.cosmic_ray_charge) / options.gain;
            let x = (start_x + step as f64 * cosine / longer).round();
            let y = (start_y + step as f64 * sine / longer).round();
            let inside = |x: f64, pixels: usize| (0.0..pixels as f64).contains(&x);
            if inside(x, options.width) && inside(y, options.height) {
                hits.push(CosmicRayPixel { y: y as usize, x: x as usize, value });
            }
        }
    }
    hits
}

fn draw_bad_columns(options: &SimulationOptions) -> Vec<usize> {
    let mut rng = generator(options.seed, Purpose::BadColumns, 0);
    let mut columns: Vec<usize> = (0..options.width).collect();
    let mut bad: Vec<usize> = (0..options.bad_columns)
        .map(|_| columns.swap_remove(below(&mut rng, columns.len())))
        .collect();
    bad.sort_unstable();
    bad
}

/// Photons and read noise on an image of expected values.
///
/// The noise of a pixel depends on its own expected value, its place and the seed alone.
fn observe(expected: &Image<f64>, noise: CcdNoise, seed: u64, purpose: Purpose) -> Image<f64> {
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

fn saturation_mask(image: &Image<f64>, level: Option<f64>) -> Mask {
    let mut mask = Mask::good(image.height(), image.width());
    if let Some(level) = level {
        mask.merge(image.pixels().iter().map(|&value| {
            if value >= level { MaskPlanes::SATURATED } else { MaskPlanes::empty() }
        }));
    }
    mask
}

/// Whether a masked pixel lies within `radius` of x and y.
fn touches_mask(mask: &Mask, x: f64, y: f64, radius: f64) -> bool {
    pixels_within(y, radius, mask.height()).any(|row| {
        let reach = (radius * radius - (row as f64 - y).powi(2)).max(0.0).sqrt();
        pixels_within(x, reach, mask.width()).any(|column| !mask.at(row, column).is_empty())
    })
}

/// The pixels of an axis of `pixels` pixels that are within `reach` of `centre`.
fn pixels_within(centre: f64, reach: f64, pixels: usize) -> std::ops::Range<usize> {
    let first = (centre - reach).ceil().max(0.0) as usize;
    let end = ((centre + reach).floor() + 1.0).clamp(0.0, pixels as f64) as usize;
    first..end.max(first)
}

/// A normalised profile ψ of elliptical contours.
#[derive(Clone, Copy, Debug)]
struct Profile {
    psf: Psf,
    /// Geometric mean of the widths of both axes, in pixels.
    fwhm: f64,
    /// s = xx·dx² + 2·xy·dx·dy + yy·dy² is (r/σ)² of a Gaussian and (r/α)² of a Moffat profile.
    xx: f64,
    xy: f64,
    yy: f64,
    /// σ or α along the long axis, in pixels.
    long: f64,
    /// ψ at the centre, per square pixel.
    peak: f64,
}

impl Profile {
    fn new(psf: Psf, fwhm: f64, ellipticity: f64, angle: f64) -> Self {
        // σ or α of the round profile, and ∫ψ/ψ(0) over the plane in units of its square.
        let (size, area) = match psf {
            Psf::Gaussian => (fwhm / (8.0 * LN_2).sqrt(), 2.0 * PI),
            Psf::Moffat { beta } => {
                (0.5 * fwhm / (2.0_f64.powf(1.0 / beta) - 1.0).sqrt(), PI / (beta - 1.0))
            }
        };
        let stretch = (1.0 - ellipticity).sqrt();
        let (long, short) = (size / stretch, size * stretch);
        let (sine, cosine) = angle.sin_cos();
        let (l, s) = (long.powi(-2), short.powi(-2));
        Self {
            psf,
            fwhm,
            xx: l * cosine * cosine + s * sine * sine,
            xy: (l - s) * sine * cosine,
            yy: l * sine * sine + s * cosine * cosine,
            long,
            peak: 1.0 / (area * size * size),
        }
    }

    /// ψ at an offset from the centre, per square pixel.
    fn at(&self, dx: f64, dy: f64) -> f64 {
        let s = self.xx * dx * dx + 2.0 * self.xy * dx * dy + self.yy * dy * dy;
        self.peak
            * match self.psf {
                Psf::Gaussian => (-0.5 * s).exp(),
                Psf::Moffat { beta } => {
                    let base = 1.0 + s;
                    let whole = base.powi(-(beta as i32));
                    // The usual exponents do without the slow function.
                    match beta.fract() {
                        0.0 => whole,
                        0.5 => whole / base.sqrt(),
                        rest => whole * base.powf(-rest),
                    }
                }
            }
    }

    /// ∫ψ over the pixel whose centre is at an offset from the star.
    fn over_pixel(&self, dx: f64, dy: f64) -> f64 {
        // The error of n nodes falls as (pixel/width)^2n and, in the wings of a power law, as (pixel/distance)^2n.
        let distance = dx.hypot(dy);
        if distance > 20.0_f64.max(4.0 * self.fwhm) {
            return self.at(dx, dy);
        }
        let nodes = if distance > 9.0_f64.max(3.0 * self.fwhm) {
            GAUSS_LEGENDRE_2
        } else if self.fwhm >= 3.0 {
            GAUSS_LEGENDRE_3
        } else if self.fwhm >= 1.75 {
            GAUSS_LEGENDRE_5
        } else {
            GAUSS_LEGENDRE_8
        };
        let mut integral = 0.0;
        for &(v, weight_v) in nodes {
            for &(u, weight_u) in nodes {
                integral += weight_u * weight_v * self.at(dx + u, dy + v);
            }
        }
        integral
    }

    /// The radius in pixels beyond which `flux` times this profile is below `faintest` ADU and may be left out.
    fn radius(&self, flux: f64, faintest: f64) -> f64 {
        let contrast = (flux.abs() * self.peak / faintest).max(1.0);
        // The larger s of two: where the profile is 1/contrast, and beyond which CUT_OF_FLUX is left.
        let s = match self.psf {
            Psf::Gaussian => 2.0 * contrast.max(1.0 / CUT_OF_FLUX).ln(),
            Psf::Moffat { beta } => {
                contrast.powf(1.0 / beta).max(CUT_OF_FLUX.powf(1.0 / (1.0 - beta))) - 1.0
            }
        };
        // The pixels that this circle cuts belong to the star: their centres lie up to half a diagonal outside.
        self.long * s.sqrt() + FRAC_1_SQRT_2
    }
}

/// (node, weight) of Gauss–Legendre quadrature over [−½, ½].
type Quadrature = &'static [(f64, f64)];

const GAUSS_LEGENDRE_2: Quadrature =
    &[(-0.288_675_134_594_812_9, 0.5), (0.288_675_134_594_812_9, 0.5)];

const GAUSS_LEGENDRE_3: Quadrature = &[
    (-0.387_298_334_620_741_7, 5.0 / 18.0),
    (0.0, 8.0 / 18.0),
    (0.387_298_334_620_741_7, 5.0 / 18.0),
];

const GAUSS_LEGENDRE_5: Quadrature = &[
    (-0.453_089_922_969_332, 0.118_463_442_528_094_54),
    (-0.269_234_655_052_841_55, 0.239_314_335_249_683_23),
    (0.0, 0.284_444_444_444_444_44),
    (0.269_234_655_052_841_55, 0.239_314_335_249_683_23),
    (0.453_089_922_969_332, 0.118_463_442_528_094_54),
];

const GAUSS_LEGENDRE_8: Quadrature = &[
    (-0.480_144_928_248_768_1, 0.050_614_268_145_188_13),
    (-0.398_333_238_706_813_4, 0.111_190_517_226_687_24),
    (-0.262_766_204_958_164_5, 0.156_853_322_938_943_64),
    (-0.091_717_321_247_824_9, 0.181_341_891_689_181),
    (0.091_717_321_247_824_9, 0.181_341_891_689_181),
    (0.262_766_204_958_164_5, 0.156_853_322_938_943_64),
    (0.398_333_238_706_813_4, 0.111_190_517_226_687_24),
    (0.480_144_928_248_768_1, 0.050_614_268_145_188_13),
];

/// A star as it is drawn into an image.
#[derive(Clone, Copy, Debug)]
struct Source {
    x: f64,
    y: f64,
    /// In ADU; negative for what is missing.
    flux: f64,
    profile: Profile,
    radius: f64,
}

impl Source {
    fn new(x: f64, y: f64, flux: f64, profile: Profile, faintest: f64) -> Self {
        Self { x, y, flux, profile, radius: profile.radius(flux, faintest) }
    }

    /// Calls `add` with the column and the value in ADU of each of the star's pixels in row `y` of a wide image.
    fn for_row(&self, y: usize, width: usize, mut add: impl FnMut(usize, f64)) {
        let dy = y as f64 - self.y;
        let reach = (self.radius * self.radius - dy * dy).max(0.0).sqrt();
        for x in pixels_within(self.x, reach, width) {
            add(x, self.flux * self.profile.over_pixel(x as f64 - self.x, dy));
        }
    }

    /// √(Σ_p ψ²/σ²): one over the σ of this star's flux, fitted to an image of known variance.
    fn inverse_sigma(&self, variance: &Image<f64>) -> f64 {
        let mut sum = 0.0;
        for y in pixels_within(self.y, self.radius, variance.height()) {
            let row = variance.view().row(y);
            self.for_row(y, row.len(), |x, value| sum += value * value / row[x]);
        }
        sum.sqrt() / self.flux.abs()
    }
}

/// Adds the stars to the image; each pixel sums them in their order, whatever the number of threads.
fn add_sources(image: &mut Image<f64>, sources: &[Source]) {
    const BAND: usize = 16;
    let (height, width) = (image.height(), image.width());
    image.pixels_mut().par_chunks_mut(BAND * width).enumerate().for_each(|(band, pixels)| {
        let rows = band * BAND..height.min((band + 1) * BAND);
        for source in sources {
            let touched = pixels_within(source.y, source.radius, height);
            for y in touched.start.max(rows.start)..touched.end.min(rows.end) {
                let row = &mut pixels[(y - rows.start) * width..][..width];
                source.for_row(y, width, |x, value| row[x] += value);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field in which nothing happens and nothing is cut off.
    const QUIET: SimulationOptions = SimulationOptions {
        height: 160,
        width: 200,
        seed: 3,
        density: 30.0,
        flux_slope: 1.5,
        flux_min: 2e3,
        flux_max: 1e6,
        psf: Psf::Moffat { beta: 3.0 },
        reference_fwhm: 3.0,
        target_fwhm: 4.0,
        ellipticity: 0.0,
        position_angle: 0.0,
        psf_gradient_x: 0.0,
        psf_gradient_y: 0.0,
        shift_x: 0.3,
        shift_y: -0.2,
        scale: 0.8,
        reference_sky: 100.0,
        target_sky: 200.0,
        sky_gradient_x: 0.0,
        sky_gradient_y: 0.0,
        sky_curvature: 0.0,
        gain: 1.5,
        read_noise: 6.0,
        reference_depth: 20.0,
        variables: 0,
        variable_amplitude: (0.3, 1.0),
        brightest_varies: false,
        transients: 0,
        transient_signal_to_noise: (10.0, 50.0),
        event_margin: 20.0,
        cosmic_rays: 0,
        cosmic_ray_charge: (300.0, 5000.0),
        saturation: None,
        bad_columns: 0,
    };

    const PROFILES: [Psf; 4] = [
        Psf::Gaussian,
        Psf::Moffat { beta: 2.0 },
        Psf::Moffat { beta: 2.5 },
        Psf::Moffat { beta: 4.7 },
    ];

    #[test]
    fn profiles_are_integrated_over_pixels() {
        // The midpoint rule on n² cells of side h = 1/n errs by h²/24 ∇²ψ; |∇²ψ| < 8 β ψ(0)/fwhm² here, so by less
        // than 2e-5 of the peak for n = 300.
        const N: usize = 300;
        for psf in PROFILES {
            for fwhm in [1.0, 1.74, 1.76, 2.9, 3.1, 6.0] {
                let profile = Profile::new(psf, fwhm, 0.2, 0.6);
                let central = profile.over_pixel(0.0, 0.0);
                for (dx, dy) in
                    [(0.0, 0.0), (0.3, -0.45), (1.2, 0.7), (-2.5, 3.1), (9.5, 1.0), (19.0, 15.0)]
                {
                    let cell = |i: usize| (i as f64 + 0.5) / N as f64 - 0.5;
                    let sum: f64 =
                        (0..N * N).map(|i| profile.at(dx + cell(i % N), dy + cell(i / N))).sum();
                    let error = profile.over_pixel(dx, dy) - sum / (N * N) as f64;
                    assert!(error.abs() < 1e-4 * central, "{psf:?} {fwhm} at {dx} {dy}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_star_has_its_flux_its_place_and_its_width() {
        for psf in PROFILES {
            for fwhm in [1.0, 2.0, 5.0] {
                let profile = Profile::new(psf, fwhm, 0.1, 1.0);
                // Half of the peak at half of the width, in the mean of the axes.
                let round = Profile::new(psf, fwhm, 0.0, 0.0);
                assert!((round.at(0.5 * fwhm, 0.0) / round.peak - 0.5).abs() < 1e-14);
                let star = Source::new(300.37, 299.81, 1e4, profile, 0.1);
                let mut image = Image::filled(600, 601, 0.0);
                add_sources(&mut image, &[star]);
                let (mut flux, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
                for y in 0..600 {
                    for (x, value) in image.view().row(y).iter().enumerate() {
                        flux += value;
                        x_sum += value * (x as f64 - star.x);
                        y_sum += value * (y as f64 - star.y);
                    }
                }
                // What lies beyond the cut, 5e-4 (that of β = 2 is the slowest to fall), and the integration error.
                assert!((flux / 1e4 - 1.0).abs() < 1e-3, "{psf:?} {fwhm}: {flux}");
                // Pixels beyond the circle of radius R that holds all but 5e-4 of the flux are kept unevenly, within
                // 0.7 px of it. A power law has 5e-4 · 2(β − 1) · 0.7/R of its flux there: times R, 2.6e-3 px for β =
                // 4.7 if all were on one side, and these rings of more than 20 pixels are even to a third at least.
                // Sampling at whole pixels moves the centroid of a Gaussian by up to e^{−2π²σ²}/π px: 1e-2 at a width
                // of 1 px (more for a peaked profile), 1e-7 at 2 px.
                let aliasing = if fwhm < 2.0 { 0.02 } else { 0.0 };
                let error = x_sum.abs().max(y_sum.abs()) / flux;
                assert!(error < 1e-3 + aliasing, "{psf:?} {fwhm}: {error}");
            }
        }
    }

    #[test]
    fn the_target_is_the_shifted_and_scaled_reference() {
        let options = SimulationOptions {
            reference_fwhm: 4.0,
            shift_x: 3.0,
            shift_y: -2.0,
            scale: 0.5,
            reference_sky: 0.0,
            target_sky: 0.0,
            reference_depth: 0.25,
            ..QUIET
        };
        let pair = simulate(&options).unwrap();
        let mut brightest = 0.0_f64;
        for y in 2..options.height {
            for x in 0..options.width - 3 {
                let reference = pair.reference_noiseless.view().at(y, x);
                let target = pair.target_noiseless.view().at(y - 2, x + 3);
                brightest = brightest.max(target);
                // At a quarter of the depth the reference's noise is twice as large, as are its fluxes: stars are cut
                // at one radius. Places differ by a rounding of 200 px, 3e-14 px; the slope is below one peak per
                // pixel.
                assert!((target - 0.5 * reference).abs() < 1e-12 * brightest.max(1e5));
            }
        }
        assert!(brightest > 100.0);
        for star in &pair.truth.stars {
            assert!((star.flux_target / star.flux_reference - 0.5).abs() < 1e-15);
            assert!((options.flux_min..=options.flux_max).contains(&star.flux_target));
        }
    }

    #[test]
    fn fluxes_follow_the_power_law() {
        let options =
            SimulationOptions { height: 32, width: 32, density: 6000.0, ..Default::default() };
        let stars = draw_stars(&options);
        let fraction = |flux: f64| {
            stars.iter().filter(|star| star.flux_target > flux).count() as f64 / stars.len() as f64
        };
        for factor in [2.0_f64, 5.0, 20.0] {
            let [lowest, flux, highest] =
                [options.flux_min, factor * options.flux_min, options.flux_max]
                    .map(|f| f.powf(-1.5));
            let expected = (flux - highest) / (lowest - highest);
            let sigma = (expected / stars.len() as f64).sqrt();
            let error = fraction(factor * options.flux_min) - expected;
            assert!(error.abs() < 4.0 * sigma, "{factor}: {error} ± {sigma}");
        }
    }

    /// Mean of z and of z², z = (image − truth)/σ.
    fn normalised_moments(
        image: &Image<f64>,
        truth: &Image<f64>,
        variance: &Image<f64>,
    ) -> (f64, f64) {
        let n = image.pixels().len() as f64;
        let z = |i: usize| (image.pixels()[i] - truth.pixels()[i]) / variance.pixels()[i].sqrt();
        let sum = |power| (0..image.pixels().len()).map(|i| z(i).powi(power)).sum::<f64>() / n;
        (sum(1), sum(2))
    }

    #[test]
    fn the_noise_has_the_variance_of_the_model() {
        for (sky, read_noise) in [(0.5, 0.3), (1.0, 6.0), (200.0, 6.0), (20_000.0, 6.0)] {
            let options = SimulationOptions {
                height: 400,
                width: 400,
                reference_sky: sky,
                target_sky: sky,
                read_noise,
                ..QUIET
            };
            let pair = simulate(&options).unwrap();
            let n = 400.0 * 400.0_f64;
            for (image, truth, variance) in [
                (&pair.reference, &pair.reference_noiseless, &pair.reference_variance),
                (&pair.target, &pair.target_noiseless, &pair.target_variance),
            ] {
                let (mean, square) = normalised_moments(image, truth, variance);
                // σ of the mean is 1/√n; that of the mean square √((2 + 1/λ)/n) with λ ≥ 0.75 electrons.
                assert!(mean.abs() < 5.0 / n.sqrt(), "sky {sky}: {mean}");
                let sigma = ((2.0 + 1.0 / 0.75) / n).sqrt();
                assert!((square - 1.0).abs() < 5.0 * sigma, "sky {sky}: {square}");
            }
            let noise = options.reference_noise();
            let single = options.target_noise().variance(sky, 1.0);
            assert!(
                (noise.variance(sky, 1.0) * options.reference_depth / single - 1.0).abs() < 1e-14
            );
        }
    }

    #[test]
    fn the_sky_rises_as_asked() {
        let options = SimulationOptions {
            density: 0.0,
            sky_gradient_x: 10.0,
            sky_gradient_y: -4.0,
            sky_curvature: 6.0,
            ..QUIET
        };
        let target = simulate(&options).unwrap().target_noiseless;
        let (bottom, right) = (options.height - 1, options.width - 1);
        // Corners are at u, v = ±1: 200 ± 5 ∓ 2 + 6, sums of four numbers below 256.
        for (y, x, expected) in
            [(0, 0, 203.0), (0, right, 213.0), (bottom, 0, 199.0), (bottom, right, 209.0)]
        {
            assert!((target.view().at(y, x) - expected).abs() < 8.0 * 256.0 * f64::EPSILON);
        }
    }

    #[test]
    fn seeds_reproduce_every_bit() {
        let options = SimulationOptions { height: 120, width: 90, ..Default::default() };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| simulate(&options)).unwrap()
        };
        let pair = on(1);
        assert_eq!(pair, on(3));
        let other = simulate(&SimulationOptions { seed: 2, ..options }).unwrap();
        assert_ne!(pair.truth.stars, other.truth.stars);
        assert_ne!(pair.reference, other.reference);
    }

    #[test]
    fn an_option_switched_on_leaves_the_rest_alone() {
        let quiet = simulate(&QUIET).unwrap();
        let changed = |options: &SimulationOptions| {
            let pair = simulate(options).unwrap();
            assert_eq!(pair.truth.stars, quiet.truth.stars);
            assert_eq!(pair.reference, quiet.reference);
            assert_eq!(pair.target_noiseless, quiet.target_noiseless);
            let pixels: Vec<(usize, usize)> = (0..pair.target.pixels().len())
                .filter(|&i| pair.target.pixels()[i] != quiet.target.pixels()[i])
                .map(|i| (i / options.width, i % options.width))
                .collect();
            (pixels, pair.truth)
        };

        let (pixels, truth) = changed(&SimulationOptions { cosmic_rays: 9, ..QUIET });
        assert!(!pixels.is_empty());
        assert!(pixels.iter().all(|&p| truth.cosmic_rays.iter().any(|hit| (hit.y, hit.x) == p)));
        assert!((9..=72).contains(&truth.cosmic_rays.len()));

        let (pixels, truth) = changed(&SimulationOptions { bad_columns: 2, ..QUIET });
        assert_eq!(pixels.len(), 2 * QUIET.height);
        assert!(pixels.iter().all(|(_, x)| truth.bad_columns.contains(x)));

        // Transients of the lowest flux are cut at 6.2 α from their centre, 24 px here, the brightest somewhat
        // further.
        let few = SimulationOptions { transients: 2, ..QUIET };
        let (pixels, two) = changed(&few);
        let near = |event: &Event, (y, x): (usize, usize)| {
            (x as f64 - event.x).hypot(y as f64 - event.y) < 40.0
        };
        assert!(pixels.iter().all(|&p| two.events.iter().any(|event| near(event, p))));

        // One kind of event does not disturb another, nor does one more of the same kind.
        let all =
            SimulationOptions { variables: 4, transients: 3, brightest_varies: true, ..QUIET };
        let events = changed(&all).1.events;
        assert_eq!(events.len(), 8);
        assert_eq!(events[5..7], two.events);
        let variables = changed(&SimulationOptions { variables: 3, ..QUIET }).1.events;
        assert_eq!(events[1..4], variables);
        let brightest = changed(&SimulationOptions { brightest_varies: true, ..QUIET }).1.events;
        assert_eq!(events[0], brightest[0]);
        let largest = quiet
            .truth
            .stars
            .iter()
            .filter(|s| (20.0..=179.0).contains(&s.x) && (20.0..=139.0).contains(&s.y))
            .map(|s| s.flux_target)
            .fold(0.0, f64::max);
        assert_eq!(events[0].flux_change.abs(), largest);
    }

    #[test]
    fn transients_stand_where_they_can_be_found() {
        let options = SimulationOptions { transients: 12, density: 10.0, ..Default::default() };
        let pair = simulate(&options).unwrap();
        let transients: Vec<&Event> =
            pair.truth.events.iter().filter(|e| e.kind == EventKind::Transient).collect();
        assert_eq!(transients.len(), 12);
        for event in transients {
            let brighter = |star: &&Star| star.flux_target > event.flux_change;
            for star in pair.truth.stars.iter().filter(brighter) {
                assert!((star.x - event.x).hypot(star.y - event.y) >= 2.0 * options.target_fwhm);
            }
            assert!((30.0..=481.0).contains(&event.x) && (30.0..=481.0).contains(&event.y));
            assert!((8.0..=40.0).contains(&event.signal_to_noise));
        }
    }

    #[test]
    fn signal_to_noise_is_that_of_a_matched_filter() {
        let fwhm = 5.0;
        let source =
            Source::new(40.2, 39.7, 1.0, Profile::new(Psf::Gaussian, fwhm, 0.0, 0.0), 1e-9);
        let sensitivity = source.inverse_sigma(&Image::filled(80, 80, 9.0));
        // ∫ψ² = 1/(4πs²), s² being widened by 1/12 where ψ is integrated over pixels; the next term of that expansion
        // is of the order (1/12s²)² < 1e-3, and σ = 3.
        let s2 = fwhm * fwhm / (8.0 * LN_2) + 1.0 / 12.0;
        let expected = (1.0 / (4.0 * PI * s2)).sqrt() / 3.0;
        assert!((sensitivity / expected - 1.0).abs() < 1e-3);
    }

    #[test]
    fn saturated_pixels_are_cut_and_masked() {
        let level = 500.0;
        let options = SimulationOptions {
            saturation: Some(level),
            cosmic_rays: 20,
            transients: 3,
            bad_columns: 1,
            ..QUIET
        };
        let pair = simulate(&options).unwrap();
        assert!(pair.reference_mask.count(MaskPlanes::SATURATED) > 0);
        for (image, mask) in
            [(&pair.reference, &pair.reference_mask), (&pair.target, &pair.target_mask)]
        {
            for (value, planes) in image.pixels().iter().zip(mask.planes()) {
                assert!(*value <= level);
                if planes.contains(MaskPlanes::SATURATED) && !planes.contains(MaskPlanes::BAD) {
                    assert_eq!(*value, level);
                }
            }
        }
        assert_eq!(pair.target_mask.count(MaskPlanes::BAD), options.height);
        assert_eq!(pair.reference_mask.count(MaskPlanes::BAD), 0);
    }

    #[test]
    fn impossible_options_are_named() {
        let default = SimulationOptions::default();
        assert!(default.validate().is_ok());
        let cases: [(&str, SimulationOptions); 14] = [
            ("height", SimulationOptions { height: 8, ..default }),
            ("density", SimulationOptions { density: -1.0, ..default }),
            ("flux_slope", SimulationOptions { flux_slope: 0.0, ..default }),
            ("flux_max", SimulationOptions { flux_max: 1.0, ..default }),
            ("psf beta", SimulationOptions { psf: Psf::Moffat { beta: 1.0 }, ..default }),
            ("target_fwhm", SimulationOptions { target_fwhm: 0.5, ..default }),
            ("ellipticity", SimulationOptions { ellipticity: 0.9, ..default }),
            ("shift_x", SimulationOptions { shift_x: f64::NAN, ..default }),
            ("scale", SimulationOptions { scale: 0.0, ..default }),
            ("gain", SimulationOptions { gain: f64::INFINITY, ..default }),
            ("variable_amplitude", SimulationOptions { variable_amplitude: (0.5, 1.5), ..default }),
            ("cosmic_ray_charge", SimulationOptions { cosmic_ray_charge: (9.0, 3.0), ..default }),
            ("event_margin", SimulationOptions { event_margin: 300.0, ..default }),
            ("bad_columns", SimulationOptions { bad_columns: 300, ..default }),
        ];
        for (name, options) in cases {
            let SimulationError::Parameter { name: named, .. } = simulate(&options).unwrap_err();
            assert_eq!(named, name);
        }
        let error = simulate(&SimulationOptions { target_fwhm: 0.5, ..default }).unwrap_err();
        assert_eq!(error.to_string(), "target_fwhm is 0.5; it must be from 1 to 30 pixels");
    }
}
