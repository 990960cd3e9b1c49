//! Steps of an inner linear solver, where the preconditioner alone does not do.

use dia_core::{DataVector, DesignMatrix, Loss, OperatorError};

use crate::linear::augmented::Augmented;
use crate::precondition::sample::Factor;
use crate::regularise::penalty::Penalty;
use crate::robust::method::{Inner, LsqrMemory, Preconditioning};
use crate::robust::problem::Problem;
use crate::{
    CgOptions, LsqrOptions, LsqrWorkspace, NormalOperator, NormalWorkspace, Outcome,
    Preconditioner, SolveError, StopReason, SubtractError, SymmetricOperator, Weighted, cg, lsqr,
};

/// Most iterations of an inner solver for one step.
const MAX_INNER: usize = 60;

/// Most iterations for one step before a better preconditioner is made: P ≈ C ⊗ H of a field with stars everywhere takes three to five.
const PATIENCE: usize = 25;

/// H + Q.
pub(crate) struct Penalised<'a, A: DesignMatrix> {
    pub(crate) normal: NormalOperator<'a, A>,
    pub(crate) penalty: Option<&'a Penalty>,
}

impl<A: DesignMatrix> SymmetricOperator for Penalised<'_, A> {
    type Workspace = NormalWorkspace<A>;

    fn dim(&self) -> usize {
        self.normal.dim()
    }

    fn workspace(&self) -> Result<NormalWorkspace<A>, OperatorError> {
        self.normal.workspace()
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut [f64],
        workspace: &mut NormalWorkspace<A>,
    ) -> Result<(), OperatorError> {
        self.normal.apply(x, y, workspace)?;
        if let Some(penalty) = self.penalty {
            penalty.add_product(1.0, x, y);
        }
        Ok(())
    }
}

impl<A: DesignMatrix> Problem<'_, A> {
    /// Solves (H + Q) δ = g by the inner solver, if there is one, from the step δ = P⁻¹ g on.
    pub(super) fn solve_step(
        &mut self,
        p: &mut Factor,
        x: &[f64],
        g: &[f64],
        delta: &mut [f64],
    ) -> Result<(), SubtractError> {
        let max_iterations = if self.can_fall_back { PATIENCE } else { MAX_INNER };
        let outcome = match &mut self.inner {
            Inner::None => return Ok(()),
            Inner::Cg(workspace) => {
                // Where weights change with every pass, more accuracy would gain nothing.
                let fixed = self.loss == Loss::Gaussian && self.penalty.is_none();
                let options = CgOptions {
                    tolerance: 0.3 * self.tolerance,
                    relative: if fixed { 0.0 } else { 0.1 },
                    max_iterations,
                };
                let normal = NormalOperator { operator: self.a, weights: &self.weights };
                let h = Penalised { normal, penalty: self.penalty.as_ref() };
                cg(&h, p, g, delta, &options, workspace, &mut self.memory)?
            }
            Inner::Lsqr(memory) => {
                let LsqrMemory { sqrt_weights, whitened, rows, workspace } = &mut **memory;
                sqrt_weights.square_root_of(&self.weights)?;
                whitened.data.multiply(sqrt_weights)?;
                *rows = self.penalty.as_ref().map(Penalty::rows).transpose()?;
                whitened.rows.clear();
                if let (Some(rows), Some(penalty)) = (&*rows, &self.penalty) {
                    let mut q = vec![0.0; x.len()];
                    penalty.add_product(-1.0, x, &mut q);
                    whitened.rows = rows.right_hand_side(&q);
                }
                let inner = Weighted { inner: self.a, sqrt_weights: &*sqrt_weights };
                let operator = Augmented { inner, rows: rows.as_ref() };
                // The weights of the next pass change what more accuracy would gain.
                let options = LsqrOptions {
                    tolerance: 0.3 * self.tolerance,
                    relative: 0.1,
                    max_iterations,
                    ..Default::default()
                };
                let workspace = match workspace {
                    Some(workspace) => workspace,
                    None => workspace.insert(LsqrWorkspace::new(&operator)?),
                };
                lsqr(&operator, p, whitened, delta, &options, workspace)?
            }
        };
        self.iterations += outcome.iterations;
        self.products += outcome.products;
        if outcome.stop == StopReason::Indefinite && self.penalty.is_some() {
            if !self.give_way() {
                return Err(SubtractError::Undetermined);
            }
            *p = self.factor_weights()?;
            p.solve(g, delta);
            return Ok(());
        }
        if self.fall_back(p, outcome)? {
            p.solve(g, delta);
            return self.solve_step(p, x, g, delta);
        }
        Ok(())
    }

    /// Whether P ≈ C ⊗ H is bad and there is a better one, which is then in its place: that of the sampled rows of the whole design.
    fn fall_back(&mut self, p: &mut Factor, outcome: Outcome) -> Result<bool, SubtractError> {
        if outcome.stop != StopReason::Iterations || !self.can_fall_back {
            return Ok(false);
        }
        self.can_fall_back = false;
        self.preconditioning = Preconditioning::SampledRows;
        match self.factor_weights() {
            Ok(factor) => *p = factor,
            // Too few rows for so many columns.
            Err(SubtractError::Solve(SolveError::NotPositiveDefinite { .. })) => {
                self.preconditioning = Preconditioning::Kronecker;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}
