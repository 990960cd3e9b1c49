//! Whole robust fits: Huber's loss, noise reweighting, the reference's variance, to within 0.01 σ of the minimum.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod brief;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dia_benches::Field;
use dia_fft::FftDesignMatrix;
use dia_solvers::{FitOptions, Solver, fit};

fn fits(criterion: &mut Criterion) {
    for side in [512, 1024] {
        let field = Field::simulate(side);
        let mut group = criterion.benchmark_group(format!("fits {side}², 19² kernel"));
        group.sample_size(10).throughput(Throughput::Elements((side * side) as u64));
        let prepared = field.prepare(9, true);
        let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
        let variance = FftDesignMatrix::new(
            prepared.reference_variance().unwrap(),
            prepared.design().of_variance(),
        )
        .unwrap();
        // A normal matrix of 1024² would take a minute; `dia bench solvers` has it.
        let cholesky = (side == 512).then_some(Solver::Cholesky);
        for solver in [Solver::Pcg, Solver::Lsqr].into_iter().chain(cholesky) {
            let options = FitOptions { solver, ..Default::default() };
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let id = BenchmarkId::new(solver.name(), format!("{threads} threads"));
                group.bench_function(id, |b| {
                    b.iter_batched(
                        || field.prepare(9, true),
                        |mut prepared| {
                            pool.install(|| {
                                fit(&mut prepared, &a, Some(&variance), &options, &mut |_| ())
                                    .unwrap()
                            })
                        },
                        BatchSize::LargeInput,
                    );
                });
            }
        }
    }
}

criterion_group!(name = benches; config = brief::brief(); targets = fits);
criterion_main!(benches);
