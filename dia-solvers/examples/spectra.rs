//! A problem without images: `cargo run --release -p dia-solvers --example spectra`.
//!
//! Many exposures of a star are explained by one template spectrum. Exposure e sees it shifted by the star's radial velocity v_e of that night and scaled by the night's throughput t_e,
//! so that pixel i of it is t_e T(i + v_e), T interpolated linearly between its nodes. Velocities and throughputs are known here; the template is what is sought: a linear problem
//! whose matrix has two numbers in a row, and which nobody would write down. Some pixels are hit by cosmic rays.
//!
//! The operator is the two products below. PCG and LSQR find the least-squares template, and `irls` the robust one; both are compared with dense matrices.

use std::error::Error;

use dia_core::{LinearOperator, Loss, OperatorError};
use dia_solvers::{
    CgOptions, CgWorkspace, Cholesky, IrlsOptions, Jacobi, LsqrOptions, LsqrWorkspace,
    NormalOperator, NormalWorkspace, Weighted, cg, irls, lsqr, normal_matrix,
};
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Pixels of an exposure.
const PIXELS: usize = 400;

/// Nodes of the template: shifts of up to 10 pixels to either side stay inside.
const NODES: usize = PIXELS + 20;

/// Shift in pixels and throughput of each exposure.
struct Exposures(Vec<(f64, f64)>);

impl Exposures {
    /// The node to the left of pixel i of an exposure, and the way to the next.
    fn place(shift: f64, i: usize) -> (usize, f64) {
        let place = i as f64 + 10.0 + shift;
        (place as usize, place.fract())
    }
}

impl LinearOperator for Exposures {
    type Data = Vec<f64>;
    type Workspace = ();

    fn nrows(&self) -> usize {
        self.0.len() * PIXELS
    }

    fn ncols(&self) -> usize {
        NODES
    }

    fn workspace(&self) -> Result<(), OperatorError> {
        Ok(())
    }

    fn zeros(&self) -> Result<Vec<f64>, OperatorError> {
        Ok(vec![0.0; self.nrows()])
    }

    fn apply(&self, x: &[f64], y: &mut Vec<f64>, (): &mut ()) -> Result<(), OperatorError> {
        for ((shift, throughput), exposure) in self.0.iter().zip(y.chunks_exact_mut(PIXELS)) {
            for (i, value) in exposure.iter_mut().enumerate() {
                let (node, way) = Self::place(*shift, i);
                *value = throughput * ((1.0 - way) * x[node] + way * x[node + 1]);
            }
        }
        Ok(())
    }

    fn apply_adjoint(&self, y: &Vec<f64>, x: &mut [f64], (): &mut ()) -> Result<(), OperatorError> {
        x.fill(0.0);
        for ((shift, throughput), exposure) in self.0.iter().zip(y.chunks_exact(PIXELS)) {
            for (i, value) in exposure.iter().enumerate() {
                let (node, way) = Self::place(*shift, i);
                x[node] += throughput * (1.0 - way) * value;
                x[node + 1] += throughput * way * value;
            }
        }
        Ok(())
    }
}

/// A continuum with absorption lines.
fn template(node: usize) -> f64 {
    let line =
        |centre: f64, depth: f64| depth * (-0.5 * ((node as f64 - centre) / 3.0).powi(2)).exp();
    1000.0 - line(90.0, 600.0) - line(200.0, 300.0) - line(260.0, 750.0) - line(330.0, 150.0)
}

/// A dense least-squares solution with weights, the slow way: the normal matrix from columns that were written down.
fn dense(a: &Exposures, weights: &[f64], b: &[f64]) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut columns = vec![vec![0.0; a.nrows()]; NODES];
    for (e, (shift, throughput)) in a.0.iter().enumerate() {
        for i in 0..PIXELS {
            let (node, way) = Exposures::place(*shift, i);
            columns[node][e * PIXELS + i] += throughput * (1.0 - way);
            columns[node + 1][e * PIXELS + i] += throughput * way;
        }
    }
    let dot = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).zip(weights).map(|((x, y), w)| w * x * y).sum()
    };
    let h = faer::Mat::from_fn(NODES, NODES, |i, j| dot(&columns[i], &columns[j]));
    let mut x: Vec<f64> = columns.iter().map(|column| dot(column, b)).collect();
    Cholesky::new(&h)?.solve_in_place(&mut x);
    Ok(x)
}

fn largest(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let exposure = |e: u32| (0.66 * f64::from(e) - 9.9, 0.5 + random.random::<f64>());
    let a = Exposures((0..=30).map(exposure).collect());
    let truth: Vec<f64> = (0..NODES).map(template).collect();
    let mut b = a.zeros()?;
    a.apply(&truth, &mut b, &mut ())?;
    // Photon noise at a gain of one, and a cosmic ray in a hundredth of the pixels.
    let variance: Vec<f64> = b.iter().map(|light| light + 25.0).collect();
    for (value, variance) in b.iter_mut().zip(&variance) {
        let noise: f64 = StandardNormal.sample(&mut random);
        *value += variance.sqrt() * noise;
        if random.random::<f64>() < 0.01 {
            *value += 5000.0 * random.random::<f64>();
        }
    }
    let weights: Vec<f64> = variance.iter().map(|variance| variance.recip()).collect();
    let written_down = dense(&a, &weights, &b)?;

    // Least squares by conjugate gradients on AᵀWA, with its diagonal as preconditioner. Outermost nodes are seen by few exposures.
    let h = normal_matrix(&a, &weights)?;
    let diagonal: Vec<f64> = (0..NODES).map(|j| h[(j, j)]).collect();
    let jacobi = Jacobi::new(&diagonal);
    let weighted: Vec<f64> = b.iter().zip(&weights).map(|(b, w)| b * w).collect();
    let (mut g, mut x) = (vec![0.0; NODES], vec![0.0; NODES]);
    a.apply_adjoint(&weighted, &mut g, &mut ())?;
    let options = CgOptions { tolerance: 1e-9, ..Default::default() };
    let normal = NormalOperator { operator: &a, weights: &weights };
    let (mut workspace, mut memory) = (CgWorkspace::new(NODES), NormalWorkspace::new(&a)?);
    let outcome = cg(&normal, &jacobi, &g, &mut x, &options, &mut workspace, &mut memory)?;
    let off = largest(&x, &written_down);
    println!(
        "PCG:  {} after {} iterations, {off:.1e} from the dense solution",
        outcome.stop, outcome.iterations
    );

    // The same by LSQR on W^½A, which never forms AᵀWA.
    let sqrt_weights: Vec<f64> = weights.iter().map(|w| w.sqrt()).collect();
    let whitened: Vec<f64> = b.iter().zip(&sqrt_weights).map(|(b, w)| b * w).collect();
    let operator = Weighted { inner: &a, sqrt_weights: &sqrt_weights };
    let options = LsqrOptions { tolerance: 1e-9, ..Default::default() };
    let mut workspace = LsqrWorkspace::new(&operator)?;
    let outcome = lsqr(&operator, &jacobi, &whitened, &mut x, &options, &mut workspace)?;
    let off = largest(&x, &written_down);
    println!(
        "LSQR: {} after {} iterations, {off:.1e} from the dense solution",
        outcome.stop, outcome.iterations
    );

    // Robust: cosmic rays lose their weight.
    let preconditioner = |weights: &Vec<f64>| Cholesky::new(&normal_matrix(&a, weights)?);
    let mut robust = vec![0.0; NODES];
    let options = IrlsOptions { loss: Loss::HUBER, ..Default::default() };
    let outcome = irls(&a, &b, variance.clone(), preconditioner, &mut robust, &options)?;
    // With the weights that belong to it, the robust solution is that of dense least squares.
    let mut model = a.zeros()?;
    a.apply(&robust, &mut model, &mut ())?;
    let residuals = b.iter().zip(&model).zip(&variance).map(|((b, m), v)| (b - m) / v.sqrt());
    let reweighted: Vec<f64> =
        residuals.zip(&weights).map(|(z, w)| w * Loss::HUBER.weight(z)).collect();
    let again = dense(&a, &reweighted, &b)?;
    let off = largest(&robust, &again);
    println!(
        "IRLS: {} after {} passes, {off:.1e} from the dense solution of its weights",
        outcome.stop, outcome.iterations
    );

    // Where all exposures see the template.
    let inside = 20..NODES - 20;
    let [plain, robust] = [&x, &robust].map(|x| {
        let squares = inside.clone().map(|k| (x[k] - truth[k]).powi(2));
        (squares.sum::<f64>() / inside.len() as f64).sqrt()
    });
    println!(
        "error of the template: {plain:.1} by least squares, {robust:.1} robust, for a continuum of 1000"
    );
    if robust > 0.5 * plain {
        return Err("the robust template should be at least twice as good".into());
    }
    Ok(())
}
