//! The kernel of a basis that is nearest to an image, as the stars see it.
//!
//! A basis cannot hold every kernel: that of a shift by a part of a pixel has tails that go up and down from pixel to pixel, where nodes are three pixels apart. Least squares over the
//! pixels would fit these tails at the expense of what matters, the kernel at the frequencies that stars have: a shifted star of FWHM 2.4 lost half a percent of its flux. So distances are
//! taken of kernels that the reference's stars were applied to, by the autocorrelation S of a Gaussian as wide as they are,
//!
//! > min (E a − k)ᵀ (S + ε) (E a − k),
//!
//! with a little of the pixels themselves, ε, for what no star shows.

use dia_core::simd::widest;
use dia_core::{Kernel, KernelBasis};
use faer::Mat;

use crate::regularise::seeing_shape::ReferenceStars;
use crate::{Cholesky, SolveError};

/// ε, where S has the sum 1.
const PIXELS: f64 = 0.02;

/// The Gaussian ends here, in σ: what is beyond is less than ε.
const REACH: f64 = 4.0;

/// The projection to a basis.
#[derive(Clone, Debug)]
pub(crate) struct NearestKernel {
    side: usize,
    /// One dimension of S.
    taps: Vec<f64>,
    /// The factor of Eᵀ(S + ε)E.
    factor: Cholesky,
}

impl NearestKernel {
    /// As `stars` see kernels.
    pub(crate) fn new(basis: &KernelBasis, stars: ReferenceStars) -> Result<Self, SolveError> {
        let sigma = (2.0 * stars.moment()).sqrt();
        let reach = (REACH * sigma).ceil() as i32;
        let values = (-reach..=reach).map(|i| (-0.5 * (f64::from(i) / sigma).powi(2)).exp());
        let values: Vec<f64> = values.collect();
        let sum: f64 = values.iter().sum();
        let taps: Vec<f64> = values.iter().map(|v| v / sum).collect();
        let (support, n) = (basis.support(), basis.len());
        let mut gram = Mat::zeros(n, n);
        let (mut unit, mut kernel) = (vec![0.0; n], Kernel::zero(support.half_width()));
        for j in 0..n {
            unit[j] = 1.0;
            basis.expand(&unit, &mut kernel);
            unit[j] = 0.0;
            let seen = seen(&taps, kernel.pixels(), support.side());
            basis.project(&seen, gram.col_as_slice_mut(j));
        }
        Ok(Self { side: support.side(), taps, factor: Cholesky::new(&gram)? })
    }

    /// Of an image of the size of the support of `basis`.
    pub(crate) fn coefficients(&self, basis: &KernelBasis, image: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; basis.len()];
        basis.project(&seen(&self.taps, image, self.side), &mut x);
        self.factor.solve_in_place(&mut x);
        x
    }
}

/// (S + ε) k of a square image k.
fn seen(taps: &[f64], image: &[f64], side: usize) -> Vec<f64> {
    let reach = taps.len() / 2;
    let mut down = vec![0.0; image.len()];
    let mut out: Vec<f64> = image.iter().map(|v| PIXELS * v).collect();
    widest(
        #[inline(always)]
        || {
            for (y, row) in down.chunks_exact_mut(side).enumerate() {
                for (k, tap) in taps.iter().enumerate() {
                    let Some(from) = (y + k).checked_sub(reach).filter(|from| *from < side) else {
                        continue;
                    };
                    let from = &image[from * side..(from + 1) * side];
                    row.iter_mut().zip(from).for_each(|(sum, v)| *sum += tap * v);
                }
            }
            for (row, from) in out.chunks_exact_mut(side).zip(down.chunks_exact(side)) {
                for (k, tap) in taps.iter().enumerate() {
                    // Where x + k − reach lies in the row.
                    let (first, skipped) = (reach.saturating_sub(k), k.saturating_sub(reach));
                    if first.max(skipped) < side {
                        let pairs = row[first..].iter_mut().zip(&from[skipped..]);
                        pairs.for_each(|(sum, v)| *sum += tap * v);
                    }
                }
            }
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use dia_core::{KernelBasis, KernelShape, KernelSupport};

    use super::{NearestKernel, PIXELS, seen};
    use crate::regularise::seeing_shape::ReferenceStars;

    #[test]
    fn what_stars_see_is_a_blurred_image() {
        let (taps, side) = ([0.25, 0.5, 0.25], 5);
        let mut image = vec![0.0; side * side];
        image[2 * side + 1] = 16.0;
        let found = seen(&taps, &image, side);
        for (i, value) in found.iter().enumerate() {
            let tap = |d: usize| [0.5, 0.25, 0.0, 0.0, 0.0][d];
            let expected = 16.0 * tap((i / side).abs_diff(2)) * tap((i % side).abs_diff(1));
            assert_eq!(*value, expected + PIXELS * image[i]);
        }
    }

    #[test]
    fn kernels_of_the_basis_are_their_own_nearest() {
        let support = KernelSupport::new(4, KernelShape::Circle);
        let basis = KernelBasis::Delta(support);
        let a: Vec<f64> = (0..basis.len()).map(|k| (k as f64).sin()).collect();
        let mut kernel = dia_core::Kernel::zero(4);
        basis.expand(&a, &mut kernel);
        let nearest = NearestKernel::new(&basis, ReferenceStars::new(None, None)).unwrap();
        for (found, a) in nearest.coefficients(&basis, kernel.pixels()).iter().zip(&a) {
            // A condition of 50.
            assert!((found - a).abs() < 1e-12);
        }
    }
}
