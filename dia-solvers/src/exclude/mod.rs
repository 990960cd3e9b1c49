//! Pixels that a fit must not see: sources that changed, and outliers.

pub(crate) mod apertures;
pub(crate) mod exclusion;
pub(crate) mod variable_sources;
