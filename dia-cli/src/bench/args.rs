//! The options of `dia bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::method::{BenchLoss, Method};
use crate::args::{LossArg, SolverArg, positive};
use crate::backend::Backend;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Benchmark {
    /// Fit quality and photometric accuracy on the simulated pairs of Hitchcock et al. (2021), as Markdown tables beside the
    /// published values
    Accuracy(AccuracyArgs),
    /// Iterative and direct solvers on one grid of problems: times, memory, distance from the minimum, cost models and figures
    Solvers(SolversArgs),
    /// The same simulated pairs through other installed tools: hotpants, sfft and PyTorchDIA
    Peers(PeersArgs),
    /// One measurement of `solvers`, in a process of its own
    #[command(hide = true)]
    SolverCase(SolverCaseArgs),
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub(crate) struct SolversArgs {
    /// Sides of the square images in pixels [default, if any list is given: 512; otherwise the grid of BENCHMARKS.md]
    #[arg(long, value_name = "PX,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(32..=20_000))]
    pub(crate) sizes: Option<Vec<u32>>,
    /// Half-widths of the square delta kernel in pixels [default, if any list is given: 9]
    #[arg(long, value_name = "PX,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) half_widths: Option<Vec<u32>>,
    /// Degrees of the kernel's variation over the image [default, if any list is given: 0]
    #[arg(long, value_name = "D,…", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(0..=dia_core::MAX_VARIATION as i64))]
    pub(crate) degrees: Option<Vec<u32>>,
    /// Methods [default, if any list is given: all]
    #[arg(long, value_enum, value_name = "METHOD,…", value_delimiter = ',')]
    pub(crate) methods: Option<Vec<Method>>,
    /// What is minimised [default, if any list is given: both]
    #[arg(long, value_enum, value_name = "LOSS,…", value_delimiter = ',')]
    pub(crate) losses: Option<Vec<BenchLoss>>,
    /// Numbers of threads [default, if any list is given: 1 and all cores]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<Vec<u16>>,
    /// Where products are computed, each as `--backend` takes it [default: cpu; in the grid of BENCHMARKS.md every GPU, too]
    #[arg(long, value_name = "BACKEND,…", value_delimiter = ',')]
    pub(crate) backends: Option<Vec<Backend>>,
    /// Runs of which the median counts; those above two seconds are run once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeats: u16,
    /// Distance from the minimum, in σ, at which methods end that can tell it
    #[arg(long, value_name = "SIGMA", default_value_t = 0.01, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) tolerance: f64,
    /// Seconds that one measurement may take; beyond them it is a row that says so
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) limit: f64,
    /// Seconds that the first-order baseline may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) baseline_limit: f64,
    /// Measure the way to the minimum of every case, too
    #[arg(long)]
    pub(crate) curves: bool,
    /// A small grid, in under a minute
    #[arg(long, conflicts_with_all = ["sizes", "half_widths", "degrees", "methods", "losses", "threads"])]
    pub(crate) quick: bool,
    /// Seed of the simulated pairs
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for results, tables and figures; measurements that it holds already are not made again
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Make all measurements again
    #[arg(long, requires = "output")]
    pub(crate) fresh: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SolverCaseArgs {
    /// The case as JSON
    pub(crate) case: String,
    /// Folder of the pair
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// Side of the square images in pixels
    #[arg(long, value_name = "PX", default_value_t = 512, value_parser = clap::value_parser!(u32).range(64..=20_000))]
    pub(crate) size: u32,
    /// Simulated pairs; numbers are medians over them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) pairs: u16,
    /// Half-width of the kernel in pixels, for all tools
    #[arg(long, value_name = "PX", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) half_width: u32,
    /// Python in which sfft, or torch and PyTorchDIA, can be imported
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub(crate) python: PathBuf,
    /// Folder of PyTorchDIA.py, if it is not on Python's path
    #[arg(long, value_name = "DIR")]
    pub(crate) pytorchdia: Option<PathBuf>,
    /// Number of threads for the tools that take one [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Seconds that one subtraction may take; beyond them it is a row that says so
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) limit: f64,
    /// Seed of the first pair
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the results as JSON
    #[arg(short, long, value_name = "FILE.json")]
    pub(crate) output: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AccuracyArgs {
    /// Pairs of images in each of the twelve regimes
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) pairs: u32,
    /// Four pairs in each regime
    #[arg(long, conflicts_with = "pairs")]
    pub(crate) quick: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Fit the pixels at which the kernel lies inside the reference, or all pixels of a reference padded with zeros, as published
    #[arg(long, value_enum, default_value_t = EdgesArg::Both)]
    pub(crate) edges: EdgesArg,
    /// What is minimised, each with each solver; `clip` is least squares, pixels beyond 5 σ rejected after each of three fits
    #[arg(long, value_enum, value_name = "LOSS,…", value_delimiter = ',', default_values_t = LossArg::ALL)]
    pub(crate) losses: Vec<LossArg>,
    /// Linear solvers: pcg and lsqr in single precision, cholesky in double
    #[arg(long, value_enum, value_name = "SOLVER,…", value_delimiter = ',', default_values_t = [SolverArg::Pcg])]
    pub(crate) solvers: Vec<SolverArg>,
    /// Write the results as JSON
    #[arg(short, long, value_name = "FILE.json")]
    pub(crate) output: Option<PathBuf>,
    /// Number of threads [default: all cores]; the result is the same, bit for bit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EdgesArg {
    Valid,
    Padded,
    Both,
}
