//! Targets that are among the exposures of a shallow reference of the same seeing: the kernel is nearly a single pixel, and at most frequencies the image is nothing but noise.

use dia_core::NoiseModel;
use dia_core::simulate::{SimulationOptions, simulate};
use dia_fft::FftDesignMatrix;
use dia_solvers::{Exposure, FitOptions, Part, Variation, mean_without, subtract};

use crate::field::{design_of_seeing, target_and_stack};

const SIDE: usize = 220;
const FWHM: f64 = 3.1;
const EXPOSURES: usize = 4;

/// (P − 1)/σ_P, and ΣK² over P².
fn pull_and_noise(seed: u64) -> Result<[f64; 2], String> {
    let sky = SimulationOptions {
        height: SIDE,
        width: SIDE,
        seed: 3,
        density: 20.0,
        target_fwhm: FWHM,
        variables: 0,
        transients: 0,
        cosmic_rays: 0,
        bad_columns: 0,
        ..Default::default()
    };
    let sky = simulate(&sky).unwrap();
    let (target, reference) = target_and_stack(&sky, EXPOSURES, seed);
    let n = EXPOSURES as f64;
    let of_reference = sky.target_variance.map(|v| (v / n) as f32);
    let variance = sky.target_variance.map(|v| v as f32);
    let (target, reference) = (target.map(|v| v as f32), reference.map(|v| v as f32));
    let exposure = |image, variance| Exposure {
        image,
        mask: None,
        noise: NoiseModel::Variance(variance),
        saturation: None,
    };
    let options =
        FitOptions { target_fwhm: Some(FWHM), variation: Variation::Tested, ..Default::default() };
    let target = exposure(target.view(), variance.view());
    let reference = exposure(reference.view(), of_reference.view());
    let (others, of_others) = mean_without(&reference, &target, Part::one_of(n)).unwrap();
    let difference = subtract(
        &exposure(others.view(), of_others.view()),
        &target,
        design_of_seeing(SIDE, FWHM),
        FftDesignMatrix::new,
        &options,
        &mut |_| (),
    )
    .map_err(|error| error.to_string())?;
    if !difference.outcome.stop.converged() {
        return Err(difference.outcome.stop.to_string());
    }
    let scale = difference.photometric_scale;
    let squares: f64 = difference.kernel.pixels().iter().map(|k| k * k).sum();
    Ok([(scale.value - 1.0) / scale.sigma, squares / scale.value.powi(2)])
}

#[test]
fn no_kernel_runs_away_into_noise() {
    // Without a limit, the kernel of seed 59 ended at ΣK² = 2·10⁵.
    let found: Vec<_> = (50..60).map(|seed| (seed, pull_and_noise(seed))).collect();
    for (seed, found) in &found {
        let [_, noise] = found.as_ref().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // 1 is a single pixel; 4 would amplify every frequency by two.
        assert!(*noise < 4.0, "seed {seed}: {noise}");
    }
    // Of ten pulls of deviation 1 the mean square lies below 2.4 but for one case in a hundred (χ²₁₀ > 23.2).
    let squares = found.iter().filter_map(|(_, found)| found.as_ref().ok());
    let mean = squares.map(|[pull, _]| pull * pull).sum::<f64>() / found.len() as f64;
    assert!(mean < 2.4, "{mean}, {found:?}");
}
