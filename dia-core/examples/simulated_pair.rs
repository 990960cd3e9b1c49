//! A simulated pair and what the vocabulary says of it: `cargo run --release -p dia-core --features simulate --example simulated_pair`.

use std::error::Error;

use dia_core::simulate::{SimulationOptions, simulate};
use dia_core::{Design, Kernel, KernelBasis, seeing};

fn main() -> Result<(), Box<dyn Error>> {
    let options = SimulationOptions { height: 300, width: 400, ..Default::default() };
    let pair = simulate(&options)?;
    for (name, image, mask) in [
        ("reference", &pair.reference, &pair.reference_mask),
        ("target", &pair.target, &pair.target_mask),
    ] {
        let seen = seeing::measure(image.view(), mask).map_or_else(
            || "too few stars to measure the seeing".to_string(),
            |seeing| format!("FWHM {:.2} px from {} stars", seeing.fwhm, seeing.stars),
        );
        println!("{name}: {seen}");
    }
    let design = Design::new(300, 400, KernelBasis::delta(9), Some(1))?;
    println!("design matrix: {} valid pixels × {} unknowns", design.nrows(), design.ncols());
    // Widths add in quadrature: the kernel that turns one seeing into the other.
    let sigma = (options.target_fwhm.powi(2) - options.reference_fwhm.powi(2)).sqrt() / 2.3548;
    let kernel = Kernel::gaussian(9, sigma);
    println!("a Gaussian kernel of σ = {sigma:.2} px has a peak of {:.4}", kernel.at(0, 0));
    Ok(())
}
