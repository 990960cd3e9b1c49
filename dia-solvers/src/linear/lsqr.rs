//! LSQR (Paige & Saunders 1982, ACM TOMS 8, 43, doi:10.1145/355984.355989), damped and preconditioned from the right.

use std::fmt;

use dia_core::{DataVector, LinearOperator, OperatorError};

use crate::linear::cg::{axpy, dot};
use crate::{Outcome, Preconditioner, SolveError, StopReason};

/// When LSQR stops, and the damping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LsqrOptions {
    /// Stop at ‖L⁻¹(Aᵀr − λ²x)‖ ≤ tolerance: the distance from the minimum in units of b, if P = L Lᵀ ≈ AᵀA. For a
    /// whitened operator the unit is σ.
    pub tolerance: f64,
    /// Stop at the same norm ≤ relative × its value at the start; 0 to use the other rules alone.
    pub relative: f64,
    /// The relative accuracy of A, for the stop rules of the paper.
    pub atol: f64,
    /// The relative accuracy of b, for the stop rules of the paper.
    pub btol: f64,
    /// Stop when the condition estimate of the preconditioned operator exceeds this.
    pub condition_limit: f64,
    /// λ: minimises ‖b − A x‖² + λ²‖x‖², whatever the preconditioner.
    pub damp: f64,
    /// Stop after so many iterations, of one product with A and one with Aᵀ each.
    pub max_iterations: usize,
}

impl Default for LsqrOptions {
    /// To within 0.01 of the minimum; the paper's rules at the accuracy of `f64`.
    fn default() -> Self {
        Self {
            tolerance: 0.01,
            relative: 0.0,
            atol: f64::EPSILON,
            btol: f64::EPSILON,
            condition_limit: 1.0 / f64::EPSILON,
            damp: 0.0,
            max_iterations: 1000,
        }
    }
}

/// The vectors of LSQR; reuse it, and further solves allocate nothing.
///
/// `D` is the operator's data vector, `W` its workspace.
pub struct LsqrWorkspace<D, W> {
    u: D,
    /// A L⁻ᵀ v.
    av: D,
    /// The part of u that belongs to the rows λI.
    u_damp: Vec<f64>,
    v: Vec<f64>,
    w: Vec<f64>,
    /// L⁻ᵀ v, or Aᵀ u.
    t: Vec<f64>,
    operator: W,
}

impl<D: DataVector, W> LsqrWorkspace<D, W> {
    /// Allocates it for `a`.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new<A>(a: &A) -> Result<Self, OperatorError>
    where
        A: LinearOperator<Data = D, Workspace = W>,
    {
        let zeros = || vec![0.0; a.ncols()];
        Ok(Self {
            u: a.zeros()?,
            av: a.zeros()?,
            u_damp: zeros(),
            v: zeros(),
            w: zeros(),
            t: zeros(),
            operator: a.workspace()?,
        })
    }
}

impl<D, W> fmt::Debug for LsqrWorkspace<D, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LsqrWorkspace").finish_non_exhaustive()
    }
}

/// Solves min ‖b − A x‖² + λ²‖x‖².
///
/// `b` has m = `a.nrows()` elements, `x` n = `a.ncols()`; the solution overwrites `x`. The bidiagonalization is that of
/// [A; λI] L⁻ᵀ with the preconditioner P = L Lᵀ, so preconditioning changes the speed and not the problem.
///
/// # Errors
/// [`SolveError::NonFinite`] if A, P or b holds a NaN; [`SolveError::Operator`] if a product fails.
pub fn lsqr<A: LinearOperator>(
    a: &A,
    preconditioner: &dyn Preconditioner,
    b: &A::Data,
    x: &mut [f64],
    options: &LsqrOptions,
    workspace: &mut LsqrWorkspace<A::Data, A::Workspace>,
) -> Result<Outcome, SolveError> {
    let LsqrOptions { tolerance, relative, atol, btol, condition_limit, damp, max_iterations } =
        *options;
    let LsqrWorkspace { u, av, u_damp, v, w, t, operator } = workspace;
    assert!(x.len() == a.ncols() && b.len() == a.nrows());
    // The solution is gathered as y = Lᵀ x, in place of x.
    let y = x;
    y.fill(0.0);
    u_damp.fill(0.0);
    let mut outcome =
        Outcome { stop: StopReason::Trivial, iterations: 0, products: 0, optimality: 0.0 };

    // β u = b, α v = L⁻¹ Aᵀ u
    u.axpby(1.0, b, 0.0)?;
    let b_norm = b.norm()?;
    finite("‖b‖", b_norm, 0)?;
    if b_norm == 0.0 {
        return Ok(outcome);
    }
    u.scale(1.0 / b_norm)?;
    a.apply_adjoint(u, v, operator)?;
    outcome.products += 1;
    preconditioner.solve_lower(v);
    let mut alpha = norm(v);
    finite("‖L⁻¹Aᵀb‖", alpha, 0)?;
    if alpha == 0.0 {
        return Ok(outcome);
    }
    scale(v, 1.0 / alpha);
    w.copy_from_slice(v);

    let (mut phi_bar, mut rho_bar) = (b_norm, alpha);
    outcome.optimality = alpha * b_norm;
    let target = tolerance.max(relative * outcome.optimality);
    // Frobenius norms of the bidiagonal matrix and of D = [d₁ d₂ …], whose product estimates the condition number.
    let (mut a_norm2, mut d_norm2, mut y_norm2) = (alpha * alpha, 0.0, 0.0_f64);
    let mut beta;
    outcome.stop = loop {
        if outcome.optimality <= target {
            break StopReason::Optimal;
        }
        if outcome.iterations == max_iterations {
            break StopReason::Iterations;
        }
        outcome.iterations += 1;
        // β u ← [A; λI] L⁻ᵀ v − α u
        t.copy_from_slice(v);
        preconditioner.solve_upper(t);
        a.apply(t, av, operator)?;
        u.axpby(1.0, av, -alpha)?;
        u_damp.iter_mut().zip(&*t).for_each(|(u, t)| *u = damp * t - alpha * *u);
        beta = u.norm()?.hypot(norm(u_damp));
        finite("β", beta, outcome.iterations)?;
        if beta > 0.0 {
            u.scale(1.0 / beta)?;
            scale(u_damp, 1.0 / beta);
        }
        // α v ← L⁻¹ [Aᵀ λI] u − β v
        a.apply_adjoint(u, t, operator)?;
        outcome.products += 2;
        axpy(damp, u_damp, t);
        preconditioner.solve_lower(t);
        v.iter_mut().zip(&*t).for_each(|(v, t)| *v = t - beta * *v);
        alpha = norm(v);
        finite("α", alpha, outcome.iterations)?;
        if alpha > 0.0 {
            scale(v, 1.0 / alpha);
        }
        a_norm2 += alpha * alpha + beta * beta;

        // The plane rotation that makes the bidiagonal matrix upper bidiagonal.
        let rho = rho_bar.hypot(beta);
        let (c, s) = (rho_bar / rho, beta / rho);
        let theta = s * alpha;
        rho_bar = -c * alpha;
        let phi = c * phi_bar;
        phi_bar *= s;

        // y ← y + (φ/ρ) w, w ← v − (θ/ρ) w
        axpy(phi / rho, w, y);
        d_norm2 += dot(w, w) / (rho * rho);
        w.iter_mut().zip(&*v).for_each(|(w, v)| *w = v - theta / rho * *w);
        y_norm2 = y_norm2.max(dot(y, y));

        let residual = phi_bar;
        outcome.optimality = phi_bar * alpha * c.abs();
        // The stop rules of the paper: S1 consistent, S2 least squares, S3 condition; and each at the limit of rounding.
        let a_norm = a_norm2.sqrt();
        let consistent = residual / b_norm;
        let least_squares =
            if residual > 0.0 { outcome.optimality / (a_norm * residual) } else { 0.0 };
        let condition = a_norm * d_norm2.sqrt();
        if consistent <= btol + atol * a_norm * y_norm2.sqrt() / b_norm {
            break StopReason::Consistent;
        }
        if least_squares <= atol {
            break StopReason::LeastSquares;
        }
        if condition >= condition_limit {
            break StopReason::IllConditioned;
        }
        // 1 + t = 1: the test can fall no further.
        if 1.0 + consistent <= 1.0 || 1.0 + least_squares <= 1.0 || 1.0 + 1.0 / condition <= 1.0 {
            break StopReason::RoundingFloor;
        }
    };
    preconditioner.solve_upper(y);
    Ok(outcome)
}

fn finite(what: &'static str, value: f64, iteration: usize) -> Result<(), SolveError> {
    if value.is_finite() { Ok(()) } else { Err(SolveError::NonFinite { what, iteration }) }
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn scale(x: &mut [f64], a: f64) {
    for x in x {
        *x *= a;
    }
}
