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

/// Fields with fewer stars are passed over: chance makes some that have hardly any.
const FEWEST_STARS: usize = 5;

/// How many target exposures the reference is the mean of.
const DEPTHS: [f64; 3] = [1.0, 4.0, 20.0];

pub(crate) fn print(fields: usize) -> Result<()> {
    println!(
        "| field | seeing / px | profile | depth | kernel | P − P_true / % | scatter / % | mean σ_P / % | mean pull | its deviation | within 1.96 σ / % | largest pull (seed) | failed |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|"
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
                    let drawn =
                        |seed| Ok((seed, Field::new(&SimulationOptions { seed, ..field })?));
                    let with_stars = |field: &Result<(u64, Field)>| {
                        field.as_ref().map_or(true, |(_, field)| field.stars() >= FEWEST_STARS)
                    };
                    let drawn: Vec<_> =
                        (1..).map(drawn).filter(with_stars).take(fields).collect::<Result<_>>()?;
                    let trials: Vec<_> = drawn
                        .par_iter()
                        .map(|(seed, field)| (*seed, models.map(|(_, model)| field.fit(&model))))
                        .collect();
                    for (k, (kernel, _)) in models.iter().enumerate() {
                        let found = trials.iter();
                        let found =
                            found.filter_map(|(seed, t)| Some((*seed, t[k].as_ref().ok()?)));
                        let row = row(&found.collect::<Vec<_>>(), fields);
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

/// Fits that ended, with the seeds of their fields, of so many that were tried.
fn row(trials: &[(u64, &Trial)], tried: usize) -> String {
    let of = |value: fn(&Trial) -> f64| Sample::of(trials.iter().map(|(_, trial)| value(trial)));
    let scales = of(|t| 100.0 * (t.scale - 1.0));
    let pulls = of(pull);
    let largest = trials.iter().map(|(seed, trial)| (pull(trial), seed));
    let largest = largest.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    format!(
        "{:+.3} ± {:.3} | {:.3} | {:.3} | {:+.2} ± {:.2} | {:.2} | {:.0} | {} | {}",
        scales.mean,
        scales.error(),
        scales.deviation,
        of(|t| 100.0 * t.sigma).mean,
        pulls.mean,
        pulls.error(),
        pulls.deviation,
        100.0 * of(|t| f64::from(pull(t).abs() < 1.96)).mean,
        largest.map_or_else(String::new, |(pull, seed)| format!("{pull:+.1} ({seed})")),
        tried - trials.len()
    )
}

fn pull(trial: &Trial) -> f64 {
    (trial.scale - 1.0) / trial.sigma
}
