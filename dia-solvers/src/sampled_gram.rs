//! The preconditioner from a random sample of rows (compare Blendenpik: Avron, Maymounkov & Toledo 2010, SIAM J. Sci. Comput.
//! 32, 1217, doi:10.1137/090767911).
//!
//! The normal matrix H = Σ_p w_p a_p a_pᵀ is a sum over pixels. A few thousand of them, chosen at random and scaled by the inverse
//! of their probability, have nearly the same sum. Its Cholesky factor makes the preconditioned system so well conditioned
//! that a handful of iterations suffice, and its cost does not grow with the image.

use dia_core::Pixel;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::gram::DesignRows;
use crate::{Cholesky, Prepared, SolveError};

/// Rows of the design matrix, row p drawn with probability min(1, s π_p): half of π is uniform over the usable pixels,
/// half is proportional to w_p ‖a_p‖².
#[derive(Clone, Debug)]
pub struct RowSample {
    rows: Vec<usize>,
    probabilities: Vec<f64>,
}

impl RowSample {
    /// Draws about `size` rows (all, if there are no more) with the weights of the noise model on the data.
    pub fn draw<T: Pixel>(prepared: &Prepared<'_, T>, size: usize, seed: u64) -> Self {
        let design = prepared.design();
        let width = design.valid().width;
        let norms = row_norms(prepared);
        let leverages: Vec<f64> = norms
            .par_iter()
            .enumerate()
            .map(|(i, norm)| prepared.initial_weight(i) * norm)
            .collect();
        let total = dia_core::sum::pairwise(leverages.len(), &|r| leverages[r].iter().sum::<f64>());
        let uniform = 0.5 / prepared.used_pixels() as f64;
        let draw_row = |(y, leverages): (usize, &[f64])| {
            // A generator per image row: the draw is the same for any number of threads.
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ ((y as u64) << 20));
            let mut drawn = Vec::new();
            for (x, leverage) in leverages.iter().enumerate() {
                let i = y * width + x;
                let u: f64 = random.random();
                if prepared.is_used(i) {
                    let probability = (size as f64 * (uniform + 0.5 * leverage / total)).min(1.0);
                    if u < probability {
                        drawn.push((i, probability));
                    }
                }
            }
            drawn
        };
        let drawn: Vec<_> = leverages.par_chunks(width).enumerate().map(draw_row).collect();
        let (rows, probabilities) = drawn.into_iter().flatten().unzip();
        Self { rows, probabilities }
    }

    /// The indices of the rows.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The factor of P = Σ (w_p / probability) a_p a_pᵀ; `weights[i]` is that of `rows()[i]`, in ADU⁻².
    ///
    /// A ridge of 1e-10 of the mean diagonal keeps P positive definite where the sample does not determine a column.
    ///
    /// # Errors
    /// [`SolveError::NonFinite`] if a weight is not finite; [`SolveError::NotPositiveDefinite`] if all are zero.
    pub fn factor<T: Pixel>(
        &self,
        rows: &DesignRows<'_, T>,
        weights: &[f64],
    ) -> Result<Cholesky, SolveError> {
        assert_eq!(weights.len(), self.rows.len());
        let mut gram =
            rows.gram(weights.len(), |i| (self.rows[i], weights[i] / self.probabilities[i]));
        let n = gram.ncols();
        let ridge = 1e-10 * (0..n).map(|i| gram[(i, i)]).sum::<f64>() / n as f64;
        for i in 0..n {
            // A column that is zero in the whole sample (a basis function that touches no star) gets a weak unit of its own.
            gram[(i, i)] += ridge;
        }
        Cholesky::new(&gram)
    }
}

/// ‖a_p‖² of every row as if the basis were all pixels of the kernel's square: the sum of R² over the footprint, plus one for
/// the background.
fn row_norms<T: Pixel>(prepared: &Prepared<'_, T>) -> Vec<f64> {
    let (valid, side) = (prepared.design().valid(), 2 * prepared.design().half_width() + 1);
    let reference = prepared.reference();
    // Running sums along rows, then along columns; row p of the matrix is column range x..x + side of the image.
    let (height, width) = (reference.height(), valid.width);
    let mut along_rows = vec![0.0; height * width];
    along_rows.par_chunks_mut(width).enumerate().for_each(|(y, sums)| {
        let row = reference.row(y);
        let square = |x: usize| row[x].widen().powi(2);
        let mut sum: f64 = (0..side - 1).map(square).sum();
        for (x, s) in sums.iter_mut().enumerate() {
            sum += square(x + side - 1);
            *s = sum;
            sum -= square(x);
        }
    });
    let mut norms = vec![0.0; valid.height * width];
    norms.par_chunks_mut(width).enumerate().for_each(|(y, norms)| {
        norms.fill(1.0);
        for line in along_rows[y * width..(y + side) * width].chunks_exact(width) {
            norms.iter_mut().zip(line).for_each(|(norm, s)| *norm += s.max(0.0));
        }
    });
    norms
}
