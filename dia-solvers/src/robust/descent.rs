//! Descent to the minimum of a robust loss, by preconditioned and accelerated steps.

use crate::linear::cg::{axpy, dot};
use crate::robust::anderson::Anderson;
use crate::{Preconditioner, SolveError, StopReason};

/// A loss with its weights taken at the current parameters.
pub(crate) trait RobustProblem {
    /// P.
    type Factor: Preconditioner;

    /// Why a step failed.
    type Error: From<SolveError>;

    /// g ← Aᵀ W(x) (I − A x) − Q x, minus the gradient of the objective at x.
    fn gradient(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), Self::Error>;

    /// The factor of P ≈ AᵀWA + Q with the weights at x.
    fn factor(&mut self, x: &[f64]) -> Result<Self::Factor, Self::Error>;

    /// δ ≈ (AᵀWA + Q)⁻¹ g, the step from x, the point of the last gradient. `optimality` is its √(gᵀP⁻¹g), `delta` holds P⁻¹g on entry.
    /// P may be replaced by a better one.
    fn improve(
        &mut self,
        p: &mut Self::Factor,
        x: &[f64],
        g: &[f64],
        optimality: f64,
        delta: &mut [f64],
    ) -> Result<(), Self::Error>;

    /// Makes what follows safer, at a price: steps went astray though P was new. Returns whether anything was left to do.
    fn safeguard(&mut self) -> bool;
}

/// How a descent ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DescentOptions {
    /// Distance from the minimum at which it ends, in σ.
    pub(crate) tolerance: f64,
    /// Most steps.
    pub(crate) max_steps: usize,
    /// Smallest relative change of the gradient that its arithmetic can follow.
    pub(crate) rounding: f64,
}

/// How a descent ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Descended {
    pub(crate) stop: StopReason,
    pub(crate) steps: usize,
    /// Distance from the minimum in σ.
    pub(crate) optimality: f64,
}

/// x ← x + δ until the optimality √(gᵀP⁻¹g) under the current weights is below the tolerance: then x is within that many σ of the
/// minimum, for P ≈ AᵀWA. Steps are combined by Anderson acceleration; `observe(steps, optimality)` is called before each.
///
/// Each step starts from the true gradient: an inaccurate one costs steps and not accuracy. The optimality must fall. A step that raises it shows that P
/// belongs to weights of long ago: it is factored again, and the past steps are forgotten. If the next [`TRIALS`] steps still do not come below the best that was reached, the
/// problem is asked for safer ones, and the descent goes on from there. In the end each step solves for its minimum with the weights as they are, which lowers the
/// objective whatever P is (Huber 1981, *Robust Statistics*, section 7.8).
pub(crate) fn descend<R: RobustProblem>(
    problem: &mut R,
    p: &mut R::Factor,
    x: &mut [f64],
    options: DescentOptions,
    observe: &mut dyn FnMut(usize, f64),
) -> Result<Descended, R::Error> {
    let (mut g, mut delta) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let mut anderson = Anderson::default();
    let (mut stop, mut steps, mut optimality) = (StopReason::Iterations, 0, f64::INFINITY);
    let (mut first, mut stalled) = (None, 0);
    let mut best = Best { optimality: f64::INFINITY, x: x.to_vec(), age: 0 };
    loop {
        problem.gradient(x, &mut g)?;
        p.solve(&g, &mut delta);
        let before = optimality;
        optimality = dot(&g, &delta).max(0.0).sqrt();
        if optimality > before {
            anderson.restart();
            if best.age >= TRIALS && problem.safeguard() {
                x.copy_from_slice(&best.x);
                // The objective may be another one.
                best.optimality = f64::INFINITY;
                problem.gradient(x, &mut g)?;
            }
            *p = problem.factor(x)?;
            p.solve(&g, &mut delta);
            optimality = dot(&g, &delta).max(0.0).sqrt();
        }
        best.look_at(x, optimality);
        if !optimality.is_finite() {
            return Err(SolveError::NonFinite { what: "the gradient", iteration: steps }.into());
        }
        observe(steps, optimality);
        if optimality <= options.tolerance {
            stop = StopReason::Optimal;
            break;
        }
        // Products of limited precision cannot follow the gradient further than a small multiple of its first value.
        stalled = if optimality > 0.7 * before { stalled + 1 } else { 0 };
        let floor = 100.0 * options.rounding * *first.get_or_insert(optimality);
        if stalled >= 3 && optimality <= floor {
            stop = StopReason::RoundingFloor;
            break;
        }
        if steps == options.max_steps {
            break;
        }
        problem.improve(p, x, &g, optimality, &mut delta)?;
        anderson.accelerate(x, &g, &mut delta);
        axpy(1.0, &delta, x);
        steps += 1;
    }
    Ok(Descended { stop, steps, optimality })
}

/// Steps that need not come below the best.
const TRIALS: usize = 3;

/// The best point so far.
struct Best {
    optimality: f64,
    x: Vec<f64>,
    /// Steps since then.
    age: usize,
}

impl Best {
    fn look_at(&mut self, x: &[f64], optimality: f64) {
        self.age += 1;
        if optimality < self.optimality {
            self.optimality = optimality;
            self.x.copy_from_slice(x);
            self.age = 0;
        }
    }
}
