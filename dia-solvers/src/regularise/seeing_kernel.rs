//! The kernel from one seeing to another that fits best: what a kernel is when the data tell nothing else of it.
//!
//! Two images of one sky differ first of all in flux, in place and in seeing. Regularisation must not pull at these, or else it pulls at the photometric scale. So
//! a kernel of free amplitude, centre and widths is fitted to the same quadratic form as the kernel's pixels, by Gauss & Newton, and left out of the penalty at any
//! amplitude: where there is little light, that is what the kernel ends at.
//!
//! Stars are taken for Moffat profiles of one 1/β in both images, so that the kernel's transform is T(σ_I²k²)/T(σ_R²k²) with the T of [`dia_core::moffat`]; for 1/β = 0 that is a
//! Gaussian of σ_I² − σ_R². The wings matter: where only the cores of stars stand out of the sky, the best Gaussian has 4 to 8 % less flux than the kernel between two profiles of
//! β = 3 to 4.8. Faint stars tell nothing of 1/β through the fit; the profile of the reference's brightest stars does, which is its prior, and what that leaves open is in the scale's error.

use dia_core::{Kernel, KernelBasis};
use faer::Mat;

use crate::Cholesky;
use crate::linear::cg::{axpy, dot};
use crate::regularise::lambda::product;
use crate::regularise::nearest_kernel::NearestKernel;
use crate::regularise::penalty::{FreeKernel, Member};
use crate::regularise::seeing_shape::{ReferenceStars, SeeingShape};

/// Widths from which the fit starts, σ in pixels; what was measured stands in the place of the first.
const STARTS: [f64; 3] = [0.5, 1.2, 2.4];

/// Most steps of one fit.
const STEPS: usize = 12;

/// Steps below this, in pixels, pixels² and 1/β, change nothing: of a star of FWHM 3 px, 10⁻³ px is 2·10⁻⁷ of its energy.
const PRECISION: f64 = 1e-3;

/// Two starts that come as near as this are on the way to one minimum.
const SAME: f64 = 0.1;

/// A quadratic form of the kernel's coefficients and the background's, ½ xᵀ H x − bᵀ x.
pub(crate) struct Quadratic<'a> {
    /// H with both triangles, without the bias of the reference's noise.
    pub(crate) h: &'a Mat<f64>,
    pub(crate) b: &'a [f64],
}

/// A quadratic form within the space of some columns over the kernel and of every background column, these in units of their size.
struct Within<'a> {
    columns: &'a [Vec<f64>],
    /// The first column of the background.
    kernel: usize,
    /// (xᵀ H x)^½ of each.
    sizes: Vec<f64>,
    /// H over them.
    h: Mat<f64>,
}

impl<'a> Within<'a> {
    /// `None` if one of the columns has no size.
    fn new(h: &Mat<f64>, columns: &'a [Vec<f64>]) -> Option<Self> {
        let (n, kernel, k) = (h.ncols(), columns[0].len(), columns.len());
        let products: Vec<Vec<f64>> = columns.iter().map(|x| product(h, x)).collect();
        let element = |i: usize, j: usize| match (i < k, j < k) {
            (true, true) => dot(&columns[i], &products[j][..kernel]),
            (true, false) => products[i][kernel + j - k],
            (false, true) => products[j][kernel + i - k],
            (false, false) => h[(kernel + i - k, kernel + j - k)],
        };
        let all = k + n - kernel;
        let sizes: Vec<f64> = (0..all).map(|i| element(i, i).sqrt()).collect();
        // Not positive, or NaN.
        if !sizes.iter().all(|size| *size > 0.0) {
            return None;
        }
        let h = Mat::from_fn(all, all, |i, j| element(i, j) / (sizes[i] * sizes[j]));
        Some(Self { columns, kernel, sizes, h })
    }

    /// The coefficients of the first `count` of the columns and of the background that minimise ½ xᵀ H x − bᵀ x, and the minimum. `None` where there is none.
    ///
    /// `priors` are what is known of coefficients of these columns: the inverse variance, and that times the mean.
    fn minimum(
        &self,
        count: usize,
        b: &[f64],
        priors: &[(usize, [f64; 2])],
    ) -> Option<(Vec<f64>, f64)> {
        let k = self.columns.len();
        let used: Vec<usize> = (0..count).chain(k..self.sizes.len()).collect();
        let mut h = Mat::from_fn(used.len(), used.len(), |i, j| self.h[(used[i], used[j])]);
        let right = |i: usize| {
            if i < k { dot(&self.columns[i], &b[..self.kernel]) } else { b[self.kernel + i - k] }
        };
        let mut right: Vec<f64> = used.iter().map(|i| right(*i) / self.sizes[*i]).collect();
        for (i, [precision, information]) in priors {
            let size = self.sizes[*i];
            h[(*i, *i)] += precision / (size * size);
            right[*i] += information / size;
        }
        let mut x = right.clone();
        Cholesky::new(&h).ok()?.solve_in_place(&mut x);
        let least = -0.5 * dot(&x, &right);
        x.iter_mut().zip(&used).for_each(|(x, i)| *x /= self.sizes[*i]);
        Some((x, least))
    }

    /// H⁻¹ b within the space of the first `count` columns and the background, with `priors` as in [`minimum`](Self::minimum).
    fn solution(&self, count: usize, b: &[f64], priors: &[(usize, [f64; 2])]) -> Option<Vec<f64>> {
        let (coefficients, _) = self.minimum(count, b, priors)?;
        let mut x = vec![0.0; b.len()];
        for (column, a) in self.columns.iter().zip(&coefficients[..count]) {
            axpy(*a, column, &mut x[..self.kernel]);
        }
        x[self.kernel..].copy_from_slice(&coefficients[count..]);
        Some(x)
    }
}

/// kᵀ H k of a kernel of unit sum that hardly changes stars.
pub(crate) fn form_of_stars(
    basis: &KernelBasis,
    nearest: &NearestKernel,
    h: &Mat<f64>,
    reference: ReferenceStars,
) -> f64 {
    let shape = SeeingShape::round(reference, STARTS[0]);
    let [image, ..] = shape.templates(basis.support().half_width());
    let mut kernel = nearest.coefficients(basis, &image);
    let functions = kernel.len();
    kernel.resize(h.ncols(), 0.0);
    dot(&product(h, &kernel)[..functions], &kernel[..functions])
}

/// The kernel of unit sum, from the reference's seeing to another, that minimises a quadratic form at its best amplitude; a narrow one where nothing is determined.
///
/// `nearest` finds kernels of `basis`; `last` is what was found for a form of nearly the same data.
pub(crate) fn seeing_kernel(
    basis: &KernelBasis,
    nearest: &NearestKernel,
    form: &Quadratic<'_>,
    reference: ReferenceStars,
    last: Option<&FreeKernel>,
) -> FreeKernel {
    let half_width = basis.support().half_width();
    let coefficients = |image: &Vec<f64>| nearest.coefficients(basis, image);
    let columns = |shape: SeeingShape| shape.templates(half_width).each_ref().map(coefficients);
    let mut best: Option<(SeeingShape, f64, f64)> = None;
    let mut starts = STARTS.map(|sigma| SeeingShape::round(reference, sigma));
    if let Some(measured) = SeeingShape::measured(reference) {
        starts[0] = measured;
    }
    let known = last.map(|last| [last.shape.of(reference), starts[1]]);
    for start in known.as_ref().map_or(&starts[..], |known| known) {
        let before = best.map(|(shape, ..)| shape);
        // What was the best of all minima and has hardly moved is that still.
        if before.zip(last).is_some_and(|(now, last)| now.distance(last.shape) < SAME) {
            break;
        }
        let mut shape = *start;
        for _ in 0..STEPS {
            let templates = columns(shape);
            let Some(within) = Within::new(form.h, &templates) else { break };
            let Some((x, value)) = within.minimum(1, form.b, &[]) else { break };
            let (scale, value) = (x[0], value + shape.improbability());
            if best.is_none_or(|(.., least)| value < least) {
                best = Some((shape, scale, value));
            }
            // Of P times the changes.
            let priors: Vec<_> = shape
                .priors()
                .map(|(i, [change, sigma])| {
                    let precision = (sigma * scale).powi(-2);
                    (i, [precision, precision * scale * change])
                })
                .collect();
            let Some((x, _)) = within.minimum(templates.len(), form.b, &priors) else { break };
            if scale <= 0.0 || x[0] <= 0.0 {
                break;
            }
            let step = std::array::from_fn(|i| x[1 + i] / x[0]);
            let next = shape.moved(step, basis.inner_radius());
            let again = before.is_some_and(|before| next.distance(before) < SAME);
            if again || next.distance(shape) < PRECISION {
                break;
            }
            shape = next;
        }
    }
    let (shape, amplitude) = best
        .map_or((SeeingShape::round(reference, STARTS[0]), 1.0), |(shape, amplitude, _)| {
            (shape, amplitude)
        });
    let templates = columns(shape);
    let mut scale = vec![0.0; form.b.len()];
    basis.project(&vec![1.0; basis.support().side().pow(2)], &mut scale[..basis.len()]);
    let within = Within::new(form.h, &templates);
    let priors: Vec<_> =
        shape.priors().map(|(i, [_, sigma])| (i, [(sigma * amplitude).powi(-2), 0.0])).collect();
    let solution = |within: &Within<'_>| within.solution(templates.len(), &scale, &priors);
    let direction = within.as_ref().and_then(solution);
    let direction =
        direction.or_else(|| Within::new(form.h, &templates[..1])?.solution(1, &scale, &[]));
    let direction = direction.unwrap_or_else(|| vec![0.0; scale.len()]);
    let members = templates.into_iter().zip(shape.known_changes()).map(|(coefficients, known)| {
        let mut kernel = Kernel::zero(half_width);
        basis.expand(&coefficients, &mut kernel);
        Member { pixels: kernel.pixels().to_vec(), coefficients, known }
    });
    FreeKernel { members: members.collect(), direction, shape }
}
