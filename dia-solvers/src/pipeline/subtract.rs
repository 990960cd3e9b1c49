//! The whole subtraction in one call.

use dia_core::{Design, DesignMatrix, ImageView, OperatorError};

use crate::{
    Difference, Exposure, Fit, FitOptions, Prepared, Progress, SubtractError, difference, fit,
};

/// Fits the kernel and background that turn `reference` into `target`, and subtracts.
///
/// `operator` makes the design matrix of an image; this crate knows no back end. `observe` is called once per pass.
///
/// # Errors
/// [`SubtractError`] names what is wrong with images, noise or kernel, or how the fit failed.
///
/// # Example
/// ```
/// use dia_core::{CcdNoise, Design, Image, Kernel, KernelBasis, NoiseModel};
/// use dia_fft::FftDesignMatrix;
/// use dia_solvers::{Exposure, FitOptions, subtract};
///
/// // A reference of a few stars, and a target that is the reference, 20 % fainter and moved by one column.
/// let reference = Image::from_fn(60, 80, |y, x| {
///     let star = |cy: f64, cx: f64| (-((y as f64 - cy).powi(2) + (x as f64 - cx).powi(2)) / 6.0).exp();
///     100.0 + ((y * 13 + x * 29) % 7) as f64 + 5000.0 * (star(20.0, 30.0) + star(41.3, 55.8))
/// });
/// let target = Image::from_fn(60, 80, |y, x| 0.8 * reference.view().at(y, x.saturating_sub(1)));
/// let noise = NoiseModel::Ccd(CcdNoise { gain: 1.5, read_noise: 6.0, subtracted_sky: 0.0 }, None);
/// let exposure = |image| Exposure { image, mask: None, noise, saturation: None };
///
/// let design = Design::new(60, 80, KernelBasis::delta(3), Some(0))?;
/// let difference = subtract(
///     &exposure(reference.view()),
///     &exposure(target.view()),
///     design,
///     FftDesignMatrix::new,
///     // The target shares the pattern in the reference's sky, which is no noise then.
///     &FitOptions::plain(),
///     &mut |_| (),
/// )?;
/// assert!((difference.photometric_scale.value - 0.8).abs() < 1e-3);
/// let (dy, dx) = difference.kernel.centroid();
/// assert!(dy.abs() < 1e-2 && (dx - 1.0).abs() < 1e-2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn subtract<A: DesignMatrix>(
    reference: &Exposure<'_, A::Pixel>,
    target: &Exposure<'_, A::Pixel>,
    design: Design,
    operator: impl Fn(ImageView<'_, A::Pixel>, Design) -> Result<A, OperatorError>,
    options: &FitOptions,
    observe: &mut dyn FnMut(Progress),
) -> Result<Difference<A::Pixel>, SubtractError> {
    let mut prepared =
        Prepared::new(reference, target, design, options.needs_reference_variance())?;
    let (a, fit) = fit_prepared(&mut prepared, operator, options, observe)?;
    difference(&prepared, &a, fit)
}

/// Makes the operators of a prepared pair, by `operator`, and fits: the operator of the reference, and the [`fit`](fit()).
///
/// # Errors
/// As [`fit`](fit()), and if an operator cannot be made.
pub fn fit_prepared<A: DesignMatrix>(
    prepared: &mut Prepared<'_, A::Pixel>,
    operator: impl Fn(ImageView<'_, A::Pixel>, Design) -> Result<A, OperatorError>,
    options: &FitOptions,
    observe: &mut dyn FnMut(Progress),
) -> Result<(A, Fit<A>), SubtractError> {
    let a = operator(prepared.reference(), prepared.design().clone())?;
    let variance = match prepared.reference_variance() {
        Some(variance) => Some(operator(variance, prepared.design().of_variance())?),
        None => None,
    };
    let fit = fit(prepared, &a, variance.as_ref(), options, observe)?;
    Ok((a, fit))
}
