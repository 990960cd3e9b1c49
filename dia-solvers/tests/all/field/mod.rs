//! A simulated pair and the pieces of its fit, for the tests.

// Each test program uses its own part of this.
#![allow(dead_code)]

use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{
    Design, Image, ImageView, KernelBasis, KernelShape, KernelSupport, NoiseModel, OperatorError,
    Pixel, Resolution,
};
use dia_fft::{FftDesignMatrix, FftPixel};
use dia_solvers::{Difference, Exposure, FitOptions, KernelExtent, Prepared, subtract};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Target noise 1.5 e⁻/ADU and 6 e⁻, a reference 20 times deeper, seeing 3.5 → 5.0 px, 30 stars per 100² px.
pub(crate) fn simulated(side: usize, seed: u64) -> SimulatedPair {
    simulate(&SimulationOptions { height: side, width: side, seed, ..Default::default() }).unwrap()
}

/// A target and the mean of `n` exposures of its sky, the target among them, without events.
pub(crate) fn target_and_stack(
    sky: &SimulatedPair,
    n: usize,
    seed: u64,
) -> (Image<f64>, Image<f64>) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (truth, variance) = (&sky.target_noiseless, &sky.target_variance);
    let (height, width) = truth.view().shape();
    let mut exposures = (0..n).map(|_| {
        Image::from_fn(height, width, |y, x| {
            let noise: f64 = StandardNormal.sample(&mut random);
            truth.view().at(y, x) + variance.view().at(y, x).sqrt() * noise
        })
    });
    let target = exposures.next().unwrap();
    let mut sum = target.clone();
    for exposure in exposures {
        sum.pixels_mut().iter_mut().zip(exposure.pixels()).for_each(|(sum, v)| *sum += v);
    }
    (target, sum.map(|v| v / n as f64))
}

/// The design that `dia subtract` has for a seeing.
pub(crate) fn design_of_seeing(side: usize, fwhm: f64) -> Design {
    let extent = KernelExtent::of_seeing(fwhm, side, side);
    let design = Design::new(side, side, extent.basis(KernelShape::Circle, true), Some(2)).unwrap();
    design.with_variation(0, 2).unwrap().with_border(extent.inner)
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
