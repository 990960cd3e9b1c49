//! Columns of the design matrix that are known images times polynomials, in the rows of the products, and their adjoint: the differential background, whose
//! image is one, and the rings of the kernel's wings, whose images are R convolved with each.

use std::ops::Range;
use std::sync::Arc;

use dia_core::{MAX_DEGREE, Polynomial2d, Region};
use pulp::Simd;

use crate::factors::Factors;
use crate::vector::{Lanes, vectors};

/// An image times polynomials.
pub(crate) struct Modulated<T> {
    /// At the valid pixels; of ones where there is none.
    image: Option<Arc<Vec<T>>>,
    polynomial: Polynomial2d,
    valid: Region,
    factors: Factors<T>,
}

/// Σ_y v(x, y) P_j(y) of every valid column x and each j, over some rows y of one task, a few hundred at most.
///
/// Sums along rows come last, in `f64`: they do not vectorise, and there is one per task instead of one per row.
#[derive(Clone)]
pub(crate) struct Moments<T> {
    /// One line of columns for each j ≤ degree.
    lines: Vec<Vec<T>>,
}

/// The polynomials in one row: Σ_i q_i P_i(x).
pub(crate) struct InRow<T> {
    q: [T; MAX_DEGREE + 1],
}

impl<T: Lanes> Modulated<T> {
    /// `image`, or ones, times the terms of `polynomial`.
    pub(crate) fn new(
        image: Option<Arc<Vec<T>>>,
        polynomial: &Polynomial2d,
        valid: Region,
    ) -> Self {
        let factors = Factors::new(polynomial, valid);
        Self { image, polynomial: polynomial.clone(), valid, factors }
    }

    /// The image, if it is not of ones.
    pub(crate) fn image(&self) -> Option<&Arc<Vec<T>>> {
        self.image.as_ref()
    }

    /// Number of columns.
    pub(crate) fn len(&self) -> usize {
        self.polynomial.len()
    }

    pub(crate) fn moments(&self) -> Moments<T> {
        let columns = &self.factors.x;
        Moments { lines: vec![vec![T::nearest(0.0); columns[0].len()]; columns.len()] }
    }

    /// The polynomial of the coefficients in every valid row.
    pub(crate) fn in_rows(&self, coefficients: &[f64]) -> Vec<InRow<T>> {
        (0..self.valid.height).map(|y| self.in_row(coefficients, y)).collect()
    }

    fn in_row(&self, coefficients: &[f64], y: usize) -> InRow<T> {
        let q = self.polynomial.in_row(coefficients, y + self.valid.y);
        let mut narrow = InRow { q: [T::nearest(0.0); MAX_DEGREE + 1] };
        for (narrow, q) in narrow.q.iter_mut().zip(q) {
            *narrow = T::nearest(q);
        }
        narrow
    }

    /// Adds image × polynomial to `values`, which are at the valid `columns` of row `y`.
    #[inline(always)]
    pub(crate) fn add_to<S: Simd>(
        &self,
        simd: S,
        in_row: &InRow<T>,
        y: usize,
        columns: Range<usize>,
        values: &mut [T],
    ) {
        // P_0 = 1
        let constant = T::splat(simd, in_row.q[0]);
        let image = self.image_row(y, &columns);
        for (start, end) in vectors::<S, T>(values.len()) {
            let v = T::load(simd, &values[start..end]);
            let mut sum = if image.is_some() { constant } else { T::add(simd, v, constant) };
            for i in 1..self.factors.x.len() {
                let p =
                    T::load(simd, &self.factors.x[i][columns.start + start..columns.start + end]);
                sum = T::mul_add(simd, T::splat(simd, in_row.q[i]), p, sum);
            }
            if let Some(image) = image {
                sum = T::mul_add(simd, T::load(simd, &image[start..end]), sum, v);
            }
            T::store(simd, &mut values[start..end], sum);
        }
    }

    /// Adds the `values` at the valid `columns` of row `y` to the moments.
    #[inline(always)]
    pub(crate) fn add_moments<S: Simd>(
        &self,
        simd: S,
        moments: &mut Moments<T>,
        y: usize,
        columns: Range<usize>,
        values: &[T],
    ) {
        let image = self.image_row(y, &columns);
        for (j, line) in moments.lines.iter_mut().enumerate() {
            let p = T::splat(simd, self.factors.y[j][y]);
            let line = &mut line[columns.clone()];
            for (start, end) in vectors::<S, T>(values.len()) {
                let mut v = T::load(simd, &values[start..end]);
                if let Some(image) = image {
                    v = T::mul(simd, v, T::load(simd, &image[start..end]));
                }
                let line = &mut line[start..end];
                let sum = T::mul_add(simd, p, v, T::load(simd, line));
                T::store(simd, line, sum);
            }
        }
    }

    #[inline(always)]
    fn image_row(&self, y: usize, columns: &Range<usize>) -> Option<&[T]> {
        self.image.as_ref().map(|image| &image[y * self.valid.width..][columns.clone()])
    }

    /// Adds Σ v φ_k to each `sums[k]`, φ_k being the columns.
    pub(crate) fn finish(&self, moments: &Moments<T>, sums: &mut [f64]) {
        for ((i, j), sum) in self.polynomial.powers().zip(sums) {
            let p = &self.polynomial.factors_x(i)[self.valid.x..];
            let products = moments.lines[j].iter().zip(p).map(|(s, p)| T::exact(*s) * p);
            *sum += products.sum::<f64>();
        }
    }
}

impl<T: Lanes> Moments<T> {
    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.lines.iter_mut().for_each(|line| line.fill(T::nearest(0.0)));
    }
}
