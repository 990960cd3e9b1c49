//! The Gaussian kernel that fits best: what a kernel is when the data tell nothing else of it.
//!
//! Two images of one sky differ first of all in flux, in place and in seeing: K is then P times a Gaussian of some centre and widths. Regularisation must not
//! pull at these, or else it pulls at the photometric scale. So a Gaussian of free amplitude, centre and widths is fitted to the same quadratic
//! form as the kernel's pixels, by Gauss & Newton, and left out of the penalty at any amplitude: where there is little light, that is what the kernel ends at.

use std::f64::consts::PI;

use dia_core::{Kernel, KernelBasis};
use faer::Mat;

use crate::basis_rows::BasisRows;
use crate::cg::{axpy, dot};
use crate::lambda::product;
use crate::penalty::FreeKernel;
use crate::{Cholesky, SolveError};

/// A Gaussian along the axes of the image, with the frequencies that pixels can hold and no others.
///
/// Its samples would have those beyond Nyquist folded back: below a σ of one pixel, that is another kernel. With them cut off, a width of zero is a
/// shift by a part of a pixel, and a negative second moment sharpens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gaussian {
    /// Centre (y, x) in pixels.
    centre: [f64; 2],
    /// Second moments yy and xx in pixels².
    moments: [f64; 2],
}

/// Least second moment: the highest frequency is amplified by two.
const LEAST_MOMENT: f64 = -0.14;

/// Widths from which the fit starts, σ in pixels.
const STARTS: [f64; 3] = [0.5, 1.2, 2.4];

/// Most steps of one fit.
const STEPS: usize = 12;

/// Steps below this, in pixels and pixels², change nothing: of a star of FWHM 3 px, 10⁻³ px is 2·10⁻⁷ of its energy.
const PRECISION: f64 = 1e-3;

/// Points of the integrals over frequency. By the trapezoidal rule, what lies at twice as many pixels is folded back.
const FREQUENCIES: usize = 128;

/// One Gaussian and its first two derivatives, at −h … h.
fn profiles(half_width: usize, centre: f64, moment: f64) -> [Vec<f64>; 3] {
    let h = half_width as f64;
    let mut values: [Vec<f64>; 3] = std::array::from_fn(|_| vec![0.0; 2 * half_width + 1]);
    for i in 0..=FREQUENCIES {
        let k = PI * i as f64 / FREQUENCIES as f64;
        let end = if i == 0 || i == FREQUENCIES { 0.5 } else { 1.0 };
        let weight = end * (-0.5 * moment * k * k).exp() / FREQUENCIES as f64;
        // From pixel to pixel the phase turns by k.
        let (turn_sine, turn_cosine) = k.sin_cos();
        let (mut sine, mut cosine) = (k * (-h - centre)).sin_cos();
        let [zeroth, first, second] = &mut values;
        for ((zeroth, first), second) in zeroth.iter_mut().zip(first).zip(second) {
            *zeroth += weight * cosine;
            *first -= weight * k * sine;
            *second -= weight * k * k * cosine;
            (sine, cosine) =
                (sine * turn_cosine + cosine * turn_sine, cosine * turn_cosine - sine * turn_sine);
        }
    }
    values
}

impl Gaussian {
    fn round(sigma: f64) -> Self {
        Self { centre: [0.0; 2], moments: [sigma * sigma; 2] }
    }

    /// Of unit sum, and its derivatives by centre and moments.
    fn templates(self, half_width: usize) -> [Vec<f64>; 5] {
        let [y, x] = [0, 1].map(|i| profiles(half_width, self.centre[i], self.moments[i]));
        let product = |i: usize, j: usize, factor: f64| {
            y[i].iter().flat_map(|y| x[j].iter().map(move |x| factor * y * x)).collect()
        };
        [
            product(0, 0, 1.0),
            product(1, 0, -1.0),
            product(0, 1, -1.0),
            // The heat equation.
            product(2, 0, 0.5),
            product(0, 2, 0.5),
        ]
    }

    /// Of unit sum; its derivatives by centre and moments as [`templates`](Self::templates) has them; and that by the mixed moment yx.
    pub(crate) fn changes(self, half_width: usize) -> Vec<Vec<f64>> {
        let [y, x] = [0, 1].map(|i| profiles(half_width, self.centre[i], self.moments[i]));
        let mixed = y[1].iter().flat_map(|y| x[1].iter().map(move |x| y * x)).collect();
        self.templates(half_width).into_iter().chain([mixed]).collect()
    }

    /// The largest difference of a centre or a moment.
    fn distance(self, other: Self) -> f64 {
        let of = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
        of(self.centre, other.centre).max(of(self.moments, other.moments))
    }

    /// Moved by a step of Gauss & Newton, as far as it can be trusted; centre and widths stay within half of the radius of a kernel.
    fn moved(self, step: [f64; 4], radius: f64) -> Self {
        let reach = 0.5 * radius.max(1.0);
        let centre = [0, 1].map(|i| {
            let most = self.moments[i].max(0.25).sqrt();
            (self.centre[i] + step[i].clamp(-most, most)).clamp(-reach, reach)
        });
        let moments = [0, 1].map(|i| {
            let most = 0.3 + self.moments[i].abs();
            let moment = self.moments[i] + step[2 + i].clamp(-most, most);
            moment.clamp(LEAST_MOMENT, reach * reach)
        });
        Self { centre, moments }
    }
}

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
    fn minimum(&self, count: usize, b: &[f64]) -> Option<(Vec<f64>, f64)> {
        let k = self.columns.len();
        let used: Vec<usize> = (0..count).chain(k..self.sizes.len()).collect();
        let h = Mat::from_fn(used.len(), used.len(), |i, j| self.h[(used[i], used[j])]);
        let right = |i: usize| {
            if i < k { dot(&self.columns[i], &b[..self.kernel]) } else { b[self.kernel + i - k] }
        };
        let right: Vec<f64> = used.iter().map(|i| right(*i) / self.sizes[*i]).collect();
        let mut x = right.clone();
        Cholesky::new(&h).ok()?.solve_in_place(&mut x);
        let least = -0.5 * dot(&x, &right);
        x.iter_mut().zip(&used).for_each(|(x, i)| *x /= self.sizes[*i]);
        Some((x, least))
    }

    /// H⁻¹ b within the space of the first `count` columns and the background.
    fn solution(&self, count: usize, b: &[f64]) -> Option<Vec<f64>> {
        let (coefficients, _) = self.minimum(count, b)?;
        let mut x = vec![0.0; b.len()];
        for (column, a) in self.columns.iter().zip(&coefficients[..count]) {
            axpy(*a, column, &mut x[..self.kernel]);
        }
        x[self.kernel..].copy_from_slice(&coefficients[count..]);
        Some(x)
    }
}

/// The kernel of a basis that is nearest to an image of the size of its support.
pub(crate) struct NearestKernel<'a> {
    basis: &'a KernelBasis,
    /// The factor of EᵀE.
    shapes: Cholesky,
}

impl<'a> NearestKernel<'a> {
    /// `pixels` are the functions of `basis` pixel by pixel.
    pub(crate) fn new(basis: &'a KernelBasis, pixels: &BasisRows) -> Result<Self, SolveError> {
        Ok(Self { basis, shapes: Cholesky::new(&pixels.gram(|_| 1.0))? })
    }

    pub(crate) fn coefficients(&self, image: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.basis.len()];
        self.basis.project(image, &mut x);
        self.shapes.solve_in_place(&mut x);
        x
    }
}

/// The Gaussian kernel of unit sum that minimises a quadratic form at its best amplitude; a narrow one where nothing is determined.
///
/// `pixels` are the functions of `basis` pixel by pixel; `last` is what was found for a form of nearly the same data.
pub(crate) fn seeing_kernel(
    basis: &KernelBasis,
    pixels: &BasisRows,
    form: &Quadratic<'_>,
    last: Option<&FreeKernel>,
) -> Result<FreeKernel, SolveError> {
    let half_width = basis.support().half_width();
    let nearest = NearestKernel::new(basis, pixels)?;
    let coefficients = |image: &Vec<f64>| nearest.coefficients(image);
    let columns = |gaussian: Gaussian| gaussian.templates(half_width).each_ref().map(coefficients);
    let mut best: Option<(Gaussian, f64)> = None;
    let starts = STARTS.map(Gaussian::round);
    let known = last.map(|last| [last.gaussian, starts[1]]);
    for start in known.as_ref().map_or(&starts[..], |known| known) {
        let mut gaussian = *start;
        for _ in 0..STEPS {
            let templates = columns(gaussian);
            let Some(within) = Within::new(form.h, &templates) else { break };
            let Some((_, value)) = within.minimum(1, form.b) else { break };
            if best.is_none_or(|(_, least)| value < least) {
                best = Some((gaussian, value));
            }
            let Some((x, _)) = within.minimum(templates.len(), form.b) else { break };
            if x[0] <= 0.0 {
                break;
            }
            let step = std::array::from_fn(|i| x[1 + i] / x[0]);
            let next = gaussian.moved(step, basis.inner_radius());
            if next.distance(gaussian) < PRECISION {
                break;
            }
            gaussian = next;
        }
    }
    let gaussian = best.map_or(Gaussian::round(STARTS[0]), |(gaussian, _)| gaussian);
    let templates = columns(gaussian);
    let mut scale = vec![0.0; form.b.len()];
    basis.project(&vec![1.0; basis.support().side().pow(2)], &mut scale[..basis.len()]);
    let within = Within::new(form.h, &templates);
    let solution = |count: usize| within.as_ref().and_then(|within| within.solution(count, &scale));
    let direction = solution(templates.len())
        .or_else(|| Within::new(form.h, &templates[..1])?.solution(1, &scale));
    let [coefficients, ..] = templates;
    let mut kernel = Kernel::zero(half_width);
    basis.expand(&coefficients, &mut kernel);
    let direction = direction.unwrap_or_else(|| vec![0.0; scale.len()]);
    Ok(FreeKernel { pixels: kernel.pixels().to_vec(), coefficients, direction, gaussian })
}
