//! An image with what is known of its pixels, and what follows from that alone.

use dia_core::{
    CcdNoise, ImageError, ImageView, Mask, MaskPlanes, ModelError, NoiseModel, Pixel, robust,
};

use crate::SubtractError;
use crate::pipeline::units::power_of_two;

/// An image with what is known of its pixels.
#[derive(Clone, Copy, Debug)]
pub struct Exposure<'a, T = f32> {
    /// Pixels in ADU. NaN and infinite pixels are masked.
    pub image: ImageView<'a, T>,
    /// Pixels to leave out; every plane counts.
    pub mask: Option<&'a Mask>,
    /// The variance of the pixels.
    pub noise: NoiseModel<'a, T>,
    /// Pixels at or above this value, in ADU, are saturated.
    pub saturation: Option<f64>,
}

impl<T: Pixel> Exposure<'_, T> {
    /// The given mask, and beside it the pixels that are not finite or saturated.
    pub fn unusable(&self) -> Mask {
        let (height, width) = self.image.shape();
        let mut mask = self.mask.cloned().unwrap_or_else(|| Mask::good(height, width));
        let saturation = self.saturation.filter(|level| !level.is_nan()).unwrap_or(f64::INFINITY);
        let pixels = self.image.pixels();
        mask.merge(|i| {
            let value = pixels[i].widen();
            if value > f64::NEG_INFINITY && value < saturation {
                MaskPlanes::empty()
            } else if value.is_finite() {
                MaskPlanes::SATURATED
            } else {
                MaskPlanes::NO_DATA
            }
        });
        mask
    }
}

/// The mask of an exposure by itself: its given planes, non-finite and saturated pixels, and those without a valid variance.
pub(crate) fn own_mask<T: Pixel>(
    exposure: &Exposure<'_, T>,
    valid_variance: impl Fn(T) -> bool + Sync,
) -> Mask {
    let mut mask = exposure.unusable();
    let more = |i: usize| match &exposure.noise {
        NoiseModel::Variance(variance) => {
            let variance = variance.pixels()[i];
            let valid = variance.is_finite() && valid_variance(variance);
            if valid { MaskPlanes::empty() } else { MaskPlanes::NO_DATA }
        }
        NoiseModel::Ccd(_, Some(flat)) => {
            let flat = flat.pixels()[i];
            let valid = flat.is_finite() && flat > T::zero();
            if valid { MaskPlanes::empty() } else { MaskPlanes::BAD }
        }
        NoiseModel::Ccd(_, None) => MaskPlanes::empty(),
    };
    mask.merge(more);
    mask
}

/// Where the pixels of an image lie.
pub(crate) struct Level {
    /// The median of the good pixels in ADU; 0 if there is none.
    pub(crate) sky: f64,
    /// Their robust scatter in ADU.
    pub(crate) scatter: f64,
    /// The power of two in ADU that is nearest below it.
    pub(crate) unit: f64,
}

/// Pixels of a level: whatever is off in the sky, the background takes up.
const LEVEL_SAMPLE: usize = 1 << 17;

impl Level {
    /// From the good pixels; from a regular part of them where there are very many.
    pub(crate) fn of<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> Self {
        let stride = (image.pixels().len() / LEVEL_SAMPLE).max(1) | 1;
        let good = image.pixels().iter().zip(mask.planes()).step_by(stride);
        let mut values: Vec<f64> =
            good.filter(|(_, planes)| planes.is_empty()).map(|(v, _)| v.widen()).collect();
        let sky = robust::median(&mut values).unwrap_or(0.0);
        for value in &mut values {
            *value = (*value - sky).abs();
        }
        let scatter = robust::median(&mut values).filter(|scatter| *scatter > 0.0);
        // Where most pixels are alike, those that are not tell.
        let scatter = scatter.map(|scatter| robust::MAD_TO_SIGMA * scatter);
        let scatter = scatter.or_else(|| values.into_iter().reduce(f64::max)).unwrap_or(1.0);
        Self { sky, scatter, unit: power_of_two(scatter) }
    }
}

/// The planes of an exposure in errors.
pub(crate) const OF_REFERENCE: [&str; 3] =
    ["the reference image", "the reference mask", "the reference variance"];

/// The same of the target.
pub(crate) const OF_TARGET: [&str; 3] =
    ["the target image", "the target mask", "the target variance"];

pub(crate) fn check_exposure<T: Pixel>(
    exposure: &Exposure<'_, T>,
    expected: (usize, usize),
    names: [&'static str; 3],
) -> Result<(), ImageError> {
    let check = |plane, got| {
        if got == expected { Ok(()) } else { Err(ImageError::Shape { plane, expected, got }) }
    };
    check(names[0], exposure.image.shape())?;
    if let Some(mask) = exposure.mask {
        check(names[1], (mask.height(), mask.width()))?;
    }
    match &exposure.noise {
        NoiseModel::Variance(variance) => check(names[2], variance.shape()),
        NoiseModel::Ccd(_, Some(flat)) => check("the flat field", flat.shape()),
        NoiseModel::Ccd(_, None) => Ok(()),
    }
}

pub(crate) fn check_noise<T>(
    image: &'static str,
    noise: &NoiseModel<'_, T>,
) -> Result<(), SubtractError> {
    let validate = |ccd: &CcdNoise| -> Result<(), ModelError> { ccd.validate() };
    match noise {
        NoiseModel::Ccd(ccd, _) => {
            validate(ccd).map_err(|source| SubtractError::Noise { image, source })
        }
        NoiseModel::Variance(_) => Ok(()),
    }
}

/// An image whose good pixels all have one value tells nothing.
pub(crate) fn check_structure<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    name: &'static str,
) -> Result<(), SubtractError> {
    let mut good = image.pixels().iter().zip(mask.planes()).filter(|(_, p)| p.is_empty());
    let Some((first, _)) = good.next() else { return Ok(()) };
    if good.any(|(value, _)| value != first) {
        return Ok(());
    }
    let pixels = mask.good_pixels();
    Err(SubtractError::Constant { image: name, value: first.widen(), pixels })
}

/// The least noise of a pixel without light, in electrons.
const LEAST_ELECTRONS: f64 = 1.0 / 3.0;

/// The part of σ² that does not depend on the model.
///
/// Without read noise, a pixel without light would have no variance and infinite weight; a third of an electron is the least, which a sky of one photon a pixel has thrice.
pub(crate) fn fixed_variance<T: Pixel>(noise: &NoiseModel<'_, T>, i: usize) -> f64 {
    match noise {
        NoiseModel::Ccd(ccd, flat) => {
            let flat = flat.map_or(1.0, |flat| flat.pixels()[i].widen());
            ccd.fixed(flat).max((LEAST_ELECTRONS * ccd.photon(flat)).powi(2))
        }
        NoiseModel::Variance(variance) => variance.pixels()[i].widen(),
    }
}

/// σ² in ADU² of pixel `i` of an image with the value `value`.
pub(crate) fn pixel_variance<T: Pixel>(noise: &NoiseModel<'_, T>, i: usize, value: f64) -> f64 {
    let photon = match noise {
        NoiseModel::Ccd(ccd, flat) => ccd.photon(flat.map_or(1.0, |flat| flat.pixels()[i].widen())),
        NoiseModel::Variance(_) => 0.0,
    };
    fixed_variance(noise, i) + photon * value.max(0.0)
}
