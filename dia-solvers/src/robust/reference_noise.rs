//! What the noise of the reference adds to the score of the fit, and what is taken off again.
//!
//! The model that is fitted is K ⊗ (R + n) + B: what is convolved has the noise n of the reference in it. The residual of a pixel is then e − ε with ε = K ⊗ n beside the target's own noise e,
//! and the score, the sum over pixels of ∂M/∂x ψ(z)/σ, has a mean that is not zero where x is true. To first order in σ_R² = ⟨n²⟩ there are three terms, one for each place that n stands in:
//!
//! | n is in | mean of the score | what it does | taken off by |
//! |---|---|---|---|
//! | ∂M/∂x, the shifted references | −ν K, ν = Σ ψ′(z)/σ² σ_R² shifted | the scale is too small, as wherever regressors have errors | `moments_of_the_variance`, which the [`Penalty`](crate::regularise::penalty::Penalty) holds |
//! | e, where the target is a part of the reference | ψ′(z)/σ² Cov(n_R, n_I) | the kernel has a peak in its centre | nothing: the target is to be taken out of the mean first, by [`mean_without`](crate::mean_without) |
//! | σ², which holds the photons of model and reference | ∂M/∂x (γ_I K² + γ_R K³) ⊗ σ_R² / σ⁴ | the background is too high | [`correct_data`](Problem::correct_data) |

use dia_core::{DataVector, DesignMatrix, Loss, OperatorError, Photon, PixelWeight};

use crate::robust::problem::Problem;

impl<A: DesignMatrix> Problem<'_, A> {
    /// ν for every pair of columns: Vᵀ w, w being the weights in memory.
    pub(super) fn moments_of_the_variance(&mut self) -> Result<Vec<f64>, OperatorError> {
        let mut moments = vec![0.0; self.a.design().of_variance().ncols()];
        if let Some((v, workspace)) = &mut self.variance {
            v.apply_adjoint(&self.weights, &mut moments, workspace)?;
            self.products += 1;
        }
        Ok(moments)
    }

    /// Takes off the data what the noise of the reference adds to the residuals through the weights, once the kernel is known.
    ///
    /// Where ε happens to be positive the residual is too low, and the variance too large: of the target's photons, for σ² follows the model, and of the reference's, for σ_R² is that of
    /// its noisy pixels. With dσ² = γ_I ε + γ_R K² ⊗ n, the score (e − ε)/σ² of a pixel has the mean ⟨ε dσ²⟩/σ⁴, as data have that are larger by (γ_I K² + γ_R K³) ⊗ σ_R² / σ²: a part of an
    /// electron everywhere. Of a kernel that varies, the mean one stands in the term of the cubes.
    pub(crate) fn correct_data(&mut self, x: &[f64]) -> Result<(), OperatorError> {
        let (Some((v, workspace)), Some(reference)) = (&mut self.variance, &self.noise.reference)
        else {
            return Ok(());
        };
        let design = self.a.design();
        let kernel = design.kernel(x).within(design.inner_half_width());
        let mut cubes = vec![0.0; v.ncols()];
        for (cube, k) in cubes.iter_mut().zip(kernel.pixels()) {
            *cube = self.reference_photon * k * k * k;
        }
        let covariance = &mut self.memory.data;
        v.apply(&cubes, covariance, workspace)?;
        self.products += 1;
        match &self.noise.photon {
            Photon::Uniform(photon) => covariance.axpby(*photon, reference, 1.0)?,
            Photon::PerPixel(photon) => {
                self.weights.axpby(1.0, reference, 0.0)?;
                self.weights.multiply(photon)?;
                covariance.axpby(1.0, &self.weights, 1.0)?;
            }
        }
        // 1/σ².
        self.reweight(x, Loss::Gaussian, PixelWeight::Robust)?;
        self.weights.multiply(&self.memory.data)?;
        self.data.axpby(-self.share, &self.weights, 1.0)
    }
}
