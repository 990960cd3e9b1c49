//! How near the model comes to the truth.

use dia_core::Loss;
use dia_core::simulate::{Psf, SimulationOptions};
use dia_solvers::{Clipping, FitOptions, Lambda, ReferenceNoise};

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

fn models() -> Vec<(&'static str, Model)> {
    let model = |options| Model { options, ..Default::default() };
    let classical = FitOptions {
        reference_noise: ReferenceNoise::Weight,
        lambda: Lambda::Fixed(0.0),
        variable_sources: None,
        ..Default::default()
    };
    let clipped =
        FitOptions { loss: Loss::Gaussian, clipping: Some(Clipping::default()), ..classical };
    let delta = |options| Model { basis: Basis::Delta(9), ..model(options) };
    let defaults = FitOptions::default();
    vec![
        ("defaults", model(defaults)),
        ("Tukey's loss", model(FitOptions { loss: Loss::TUKEY, ..defaults })),
        ("variables not masked", model(FitOptions { variable_sources: None, ..defaults })),
        ("delta 19², Huber, λ = 0, no correction, nothing masked", delta(classical)),
        ("the same, clipped at 5 σ", delta(clipped)),
    ]
}

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| field | fit | model error | (P − P_true)/P_true / % | σ_P / % | λ | products | time / s |\n|---|---|---|---|---|---|---|---|"
    );
    for (name, field, varies) in fields() {
        let fields = (1..=seeds)
            .map(|seed| Field::new(&SimulationOptions { seed, ..field }))
            .collect::<Result<Vec<_>>>()?;
        for (fit, model) in models() {
            for kernel_degree in if varies { 1..=2 } else { 0..=0 } {
                let background_degree = if varies { 2 } else { 1 };
                let model = Model { kernel_degree, background_degree, ..model };
                let fit =
                    if varies { format!("{fit}, degree {kernel_degree}") } else { fit.into() };
                row(name, &fit, &fields.iter().map(|f| f.fit(&model)).collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

fn row(field: &str, fit: &str, trials: &[Result<Trial>]) {
    let sample = |value: &dyn Fn(&Trial) -> f64| Sample::of(trials.iter().flatten().map(value));
    let failed = trials.iter().filter_map(|trial| trial.as_ref().err());
    let failed: String = failed.map(|error| format!("; {error}")).collect();
    println!(
        "| {field} | {fit}{failed} | {:.4} | {:+.3} | {:.3} | {:.2e} | {:.0} | {:.2} |",
        sample(&|t| t.error),
        sample(&|t| 100.0 * (t.scale - 1.0)),
        sample(&|t| 100.0 * t.sigma).mean,
        sample(&|t| t.lambda).mean,
        sample(&|t| t.products as f64).mean,
        sample(&|t| t.seconds).mean,
    );
}
