//! A x, Aᵀ y, AᵀW A x and the robust gradient against one global FFT convolution of the same image on one thread; also on the first GPU, if there
//! is one, or on the device that DIA_BENCH_DEVICE names.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod brief;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dia_benches::{Field, Yardstick};
use dia_core::{DesignMatrix, Loss, Noise, Photon};
use dia_fft::FftDesignMatrix;
use dia_solvers::Prepared;
use dia_vulkan::{ContextOptions, DeviceChoice, VulkanContext, VulkanDesignMatrix};
use rayon::ThreadPool;

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// Half-widths with degrees of variation.
const KERNELS: [(usize, usize); 5] = [(2, 0), (3, 0), (9, 0), (15, 0), (9, 2)];

fn products(criterion: &mut Criterion) {
    let device = device();
    for side in [512, 1024] {
        let field = Field::simulate(side);
        let mut group = criterion.benchmark_group(format!("products {side}²"));
        group.sample_size(20).throughput(Throughput::Elements((side * side) as u64));
        let mut yardstick = Yardstick::new(side);
        group.bench_function("global convolution of two packed images", |b| {
            b.iter(|| yardstick.run());
        });
        for (half_width, degree) in KERNELS {
            let prepared = field.prepare_varying(half_width, degree, false);
            let kernel = match degree {
                0 => format!("{}²", 2 * half_width + 1),
                _ => format!("{}², degree {degree}", 2 * half_width + 1),
            };
            let (reference, design) = (prepared.reference(), prepared.design());
            let a = FftDesignMatrix::new(reference, design.clone()).unwrap();
            for threads in [1, 2] {
                let place = format!("{threads} threads");
                each(&mut group, &pool(threads), &place, &kernel, &a, &field, &prepared);
            }
            if let Some(device) = &device {
                let a = VulkanDesignMatrix::new(device, reference, design.clone()).unwrap();
                each(&mut group, &pool(1), &device.device().name, &kernel, &a, &field, &prepared);
            }
        }
    }
}

fn each<A>(
    group: &mut Group<'_>,
    pool: &ThreadPool,
    place: &str,
    kernel: &str,
    a: &A,
    field: &Field,
    prepared: &Prepared<'_, f32>,
) where
    A: DesignMatrix<Pixel = f32>,
{
    let mut workspace = a.workspace().unwrap();
    let weights = Field::weights(prepared);
    let variance = weights.iter().map(|w| w.recip()).collect();
    let noise =
        Noise { fixed: a.upload(variance).unwrap(), photon: Photon::Uniform(0.0), reference: None };
    let (weights, data) = (a.upload(weights).unwrap(), a.upload(field.data(prepared)).unwrap());
    let x: Vec<f64> = (0..a.ncols()).map(|k| (k as f64).sin()).collect();
    let (mut y, mut g) = (a.zeros().unwrap(), vec![0.0; a.ncols()]);
    let id = |product: &str| BenchmarkId::new(format!("{product}, {place}"), kernel);
    group.bench_function(id("A x"), |b| {
        b.iter(|| pool.install(|| a.apply(black_box(&x), &mut y, &mut workspace).unwrap()));
    });
    group.bench_function(id("Aᵀ y"), |b| {
        b.iter(|| pool.install(|| a.apply_adjoint(&data, &mut g, &mut workspace).unwrap()));
    });
    group.bench_function(id("AᵀWA x"), |b| {
        b.iter(|| {
            pool.install(|| {
                a.apply_normal(black_box(&x), &weights, &mut g, &mut y, &mut workspace).unwrap();
            });
        });
    });
    group.bench_function(id("robust gradient"), |b| {
        b.iter(|| {
            pool.install(|| {
                let (x, loss) = (black_box(&x), Loss::HUBER);
                a.robust_gradient(x, &data, &noise, loss, &mut g, &mut workspace).unwrap();
            });
        });
    });
}

/// The device to measure beside the CPU: a software device only by its name.
fn device() -> Option<Arc<VulkanContext>> {
    let named = std::env::var("DIA_BENCH_DEVICE").ok();
    let choice = match &named {
        Some(name) => name.parse().expect("DIA_BENCH_DEVICE is an index or a name"),
        None => DeviceChoice::Auto,
    };
    match VulkanContext::open(&choice, ContextOptions::default()) {
        Ok(device) => Some(device),
        Err(error) => {
            assert!(named.is_none(), "DIA_BENCH_DEVICE: {error}");
            eprintln!("products on a GPU are not measured: {error}");
            None
        }
    }
}

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

criterion_group!(name = benches; config = brief::brief(); targets = products);
criterion_main!(benches);
