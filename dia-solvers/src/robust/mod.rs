//! The descent to the minimum of a robust loss.

pub(crate) mod anderson;
pub(crate) mod descent;
pub(crate) mod inner_step;
pub(crate) mod irls;
pub(crate) mod method;
pub(crate) mod problem;
pub(crate) mod reference_noise;
pub(crate) mod sample_fit;
