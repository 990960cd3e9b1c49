//! Whether the photometric scale lies within its σ as often as it should.

use dia_core::simulate::{Psf, SimulationOptions};
use dia_solvers::FitOptions;
use rayon::prelude::*;

use crate::Result;
use crate::field::{Field, Model, quiet};
use crate::statistics::Sample;

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| field | fit | within σ / % | within 1.96 σ / % | mean pull | its deviation | scatter of P / % | σ_P / % | failed |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    let base = SimulationOptions { psf: Psf::Gaussian, ..quiet(160) };
    let fields = [
        ("depth 20", base),
        ("depth 3", SimulationOptions { reference_depth: 3.0, ..base }),
        (
            "depth 20, 5 cosmic rays, 2 variables",
            SimulationOptions { cosmic_rays: 5, variables: 2, ..base },
        ),
    ];
    let plain = FitOptions {
        variable_sources: FitOptions::DEFAULT.variable_sources,
        ..FitOptions::plain()
    };
    let fits = [
        ("defaults of `dia subtract`", Model::default()),
        ("constant kernel", Model::CONSTANT),
        ("the same, λ = 0, bias not corrected", Model { options: plain, ..Model::CONSTANT }),
    ];
    for (name, field) in fields {
        let trials: Vec<_> = (1..=seeds)
            .into_par_iter()
            .map(|seed| {
                let field = Field::new(&SimulationOptions { seed, ..field })?;
                Ok(fits.map(|(_, model)| field.fit(&model)))
            })
            .collect::<Result<_>>()?;
        for (k, (fit, _)) in fits.iter().enumerate() {
            let trials = || trials.iter().filter_map(|trials| trials[k].as_ref().ok());
            let pull = |t: &crate::field::Trial| (t.scale - 1.0) / t.sigma;
            let within = |limit: f64| {
                100.0 * Sample::of(trials().map(|t| f64::from(pull(t).abs() < limit))).mean
            };
            let pulls = Sample::of(trials().map(pull));
            println!(
                "| {name} | {fit} | {:.1} | {:.1} | {:+.3} ± {:.3} | {:.3} | {:.4} | {:.4} | {} |",
                within(1.0),
                within(1.96),
                pulls.mean,
                pulls.error(),
                pulls.deviation,
                100.0 * Sample::of(trials().map(|t| t.scale)).deviation,
                100.0 * Sample::of(trials().map(|t| t.sigma)).mean,
                seeds as usize - pulls.count
            );
        }
    }
    Ok(())
}
