//! The robust fit of a sample of the pixels: where the fit of all pixels starts, and its preconditioner.
//!
//! A few thousand rows of the design matrix, drawn by [`RowSample`], determine the parameters to within some hundred σ of the whole
//! image's, and their weights are nearly those at its solution. Two solves on them replace the first passes over all pixels.
//! A kernel that varies starts from one that does not.

use dia_core::{
    DataVector, Kernel, LinearOperator, Loss, Noise, OperatorError, Photon, Pixel, PixelWeight,
    Reweight,
};

use crate::linear::cg::axpy;
use crate::precondition::row_sample::of_least_precision;
use crate::precondition::sampled_rows::SampledRowsWorkspace;
use crate::{DesignRows, Preconditioner, Prepared, RowSample, SampledRows, SubtractError};

/// Where the fit of all pixels starts.
pub(crate) struct Start<T> {
    /// The parameters that fit the sample, for a kernel that does not vary.
    pub(crate) x: Vec<f64>,
    /// The rows of the sample, of the design with that kernel.
    pub(crate) rows: SampledRows<T>,
    /// The data of these rows.
    pub(crate) data: Vec<T>,
}

/// The sampled pixels of a target.
pub(crate) struct SampledTarget<T> {
    data: Vec<T>,
    noise: Noise<Vec<T>>,
    /// 1/σ² in ADU⁻², with the data in place of the model.
    weights: Vec<f64>,
}

impl<T: Pixel> SampledTarget<T> {
    /// Those that `sample` has drawn.
    pub(crate) fn new(prepared: &Prepared<'_, T>, sample: &RowSample) -> Self {
        let pick = |values: &[T]| -> Vec<T> { sample.rows().iter().map(|i| values[*i]).collect() };
        let noise = Noise {
            fixed: pick(&prepared.fixed),
            photon: match &prepared.photon {
                Photon::Uniform(photon) => Photon::Uniform(*photon),
                Photon::PerPixel(photon) => Photon::PerPixel(pick(photon)),
            },
            reference: None,
        };
        let weights = sample.rows().iter().map(|row| prepared.initial_weight(*row)).collect();
        Self { data: pick(&prepared.data), noise, weights }
    }
}

/// The fit of the sampled pixels alone, each with the inverse of its probability as weight.
struct SampleFit<'a, T> {
    rows: &'a SampledRows<T>,
    data: Vec<T>,
    noise: Noise<Vec<T>>,
    loss: Loss,
    over_probability: Vec<T>,
    /// Robust weights of the last gradient, without the probabilities.
    weights: Vec<T>,
    residual: Vec<T>,
    workspace: SampledRowsWorkspace,
}

/// K² ⊗ σ_R² at the sampled rows for a kernel K, where σ_R is known.
pub(crate) type ReferenceVariance<'a, T> =
    dyn FnMut(&Kernel) -> Result<Option<Vec<T>>, OperatorError> + 'a;

/// Fits those of the `rows` of a design of one kernel that `sample` has drawn.
pub(crate) fn fit_sample<T: Pixel>(
    rows: &DesignRows<'_, T>,
    sample: &RowSample,
    target: SampledTarget<T>,
    loss: Loss,
    reference_variance: &mut ReferenceVariance<'_, T>,
) -> Result<Start<T>, SubtractError> {
    let design = rows.design();
    let rows = sample.gather(rows);
    let SampledTarget { data, noise, mut weights } = target;
    let mut fit = SampleFit {
        data,
        noise,
        loss,
        over_probability: sample.probabilities().iter().map(|p| T::narrow(1.0 / p)).collect(),
        weights: rows.zeros()?,
        residual: rows.zeros()?,
        workspace: rows.workspace()?,
        rows: &rows,
    };

    // Least squares on a part of the sample, with the weights of the noise model on the data. A small sample is used as a whole: its half might
    // leave some unknowns open.
    let part = if sample.rows().len() < 4 * design.ncols() { 1 } else { FIRST_PART };
    weights.iter_mut().enumerate().filter(|(i, _)| i % part != 0).for_each(|(_, w)| *w = 0.0);
    let factor =
        |weights: &[f64]| of_least_precision(|precision| sample.gram(&rows, weights, precision));
    let coarse = factor(&weights)?;
    fit.residual.clone_from(&fit.data);
    fit.weights.iter_mut().zip(&weights).for_each(|(w, weight)| *w = T::narrow(*weight));
    let (mut g, mut x) = (vec![0.0; design.ncols()], vec![0.0; design.ncols()]);
    fit.weighted_sum(&mut g)?;
    coarse.solve(&g, &mut x);

    // One step with the weights of the loss, which differ little from those at the minimum.
    fit.noise.reference = reference_variance(&design.kernel(&x))?;
    fit.gradient(&x, &mut g)?;
    weights.iter_mut().zip(&fit.weights).for_each(|(w, weight)| *w = weight.widen());
    let mut step = vec![0.0; design.ncols()];
    factor(&weights)?.solve(&g, &mut step);
    axpy(1.0, &step, &mut x);
    let SampleFit { data, .. } = fit;
    Ok(Start { x, rows, data })
}

/// One row in so many gives the first guess: its Gram matrix costs little, and it only has to give fair weights.
const FIRST_PART: usize = 2;

impl<T: Pixel> SampleFit<'_, T> {
    /// g ← Σ w r a / probability, over the sample.
    fn weighted_sum(&mut self, g: &mut [f64]) -> Result<(), OperatorError> {
        self.residual.multiply(&self.weights)?;
        self.residual.multiply(&self.over_probability)?;
        self.rows.apply_adjoint(&self.residual, g, &mut self.workspace)
    }

    /// The gradient of the loss over the sample, with the weights at `x`.
    fn gradient(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), SubtractError> {
        self.rows.apply(x, &mut self.residual, &mut self.workspace)?;
        self.weights.clone_from(&self.residual);
        self.data.reweight(&self.noise, self.loss, PixelWeight::Robust, &mut self.weights)?;
        self.residual.axpby(1.0, &self.data, -1.0)?;
        Ok(self.weighted_sum(g)?)
    }
}
