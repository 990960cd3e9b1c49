//! What is simulated.

use serde::{Deserialize, Serialize};

use super::SimulationError;
use super::field::MARGIN;
use super::profile::{Profile, Psf};
use crate::CcdNoise;

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
    /// Range of the [signal-to-noise ratio](super::Event::signal_to_noise) of transients; drawn evenly in its logarithm.
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
    pub(super) fn scaled(&self, x: f64, y: f64) -> (f64, f64) {
        let scaled = |x: f64, pixels: usize| 2.0 * x / (pixels - 1) as f64 - 1.0;
        (scaled(x, self.width), scaled(y, self.height))
    }

    pub(super) fn target_sky_at(&self, x: f64, y: f64) -> f64 {
        let (u, v) = self.scaled(x, y);
        self.target_sky
            + 0.5 * (self.sky_gradient_x * u + self.sky_gradient_y * v)
            + 0.5 * self.sky_curvature * (u * u + v * v)
    }

    pub(super) fn reference_profile(&self) -> Profile {
        Profile::new(self.psf, self.reference_fwhm, 0.0, 0.0)
    }

    /// The profile of a star at x and y of the target.
    pub(super) fn target_profile(&self, x: f64, y: f64) -> Profile {
        let (u, v) = self.scaled(x, y);
        // Stars outside the image have the width of those at its edge.
        let (u, v) = (u.clamp(-1.0, 1.0), v.clamp(-1.0, 1.0));
        let fwhm = self.target_fwhm * (1.0 + self.psf_gradient_x * u + self.psf_gradient_y * v);
        Profile::new(self.psf, fwhm, self.ellipticity, self.position_angle.to_radians())
    }
}
