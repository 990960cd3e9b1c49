//! The whitened operator W^½ A.

use std::fmt;

use dia_core::{DataVector, LinearOperator, OperatorError};

/// y = W^½ A x, for solvers that minimise an unweighted norm.
pub struct Weighted<'a, A: LinearOperator> {
    /// A, m × n.
    pub inner: &'a A,
    /// The diagonal of W^½: 1/σᵢ in inverse data units, 0 for a masked pixel.
    pub sqrt_weights: &'a A::Data,
}

/// Scratch memory of [`Weighted`]: one data vector beside that of the inner operator.
pub struct WeightedWorkspace<A: LinearOperator> {
    data: A::Data,
    inner: A::Workspace,
}

impl<A: LinearOperator> LinearOperator for Weighted<'_, A> {
    type Data = A::Data;
    type Workspace = WeightedWorkspace<A>;

    fn nrows(&self) -> usize {
        self.inner.nrows()
    }

    fn ncols(&self) -> usize {
        self.inner.ncols()
    }

    fn workspace(&self) -> Result<Self::Workspace, OperatorError> {
        Ok(WeightedWorkspace { data: self.inner.zeros()?, inner: self.inner.workspace()? })
    }

    fn zeros(&self) -> Result<A::Data, OperatorError> {
        self.inner.zeros()
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut A::Data,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError> {
        self.inner.apply(x, y, &mut workspace.inner)?;
        y.multiply(self.sqrt_weights)
    }

    fn apply_adjoint(
        &self,
        y: &A::Data,
        x: &mut [f64],
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError> {
        workspace.data.axpby(1.0, y, 0.0)?;
        workspace.data.multiply(self.sqrt_weights)?;
        self.inner.apply_adjoint(&workspace.data, x, &mut workspace.inner)
    }
}

impl<A: LinearOperator> fmt::Debug for Weighted<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weighted")
            .field("nrows", &self.nrows())
            .field("ncols", &self.ncols())
            .finish_non_exhaustive()
    }
}

impl<A: LinearOperator> fmt::Debug for WeightedWorkspace<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightedWorkspace").finish_non_exhaustive()
    }
}
