//! Iterations to within 0.01 σ of the minimum, for each preconditioner: `cargo run --release -p dia-benches --bin preconditioners`.
//!
//! Photon-noise weights, a 19 × 19 delta kernel and a background of degree 1, from x = 0, in single precision. All rows use one measure of the
//! distance: they stop when √(gᵀP⁻¹g) ≤ 0.01 with P their own preconditioner, and the distance that is printed is taken with the
//! sampled Gram matrix.

use std::error::Error;
use std::time::Instant;

use dia_benches::Field;
use dia_core::{DataVector, LinearOperator};
use dia_fft::{FftDesignMatrix, autocorrelation};
use dia_solvers::{
    CgOptions, CgWorkspace, DesignRows, Identity, Jacobi, LsqrOptions, LsqrWorkspace,
    NormalOperator, NormalWorkspace, Preconditioner, RowSample, Weighted, autocorrelation_gram, cg,
    lsqr,
};

const MAX_ITERATIONS: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "| image | preconditioner | set-up / ms | CG iterations | distance / σ | LSQR iterations |"
    );
    println!("|---|---|---|---|---|---|");
    for side in [512, 1024] {
        rows_for(side)?;
    }
    Ok(())
}

fn rows_for(side: usize) -> Result<(), Box<dyn Error>> {
    let field = Field::simulate(side);
    let prepared = field.prepare(9, false);
    let design = prepared.design();
    let a = FftDesignMatrix::new(prepared.reference(), design.clone())?;
    let weights = Field::weights(&prepared);
    let rows = DesignRows::new(design, prepared.reference());
    let n = a.ncols();

    let start = Instant::now();
    let sample = RowSample::draw(&prepared, 30 * n, 0);
    let sampled: Vec<f64> = sample.rows().iter().map(|i| f64::from(weights[*i])).collect();
    let sampled_gram = sample.factor(&rows, &sampled)?;
    let sampled_time = start.elapsed();

    let start = Instant::now();
    let lags = autocorrelation(prepared.reference(), 2 * design.half_width());
    let pixels = prepared.reference().pixels();
    let mean = pixels.iter().map(|r| f64::from(*r)).sum::<f64>() / pixels.len() as f64;
    let weight = weights.iter().map(|w| f64::from(*w)).sum::<f64>() / weights.len() as f64;
    let uniform_gram = autocorrelation_gram(design, &lags, mean, weight)?;
    let uniform_time = start.elapsed();

    // The exact diagonal of H: the length of each whitened column.
    let start = Instant::now();
    let mut workspace = a.workspace()?;
    let (mut x, mut column) = (vec![0.0; n], a.zeros()?);
    let mut diagonal = vec![0.0; n];
    let mut sqrt_weights = a.zeros()?;
    sqrt_weights.square_root_of(&weights)?;
    for j in 0..n {
        x.fill(0.0);
        x[j] = 1.0;
        a.apply(&x, &mut column, &mut workspace)?;
        column.multiply(&sqrt_weights)?;
        diagonal[j] = column.dot(&column)?;
    }
    let jacobi = Jacobi::new(&diagonal);
    let jacobi_time = start.elapsed();

    let mut whitened = field.data(&prepared);
    let mut weighted = whitened.clone();
    weighted.multiply(&weights)?;
    whitened.multiply(&sqrt_weights)?;
    let mut g = vec![0.0; n];
    a.apply_adjoint(&weighted, &mut g, &mut workspace)?;
    let h = NormalOperator { operator: &a, weights: &weights };
    let operator = Weighted { inner: &a, sqrt_weights: &sqrt_weights };
    let identity = Identity(n);
    let preconditioners: [(&str, &dyn Preconditioner, f64); 4] = [
        ("none", &identity, 0.0),
        ("Jacobi", &jacobi, jacobi_time.as_secs_f64()),
        ("autocorrelation Gram", &uniform_gram, uniform_time.as_secs_f64()),
        ("sampled Gram", &sampled_gram, sampled_time.as_secs_f64()),
    ];
    for (name, p, seconds) in preconditioners {
        let mut memory = NormalWorkspace::new(&a)?;
        // Without a preconditioner √(gᵀg) has no unit of σ: that row runs to the limit.
        let tolerance = if name == "none" { 0.0 } else { 0.01 };
        let options = CgOptions { tolerance, relative: 0.0, max_iterations: MAX_ITERATIONS };
        let cg = cg(&h, p, &g, &mut x, &options, &mut CgWorkspace::new(n), &mut memory)?;
        let distance = distance(&a, &weighted, &weights, &x, &sampled_gram)?;
        let options =
            LsqrOptions { tolerance, max_iterations: MAX_ITERATIONS, ..Default::default() };
        let mut memory = LsqrWorkspace::new(&operator)?;
        let lsqr = lsqr(&operator, p, &whitened, &mut x, &options, &mut memory)?;
        println!(
            "| {side}² | {name} | {:.0} | {} | {distance:.3} | {} |",
            1e3 * seconds,
            limited(cg.iterations),
            limited(lsqr.iterations)
        );
    }
    Ok(())
}

fn limited(iterations: usize) -> String {
    if iterations == MAX_ITERATIONS { format!("> {iterations}") } else { iterations.to_string() }
}

/// √(gᵀP⁻¹g) with g = Aᵀ(W d − W A x), the gradient that is left at x.
fn distance(
    a: &FftDesignMatrix<f32>,
    weighted_data: &Vec<f32>,
    weights: &Vec<f32>,
    x: &[f64],
    p: &dyn Preconditioner,
) -> Result<f64, Box<dyn Error>> {
    let mut workspace = a.workspace()?;
    let mut residual = a.zeros()?;
    a.apply(x, &mut residual, &mut workspace)?;
    residual.multiply(weights)?;
    residual.axpby(1.0, weighted_data, -1.0)?;
    let (mut g, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    a.apply_adjoint(&residual, &mut g, &mut workspace)?;
    p.solve(&g, &mut z);
    Ok(g.iter().zip(&z).map(|(g, z)| g * z).sum::<f64>().sqrt())
}
