//! Which kernel: how wide, of how many pixels, and whether it varies.

pub(crate) mod automatic_design;
pub(crate) mod nested_kernels;
pub(crate) mod variation_test;
