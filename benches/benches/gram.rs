//! Weighted Gram matrices: of the sampled rows and of all rows, beside the matrix product that they are made of.
//!
//! Throughput counts flop: 2 n² K for the product of an n × K matrix with its transpose, n (n + 1) per row for a Gram matrix. "Gelem/s" is
//! Gflop/s.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod brief;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dia_benches::Field;
use dia_core::{LinearOperator, Pixel};
use dia_solvers::{DesignRows, GramPrecision, RowSample};
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, Mat, Par};

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

const PRECISIONS: [GramPrecision; 2] = [GramPrecision::Double, GramPrecision::Single];

fn gram(criterion: &mut Criterion) {
    let field = Field::simulate(1024);
    let prepared = field.prepare(9, false);
    let rows = DesignRows::new(prepared.design(), prepared.reference());
    let n = prepared.design().ncols();
    let per_row = (n * (n + 1)) as u64;

    let mut group = criterion.benchmark_group(format!("faer's product, n = {n}, K = 256"));
    product::<f64>(&mut group, n, "f64");
    product::<f32>(&mut group, n, "f32");
    group.finish();

    let sample = RowSample::draw(&prepared, 30 * n, 0);
    let weights: Vec<f64> = sample.rows().iter().map(|i| prepared.initial_weight(*i)).collect();
    let gathered = sample.gather(&rows);
    let mut group = criterion.benchmark_group("sampled Gram, 1024²");
    group.sample_size(20);
    for threads in [1, 2] {
        let pool = rayon_pool(threads);
        let id = |name: &str| BenchmarkId::new(name, format!("{threads} threads"));
        group.throughput(Throughput::Elements((prepared.design().nrows()) as u64));
        group.bench_function(id("draw (pixels)"), |b| {
            b.iter(|| pool.install(|| RowSample::draw(&prepared, 30 * n, 0)));
        });
        group.throughput(Throughput::Bytes((gathered.nrows() * n * size_of::<f32>()) as u64));
        group.bench_function(id("gather"), |b| {
            b.iter(|| pool.install(|| sample.gather(&rows)));
        });
        products(&mut group, &pool, &gathered, threads);
        group.throughput(Throughput::Elements(per_row * sample.rows().len() as u64));
        for precision in PRECISIONS {
            group.bench_function(id(&format!("{precision:?}, rows written on the way")), |b| {
                let select = |i: usize| (sample.rows()[i], weights[i]);
                b.iter(|| pool.install(|| rows.gram(weights.len(), precision, select)));
            });
            group.bench_function(id(&format!("{precision:?}, rows gathered before")), |b| {
                b.iter(|| pool.install(|| gathered.gram(&weights, precision)));
            });
        }
        group.bench_function(id("factor"), |b| {
            b.iter(|| pool.install(|| sample.factor(&rows, &weights).unwrap()));
        });
    }
    group.finish();

    let field = Field::simulate(512);
    let prepared = field.prepare(9, false);
    let rows = DesignRows::new(prepared.design(), prepared.reference());
    let weights: Vec<f64> =
        (0..prepared.design().nrows()).map(|i| prepared.initial_weight(i)).collect();
    let mut group = criterion.benchmark_group("full Gram, 512²");
    group.sample_size(10).throughput(Throughput::Elements(per_row * prepared.used_pixels() as u64));
    for threads in [1, 2] {
        let pool = rayon_pool(threads);
        for precision in PRECISIONS {
            let id = BenchmarkId::new(format!("{precision:?}"), format!("{threads} threads"));
            group.bench_function(id, |b| {
                b.iter(|| pool.install(|| rows.normal_matrix(&weights, precision)));
            });
        }
    }
}

/// C ← B Bᵀ with an n × 256 matrix B, all elements of C, on one thread.
fn product<T: Pixel + ComplexField>(group: &mut Group<'_>, n: usize, name: &str) {
    let depth = 256;
    let b = Mat::from_fn(n, depth, |i, j| T::narrow(((i * 7919 + j * 31) % 1009) as f64 / 504.0));
    let mut c = Mat::<T>::zeros(n, n);
    group.throughput(Throughput::Elements((2 * n * n * depth) as u64));
    group.bench_function(name, |bench| {
        let one = T::narrow(1.0);
        bench.iter(|| {
            matmul(c.as_mut(), Accum::Replace, &b, b.transpose(), one, Par::Seq);
        });
    });
}

/// A x, Aᵀ y and AᵀWA x of the sampled rows; bytes are those of the matrix, read once.
fn products(
    group: &mut Group<'_>,
    pool: &rayon::ThreadPool,
    a: &dia_solvers::SampledRows<f32>,
    threads: usize,
) {
    let id = |name: &str| BenchmarkId::new(name, format!("{threads} threads"));
    let x: Vec<f64> = (0..a.ncols()).map(|k| (k as f64).cos()).collect();
    let (weights, mut y, mut g) = (vec![1.0; a.nrows()], a.zeros().unwrap(), vec![0.0; a.ncols()]);
    let mut workspace = a.workspace().unwrap();
    group.bench_function(id("A x"), |b| {
        b.iter(|| pool.install(|| a.apply(&x, &mut y, &mut workspace).unwrap()));
    });
    group.bench_function(id("Aᵀ y"), |b| {
        b.iter(|| pool.install(|| a.apply_adjoint(&y, &mut g, &mut workspace).unwrap()));
    });
    group.bench_function(id("AᵀWA x"), |b| {
        b.iter(|| {
            pool.install(|| a.apply_normal(&x, &weights, &mut g, &mut y, &mut workspace).unwrap());
        });
    });
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

criterion_group!(name = benches; config = brief::brief(); targets = gram);
criterion_main!(benches);
