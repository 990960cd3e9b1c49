//! Whether the images ask for more columns than a model has (the score test: Rao 1948, Math. Proc. Camb. Phil. Soc. 44, 50).
//!
//! At the minimum of the model with columns n, the gradient over further columns v is noise if these are not needed. What the former leave of it is
//!
//! > s = g_v − J_vn P⁻¹ g_n, Var s = S_vv − J_vn P⁻¹ S_nv − S_vn P⁻¹ J_nv + J_vn P⁻¹ S_nn P⁻¹ J_nv,
//!
//! P = J_nn + Q, and sᵀ (Var s)⁻¹ s is χ² with as many degrees of freedom as there are further columns. The gradient is that of all pixels; J, and S in proportion to it, are
//! those of the sampled rows.

use dia_core::{DesignMatrix, OperatorError};
use faer::{Mat, Side};

use crate::linear::cg::dot;
use crate::precondition::sample::Sample;
use crate::robust::problem::Problem;
use crate::{GramPrecision, Preconditioner, SolveError, SubtractError};

/// Directions of less than this part of the best determined one's information are none.
const LEAST_INFORMATION: f64 = 1e-8;

/// The value that χ² exceeds as rarely as a normal distribution `upper` standard deviations (Wilson & Hilferty 1931, Proc. Natl. Acad. Sci. 17, 684).
pub(crate) fn limit(degrees_of_freedom: usize, upper: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees_of_freedom as f64);
    degrees_of_freedom as f64 * (1.0 - spread + upper * spread.sqrt()).powi(3)
}

/// What a normal distribution exceeds in one case of a hundred, in standard deviations.
pub(crate) const ONE_IN_A_HUNDRED: f64 = 2.326_348;

/// Aᵀ W (I − M) at `x` over the columns of `all`, which are the problem's and further ones. The weights at `x` are in the problem's memory afterwards.
pub(crate) fn gradient_over<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    all: &A,
    x: &[f64],
) -> Result<Vec<f64>, OperatorError> {
    problem.weigh_residuals(x)?;
    let mut gradient = vec![0.0; all.ncols()];
    all.apply_adjoint(&problem.memory.data, &mut gradient, &mut all.workspace()?)?;
    problem.products += 2;
    Ok(gradient)
}

/// W V, for columns V.
pub(crate) fn weighted(columns: &[Vec<f64>], weights: &[f64]) -> Mat<f64> {
    Mat::from_fn(weights.len(), columns.len(), |i, k| weights[i] * columns[k][i])
}

/// VᵀW V, from columns V and W V.
pub(crate) fn products(columns: &[Vec<f64>], weighted: &Mat<f64>) -> Mat<f64> {
    let v = Mat::from_fn(weighted.nrows(), columns.len(), |i, k| columns[k][i]);
    v.transpose() * weighted
}

/// Takes off the score over further columns, `score`, what the gradient `g` over the problem's own tells of it; returns Var s as if S were J.
///
/// `weights` are those of the sampled rows, `columns` the further ones there.
pub(crate) fn project<A: DesignMatrix>(
    problem: &Problem<'_, A>,
    weights: &[f64],
    columns: &[Vec<f64>],
    g: &[f64],
    score: &mut [f64],
) -> Result<Mat<f64>, SubtractError> {
    let Sample { draw, rows, .. } = &problem.sample;
    let j_nn = problem.sample.gram(weights, GramPrecision::Double);
    let over: Vec<f64> = weights.iter().zip(draw.probabilities()).map(|(w, p)| w / p).collect();
    let weighted = weighted(columns, &over);
    let (j_nv, j_vv) = (rows.adjoint_of_columns(&weighted), products(columns, &weighted));
    let p = problem.factor_weights()?;
    let mut solved = j_nv.clone();
    for (k, score) in score.iter_mut().enumerate() {
        let column = solved.col_as_slice_mut(k);
        p.solve_lower(column);
        p.solve_upper(column);
        *score -= dot(column, g);
    }
    let cross = j_nv.transpose() * &solved;
    Ok(&j_vv - &cross - cross.transpose() + solved.transpose() * (&j_nn * &solved))
}

/// K² ⊗ σ_R² at the sampled rows, zero where it is not known.
pub(crate) fn reference_noise_at_sample<A: DesignMatrix>(
    problem: &Problem<'_, A>,
) -> Result<Vec<f64>, OperatorError> {
    match &problem.noise.reference {
        Some(reference) => problem.at_sample(reference),
        None => Ok(vec![0.0; problem.sample.draw.rows().len()]),
    }
}

/// sᵀ V⁻¹ s over the directions in which V is determined, and their number.
pub(crate) fn quadratic_form(v: &Mat<f64>, s: &[f64]) -> Result<(f64, usize), SolveError> {
    // The directions are of different units.
    let size = |k: usize| v[(k, k)].max(f64::MIN_POSITIVE).sqrt();
    let scaled = Mat::from_fn(s.len(), s.len(), |i, j| v[(i, j)] / (size(i) * size(j)));
    let eigen = scaled
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| SolveError::NonFinite { what: "the score's variance", iteration: 0 })?;
    let (mut sum, mut count) = (0.0, 0);
    for (k, value) in eigen.S().column_vector().iter().enumerate() {
        if *value > LEAST_INFORMATION {
            let along: f64 = (0..s.len()).map(|i| eigen.U()[(i, k)] * s[i] / size(i)).sum();
            sum += along * along / value;
            count += 1;
        }
    }
    Ok((sum, count))
}

#[cfg(test)]
mod tests {
    use super::{ONE_IN_A_HUNDRED, limit};

    #[test]
    fn the_limit_is_that_of_the_tables() {
        // Abramowitz & Stegun (1964), table 26.8; the approximation is good to 0.3 % from three degrees of freedom on.
        for (degrees, expected) in [(3, 11.345), (10, 23.209), (30, 50.892)] {
            assert!((limit(degrees, ONE_IN_A_HUNDRED) / expected - 1.0).abs() < 3e-3, "{degrees}");
        }
    }
}
