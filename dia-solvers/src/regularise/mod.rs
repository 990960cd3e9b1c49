//! What is known of a kernel before it is fitted, and how much that counts.

pub(crate) mod lambda;
pub(crate) mod laplacian;
pub(crate) mod nearest_kernel;
pub(crate) mod penalty;
pub(crate) mod seeing_kernel;
pub(crate) mod seeing_shape;
pub(crate) mod settle;
pub(crate) mod wings;
