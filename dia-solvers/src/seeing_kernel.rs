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

impl Quadratic<'_> {
    /// The coefficients of `columns` over the kernel, and of every background column, that minimise it; and the minimum. `None` where it has none.
    fn minimum(&self, columns: &[&[f64]]) -> Option<(Vec<f64>, f64)> {
        let (basis, x) = self.solve_within(columns, self.b)?;
        let least =
            -0.5 * basis.iter().zip(&x).map(|(column, x)| x * dot(column, self.b)).sum::<f64>();
        Some((x, least))
    }

    /// H⁻¹ c within the space of `columns` over the kernel and every background column.
    fn within(&self, columns: &[&[f64]], c: &[f64]) -> Option<Vec<f64>> {
        let (basis, coefficients) = self.solve_within(columns, c)?;
        let mut x = vec![0.0; c.len()];
        for (column, a) in basis.iter().zip(coefficients) {
            axpy(a, column, &mut x);
        }
        Some(x)
    }

    /// The basis of that space, and the coefficients of H⁻¹ c.
    fn solve_within(&self, columns: &[&[f64]], c: &[f64]) -> Option<(Vec<Vec<f64>>, Vec<f64>)> {
        let (n, kernel) = (self.h.ncols(), columns[0].len());
        let mut basis: Vec<Vec<f64>> = columns
            .iter()
            .map(|column| {
                column.iter().copied().chain(std::iter::repeat_n(0.0, n - kernel)).collect()
            })
            .collect();
        basis.extend((kernel..n).map(|j| (0..n).map(|i| f64::from(u8::from(i == j))).collect()));
        let products: Vec<Vec<f64>> = basis.iter().map(|x| product(self.h, x)).collect();
        // Columns of one size: their units differ.
        let sizes: Vec<f64> = basis.iter().zip(&products).map(|(x, h)| dot(x, h)).collect();
        if sizes.iter().any(|size| *size <= 0.0) {
            return None;
        }
        let small = Mat::from_fn(basis.len(), basis.len(), |i, j| {
            dot(&basis[i], &products[j]) / (sizes[i] * sizes[j]).sqrt()
        });
        let mut x: Vec<f64> =
            basis.iter().zip(&sizes).map(|(x, size)| dot(x, c) / size.sqrt()).collect();
        Cholesky::new(&small).ok()?.solve_in_place(&mut x);
        x.iter_mut().zip(&sizes).for_each(|(x, size)| *x /= size.sqrt());
        Some((basis, x))
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
    let shapes = Cholesky::new(&pixels.gram(|_| 1.0))?;
    let coefficients = |image: &Vec<f64>| {
        let mut x = vec![0.0; basis.len()];
        basis.project(image, &mut x);
        shapes.solve_in_place(&mut x);
        x
    };
    let columns = |gaussian: Gaussian| gaussian.templates(half_width).map(|t| coefficients(&t));
    let mut best: Option<(Gaussian, f64)> = None;
    let starts = STARTS.map(Gaussian::round);
    let known = last.map(|last| [last.gaussian, starts[1]]);
    for start in known.as_ref().map_or(&starts[..], |known| known) {
        let mut gaussian = *start;
        for _ in 0..STEPS {
            let templates = columns(gaussian);
            let Some((_, value)) = form.minimum(&[&templates[0]]) else { break };
            if best.is_none_or(|(_, least)| value < least) {
                best = Some((gaussian, value));
            }
            let Some((x, _)) = form.minimum(&templates.each_ref().map(Vec::as_slice)) else {
                break;
            };
            if x[0] <= 0.0 {
                break;
            }
            let step = std::array::from_fn(|i| x[1 + i] / x[0]);
            let next = gaussian.moved(step, basis.inner_radius());
            if next == gaussian {
                break;
            }
            gaussian = next;
        }
    }
    let gaussian = best.map_or(Gaussian::round(STARTS[0]), |(gaussian, _)| gaussian);
    let templates = columns(gaussian);
    let mut scale = vec![0.0; form.b.len()];
    basis.project(&vec![1.0; basis.support().side().pow(2)], &mut scale[..basis.len()]);
    let free = templates.each_ref().map(Vec::as_slice);
    let direction = form.within(&free, &scale).or_else(|| form.within(&free[..1], &scale));
    let [coefficients, ..] = templates;
    let mut kernel = Kernel::zero(half_width);
    basis.expand(&coefficients, &mut kernel);
    let direction = direction.unwrap_or_else(|| vec![0.0; scale.len()]);
    Ok(FreeKernel { pixels: kernel.pixels().to_vec(), coefficients, direction, gaussian })
}
