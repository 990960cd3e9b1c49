//! A target that is one of the exposures which the reference is the mean of.
//!
//! Their noise is partly the same: Cov(n_R, n_I) draws the kernel to a single pixel, and a source that is new in the target is in the reference as well, by the target's part of it. Both are gone
//! when the target is taken out of the mean first. With the weight w of the target and its scale s, R = w s I + (1 − w) O, and the mean O of the other exposures is
//!
//! O = R + w/(1 − w) (R − s I),  Var O = (Var R − w² s² Var I)/(1 − w)²,
//!
//! for equal exposures the mean and the variance of n − 1 of them.

use dia_core::{Image, LocalSky, MaskPlanes, ModelError, Pixel};
use rayon::prelude::*;

use crate::SubtractError;
use crate::pipeline::exposure::{
    Exposure, OF_REFERENCE, OF_TARGET, check_exposure, check_noise, pixel_variance,
};

/// An exposure's part of a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// w, its weight in the mean: 1/n of n equal exposures.
    pub weight: f64,
    /// s, what its pixels were multiplied by before: the mean's ADU per ADU of its own.
    pub scale: f64,
}

impl Part {
    /// One of n equal exposures.
    pub fn one_of(n: f64) -> Self {
        Self { weight: n.recip(), scale: 1.0 }
    }
}

/// The mean of the other exposures, and its variance: O of a reference R and a target I that is a part of it, pixel upon pixel.
///
/// The skies may differ, also from place to place. A pixel that differs by more than six of its own σ from the mean was left out of that, a cosmic ray, or is one of a star whose
/// noise is not what matters: there, and where one of the two is masked, the reference stays as it is.
///
/// # Errors
/// [`SubtractError`] if planes differ in size, the noise parameters are impossible, or the weight is not between 0 and 1: without its only exposure, nothing of a reference is left.
pub fn mean_without<T: Pixel>(
    reference: &Exposure<'_, T>,
    target: &Exposure<'_, T>,
    part: Part,
) -> Result<(Image<T>, Image<T>), SubtractError> {
    let shape = reference.image.shape();
    check_exposure(reference, shape, OF_REFERENCE)?;
    check_exposure(target, shape, OF_TARGET)?;
    check_noise("reference", &reference.noise)?;
    check_noise("target", &target.noise)?;
    let Part { weight, scale } = part;
    let number = |name, value, valid: bool, range| {
        if valid { Ok(()) } else { Err(ModelError::Noise { name, value, range }) }
    };
    let (most, range) = (MOST_WEIGHT, "above 0, and below 0.99 for anything to be left without it");
    number("weight of the target in the reference", weight, weight > 0.0 && weight < most, range)?;
    let valid = scale > 0.0 && scale.is_finite();
    number("scale of the target in the reference", scale, valid, "a positive number")?;

    let mut mask = reference.unusable();
    let of_target = target.unusable();
    mask.merge(|i| of_target.planes()[i]);
    let value = |exposure: &Exposure<'_, T>, i: usize| exposure.image.pixels()[i].widen();
    let apart = |i: usize| value(reference, i) - scale * value(target, i);
    let (height, width) = shape;
    let differences = Image::from_fn(height, width, |y, x| T::narrow(apart(y * width + x)));
    let sky = LocalSky::of(differences.view(), &mask, MaskPlanes::all());
    let factor = weight / (1.0 - weight);
    let of_pixel = |i: usize| {
        let (mean, one) = (value(reference, i), value(target, i));
        let variance = pixel_variance(&reference.noise, i, mean);
        let of_target = scale * scale * pixel_variance(&target.noise, i, one);
        let sky = sky.as_ref().map_or(0.0, |sky| sky.at(i / width, i % width));
        let apart = apart(i) - sky;
        let shared = mask.planes()[i].is_empty()
            && apart * apart <= OUTLIER * OUTLIER * (variance + of_target);
        if !shared {
            return (T::narrow(mean), T::narrow(variance));
        }
        let left = (variance - weight * weight * of_target) / (1.0 - weight).powi(2);
        // Fewer exposures never have less noise.
        (T::narrow(mean + factor * apart), T::narrow(left.max(variance)))
    };
    let (image, variance): (Vec<T>, Vec<T>) =
        (0..height * width).into_par_iter().map(of_pixel).unzip();
    Ok((Image::from_vec(height, width, image)?, Image::from_vec(height, width, variance)?))
}

/// Of a reference that all but consists of the target, nothing but noise would be left.
const MOST_WEIGHT: f64 = 0.99;

/// In σ: what a stack leaves out, with a margin.
const OUTLIER: f64 = 6.0;
