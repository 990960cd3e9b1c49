//! Which of the two images is convolved, and the difference that follows where it is the target.
//!
//! A kernel can only widen stars. Where the target is the sharper image, a kernel for the reference would have to amplify its noise; then the target is convolved
//! instead, and fitted to the reference: R ≈ K ⊗ (T − t) + b, with t the target's sky. What is left, D′ = R − K ⊗ (T − t) − b, is turned back into target minus reference, in
//! the target's ADU: D = −D′/P′ with P′ = ΣK.

use dia_core::seeing::Seeing;
use dia_core::{Image, Kernel, Mask, MaskPlanes};
use dia_solvers::{Difference, Estimate};

use crate::input::{Input, Real};
use crate::notice::{Level, Notice};
use crate::request::{Convolve, SubtractRequest};

/// Amplification of the reference's noise, where its stars hold a tenth of their amplitude, from which on the target is convolved. In simulated fields, convolving either gave
/// the photometric scale to a percent below it (a FWHM of 0.91 of the reference's), and the reference gave too little above. Cosmic rays and the noise of a single exposure speak
/// for leaving the target as it is.
const AMPLIFICATION: f64 = 1.5;

/// Whether the target is the image to be convolved, with a notice if that was found and not asked for.
pub(crate) fn convolves_target(
    request: &SubtractRequest,
    reference: Option<Seeing>,
    target: Option<Seeing>,
) -> (bool, Option<Notice>) {
    match request.convolve {
        Convolve::Reference => (false, None),
        Convolve::Target => (true, None),
        Convolve::Auto => {
            let Some((r, t)) = reference.zip(target) else { return (false, None) };
            let [forth, back] = [amplification(r, t), amplification(t, r)];
            if forth < AMPLIFICATION || back >= forth {
                return (false, None);
            }
            let text = format!(
                "the target is the sharper image (FWHM {:.2} and {:.2} pixels), so that it was convolved and not the reference, whose noise a kernel would have amplified {forth:.1} times; \
                 the difference is still target minus reference in the target's ADU; --convolve reference keeps the target as it is",
                t.fwhm, r.fwhm
            );
            (true, Some(Notice::new(Level::Pass, "convolved-target", text)))
        }
    }
}

/// By how much a kernel from the stars of `from` to those of `to` amplifies noise at the frequency at which those of `from` hold a tenth of their amplitude, at
/// most in any direction; 1 if it only widens.
///
/// Of Gaussians, the kernel has the difference of the covariances: along a direction with σ² less it has the amplitude exp(½ω²(−Δσ²)), and
/// exp(−½ω²σ²) is a tenth where ½ω² = ln 10/σ².
fn amplification(from: Seeing, to: Seeing) -> f64 {
    let [xx, xy, yy] = std::array::from_fn(|k| to.covariance[k] - from.covariance[k]);
    let least = 0.5 * (xx + yy) - (0.5 * (xx - yy)).hypot(xy);
    let [a, b, c] = from.covariance;
    let width = (a * c - b * b).max(0.0).sqrt();
    if width > 0.0 { 10.0_f64.powf((-least).max(0.0) / width) } else { 1.0 }
}

/// From the difference of a pair that changed places for the fit to target minus reference in the target's ADU.
///
/// `DIFFERENCE` is the convolved target less `MODEL`, which is the reference at the target's scale and with its sky; the kernel stays that of the fit.
pub(crate) fn turned_back<T: Real>(
    mut difference: Difference<T>,
    reference: &Input<T>,
    target: &Input<T>,
) -> Difference<T> {
    let Difference { design, parameters, .. } = &difference;
    let (height, width) = (design.height(), design.width());
    let scales: Vec<f64> =
        design.kernels(parameters).iter().map(Kernel::photometric_scale).collect();
    let sky = difference.reference_sky;
    let mut at = vec![0.0; scales.len()];
    let (mut changed, mut variance) = (difference.difference.clone(), difference.variance.clone());
    let model = Image::from_fn(height, width, |y, x| {
        design.variation().evaluate(y, x, &mut at);
        let scale: f64 = scales.iter().zip(&at).map(|(s, t)| s * t).sum();
        let d = &mut changed.row_mut(y)[x];
        *d = T::narrow(-d.widen() / scale);
        let sigma2 = &mut variance.row_mut(y)[x];
        *sigma2 = T::narrow(sigma2.widen() / (scale * scale));
        let background = design.background_at(parameters, y, x);
        T::narrow((reference.image.view().at(y, x).widen() - background) / scale + sky)
    });
    (difference.difference, difference.variance, difference.model) = (changed, variance, model);
    difference.mask = mask(&difference.mask, &reference.unusable(), &target.unusable());

    let Estimate { value: p, sigma } = difference.photometric_scale;
    difference.photometric_scale = Estimate { value: p.recip(), sigma: sigma / (p * p) };
    // M = (R − b₀)/P′ + t − Σ b_j φ_j/P′: b₀ is the reference's sky, and t the background.
    for (j, b) in difference.background.iter_mut().enumerate() {
        let value = if j == 0 { sky } else { -b.value / p };
        if j == 0 {
            difference.reference_sky = b.value;
        }
        *b = Estimate { value, sigma: b.sigma / p.abs() };
    }
    difference.residuals.mfb = -difference.residuals.mfb;
    if let Some(variables) = &mut difference.variables {
        // Relative to the flux in the reference, which was the one that had changed.
        variables.common_change_error *= (1.0 + variables.common_change).powi(-2);
        variables.common_change = (1.0 + variables.common_change).recip() - 1.0;
        for source in &mut variables.sources {
            (source.flux, source.change) = ((source.flux + source.change) / p, -source.change / p);
        }
    }
    difference
}

/// The planes of the target, those of the fit, and `REFERENCE_BAD` where the reference is masked or a masked pixel of the target was carried to.
fn mask(fitted: &Mask, reference: &Mask, target: &Mask) -> Mask {
    let of_fit =
        MaskPlanes::EDGE | MaskPlanes::CLIPPED | MaskPlanes::VARIABLE | MaskPlanes::REFERENCE_BAD;
    let mut mask = target.clone();
    mask.merge(|i| {
        let (fitted, reference) = (fitted.planes()[i], reference.planes()[i]);
        // Planes of the reference, and pixels without a valid variance.
        let bad = !(reference | (fitted - of_fit)).is_empty();
        let reference = if bad { MaskPlanes::REFERENCE_BAD } else { MaskPlanes::empty() };
        (fitted & of_fit) | reference
    });
    mask
}
