//! The preconditioner of uniform weights, from the reference's autocorrelation.

use dia_core::Design;
use faer::Mat;

use crate::{Cholesky, SolveError};

/// The factor of H for uniform weights, with sums over the whole plane instead of the valid pixels: H_uv ≈ w C(u − v).
///
/// `autocorrelation` holds C at the lags |dy|, |dx| ≤ 2h, row-major over (4h + 1)², in ADU²; `mean` is the mean of the
/// reference in ADU; `weight` the mean weight per usable pixel in ADU⁻², counting masked pixels as zero. A ridge of
/// 1e-10 of the mean diagonal is added.
///
/// # Errors
/// [`SolveError::NotPositiveDefinite`] if the reference has too little structure, [`SolveError::NonFinite`] if it holds a NaN.
pub fn autocorrelation_gram(
    design: &Design,
    autocorrelation: &[f64],
    mean: f64,
    weight: f64,
) -> Result<Cholesky, SolveError> {
    let (h, n) = (design.half_width() as isize, design.ncols());
    let (side, lags) = (2 * h + 1, 4 * h + 1);
    assert_eq!(autocorrelation.len(), (lags * lags) as usize);
    let basis = design.basis();
    let offset = |i: isize| (i / side, i % side);
    // Eᵀ C E, one projection per side.
    let half: Vec<Vec<f64>> = (0..side * side)
        .map(|i| {
            let row: Vec<f64> = (0..side * side)
                .map(|j| {
                    let ((yi, xi), (yj, xj)) = (offset(i), offset(j));
                    autocorrelation[((yi - yj + 2 * h) * lags + xi - xj + 2 * h) as usize]
                })
                .collect();
            let mut projected = vec![0.0; basis.len()];
            basis.project(&row, &mut projected);
            projected
        })
        .collect();
    let mut gram = Mat::<f64>::zeros(n, n);
    let mut projected = vec![0.0; basis.len()];
    for k in 0..basis.len() {
        let column: Vec<f64> = half.iter().map(|row| row[k]).collect();
        basis.project(&column, &mut projected);
        for (i, value) in projected.iter().enumerate() {
            gram[(i, k)] = weight * value;
        }
    }
    if let Some(background) = design.background() {
        let valid = design.valid();
        let mut terms = vec![0.0; background.len()];
        let mut mean_terms = vec![0.0; background.len()];
        let first = basis.len();
        for y in valid.y..valid.y + valid.height {
            for x in valid.x..valid.x + valid.width {
                background.evaluate(y, x, &mut terms);
                for (j, tj) in terms.iter().enumerate() {
                    mean_terms[j] += tj;
                    for (i, ti) in terms.iter().enumerate().skip(j) {
                        gram[(first + i, first + j)] += weight * ti * tj;
                    }
                }
            }
        }
        let scale = design.photometric_scale_functional();
        for (j, sum) in mean_terms.iter().enumerate() {
            for k in 0..first {
                gram[(first + j, k)] = weight * mean * scale[k] * sum;
            }
        }
    }
    let ridge = 1e-10 * (0..n).map(|i| gram[(i, i)]).sum::<f64>() / n as f64;
    for i in 0..n {
        gram[(i, i)] += ridge;
    }
    Cholesky::new(&gram)
}
