//! The problem that all methods solve: min Σ ρ((I − A x)/σ) with σ² given, so that the minimum is one and the same.

use std::sync::Arc;

use anyhow::Result;
use dia_core::{
    DataVector, Design, DesignMatrix, Image, Loss, Noise, OperatorError, Photon, Pixel,
    PixelWeight, Reweight,
};
use dia_solvers::Prepared;

/// A pair with its operator.
pub(crate) struct LeastSquares<A: DesignMatrix> {
    pub(crate) a: A,
    /// R without its sky, 0 where masked.
    pub(crate) reference: Arc<Image<A::Pixel>>,
    /// I at the valid pixels, 0 where masked; it and R in the units of the prepared pair.
    pub(crate) data: A::Data,
    /// σ², +∞ where masked.
    pub(crate) noise: Noise<A::Data>,
    /// 1/σ² of the valid pixels on the host, 0 where masked.
    pub(crate) weights: Vec<f64>,
}

impl<A: DesignMatrix> LeastSquares<A> {
    /// Moves the pair to where the operator lives.
    pub(crate) fn new(prepared: &Prepared<'_, A::Pixel>, a: A) -> Result<Self> {
        let design = prepared.design();
        let (valid, target) = (design.valid(), prepared.target());
        let weights: Vec<f64> = (0..design.nrows()).map(|i| prepared.initial_weight(i)).collect();
        let unit = A::Pixel::narrow(prepared.units().target);
        let value =
            |i: usize| target.at(valid.y + i / valid.width, valid.x + i % valid.width) / unit;
        let data = weights
            .iter()
            .enumerate()
            .map(|(i, weight)| if *weight > 0.0 { value(i) } else { A::Pixel::narrow(0.0) });
        let data = a.upload(data.collect())?;
        let fixed = a.upload(weights.iter().map(|w| A::Pixel::narrow(w.recip())).collect())?;
        let noise = Noise { fixed, photon: Photon::Uniform(0.0), reference: None };
        let reference = Arc::clone(prepared.shared_reference());
        Ok(Self { a, reference, data, noise, weights })
    }

    pub(crate) fn design(&self) -> &Design {
        self.a.design()
    }

    /// g ← AᵀW (I − A x) with the robust weights W at x: two products, fused where the operator can.
    pub(crate) fn gradient(
        &self,
        x: &[f64],
        loss: Loss,
        g: &mut [f64],
        workspace: &mut A::Workspace,
    ) -> Result<(), OperatorError> {
        self.a.robust_gradient(x, &self.data, &self.noise, loss, g, workspace)
    }

    /// The same in two products, which leave W in `weights` and I − A x in `residual`.
    pub(crate) fn gradient_and_weights(
        &self,
        x: &[f64],
        loss: Loss,
        g: &mut [f64],
        [weights, residual, scratch]: [&mut A::Data; 3],
        workspace: &mut A::Workspace,
    ) -> Result<(), OperatorError> {
        self.a.apply(x, weights, workspace)?;
        residual.axpby(1.0, &self.data, 0.0)?;
        residual.axpby(-1.0, weights, 1.0)?;
        self.data.reweight(&self.noise, loss, PixelWeight::Robust, weights)?;
        scratch.axpby(1.0, residual, 0.0)?;
        scratch.multiply(weights)?;
        self.a.apply_adjoint(scratch, g, workspace)
    }

    /// W at x on the host.
    pub(crate) fn robust_weights(&self, x: &[f64], loss: Loss) -> Result<Vec<f64>, OperatorError> {
        let mut weights = self.a.zeros()?;
        self.a.apply(x, &mut weights, &mut self.a.workspace()?)?;
        self.data.reweight(&self.noise, loss, PixelWeight::Robust, &mut weights)?;
        self.gather(&weights)
    }

    /// A data vector on the host.
    pub(crate) fn gather(&self, data: &A::Data) -> Result<Vec<f64>, OperatorError> {
        let rows: Vec<usize> = (0..self.a.nrows()).collect();
        let mut values = vec![0.0; rows.len()];
        self.a.gather(data, &rows, &mut values)?;
        Ok(values)
    }
}
