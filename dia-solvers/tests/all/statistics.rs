//! What the fit claims about its errors, against simulated truths.

use crate::field::{Planes, subtracted, target_and_stack};
use dia_core::simulate::{Psf, SimulatedPair, SimulationOptions, simulate};
use dia_core::{
    Design, Image, KernelBasis, KernelShape, KernelSupport, Loss, MaskPlanes, NoiseModel,
};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    Clipping, Covariance, Criterion, Difference, Exposure, FitOptions, Lambda, NoiseScale, Part,
    Prepared, ReferenceNoise, Solver, best_half_width, difference, fit, mean_without, subtract,
};

/// A field of Gaussian stars, whose kernel lies within 6 pixels, without events.
fn quiet(side: usize, seed: u64) -> SimulationOptions {
    SimulationOptions {
        height: side,
        width: side,
        seed,
        psf: Psf::Gaussian,
        variables: 0,
        transients: 0,
        cosmic_rays: 0,
        reference_fwhm: 3.0,
        target_fwhm: 4.0,
        event_margin: 20.0,
        ..Default::default()
    }
}

fn run(pair: &SimulatedPair, options: &FitOptions) -> Difference<f32> {
    subtracted(pair, &Planes::of(pair), 6, options)
}

/// The mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

#[test]
fn the_noise_of_the_reference_leaves_no_bias_in_the_scale() {
    // The usual constant: beyond it lie enough pixels to tell one correction from another.
    let corrected = FitOptions { loss: Loss::HUBER, ..Default::default() };
    let weighted = FitOptions { reference_noise: ReferenceNoise::Weight, ..corrected };
    // Faint stars, and a reference with twice the noise of the target or all but free of noise. With that one, least squares of all kernels say what P would be: the λ that the data
    // choose takes 0.07 ± 0.02 % from it (600 fields), which is no noise of the reference.
    let plain = FitOptions { loss: Loss::Gaussian, ..FitOptions::plain() };
    let scale = |seed, depth, options: &FitOptions| {
        let field = SimulationOptions { flux_max: 2e4, reference_depth: depth, ..quiet(130, seed) };
        run(&simulate(&field).unwrap(), options).photometric_scale.value
    };
    let (mut errors, mut corrections) = (Vec::new(), Vec::new());
    for seed in 100..280 {
        let of_noisy = scale(seed, 0.25, &corrected);
        errors.push(of_noisy / scale(seed, 1e4, &plain) - 1.0);
        corrections.push(of_noisy / scale(seed, 0.25, &weighted) - 1.0);
    }
    let ((error, of_error), (correction, of_correction)) = (mean(&errors), mean(&corrections));
    eprintln!(
        "error {error:+.5} ± {of_error:.5}, corrected by {correction:+.5} ± {of_correction:.5}"
    );
    // Three standard errors are exceeded once in 370 sets of seeds; these are fixed. Over 600 fields it is 0.04 ± 0.05 %.
    assert!(error.abs() < 3.0 * of_error);
    assert!(correction > 5.0 * of_correction);
    // With ψ(z)/z in place of ψ′(z), Huber's loss would correct 17 % too much: that would be seen.
    assert!(3.0 * of_error < 0.17 * correction);
}

/// A dark sky, of which a sixth of the variance is read noise, and a reference of `depth` times the target's exposure.
fn dark(seed: u64, depth: f64) -> SimulatedPair {
    let field = SimulationOptions {
        target_sky: 20.0,
        reference_sky: 20.0,
        sky_gradient_x: 0.0,
        sky_gradient_y: 0.0,
        sky_curvature: 0.0,
        gain: 1.0,
        read_noise: 2.0,
        reference_depth: depth,
        reference_fwhm: 2.4,
        target_fwhm: 2.8,
        flux_max: 5e4,
        ..quiet(150, seed)
    };
    simulate(&field).unwrap()
}

/// What the background of a [`dark`] field is too high by: B is over the reference without the sky that was taken off.
fn of_background(found: &Difference<f32>) -> f64 {
    let scale = found.photometric_scale.value;
    found.background[0].value - (20.0 - scale * (20.0 - found.reference_sky))
}

/// In ADU, what is left in the background of the noise that model and reference bring into the weights: (γ K² + γ K³) ⊗ σ_R²/σ², 0.13 + 0.03 ADU here, is taken off. With a known kernel
/// that leaves a hundredth, with 169 free pixels a tenth.
const OF_FREE_KERNELS: f64 = 0.02;

/// That of the default fit with a reference almost free of noise: what lambda takes from the stars is in it as well.
fn without_noise(seed: u64) -> f64 {
    of_background(&run(&dark(seed, 1e4), &FitOptions::default()))
}

#[test]
fn the_noise_of_the_reference_leaves_no_bias_in_the_background() {
    let errors = (0..40).map(|seed| {
        of_background(&run(&dark(seed, 1.0), &FitOptions::default())) - without_noise(seed)
    });
    let (error, of_error) = mean(&errors.collect::<Vec<f64>>());
    eprintln!("{error:+.4} ± {of_error:.4} ADU");
    assert!(error.abs() < OF_FREE_KERNELS + 3.0 * of_error);
}

#[test]
fn variances_of_the_own_pixels_leave_no_bias_in_the_background() {
    let options = FitOptions::default();
    let of_planes = |seed| {
        let pair = dark(seed, 1.0);
        let planes = Planes::<f32>::of(&pair);
        // As most pipelines make them: read noise and the pixel's own photons.
        let variance = |image: &Image<f32>| image.map(|v| 4.0 + v.max(0.0));
        let (of_reference, of_target) = (variance(&planes.reference), variance(&planes.target));
        let (reference, target) = planes.exposures(&pair);
        let reference = Exposure { noise: NoiseModel::Variance(of_reference.view()), ..reference };
        let target = Exposure { noise: NoiseModel::Variance(of_target.view()), ..target };
        let design = Design::new(150, 150, KernelBasis::delta(6), Some(1)).unwrap();
        let operator = FftDesignMatrix::new;
        of_background(
            &subtract(&reference, &target, design, operator, &options, &mut |_| ()).unwrap(),
        )
    };
    let errors = (0..40).map(|seed| of_planes(seed) - without_noise(seed));
    let (error, of_error) = mean(&errors.collect::<Vec<f64>>());
    eprintln!("{error:+.4} ± {of_error:.4} ADU");
    // Weights of the target's own noise would make it too low by one electron, 1 ADU.
    assert!(error.abs() < OF_FREE_KERNELS + 3.0 * of_error);
}

#[test]
fn intervals_of_the_scale_cover_the_truth() {
    let fields = 120;
    let pulls: Vec<f64> = (0..fields)
        .map(|seed| {
            let pair = simulate(&quiet(110, 1000 + seed)).unwrap();
            let scale = run(&pair, &FitOptions::default()).photometric_scale;
            (scale.value - pair.truth.options.scale) / scale.sigma
        })
        .collect();
    let within = |k: f64| pulls.iter().filter(|pull| pull.abs() < k).count() as f64;
    eprintln!("{} and {} of {fields}", within(1.0), within(1.96));
    // Binomial: 120 · 0.683 ± √(120 · 0.683 · 0.317) = 82 ± 5.1 and 114 ± 2.4; four of these.
    assert!((within(1.0) - 82.0).abs() < 20.4);
    assert!((within(1.96) - 114.0).abs() < 9.6);
}

#[test]
fn the_chosen_regularisation_is_nearly_the_best() {
    let pair = simulate(&quiet(200, 7)).unwrap();
    let error = |lambda| {
        let difference = run(&pair, &FitOptions { lambda, ..Default::default() });
        let pixels = difference.model.pixels().iter().enumerate();
        let truth =
            |i: usize| (pair.target_noiseless.pixels()[i], pair.target_variance.pixels()[i]);
        let squares = pixels.filter(|(_, m)| m.is_finite()).map(|(i, m)| {
            let (truth, variance) = truth(i);
            (f64::from(*m) - truth).powi(2) / variance
        });
        let squares: Vec<f64> = squares.collect();
        (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
    };
    let chosen = error(Lambda::Auto);
    let grid = [0.1, 1.0, 10.0, 100.0, 1000.0].map(|lambda| error(Lambda::Fixed(lambda)));
    let best = grid.iter().copied().fold(f64::INFINITY, f64::min);
    eprintln!("chosen {chosen:.4}, grid {grid:.4?}");
    // The risk is estimated from the data: Σ w (M − M_true)² to √(2 df) of some 50 degrees of freedom, 10 % of the error's root.
    assert!(chosen < 1.15 * best);
    let plain = FitOptions::plain();
    let unregularised = FitOptions { loss: Loss::Gaussian, ..plain };
    assert!(
        chosen
            < 0.8 * {
                let difference = run(&pair, &unregularised);
                let squares: Vec<f64> = difference
                    .model
                    .pixels()
                    .iter()
                    .enumerate()
                    .filter(|(_, m)| m.is_finite())
                    .map(|(i, m)| {
                        let error = f64::from(*m) - pair.target_noiseless.pixels()[i];
                        error * error / pair.target_variance.pixels()[i]
                    })
                    .collect();
                (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
            }
    );
}

#[test]
fn a_variable_star_is_left_out_of_the_fit_and_not_of_the_difference() {
    let field = SimulationOptions { brightest_varies: true, ..quiet(200, 4) };
    let pair = simulate(&field).unwrap();
    let difference = run(&pair, &FitOptions::default());
    let event = pair.truth.events[0];
    let (y, x) = (event.y.round() as usize, event.x.round() as usize);
    assert!(difference.mask.planes()[y * 200 + x] == MaskPlanes::VARIABLE);
    assert!(difference.difference.view().at(y, x).is_finite());
    assert!(difference.variance.view().at(y, x).is_finite());
    let scale = difference.photometric_scale;
    eprintln!("{scale:?}");
    assert!((scale.value - field.scale).abs() < 4.0 * scale.sigma);
    let kept = FitOptions { variable_sources: None, ..Default::default() };
    let pulled = run(&pair, &kept).photometric_scale;
    eprintln!("{pulled:?}");
    // The star itself says something else: by more than chance.
    assert!((pulled.value - scale.value).abs() > 2.0 * scale.sigma);
}

#[test]
fn clipping_rejects_cosmic_rays() {
    let field = SimulationOptions { cosmic_rays: 20, ..quiet(200, 5) };
    let pair = simulate(&field).unwrap();
    let options = FitOptions {
        loss: Loss::Gaussian,
        clipping: Some(Clipping::default()),
        variable_sources: None,
        ..Default::default()
    };
    let difference = run(&pair, &options);
    let bright = |hit: &&dia_core::simulate::CosmicRayPixel| {
        let inside = (6..194).contains(&hit.y) && (6..194).contains(&hit.x);
        inside && hit.value > 10.0 * pair.target_variance.view().at(hit.y, hit.x).sqrt()
    };
    let hits: Vec<_> = pair.truth.cosmic_rays.iter().filter(bright).collect();
    assert!(hits.len() > 10);
    for hit in hits {
        assert!(difference.mask.planes()[hit.y * 200 + hit.x] == MaskPlanes::CLIPPED);
    }
    // Gaussian noise exceeds 5 σ once in two million pixels: nothing else is clipped.
    assert!(difference.mask.count(MaskPlanes::CLIPPED) <= pair.truth.cosmic_rays.len());
}

#[test]
fn an_unknown_gain_is_found_from_the_residuals() {
    let mut pair = simulate(&quiet(150, 9)).unwrap();
    // The images are as they are; what is said of the detector makes the variance four times too small.
    pair.truth.options.gain *= 4.0;
    pair.truth.options.read_noise *= 2.0;
    let options = FitOptions { noise_scale: NoiseScale::Estimated, ..Default::default() };
    let difference = run(&pair, &options);
    eprintln!("{} {:?}", difference.noise_scale, difference.residuals);
    // The scatter of 19 000 residuals is known to 0.8 %; the reference's variance, 1/20 of the target's, is not scaled along.
    assert!((difference.noise_scale / 4.0 - 1.0).abs() < 0.04 + 0.05 * 0.75);
    assert!((difference.residuals.robust_std - 1.0).abs() < 0.01);
}

#[test]
fn covariance_and_functionals_tell_the_same() {
    let pair = simulate(&quiet(110, 11)).unwrap();
    for solver in [Solver::Pcg, Solver::Cholesky] {
        let options = FitOptions {
            covariance: Some(Covariance::AllRows),
            model_variance: false,
            solver,
            ..Default::default()
        };
        let difference = run(&pair, &options);
        let covariance = difference.covariance.as_ref().unwrap();
        let c = difference.design.photometric_scale_functional();
        let mut variance = 0.0;
        for (i, a) in c.iter().enumerate() {
            for (j, b) in c.iter().enumerate() {
                variance += a * covariance[(i, j)] * b;
            }
        }
        let sigma = difference.photometric_scale.sigma;
        // The functional is solved for to 2 % in the norm of P, its variance to that.
        assert!((variance.sqrt() / sigma - 1.0).abs() < 0.03, "{} {sigma}", variance.sqrt());
        let n = c.len();
        let background = difference.background[1].sigma;
        let of_matrix = covariance[(n - 2, n - 2)].sqrt();
        assert!((of_matrix / background - 1.0).abs() < 0.03, "{of_matrix} {background}");
    }
}

#[test]
fn the_sampled_covariance_holds_that_of_all_rows_and_the_error_of_the_regularisation() {
    let pair = simulate(&quiet(110, 11)).unwrap();
    let exact =
        run(&pair, &FitOptions { covariance: Some(Covariance::AllRows), ..Default::default() });
    let sampled =
        run(&pair, &FitOptions { covariance: Some(Covariance::Sampled), ..Default::default() });
    let (exact, c) = (exact.covariance.unwrap(), sampled.covariance.as_ref().unwrap());
    for j in 0..exact.ncols() {
        // 40 rows per unknown know an eigenvalue to 2 √(1/40), 30 %, and a σ to half of that. (J + Q)⁻¹ ≥ (J + Q)⁻¹J(J + Q)⁻¹.
        // Nothing regularises the background.
        let free = j >= sampled.design.kernel_ncols();
        let ratio = c[(j, j)] / exact[(j, j)];
        assert!(ratio > 0.7 && !(free && ratio > 1.3), "{j}: {ratio}");
        assert_eq!(c[(j, 0)], c[(0, j)]);
    }
    // The photometric scale has the σ that is reported.
    let of_scale = sampled.design.photometric_scale_functional();
    let products = (0..c.ncols())
        .flat_map(|i| (0..c.ncols()).map(move |j| (i, j)))
        .map(|(i, j)| of_scale[i] * c[(i, j)] * of_scale[j]);
    let sigma = products.sum::<f64>().sqrt();
    assert!((sigma / sampled.photometric_scale.sigma - 1.0).abs() < 1e-9);
}

#[test]
fn the_variance_of_the_model_is_taken_from_that_of_fitted_pixels() {
    let pair = simulate(&quiet(110, 12)).unwrap();
    let without = run(&pair, &FitOptions::default());
    let with = run(&pair, &FitOptions { model_variance: true, ..Default::default() });
    let used = |i: &usize| without.mask.planes()[*i].is_empty();
    let pixels: Vec<usize> = (0..without.mask.planes().len()).filter(used).collect();
    let less: f64 = pixels
        .iter()
        .map(|i| 1.0 - f64::from(with.variance.pixels()[*i] / without.variance.pixels()[*i]))
        .sum();
    // Σ_p Var(A x)_p/σ_p² = tr H (H + Q)⁻¹: the effective degrees of freedom, fewer than the 172 unknowns. The scale and three coefficients of the
    // background are free of regularisation. 64 draws know it to 18 % and better.
    eprintln!("{less} {}", with.effective_unknowns);
    assert!(less > 4.0 * 0.7 && less < 172.0);
    // Statistics are those of the noise model.
    assert_eq!(with.residuals, without.residuals);
}

/// A target and the mean of `n` exposures of the same sky, the target among them; and P of their subtraction.
fn scale_of_stacked(seed: u64, n: usize, corrected: bool) -> f64 {
    let sky = simulate(&SimulationOptions { flux_max: 2e4, ..quiet(130, seed) }).unwrap();
    let (target, reference) = target_and_stack(&sky, n, seed);
    let variance = &sky.target_variance;
    let of_reference = variance.map(|v| v / n as f64);
    let exposed = |image, variance| Exposure {
        image,
        mask: None,
        noise: dia_core::NoiseModel::Variance(variance),
        saturation: None,
    };
    let reference = exposed(reference.view(), of_reference.view());
    let target = exposed(target.view(), variance.view());
    let options = FitOptions::default();
    let design = || Design::new(130, 130, KernelBasis::delta(6), Some(1)).unwrap();
    let run = |reference: &Exposure<'_, f64>| {
        subtract(reference, &target, design(), FftDesignMatrix::new, &options, &mut |_| ())
    };
    let subtracted = if corrected {
        let (others, variance) = mean_without(&reference, &target, Part::one_of(n as f64)).unwrap();
        run(&exposed(others.view(), variance.view()))
    } else {
        run(&reference)
    };
    let subtracted = subtracted.unwrap();
    // The difference has the noise that is said of it: a robust scatter of 15 000 pixels is known to 0.7 %; five of that.
    assert!(!corrected || (subtracted.residuals.robust_std - 1.0).abs() < 0.035);
    subtracted.photometric_scale.value
}

#[test]
fn a_target_in_the_reference_leaves_no_bias_in_the_scale() {
    let errors = |corrected| -> Vec<f64> {
        (0..40).map(|seed| scale_of_stacked(seed, 3, corrected) - 1.0).collect()
    };
    let ((error, of_error), (without, _)) = (mean(&errors(true)), mean(&errors(false)));
    eprintln!("{error:+.5} ± {of_error:.5}, not corrected {without:+.5}");
    assert!(error.abs() < 3.0 * of_error && without.abs() > 5.0 * of_error);
}

#[test]
fn one_fit_tells_the_loss_of_all_narrower_kernels() {
    let pair = simulate(&quiet(160, 13)).unwrap();
    let plain = FitOptions { loss: Loss::Gaussian, tolerance: 1e-3, ..FitOptions::plain() };
    let (reference, target) = (pair.reference.view(), pair.target.view());
    // Variances that no kernel changes, for χ² to be the same quantity in all fits.
    let variance = &pair.target_variance;
    let noise = dia_core::NoiseModel::Variance(variance.view());
    let fitted = |half_width: usize, nested: bool| {
        let exposure = |image, mask| Exposure { image, mask: Some(mask), noise, saturation: None };
        let support = KernelSupport::new(half_width, KernelShape::Circle);
        let design = Design::new(160, 160, KernelBasis::Delta(support), Some(1)).unwrap();
        // All kernels are fitted to the valid pixels of the widest.
        let mut mask = pair.target_mask.clone();
        for (y, x) in (0..160).flat_map(|y| (0..160).map(move |x| (y, x))) {
            if !(7..153).contains(&y) || !(7..153).contains(&x) {
                mask.insert(y, x, MaskPlanes::BAD);
            }
        }
        let options =
            FitOptions { nested_kernels: nested, reference_noise: ReferenceNoise::Ignore, ..plain };
        let (reference, target) =
            (exposure(reference, &pair.reference_mask), exposure(target, &mask));
        let mut prepared = Prepared::new(&reference, &target, design, false).unwrap();
        let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
        let fit = fit(&mut prepared, &a, None, &options, &mut |_| ()).unwrap();
        let nested = fit.nested_kernels.clone();
        let residuals = difference(&prepared, &a, fit).unwrap().residuals;
        (residuals, nested)
    };
    let (widest, nested) = fitted(7, true);
    let nested = nested.unwrap();
    let chi2 = |r: &dia_solvers::ResidualStatistics, unknowns: usize| {
        r.chi2_dof * (r.used as f64 - unknowns as f64)
    };
    let least = chi2(&widest, nested[7].unknowns);
    for (h, kernel) in nested.iter().enumerate().take(7).skip(3) {
        let (narrower, _) = fitted(h, false);
        let excess = chi2(&narrower, kernel.unknowns) - least;
        eprintln!("{h}: {excess:.1} {kernel:?}");
        // The sample knows the quadratic form to √(2/40) for 40 rows per unknown, in the worst direction twice that.
        assert!((kernel.excess / excess - 1.0).abs() < 0.45, "{h}");
        // With the true noise, every unknown counts as one. A narrow kernel is determined by some hundred pixels of the brightest stars, whose z² have
        // a mean known to √(2/100), and twice that is rare.
        assert!((kernel.effective / kernel.unknowns as f64 - 1.0).abs() < 0.28);
    }
    // The kernel has σ² = (4² − 3²)/5.55 px²: 1.1 px. Beyond 4 px nothing of it is left above the noise.
    for criterion in [Criterion::Aic, Criterion::Tic, Criterion::Bic] {
        let best = best_half_width(&nested, criterion).unwrap();
        eprintln!("{criterion:?} {best}");
        assert!((2..=5).contains(&best), "{criterion:?} {best}");
    }
}
