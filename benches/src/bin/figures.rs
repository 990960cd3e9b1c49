//! The tables of ARCHITECTURE.md: `cargo run --release -p dia-benches --bin figures -- tiles|products|fits [SIDE…]`.
//!
//! Times are medians. The yardstick of a row is measured just before and after it, for machines that are shared.

use std::error::Error;
use std::time::Instant;

use dia_benches::{Field, Yardstick};
use dia_core::{Design, DesignMatrix, Image, KernelBasis, LinearOperator};
use dia_fft::{FftDesignMatrix, Method, Plan};
use dia_solvers::{FitOptions, Solver, fit};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let table = args.next().unwrap_or_default();
    let sides = args.map(|side| Ok(side.parse()?)).collect::<Result<Vec<usize>>>()?;
    let sides = |default: &[usize]| if sides.is_empty() { default.to_vec() } else { sides.clone() };
    match table.as_str() {
        "tiles" => tiles(),
        "products" => products(&sides(&[512, 1024, 2048])),
        "fits" => fits(&sides(&[512, 1024, 2048])),
        _ => Err("give the name of a table: tiles, products or fits".into()),
    }
}

/// Median time of `runs` runs in ms, after one that warms up.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

/// The time of one convolution of one image in ms.
fn yardstick(yardstick: &mut Yardstick) -> f64 {
    median(9, || yardstick.run()) / 2.0
}

fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a machine has memory for a few threads").install(work)
}

/// A plan with its operator, on an image without meaning.
struct Products {
    a: FftDesignMatrix<f32>,
    x: Vec<f64>,
    weights: Vec<f32>,
}

impl Products {
    fn new(side: usize, half_width: usize, method: Option<Method>) -> Result<Self> {
        let image = Image::from_fn(side, side, |y, x| ((y * 57 + x * 23) % 101) as f32);
        let design = Design::new(side, side, KernelBasis::delta(half_width), Some(1))?;
        let mut plan = Plan::fastest(&design)?;
        plan.method = method.unwrap_or(plan.method);
        let a = FftDesignMatrix::with_plan(&image.into(), design, plan)?;
        let x = (0..a.ncols()).map(|k| (k as f64).sin()).collect();
        let weights = vec![0.5; a.nrows()];
        Ok(Self { a, x, weights })
    }

    /// Times of A x, Aᵀ y and AᵀWA x in ms.
    fn times(&self, runs: usize) -> Result<[f64; 3]> {
        let mut workspace = self.a.workspace()?;
        let (mut y, mut scratch) = (self.a.zeros()?, self.a.zeros()?);
        let mut g = vec![0.0; self.a.ncols()];
        let convolution = median(runs, || self.a.apply(&self.x, &mut y, &mut workspace).unwrap());
        let adjoint = median(runs, || self.a.apply_adjoint(&y, &mut g, &mut workspace).unwrap());
        let normal = median(runs, || {
            self.a
                .apply_normal(&self.x, &self.weights, &mut g, &mut scratch, &mut workspace)
                .unwrap();
        });
        Ok([convolution, adjoint, normal])
    }
}

/// What AᵀWA x costs per pair of tiles of each size, and per kernel pixel by the direct method: the planner's table.
fn tiles() -> Result<()> {
    println!("| tile | AᵀWA x per pair / µs | Gflop/s |\n|---|---|---|");
    for side in Method::sides() {
        // Eight bands of four pairs for every size: the planner's unit is a whole tile.
        let (h, step) = (4, side - 8);
        let products = Products::new(8 * step + 2 * h, h, Some(Method::OverlapSave { side }))?;
        let [_, _, normal] = on_threads(1, || products.times(41).map_err(|e| e.to_string()))?;
        let (per_pair, n) = (1e3 * normal / 32.0, side as f64);
        println!("| {side}² | {per_pair:.1} | {:.1} |", 20e-3 * n * n * n.log2() / per_pair);
    }
    println!("\n| kernel | AᵀWA x / (ns per pixel and kernel pixel) | Gflop/s |\n|---|---|---|");
    for h in 1..=5 {
        let products = Products::new(1024, h, Some(Method::Direct))?;
        let [_, _, normal] = on_threads(1, || products.times(21).map_err(|e| e.to_string()))?;
        let (k, pixels) = (2 * h + 1, products.a.nrows() as f64);
        let cost = 1e6 * normal / pixels / (k * k) as f64;
        println!("| {k}² | {cost:.4} | {:.1} |", 4.0 / cost);
    }
    Ok(())
}

fn products(sides: &[usize]) -> Result<()> {
    println!(
        "| image | kernel | method | threads | A x / ms | Aᵀ y / ms | AᵀWA x / ms | Gflop/s | yardstick / ms | AᵀWA x / yardsticks |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for &side in sides {
        let mut global = Yardstick::new(side);
        for half_width in [1, 2, 3, 4, 6, 9, 12, 15, 20, 30, 40] {
            let products = Products::new(side, half_width, None)?;
            let kernel = 2 * half_width + 1;
            for threads in [1, 2] {
                let before = yardstick(&mut global);
                let [convolution, adjoint, normal] =
                    on_threads(threads, || products.times(21).map_err(|e| e.to_string()))?;
                let yardstick = 0.5 * (before + yardstick(&mut global));
                let (method, flop) = describe(&products);
                println!(
                    "| {side}² | {kernel}² | {method} | {threads} | {convolution:.2} | {adjoint:.2} | {normal:.2} | {:.0} | \
                     {yardstick:.2} | {:.2} |",
                    1e-6 * flop / normal,
                    normal / yardstick
                );
            }
        }
    }
    Ok(())
}

/// The method's name, and the flop of AᵀWA x: 4 k² per pixel, or two two-dimensional transforms of 10 N² log₂ N per pair of tiles.
fn describe(products: &Products) -> (String, f64) {
    let design = products.a.design();
    match products.a.plan().method {
        Method::Direct => {
            let kernel_pixels = design.basis().support().side().pow(2);
            ("direct".into(), 4.0 * (kernel_pixels * products.a.nrows()) as f64)
        }
        Method::OverlapSave { side } => {
            let (step, n) = (side - 2 * design.half_width(), side as f64);
            let tiles = |length: usize| length.div_ceil(step);
            let pairs = tiles(design.valid().height) * tiles(design.valid().width).div_ceil(2);
            (format!("{side}² tiles"), pairs as f64 * 20.0 * n * n * n.log2())
        }
    }
}

/// Whole robust fits: Huber's loss, noise reweighting with the reference's variance, to within 0.01 σ of the minimum.
fn fits(sides: &[usize]) -> Result<()> {
    println!(
        "| image | solver | threads | prepare / ms | spectra / ms | fit / ms | passes | products | yardstick / ms | fit / yardsticks |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for &side in sides {
        let field = Field::simulate(side);
        let mut global = Yardstick::new(side);
        for solver in [Solver::Pcg, Solver::Lsqr, Solver::Cholesky] {
            // All rows of a large image in the normal matrix: a matter of minutes.
            if solver == Solver::Cholesky && side > 1024 {
                continue;
            }
            let runs = if solver == Solver::Cholesky { 3 } else { 9 };
            for threads in [1, 2] {
                let before = yardstick(&mut global);
                let mut outcome = None;
                let [mut prepare, mut plan, mut total] = [const { Vec::new() }; 3];
                on_threads(threads, || -> std::result::Result<(), String> {
                    for _ in 0..runs {
                        let start = Instant::now();
                        let mut prepared = field.prepare(9, true);
                        prepare.push(start.elapsed());
                        let start = Instant::now();
                        let operator = |image, design| {
                            FftDesignMatrix::new(image, design).map_err(|e| e.to_string())
                        };
                        let a = operator(prepared.reference(), prepared.design().clone())?;
                        let design = prepared.design().of_variance();
                        let variance = prepared.reference_variance().expect("it was asked for");
                        let variance = operator(variance, design)?;
                        plan.push(start.elapsed());
                        let options = FitOptions { solver, ..Default::default() };
                        let start = Instant::now();
                        let fit = fit(&mut prepared, &a, Some(&variance), &options, &mut |_| ())
                            .map_err(|e| e.to_string())?;
                        total.push(start.elapsed());
                        outcome = Some(fit.outcome);
                    }
                    Ok(())
                })?;
                let yardstick = 0.5 * (before + yardstick(&mut global));
                let [prepare, plan, total] = [prepare, plan, total].map(|mut times| {
                    times.sort_unstable();
                    times[runs / 2].as_secs_f64() * 1e3
                });
                let outcome = outcome.ok_or("no run")?;
                println!(
                    "| {side}² | {} | {threads} | {prepare:.1} | {plan:.1} | {total:.1} | {} | {} | {yardstick:.2} | {:.1} |",
                    solver.name(),
                    outcome.passes,
                    outcome.products,
                    total / yardstick
                );
            }
        }
    }
    Ok(())
}
