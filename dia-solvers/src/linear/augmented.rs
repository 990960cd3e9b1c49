//! A least-squares operator with rows for what is added to its normal matrix.
//!
//! LSQR minimises ‖b − A x‖² and knows no gradient but Aᵀ(b − A x). A penalty enters as further rows S x ≈ v: they add SᵀS to the normal matrix and Sᵀv
//! to the gradient. With S invertible on the kernel's coefficients, v = S⁻ᵀ q gives any gradient q, that of an indefinite penalty as well.

use std::fmt;

use dia_core::{DataVector, Design, LinearOperator, OperatorError};
use faer::{Mat, MatRef};

use crate::linear::cg::{axpy, dot};
use crate::{Cholesky, Preconditioner};

/// S over terms and functions of the kernel: x as a matrix of terms × functions, L_Cᵀ times that, and L_Bᵀ on each row of it.
#[derive(Clone, Debug)]
pub(crate) struct PenaltyRows {
    design: Design,
    terms: Mat<f64>,
    /// Of the first row, and of the others.
    functions: [Cholesky; 2],
}

impl PenaltyRows {
    /// From L_C over the terms and B₀, B₁ over the functions of the basis: SᵀS = L_C diag(B₀, B₁, …, B₁) L_Cᵀ.
    pub(crate) fn new(design: &Design, terms: Mat<f64>, functions: [Cholesky; 2]) -> Self {
        Self { design: design.clone(), terms, functions }
    }

    fn len(&self) -> usize {
        self.terms.ncols() * self.width()
    }

    /// Number of functions.
    fn width(&self) -> usize {
        self.functions[0].dim()
    }

    /// L_B of row r.
    fn factor(&self, r: usize) -> MatRef<'_, f64> {
        self.functions[r.min(1)].factor()
    }

    /// x as a matrix of terms × functions, row-major, zero where there is no such column.
    fn gather(&self, x: &[f64]) -> Vec<f64> {
        let mut matrix = vec![0.0; self.len()];
        for (row, term) in matrix.chunks_exact_mut(self.width()).zip(self.design.kernel_terms()) {
            row[term.functions].copy_from_slice(&x[term.columns]);
        }
        matrix
    }

    /// S x.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let (n, matrix) = (self.width(), self.gather(x));
        let mut out = Vec::with_capacity(matrix.len());
        for r in 0..self.terms.ncols() {
            let mut mixed = vec![0.0; n];
            for (t, row) in matrix.chunks_exact(n).enumerate().skip(r) {
                axpy(self.terms[(t, r)], row, &mut mixed);
            }
            out.extend((0..n).map(|j| dot(&column(self.factor(r), j)[j..], &mixed[j..])));
        }
        out
    }

    /// x ← x + Sᵀ y.
    fn add_adjoint(&self, y: &[f64], x: &mut [f64]) {
        let n = self.width();
        let mut matrix = vec![0.0; self.len()];
        for (r, y) in y.chunks_exact(n).enumerate() {
            let mut mixed = vec![0.0; n];
            for (j, y) in y.iter().enumerate() {
                axpy(*y, &column(self.factor(r), j)[j..], &mut mixed[j..]);
            }
            for (t, row) in matrix.chunks_exact_mut(n).enumerate().skip(r) {
                axpy(self.terms[(t, r)], &mixed, row);
            }
        }
        for (row, term) in matrix.chunks_exact(n).zip(self.design.kernel_terms()) {
            axpy(1.0, &row[term.functions], &mut x[term.columns]);
        }
    }

    /// v = S⁻ᵀ q.
    pub(crate) fn right_hand_side(&self, q: &[f64]) -> Vec<f64> {
        let n = self.width();
        let mut matrix = self.gather(q);
        // By forward substitution, row after row.
        for r in 0..self.terms.ncols() {
            let (above, rest) = matrix.split_at_mut(r * n);
            let row = &mut rest[..n];
            for (s, above) in above.chunks_exact(n).enumerate() {
                axpy(-self.terms[(r, s)], above, row);
            }
            for value in row {
                *value /= self.terms[(r, r)];
            }
        }
        for (r, row) in matrix.chunks_exact_mut(n).enumerate() {
            self.functions[r.min(1)].solve_lower(row);
        }
        matrix
    }
}

/// Column j of a factor.
fn column(l: MatRef<'_, f64>, j: usize) -> &[f64] {
    l.col(j).try_as_col_major().expect("columns are contiguous").as_slice()
}

/// A above S, or A alone.
pub(crate) struct Augmented<'a, A> {
    pub(crate) inner: A,
    pub(crate) rows: Option<&'a PenaltyRows>,
}

/// A data vector of A and the further rows.
#[derive(Clone, Debug)]
pub(crate) struct WithRows<D> {
    pub(crate) data: D,
    pub(crate) rows: Vec<f64>,
}

impl<A: LinearOperator> LinearOperator for Augmented<'_, A> {
    type Data = WithRows<A::Data>;
    type Workspace = A::Workspace;

    fn nrows(&self) -> usize {
        self.inner.nrows() + self.rows.map_or(0, PenaltyRows::len)
    }

    fn ncols(&self) -> usize {
        self.inner.ncols()
    }

    fn workspace(&self) -> Result<Self::Workspace, OperatorError> {
        self.inner.workspace()
    }

    fn zeros(&self) -> Result<Self::Data, OperatorError> {
        let rows = vec![0.0; self.rows.map_or(0, PenaltyRows::len)];
        Ok(WithRows { data: self.inner.zeros()?, rows })
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut Self::Data,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError> {
        if let Some(rows) = self.rows {
            y.rows.copy_from_slice(&rows.apply(x));
        }
        self.inner.apply(x, &mut y.data, workspace)
    }

    fn apply_adjoint(
        &self,
        y: &Self::Data,
        x: &mut [f64],
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError> {
        self.inner.apply_adjoint(&y.data, x, workspace)?;
        if let Some(rows) = self.rows {
            rows.add_adjoint(&y.rows, x);
        }
        Ok(())
    }
}

impl<D: DataVector> DataVector for WithRows<D> {
    fn len(&self) -> usize {
        self.data.len() + self.rows.len()
    }

    fn dot(&self, other: &Self) -> Result<f64, OperatorError> {
        Ok(self.data.dot(&other.data)? + dot(&self.rows, &other.rows))
    }

    fn axpby(&mut self, a: f64, x: &Self, b: f64) -> Result<(), OperatorError> {
        self.rows.axpby(a, &x.rows, b)?;
        self.data.axpby(a, &x.data, b)
    }

    fn scale(&mut self, a: f64) -> Result<(), OperatorError> {
        self.rows.scale(a)?;
        self.data.scale(a)
    }

    fn multiply(&mut self, other: &Self) -> Result<(), OperatorError> {
        self.rows.multiply(&other.rows)?;
        self.data.multiply(&other.data)
    }

    fn square_root_of(&mut self, other: &Self) -> Result<(), OperatorError> {
        self.rows.square_root_of(&other.rows)?;
        self.data.square_root_of(&other.data)
    }
}

impl<A: LinearOperator> fmt::Debug for Augmented<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Augmented").field("nrows", &self.nrows()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dia_core::testing::{HostData, adjoint_defect};
    use dia_core::{Design, KernelBasis, KernelShape, KernelSupport, LinearOperator};
    use faer::Mat;

    use super::{Augmented, PenaltyRows, WithRows};
    use crate::{Cholesky, DesignRows, SampledRows};

    impl HostData for WithRows<Vec<f64>> {
        fn fill_from(&mut self, values: &[f64]) {
            let (data, rows) = values.split_at(self.data.len());
            self.data.copy_from_slice(data);
            self.rows.copy_from_slice(rows);
        }

        fn to_f64(&self) -> Vec<f64> {
            [&self.data[..], &self.rows].concat()
        }
    }

    #[test]
    fn rows_give_the_gradient_asked_for_and_pass_the_dot_test() {
        let support = KernelSupport::new(1, KernelShape::Square);
        let design = Design::new(20, 30, KernelBasis::FluxConservingDelta(support), Some(1));
        let design = design.unwrap().with_variation(0, 1).unwrap();
        let definite = |n: usize| {
            Mat::from_fn(n, n, |i, j| {
                0.1 * ((i + 2) * (j + 2) % 3) as f64 * ((j + 2) * (i + 2) % 5) as f64
                    + 9.0 * f64::from(u8::from(i == j))
            })
        };
        let factor = |h: Mat<f64>| Cholesky::new(&h).unwrap();
        let terms = factor(definite(3)).factor().to_owned();
        let functions = [factor(definite(9)), factor(definite(9) * faer::Scale(2.0))];
        let rows = PenaltyRows::new(&design, terms, functions);
        let reference = dia_core::Image::from_fn(20, 30, |y, x| ((y * 7 + x * 3) % 11) as f64);
        let indices: Vec<usize> = (0..40).map(|i| 3 * i).collect();
        let inner = SampledRows::gather(&DesignRows::new(&design, reference.view()), &indices);
        let a = Augmented { inner, rows: Some(&rows) };
        let values = |n: usize| (0..n).map(|k| (k as f64 * 1.7).sin()).collect::<Vec<f64>>();
        // Some thousand products of size below 100.
        assert!(adjoint_defect(&a, &values(a.ncols()), &values(a.nrows())) < 1e-9);

        let mut q = values(a.ncols());
        q[design.kernel_ncols()..].fill(0.0);
        let mut y = a.zeros().unwrap();
        y.rows = rows.right_hand_side(&q);
        let mut g = vec![f64::NAN; a.ncols()];
        a.apply_adjoint(&y, &mut g, &mut a.workspace().unwrap()).unwrap();
        for (g, q) in g.iter().zip(&q) {
            // The factors have conditions below 100.
            assert!((g - q).abs() < 1e-12, "{g} {q}");
        }
    }
}
