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

#[cfg(test)]
mod tests {
    use dia_core::{Image, NoiseModel};
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::{Part, mean_without};
    use crate::Exposure;

    const SIDE: usize = 40;

    /// Noise of a variance of 4, on a sky of its own.
    fn exposure(seed: u8) -> Image<f64> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed.into());
        let sky = 100.0 + 7.0 * f64::from(seed);
        let mut noise = || -> f64 { StandardNormal.sample(&mut random) };
        Image::from_fn(SIDE, SIDE, |_, _| sky + 2.0 * noise())
    }

    fn of<'a>(image: &'a Image<f64>, variance: &'a Image<f64>) -> Exposure<'a, f64> {
        let noise = NoiseModel::Variance(variance.view());
        Exposure { image: image.view(), mask: None, noise, saturation: None }
    }

    #[test]
    fn without_one_of_three_the_mean_of_the_others_is_left() {
        let exposures = [0, 1, 2].map(exposure);
        let at = |k: usize, i: usize| exposures[k].pixels()[i];
        let mean = |of: &[usize], i: usize| {
            of.iter().map(|k| at(*k, i) - 7.0 * *k as f64).sum::<f64>() / of.len() as f64
        };
        let mut stack = Image::from_fn(SIDE, SIDE, |y, x| mean(&[0, 1, 2], y * SIDE + x));
        let (one, third) = (Image::filled(SIDE, SIDE, 4.0), Image::filled(SIDE, SIDE, 4.0 / 3.0));
        // A cosmic ray of the target that the stack has not.
        let mut target = exposures[2].clone();
        target.pixels_mut()[SIDE * 20 + 20] += 500.0;
        stack.pixels_mut()[SIDE * 20 + 20] = 100.0;
        let (others, variance) =
            mean_without(&of(&stack, &third), &of(&target, &one), Part::one_of(3.0)).unwrap();
        let differences = (0..SIDE * SIDE)
            .filter(|i| *i != SIDE * 20 + 20)
            .map(|i| others.pixels()[i] - mean(&[0, 1], i));
        let differences: Vec<f64> = differences.collect();
        // But for a constant, the error of the sky between both: a median of 1600 differences of variance 4 (1 + 1/3 − 2/3), over two.
        let constant = differences[0];
        assert!(constant.abs() < 4.0 * 1.25 * (8.0_f64 / 3.0 / 1600.0).sqrt() / 2.0);
        assert!(differences.iter().all(|d| (d - constant).abs() < 1e-9));
        assert!((variance.pixels()[0] - 2.0).abs() < 1e-12);
        let at_ray = SIDE * 20 + 20;
        assert_eq!((others.pixels()[at_ray], variance.pixels()[at_ray]), (100.0, 4.0 / 3.0));
    }

    #[test]
    fn without_its_only_exposure_nothing_is_left() {
        let (image, variance) = (exposure(1), Image::filled(SIDE, SIDE, 4.0));
        let exposure = of(&image, &variance);
        let error = mean_without(&exposure, &exposure, Part::one_of(1.0)).unwrap_err();
        assert!(
            error.to_string().contains("weight of the target in the reference is 1"),
            "{error}"
        );
    }
}
