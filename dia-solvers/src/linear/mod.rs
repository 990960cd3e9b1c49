//! Linear solvers, and the operators that they solve with.

pub(crate) mod augmented;
pub(crate) mod cg;
pub(crate) mod cholesky;
pub(crate) mod faer_bridge;
pub(crate) mod lsqr;
pub(crate) mod normal;
pub(crate) mod outcome;
pub(crate) mod preconditioner;
pub(crate) mod weighted;
