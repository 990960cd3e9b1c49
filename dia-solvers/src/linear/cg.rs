//! Preconditioned conjugate gradients (Hestenes & Stiefel 1952, J. Res. NBS 49, 409, doi:10.6028/jres.049.044).

use crate::{Outcome, Preconditioner, SolveError, StopReason, SymmetricOperator};

/// When CG stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CgOptions {
    /// Stop at √(rᵀP⁻¹r) ≤ tolerance. For normal equations whose weights are inverse variances and P ≈ H this is the
    /// distance from the minimum in σ; its square is the χ² that is left.
    pub tolerance: f64,
    /// Stop at √(rᵀP⁻¹r) ≤ relative × its value at the start; 0 to use `tolerance` alone.
    pub relative: f64,
    /// Stop after so many products with H.
    pub max_iterations: usize,
}

impl Default for CgOptions {
    /// To within 0.01 σ of the minimum.
    fn default() -> Self {
        Self { tolerance: 0.01, relative: 0.0, max_iterations: 1000 }
    }
}

/// The vectors of CG; reuse it, and further solves allocate nothing.
#[derive(Clone, Debug)]
pub struct CgWorkspace {
    r: Vec<f64>,
    z: Vec<f64>,
    p: Vec<f64>,
    hp: Vec<f64>,
}

impl CgWorkspace {
    /// For systems of order n.
    pub fn new(n: usize) -> Self {
        let zeros = || vec![0.0; n];
        Self { r: zeros(), z: zeros(), p: zeros(), hp: zeros() }
    }
}

/// Solves H x = b for symmetric positive definite H, from the start x = 0.
///
/// H has order n = `h.dim()`; `b` and `x` have length n. The solution overwrites `x`. Each iteration takes one product with H,
/// counted as two products with A and Aᵀ.
///
/// # Errors
/// [`SolveError::NonFinite`] if H, P or b holds a NaN; [`SolveError::Operator`] if a product fails.
///
/// # Example
/// ```
/// use dia_core::OperatorError;
/// use dia_solvers::{CgOptions, CgWorkspace, Identity, SymmetricOperator, cg};
///
/// /// The second difference: 2 on the diagonal, −1 beside it.
/// struct Laplacian(usize);
///
/// impl SymmetricOperator for Laplacian {
///     type Workspace = ();
///     fn dim(&self) -> usize {
///         self.0
///     }
///     fn workspace(&self) -> Result<(), OperatorError> {
///         Ok(())
///     }
///     fn apply(&self, x: &[f64], y: &mut [f64], (): &mut ()) -> Result<(), OperatorError> {
///         let at = |i: usize| x.get(i).copied().unwrap_or(0.0);
///         for (i, y) in y.iter_mut().enumerate() {
///             *y = 2.0 * at(i) - at(i.wrapping_sub(1)) - at(i + 1);
///         }
///         Ok(())
///     }
/// }
///
/// let (h, b) = (Laplacian(4), [1.0, 0.0, 0.0, 1.0]);
/// let (mut x, mut workspace) = ([0.0; 4], CgWorkspace::new(4));
/// let options = CgOptions { tolerance: 1e-12, ..Default::default() };
/// let outcome = cg(&h, &Identity(4), &b, &mut x, &options, &mut workspace, &mut ())?;
/// assert!(outcome.stop.converged());
/// assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-12));
/// # Ok::<(), dia_solvers::SolveError>(())
/// ```
pub fn cg<H: SymmetricOperator>(
    h: &H,
    preconditioner: &dyn Preconditioner,
    b: &[f64],
    x: &mut [f64],
    options: &CgOptions,
    workspace: &mut CgWorkspace,
    h_workspace: &mut H::Workspace,
) -> Result<Outcome, SolveError> {
    let CgOptions { tolerance, relative, max_iterations } = *options;
    let CgWorkspace { r, z, p, hp } = workspace;
    assert!(b.len() == h.dim() && x.len() == b.len() && r.len() == b.len());
    x.fill(0.0);
    r.copy_from_slice(b);
    preconditioner.solve(r, z);
    p.copy_from_slice(z);
    let mut rz = dot(r, z);
    let mut outcome =
        Outcome { stop: StopReason::Trivial, iterations: 0, products: 0, optimality: rz.sqrt() };
    if rz == 0.0 {
        return Ok(outcome);
    }
    let target = tolerance.max(relative * rz.sqrt()).powi(2);
    loop {
        if !rz.is_finite() || rz < 0.0 {
            let iteration = outcome.iterations;
            return Err(SolveError::NonFinite { what: "the preconditioned residual", iteration });
        }
        outcome.optimality = rz.sqrt();
        if rz <= target {
            outcome.stop = StopReason::Optimal;
            return Ok(outcome);
        }
        if outcome.iterations == max_iterations {
            outcome.stop = StopReason::Iterations;
            return Ok(outcome);
        }
        h.apply(p, hp, h_workspace)?;
        outcome.products += 2;
        let curvature = dot(p, hp);
        if curvature.is_nan() {
            let iteration = outcome.iterations;
            return Err(SolveError::NonFinite { what: "pᵀH p", iteration });
        }
        if curvature <= 0.0 {
            outcome.stop = StopReason::Indefinite;
            return Ok(outcome);
        }
        // x ← x + α p, r ← r − α H p
        let alpha = rz / curvature;
        axpy(alpha, p, x);
        axpy(-alpha, hp, r);
        preconditioner.solve(r, z);
        // p ← z + β p
        let rz_next = dot(r, z);
        let beta = rz_next / rz;
        p.iter_mut().zip(&*z).for_each(|(p, z)| *p = z + beta * *p);
        rz = rz_next;
        outcome.iterations += 1;
    }
}

/// Σ aᵢ bᵢ.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// y ← a x + y.
pub(crate) fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}
