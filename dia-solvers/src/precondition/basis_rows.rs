//! The functions of a basis pixel by pixel, for matrices Eᵀ Bᵀ diag(w) B E over them.

use dia_core::{Kernel, KernelBasis};
use faer::Mat;

/// The rows of B E that are not zero, E the basis and B a map of kernels; each as the functions that reach a pixel, with their values there.
#[derive(Clone, Debug)]
pub(crate) struct BasisRows {
    functions: usize,
    rows: Vec<(usize, Vec<(usize, f64)>)>,
}

impl BasisRows {
    pub(crate) fn new(basis: &KernelBasis, map: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        let mut kernel = Kernel::zero(basis.support().half_width());
        let mut rows = vec![Vec::new(); kernel.pixels().len()];
        let mut unit = vec![0.0; basis.len()];
        for j in 0..basis.len() {
            unit[j] = 1.0;
            basis.expand(&unit, &mut kernel);
            unit[j] = 0.0;
            for (row, value) in rows.iter_mut().zip(map(kernel.pixels())) {
                if value != 0.0 {
                    row.push((j, value));
                }
            }
        }
        let rows = rows.into_iter().enumerate().filter(|(_, row)| !row.is_empty()).collect();
        Self { functions: basis.len(), rows }
    }

    /// Eᵀ Bᵀ diag(w) B E for a number w at each pixel.
    pub(crate) fn gram(&self, weight: impl Fn(usize) -> f64) -> Mat<f64> {
        let mut gram = Mat::zeros(self.functions, self.functions);
        for (pixel, row) in &self.rows {
            let weight = weight(*pixel);
            for (j, b) in row {
                let column = gram.col_as_slice_mut(*j);
                for (i, a) in row {
                    column[*i] += weight * b * a;
                }
            }
        }
        gram
    }
}
