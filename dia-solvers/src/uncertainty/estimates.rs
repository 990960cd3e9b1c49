//! What a fit found, each with its standard deviation.

use dia_core::{DesignMatrix, Image, Polynomial2d};
use faer::Mat;

use crate::linear::cg::dot;
use crate::precondition::sample::Factor;
use crate::robust::problem::Problem;
use crate::uncertainty::sampled_uncertainty::SampledUncertainty;
use crate::uncertainty::sandwich::{Uncertainty, model_variance, of_positive, sampled_covariance};
use crate::{Covariance, FitOptions, LEAST_BACKGROUND, Preconditioner, SubtractError};

/// A value and its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// σ by the sandwich form of the final weights; see [`fit`](crate::fit()).
    pub sigma: f64,
}

/// The estimates of a fit, in its units.
pub(crate) struct Estimates<D> {
    pub(crate) photometric_scale: Estimate,
    pub(crate) background: Vec<Estimate>,
    /// That of all parameters, if it was asked for.
    pub(crate) covariance: Option<Mat<f64>>,
    /// Var (A x), if it was asked for.
    pub(crate) model_variance: Option<D>,
}

impl<D> Estimates<D> {
    /// At the minimum `x` of `problem`, with the factor `p` of its last step.
    ///
    /// # Errors
    /// [`SubtractError`] if a variance is not determined, or a product fails.
    pub(crate) fn of<A: DesignMatrix<Data = D>>(
        problem: &mut Problem<'_, A>,
        p: &Factor,
        reference_variance: Option<&Image<A::Pixel>>,
        x: &[f64],
        options: &FitOptions,
    ) -> Result<Self, SubtractError> {
        let design = problem.a.design();
        let (first, n) = (design.kernel_ncols(), design.ncols());
        let scale = design.photometric_scale_functional();
        let mut uncertainty = Uncertainty::new(problem, reference_variance, x)?;
        let sigma = uncertainty.sigma_of_scale(problem, p, &scale)?;
        let photometric_scale = Estimate { value: dot(&scale, x), sigma };
        let sampled = if design.variation().len() > 1 {
            None
        } else {
            Some(SampledUncertainty::new(problem, &uncertainty, reference_variance, x)?)
        };
        let unit = |j: usize| (0..n).map(|i| f64::from(u8::from(i == j))).collect::<Vec<f64>>();
        let few = n.min(first + Polynomial2d::terms(LEAST_BACKGROUND));
        let mut background = Vec::with_capacity(n - first);
        for (j, value) in x.iter().enumerate().take(few).skip(first) {
            let c = unit(j);
            let functional = ("the background", c.as_slice());
            let sigma = of_positive(problem, |problem| match &sampled {
                Some(sampled) => sampled.sigma(problem, p, functional),
                None => uncertainty.sigma_of_solved(problem, p, functional),
            })?;
            background.push(Estimate { value: *value, sigma });
        }
        // Of further coefficients σ is that of P⁻¹, and so many times larger as it is for the first one.
        let mut solved = vec![0.0; n];
        let mut rough = |j: usize| {
            p.solve(&unit(j), &mut solved);
            solved[j].max(0.0).sqrt()
        };
        if few < n {
            let ratio = background[0].sigma / rough(first);
            let further = (few..n).map(|j| Estimate { value: x[j], sigma: ratio * rough(j) });
            background.extend(further);
        }
        let scale = (scale.as_slice(), sigma * sigma);
        let covariance = match options.covariance {
            Some(Covariance::AllRows) => Some(uncertainty.covariance(problem)?),
            Some(Covariance::Sampled) => Some(sampled_covariance(p, scale)),
            None => None,
        };
        drop(uncertainty);
        let model_variance = if options.model_variance {
            Some(model_variance(problem, p, scale, options.seed)?)
        } else {
            None
        };
        Ok(Self { photometric_scale, background, covariance, model_variance })
    }
}
