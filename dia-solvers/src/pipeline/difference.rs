//! The difference image and what belongs to it.

use std::ops::{Add, Range};

use dia_core::{
    Design, DesignMatrix, Image, Kernel, Loss, Mask, MaskPlanes, Pixel, PixelWeight, robust,
};
use faer::Mat;
use rayon::prelude::*;

use crate::pipeline::coarseness;
use crate::pipeline::fit::{Fit, FitOutcome};
use crate::uncertainty::estimates::Estimate;
use crate::{Prepared, SubtractError, VariableSources, VariationTest};

/// The result of a subtraction, on the target's full grid.
#[derive(Clone, Debug)]
pub struct Difference<T = f32> {
    /// D = I − M in ADU; NaN where any plane of [`mask`](Self::mask) is set but those of pixels that only the fit left out, `VARIABLE` and `CLIPPED`.
    pub difference: Image<T>,
    /// σ² of D in ADU²: the target's noise on the model, and the reference's through the kernel where it is known; NaN as D.
    pub variance: Image<T>,
    /// M in ADU; NaN only where the reference does not give it.
    pub model: Image<T>,
    /// Why D is missing.
    pub mask: Mask,
    /// K.
    pub kernel: Kernel,
    /// P = ΣK.
    pub photometric_scale: Estimate,
    /// Coefficients of the background in ADU, over the reference without its sky.
    pub background: Vec<Estimate>,
    /// The sky that was subtracted from the reference, in ADU.
    pub reference_sky: f64,
    /// The strength of the regularisation; see [`crate::Lambda`].
    pub lambda: f64,
    /// That for the deviations from the mean kernel, where it varies.
    pub lambda_variation: Option<f64>,
    /// The share of the bias of the reference's noise that was taken out, see [`Fit`](crate::Fit::noise_correction).
    pub noise_correction: f64,
    /// How many unknowns the fit has in effect, see [`Fit`](crate::Fit::effective_unknowns).
    pub effective_unknowns: f64,
    /// The model that was fitted.
    pub design: Design,
    /// How the kernel's variation compares with noise, if that was tested.
    pub variation_test: Option<VariationTest>,
    /// x: the coefficients of kernel and background, in the order of the [`Design`]'s columns.
    pub parameters: Vec<f64>,
    /// The covariance of x, if it was asked for.
    pub covariance: Option<Mat<f64>>,
    /// The variable sources that were left out of the fit, if they were looked for.
    pub variables: Option<VariableSources>,
    /// By what the target's variances were multiplied.
    pub noise_scale: f64,
    /// How the fit ended.
    pub outcome: FitOutcome,
    /// How well the model describes the target.
    pub residuals: ResidualStatistics,
}

/// Statistics of the normalised residuals z = D/σ over the pixels used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualStatistics {
    /// Number of pixels used in the fit.
    pub used: usize,
    /// The effective fraction of outliers: what the mean weight ψ(z)/z is below that of Gaussian noise, relative to it.
    pub outliers: f64,
    /// Mean fit bias: the mean of z.
    pub mfb: f64,
    /// Mean fit variance: the variance of z about its mean.
    pub mfv: f64,
    /// 1.4826 × median |z − median z|, which outliers hardly touch; where the target's values are coarse against its noise, the standard deviation of the z within 4.5 of it.
    pub robust_std: f64,
    /// Σ z² over the degrees of freedom: the pixels less [`effective_unknowns`](Difference::effective_unknowns).
    pub chi2_dof: f64,
}

impl<T: Pixel> Difference<T> {
    /// The same with `map` of the pixels of its images.
    pub fn map_pixels<U: Pixel>(self, map: impl Fn(T) -> U + Copy) -> Difference<U> {
        let Self { difference, variance, model, .. } = &self;
        let [difference, variance, model] =
            [difference, variance, model].map(|image| image.map(map));
        Difference {
            difference,
            variance,
            model,
            mask: self.mask,
            kernel: self.kernel,
            photometric_scale: self.photometric_scale,
            background: self.background,
            reference_sky: self.reference_sky,
            lambda: self.lambda,
            lambda_variation: self.lambda_variation,
            noise_correction: self.noise_correction,
            effective_unknowns: self.effective_unknowns,
            variables: self.variables,
            noise_scale: self.noise_scale,
            parameters: self.parameters,
            covariance: self.covariance,
            design: self.design,
            variation_test: self.variation_test,
            outcome: self.outcome,
            residuals: self.residuals,
        }
    }
}

/// From a fit to the planes of the difference.
///
/// # Errors
/// [`SubtractError::Solve`] if a transfer fails.
pub fn difference<A: DesignMatrix>(
    prepared: &Prepared<'_, A::Pixel>,
    a: &A,
    fit: Fit<A>,
) -> Result<Difference<A::Pixel>, SubtractError> {
    let design = &fit.design;
    let (height, width, valid) = (design.height(), design.width(), design.valid());
    let model_values = a.download(fit.model)?;
    let mut fixed = a.download(fit.noise.fixed)?;
    for (i, value, _) in &fit.excluded {
        fixed[*i] = *value;
    }
    let photon = fit.noise.photon.try_map(|photon| a.download(photon))?;
    let reference = fit.noise.reference.map(|reference| a.download(reference)).transpose()?;
    let noise = dia_core::Noise { fixed, photon, reference };
    let model_variance = fit.model_variance.map(|variance| a.download(variance)).transpose()?;

    let unit = prepared.units().target;
    let in_adu = |value: A::Pixel, power: f64| A::Pixel::narrow(value.widen() * power);
    let nan = <A::Pixel as num_traits::Float>::nan();
    let mut difference = Image::filled(height, width, nan);
    let mut variance = Image::filled(height, width, nan);
    // What the noise model says of the pixel, for the residuals; `variance` is that of the difference.
    let mut expected = Image::filled(height, width, nan);
    let mut model = Image::filled(height, width, nan);
    let rows = valid.y * width..(valid.y + valid.height) * width;
    let differences = difference.pixels_mut()[rows.clone()].par_chunks_mut(width);
    let variances = variance.pixels_mut()[rows.clone()].par_chunks_mut(width);
    let models = model.pixels_mut()[rows.clone()].par_chunks_mut(width);
    let all_expected = expected.pixels_mut()[rows].par_chunks_mut(width);
    let mut left_out = vec![false; model_values.len()];
    fit.excluded.iter().for_each(|(i, ..)| left_out[*i] = true);
    let planes_of_rows = differences.zip(variances).zip(models).zip(all_expected);
    planes_of_rows.enumerate().for_each(|(row, (((d, sigma2), m), expected))| {
        let pixels = (valid.y + row) * width..(valid.y + row + 1) * width;
        let planes = &prepared.mask().planes()[pixels.clone()];
        let target = &prepared.target().pixels()[pixels];
        for x in valid.x..valid.x + valid.width {
            let i = row * valid.width + x - valid.x;
            let value = in_adu(model_values[i], unit);
            if !planes[x].intersects(MaskPlanes::REFERENCE_BAD) {
                m[x] = value;
            }
            if planes[x].is_empty() {
                d[x] = target[x] - value;
                let all = noise.variance(i, model_values[i]).widen();
                let mut own = all;
                expected[x] = in_adu(A::Pixel::narrow(all), unit * unit);
                if let Some(model) = &model_variance {
                    own += if left_out[i] { model[i].widen() } else { -model[i].widen() };
                }
                sigma2[x] = in_adu(A::Pixel::narrow(own.max(LEAST * all)), unit * unit);
            }
        }
    });
    let mut mask = prepared.mask().clone();
    for (i, _, why) in &fit.excluded {
        mask.insert(valid.y + i / valid.width, valid.x + i % valid.width, *why);
    }
    let residuals = statistics(
        &difference,
        &expected,
        &mask,
        prepared.step(),
        fit.loss,
        fit.effective_unknowns,
    );
    Ok(Difference {
        difference,
        variance,
        model,
        mask,
        kernel: fit.kernel,
        photometric_scale: fit.photometric_scale,
        background: fit.background,
        reference_sky: prepared.reference_sky(),
        lambda: fit.lambda,
        lambda_variation: fit.lambda_variation,
        noise_correction: fit.noise_correction,
        effective_unknowns: fit.effective_unknowns,
        variables: fit.variables,
        noise_scale: fit.noise_scale,
        parameters: fit.parameters,
        covariance: fit.covariance,
        design: fit.design,
        variation_test: fit.variation_test,
        outcome: fit.outcome,
        residuals,
    })
}

/// Least variance of a difference, of that of independent pixels: what is estimated by draws may take away too much.
const LEAST: f64 = 1e-3;

/// Statistics of D/σ over the pixels of the fit.
fn statistics<T: Pixel>(
    difference: &Image<T>,
    variance: &Image<T>,
    mask: &Mask,
    step: f64,
    loss: Loss,
    unknowns: f64,
) -> ResidualStatistics {
    let (d, sigma2, planes) = (difference.pixels(), variance.pixels(), mask.planes());
    let z = |i: usize| {
        let used = planes[i].is_empty();
        if used { d[i].widen() / sigma2[i].widen().sqrt() } else { f64::NAN }
    };
    let sums = dia_core::sum::pairwise(d.len(), &|range| {
        range.map(z).filter(|z| !z.is_nan()).fold(
            Sums::default(),
            |Sums { z, squares, weights }, of| Sums {
                z: z + of,
                squares: squares + of * of,
                weights: weights + loss.weight(of),
            },
        )
    });
    let used = mask.good_pixels();
    let count = used as f64;
    let mfb = sums.z / count;
    let about_mean = |range: Range<usize>| {
        range.map(z).filter(|z| !z.is_nan()).map(|z| (z - mfb).powi(2)).sum::<f64>()
    };
    let mfv = dia_core::sum::pairwise(d.len(), &about_mean) / (count - 1.0);
    let chi2_dof = sums.squares / (count - unknowns);
    let outliers = 1.0 - sums.weights / (count * loss.mean_weight(PixelWeight::Robust));
    // Of a very large image, a regular part tells the median well enough.
    let stride = (d.len() / 4_000_000).max(1) | 1;
    let part = (0..d.len()).step_by(stride).map(z);
    let sigma = (0..d.len()).step_by(16 * stride).filter(|i| planes[*i].is_empty());
    let sigma = robust::median(&mut sigma.map(|i| sigma2[i].widen().sqrt()).collect::<Vec<_>>());
    let robust_std = coarseness::scatter(&part, step / sigma.unwrap_or(f64::INFINITY));
    let robust_std = robust_std.unwrap_or(f64::NAN);
    ResidualStatistics { used, outliers, mfb, mfv, robust_std, chi2_dof }
}

/// Of z, z² and ψ(z)/z.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    z: f64,
    squares: f64,
    weights: f64,
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            z: self.z + other.z,
            squares: self.squares + other.squares,
            weights: self.weights + other.weights,
        }
    }
}
