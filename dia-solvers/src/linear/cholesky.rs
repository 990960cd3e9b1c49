//! The dense Cholesky factorization H = L Lᵀ, by faer.

use std::fmt;

use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{Mat, MatMut, MatRef, Par, Side};

use crate::{Preconditioner, SolveError};

/// The factor of a symmetric positive definite matrix; as a [`Preconditioner`], its exact inverse.
#[derive(Clone)]
pub struct Cholesky {
    factor: Mat<f64>,
}

impl Cholesky {
    /// Factors the matrix whose lower triangle is that of `h`.
    ///
    /// # Errors
    /// [`SolveError::NotPositiveDefinite`] names the first column that depends on those before it;
    /// [`SolveError::NonFinite`] if the matrix holds NaN or infinities.
    pub fn new(h: &Mat<f64>) -> Result<Self, SolveError> {
        Self::of_rounded(h, h.ncols() as f64 * f64::EPSILON)
    }

    /// As [`new`](Self::new), of a matrix whose elements are known to `rounding`, relative to the diagonal.
    ///
    /// A pivot of less than that fraction of its diagonal is no information: that column is a sum of the others.
    pub(crate) fn of_rounded(h: &Mat<f64>, rounding: f64) -> Result<Self, SolveError> {
        let columns = h.ncols();
        let finite = (0..columns).all(|j| (j..columns).all(|i| h[(i, j)].is_finite()));
        if !finite {
            return Err(SolveError::NonFinite { what: "the normal matrix", iteration: 0 });
        }
        let llt = h.llt(Side::Lower).map_err(|error| match error {
            faer::linalg::cholesky::llt::factor::LltError::NonPositivePivot { index } => {
                SolveError::NotPositiveDefinite { column: index, columns }
            }
        })?;
        let factor = llt.L().to_owned();
        for column in 0..columns {
            if factor[(column, column)].powi(2) <= rounding * h[(column, column)] {
                return Err(SolveError::NotPositiveDefinite { column, columns });
            }
        }
        Ok(Self { factor })
    }

    /// L.
    pub(crate) fn factor(&self) -> MatRef<'_, f64> {
        self.factor.as_ref()
    }

    /// The factor of the first `n` rows and columns.
    pub(crate) fn leading(&self, n: usize) -> Self {
        Self { factor: self.factor.submatrix(0, 0, n, n).to_owned() }
    }

    /// X ← H⁻¹ X, column by column.
    pub(crate) fn solve_columns(&self, x: &mut Mat<f64>) {
        solve_lower_triangular_in_place(self.factor.as_ref(), x.as_mut(), Par::Seq);
        solve_upper_triangular_in_place(self.factor.transpose(), x.as_mut(), Par::Seq);
    }

    /// L⁻¹ L′ for the factor L′ of another matrix H′; the sum of its squares is tr H⁻¹H′.
    pub(crate) fn whitened(&self, other: &Self) -> Mat<f64> {
        let mut whitened = other.factor.clone();
        solve_lower_triangular_in_place(self.factor.as_ref(), whitened.as_mut(), Par::Seq);
        whitened
    }

    /// H⁻¹ b, in place.
    pub fn solve_in_place(&self, b: &mut [f64]) {
        self.solve_lower(b);
        self.solve_upper(b);
    }
}

impl Preconditioner for Cholesky {
    fn dim(&self) -> usize {
        self.factor.ncols()
    }

    fn solve_lower(&self, x: &mut [f64]) {
        let x = MatMut::from_column_major_slice_mut(x, self.dim(), 1);
        solve_lower_triangular_in_place(self.factor.as_ref(), x, Par::Seq);
    }

    fn solve_upper(&self, x: &mut [f64]) {
        let x = MatMut::from_column_major_slice_mut(x, self.dim(), 1);
        solve_upper_triangular_in_place(self.factor.transpose(), x, Par::Seq);
    }
}

impl fmt::Debug for Cholesky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cholesky").field("dim", &self.dim()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::Cholesky;
    use crate::{Preconditioner, SolveError};

    #[test]
    fn solves_with_the_factors_and_with_both() {
        // H = B Bᵀ + I with small whole numbers.
        let n = 7;
        let b = |i: usize, k: usize| ((i * 5 + k * 3) % 7) as f64 - 3.0;
        let h = Mat::from_fn(n, n, |i, j| {
            (0..n).map(|k| b(i, k) * b(j, k)).sum::<f64>() + f64::from(u8::from(i == j))
        });
        let cholesky = Cholesky::new(&h).unwrap();
        let x: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
        let mut solved: Vec<f64> = (0..n).map(|i| (0..n).map(|j| h[(i, j)] * x[j]).sum()).collect();
        let mut split = solved.clone();
        cholesky.solve_in_place(&mut solved);
        cholesky.solve_lower(&mut split);
        cholesky.solve_upper(&mut split);
        for ((a, b), x) in solved.iter().zip(&split).zip(&x) {
            // The condition number is below 200; n² roundings of 7 ε.
            assert!((a - x).abs() < 200.0 * 49.0 * 7.0 * f64::EPSILON && a == b);
        }
    }

    #[test]
    fn a_dependent_column_is_named() {
        let h =
            Mat::from_fn(3, 3, |i, j| [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 2.0]][i][j]);
        let error = Cholesky::new(&h).unwrap_err();
        assert!(matches!(error, SolveError::NotPositiveDefinite { column: 2, columns: 3 }));
    }
}
