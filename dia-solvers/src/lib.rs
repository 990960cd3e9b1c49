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

mod anderson;
mod apertures;
mod augmented;
mod autocorrelation_gram;
mod automatic_design;
mod basis_rows;
mod cg;
mod cholesky;
mod correlated_noise;
mod descent;
mod design_rows;
mod difference;
mod error;
mod exclusion;
mod faer_bridge;
mod fit;
mod fit_options;
mod gram;
mod irls;
mod kronecker;
mod lambda;
mod leverage;
mod lsqr;
mod nested_kernels;
mod normal;
mod outcome;
mod penalty;
mod preconditioner;
mod prepare;
mod problem;
mod sample;
mod sample_fit;
mod sampled_gram;
mod sampled_rows;
mod sampled_uncertainty;
mod seeing_kernel;
mod series;
mod settle;
mod shared_noise;
mod shrinkage;
mod simd;
mod subtract;
mod uncertainty;
mod units;
mod uploaded;
mod variable_sources;
mod variation_test;
mod weighted;
mod wings;

pub use autocorrelation_gram::autocorrelation_gram;
pub use automatic_design::{KernelExtent, automatic_degree};
pub use cg::{CgOptions, CgWorkspace, cg};
pub use cholesky::Cholesky;
pub use design_rows::{DesignRows, RowWorkspace};
pub use difference::{Difference, ResidualStatistics, difference};
pub use error::{SolveError, SubtractError};
pub use exclusion::{Clipping, NoiseScale};
pub use faer_bridge::{FromFaer, ToFaer};
pub use fit::{Estimate, Fit, FitOutcome, Progress, fit, fit_uploaded};
pub use fit_options::{Covariance, FitOptions, Lambda, ReferenceNoise, Solver, Variation};
pub use gram::GramPrecision;
pub use irls::{IrlsOptions, irls, normal_matrix};
pub use lsqr::{LsqrOptions, LsqrWorkspace, lsqr};
pub use nested_kernels::{Criterion, NestedKernel, best_half_width, nested_kernels};
pub use normal::{NormalOperator, NormalWorkspace, SymmetricOperator};
pub use outcome::{Outcome, StopReason};
pub use preconditioner::{Identity, Jacobi, Preconditioner};
pub use prepare::{Exposure, Prepared, PreparedReference};
pub use problem::Preconditioning;
pub use sampled_gram::RowSample;
pub use sampled_rows::{SampledRows, SampledRowsWorkspace};
pub use series::series;
pub use subtract::{fit_prepared, subtract};
pub use units::Units;
pub use uploaded::Uploaded;
pub use variable_sources::{
    VariableSource, VariableSourceOptions, VariableSources, variable_sources,
};
pub use variation_test::VariationTest;
pub use weighted::{Weighted, WeightedWorkspace};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
