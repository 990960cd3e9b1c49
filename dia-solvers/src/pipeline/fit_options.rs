//! How a pair is fitted: what a caller may choose.

use dia_core::seeing::Seeing;
use dia_core::{Design, Loss, ModelError, Polynomial2d};

use crate::{Clipping, NoiseScale, SubtractError, VariableSourceOptions};

/// Which linear solver computes the corrections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Solver {
    /// Descent preconditioned by the Gram matrix of sampled rows, with conjugate directions: those of Anderson acceleration where
    /// weights change with every step, conjugate gradients where they are fixed.
    #[default]
    Pcg,
    /// LSQR, preconditioned from the right by the same.
    Lsqr,
    /// The whole normal matrix, factored. The classical way.
    Cholesky,
}

impl Solver {
    /// A short name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcg => "pcg",
            Self::Lsqr => "lsqr",
            Self::Cholesky => "cholesky",
        }
    }
}

/// What is made of the reference's own noise; see [`FitOptions::reference_noise`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReferenceNoise {
    /// K² ⊗ σ_R² is part of the variance, and the bias Σ_p w(p) σ_R²(p − u) that it leaves on the diagonal of the normal matrix is taken out: the
    /// photometric scale and all fluxes are without bias.
    #[default]
    Correct,
    /// K² ⊗ σ_R² is part of the variance.
    Weight,
    /// The reference counts as free of noise.
    Ignore,
}

/// The strength of the regularisation, λ ν̄ ‖L K‖² in χ²: L is the Laplacian of the kernel's grid, ν̄ what the noise of the reference adds to a diagonal
/// element of the normal matrix, in the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Lambda {
    /// The λ with the smallest expected error of the model, by Stein's unbiased estimate (compare Becker et al. 2012, MNRAS 425, 1341); larger
    /// where the corrected normal matrix of all pixels would not be positive definite.
    #[default]
    Auto,
    /// A given λ ≥ 0.
    Fixed(f64),
}

/// How the covariance of all parameters is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Covariance {
    /// J⁻¹SJ⁻¹ of all rows, at the cost of two normal matrices.
    AllRows,
    /// As the preconditioner knows it, nearly for nothing: P⁻¹ ≈ (J + Q)⁻¹, scaled so that σ of the photometric scale is that of
    /// [`Fit::photometric_scale`](crate::Fit::photometric_scale). It holds what the regularisation may have left out beside the noise.
    Sampled,
}

/// How a pair is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// What is minimised.
    pub loss: Loss,
    /// The noise of the reference.
    pub reference_noise: ReferenceNoise,
    /// Regularisation of the kernel.
    pub lambda: Lambda,
    /// How variable sources are found, which are left out as wholes; `None` to keep them. None is found where the seeing can neither be measured nor
    /// is given.
    pub variable_sources: Option<VariableSourceOptions>,
    /// Full width at half maximum of the target's stars in pixels, if it is known already.
    pub target_fwhm: Option<f64>,
    /// The seeing of the target, if it is known already: with that of the reference, how much wider the kernel is expected to make stars.
    pub target_seeing: Option<Seeing>,
    /// The seeing of the reference, if it is known already: with its wings, what the kernel's wings are expected to be.
    pub reference_seeing: Option<Seeing>,
    /// Rejection of single pixels; `None` for none.
    pub clipping: Option<Clipping>,
    /// Whether the noise model is believed.
    pub noise_scale: NoiseScale,
    /// The linear solver.
    pub solver: Solver,
    /// Distance from the minimum at which the fit ends, in σ.
    pub tolerance: f64,
    /// Most reweightings.
    pub max_passes: usize,
    /// Rows that the preconditioner samples, per unknown of a constant kernel.
    pub sample_per_unknown: usize,
    /// Seed of that sample.
    pub seed: u64,
    /// Whether the uncertainty of the model, Var (A x), is to be part of the difference's variance: added where a pixel was left out of the fit, and
    /// subtracted where the model was fitted to that very pixel.
    pub model_variance: bool,
    /// Whether the covariance of all parameters is wanted, and how.
    pub covariance: Option<Covariance>,
    /// Whether this kernel, of free pixels and not regularised, is to be compared with narrower ones.
    pub nested_kernels: bool,
    /// What becomes of a design whose kernel varies over the image.
    pub variation: Variation,
    /// The degree from which a background's is chosen, up to that of the design, by a test of the images; `None` for the design's.
    pub least_background: Option<usize>,
}

/// Whether a kernel that may vary over the image does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Variation {
    /// As the design says.
    #[default]
    AsDesigned,
    /// As the design says where a test of the images sees that it varies, see [`VariationTest`](crate::VariationTest); where not, a constant kernel is fitted, which takes less time and is
    /// as near to the truth. Without regularisation, as designed.
    Tested,
}

impl Default for FitOptions {
    /// [`DEFAULT`](Self::DEFAULT).
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FitOptions {
    /// Huber's loss that is linear beyond 3 σ.
    ///
    /// The correction for the reference's noise takes from the curvature Σ ψ′(z)/σ² a aᵀ what that noise has of it. Where the seeing of both images is nearly the same, little is left, and the usual
    /// c = 1.345, beyond which lie 18 % of all pixels, leaves the descent without a minimum that it could find: of 120 simulated pairs whose target was the sharper by up to a third, 4 fits ended
    /// nowhere and 7 scales were wrong by more than 3 σ; with c = 3 none and one. It has 99.9 % of the efficiency of least squares, and model errors on ordinary fields are 0.2 to 4 % smaller. Outliers
    /// pull twice as hard, which matters where nothing else leaves them out: variables that are kept.
    pub const LOSS: Loss = Loss::Huber { c: 3.0 };

    /// Huber's loss, the reference's noise corrected, λ chosen, variable sources left out; PCG, to within 0.01 σ.
    pub const DEFAULT: Self = Self {
        loss: Self::LOSS,
        reference_noise: ReferenceNoise::Correct,
        lambda: Lambda::Auto,
        variable_sources: Some(VariableSourceOptions::DEFAULT),
        target_fwhm: None,
        target_seeing: None,
        reference_seeing: None,
        clipping: None,
        noise_scale: NoiseScale::Given,
        solver: Solver::Pcg,
        tolerance: 0.01,
        max_passes: 100,
        sample_per_unknown: 40,
        seed: 0,
        model_variance: false,
        covariance: None,
        nested_kernels: false,
        variation: Variation::AsDesigned,
        least_background: None,
    };

    /// The classical fit, for comparisons: no regularisation, the bias of the reference's noise not corrected, no source left out.
    pub fn plain() -> Self {
        Self {
            reference_noise: ReferenceNoise::Weight,
            lambda: Lambda::Fixed(0.0),
            variable_sources: None,
            ..Self::default()
        }
    }

    /// Whether the fit needs the variance of the reference.
    pub fn needs_reference_variance(&self) -> bool {
        self.reference_noise != ReferenceNoise::Ignore || self.lambda != Lambda::Fixed(0.0)
    }

    /// `design`, or where the images are to be tested for more, the least of it that is fitted before.
    pub(crate) fn simplest(&self, design: &Design) -> Design {
        let degree = design.background().map_or(0, Polynomial2d::degree);
        // The background is asked about before the kernel.
        match self.least_background.filter(|least| *least < degree) {
            Some(least) => design.constant().with_background(least),
            None if self.variation == Variation::Tested => design.constant(),
            None => design.clone(),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), SubtractError> {
        self.loss.validate()?;
        let error = |name, value, range| Err(ModelError::Noise { name, value, range }.into());
        if self.tolerance.is_nan() || self.tolerance <= 0.0 {
            return error("tolerance", self.tolerance, "a positive number of σ");
        }
        if let Some(fwhm) = self.target_fwhm.filter(|fwhm| !(*fwhm > 0.0 && fwhm.is_finite())) {
            return error("target FWHM", fwhm, "a positive number of pixels");
        }
        match self.lambda {
            Lambda::Fixed(value) if !(value >= 0.0 && value.is_finite()) => {
                error("lambda", value, "zero or positive")
            }
            _ => Ok(()),
        }
    }
}
