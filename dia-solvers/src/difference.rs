//! The difference image and what belongs to it.

use dia_core::{DesignMatrix, Image, Kernel, Mask, MaskPlanes, Photon, Pixel, robust};
use rayon::prelude::*;

use crate::fit::{Estimate, Fit, FitOutcome};
use crate::{Prepared, SubtractError};

/// The result of a subtraction, on the target's full grid.
#[derive(Clone, Debug)]
pub struct Difference<T = f32> {
    /// D = I − M in ADU; NaN where any plane of [`mask`](Self::mask) is set.
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
    /// How the fit ended.
    pub outcome: FitOutcome,
    /// How well the model describes the target.
    pub residuals: ResidualStatistics,
}

/// Statistics of the normalised residuals z = D/σ over the pixels used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualStatistics {
    /// Number of pixels used.
    pub used: usize,
    /// Mean fit bias: the mean of z.
    pub mfb: f64,
    /// Mean fit variance: the variance of z about its mean.
    pub mfv: f64,
    /// 1.4826 × median |z − median z|, which outliers hardly touch.
    pub robust_std: f64,
    /// Σ z² over the degrees of freedom, pixels minus unknowns.
    pub chi2_dof: f64,
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
    let design = prepared.design();
    let (height, width, valid) = (design.height(), design.width(), design.valid());
    let model_values = a.download(fit.model)?;
    let fixed = a.download(fit.noise.fixed)?;
    let photon = match fit.noise.photon {
        Photon::Uniform(photon) => Photon::Uniform(photon),
        Photon::PerPixel(photon) => Photon::PerPixel(a.download(photon)?),
    };
    let reference = fit.noise.reference.map(|reference| a.download(reference)).transpose()?;
    let noise = dia_core::Noise { fixed, photon, reference };

    let nan = <A::Pixel as num_traits::Float>::nan();
    let mut difference = Image::filled(height, width, nan);
    let mut variance = Image::filled(height, width, nan);
    let mut model = Image::filled(height, width, nan);
    let rows = valid.y * width..(valid.y + valid.height) * width;
    let differences = difference.pixels_mut()[rows.clone()].par_chunks_mut(width);
    let variances = variance.pixels_mut()[rows.clone()].par_chunks_mut(width);
    let models = model.pixels_mut()[rows].par_chunks_mut(width);
    differences.zip(variances).zip(models).enumerate().for_each(|(row, ((d, sigma2), m))| {
        let pixels = (valid.y + row) * width..(valid.y + row + 1) * width;
        let planes = &prepared.mask().planes()[pixels.clone()];
        let target = &prepared.target().pixels()[pixels];
        for x in valid.x..valid.x + valid.width {
            let i = row * valid.width + x - valid.x;
            if !planes[x].intersects(MaskPlanes::REFERENCE_BAD) {
                m[x] = model_values[i];
            }
            if planes[x].is_empty() {
                d[x] = target[x] - model_values[i];
                sigma2[x] = noise.variance(i, model_values[i]);
            }
        }
    });
    let residuals = statistics(&difference, &variance, prepared.used_pixels(), design.ncols());
    Ok(Difference {
        difference,
        variance,
        model,
        mask: prepared.mask().clone(),
        kernel: fit.kernel,
        photometric_scale: fit.photometric_scale,
        background: fit.background,
        reference_sky: prepared.reference_sky(),
        outcome: fit.outcome,
        residuals,
    })
}

/// Statistics of D/σ where both are known.
fn statistics<T: Pixel>(
    difference: &Image<T>,
    variance: &Image<T>,
    used: usize,
    unknowns: usize,
) -> ResidualStatistics {
    let (d, sigma2) = (difference.pixels(), variance.pixels());
    let z = |i: usize| d[i].widen() / sigma2[i].widen().sqrt();
    let sum = |f: &(dyn Fn(f64) -> f64 + Sync)| {
        dia_core::sum::pairwise(d.len(), &|range| {
            range.map(z).filter(|z| !z.is_nan()).map(f).sum::<f64>()
        })
    };
    let count = used as f64;
    let mfb = sum(&|z| z) / count;
    let mfv = sum(&|z| (z - mfb).powi(2)) / (count - 1.0);
    let chi2_dof = sum(&|z| z * z) / (count - unknowns as f64);
    // Of a very large image, a regular part tells the median well enough.
    let stride = (d.len() / 4_000_000).max(1) | 1;
    let part = (0..d.len()).step_by(stride).map(z);
    let robust_std = robust::median_and_scatter(part).map_or(f64::NAN, |(_, scatter)| scatter);
    ResidualStatistics { used, mfb, mfv, robust_std, chi2_dof }
}
