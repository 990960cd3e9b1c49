//! How a solve ended.

use std::fmt;

/// Why an iteration stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// The right-hand side is zero, and so is x.
    Trivial,
    /// The optimality √(gᵀP⁻¹g) is below its tolerance: x is within so many σ of the minimum.
    Optimal,
    /// LSQR: ‖b − A x‖ ≤ btol ‖b‖ + atol ‖A‖ ‖x‖, the system has an exact solution.
    Consistent,
    /// LSQR: ‖Aᵀr‖ ≤ atol ‖A‖ ‖r‖, x solves the least-squares problem.
    LeastSquares,
    /// LSQR: the condition estimate of the preconditioned operator exceeds its limit.
    IllConditioned,
    /// Rounding prevents any further progress.
    RoundingFloor,
    /// The limit of iterations or passes; x is usable.
    Iterations,
    /// CG: pᵀH p ≤ 0, the matrix is not positive definite; x is that of the iteration before.
    Indefinite,
}

impl StopReason {
    /// Whether x is a solution to the accuracy asked for, or to that of the arithmetic.
    pub fn converged(self) -> bool {
        !matches!(self, Self::Iterations | Self::Indefinite | Self::IllConditioned)
    }

    /// A short name for reports, in lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trivial => "trivial",
            Self::Optimal => "optimal",
            Self::Consistent => "consistent",
            Self::LeastSquares => "least_squares",
            Self::IllConditioned => "ill_conditioned",
            Self::RoundingFloor => "rounding_floor",
            Self::Iterations => "iterations",
            Self::Indefinite => "indefinite",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a linear solve reports beside x.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Outcome {
    /// Why it stopped.
    pub stop: StopReason,
    /// Number of iterations.
    pub iterations: usize,
    /// Number of products with A or Aᵀ; AᵀWA counts as two.
    pub products: usize,
    /// √(gᵀP⁻¹g) at the end, with the gradient g = Aᵀr and the preconditioner P ≈ AᵀA: the estimated distance from the
    /// minimum in units of σ.
    pub optimality: f64,
}
