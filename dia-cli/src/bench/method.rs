//! The methods that are compared.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::case::Case;

/// A way to solve the kernel fit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Normal matrix of all rows in f64, factored once; later weights by corrections with the same factor
    Cholesky,
    /// The same with products in f32 and sums in f64
    CholeskyF32,
    /// Normal matrix in f64, built and factored again in every reweighting
    CholeskyRebuilt,
    /// Conjugate gradients without a preconditioner
    PcgNone,
    /// Conjugate gradients, preconditioned by the exact diagonal
    PcgJacobi,
    /// Conjugate gradients, preconditioned by the Gram matrix of uniform weights, from the reference's autocorrelation
    PcgFftGram,
    /// Conjugate gradients, preconditioned by the Gram matrix of sampled rows
    PcgSampledGram,
    /// LSQR, preconditioned from the right by the Gram matrix of sampled rows
    Lsqr,
    /// Adam, then L-BFGS, on loss and gradient alone
    AdamLbfgs,
    /// The library's robust fit: sampled start, sampled Gram matrix, accelerated steps
    FitPcg,
    /// The library's robust fit around the factored normal matrix of all rows
    FitCholesky,
}

impl Method {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Whether √(gᵀP⁻¹g) estimates the distance from the minimum in σ, so that the method knows when to stop.
    pub(crate) fn estimates_distance(self) -> bool {
        !matches!(self, Self::PcgNone | Self::PcgJacobi | Self::AdamLbfgs)
    }

    /// Whether pixels and products are in double precision.
    pub(crate) fn double(self) -> bool {
        matches!(self, Self::Cholesky | Self::CholeskyRebuilt | Self::AdamLbfgs | Self::FitCholesky)
    }

    /// Why the method does not apply to a case, if it does not.
    pub(crate) fn obstacle(self, case: &Case) -> Option<&'static str> {
        match self {
            Self::PcgFftGram if case.degree > 0 => {
                Some("the autocorrelation is that of a constant kernel")
            }
            Self::CholeskyRebuilt if case.loss == BenchLoss::Gaussian => {
                Some("weights do not change: the same as cholesky")
            }
            _ if self.double() && case.backend.is_device() => {
                Some("devices compute in single precision")
            }
            _ => None,
        }
    }
}

/// What is minimised.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BenchLoss {
    /// Least squares
    Gaussian,
    /// Huber's loss, c = 1.345
    Huber,
}

impl BenchLoss {
    /// ρ.
    pub(crate) fn loss(self) -> dia_core::Loss {
        match self {
            Self::Gaussian => dia_core::Loss::Gaussian,
            Self::Huber => dia_core::Loss::HUBER,
        }
    }
}
