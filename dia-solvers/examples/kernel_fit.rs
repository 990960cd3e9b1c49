//! Fits a kernel to two `ndarray` images: `cargo run --release -p dia-solvers --example kernel_fit`.

use std::error::Error;

use dia_core::simulate::{SimulationOptions, simulate};
use dia_core::{Design, ImageView, KernelBasis, NoiseModel};
use dia_fft::FftDesignMatrix;
use dia_solvers::{Exposure, FitOptions, subtract};
use ndarray::{Array2, ArrayView2};

fn main() -> Result<(), Box<dyn Error>> {
    // Two arrays from somewhere.
    let options = SimulationOptions { height: 300, width: 400, ..Default::default() };
    let pair = simulate(&options)?;
    let (reference, target): (Array2<f64>, Array2<f64>) =
        (pair.reference.into(), pair.target.into());

    let exposure = |image, noise| Exposure {
        image,
        mask: None,
        noise: NoiseModel::Ccd(noise, None),
        saturation: Some(6e4),
    };
    let difference = subtract(
        &exposure(ImageView::try_from(reference.view())?, options.reference_noise()),
        &exposure(ImageView::try_from(target.view())?, options.target_noise()),
        Design::new(300, 400, KernelBasis::delta(9), Some(1))?,
        FftDesignMatrix::new,
        &FitOptions::default(),
        &mut |_| (),
    )?;
    let scale = difference.photometric_scale;
    println!("photometric scale {:.4} ± {:.4} (true: {})", scale.value, scale.sigma, options.scale);
    let kernel = difference.kernel.to_image();
    let kernel: ArrayView2<'_, f64> = kernel.view().into();
    println!(
        "kernel of {:?} pixels, peak {:.4}",
        kernel.dim(),
        kernel.iter().copied().fold(0.0, f64::max)
    );
    println!("{:?}", difference.residuals);
    Ok(())
}
