//! Three solvers, one answer; and the same bits whatever the masked pixels hold and however many threads there are.

use crate::field::{Planes, mixed_design, simulated, subtracted};
use dia_core::simulate::SimulatedPair;
use dia_core::{
    Design, Image, ImageView, KernelBasis, LinearOperator, Loss, NoiseModel, OperatorError,
};
use dia_fft::{FftDesignMatrix, FftPixel};
use dia_solvers::{Difference, Estimate, FitOptions, Solver, fit, subtract};

const SOLVERS: [Solver; 3] = [Solver::Pcg, Solver::Lsqr, Solver::Cholesky];

#[test]
fn solvers_agree_on_the_parameters_in_the_h_norm() {
    let pair = simulated(160, 3);
    let planes = Planes::<f64>::of(&pair);
    let free = Design::new(160, 160, KernelBasis::delta(6), Some(1)).unwrap();
    for (design, loss) in
        [(free.clone(), Loss::Gaussian), (free, Loss::HUBER), (mixed_design(160), Loss::HUBER)]
    {
        let solutions: Vec<Vec<f64>> = SOLVERS
            .iter()
            .map(|solver| {
                let mut prepared = planes.prepare_for(&pair, design.clone(), true);
                let a =
                    FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
                let variance = FftDesignMatrix::new(
                    prepared.reference_variance().unwrap(),
                    prepared.design().of_variance(),
                )
                .unwrap();
                let options =
                    FitOptions { loss, solver: *solver, tolerance: 1e-7, ..Default::default() };
                let fit = fit(&mut prepared, &a, Some(&variance), &options, &mut |_| ()).unwrap();
                assert!(fit.outcome.stop.converged(), "{solver:?} {:?}", fit.outcome);
                fit.parameters
            })
            .collect();
        // ‖x‖_H² = ‖W^½ A x‖² with the weights of the noise model on the data.
        let prepared = planes.prepare_for(&pair, design.clone(), false);
        let a = FftDesignMatrix::new(prepared.reference(), design).unwrap();
        let mut workspace = a.workspace().unwrap();
        let mut h_norm = |x: &[f64]| {
            let mut model = a.zeros().unwrap();
            a.apply(x, &mut model, &mut workspace).unwrap();
            let terms = model.iter().enumerate().map(|(i, m)| prepared.initial_weight(i) * m * m);
            terms.sum::<f64>().sqrt()
        };
        for x in &solutions[1..] {
            let difference: Vec<f64> = x.iter().zip(&solutions[0]).map(|(a, b)| a - b).collect();
            let relative = h_norm(&difference) / h_norm(x);
            // Both are within 1e-7 σ of the minimum, and ‖x‖_H is the field's signal-to-noise ratio, above 10³.
            assert!(relative < 1e-6, "{loss:?}: {relative:e}");
        }
    }
}

/// A pair in units of 2^k ADU: everything that must be the same but for powers of two.
fn in_units<T: FftPixel>(pair: &SimulatedPair, k: i32) -> Vec<f64> {
    let unit = 2.0_f64.powi(k);
    let planes = Planes::<T> {
        reference: pair.reference.map(|v| T::narrow(v * unit)),
        target: pair.target.map(|v| T::narrow(v * unit)),
    };
    let (mut reference, mut target) = planes.exposures(pair);
    for exposure in [&mut reference, &mut target] {
        let NoiseModel::Ccd(ccd, _) = &mut exposure.noise else { unreachable!("of a detector") };
        ccd.gain /= unit;
        exposure.saturation = exposure.saturation.map(|level| level * unit);
    }
    let operator = |image: ImageView<'_, T>, design: Design| -> Result<_, OperatorError> {
        FftDesignMatrix::new(image, design)
    };
    let design = mixed_design(120);
    let options = FitOptions::default();
    let found = subtract(&reference, &target, design, operator, &options, &mut |_| ()).unwrap();
    let difference = found.difference.pixels().iter().map(|d| d.widen() / unit);
    let variance = found.variance.pixels().iter().map(|v| v.widen() / unit / unit);
    let Estimate { value, sigma } = found.photometric_scale;
    let scalars = [value, sigma, found.lambda, found.outcome.products as f64];
    difference.chain(variance).chain(scalars).chain(found.kernel.pixels().iter().copied()).collect()
}

#[test]
fn the_unit_of_the_images_changes_no_bit() {
    let pair = simulated(120, 8);
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let expected = bits(in_units::<f64>(&pair, 0));
    for k in [-60, -43, -20, -7, -1, 4, 11, 26, 40] {
        assert!(bits(in_units::<f64>(&pair, k)) == expected, "f64, 2^{k}");
    }
    let expected = bits(in_units::<f32>(&pair, 0));
    // Variances of 10³ ADU² are above the smallest f32 of full precision, 2⁻¹²⁶, from 2⁻⁶⁰ on.
    for k in [-60, -43, -20, -7, -1, 4, 11, 26, 40] {
        assert!(bits(in_units::<f32>(&pair, k)) == expected, "f32, 2^{k}");
    }
}

#[test]
fn solvers_agree_on_the_difference_to_a_hundredth_of_the_noise() {
    let pair = simulated(160, 4);
    let planes = Planes::<f32>::of(&pair);
    let run = |solver| subtracted(&pair, &planes, 6, &FitOptions { solver, ..Default::default() });
    let reference = run(SOLVERS[0]);
    for solver in &SOLVERS[1..] {
        let other = run(*solver);
        let pixels = reference.difference.pixels().iter().zip(other.difference.pixels());
        for ((a, b), v) in pixels.zip(reference.variance.pixels()) {
            // The tolerance of the fit is 0.01 σ over the whole image.
            assert!(a.is_nan() == b.is_nan());
            assert!(a.is_nan() || (a - b).abs() <= 0.01 * v.sqrt(), "{solver:?}: {a} {b}");
        }
    }
}

fn bits(difference: &Difference<f32>) -> Vec<u64> {
    let planes = [&difference.difference, &difference.variance, &difference.model];
    let pixels = planes.into_iter().flat_map(Image::pixels).map(|v| u64::from(v.to_bits()));
    let kernel = difference.kernel.pixels().iter().map(|k| k.to_bits());
    let scale = [difference.photometric_scale.value, difference.photometric_scale.sigma];
    pixels.chain(kernel).chain(scale.map(f64::to_bits)).collect()
}

#[test]
fn masked_pixels_never_influence_anything() {
    let pair = simulated(150, 5);
    let mut expected = None;
    for poison in [1000.0, f32::NAN, 1e30, -1e30, f32::INFINITY] {
        let mut planes = Planes::<f32>::of(&pair);
        let mut pair = pair.clone();
        // A block in each image, one of them at the border.
        let mut spoil = |image: &mut Image<f32>, y0: usize, x0: usize, reference: bool| {
            for (y, x) in (y0..y0 + 5).flat_map(|y| (x0..x0 + 4).map(move |x| (y, x))) {
                image.row_mut(y)[x] = poison;
                let mask = if reference { &mut pair.reference_mask } else { &mut pair.target_mask };
                mask.insert(y, x, dia_core::MaskPlanes::BAD);
            }
        };
        spoil(&mut planes.target, 60, 70, false);
        spoil(&mut planes.target, 0, 30, false);
        spoil(&mut planes.reference, 100, 40, true);
        spoil(&mut planes.reference, 145, 146, true);
        for solver in SOLVERS {
            let got =
                bits(&subtracted(&pair, &planes, 4, &FitOptions { solver, ..Default::default() }));
            let all = expected.get_or_insert_with(std::collections::HashMap::new);
            assert!(
                *all.entry(solver).or_insert_with(|| got.clone()) == got,
                "{solver:?} {poison}"
            );
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let pair = simulated(200, 6);
    let planes = Planes::<f32>::of(&pair);
    for solver in SOLVERS {
        let options = FitOptions { solver, ..Default::default() };
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bits(&subtracted(&pair, &planes, 5, &options)))
        };
        let one = on(1);
        assert!(one == on(2) && one == on(3), "{solver:?}");
    }
}
