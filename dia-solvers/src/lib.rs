//! Solvers for difference imaging, and the pipeline from two prepared images to their difference.
//!
//! The kernel fit is a weighted linear least-squares problem with 10² … 10⁴ unknowns and 10⁵ … 10⁸ rows. The classical way
//! builds the n × n normal matrix, which takes m n² operations, and factors it ([`Solver::Cholesky`]). The iterative way
//! needs only products with the design matrix, which a FFT makes cheap; but the normal matrix of a free pixel kernel has a
//! condition number of 10⁶ … 10⁹, and plain iterations crawl. What makes them fast is a preconditioner: the Gram matrix of
//! a few thousand *sampled* rows ([`RowSample`]) is so close to the normal matrix that ten iterations suffice, whatever the size
//! of the image.
//!
//! | idea | module |
//! |---|---|
//! | conjugate gradients on a [`SymmetricOperator`] | [`cg()`] |
//! | LSQR on a [`LinearOperator`](dia_core::LinearOperator) | [`lsqr()`] |
//! | P ≈ H and its factors | [`Preconditioner`]: [`Identity`], [`Jacobi`], [`Cholesky`] of [`RowSample`], [`autocorrelation_gram`], or of all rows |
//! | a robust fit with any operator | [`irls()`] |
//! | that of a kernel: weights from noise and loss, around any of the solvers | [`fit()`] |
//! | images in, difference out | [`subtract()`], or in steps [`Prepared`], [`fit_prepared()`] or [`fit()`], [`difference()`] |
//! | many images, one reference | [`series()`] of a [`PreparedReference`] |
//! | how wide the kernel should be | [`nested_kernels()`], [`Criterion`] |
//! | sources that changed, which a fit must not see | [`variable_sources()`] |
//! | faer's operators and ours | [`ToFaer`], [`FromFaer`] |
//!
//! Solvers know no back end and no file format; back ends know no solver. All solvers stop on the optimality
//! √(gᵀP⁻¹g), the estimated distance from the minimum in σ.

mod design;
mod error;
mod exclude;
mod linear;
mod pipeline;
mod precondition;
mod regularise;
mod robust;
mod uncertainty;

pub use design::automatic_design::{
    KernelExtent, LEAST_BACKGROUND, automatic_degree, with_largest_background,
};
pub use design::nested_kernels::{Criterion, NestedKernel, best_half_width, nested_kernels};
pub use design::variation_test::VariationTest;
pub use error::{SolveError, SubtractError};
pub use exclude::exclusion::{Clipping, NoiseScale};
pub use exclude::variable_sources::{
    VariableSource, VariableSourceOptions, VariableSources, variable_sources,
};
pub use linear::cg::{CgOptions, CgWorkspace, cg};
pub use linear::cholesky::Cholesky;
pub use linear::faer_bridge::{FromFaer, ToFaer};
pub use linear::lsqr::{LsqrOptions, LsqrWorkspace, lsqr};
pub use linear::normal::{NormalOperator, NormalWorkspace, SymmetricOperator};
pub use linear::outcome::{Outcome, StopReason};
pub use linear::preconditioner::{Identity, Jacobi, Preconditioner};
pub use linear::weighted::{Weighted, WeightedWorkspace};
pub use pipeline::difference::{Difference, ResidualStatistics, difference};
pub use pipeline::exposure::Exposure;
pub use pipeline::fit::{Fit, FitOutcome, Progress, fit, fit_uploaded};
pub use pipeline::fit_options::{
    Covariance, FitOptions, Lambda, ReferenceNoise, Solver, Variation,
};
pub use pipeline::leave_out::{Part, mean_without};
pub use pipeline::prepare::{Prepared, PreparedReference};
pub use pipeline::series::series;
pub use pipeline::subtract::{fit_prepared, subtract};
pub use pipeline::units::Units;
pub use pipeline::uploaded::Uploaded;
pub use precondition::autocorrelation_gram::autocorrelation_gram;
pub use precondition::design_rows::{DesignRows, RowWorkspace};
pub use precondition::gram::GramPrecision;
pub use precondition::row_sample::RowSample;
pub use precondition::sampled_rows::{SampledRows, SampledRowsWorkspace};
pub use robust::irls::{IrlsOptions, irls, normal_matrix};
pub use robust::method::Preconditioning;
pub use uncertainty::estimates::Estimate;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
