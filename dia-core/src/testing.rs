//! The tests that every operator should pass; for the tests of crates that implement [`LinearOperator`].

use crate::LinearOperator;

/// A data vector that a test can fill and read element by element.
pub trait HostData {
    /// Sets all elements.
    fn fill_from(&mut self, values: &[f64]);
    /// All elements.
    fn to_f64(&self) -> Vec<f64>;
}

impl<T: crate::Pixel> HostData for Vec<T> {
    fn fill_from(&mut self, values: &[f64]) {
        for (element, value) in self.iter_mut().zip(values) {
            *element = T::narrow(*value);
        }
    }

    fn to_f64(&self) -> Vec<f64> {
        self.iter().map(|element| element.widen()).collect()
    }
}

/// |⟨A x, y⟩ − ⟨x, Aᵀ y⟩|, the defect of the dot test.
///
/// Outputs are filled with NaN first, so that an element which a product does not write shows as NaN, which fails every
/// comparison `defect <= bound`.
///
/// # Panics
/// If a product fails.
pub fn adjoint_defect<A: LinearOperator<Data: HostData>>(a: &A, x: &[f64], y: &[f64]) -> f64 {
    let mut workspace = a.workspace().expect("workspace");
    let mut ax = a.zeros().expect("data vector");
    ax.fill_from(&vec![f64::NAN; a.nrows()]);
    let mut data = a.zeros().expect("data vector");
    data.fill_from(y);
    let mut aty = vec![f64::NAN; a.ncols()];
    a.apply(x, &mut ax, &mut workspace).expect("A x");
    a.apply_adjoint(&data, &mut aty, &mut workspace).expect("Aᵀ y");
    // Both products are taken with the data as stored, so that only the operator's own error shows.
    (dot(&ax.to_f64(), &data.to_f64()) - dot(x, &aty)).abs()
}

/// The matrix of an operator, column after column: `columns[j][i]` = A_ij.
///
/// # Panics
/// If a product fails.
pub fn columns<A: LinearOperator<Data: HostData>>(a: &A) -> Vec<Vec<f64>> {
    let mut workspace = a.workspace().expect("workspace");
    let mut column = a.zeros().expect("data vector");
    (0..a.ncols())
        .map(|j| {
            let mut x = vec![0.0; a.ncols()];
            x[j] = 1.0;
            column.fill_from(&vec![f64::NAN; a.nrows()]);
            a.apply(&x, &mut column, &mut workspace).expect("A x");
            column.to_f64()
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
