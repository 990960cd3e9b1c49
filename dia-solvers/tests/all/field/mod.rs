//! A simulated pair and the pieces of its fit, for the tests.

// Each test program uses its own part of this.
#![allow(dead_code)]

use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{
    Design, Image, ImageView, KernelBasis, KernelShape, KernelSupport, NoiseModel, OperatorError,
    Pixel, Resolution,
};
use dia_fft::{FftDesignMatrix, FftPixel};
use dia_solvers::{Difference, Exposure, FitOptions, Prepared, subtract};

/// Target noise 1.5 e⁻/ADU and 6 e⁻, a reference 20 times deeper, seeing 3.5 → 5.0 px, 30 stars per 100² px.
pub(crate) fn simulated(side: usize, seed: u64) -> SimulatedPair {
    simulate(&SimulationOptions { height: side, width: side, seed, ..Default::default() }).unwrap()
}

/// The target's and the reference's exposures in the precision `T`.
pub(crate) struct Planes<T> {
    pub(crate) reference: Image<T>,
    pub(crate) target: Image<T>,
}

impl<T: Pixel> Planes<T> {
    pub(crate) fn of(pair: &SimulatedPair) -> Self {
        Self { reference: pair.reference.map(T::narrow), target: pair.target.map(T::narrow) }
    }

    pub(crate) fn exposures<'a>(
        &'a self,
        pair: &'a SimulatedPair,
    ) -> (Exposure<'a, T>, Exposure<'a, T>) {
        let options = &pair.truth.options;
        let exposure = |image, mask, noise| Exposure {
            image,
            mask: Some(mask),
            noise: NoiseModel::Ccd(noise, None),
            saturation: options.saturation,
        };
        (
            exposure(self.reference.view(), &pair.reference_mask, options.reference_noise()),
            exposure(self.target.view(), &pair.target_mask, options.target_noise()),
        )
    }

    pub(crate) fn prepare<'a>(
        &'a self,
        pair: &'a SimulatedPair,
        half_width: usize,
        reference_noise: bool,
    ) -> Prepared<'a, T> {
        let (height, width) = self.target.view().shape();
        let design = Design::new(height, width, KernelBasis::delta(half_width), Some(1)).unwrap();
        self.prepare_for(pair, design, reference_noise)
    }

    pub(crate) fn prepare_for<'a>(
        &'a self,
        pair: &'a SimulatedPair,
        design: Design,
        reference_noise: bool,
    ) -> Prepared<'a, T> {
        let (reference, target) = self.exposures(pair);
        Prepared::new(&reference, &target, design, reference_noise).unwrap()
    }
}

/// Free pixels in the core, nodes around it, and rings in the wings; a kernel that varies and a background of degree 1.
pub(crate) fn mixed_design(side: usize) -> Design {
    let support = KernelSupport::new(12, KernelShape::Circle);
    let resolution = Resolution { core: 3.0, spacing: 2, inner: 7.0 };
    let basis = KernelBasis::mixed_resolution(support, resolution, true);
    Design::new(side, side, basis, Some(1)).unwrap().with_variation(0, 1).unwrap()
}

/// The whole subtraction with a delta kernel and a background of degree 1.
pub(crate) fn subtracted<T: FftPixel>(
    pair: &SimulatedPair,
    planes: &Planes<T>,
    half_width: usize,
    options: &FitOptions,
) -> Difference<T> {
    let (reference, target) = planes.exposures(pair);
    let (height, width) = planes.target.view().shape();
    let design = Design::new(height, width, KernelBasis::delta(half_width), Some(1)).unwrap();
    let operator = |image: ImageView<'_, T>, design: Design| -> Result<_, OperatorError> {
        FftDesignMatrix::new(image, design)
    };
    subtract(&reference, &target, design, operator, options, &mut |_| ()).unwrap()
}
