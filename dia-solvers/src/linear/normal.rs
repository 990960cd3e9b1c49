//! The normal equations H x = Aᵀ W b as a symmetric operator on parameter vectors.

use std::fmt;

use dia_core::{LinearOperator, OperatorError};

/// A symmetric positive definite matrix H known by its product; all that CG sees.
pub trait SymmetricOperator {
    /// Scratch memory of the product.
    type Workspace;

    /// n, the order of H.
    fn dim(&self) -> usize;

    /// The scratch memory that the product needs.
    ///
    /// # Errors
    /// If there is not enough memory.
    fn workspace(&self) -> Result<Self::Workspace, OperatorError>;

    /// y ← H x.
    ///
    /// # Errors
    /// If the back end fails.
    fn apply(
        &self,
        x: &[f64],
        y: &mut [f64],
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError>;
}

/// H = AᵀWA, W = diag(weights), weights in inverse variances of the data.
pub struct NormalOperator<'a, A: LinearOperator> {
    /// A, m × n.
    pub operator: &'a A,
    /// The diagonal of W, m values ≥ 0.
    pub weights: &'a A::Data,
}

/// Scratch memory of a [`NormalOperator`].
pub struct NormalWorkspace<A: LinearOperator> {
    /// One data vector, for operators that do not fuse their products.
    pub data: A::Data,
    /// That of A.
    pub operator: A::Workspace,
}

impl<A: LinearOperator> NormalWorkspace<A> {
    /// Allocates it for `a`.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(a: &A) -> Result<Self, OperatorError> {
        Ok(Self { data: a.zeros()?, operator: a.workspace()? })
    }
}

impl<A: LinearOperator> SymmetricOperator for NormalOperator<'_, A> {
    type Workspace = NormalWorkspace<A>;

    fn dim(&self) -> usize {
        self.operator.ncols()
    }

    fn workspace(&self) -> Result<NormalWorkspace<A>, OperatorError> {
        NormalWorkspace::new(self.operator)
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut [f64],
        workspace: &mut NormalWorkspace<A>,
    ) -> Result<(), OperatorError> {
        let NormalWorkspace { data, operator } = workspace;
        self.operator.apply_normal(x, self.weights, y, data, operator)
    }
}

impl<A: LinearOperator> fmt::Debug for NormalOperator<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NormalOperator").field("dim", &self.dim()).finish_non_exhaustive()
    }
}

impl<A: LinearOperator> fmt::Debug for NormalWorkspace<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NormalWorkspace").finish_non_exhaustive()
    }
}
