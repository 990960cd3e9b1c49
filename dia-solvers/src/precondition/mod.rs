//! Preconditioners: rows of the design, which of them are drawn, and what their normal matrix tells of that of all.

pub(crate) mod autocorrelation_gram;
pub(crate) mod basis_rows;
pub(crate) mod design_rows;
pub(crate) mod gram;
pub(crate) mod kronecker;
pub(crate) mod leverage;
pub(crate) mod row_sample;
pub(crate) mod sample;
pub(crate) mod sampled_rows;
pub(crate) mod shrinkage;
