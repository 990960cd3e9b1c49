//! Whether scale and fluxes are free of bias, whatever the noise of the reference.

use dia_core::simulate::{Psf, SimulationOptions};
use dia_solvers::{FitOptions, Lambda, ReferenceNoise};
use rayon::prelude::*;

use crate::Result;
use crate::field::{Field, Model, Trial, quiet, undetermined};
use crate::statistics::Sample;

const DEPTHS: [f64; 4] = [1.0, 3.0, 10.0, 25.0];

/// Seeing of reference and target, and the profile.
const SEEING: [(f64, f64, Psf); 5] = [
    (2.5, 3.5, Psf::Gaussian),
    (3.5, 5.0, Psf::Gaussian),
    (3.5, 4.0, Psf::Gaussian),
    (3.0, 3.0, Psf::Gaussian),
    (3.5, 5.0, Psf::Moffat { beta: 3.0 }),
];

const MODES: [(&str, ReferenceNoise, Lambda); 4] = [
    ("correct", ReferenceNoise::Correct, Lambda::Auto),
    ("weight", ReferenceNoise::Weight, Lambda::Auto),
    ("weight, λ = 0", ReferenceNoise::Weight, Lambda::Fixed(0.0)),
    ("ignore", ReferenceNoise::Ignore, Lambda::Auto),
];

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| seeing / px | PSF | depth | reference noise | bias of P / % | slope − 1 / % | scatter of P / % | σ_P / % | λ | model error | failed |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (reference_fwhm, target_fwhm, psf) in SEEING {
        for reference_depth in DEPTHS {
            let fields = (1..=seeds)
                .into_par_iter()
                .map(|seed| {
                    let field =
                        SimulationOptions { seed, psf, reference_fwhm, target_fwhm, ..quiet(256) };
                    Field::new(&SimulationOptions { reference_depth, ..field })
                })
                .collect::<Result<Vec<_>>>()?;
            let shape = if psf == Psf::Gaussian { "Gaussian" } else { "Moffat" };
            let name = format!("{reference_fwhm} → {target_fwhm} | {shape} | {reference_depth}");
            for (mode, reference_noise, lambda) in MODES {
                let options = FitOptions { reference_noise, lambda, ..Default::default() };
                let model = Model { options, ..Model::CONSTANT };
                let trials: Vec<_> = fields.par_iter().map(|field| field.fit(&model)).collect();
                row(&name, mode, &trials);
            }
        }
    }
    Ok(())
}

fn row(field: &str, mode: &str, trials: &[Result<Trial>]) {
    let sample = |value: &dyn Fn(&Trial) -> f64| Sample::of(trials.iter().flatten().map(value));
    let scale = sample(&|t| t.scale - 1.0);
    let errors: Vec<_> = trials.iter().filter_map(|trial| trial.as_ref().err()).collect();
    let undetermined = errors.iter().filter(|error| undetermined(error.as_ref())).count();
    println!(
        "| {field} | {mode} | {} | {} | {:.3} | {:.3} | {:.1e} | {:.4} | {} |",
        scale.percent(),
        sample(&|t| t.slope - 1.0).percent(),
        100.0 * scale.deviation,
        sample(&|t| 100.0 * t.sigma).mean,
        sample(&|t| t.lambda).mean,
        sample(&|t| t.error).mean,
        match (errors.len(), undetermined) {
            (0, _) => "–".to_owned(),
            (all, some) => format!("{all}, {some} undetermined"),
        }
    );
}
