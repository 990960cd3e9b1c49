//! A x, Aᵀ y and AᵀW A x against one global FFT convolution of the same image on one thread.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dia_benches::Field;
use dia_core::LinearOperator;
use dia_fft::FftDesignMatrix;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

fn products(criterion: &mut Criterion) {
    for side in [512, 1024] {
        let field = Field::simulate(side);
        let mut group = criterion.benchmark_group(format!("products {side}²"));
        group.sample_size(20).throughput(Throughput::Elements((side * side) as u64));
        global_convolution(&mut group, side);
        for half_width in [3, 9, 15] {
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

/// Forward transform, multiplication and inverse transform of two real images packed as one complex one, per image.
fn global_convolution(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    side: usize,
) {
    let mut planner = FftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(side), planner.plan_fft_inverse(side));
    let mut plane = vec![Complex::new(1.0_f32, 0.5); side * side];
    let mut turned = plane.clone();
    let transfer = plane.clone();
    let mut scratch = vec![
        Complex::default();
        forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len())
    ];
    group.bench_function("global convolution of two packed images", |b| {
        b.iter(|| {
            forward.process_with_scratch(&mut plane, &mut scratch);
            turn(side, &plane, &mut turned);
            forward.process_with_scratch(&mut turned, &mut scratch);
            turned.iter_mut().zip(&transfer).for_each(|(z, k)| *z = *z * k * 1e-6);
            inverse.process_with_scratch(&mut turned, &mut scratch);
            turn(side, &turned, &mut plane);
            inverse.process_with_scratch(&mut plane, &mut scratch);
        });
    });
}

fn turn(side: usize, from: &[Complex<f32>], to: &mut [Complex<f32>]) {
    const BLOCK: usize = 16;
    for y0 in (0..side).step_by(BLOCK) {
        for x0 in (0..side).step_by(BLOCK) {
            for y in y0..y0 + BLOCK {
                for x in x0..x0 + BLOCK {
                    to[x * side + y] = from[y * side + x];
                }
            }
        }
    }
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

criterion_group!(benches, products);
criterion_main!(benches);
