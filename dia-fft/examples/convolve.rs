//! Convolves an `ndarray` image with a Gaussian kernel: `cargo run --release -p dia-fft --example convolve`.

use std::error::Error;
use std::time::Instant;

use dia_core::{Design, ImageView, Kernel, KernelBasis, LinearOperator};
use dia_fft::FftDesignMatrix;
use ndarray::{Array2, ArrayView2};

fn main() -> Result<(), Box<dyn Error>> {
    let side = 1024;
    let image = Array2::from_shape_fn((side, side), |(y, x)| ((y * 31 + x * 17) % 101) as f32);
    let design = Design::new(side, side, KernelBasis::delta(9), None)?;
    let valid = design.valid();
    let a = FftDesignMatrix::new(ImageView::try_from(image.view())?, design)?;
    let (mut convolved, mut workspace) = (a.zeros()?, a.workspace()?);
    let start = Instant::now();
    a.apply(Kernel::gaussian(9, 2.0).pixels(), &mut convolved, &mut workspace)?;
    println!("{side}² pixels, 19 × 19 kernel: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let convolved = ArrayView2::from_shape((valid.height, valid.width), &convolved)?;
    println!(
        "mean before {:.4}, after {:.4}",
        image.mean().unwrap_or(0.0),
        convolved.mean().unwrap_or(0.0)
    );
    Ok(())
}
