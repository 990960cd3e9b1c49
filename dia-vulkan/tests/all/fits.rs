//! Whole subtractions: every solver, loss and degree gives the same answer as on the CPU.

use crate::hosted::{context, opened};
use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{
    Design, DesignMatrix, ImageView, KernelBasis, Loss, NoiseModel, OperatorError, Pixel,
};
use dia_fft::FftDesignMatrix;
use dia_solvers::{Difference, Exposure, FitOptions, PreparedReference, Solver, series, subtract};
use dia_vulkan::{ContextOptions, VulkanDesignMatrix};

fn subtracted<A: DesignMatrix>(
    pair: &SimulatedPair,
    degree: usize,
    options: &FitOptions,
    operator: impl Fn(ImageView<'_, A::Pixel>, Design) -> Result<A, OperatorError>,
) -> Difference<A::Pixel> {
    let truth = &pair.truth.options;
    let images = [pair.reference.map(A::Pixel::narrow), pair.target.map(A::Pixel::narrow)];
    let exposure = |i: usize, mask, noise| Exposure {
        image: images[i].view(),
        mask: Some(mask),
        noise: NoiseModel::Ccd(noise, None),
        saturation: truth.saturation,
    };
    let reference = exposure(0, &pair.reference_mask, truth.reference_noise());
    let target = exposure(1, &pair.target_mask, truth.target_noise());
    let design = Design::new(truth.height, truth.width, KernelBasis::delta(3), Some(1)).unwrap();
    let design = design.with_variation(degree, degree).unwrap();
    subtract(&reference, &target, design, operator, options, &mut |_| ()).unwrap()
}

#[test]
fn solvers_losses_and_degrees_agree_with_the_cpu() {
    let Some(context) = context("solvers_losses_and_degrees_agree_with_the_cpu") else { return };
    let size = SimulationOptions { height: 110, width: 120, seed: 3, ..Default::default() };
    let pair = simulate(&size).unwrap();
    let losses = [Loss::Gaussian, Loss::HUBER, Loss::TUKEY, Loss::CAUCHY, Loss::STUDENT_T];
    let solvers = [Solver::Pcg, Solver::Lsqr, Solver::Cholesky];
    let cases = solvers.into_iter().flat_map(|solver| losses.map(|loss| (solver, loss)));
    for ((solver, loss), degree) in cases.flat_map(|case| [0, 1, 2].map(|degree| (case, degree))) {
        let options = FitOptions { solver, loss, ..FitOptions::default() };
        let ours = subtracted(&pair, degree, &options, |image, design| {
            VulkanDesignMatrix::new(&context, image, design)
        });
        let twin: Difference<f64> = subtracted(&pair, degree, &options, FftDesignMatrix::new);
        assert!(ours.outcome.stop.converged(), "{solver:?} {loss:?} {degree}");
        let pixels = ours.difference.pixels().iter().zip(twin.difference.pixels());
        let mut square = 0.0;
        for ((a, b), v) in pixels.zip(twin.variance.pixels()) {
            assert_eq!(a.is_nan(), b.is_nan());
            if !a.is_nan() {
                square += (f64::from(*a) - b).powi(2) / v;
            }
        }
        let distance = square.sqrt();
        println!(
            "{solver:?} {loss:?} degree {degree}: {distance:.4} σ, {:?}",
            ours.outcome.traffic
        );
        // Both are within 0.01 σ of the minimum, in the H-norm.
        assert!(distance < 0.02, "{solver:?} {loss:?} {degree}: {distance} σ");
    }
}

#[test]
fn a_solve_moves_parameters_samples_and_few_images() {
    let name = "a_solve_moves_parameters_samples_and_few_images";
    // Its own context: counts are those of the device.
    let Some(context) = opened(name, ContextOptions::default()) else { return };
    let size = SimulationOptions { height: 120, width: 120, seed: 5, ..Default::default() };
    let pair = simulate(&size).unwrap();
    let options = FitOptions::plain();
    let done = subtracted(&pair, 0, &options, |image, design| {
        VulkanDesignMatrix::new(&context, image, design)
    });
    let outcome = &done.outcome;
    // Data and noise go in once, beside the parameters of every product (and those of the variance, no more of them) and the samples' rows,
    // gathered a few times: three for each factor and start.
    let (pixels, n) = (114 * 114 * 4, done.parameters.len() as u64 * 12);
    let sample = 40 * 52 * 2 * 4 * 4;
    // After the solve, the footprints of at most 2000 pixels for the uncertainty of P and of each coefficient of the background: an index in, a value out.
    let footprints = (1 + 3) * 2000 * 49 * 8;
    let bound = 3 * pixels + n * (outcome.products as u64 + 64) + sample + footprints;
    println!("{outcome:?}, bound {bound}");
    assert!(outcome.traffic.bytes_in + outcome.traffic.bytes_out <= bound, "{outcome:?} {bound}");
    assert!(outcome.traffic.submits > 0);
}

#[test]
fn a_series_moves_the_reference_once() {
    let name = "a_series_moves_the_reference_once";
    // Its own context: counts are those of the device.
    let Some(context) = opened(name, ContextOptions::default()) else { return };
    let size = SimulationOptions { height: 120, width: 120, seed: 5, ..Default::default() };
    let pair = simulate(&size).unwrap();
    let options = FitOptions::plain();
    let alone = subtracted(&pair, 0, &options, |image, design| {
        VulkanDesignMatrix::new(&context, image, design)
    });
    let truth = &pair.truth.options;
    let [reference, target] = [&pair.reference, &pair.target].map(|image| image.map(f32::narrow));
    let exposure = |image, mask, noise| Exposure {
        image,
        mask: Some(mask),
        noise: NoiseModel::Ccd(noise, None),
        saturation: truth.saturation,
    };
    let design = alone.design.clone();
    let exposed = exposure(reference.view(), &pair.reference_mask, truth.reference_noise());
    let prepared = PreparedReference::new(&exposed, design.clone(), true).unwrap();
    let a = VulkanDesignMatrix::new(&context, prepared.image().view(), design).unwrap();
    let of_variance = prepared.design().of_variance();
    let variance =
        VulkanDesignMatrix::new(&context, prepared.variance().unwrap().view(), of_variance);
    let variance = variance.unwrap();
    let (before, mut moved) = (a.traffic(), Vec::new());
    series(
        &prepared,
        &a,
        Some(&variance),
        [exposure(target.view(), &pair.target_mask, truth.target_noise()); 4].into_iter(),
        |target| *target,
        &options,
        |_, difference| {
            let difference = difference.unwrap();
            assert_eq!(difference.parameters, alone.parameters);
            moved.push(a.traffic().since(before));
        },
    );
    // What a fit moves alone: its target and parameters. The operators were made before.
    assert_eq!(moved[3].bytes_in, 4 * alone.outcome.traffic.bytes_in);
}
