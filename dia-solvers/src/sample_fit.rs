//! The robust fit of a sample of the pixels: where the fit of all pixels starts, and its preconditioner.
//!
//! A few thousand rows of the design matrix, drawn by [`RowSample`], determine the parameters to within some ten σ of the whole
//! image's, and their weights are nearly those at its solution. All passes but the last few can therefore be made on them.

use dia_core::{
    DataVector, Kernel, LinearOperator, Loss, Noise, OperatorError, Photon, Pixel, Reweight,
};

use crate::descent::{DescentOptions, RobustProblem, descend};
use crate::sampled_rows::SampledRowsWorkspace;
use crate::{
    Cholesky, DesignRows, Preconditioner, Prepared, RowSample, SampledRows, SubtractError,
};

/// Where the fit of all pixels starts.
pub(crate) struct Start {
    /// The parameters that fit the sample.
    pub(crate) x: Vec<f64>,
    /// The factor of the sample's Gram matrix with the weights at x.
    pub(crate) factor: Cholesky,
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

/// Fits a sample of the rows. `reference_variance` gives K² ⊗ σ_R² at the sampled rows for a kernel K, where it is known.
pub(crate) fn fit_sample<T: Pixel>(
    prepared: &Prepared<'_, T>,
    sample: &RowSample,
    loss: Loss,
    reference_variance: &mut dyn FnMut(&Kernel) -> Result<Option<Vec<T>>, OperatorError>,
) -> Result<Start, SubtractError> {
    let design = prepared.design();
    let rows = sample.gather(&DesignRows::new(design, prepared.reference()));
    let pick = |values: &[T]| -> Vec<T> { sample.rows().iter().map(|i| values[*i]).collect() };
    let noise = Noise {
        fixed: pick(&prepared.fixed),
        photon: match &prepared.photon {
            Photon::Uniform(photon) => Photon::Uniform(*photon),
            Photon::PerPixel(photon) => Photon::PerPixel(pick(photon)),
        },
        reference: None,
    };
    let mut fit = SampleFit {
        data: pick(&prepared.data),
        noise,
        loss,
        over_probability: sample.probabilities().iter().map(|p| T::narrow(1.0 / p)).collect(),
        weights: rows.zeros()?,
        residual: rows.zeros()?,
        workspace: rows.workspace()?,
        rows: &rows,
    };

    // Least squares with the weights of the noise model on the data.
    let initial: Vec<f64> = sample.rows().iter().map(|i| prepared.initial_weight(*i)).collect();
    let mut factor = sample.factor_gathered(&rows, &initial)?;
    fit.residual.clone_from(&fit.data);
    for (w, initial) in fit.weights.iter_mut().zip(&initial) {
        *w = T::narrow(*initial);
    }
    let mut g = vec![0.0; design.ncols()];
    fit.weighted_sum(&mut g)?;
    let mut x = vec![0.0; design.ncols()];
    factor.solve(&g, &mut x);
    fit.noise.reference = reference_variance(&design.kernel(&x))?;

    // Then the loss, and the factor of its weights.
    let options = DescentOptions {
        tolerance: ACCURACY * prepared.sampling_error(sample.rows().len()),
        max_steps: 20,
        rounding: T::epsilon().widen(),
    };
    let _ = descend(&mut fit, &factor, &mut x, options, &mut |_, _| ())?;
    let weights: Vec<f64> = fit.weights.iter().map(|w| w.widen()).collect();
    factor = sample.factor_gathered(&rows, &weights)?;
    Ok(Start { x, factor })
}

/// How accurately the sample is fitted, in units of the error that it has as a sample.
const ACCURACY: f64 = 0.1;

impl<T: Pixel> SampleFit<'_, T> {
    /// g ← Σ w r a / probability, over the sample.
    fn weighted_sum(&mut self, g: &mut [f64]) -> Result<(), OperatorError> {
        self.residual.multiply(&self.weights)?;
        self.residual.multiply(&self.over_probability)?;
        self.rows.apply_adjoint(&self.residual, g, &mut self.workspace)
    }
}

impl<T: Pixel> RobustProblem for SampleFit<'_, T> {
    fn gradient(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), SubtractError> {
        self.rows.apply(x, &mut self.residual, &mut self.workspace)?;
        let _ = self.data.reweight(&self.residual, &self.noise, self.loss, &mut self.weights)?;
        self.residual.axpby(1.0, &self.data, -1.0)?;
        Ok(self.weighted_sum(g)?)
    }
}
