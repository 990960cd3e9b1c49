//! Whether a kernel varies over the image, asked before anything that varies is fitted.
//!
//! At the minimum for a constant kernel, the gradient over the columns of a kernel that varies is noise if it does not vary (the score test: Rao 1948, Math. Proc. Camb. Phil.
//! Soc. 44, 50). What kernels vary in is first of all flux, place and width; so the gradient is looked at along the seeing's kernel, [`crate::seeing_kernel`], and its
//! derivatives by centre and second moments, six functions, times each polynomial T_t but the constant one. With v these directions and n the columns of the constant
//! model, the score that the latter leave is
//!
//! > s = g_v − J_vn P⁻¹ g_n, Var s = S_vv − J_vn P⁻¹ S_nv − S_vn P⁻¹ J_nv + J_vn P⁻¹ S_nn P⁻¹ J_nv,
//!
//! P = J_nn + Q, and sᵀ (Var s)⁻¹ s is χ² with as many degrees of freedom as there are directions. The gradient is that of all pixels; J, and S in proportion to it, are those of
//! the sampled rows. The bias of the reference's noise in g_v is that of the mean of T_t over the pixels, which is zero.

use dia_core::{DataVector, DesignMatrix, LinearOperator, Pixel, PixelWeight, Reweight};
use faer::{Mat, Side};

use crate::cg::dot;
use crate::problem::Problem;
use crate::seeing_kernel::NearestKernel;
use crate::{GramPrecision, Preconditioner, SolveError, SubtractError};

/// How the score of a kernel's variation compares with noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariationTest {
    /// sᵀ (Var s)⁻¹ s.
    pub statistic: f64,
    /// The number of directions, its expectation where nothing varies.
    pub degrees_of_freedom: usize,
    /// The value that chance exceeds in one of twenty such fields.
    pub limit: f64,
}

impl VariationTest {
    /// Whether more than chance is seen.
    pub fn varies(&self) -> bool {
        self.statistic > self.limit
    }
}

/// Directions of less than this part of the best determined one's information are none.
const LEAST_INFORMATION: f64 = 1e-8;

/// The upper 5 % of χ² (Wilson & Hilferty 1931, Proc. Natl. Acad. Sci. 17, 684).
fn limit(degrees_of_freedom: usize) -> f64 {
    /// Of the normal distribution.
    const UPPER: f64 = 1.644_854;
    let spread = 2.0 / (9.0 * degrees_of_freedom as f64);
    degrees_of_freedom as f64 * (1.0 - spread + UPPER * spread.sqrt()).powi(3)
}

/// Tests whether the kernel of `all` varies, at the parameters `x` of `problem`, which is the same without variation. `None` where the seeing's kernel is not known.
pub(crate) fn variation_test<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    all: &A,
    x: &[f64],
) -> Result<Option<VariationTest>, SubtractError> {
    let Some(free) = problem.free.clone() else { return Ok(None) };
    let (design, basis) = (all.design(), all.design().basis());
    let (n, terms) = (x.len(), design.variation().len());
    let nearest = NearestKernel::new(basis, problem.penalty_maps.kernel())?;
    let changes = free.gaussian.changes(basis.support().half_width());
    let changes: Vec<Vec<f64>> = changes.iter().map(|image| nearest.coefficients(image)).collect();

    // g, over the constant columns with the penalty, and along the directions.
    let mut residuals = problem.a.zeros()?;
    problem.a.apply(x, &mut residuals, &mut problem.memory.operator)?;
    problem.weights.axpby(1.0, &residuals, 0.0)?;
    residuals.axpby(1.0, &problem.data, -1.0)?;
    let Problem { data, noise, loss, weights, .. } = &mut *problem;
    data.reweight(noise, *loss, PixelWeight::Robust, weights)?;
    residuals.multiply(weights)?;
    let mut gradient = vec![0.0; all.ncols()];
    all.apply_adjoint(&residuals, &mut gradient, &mut all.workspace()?)?;
    problem.products += 2;
    let mut g = gradient[..basis.len()].to_vec();
    g.extend_from_slice(&gradient[design.kernel_ncols()..]);
    if let Some(shared) = &problem.shared {
        g.iter_mut().zip(shared.bias()).for_each(|(g, bias)| *g -= bias);
    }
    if let Some(penalty) = &problem.penalty {
        penalty.add_product(-1.0, x, &mut g);
    }
    let mut score = Vec::new();
    for term in design.kernel_terms().skip(1) {
        for change in &changes {
            score.push(dot(&change[term.functions.clone()], &gradient[term.columns.clone()]));
        }
    }

    // J over all of them, by the sample.
    let weights = problem.gather(problem.sample.draw.rows())?;
    let sample = &problem.sample;
    let j_nn = sample.gram(&weights, GramPrecision::Double);
    let mut directions = vec![Vec::with_capacity(weights.len()); score.len()];
    let (valid, mut values) = (design.valid(), vec![0.0; terms]);
    let mut along = vec![0.0; changes.len()];
    for (i, row) in sample.draw.rows().iter().enumerate() {
        let row_values = &sample.rows.row(i)[..basis.len()];
        for (along, change) in along.iter_mut().zip(&changes) {
            *along = row_values.iter().zip(change).map(|(r, c)| r.widen() * c).sum();
        }
        design.variation().evaluate(
            valid.y + row / valid.width,
            valid.x + row % valid.width,
            &mut values,
        );
        let products = values[1..].iter().flat_map(|t| along.iter().map(move |a| t * a));
        directions.iter_mut().zip(products).for_each(|(direction, value)| direction.push(value));
    }
    let over: Vec<f64> =
        weights.iter().zip(sample.draw.probabilities()).map(|(w, p)| w / p).collect();
    let mut memory = sample.rows.workspace()?;
    let mut j_nv = Mat::<f64>::zeros(n, score.len());
    let mut j_vv = Mat::<f64>::zeros(score.len(), score.len());
    for (k, direction) in directions.iter().enumerate() {
        let weighted: Vec<f64> = direction.iter().zip(&over).map(|(v, w)| v * w).collect();
        let narrow: Vec<A::Pixel> = weighted.iter().map(|v| A::Pixel::narrow(*v)).collect();
        sample.rows.apply_adjoint(&narrow, j_nv.col_as_slice_mut(k), &mut memory)?;
        for (l, other) in directions.iter().enumerate() {
            j_vv[(l, k)] = dot(other, &weighted);
        }
    }

    let p = problem.factor_weights()?;
    let mut solved = j_nv.clone();
    for k in 0..score.len() {
        let column = solved.col_as_slice_mut(k);
        p.solve_lower(column);
        p.solve_upper(column);
    }
    for (k, score) in score.iter_mut().enumerate() {
        *score -= dot(solved.col_as_slice(k), &g);
    }
    let cross = j_nv.transpose() * &solved;
    let variance = &j_vv - &cross - cross.transpose() + solved.transpose() * (&j_nn * &solved);
    let loss = problem.loss;
    let of_score = loss.mean_weight(PixelWeight::Score) / loss.mean_weight(PixelWeight::Robust);
    let (statistic, degrees_of_freedom) =
        quadratic_form(&(variance * faer::Scale(of_score)), &score)?;
    let limit = limit(degrees_of_freedom.max(1));
    Ok(Some(VariationTest { statistic, degrees_of_freedom, limit }))
}

/// sᵀ V⁻¹ s over the directions in which V is determined, and their number.
fn quadratic_form(v: &Mat<f64>, s: &[f64]) -> Result<(f64, usize), SolveError> {
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
    use super::limit;

    #[test]
    fn the_limit_is_that_of_the_tables() {
        // Abramowitz & Stegun (1964), table 26.8; the approximation is good to 0.3 % from three degrees of freedom on.
        for (degrees, expected) in [(3, 7.814_7), (10, 18.307), (30, 43.773)] {
            assert!((limit(degrees) / expected - 1.0).abs() < 3e-3, "{degrees}");
        }
    }
}
