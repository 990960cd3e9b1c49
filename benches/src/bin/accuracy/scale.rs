//! Whether the photometric scale is right, and known as well as is said, where stars are many and few, references deep and shallow, profiles with wings and without.

use dia_core::simulate::{Psf, SimulationOptions};
use rayon::prelude::*;

use crate::Result;
use crate::field::{Field, Model, Trial, quiet};
use crate::statistics::Sample;

/// Sides of the images and stars per 100 × 100 pixels.
const FIELDS: [(&str, usize, f64); 3] =
    [("rich", 256, 30.0), ("sparse", 300, 3.0), ("five stars", 200, 1.25)];

/// FWHM in pixels of reference and target.
const SEEINGS: [(f64, f64); 2] = [(2.4, 2.7), (3.5, 5.0)];

/// How many target exposures the reference is the mean of.
const DEPTHS: [f64; 3] = [1.0, 4.0, 20.0];

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| field | seeing / px | profile | depth | kernel | P − P_true / % | scatter / % | mean σ_P / % | mean pull | its deviation | within 1.96 σ / % | failed |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let models = [("constant", Model::CONSTANT), ("default", Model::default())];
    let psfs = [("Gaussian", Psf::Gaussian), ("Moffat", Psf::Moffat { beta: 3.0 })];
    for (name, side, density) in FIELDS {
        for (reference_fwhm, target_fwhm) in SEEINGS {
            for (profile, psf) in psfs {
                for reference_depth in DEPTHS {
                    let field = SimulationOptions {
                        density,
                        reference_fwhm,
                        target_fwhm,
                        psf,
                        reference_depth,
                        ..quiet(side)
                    };
                    let trials: Vec<_> = (1..=seeds)
                        .into_par_iter()
                        .map(|seed| {
                            let field = Field::new(&SimulationOptions { seed, ..field })?;
                            Ok(models.map(|(_, model)| field.fit(&model)))
                        })
                        .collect::<Result<_>>()?;
                    for (k, (kernel, _)) in models.iter().enumerate() {
                        let found = trials.iter().filter_map(|trials| trials[k].as_ref().ok());
                        let row = row(&found.collect::<Vec<_>>(), seeds as usize);
                        println!(
                            "| {name} | {reference_fwhm} → {target_fwhm} | {profile} | {reference_depth} | {kernel} | {row} |"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

fn row(trials: &[&Trial], all: usize) -> String {
    let scales = Sample::of(trials.iter().map(|t| 100.0 * (t.scale - 1.0)));
    let pull = |t: &&Trial| (t.scale - 1.0) / t.sigma;
    let pulls = Sample::of(trials.iter().map(pull));
    format!(
        "{:+.3} ± {:.3} | {:.3} | {:.3} | {:+.2} ± {:.2} | {:.2} | {:.0} | {}",
        scales.mean,
        scales.error(),
        scales.deviation,
        100.0 * Sample::of(trials.iter().map(|t| t.sigma)).mean,
        pulls.mean,
        pulls.error(),
        pulls.deviation,
        100.0 * Sample::of(trials.iter().map(|t| f64::from(pull(t).abs() < 1.96))).mean,
        all - trials.len()
    )
}
