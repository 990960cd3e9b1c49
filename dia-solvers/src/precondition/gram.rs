//! Weighted Gram matrices Σ wᵢ aᵢ aᵢᵀ of explicit rows, at the speed of a matrix product.
//!
//! Blocks of [`BLOCK_ROWS`] rows, scaled by √w, are multiplied with themselves in block columns of [`STRIP`] unknowns, from the
//! diagonal down; each product is added to a sum in `f64` while it is in cache. What a block column computes above the
//! diagonal, STRIP/2 elements of n/2 on average, is lost; narrower ones lose less, but their products are slower.

use dia_core::Pixel;
use dia_core::simd::{Loop, widest};
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// The arithmetic of a Gram matrix H = Σ wᵢ aᵢ aᵢᵀ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GramPrecision {
    /// Rows and products in `f64`.
    #[default]
    Double,
    /// Rows √wᵢ aᵢ and the products within a block of 256 rows in `f32`, sums over blocks in `f64`: twice as fast.
    ///
    /// |ΔH_ij| ≤ γ √(H_ii H_jj) with γ = 262 · 2⁻²⁴ = 1.6e-5, whatever the number of rows; so no eigenvalue moves by more than
    /// γ tr H. Roundings differ in sign: what is seen is a few 1e-8 in place of γ. Eigenvalues below that fraction of tr H are lost
    /// in either case, and the factorization may fail where that of [`Double`](Self::Double) does not.
    Single,
}

/// Rows that are multiplied at once: the block stays in the second-level cache, and more would make the sum in `f64` little cheaper,
/// but the rounding of single precision larger.
pub(crate) const BLOCK_ROWS: usize = 256;

/// γ of [`GramPrecision::Single`], roundings of 2⁻²⁴: the product and the sum over a block, and up to three roundings per factor.
pub(crate) const SINGLE_ROUNDING: f64 = (BLOCK_ROWS + 6) as f64 * (f32::EPSILON / 2.0) as f64;

/// Unknowns in a block column.
const STRIP: usize = 32;

/// A matrix whose rows can be written out one by one.
pub(crate) trait Rows: Sync {
    /// Scratch memory for a row.
    type Workspace;

    /// n, the length of a row.
    fn ncols(&self) -> usize;

    /// Scratch memory for [`write_scaled`](Self::write_scaled).
    fn workspace(&self) -> Self::Workspace;

    /// `values` ← `scale` · row `row`, each value rounded once or twice to the type `E`.
    fn write_scaled<E: Pixel>(
        &self,
        row: usize,
        scale: E,
        values: &mut [E],
        workspace: &mut Self::Workspace,
    );
}

/// Σᵢ wᵢ aᵢ aᵢᵀ over `count` rows, lower triangle; `select(i)` gives the index of the row aᵢ and its weight wᵢ ≥ 0.
pub(crate) fn weighted_gram<R: Rows>(
    rows: &R,
    count: usize,
    precision: GramPrecision,
    select: impl Fn(usize) -> (usize, f64) + Sync,
) -> Mat<f64> {
    // The split into parts is the same for any number of threads, and so are the bits of the sum.
    let n = rows.ncols();
    let part = count.div_ceil(parts(n, count)).max(1);
    let partial = |start: usize| {
        let selected = (start..(start + part).min(count)).map(&select);
        match precision {
            GramPrecision::Double => partial_sum::<f64, R>(rows, selected),
            GramPrecision::Single => partial_sum::<f32, R>(rows, selected),
        }
    };
    let starts: Vec<usize> = (0..count).step_by(part).collect();
    let sums: Vec<Vec<f64>> = starts.into_par_iter().map(partial).collect();
    unpack(n, &add_up(sums))
}

/// Number of partial sums: enough rows in each to be worth a sum of its own, and as many as give work to a large machine within
/// 64 MiB of memory.
fn parts(n: usize, count: usize) -> usize {
    let most = ((64 << 20) / (8 * packed_len(n)).max(1)).clamp(2, 16);
    (count / (4 * BLOCK_ROWS)).clamp(1, most)
}

/// The sum over the given rows, its block columns one after the other.
fn partial_sum<E: Pixel + ComplexField, R: Rows>(
    rows: &R,
    selected: impl ExactSizeIterator<Item = (usize, f64)>,
) -> Vec<f64> {
    let n = rows.ncols();
    // Blocks of one length: a short one at the end would cost nearly as much as a full one.
    let block_rows = selected.len().div_ceil(selected.len().div_ceil(BLOCK_ROWS).max(1)).max(1);
    // A column of B is a row of the design matrix; faer aligns them.
    let (mut sum, mut block) = (vec![0.0; packed_len(n)], Mat::<E>::zeros(n, block_rows));
    let mut product = vec![E::default(); n * STRIP];
    let mut workspace = rows.workspace();
    let mut filled = 0;
    for (row, weight) in selected {
        if weight > 0.0 {
            let values = block.col_as_slice_mut(filled);
            rows.write_scaled(row, E::narrow(weight.sqrt()), values, &mut workspace);
            filled += 1;
        }
        if filled == block_rows {
            add_products(&mut sum, block.as_ref(), &mut product);
            filled = 0;
        }
    }
    if filled > 0 {
        add_products(&mut sum, block.subcols(0, filled), &mut product);
    }
    sum
}

/// `sum` ← `sum` + B Bᵀ, by way of the scratch memory `product`.
fn add_products<E: Pixel + ComplexField>(sum: &mut [f64], b: MatRef<'_, E>, product: &mut [E]) {
    let n = b.nrows();
    let mut sum = sum;
    for (first, width) in strips(n) {
        let height = n - first;
        let product = &mut product[..height * width];
        matmul(
            MatMut::from_column_major_slice_mut(product, height, width),
            Accum::Replace,
            b.subrows(first, height),
            b.subrows(first, width).transpose(),
            <E as num_traits::One>::one(),
            Par::Seq,
        );
        let (column, rest) = sum.split_at_mut(product.len());
        widest(AddTo { sum: column, product });
        sum = rest;
    }
}

/// `sum` ← `sum` + `product`.
struct AddTo<'a, E> {
    sum: &'a mut [f64],
    product: &'a [E],
}

impl<E: Pixel> Loop for AddTo<'_, E> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (sum, product) in self.sum.iter_mut().zip(self.product) {
            *sum += product.widen();
        }
    }
}

/// First unknown and width of every block column.
fn strips(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).step_by(STRIP).map(move |first| (first, STRIP.min(n - first)))
}

/// Number of elements of all block columns, from the diagonal blocks down.
fn packed_len(n: usize) -> usize {
    strips(n).map(|(first, width)| (n - first) * width).sum()
}

/// The sum of all partial sums, in their order.
fn add_up(sums: Vec<Vec<f64>>) -> Vec<f64> {
    let mut sums = sums.into_iter();
    let mut total = sums.next().unwrap_or_default();
    let rest = sums.as_slice();
    total.par_chunks_mut(dia_core::sum::LEAF).enumerate().for_each(|(i, total)| {
        let start = i * dia_core::sum::LEAF;
        for sum in rest {
            let sum = &sum[start..start + total.len()];
            total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
        }
    });
    total
}

/// The lower triangle of the n × n matrix of the packed block columns; zero if there are none.
fn unpack(n: usize, packed: &[f64]) -> Mat<f64> {
    let mut h = Mat::zeros(n, n);
    let mut packed = packed.iter();
    for (first, width) in strips(n) {
        for j in first..first + width {
            for i in first..n {
                let value = *packed.next().unwrap_or(&0.0);
                if i >= j {
                    h[(i, j)] = value;
                }
            }
        }
    }
    h
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, Image, KernelBasis};
    use faer::Side;

    use super::{GramPrecision, SINGLE_ROUNDING};
    use crate::DesignRows;

    /// A reference of pseudo-random values, and weights, a few of them 0.
    fn field() -> (Design, Image<f32>, Vec<f64>) {
        let design = Design::new(90, 80, KernelBasis::delta(3), Some(1)).unwrap();
        let pixel =
            |y: usize, x: usize| ((y * 7919 + x * 104_729 + y * x * 31) % 1009) as f32 - 300.0;
        let weights =
            (0..design.nrows()).map(|i| if i % 7 == 0 { 0.0 } else { 1e-3 * (i % 11) as f64 });
        (design.clone(), Image::from_fn(90, 80, pixel), weights.collect())
    }

    #[test]
    fn single_precision_is_within_its_bound_of_double() {
        let (design, reference, weights) = field();
        let rows = DesignRows::new(&design, reference.view());
        let double = rows.normal_matrix(&weights, GramPrecision::Double);
        let single = rows.normal_matrix(&weights, GramPrecision::Single);
        // Per factor: the root of the weight, its product with the pixel, and the background's value are rounded. Per product: itself and
        // BLOCK_ROWS − 1 additions. Cauchy-Schwarz bounds Σ |a_i a_j|; sums in double precision do not count.
        let gamma = SINGLE_ROUNDING;
        let n = design.ncols();
        let trace: f64 = (0..n).map(|i| double[(i, i)]).sum();
        for j in 0..n {
            for i in j..n {
                let scale = (double[(i, i)] * double[(j, j)]).sqrt();
                let error = (single[(i, j)] - double[(i, j)]).abs();
                assert!(error <= gamma * scale, "({i}, {j}): {error:e} of {scale:e}");
            }
        }
        let smallest = |h: &faer::Mat<f64>| h.self_adjoint_eigenvalues(Side::Lower).unwrap()[0];
        // Weyl: no eigenvalue moves by more than ‖ΔH‖ ≤ γ ‖d dᵀ‖ = γ tr H, d_i = √H_ii.
        assert!((smallest(&single) - smallest(&double)).abs() <= gamma * trace);
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let (design, reference, weights) = field();
        let rows = DesignRows::new(&design, reference.view());
        for precision in [GramPrecision::Double, GramPrecision::Single] {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| rows.normal_matrix(&weights, precision))
            };
            let one = on(1);
            assert!(one == on(2) && one == on(5));
        }
    }

    #[test]
    fn no_rows_give_a_zero_matrix() {
        let (design, reference, _) = field();
        let rows = DesignRows::new(&design, reference.view());
        let h = rows.gram(0, GramPrecision::Double, |_| unreachable!());
        assert_eq!(h, faer::Mat::zeros(design.ncols(), design.ncols()));
    }
}
