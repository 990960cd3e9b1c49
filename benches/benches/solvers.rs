//! Preconditioners, factors and linear solvers: set-up, one application, and ten iterations with weights of photon noise.
//!
//! Iterations are fixed, so that their time does not depend on when a method stops. Throughput counts the pixels of the image, times ten
//! for ten iterations.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod brief;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dia_benches::Field;
use dia_core::{DataVector, LinearOperator};
use dia_fft::{FftDesignMatrix, autocorrelation};
use dia_solvers::{
    CgOptions, CgWorkspace, Cholesky, DesignRows, GramPrecision, Identity, Jacobi, LsqrOptions,
    LsqrWorkspace, NormalOperator, NormalWorkspace, Preconditioner, RowSample, Weighted,
    autocorrelation_gram, cg, lsqr,
};

const SIDE: usize = 512;
const HALF_WIDTH: usize = 9;
const ITERATIONS: usize = 10;

fn solvers(criterion: &mut Criterion) {
    let field = Field::simulate(SIDE);
    let prepared = field.prepare(HALF_WIDTH, false);
    let design = prepared.design();
    let a = FftDesignMatrix::new(prepared.reference(), design.clone()).unwrap();
    let rows = DesignRows::new(design, prepared.reference());
    let (n, weights) = (a.ncols(), Field::weights(&prepared));
    let all: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
    let pixels = prepared.reference().pixels();
    let mean = pixels.iter().map(|r| f64::from(*r)).sum::<f64>() / pixels.len() as f64;
    let mean_weight = all.iter().sum::<f64>() / all.len() as f64;

    let uniform = || {
        let lags = autocorrelation(prepared.reference(), 2 * design.half_width());
        autocorrelation_gram(design, &lags, mean, mean_weight).unwrap()
    };
    let sampled = || {
        let sample = RowSample::draw(&prepared, 30 * n, 0);
        let weights: Vec<f64> = sample.rows().iter().map(|i| all[*i]).collect();
        sample.factor(&rows, &weights).unwrap()
    };
    // Σ w R², the diagonal of the kernel's part, by one product with the operator of R².
    let squares = prepared.reference().to_owned().map(|r| r * r);
    let diagonal = || {
        let a = FftDesignMatrix::new(squares.view(), design.of_variance()).unwrap();
        let mut moments = vec![0.0; a.ncols()];
        a.apply_adjoint(&weights, &mut moments, &mut a.workspace().unwrap()).unwrap();
        moments.resize(n, all.iter().sum());
        Jacobi::new(&moments)
    };
    let direct = |precision| Cholesky::new(&rows.normal_matrix(&all, precision)).unwrap();

    let mut group = criterion.benchmark_group(format!("set-up, {SIDE}², n = {n}"));
    group.sample_size(10).throughput(Throughput::Elements((SIDE * SIDE) as u64));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let id = |name: &str| BenchmarkId::new(name, format!("{threads} threads"));
        group.bench_function(id("Jacobi"), |b| b.iter(|| pool.install(diagonal)));
        group.bench_function(id("autocorrelation Gram"), |b| b.iter(|| pool.install(uniform)));
        group.bench_function(id("sampled Gram"), |b| b.iter(|| pool.install(sampled)));
        for precision in [GramPrecision::Single, GramPrecision::Double] {
            group.bench_function(id(&format!("Cholesky of all rows, {precision:?}")), |b| {
                b.iter(|| pool.install(|| direct(precision)));
            });
        }
    }
    group.finish();

    let preconditioners: [(&str, Box<dyn Preconditioner>); 4] = [
        ("none", Box::new(Identity(n))),
        ("Jacobi", Box::new(diagonal())),
        ("autocorrelation Gram", Box::new(uniform())),
        ("sampled Gram", Box::new(sampled())),
    ];
    let (mut g, mut z) = (vec![0.0; n], vec![0.0; n]);
    let mut data = field.data(&prepared);
    data.multiply(&weights).unwrap();
    a.apply_adjoint(&data, &mut g, &mut a.workspace().unwrap()).unwrap();
    let mut group = criterion.benchmark_group(format!("P⁻¹ r, n = {n}"));
    for (name, p) in &preconditioners {
        group.bench_function(*name, |b| b.iter(|| p.solve(black_box(&g), &mut z)));
    }
    group.finish();

    let mut sqrt_weights = a.zeros().unwrap();
    sqrt_weights.square_root_of(&weights).unwrap();
    let mut whitened = field.data(&prepared);
    whitened.multiply(&sqrt_weights).unwrap();
    let h = NormalOperator { operator: &a, weights: &weights };
    let operator = Weighted { inner: &a, sqrt_weights: &sqrt_weights };
    let mut group = criterion.benchmark_group(format!("{ITERATIONS} iterations, {SIDE}², n = {n}"));
    group.sample_size(20).throughput(Throughput::Elements((ITERATIONS * SIDE * SIDE) as u64));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = CgOptions { tolerance: 0.0, relative: 0.0, max_iterations: ITERATIONS };
        let (mut workspace, mut memory) =
            (CgWorkspace::new(n), pool.install(|| NormalWorkspace::new(&a)).unwrap());
        for (name, p) in &preconditioners {
            let id = BenchmarkId::new(format!("CG, {name}"), format!("{threads} threads"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    pool.install(|| {
                        cg(&h, &**p, &g, &mut z, &options, &mut workspace, &mut memory).unwrap()
                    })
                });
            });
        }
        let options = LsqrOptions {
            tolerance: 0.0,
            atol: 0.0,
            btol: 0.0,
            condition_limit: f64::INFINITY,
            max_iterations: ITERATIONS,
            ..LsqrOptions::default()
        };
        let mut memory = pool.install(|| LsqrWorkspace::new(&operator)).unwrap();
        let id = BenchmarkId::new("LSQR, sampled Gram", format!("{threads} threads"));
        let p = &preconditioners[3].1;
        group.bench_function(id, |b| {
            b.iter(|| {
                pool.install(|| {
                    lsqr(&operator, &**p, &whitened, &mut z, &options, &mut memory).unwrap()
                })
            });
        });
    }
}

criterion_group!(name = benches; config = brief::brief(); targets = solvers);
criterion_main!(benches);
