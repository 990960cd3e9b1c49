//! Approximations P ≈ H of a normal matrix that are easy to invert.

/// A symmetric positive definite matrix P = L Lᵀ with fast solves.
///
/// CG uses P⁻¹; LSQR works on A L⁻ᵀ and needs the two factors apart. Any L with L Lᵀ = P serves, it need not be triangular.
pub trait Preconditioner: Sync {
    /// n, the order of P.
    fn dim(&self) -> usize;

    /// x ← L⁻¹ x.
    fn solve_lower(&self, x: &mut [f64]);

    /// x ← L⁻ᵀ x.
    fn solve_upper(&self, x: &mut [f64]);

    /// z ← P⁻¹ r.
    fn solve(&self, r: &[f64], z: &mut [f64]) {
        z.copy_from_slice(r);
        self.solve_lower(z);
        self.solve_upper(z);
    }
}

impl<P: Preconditioner + ?Sized> Preconditioner for Box<P> {
    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn solve_lower(&self, x: &mut [f64]) {
        (**self).solve_lower(x);
    }

    fn solve_upper(&self, x: &mut [f64]) {
        (**self).solve_upper(x);
    }

    fn solve(&self, r: &[f64], z: &mut [f64]) {
        (**self).solve(r, z);
    }
}

/// P = I: no preconditioning.
#[derive(Clone, Copy, Debug)]
pub struct Identity(pub usize);

impl Preconditioner for Identity {
    fn dim(&self) -> usize {
        self.0
    }

    fn solve_lower(&self, _x: &mut [f64]) {}

    fn solve_upper(&self, _x: &mut [f64]) {}
}

/// P = diag(H): makes all columns equally long.
#[derive(Clone, Debug)]
pub struct Jacobi {
    /// H_ii^{−1/2}.
    inverse_roots: Vec<f64>,
}

impl Jacobi {
    /// From the diagonal of H; entries must be positive.
    pub fn new(diagonal: &[f64]) -> Self {
        Self { inverse_roots: diagonal.iter().map(|d| d.sqrt().recip()).collect() }
    }
}

impl Preconditioner for Jacobi {
    fn dim(&self) -> usize {
        self.inverse_roots.len()
    }

    fn solve_lower(&self, x: &mut [f64]) {
        x.iter_mut().zip(&self.inverse_roots).for_each(|(x, d)| *x *= d);
    }

    fn solve_upper(&self, x: &mut [f64]) {
        self.solve_lower(x);
    }
}
