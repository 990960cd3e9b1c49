//! Why a solve or a subtraction gave no result.

use dia_core::{ImageError, ModelError, OperatorError};

/// A solve ended without a usable x. Running out of iterations is not an error: see [`crate::StopReason`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError {
    /// NaN or infinity among the numbers.
    #[error("{what} is not finite at iteration {iteration}; mask bad pixels before solving")]
    NonFinite {
        /// Which quantity.
        what: &'static str,
        /// In which iteration, from 0.
        iteration: usize,
    },
    /// The normal matrix has no Cholesky factor.
    #[error(
        "the normal matrix is not positive definite at column {column} of {columns}: too few pixels, or a reference without \
         stars, leave the kernel undetermined; choose a smaller half-width or a kernel basis with fewer functions"
    )]
    NotPositiveDefinite {
        /// Column at which the factorization broke down, from 0.
        column: usize,
        /// Number of columns.
        columns: usize,
    },
    /// A product failed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

/// A subtraction that could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubtractError {
    /// Planes of different size.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A noise parameter or a kernel that does not make sense.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Which of the two images has the impossible noise parameter.
    #[error("{image} image: {source}")]
    Noise {
        /// "reference" or "target".
        image: &'static str,
        /// What is wrong.
        source: ModelError,
    },
    /// Nothing to fit to.
    #[error(
        "no usable pixel is left: of {valid} valid pixels, {by_target} are masked in the target and {by_reference} have a masked \
         reference pixel in the kernel's footprint; check masks and saturation levels, or choose a smaller half-width"
    )]
    NoPixels {
        /// Pixels at which the kernel lies inside the reference.
        valid: usize,
        /// Of these, masked in the target.
        by_target: usize,
        /// Of these, spoilt by masked pixels of the reference.
        by_reference: usize,
    },
    /// Fewer pixels than unknowns.
    #[error(
        "{pixels} usable pixels cannot determine {unknowns} unknowns; choose a smaller half-width, a kernel basis with fewer \
         functions or lower degrees of variation"
    )]
    TooFewPixels {
        /// Usable pixels.
        pixels: usize,
        /// Columns of the design matrix.
        unknowns: usize,
    },
    /// An image without structure.
    #[error(
        "the {image} image is constant ({value} ADU) over its {pixels} usable pixels; there is nothing to match"
    )]
    Constant {
        /// "reference" or "target".
        image: &'static str,
        /// The one value.
        value: f64,
        /// How many pixels have it.
        pixels: usize,
    },
    /// The noise of the reference leaves nothing to determine the kernel by.
    #[error(
        "without the bias of the reference's noise the kernel is not determined: what regularisation and image give is less than what \
         the correction takes; choose a larger lambda (or let it be chosen), a smaller half-width, or weigh the reference's noise \
         without correcting its bias"
    )]
    Undetermined,
    /// The reference's noise is to be weighed, and nothing was given that carries it into the model.
    #[error(
        "the noise of the reference is to be weighed, but the operator of its variance was not given; prepare the reference with its noise and give that \
         operator, or choose ReferenceNoise::Ignore"
    )]
    NoReferenceVariance,
    /// The planes of a prepared pair were moved to an operator before.
    #[error(
        "this pair has been fitted before, and its planes are gone; prepare it again, or clone it before the first fit"
    )]
    AlreadyFitted,
    /// The solve for a standard deviation came to no end.
    #[error(
        "the uncertainty of {of} is not determined: the solve for it ended ({stop}) after {iterations} iterations; choose a smaller half-width, a lower degree \
         of variation or a larger lambda"
    )]
    Uncertainty {
        /// Of which functional.
        of: &'static str,
        /// How the solve ended.
        stop: &'static str,
        /// After how many iterations.
        iterations: usize,
    },
    /// Nothing to compare radii of.
    #[error(
        "kernels of different radii are compared by a fit of free pixels (the delta basis) that does not vary over the image, without \
         regularisation (lambda 0) and without correction for the reference's noise"
    )]
    NotNested,
    /// The fit failed.
    #[error(transparent)]
    Solve(#[from] SolveError),
}

impl From<OperatorError> for SubtractError {
    fn from(error: OperatorError) -> Self {
        Self::Solve(error.into())
    }
}
