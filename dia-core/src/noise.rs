//! The variance of a pixel: what the detector adds, what the photons add, and what the reference brings along.

use crate::{ImageView, ModelError, Pixel};

/// The noise of a CCD image: σ² = (σ₀/F)² + (M + s)/(G F) in ADU², M the expected value of the pixel in ADU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CcdNoise {
    /// Gain G in e⁻/ADU.
    pub gain: f64,
    /// Read noise in e⁻ (rms); σ₀ is this over G, in ADU.
    pub read_noise: f64,
    /// Sky level s in ADU that was subtracted from the image; its photons still make noise.
    pub subtracted_sky: f64,
}

impl CcdNoise {
    /// Checks that the numbers can be those of a detector.
    ///
    /// # Errors
    /// [`ModelError::Noise`] names the first that cannot.
    pub fn validate(self) -> Result<(), ModelError> {
        let check = |name, value: f64, valid: bool, range| {
            if valid { Ok(()) } else { Err(ModelError::Noise { name, value, range }) }
        };
        check("gain", self.gain, self.gain.is_finite() && self.gain > 0.0, "positive, in e⁻/ADU")?;
        let read_noise = self.read_noise;
        check(
            "read noise",
            read_noise,
            read_noise.is_finite() && read_noise >= 0.0,
            "zero or positive, in e⁻",
        )?;
        let sky = self.subtracted_sky;
        check("subtracted sky", sky, sky.is_finite(), "a finite number of ADU")?;
        check(
            "noise of an empty pixel",
            self.fixed(1.0),
            self.fixed(1.0) >= 0.0,
            "zero or positive, in ADU²: more sky was added than the read noise allows",
        )
    }

    /// The part of σ² that does not depend on the model, in ADU², at a pixel of flat field F.
    pub fn fixed(self, flat: f64) -> f64 {
        (self.read_noise / self.gain / flat).powi(2) + self.subtracted_sky / (self.gain * flat)
    }

    /// The increase of σ² per ADU of the model, 1/(G F).
    pub fn photon(self, flat: f64) -> f64 {
        1.0 / (self.gain * flat)
    }

    /// σ² in ADU² at a pixel of expected value `model` and flat field F; negative models count as zero.
    pub fn variance(self, model: f64, flat: f64) -> f64 {
        self.fixed(flat) + self.photon(flat) * model.max(0.0)
    }

    /// σ² in ADU² of a pixel that has the value `value`, at a flat field of 1: one electron at least, lest a detector without read noise have pixels without noise.
    pub fn of_value(self, value: f64) -> f64 {
        self.variance(value, 1.0).max(self.photon(1.0).powi(2))
    }
}

/// Where the variance of an image comes from.
#[derive(Clone, Copy, Debug)]
pub enum NoiseModel<'a, T = f32> {
    /// From the detector's numbers, with an optional flat field F of the image's shape (mean 1; sensitivity, larger where
    /// more photons were detected per ADU).
    Ccd(CcdNoise, Option<ImageView<'a, T>>),
    /// From a plane of variances in ADU²; pixels without a positive finite variance do not count. In a reference, zero is valid: a
    /// pixel without noise.
    Variance(ImageView<'a, T>),
}

/// The noise of the target in the space of data vectors:
/// σ²(p) = fixed(p) + photon(p) · max(M(p), 0) + reference(p), in ADU².
#[derive(Clone, Debug)]
pub struct Noise<D> {
    /// The part that does not depend on the model; +∞ at masked pixels, for they carry no information.
    pub fixed: D,
    /// The increase per ADU of the model, 1/(G F).
    pub photon: Photon<D>,
    /// K² ⊗ σ_R², the reference's variance in the model, where it is known.
    pub reference: Option<D>,
}

/// 1/(G F): one number, or one per pixel where there is a flat field.
#[derive(Clone, Debug)]
pub enum Photon<D> {
    /// The same for all pixels; 0 with a variance plane.
    Uniform(f64),
    /// One value per pixel.
    PerPixel(D),
}

impl<D> Photon<D> {
    /// The same with what `map` makes of the values per pixel, if there are any.
    ///
    /// # Errors
    /// That of `map`.
    pub fn try_map<E, Error>(
        self,
        map: impl FnOnce(D) -> Result<E, Error>,
    ) -> Result<Photon<E>, Error> {
        Ok(match self {
            Self::Uniform(photon) => Photon::Uniform(photon),
            Self::PerPixel(photons) => Photon::PerPixel(map(photons)?),
        })
    }
}

impl<T: Pixel> Noise<Vec<T>> {
    /// σ² in ADU² of element `i` where the model is `model`.
    #[inline(always)]
    pub fn variance(&self, i: usize, model: T) -> T {
        let photon = match &self.photon {
            Photon::Uniform(photon) => T::narrow(*photon),
            Photon::PerPixel(photon) => photon[i],
        };
        let reference = self.reference.as_ref().map_or(T::zero(), |reference| reference[i]);
        self.fixed[i] + photon * model.max(T::zero()) + reference
    }
}

#[cfg(test)]
mod tests {
    use super::CcdNoise;

    const CCD: CcdNoise = CcdNoise { gain: 2.0, read_noise: 6.0, subtracted_sky: 0.0 };

    #[test]
    fn variance_is_read_noise_plus_photons() {
        // 6 e⁻ are 3 ADU; 800 ADU are 1600 e⁻ ± 40 e⁻ = 20 ADU.
        assert_eq!(CCD.variance(800.0, 1.0), 9.0 + 400.0);
        assert_eq!(CCD.variance(-50.0, 1.0), 9.0);
        // Half the sensitivity: the read noise doubles in ADU, and each ADU stands for half the photons.
        assert_eq!(CCD.variance(800.0, 0.5), 36.0 + 800.0);
        let subtracted = CcdNoise { subtracted_sky: 100.0, ..CCD };
        assert_eq!(subtracted.variance(700.0, 1.0), CCD.variance(800.0, 1.0));
    }

    #[test]
    fn impossible_detectors_are_named() {
        let message = |noise: CcdNoise| noise.validate().unwrap_err().to_string();
        assert!(CCD.validate().is_ok());
        let negative = message(CcdNoise { gain: -1.0, ..CCD });
        assert_eq!(negative, "gain is -1; it must be positive, in e⁻/ADU");
        assert!(message(CcdNoise { gain: f64::NAN, ..CCD }).contains("NaN"));
        assert!(message(CcdNoise { read_noise: -0.1, ..CCD }).contains("read noise"));
        // 6 e⁻ are 9 ADU², which 18 ADU of sky too much use up.
        assert!(CcdNoise { subtracted_sky: -18.0, ..CCD }.validate().is_ok());
        assert!(message(CcdNoise { subtracted_sky: -18.1, ..CCD }).contains("empty pixel"));
    }
}
