//! From two images to their difference.

mod coarseness;
pub(crate) mod difference;
pub(crate) mod exposure;
pub(crate) mod fit;
pub(crate) mod fit_options;
pub(crate) mod leave_out;
pub(crate) mod own_photons;
pub(crate) mod prepare;
pub(crate) mod series;
pub(crate) mod subtract;
pub(crate) mod units;
pub(crate) mod uploaded;
