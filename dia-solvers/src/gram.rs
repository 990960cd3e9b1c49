//! Explicit rows of the design matrix, and Gram matrices of them.

use dia_core::{Design, ImageView, KernelBasis, Pixel};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// The rows of the design matrix, written out: R(p − u) for every kernel coefficient, φ_j(p) for the background.
#[derive(Clone, Copy, Debug)]
pub struct DesignRows<'a, T> {
    design: &'a Design,
    reference: ImageView<'a, T>,
}

/// Scratch memory for one row.
#[derive(Clone, Debug)]
pub struct RowWorkspace {
    /// R(p − u) over the whole (2h + 1)² square.
    footprint: Vec<f64>,
}

impl<'a, T: Pixel> DesignRows<'a, T> {
    /// The rows of `design` for the given reference (sky subtracted, 0 where masked).
    pub fn new(design: &'a Design, reference: ImageView<'a, T>) -> Self {
        assert_eq!(reference.shape(), (design.height(), design.width()));
        Self { design, reference }
    }

    /// Scratch memory for [`write`](Self::write).
    pub fn workspace(&self) -> RowWorkspace {
        RowWorkspace { footprint: vec![0.0; self.design.basis().support().side().pow(2)] }
    }

    /// Writes row `row` (0 ≤ row < m, in the order of the valid pixels) to `values`, of length n.
    pub fn write(&self, row: usize, values: &mut [f64], workspace: &mut RowWorkspace) {
        let (valid, h) = (self.design.valid(), self.design.half_width());
        let (y, x) = (valid.y + row / valid.width, valid.x + row % valid.width);
        let (kernel, background) = self.design.split_mut(values);
        if let KernelBasis::Delta(support) = self.design.basis() {
            let mut kernel = kernel.iter_mut();
            for dy in -(h as isize)..=h as isize {
                let reach = support.row_reach(dy) as usize;
                let pixels = &self.reference.row(y.wrapping_add_signed(-dy))[x - reach..=x + reach];
                for (pixel, k) in pixels.iter().rev().zip(&mut kernel) {
                    *k = pixel.widen();
                }
            }
        } else {
            let side = 2 * h + 1;
            for (i, line) in workspace.footprint.chunks_exact_mut(side).enumerate() {
                let pixels = &self.reference.row(y + h - i)[x - h..=x + h];
                line.iter_mut().zip(pixels.iter().rev()).for_each(|(v, r)| *v = r.widen());
            }
            self.design.basis().project(&workspace.footprint, kernel);
        }
        if let Some(polynomial) = self.design.background() {
            polynomial.evaluate(y, x, background);
        }
    }

    /// AᵀWA over all rows, lower triangle; `weights` has length m.
    ///
    /// Streams over blocks of rows: memory does not grow with the image. Cost: m n² flop.
    pub fn normal_matrix(&self, weights: &[f64]) -> Mat<f64> {
        assert_eq!(weights.len(), self.design.nrows());
        self.gram(weights.len(), |i| (i, weights[i]))
    }

    /// Σᵢ wᵢ aᵢ aᵢᵀ over `count` rows, lower triangle; `select(i)` gives the index of the row aᵢ and its weight wᵢ ≥ 0.
    pub fn gram(&self, count: usize, select: impl Fn(usize) -> (usize, f64) + Sync) -> Mat<f64> {
        // The split into parts is the same for any number of threads, and so are the bits of the sum.
        let n = self.design.ncols();
        let part = count.div_ceil(parts(n)).max(1);
        let partial = |start: usize| {
            let mut sum = Mat::<f64>::zeros(n, n);
            let mut block = vec![0.0; n * BLOCK_ROWS];
            let mut workspace = self.workspace();
            let mut filled = 0;
            for i in start..(start + part).min(count) {
                let (row, weight) = select(i);
                if weight > 0.0 {
                    let values = &mut block[filled * n..(filled + 1) * n];
                    self.write(row, values, &mut workspace);
                    let root = weight.sqrt();
                    for v in values.iter_mut() {
                        *v *= root;
                    }
                    filled += 1;
                }
                if filled == BLOCK_ROWS || i + 1 == (start + part).min(count) {
                    add_gram(&mut sum, &block[..filled * n]);
                    filled = 0;
                }
            }
            sum
        };
        let starts: Vec<usize> = (0..count).step_by(part).collect();
        let sums: Vec<Mat<f64>> = starts.into_par_iter().map(partial).collect();
        sums.into_iter().reduce(|total, sum| total + sum).unwrap_or_else(|| Mat::zeros(n, n))
    }
}

/// Rows that are multiplied at once: enough for the product to run at the speed of a matrix product.
const BLOCK_ROWS: usize = 512;

/// Number of partial sums: as many as give work to a large machine within 64 MiB of memory.
fn parts(n: usize) -> usize {
    ((64 << 20) / (8 * n * n).max(1)).clamp(2, 16)
}

/// sum ← sum + B Bᵀ (lower triangle), the columns of B lying one after the other.
fn add_gram(sum: &mut Mat<f64>, columns: &[f64]) {
    let n = sum.nrows();
    if columns.is_empty() {
        return;
    }
    let b = MatRef::from_column_major_slice(columns, n, columns.len() / n);
    triangular::matmul(
        sum.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        b,
        BlockStructure::Rectangular,
        b.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, Image, KernelBasis, KernelShape, KernelSupport};
    use dia_fft::FftDesignMatrix;

    use super::DesignRows;

    #[test]
    fn rows_and_normal_matrix_are_those_of_the_operator() {
        let reference = Image::from_fn(31, 43, |y, x| ((y * 57 + x * 23) % 101) as f64 - 40.0);
        let circle = KernelSupport::new(3, KernelShape::Circle);
        for basis in [KernelBasis::Delta(circle.clone()), KernelBasis::FluxConservingDelta(circle)]
        {
            let design = Design::new(31, 43, basis, Some(1)).unwrap();
            let a = FftDesignMatrix::new(reference.view(), design.clone()).unwrap();
            let columns = dia_core::testing::columns(&a);
            let rows = DesignRows::new(&design, reference.view());
            let mut workspace = rows.workspace();
            let mut row = vec![f64::NAN; design.ncols()];
            for i in 0..design.nrows() {
                rows.write(i, &mut row, &mut workspace);
                for (column, value) in columns.iter().zip(&row) {
                    // Values below 120; a tile's transform rounds at ε log₂(N²) √N² of them, N ≤ 64.
                    assert!((column[i] - value).abs() < f64::EPSILON * 12.0 * 64.0 * 120.0);
                }
            }
            let weights: Vec<f64> = (0..design.nrows())
                .map(|i| if i % 3 == 0 { 0.0 } else { 1.0 / i as f64 })
                .collect();
            let h = rows.normal_matrix(&weights);
            for i in 0..design.ncols() {
                for j in 0..=i {
                    let terms = columns[i].iter().zip(&columns[j]).zip(&weights);
                    let expected: f64 = terms.map(|((a, b), w)| a * b * w).sum();
                    // Σ w < log(925) + 1 < 8, products below 120².
                    assert!((h[(i, j)] - expected).abs() < 8.0 * 120.0 * 120.0 * 1e-12);
                }
            }
        }
    }
}
