//! A hand-written operator, solved by CG and by LSQR: `cargo run --release -p dia-solvers --example custom_operator`.
//!
//! The operator blurs a signal with (¼, ½, ¼). All that a solver asks for are its two products.

use std::error::Error;

use dia_core::{LinearOperator, OperatorError};
use dia_solvers::{
    CgOptions, CgWorkspace, Identity, LsqrOptions, LsqrWorkspace, NormalOperator, NormalWorkspace,
    cg, lsqr,
};

/// y_i = ¼ x_{i−1} + ½ x_i + ¼ x_{i+1} on n unknowns, with n + 2 rows so that nothing is lost at the ends.
struct Blur(usize);

impl LinearOperator for Blur {
    type Data = Vec<f64>;
    type Workspace = ();

    fn nrows(&self) -> usize {
        self.0 + 2
    }

    fn ncols(&self) -> usize {
        self.0
    }

    fn workspace(&self) -> Result<(), OperatorError> {
        Ok(())
    }

    fn zeros(&self) -> Result<Vec<f64>, OperatorError> {
        Ok(vec![0.0; self.nrows()])
    }

    fn apply(&self, x: &[f64], y: &mut Vec<f64>, (): &mut ()) -> Result<(), OperatorError> {
        y.fill(0.0);
        for (i, x) in x.iter().enumerate() {
            y[i] += 0.25 * x;
            y[i + 1] += 0.5 * x;
            y[i + 2] += 0.25 * x;
        }
        Ok(())
    }

    fn apply_adjoint(&self, y: &Vec<f64>, x: &mut [f64], (): &mut ()) -> Result<(), OperatorError> {
        for (i, x) in x.iter_mut().enumerate() {
            *x = 0.25 * y[i] + 0.5 * y[i + 1] + 0.25 * y[i + 2];
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let a = Blur(20);
    let truth: Vec<f64> = (0..20).map(|i| f64::from(i % 5)).collect();
    let mut b = a.zeros()?;
    a.apply(&truth, &mut b, &mut ())?;
    let error = |x: &[f64]| x.iter().zip(&truth).map(|(x, t)| (x - t).abs()).fold(0.0, f64::max);

    let mut x = vec![0.0; a.ncols()];
    let options = LsqrOptions { tolerance: 1e-12, ..Default::default() };
    let outcome = lsqr(&a, &Identity(20), &b, &mut x, &options, &mut LsqrWorkspace::new(&a)?)?;
    println!(
        "LSQR: {} after {} iterations, largest error {:.1e}",
        outcome.stop,
        outcome.iterations,
        error(&x)
    );

    // CG sees the normal equations AᵀA x = Aᵀb.
    let weights = vec![1.0; a.nrows()];
    let h = NormalOperator { operator: &a, weights: &weights };
    let mut g = vec![0.0; a.ncols()];
    a.apply_adjoint(&b, &mut g, &mut ())?;
    let options = CgOptions { tolerance: 1e-12, ..Default::default() };
    let mut memory = NormalWorkspace::new(&a)?;
    let outcome =
        cg(&h, &Identity(20), &g, &mut x, &options, &mut CgWorkspace::new(20), &mut memory)?;
    println!(
        "CG:   {} after {} iterations, largest error {:.1e}",
        outcome.stop,
        outcome.iterations,
        error(&x)
    );
    Ok(())
}
