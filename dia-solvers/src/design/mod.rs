//! Which model: how wide the kernel is, of how many pixels, whether it varies, and how much the background does.

pub(crate) mod automatic_design;
pub(crate) mod background_test;
pub(crate) mod nested_kernels;
pub(crate) mod score_test;
pub(crate) mod variation_test;
