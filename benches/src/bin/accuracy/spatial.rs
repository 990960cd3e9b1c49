//! What kernels that vary over the image cost and gain.

use dia_core::simulate::SimulationOptions;

use crate::Result;
use crate::field::{Field, Model, quiet};

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| seed | kernel degree | scale degree | unknowns | passes | products | preconditioner | model error | (P − P_true)/P_true / % | σ_P / % | λ |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for seed in 1..=seeds {
        let options = SimulationOptions {
            seed,
            psf_gradient_x: 0.12,
            psf_gradient_y: 0.12,
            sky_curvature: 100.0,
            ..quiet(1024)
        };
        let field = Field::new(&options)?;
        let degrees = [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 2), (3, 3)];
        for (kernel_degree, scale_degree) in degrees {
            let model =
                Model { kernel_degree, scale_degree, background_degree: 2, ..Model::CONSTANT };
            let unknowns = model.design(&options, None)?.ncols();
            let name = format!("{seed} | {kernel_degree} | {scale_degree} | {unknowns}");
            match field.fit(&model) {
                Ok(t) => println!(
                    "| {name} | {} | {} | {} | {:.4} | {:+.3} | {:.3} | {:.1e} |",
                    t.passes,
                    t.products,
                    t.preconditioning.name(),
                    t.error,
                    100.0 * (t.scale - 1.0),
                    100.0 * t.sigma,
                    t.lambda
                ),
                Err(error) => println!("| {name} | {error} |"),
            }
        }
    }
    Ok(())
}
