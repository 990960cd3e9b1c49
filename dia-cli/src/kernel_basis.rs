//! The functions that a kernel is a sum of, by the few numbers that make them.

use dia_core::{GaussianTerm, KernelBasis, KernelShape, KernelSupport};
use dia_solvers::KernelExtent;

use crate::request::Basis;

/// What a [`KernelBasis`] is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BasisRecipe {
    pub(crate) basis: Basis,
    pub(crate) shape: KernelShape,
    pub(crate) extent: KernelExtent,
    /// Whether one function carries all flux, as a scale and a shape of different degrees need it.
    pub(crate) conserve_flux: bool,
}

impl BasisRecipe {
    /// Makes it.
    pub(crate) fn make(&self) -> KernelBasis {
        let Self { shape, extent, conserve_flux, .. } = *self;
        let support = KernelSupport::new(extent.half_width, shape);
        match self.basis {
            Basis::Mixed => extent.basis(shape, conserve_flux),
            Basis::Delta if conserve_flux => KernelBasis::FluxConservingDelta(support),
            Basis::Delta => KernelBasis::Delta(support),
            Basis::Gauss => {
                KernelBasis::gaussian_polynomials(extent.half_width, shape, &GaussianTerm::HOTPANTS)
            }
        }
    }
}

/// As the command line calls it.
pub(crate) fn shape_name(shape: KernelShape) -> &'static str {
    match shape {
        KernelShape::Square => "square",
        KernelShape::Circle => "circle",
    }
}
