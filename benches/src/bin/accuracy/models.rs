//! How near the model comes to the truth.

use dia_core::Loss;
use dia_core::simulate::{Psf, SimulationOptions};
use dia_solvers::{Clipping, Criterion, FitOptions};

use crate::Result;
use crate::field::{Basis, Field, Model, Trial, quiet};
use crate::statistics::Sample;

/// Names, options, and whether the point spread function varies over the field.
fn fields() -> Vec<(&'static str, SimulationOptions, bool)> {
    let base = quiet(512);
    let varying = SimulationOptions {
        psf_gradient_x: 0.12,
        psf_gradient_y: 0.12,
        sky_curvature: 100.0,
        ..quiet(1024)
    };
    vec![
        ("256², no star above 10⁵ ADU", SimulationOptions { flux_max: 1e5, ..quiet(256) }, false),
        ("256²", quiet(256), false),
        ("512²", base, false),
        (
            "512², 60 cosmic rays, 3 bad columns, saturation at 40000",
            SimulationOptions {
                cosmic_rays: 60,
                saturation: Some(40_000.0),
                bad_columns: 3,
                ..base
            },
            false,
        ),
        (
            "512², 20 variables, 10 transients",
            SimulationOptions { variables: 20, transients: 10, ..base },
            false,
        ),
        (
            "512², the brightest star varies",
            SimulationOptions { brightest_varies: true, ..base },
            false,
        ),
        ("512², 200 stars per 100² px", SimulationOptions { density: 200.0, ..base }, false),
        ("512², Gaussian PSFs", SimulationOptions { psf: Psf::Gaussian, ..base }, false),
        (
            "512², reference as noisy as the target",
            SimulationOptions { reference_depth: 1.0, ..base },
            false,
        ),
        ("1024²", quiet(1024), false),
        ("1024², PSF gradient 12 %, quadratic sky", varying, true),
    ]
}

/// Names, models, and the degrees of the kernel's variation on a field on which it varies.
fn models() -> Vec<(&'static str, Model, &'static [usize])> {
    let classical = FitOptions::plain();
    let clipped =
        FitOptions { loss: Loss::Gaussian, clipping: Some(Clipping::default()), ..classical };
    let kept = FitOptions { variable_sources: None, ..Default::default() };
    let tukey = FitOptions { loss: Loss::TUKEY, ..Default::default() };
    let delta = |options| Model { basis: Basis::Delta(9), options, ..Model::CONSTANT };
    let best = |criterion| Model { basis: Basis::Best(criterion), ..Model::CONSTANT };
    vec![
        ("defaults of `dia subtract`", Model::default(), &[2]),
        ("constant kernel", Model::CONSTANT, &[0, 1]),
        ("constant kernel, half-width by AIC", best(Criterion::Aic), &[]),
        ("constant kernel, half-width by BIC", best(Criterion::Bic), &[]),
        ("constant kernel, half-width by TIC", best(Criterion::Tic), &[]),
        ("constant kernel, Tukey's loss", Model { options: tukey, ..Model::CONSTANT }, &[]),
        ("constant kernel, variables not masked", Model { options: kept, ..Model::CONSTANT }, &[]),
        ("delta 19², Huber, λ = 0, no correction, nothing masked", delta(classical), &[1, 2]),
        ("the same, clipped at 5 σ", delta(clipped), &[1, 2]),
    ]
}

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| field | fit | model error | (P − P_true)/P_true / % | σ_P / % | λ | products |\n|---|---|---|---|---|---|---|"
    );
    for (name, field, varies) in fields() {
        let fields = (1..=seeds)
            .map(|seed| Field::new(&SimulationOptions { seed, ..field }))
            .collect::<Result<Vec<_>>>()?;
        let fit = |fit: &str, model: &Model| {
            row(name, fit, &fields.iter().map(|f| f.fit(model)).collect::<Vec<_>>());
        };
        for (name, model, degrees) in models() {
            if !varies {
                fit(name, &model);
            }
            for kernel_degree in degrees.iter().copied().filter(|_| varies) {
                let model = Model { kernel_degree, background_degree: 2, ..model };
                fit(&format!("{name}, degree {kernel_degree}"), &model);
            }
        }
    }
    Ok(())
}

fn row(field: &str, fit: &str, trials: &[Result<Trial>]) {
    let sample = |value: &dyn Fn(&Trial) -> f64| Sample::of(trials.iter().flatten().map(value));
    let failed = trials.iter().filter_map(|trial| trial.as_ref().err());
    let failed: Vec<_> = failed.map(|error| format!("; {error}")).collect();
    let failed = failed.concat();
    println!(
        "| {field} | {fit}{failed} | {:.4} | {:+.3} | {:.3} | {:.2e} | {:.0} |",
        sample(&|t| t.error),
        sample(&|t| 100.0 * (t.scale - 1.0)),
        sample(&|t| 100.0 * t.sigma).mean,
        sample(&|t| t.lambda).mean,
        sample(&|t| t.products as f64).mean,
    );
}
