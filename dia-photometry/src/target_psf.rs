//! The PSF of the target from that of the reference and the kernel that was fitted: no star of the target is needed.

use dia_core::Kernel;

use crate::offsets::{dot, offsets};
use crate::spectrum::{convolution, shifted};

/// P_n = P_r ⊗ K / P, the PSF of target and difference at the place of the kernel K, of unit sum over all pixels, cut at `half_width`.
///
/// The displacement by which stars move from the reference to the target is taken out, so that P_n is centred on (0, 0); see [`displacement`].
/// Wings are those of P_r and K; a flux that lies outside of `half_width` is missing from the sum, not scaled away.
pub fn target_psf(reference_psf: &Kernel, kernel: &Kernel, half_width: usize) -> Kernel {
    let psf = convolved(reference_psf, kernel);
    let (dy, dx) = windowed_centre(&psf);
    shifted(&psf, -dy, -dx, half_width)
}

/// Where K puts a star of the reference that is centred on (0, 0), as (dy, dx) in pixels: the centre of P_r ⊗ K in a Gaussian window of its own width that
/// follows it, the windowed centroid of SExtractor. The moments of K itself weight the noise of its outermost pixels most.
pub fn displacement(reference_psf: &Kernel, kernel: &Kernel) -> (f64, f64) {
    windowed_centre(&convolved(reference_psf, kernel))
}

/// The windowed centroid (dy, dx) of a PSF in pixels.
pub(crate) fn windowed_centre(psf: &Kernel) -> (f64, f64) {
    let sigma2 = 1.0 / (4.0 * std::f64::consts::PI * dot(psf, psf));
    let around = (6.0 * sigma2.sqrt()).ceil();
    let (mut cy, mut cx) = (0.0, 0.0);
    // A Gaussian in a window of its own width halves the offset, hence the factor 2; other profiles need some more steps.
    for _ in 0..50 {
        let [mut sum, mut sy, mut sx] = [0.0; 3];
        for ((dy, dx), p) in offsets(psf).zip(psf.pixels()) {
            let (y, x) = (dy as f64 - cy, dx as f64 - cx);
            if y.abs() > around || x.abs() > around {
                continue;
            }
            let weighted = p * (-0.5 * (y * y + x * x) / sigma2).exp();
            sum += weighted;
            sy += weighted * y;
            sx += weighted * x;
        }
        let step = (2.0 * sy / sum, 2.0 * sx / sum);
        cy += step.0;
        cx += step.1;
        if step.0.hypot(step.1) < 1e-9 {
            break;
        }
    }
    (cy, cx)
}

/// P_r ⊗ K / P on the support of both.
fn convolved(reference_psf: &Kernel, kernel: &Kernel) -> Kernel {
    let half_width = reference_psf.half_width() + kernel.half_width();
    let mut psf = convolution(reference_psf, kernel, half_width);
    let scale = kernel.photometric_scale();
    psf.pixels_mut().iter_mut().for_each(|p| *p /= scale);
    psf
}

#[cfg(test)]
mod tests {
    use super::{displacement, target_psf};
    use dia_core::Kernel;

    #[test]
    fn widths_add_in_quadrature_and_the_shift_is_taken_out() {
        let reference = Kernel::gaussian(12, 1.5);
        let kernel = Kernel::from_fn(10, |dy, dx| {
            let (y, x) = (dy as f64 + 0.2, dx as f64 - 0.3);
            0.8 * (-0.5 * (y * y + x * x) / 4.0).exp()
        });
        let (dy, dx) = displacement(&reference, &kernel);
        assert!((dy + 0.2).abs() < 1e-4 && (dx - 0.3).abs() < 1e-4);
        let psf = target_psf(&reference, &kernel, 14);
        let truth = Kernel::gaussian(14, 2.5);
        // The kernel is cut at 5 σ: 4e-6 of its peak, summed up over a pixel's neighbours.
        assert!(psf.pixels().iter().zip(truth.pixels()).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn noise_in_the_kernels_corner_does_not_move_the_star() {
        let reference = Kernel::gaussian(12, 1.5);
        let mut kernel = Kernel::gaussian(8, 1.5);
        // Its moment is 8 · 0.01 = 0.08 pixels; 11 pixels off, where the window of σ = 2.1 is e^(−14).
        kernel.pixels_mut()[0] += 0.01;
        let (dy, dx) = displacement(&reference, &kernel);
        assert!(kernel.centroid().0.abs() > 0.07);
        assert!(dy.abs() < 1e-3 && dx.abs() < 1e-3);
    }
}
