//! Standard deviations of what was fitted.

pub(crate) mod correlated_noise;
pub(crate) mod estimates;
pub(crate) mod sampled_uncertainty;
pub(crate) mod sandwich;
