//! Whether every fit ends at its minimum, and after how many passes: random fields, designs and losses.

use std::collections::BTreeMap;

use dia_core::Loss;
use dia_core::simulate::{Psf, SimulationOptions};
use dia_solvers::{FitOptions, Lambda, Preconditioning, ReferenceNoise, Variation};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::field::{Field, Model};

/// Sides of the images in pixels, drawn in the logarithm.
const SIDES: [f64; 2] = [96.0, 2048.0];

struct Case {
    field: SimulationOptions,
    model: Model,
}

pub(crate) fn print(fields: u64) {
    let (mut passes, mut products) = (Vec::new(), Vec::new());
    let mut failures: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut preconditioners: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 1..=fields {
        let case = drawn(seed);
        match Field::new(&case.field).and_then(|field| field.fit(&case.model)) {
            Ok(trial) => {
                passes.push((trial.passes, seed));
                products.push((trial.products, seed));
                *preconditioners
                    .entry(Preconditioning::name(trial.preconditioning))
                    .or_default() += 1;
            }
            Err(error) => failures.entry(error.to_string()).or_default().push(seed),
        }
    }
    println!(
        "| of {} fits that ended at the minimum | median | 99 % | largest (seed) |",
        passes.len()
    );
    println!("|---|---|---|---|");
    for (name, mut values) in [("passes", passes), ("products", products)] {
        values.sort_unstable();
        let Some(&(most, seed)) = values.last() else { continue };
        let at = |part: f64| values[(part * (values.len() - 1) as f64).round() as usize].0;
        println!("| {name} | {} | {} | {most} ({seed}) |", at(0.5), at(0.99));
    }
    println!("\nPreconditioners at the end: {preconditioners:?}.\n");
    for (error, seeds) in failures {
        println!("- {} × {error} (seeds {seeds:?})", seeds.len());
    }
}

/// A field of any kind that surveys have, and a fit of any kind that users ask for.
fn drawn(seed: u64) -> Case {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut between = |low: f64, high: f64| low * (high / low).powf(random.random::<f64>());
    let side = between(SIDES[0], SIDES[1]).round() as usize;
    let reference_fwhm = between(1.8, 5.0);
    let target_fwhm = (reference_fwhm * between(1.0, 1.6)).max(reference_fwhm + 0.2);
    let (density, reference_depth) = (between(2.0, 60.0), between(1.0, 100.0));
    let flux_max = between(3e4, 3e6);
    let beta = between(2.5, 6.0);
    let mut pick = |all: &[usize]| *all.choose(&mut random).unwrap_or(&0);
    // Those that vary are drawn among the stars that stand away from the border.
    let stars = density * (side as f64 / 100.0).powi(2);
    let events = if stars > 150.0 && side > 150 { pick(&[0, 0, 5, 20]) } else { 0 };
    let psf = if pick(&[0, 1, 2]) == 0 { Psf::Gaussian } else { Psf::Moffat { beta } };
    let gradient = [0.0, 0.0, 0.05, 0.12][pick(&[0, 1, 2, 3])];
    let field = SimulationOptions {
        height: side,
        width: side,
        seed,
        density,
        flux_max,
        psf,
        reference_fwhm,
        target_fwhm,
        reference_depth,
        psf_gradient_x: gradient,
        psf_gradient_y: -0.5 * gradient,
        variables: events,
        transients: events,
        cosmic_rays: pick(&[0, 10, 100]),
        bad_columns: pick(&[0, 2]),
        saturation: [None, Some(40_000.0)][pick(&[0, 1])],
        ..Default::default()
    };
    let losses = [Loss::HUBER, Loss::HUBER, Loss::TUKEY, Loss::CAUCHY, Loss::Gaussian];
    let noises = [ReferenceNoise::Correct, ReferenceNoise::Correct, ReferenceNoise::Weight];
    let options = FitOptions {
        loss: losses[pick(&[0, 1, 2, 3, 4])],
        reference_noise: noises[pick(&[0, 1, 2])],
        lambda: [Lambda::Auto, Lambda::Auto, Lambda::Fixed(1.0)][pick(&[0, 1, 2])],
        variation: [Variation::Tested, Variation::AsDesigned][pick(&[0, 1])],
        ..FitOptions::DEFAULT
    };
    let kernel_degree = pick(&[0, 1, 2, 2, 3]);
    let model = Model {
        kernel_degree,
        scale_degree: pick(&[0, 0, 0, kernel_degree]),
        background_degree: pick(&[0, 1, 2, 3]).max(kernel_degree.min(2)),
        options,
        ..Model::default()
    };
    Case { field, model }
}
