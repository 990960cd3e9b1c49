//! A few rows of the design matrix as a dense matrix in memory.

use dia_core::{LinearOperator, OperatorError, Pixel};
use faer::Mat;
use rayon::prelude::*;

use crate::DesignRows;
use crate::precondition::gram::{GramPrecision, Rows, weighted_gram};

/// The s × n matrix A_s of some rows of the design matrix, unweighted, row after row.
///
/// As a [`LinearOperator`] it is the design matrix of a fit to these pixels alone. The products read the matrix once, at the speed of
/// memory, and compute in `f64` whatever the type of the elements; AᵀWA x reads it once as well.
#[derive(Clone, Debug)]
pub struct SampledRows<T> {
    nrows: usize,
    ncols: usize,
    values: Vec<T>,
}

/// Scratch memory of the products: a gradient for each block of rows.
#[derive(Clone, Debug)]
pub struct SampledRowsWorkspace(Vec<f64>);

/// Rows whose products are computed by one thread; depends on nothing, so that neither do the bits of the sums.
const TASK: usize = 512;

impl<T: Pixel> SampledRows<T> {
    /// Writes out the rows with the given indices, in their order. Elements of a delta basis are pixels, so exact.
    pub fn gather(rows: &DesignRows<'_, T>, indices: &[usize]) -> Self {
        let ncols = rows.ncols();
        let mut values = vec![T::zero(); indices.len() * ncols];
        values.par_chunks_mut(TASK * ncols).zip(indices.par_chunks(TASK)).for_each(
            |(values, indices)| {
                let mut workspace = rows.workspace();
                for (values, row) in values.chunks_exact_mut(ncols).zip(indices) {
                    rows.write_scaled(*row, T::one(), values, &mut workspace);
                }
            },
        );
        Self { nrows: indices.len(), ncols, values }
    }

    /// Row i, 0 ≤ i < s.
    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.ncols..(i + 1) * self.ncols]
    }

    /// Σᵢ wᵢ aᵢ aᵢᵀ, lower triangle, with one weight wᵢ ≥ 0 per row.
    pub fn gram(&self, weights: &[f64], precision: GramPrecision) -> Mat<f64> {
        assert_eq!(weights.len(), self.nrows);
        weighted_gram(self, self.nrows, precision, |i| (i, weights[i]))
    }

    /// A_sᵀ V for a matrix V of s rows.
    pub(crate) fn adjoint_of_columns(&self, v: &Mat<f64>) -> Mat<f64> {
        let of_task = |(task, rows): (usize, &[T])| {
            let count = rows.len() / self.ncols;
            let rows = Mat::from_fn(count, self.ncols, |i, j| rows[i * self.ncols + j].widen());
            rows.transpose() * v.subrows(task * TASK, count)
        };
        let products: Vec<Mat<f64>> = self.tasks().enumerate().map(of_task).collect();
        let zero = Mat::zeros(self.ncols, v.ncols());
        products.iter().fold(zero, |sum, product| sum + product)
    }

    /// Tasks of rows: their elements, n each.
    fn tasks(&self) -> impl IndexedParallelIterator<Item = &[T]> {
        self.values.par_chunks(TASK * self.ncols)
    }

    /// g ← Σ of what `add` adds to a gradient for each task of rows.
    fn sum_of_tasks(
        &self,
        g: &mut [f64],
        SampledRowsWorkspace(partial): &mut SampledRowsWorkspace,
        add: impl Fn(usize, &[T], &mut [f64]) + Sync,
    ) {
        assert_eq!(g.len(), self.ncols);
        partial.par_chunks_mut(self.ncols).zip(self.tasks()).enumerate().for_each(
            |(task, (g, rows))| {
                g.fill(0.0);
                add(task * TASK, rows, g);
            },
        );
        g.fill(0.0);
        for partial in partial.chunks_exact(self.ncols) {
            g.iter_mut().zip(partial).for_each(|(g, partial)| *g += partial);
        }
    }
}

impl<T: Pixel> Rows for SampledRows<T> {
    type Workspace = ();

    fn ncols(&self) -> usize {
        self.ncols
    }

    fn workspace(&self) {}

    fn write_scaled<E: Pixel>(&self, row: usize, scale: E, values: &mut [E], (): &mut ()) {
        crate::precondition::design_rows::copy_scaled(self.row(row), scale, values);
    }
}

impl<T: Pixel> LinearOperator for SampledRows<T> {
    type Data = Vec<T>;
    type Workspace = SampledRowsWorkspace;

    fn nrows(&self) -> usize {
        self.nrows
    }

    fn ncols(&self) -> usize {
        self.ncols
    }

    fn workspace(&self) -> Result<SampledRowsWorkspace, OperatorError> {
        Ok(SampledRowsWorkspace(vec![0.0; self.nrows.div_ceil(TASK) * self.ncols]))
    }

    fn zeros(&self) -> Result<Vec<T>, OperatorError> {
        Ok(vec![T::zero(); self.nrows])
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut Vec<T>,
        _workspace: &mut SampledRowsWorkspace,
    ) -> Result<(), OperatorError> {
        assert!(x.len() == self.ncols && y.len() == self.nrows);
        y.par_chunks_mut(TASK).zip(self.tasks()).for_each(|(y, rows)| {
            for (y, row) in y.iter_mut().zip(rows.chunks_exact(self.ncols)) {
                *y = T::narrow(dot(row, x));
            }
        });
        Ok(())
    }

    fn apply_adjoint(
        &self,
        y: &Vec<T>,
        x: &mut [f64],
        workspace: &mut SampledRowsWorkspace,
    ) -> Result<(), OperatorError> {
        assert_eq!(y.len(), self.nrows);
        self.sum_of_tasks(x, workspace, |start, rows, g| {
            for (four, y) in rows.chunks(4 * self.ncols).zip(y[start..].chunks(4)) {
                let coefficients: [f64; 4] =
                    std::array::from_fn(|k| y.get(k).map_or(0.0, |y| y.widen()));
                add_rows(coefficients, four, g);
            }
        });
        Ok(())
    }

    fn apply_normal(
        &self,
        x: &[f64],
        weights: &Vec<T>,
        g: &mut [f64],
        _scratch: &mut Vec<T>,
        workspace: &mut SampledRowsWorkspace,
    ) -> Result<(), OperatorError> {
        assert!(x.len() == self.ncols && weights.len() == self.nrows);
        self.sum_of_tasks(g, workspace, |start, rows, g| {
            for (four, w) in rows.chunks(4 * self.ncols).zip(weights[start..].chunks(4)) {
                let mut coefficients = [0.0; 4];
                let products = four.chunks_exact(self.ncols).zip(w);
                for (c, (row, w)) in coefficients.iter_mut().zip(products) {
                    *c = w.widen() * dot(row, x);
                }
                add_rows(coefficients, four, g);
            }
        });
        Ok(())
    }
}

/// a·x, in lanes that fill the vector registers.
fn dot<T: Pixel>(a: &[T], x: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (x, x_rest) = x.as_chunks::<LANES>();
    for (a, x) in a.iter().zip(x) {
        for i in 0..LANES {
            lanes[i] += a[i].widen() * x[i];
        }
    }
    let rest: f64 = a_rest.iter().zip(x_rest).map(|(a, x)| a.widen() * x).sum();
    lanes.iter().sum::<f64>() + rest
}

/// g ← g + Σ cₖ aₖ over up to four rows aₖ, one after the other: g is read and written once for four of them.
fn add_rows<T: Pixel>(c: [f64; 4], rows: &[T], g: &mut [f64]) {
    let n = g.len();
    if rows.len() == 4 * n {
        let (a, rows) = rows.split_at(n);
        let (b, rows) = rows.split_at(n);
        let (d, e) = rows.split_at(n);
        for ((((g, a), b), d), e) in g.iter_mut().zip(a).zip(b).zip(d).zip(e) {
            *g += (c[0] * a.widen() + c[1] * b.widen()) + (c[2] * d.widen() + c[3] * e.widen());
        }
    } else {
        for (c, row) in c.iter().zip(rows.chunks_exact(n)) {
            g.iter_mut().zip(row).for_each(|(g, a)| *g += c * a.widen());
        }
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, Image, KernelBasis, LinearOperator};

    use super::{SampledRows, TASK};
    use crate::{DesignRows, GramPrecision};

    /// Every second row, more than two tasks of them and a rest that is not a multiple of four.
    fn sample(reference: &Image<f64>, design: &Design) -> (SampledRows<f64>, Vec<usize>) {
        let indices: Vec<usize> = (0..2 * TASK + 7).map(|i| 2 * i + 1).collect();
        (SampledRows::gather(&DesignRows::new(design, reference.view()), &indices), indices)
    }

    fn field() -> (Image<f64>, Design) {
        let reference = Image::from_fn(50, 60, |y, x| ((y * 57 + x * 23) % 101) as f64 - 40.0);
        (reference, Design::new(50, 60, KernelBasis::delta(2), Some(1)).unwrap())
    }

    #[test]
    fn products_are_those_of_the_rows() {
        let (reference, design) = field();
        let (a, indices) = sample(&reference, &design);
        let rows = DesignRows::new(&design, reference.view());
        let (mut workspace, mut row) = (rows.workspace(), vec![0.0; design.ncols()]);
        let columns = dia_core::testing::columns(&a);
        for (i, index) in indices.iter().enumerate() {
            rows.write(*index, &mut row, &mut workspace);
            assert_eq!(a.row(i), row);
            assert!(columns.iter().zip(&row).all(|(column, value)| column[i] == *value));
        }
        let x: Vec<f64> = (0..a.ncols()).map(|k| (k as f64).cos()).collect();
        let y: Vec<f64> = (0..a.nrows()).map(|i| (i as f64).sin()).collect();
        // 1031 × 28 products of size up to 60, each rounded fewer than 400 times on its way; signs cancel most of that.
        let bound = (a.nrows() * a.ncols()) as f64 * 60.0 * 400.0 * f64::EPSILON;
        assert!(dia_core::testing::adjoint_defect(&a, &x, &y) <= bound);
    }

    #[test]
    fn the_normal_product_is_the_gram_matrix() {
        let (reference, design) = field();
        let (a, _) = sample(&reference, &design);
        let weights: Vec<f64> = (0..a.nrows()).map(|i| 1e-3 * (i % 5) as f64).collect();
        let x: Vec<f64> = (0..a.ncols()).map(|k| (k as f64).cos()).collect();
        let product = || {
            let (mut g, mut workspace) = (vec![f64::NAN; a.ncols()], a.workspace().unwrap());
            a.apply_normal(&x, &weights, &mut g, &mut Vec::new(), &mut workspace).unwrap();
            g
        };
        let g = product();
        let h = a.gram(&weights, GramPrecision::Double);
        for i in 0..a.ncols() {
            let terms = (0..a.ncols()).map(|j| h[(i.max(j), i.min(j))] * x[j]);
            // 1031 weights up to 4e-3, 28 products up to 60²: below 5e5, each rounded fewer than 400 times on its way.
            assert!((g[i] - terms.sum::<f64>()).abs() < 5e5 * 400.0 * f64::EPSILON);
        }
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool(1).install(product), pool(5).install(product));
    }
}
