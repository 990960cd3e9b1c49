//! The half-width that an information criterion finds best.

use anyhow::{Context, Result};
use dia_core::{Design, KernelBasis, KernelSupport};
use dia_fft::{FftDesignMatrix, FftPixel};
use dia_solvers::{Criterion, Exposure, FitOptions, Prepared, best_half_width, fit};

/// Fits free pixels on `widest`, without regularisation, and compares all narrower kernels with that.
pub(crate) fn find<T: FftPixel>(
    reference: &Exposure<'_, T>,
    target: &Exposure<'_, T>,
    widest: KernelSupport,
    background_degree: usize,
    criterion: Criterion,
    options: &FitOptions,
) -> Result<usize> {
    let (height, width) = target.image.shape();
    let design = Design::new(height, width, KernelBasis::Delta(widest), Some(background_degree))?;
    let plain = FitOptions::plain();
    let options = FitOptions {
        reference_noise: plain.reference_noise,
        lambda: plain.lambda,
        nested_kernels: true,
        ..*options
    };
    let mut prepared =
        Prepared::new(reference, target, design, options.needs_reference_variance())?;
    let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone())?;
    let of_variance = prepared.design().of_variance();
    let variance = prepared.reference_variance();
    let variance = variance.map(|plane| FftDesignMatrix::new(plane, of_variance)).transpose()?;
    let fit = fit(&mut prepared, &a, variance.as_ref(), &options, &mut |_| ())?;
    let kernels = fit.nested_kernels.as_deref().unwrap_or_default();
    best_half_width(kernels, criterion).context("no kernels to choose from")
}
