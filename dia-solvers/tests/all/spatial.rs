//! Kernels that vary over the image.

use crate::field::Planes;
use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{
    Design, Image, ImageView, Kernel, KernelBasis, KernelShape, KernelSupport, LinearOperator,
    Loss, NoiseModel, OperatorError,
};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    Difference, Exposure, FitOptions, Lambda, Preconditioning, Prepared, ReferenceNoise, Solver,
    Variation, fit, subtract,
};

const SOLVERS: [Solver; 3] = [Solver::Pcg, Solver::Lsqr, Solver::Cholesky];

/// Stars of the target grow by 12 % from the centre to the right and to the last row.
fn varying(side: usize, seed: u64) -> SimulatedPair {
    let options = SimulationOptions {
        height: side,
        width: side,
        seed,
        psf_gradient_x: 0.12,
        psf_gradient_y: 0.12,
        sky_curvature: 100.0,
        ..Default::default()
    };
    simulate(&options).unwrap()
}

/// A flux-conserving delta kernel of degrees (scale, shape) and a background of degree 2.
fn design(side: usize, half_width: usize, (scale, shape): (usize, usize)) -> Design {
    let support = KernelSupport::new(half_width, KernelShape::Circle);
    let design = Design::new(side, side, KernelBasis::FluxConservingDelta(support), Some(2));
    design.unwrap().with_variation(scale, shape).unwrap()
}

/// An image with a plane of variances.
fn exposure<'a>(image: &'a Image<f64>, variance: &'a Image<f64>) -> Exposure<'a, f64> {
    Exposure {
        image: image.view(),
        mask: None,
        noise: NoiseModel::Variance(variance.view()),
        saturation: None,
    }
}

fn subtracted(pair: &SimulatedPair, design: Design, options: &FitOptions) -> Difference<f32> {
    let planes = Planes::<f32>::of(pair);
    let (reference, target) = planes.exposures(pair);
    let operator = |image: ImageView<'_, f32>, design: Design| -> Result<_, OperatorError> {
        FftDesignMatrix::new(image, design)
    };
    subtract(&reference, &target, design, operator, options, &mut |_| ()).unwrap()
}

#[test]
fn solvers_agree_in_the_h_norm() {
    let pair = varying(140, 3);
    let planes = Planes::<f64>::of(&pair);
    let (reference, target) = planes.exposures(&pair);
    for degrees in [(1, 1), (0, 1)] {
        let prepare = || Prepared::new(&reference, &target, design(140, 4, degrees), true).unwrap();
        let solutions = SOLVERS.map(|solver| {
            let mut prepared = prepare();
            let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
            let variance = FftDesignMatrix::new(
                prepared.reference_variance().unwrap(),
                prepared.design().of_variance(),
            );
            let options = FitOptions {
                solver,
                tolerance: 1e-6,
                loss: Loss::HUBER,
                lambda: Lambda::Fixed(0.3),
                variable_sources: None,
                ..Default::default()
            };
            let variance = variance.unwrap();
            let fit = fit(&mut prepared, &a, Some(&variance), &options, &mut |_| ()).unwrap();
            assert!(fit.outcome.stop.converged(), "{solver:?} {:?}", fit.outcome);
            fit.parameters
        });
        let prepared = prepare();
        let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
        let mut workspace = a.workspace().unwrap();
        let mut distance = |x: &[f64], y: &[f64]| {
            let difference: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - y).collect();
            let mut model = a.zeros().unwrap();
            a.apply(&difference, &mut model, &mut workspace).unwrap();
            let terms = model.iter().enumerate().map(|(i, m)| prepared.initial_weight(i) * m * m);
            terms.sum::<f64>().sqrt()
        };
        for x in &solutions[1..] {
            // Noise and penalty are renewed when x has moved by 100 tolerances: each is then within a hundredth of 1e-4 σ of the same minimum.
            let distance = distance(x, &solutions[0]);
            assert!(distance < 1e-4, "{degrees:?}: {distance:e} σ");
        }
    }
}

#[test]
fn a_kernel_that_is_a_polynomial_is_found_without_noise() {
    let (side, h) = (160, 3);
    let design = design(side, h, (1, 1));
    let field = simulate(&SimulationOptions {
        height: side,
        width: side,
        density: 60.0,
        ..Default::default()
    });
    let reference = field.unwrap().reference;
    // Gaussians whose width and sum rise linearly with T_1 = u and T_2 = v.
    let gaussian = |sigma: f64, sum: f64| {
        let mut kernel = Kernel::zero(h);
        let support = KernelSupport::new(h, KernelShape::Circle);
        for ((dy, dx), place) in support.offsets().zip(support.places()) {
            kernel.pixels_mut()[place] =
                (-((dy * dy + dx * dx) as f64) / (2.0 * sigma * sigma)).exp();
        }
        let scale = sum / kernel.photometric_scale();
        kernel.pixels_mut().iter_mut().for_each(|k| *k *= scale);
        kernel
    };
    let wide = |s: f64| {
        let mut k = gaussian(1.4, s);
        let narrow = gaussian(1.1, 1.0);
        k.pixels_mut().iter_mut().zip(narrow.pixels()).for_each(|(k, n)| *k -= n);
        k
    };
    let terms = [gaussian(1.2, 0.8), wide(1.05), wide(0.98)];
    let polynomial = design.variation();
    let mut values = [0.0; 3];
    let mut target = Image::from_fn(side, side, |_, _| 0.0);
    for (y, x) in (h..side - h).flat_map(|y| (h..side - h).map(move |x| (y, x))) {
        polynomial.evaluate(y, x, &mut values);
        let mut sum = 50.0 + 3.0 * values[1];
        for (kernel, t) in terms.iter().zip(values) {
            for (dy, dx) in KernelSupport::new(h, KernelShape::Square).offsets() {
                let (i, j) = (y.wrapping_add_signed(-dy), x.wrapping_add_signed(-dx));
                let k = kernel.pixels()
                    [((dy + h as isize) * (2 * h + 1) as isize + dx + h as isize) as usize];
                sum += t * k * reference.view().at(i, j);
            }
        }
        target.row_mut(y)[x] = sum;
    }
    let (ones, zeros) =
        (Image::from_fn(side, side, |_, _| 1.0), Image::from_fn(side, side, |_, _| 0.0));
    let options = FitOptions {
        loss: Loss::Gaussian,
        reference_noise: ReferenceNoise::Ignore,
        lambda: Lambda::Fixed(0.0),
        variable_sources: None,
        tolerance: 1e-7,
        ..Default::default()
    };
    let operator = |image: ImageView<'_, f64>, design: Design| -> Result<_, OperatorError> {
        FftDesignMatrix::new(image, design)
    };
    let difference = subtract(
        &exposure(&reference, &zeros),
        &exposure(&target, &ones),
        design.clone(),
        operator,
        &options,
        &mut |_| (),
    );
    let difference = difference.unwrap();
    // All residuals together are below the tolerance, in σ = 1 ADU, but for P ≈ H: a factor of some units.
    for (y, x) in [(0, 0), (70, 159), (159, 20)] {
        polynomial.evaluate(y, x, &mut values);
        let expected: f64 = terms.iter().zip(values).map(|(k, t)| t * k.photometric_scale()).sum();
        let functional = design.photometric_scale_functional_at(y, x);
        let scale: f64 = functional.iter().zip(&difference.parameters).map(|(c, x)| c * x).sum();
        // The stars have a signal-to-noise ratio of 10⁴ for this σ, in any part of the image.
        assert!((scale - expected).abs() < 1e-8, "{scale} {expected}");
    }
    let valid = design.valid();
    for y in valid.y..valid.y + valid.height {
        for x in valid.x..valid.x + valid.width {
            let d = difference.difference.view().at(y, x);
            assert!(d.abs() < 1e-5, "{d:e}");
        }
    }
}

#[test]
fn a_normal_field_takes_few_products_for_every_degree() {
    let pair = varying(512, 1);
    for degree in 1..=3 {
        let design = design(512, 6, (degree, degree));
        let difference = subtracted(&pair, design, &FitOptions::default());
        let outcome = difference.outcome;
        eprintln!("degree {degree}: {outcome:?}");
        assert!(outcome.stop.converged());
        assert_eq!(outcome.preconditioning, Preconditioning::Kronecker);
        assert!(outcome.products <= 200, "degree {degree}: {outcome:?}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let pair = varying(200, 6);
    for solver in SOLVERS {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = FitOptions { solver, ..Default::default() };
            let difference = pool.install(|| subtracted(&pair, design(200, 4, (1, 1)), &options));
            let pixels = [&difference.difference, &difference.variance, &difference.model];
            let pixels = pixels.into_iter().flat_map(Image::pixels).map(|v| v.to_bits());
            let scale = difference.photometric_scale;
            (pixels.collect::<Vec<_>>(), scale.value.to_bits(), scale.sigma.to_bits())
        };
        let one = on(1);
        assert!(one == on(2) && one == on(3), "{solver:?}");
    }
}

#[test]
fn a_kernel_is_fitted_as_varying_where_it_varies() {
    // Of a reference as deep as the target the noise leaves more in the score than that of the target.
    for (gradient, reference_depth) in [(0.0, 20.0), (0.0, 1.0), (0.04, 20.0), (0.04, 1.0)] {
        let mut varying = 0;
        for seed in 0..4 {
            let pair = simulate(&SimulationOptions {
                height: 240,
                width: 240,
                seed,
                reference_depth,
                psf_gradient_x: gradient,
                ..Default::default()
            })
            .unwrap();
            let options = FitOptions { variation: Variation::Tested, ..Default::default() };
            let found = subtracted(&pair, design(240, 10, (0, 2)), &options);
            let test = found.variation_test.unwrap();
            assert_eq!(test.varies(), found.design.kernel_degree() == 2, "{test:?}");
            assert_eq!(found.parameters.len(), found.design.ncols());
            varying += usize::from(test.varies());
        }
        // By chance one of a hundred fields seems to vary: two of four once in two thousand.
        let right = if gradient > 0.0 { varying == 4 } else { varying < 2 };
        assert!(right, "{gradient} {reference_depth}: {varying} of 4");
    }
}
