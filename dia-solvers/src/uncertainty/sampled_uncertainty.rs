//! The variance of the background's coefficients beside a constant kernel, by the sampled rows alone.
//!
//! σ² = (c·y)² yᵀSy/(yᵀJy)² as [`crate::uncertainty::sandwich`] has it, with y = P⁻¹c and both forms summed over the sample. A background is much the same everywhere, and some
//! thousand rows tell its variance to a percent or two: no product with the whole image is needed. It would not do for the photometric scale, which a few stars determine, nor for
//! the many unknowns of a kernel that varies: with six rows for each, σ was too large by a third.
//!
//! What neighbours share of the reference's noise, see [`crate::uncertainty::correlated_noise`], is for a functional that is smooth over a kernel
//! Σ_p f(p)² ((ΣK)² σ_R² − K² ⊗ σ_R²)(p).

use dia_core::{Design, DesignMatrix, Image, OperatorError, Pixel};

use crate::linear::cg::dot;
use crate::precondition::sample::Factor;
use crate::robust::problem::Problem;
use crate::uncertainty::sandwich::{Uncertainty, sandwich};
use crate::{Preconditioner, SubtractError};

/// J and S at the sampled rows, each over the row's probability.
pub(crate) struct SampledUncertainty {
    curvature: Vec<f64>,
    /// S, with what neighbours share.
    score: Vec<f64>,
}

impl SampledUncertainty {
    /// For the kernel of the parameters `x`.
    pub(crate) fn new<A: DesignMatrix>(
        problem: &Problem<'_, A>,
        uncertainty: &Uncertainty<A>,
        reference_variance: Option<&Image<A::Pixel>>,
        x: &[f64],
    ) -> Result<Self, OperatorError> {
        let draw = problem.sample.draw;
        let mut curvature = problem.at_sample(uncertainty.curvature())?;
        let mut score = problem.at_sample(uncertainty.score())?;
        if let Some((image, reference)) = reference_variance.zip(problem.noise.reference.as_ref()) {
            let design = problem.a.design();
            let scale = design.kernel(x).photometric_scale();
            let carried = problem.at_sample(reference)?;
            let rows = score.iter_mut().zip(&curvature).zip(draw.rows()).zip(carried);
            for (((score, curvature), row), carried) in rows {
                let shared = scale * scale * variance_at(design, image, *row) - carried;
                *score += curvature * curvature * shared;
            }
        }
        for values in [&mut curvature, &mut score] {
            values.iter_mut().zip(draw.probabilities()).for_each(|(value, p)| *value /= p);
        }
        Ok(Self { curvature, score })
    }

    /// The standard deviation of c·x, of a functional with a name.
    pub(crate) fn sigma<A: DesignMatrix>(
        &self,
        problem: &Problem<'_, A>,
        p: &Factor,
        (of, c): (&'static str, &[f64]),
    ) -> Result<f64, SubtractError> {
        let mut y = vec![0.0; c.len()];
        p.solve(c, &mut y);
        let model = problem.sample.model(problem.a.design(), &y)?;
        let form = |weights: &[f64]| -> f64 {
            weights.iter().zip(&model).map(|(weight, model)| weight * model.widen().powi(2)).sum()
        };
        let penalty = problem.penalty.as_ref().map_or(0.0, |penalty| penalty.form(&y));
        sandwich((of, dot(c, &y)), form(&self.curvature) + penalty, form(&self.score))
    }
}

/// σ_R² at a valid pixel.
fn variance_at<T: Pixel>(design: &Design, variance: &Image<T>, row: usize) -> f64 {
    let (border, width) = (design.inner_half_width(), design.valid().width);
    variance.view().at(border + row / width, border + row % width).widen()
}
