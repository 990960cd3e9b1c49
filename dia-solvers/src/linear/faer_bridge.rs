//! Our operators for faer's matrix-free solvers, and faer's dense matrices as our operators.

use std::fmt;
use std::sync::Mutex;

use dia_core::{LinearOperator, OperatorError};
use faer::dyn_stack::{MemStack, StackReq};
use faer::matrix_free::{BiLinOp, LinOp};
use faer::{MatMut, MatRef, Par};

/// A [`LinearOperator`] on host vectors of `f64`, as faer's `LinOp` and `BiLinOp`.
///
/// Its workspace is shared behind a lock: products from several threads wait for each other.
pub struct ToFaer<'a, A: LinearOperator<Data = Vec<f64>>> {
    operator: &'a A,
    memory: Mutex<Memory<A>>,
}

struct Memory<A: LinearOperator<Data = Vec<f64>>> {
    data: Vec<f64>,
    parameters: Vec<f64>,
    workspace: A::Workspace,
}

impl<'a, A: LinearOperator<Data = Vec<f64>>> ToFaer<'a, A> {
    /// Wraps `operator`.
    ///
    /// # Errors
    /// If there is not enough memory for its workspace.
    pub fn new(operator: &'a A) -> Result<Self, OperatorError> {
        let parameters = vec![0.0; operator.ncols()];
        let memory =
            Memory { data: operator.zeros()?, parameters, workspace: operator.workspace()? };
        Ok(Self { operator, memory: Mutex::new(memory) })
    }
}

impl<A: LinearOperator<Data = Vec<f64>>> fmt::Debug for ToFaer<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToFaer").finish_non_exhaustive()
    }
}

/// faer's traits return nothing; host operators in `f64` have nothing that could fail but memory.
const PRODUCT: &str = "a product of a host operator failed";

impl<A: LinearOperator<Data = Vec<f64>>> LinOp<f64> for ToFaer<'_, A> {
    fn apply_scratch(&self, _rhs_ncols: usize, _par: Par) -> StackReq {
        StackReq::EMPTY
    }

    fn nrows(&self) -> usize {
        self.operator.nrows()
    }

    fn ncols(&self) -> usize {
        self.operator.ncols()
    }

    fn apply(
        &self,
        mut out: MatMut<'_, f64>,
        rhs: MatRef<'_, f64>,
        _par: Par,
        _stack: &mut MemStack,
    ) {
        let memory = &mut *self.memory.lock().expect(PRODUCT);
        for j in 0..rhs.ncols() {
            memory.parameters.iter_mut().enumerate().for_each(|(i, x)| *x = rhs[(i, j)]);
            self.operator
                .apply(&memory.parameters, &mut memory.data, &mut memory.workspace)
                .expect(PRODUCT);
            memory.data.iter().enumerate().for_each(|(i, y)| out[(i, j)] = *y);
        }
    }

    fn conj_apply(
        &self,
        out: MatMut<'_, f64>,
        rhs: MatRef<'_, f64>,
        par: Par,
        stack: &mut MemStack,
    ) {
        self.apply(out, rhs, par, stack);
    }
}

impl<A: LinearOperator<Data = Vec<f64>>> BiLinOp<f64> for ToFaer<'_, A> {
    fn transpose_apply_scratch(&self, _rhs_ncols: usize, _par: Par) -> StackReq {
        StackReq::EMPTY
    }

    fn transpose_apply(
        &self,
        mut out: MatMut<'_, f64>,
        rhs: MatRef<'_, f64>,
        _par: Par,
        _stack: &mut MemStack,
    ) {
        let memory = &mut *self.memory.lock().expect(PRODUCT);
        for j in 0..rhs.ncols() {
            memory.data.iter_mut().enumerate().for_each(|(i, y)| *y = rhs[(i, j)]);
            self.operator
                .apply_adjoint(&memory.data, &mut memory.parameters, &mut memory.workspace)
                .expect(PRODUCT);
            memory.parameters.iter().enumerate().for_each(|(i, x)| out[(i, j)] = *x);
        }
    }

    fn adjoint_apply(
        &self,
        out: MatMut<'_, f64>,
        rhs: MatRef<'_, f64>,
        par: Par,
        stack: &mut MemStack,
    ) {
        self.transpose_apply(out, rhs, par, stack);
    }
}

/// A dense matrix of faer as a [`LinearOperator`].
///
/// ```
/// use dia_core::LinearOperator;
/// use dia_solvers::FromFaer;
/// use faer::mat;
///
/// let matrix = mat![[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]];
/// let a = FromFaer(matrix.as_ref());
/// let mut y = a.zeros()?;
/// a.apply(&[1.0, 2.0], &mut y, &mut ())?;
/// assert_eq!(y, [1.0, 4.0, 3.0]);
/// # Ok::<(), dia_core::OperatorError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FromFaer<'a>(pub MatRef<'a, f64>);

impl LinearOperator for FromFaer<'_> {
    type Data = Vec<f64>;
    type Workspace = ();

    fn nrows(&self) -> usize {
        self.0.nrows()
    }

    fn ncols(&self) -> usize {
        self.0.ncols()
    }

    fn workspace(&self) -> Result<(), OperatorError> {
        Ok(())
    }

    fn zeros(&self) -> Result<Vec<f64>, OperatorError> {
        Ok(vec![0.0; self.0.nrows()])
    }

    fn apply(&self, x: &[f64], y: &mut Vec<f64>, (): &mut ()) -> Result<(), OperatorError> {
        assert_eq!((x.len(), y.len()), (self.ncols(), self.nrows()));
        y.fill(0.0);
        for (j, x) in x.iter().enumerate() {
            y.iter_mut().enumerate().for_each(|(i, y)| *y += self.0[(i, j)] * x);
        }
        Ok(())
    }

    fn apply_adjoint(&self, y: &Vec<f64>, x: &mut [f64], (): &mut ()) -> Result<(), OperatorError> {
        assert_eq!((x.len(), y.len()), (self.ncols(), self.nrows()));
        for (j, x) in x.iter_mut().enumerate() {
            *x = y.iter().enumerate().map(|(i, y)| self.0[(i, j)] * y).sum();
        }
        Ok(())
    }
}
