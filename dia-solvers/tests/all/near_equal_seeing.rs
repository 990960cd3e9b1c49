//! Pairs of nearly one seeing: the kernel is little more than a shift, and what it changes by must not be paid for by the photometric scale.

use dia_core::simulate::{Psf, SimulationOptions, simulate};
use dia_core::{Design, KernelShape, NoiseModel};
use dia_fft::FftDesignMatrix;
use dia_solvers::{Exposure, FitOptions, KernelExtent, Variation, subtract};

const SIDE: usize = 300;

/// (P − 1)/σ_P for a target that is a little sharper than its reference, which is eight times deeper, and lies at a part of a pixel.
fn pull(seed: u64) -> f64 {
    let options = SimulationOptions {
        height: SIDE,
        width: SIDE,
        seed,
        density: 11.0,
        psf: Psf::Gaussian,
        reference_fwhm: 3.0,
        target_fwhm: 2.91,
        flux_max: 5e4,
        target_sky: 200.0,
        scale: 1.0,
        gain: 1.0,
        read_noise: 8.0,
        reference_depth: 8.0,
        variables: 0,
        transients: 0,
        cosmic_rays: 0,
        bad_columns: 0,
        ..Default::default()
    };
    let pair = simulate(&options).unwrap();
    let (reference, target) = (pair.reference.map(|v| v as f32), pair.target.map(|v| v as f32));
    let exposure = |image, noise| Exposure {
        image,
        mask: None,
        noise: NoiseModel::Ccd(noise, None),
        saturation: None,
    };
    let extent = KernelExtent::of_seeing(options.reference_fwhm, SIDE, SIDE);
    let design = Design::new(SIDE, SIDE, extent.basis(KernelShape::Circle, true), Some(2)).unwrap();
    let fit = FitOptions {
        target_fwhm: Some(options.target_fwhm),
        variation: Variation::AsDesigned,
        ..Default::default()
    };
    let difference = subtract(
        &exposure(reference.view(), options.reference_noise()),
        &exposure(target.view(), options.target_noise()),
        design.with_border(extent.inner),
        FftDesignMatrix::new,
        &fit,
        &mut |_| (),
    );
    let scale = difference.unwrap_or_else(|error| panic!("seed {seed}: {error}")).photometric_scale;
    (scale.value - 1.0) / scale.sigma
}

#[test]
fn a_little_sharper_targets_keep_their_scale() {
    let pulls: Vec<f64> = (1..=8).map(pull).collect();
    // While the penalty left one kernel free and not what it may change by, the mean was +3.7. Of eight pulls of deviation 1, it lies within ±1.2 but for one case in a
    // thousand (3.3/√8).
    let mean = pulls.iter().sum::<f64>() / 8.0;
    assert!(mean.abs() < 1.2, "{mean}, {pulls:?}");
}
