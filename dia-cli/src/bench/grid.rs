//! Which cases are measured.

use anyhow::Result;

use super::args::SolversArgs;
use super::backend::Backend;
use super::case::Case;
use super::method::{BenchLoss, Method};

/// All combinations of the lists.
struct Sweep {
    sides: Vec<usize>,
    half_widths: Vec<usize>,
    degrees: Vec<usize>,
    losses: Vec<BenchLoss>,
    methods: Vec<Method>,
    threads: Vec<usize>,
    curve: bool,
}

const LOSSES: [BenchLoss; 2] = [BenchLoss::Gaussian, BenchLoss::Huber];

/// Those that come to the minimum in a few passes.
const FAST: [Method; 7] = [
    Method::Cholesky,
    Method::CholeskyF32,
    Method::PcgFftGram,
    Method::PcgSampledGram,
    Method::Lsqr,
    Method::FitPcg,
    Method::FitCholesky,
];

/// Those that need hundreds of products, or a normal matrix per reweighting.
const SLOW: [Method; 4] =
    [Method::PcgNone, Method::PcgJacobi, Method::AdamLbfgs, Method::CholeskyRebuilt];

/// The cases of a command line, one problem after the other.
pub(crate) fn cases(args: &SolversArgs) -> Result<Vec<Case>> {
    let all_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut threads = vec![1, all_cores];
    threads.dedup();
    let given = args.sizes.is_some()
        || args.half_widths.is_some()
        || args.degrees.is_some()
        || args.methods.is_some()
        || args.losses.is_some()
        || args.threads.is_some();
    let sweeps = if args.quick {
        quick()
    } else if given {
        vec![asked_for(args, threads)]
    } else {
        document(&threads)
    };
    let backends = match &args.backends {
        Some(choices) => Backend::all_of(choices)?,
        None if args.quick || given => vec![Backend::Cpu],
        None => Backend::cpu_and_gpus()?,
    };
    let mut cases: Vec<Case> = Vec::new();
    for sweep in &sweeps {
        for case in backends.iter().flat_map(|backend| sweep.cases(args, backend)) {
            let known =
                cases.iter_mut().find(|c| Case { curve: case.curve, ..(*c).clone() } == case);
            match known {
                Some(known) => known.curve |= case.curve,
                None => cases.push(case),
            }
        }
    }
    cases.sort_by_cached_key(|c| {
        (c.side, c.half_width, c.degree, c.loss, c.method, c.backend.clone(), c.threads)
    });
    Ok(cases)
}

fn asked_for(args: &SolversArgs, threads: Vec<usize>) -> Sweep {
    let numbers = |list: &Option<Vec<u32>>, default: usize| {
        list.as_ref().map_or(vec![default], |list| list.iter().map(|v| *v as usize).collect())
    };
    let asked = args.threads.as_ref();
    Sweep {
        sides: numbers(&args.sizes, 512),
        half_widths: numbers(&args.half_widths, 9),
        degrees: numbers(&args.degrees, 0),
        losses: args.losses.clone().unwrap_or(LOSSES.to_vec()),
        methods: args.methods.clone().unwrap_or_else(Method::all),
        threads: asked.map_or(threads, |list| list.iter().map(|t| usize::from(*t)).collect()),
        curve: args.curves,
    }
}

fn quick() -> Vec<Sweep> {
    vec![Sweep {
        sides: vec![128, 192],
        half_widths: vec![2, 4],
        degrees: vec![0],
        losses: LOSSES.to_vec(),
        methods: Method::all(),
        threads: vec![1],
        curve: true,
    }]
}

/// What BENCHMARKS.md shows.
fn document(threads: &[usize]) -> Vec<Sweep> {
    let most = threads.iter().copied().max().unwrap_or(1);
    let fast = |sides: &[usize], half_widths: &[usize], degrees: &[usize], curve| Sweep {
        sides: sides.to_vec(),
        half_widths: half_widths.to_vec(),
        degrees: degrees.to_vec(),
        losses: LOSSES.to_vec(),
        methods: FAST.to_vec(),
        threads: if curve { vec![most] } else { threads.to_vec() },
        curve,
    };
    let slow = |sides: &[usize], half_widths: &[usize], curve| Sweep {
        methods: SLOW.to_vec(),
        threads: vec![most],
        ..fast(sides, half_widths, &[0], curve)
    };
    vec![
        // Who wins where.
        fast(&[128, 256, 512, 1024], &[2, 4, 6, 9, 12], &[0], false),
        fast(&[2048], &[9], &[0], false),
        // The kernel varies.
        fast(&[512], &[4, 6], &[1, 2], false),
        // What the classical first-order methods do, and the way to the minimum.
        slow(&[256, 1024], &[9], false),
        slow(&[512], &[4, 9], true),
        fast(&[512], &[9], &[0], true),
    ]
}

impl Sweep {
    fn cases(&self, args: &SolversArgs, backend: &Backend) -> Vec<Case> {
        // A device hardly feels the threads of the host.
        let most = self.threads.iter().max().map(std::slice::from_ref).unwrap_or_default();
        let threads = if backend.is_device() { most } else { &self.threads };
        let mut cases = Vec::new();
        for &side in &self.sides {
            for &half_width in &self.half_widths {
                for &degree in &self.degrees {
                    for &loss in &self.losses {
                        for &method in &self.methods {
                            cases.extend(threads.iter().map(|&threads| Case {
                                side,
                                half_width,
                                degree,
                                loss,
                                method,
                                backend: backend.clone(),
                                threads,
                                seed: args.seed,
                                repeats: if args.quick { 1 } else { args.repeats.into() },
                                tolerance: args.tolerance,
                                limit: args.limit,
                                baseline_limit: if args.quick {
                                    args.baseline_limit.min(1.0)
                                } else {
                                    args.baseline_limit
                                },
                                curve: self.curve || args.curves,
                            }));
                        }
                    }
                }
            }
        }
        cases
    }
}
