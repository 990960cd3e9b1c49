//! The differential background in the rows of the products, and its adjoint.

use dia_core::{Design, MAX_DEGREE, Polynomial2d};
use pulp::Simd;

use crate::factors::Factors;
use crate::vector::Lanes;

/// The background's polynomials.
pub(crate) struct Background<T> {
    polynomial: Polynomial2d,
    first_row: usize,
    first_column: usize,
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

/// The background in one row: Σ_i q_i P_i(x).
pub(crate) struct InRow<T> {
    q: [T; MAX_DEGREE + 1],
}

impl<T: Lanes> Background<T> {
    /// The background of a design, if it has one.
    pub(crate) fn of(design: &Design) -> Option<Self> {
        let polynomial = design.background()?.clone();
        let factors = Factors::new(&polynomial, design.valid());
        let valid = design.valid();
        Some(Self { polynomial, first_row: valid.y, first_column: valid.x, factors })
    }

    pub(crate) fn moments(&self) -> Moments<T> {
        let columns = &self.factors.x;
        Moments { lines: vec![vec![T::nearest(0.0); columns[0].len()]; columns.len()] }
    }

    /// The background of the valid row `y`.
    #[inline(always)]
    pub(crate) fn in_row(&self, coefficients: &[f64], y: usize) -> InRow<T> {
        // q_i = Σ_j c_ij P_j(y)
        let (mut q, mut k) = ([0.0; MAX_DEGREE + 1], 0);
        for total in 0..self.factors.x.len() {
            for j in 0..=total {
                q[total - j] += coefficients[k] * self.polynomial.factors_y(j)[y + self.first_row];
                k += 1;
            }
        }
        let mut narrow = InRow { q: [T::nearest(0.0); MAX_DEGREE + 1] };
        for (narrow, q) in narrow.q.iter_mut().zip(q) {
            *narrow = T::nearest(q);
        }
        narrow
    }

    /// v + background at the valid columns from `x` on.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(
        &self,
        simd: S,
        in_row: &InRow<T>,
        x: usize,
        v: T::Vector<S>,
    ) -> T::Vector<S> {
        // P_0 = 1
        let mut v = T::add(simd, v, T::splat(simd, in_row.q[0]));
        for i in 1..self.factors.x.len() {
            let p = T::load(simd, &self.factors.x[i][x..]);
            v = T::mul_add(simd, T::splat(simd, in_row.q[i]), p, v);
        }
        v
    }

    /// Adds v, the values in the valid row `y` at the columns x .. end, to the moments.
    #[inline(always)]
    pub(crate) fn add_moments<S: Simd>(
        &self,
        simd: S,
        moments: &mut Moments<T>,
        y: usize,
        (x, end): (usize, usize),
        v: T::Vector<S>,
    ) {
        for j in 0..self.factors.y.len() {
            let p = T::splat(simd, self.factors.y[j][y]);
            let line = &mut moments.lines[j][x..end];
            let sum = T::mul_add(simd, p, v, T::load(simd, line));
            T::store(simd, line, sum);
        }
    }

    /// Adds Σ v φ_k to each `sums[k]`.
    pub(crate) fn finish(&self, moments: &Moments<T>, sums: &mut [f64]) {
        for ((i, j), sum) in self.polynomial.powers().zip(sums) {
            let p = &self.polynomial.factors_x(i)[self.first_column..];
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
