//! A x, Aᵀ y and AᵀW A x against one global FFT convolution of the same image on one thread.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dia_benches::{Field, Yardstick};
use dia_core::LinearOperator;
use dia_fft::FftDesignMatrix;

fn products(criterion: &mut Criterion) {
    for side in [512, 1024] {
        let field = Field::simulate(side);
        let mut group = criterion.benchmark_group(format!("products {side}²"));
        group.sample_size(20).throughput(Throughput::Elements((side * side) as u64));
        let mut yardstick = Yardstick::new(side);
        group.bench_function("global convolution of two packed images", |b| {
            b.iter(|| yardstick.run());
        });
        for half_width in [2, 3, 9, 15] {
            let prepared = field.prepare(half_width, false);
            let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
            let mut workspace = a.workspace().unwrap();
            let weights = Field::weights(&prepared);
            let x: Vec<f64> = (0..a.ncols()).map(|k| (k as f64).sin()).collect();
            let (mut y, mut g) = (a.zeros().unwrap(), vec![0.0; a.ncols()]);
            let mut scratch = a.zeros().unwrap();
            for threads in [1, 2] {
                let pool = rayon_pool(threads);
                let id = |product: &str| {
                    let kernel = 2 * half_width + 1;
                    BenchmarkId::new(format!("{product}, {threads} threads"), format!("{kernel}²"))
                };
                group.bench_function(id("A x"), |b| {
                    b.iter(|| pool.install(|| a.apply(black_box(&x), &mut y, &mut workspace)));
                });
                group.bench_function(id("Aᵀ y"), |b| {
                    b.iter(|| {
                        pool.install(|| a.apply_adjoint(black_box(&y), &mut g, &mut workspace))
                    });
                });
                group.bench_function(id("AᵀWA x"), |b| {
                    b.iter(|| {
                        pool.install(|| {
                            a.apply_normal(
                                black_box(&x),
                                &weights,
                                &mut g,
                                &mut scratch,
                                &mut workspace,
                            )
                        })
                    });
                });
            }
        }
    }
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

criterion_group!(benches, products);
criterion_main!(benches);
