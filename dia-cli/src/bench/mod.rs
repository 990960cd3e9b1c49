//! `dia bench`: benchmarks against a known truth.

mod accuracy;
mod args;
mod backend;
mod case;
mod cost_model;
mod first_order;
mod grid;
mod hitchcock2021;
mod least_squares;
mod memory;
mod method;
mod optimum;
mod peer_score;
mod peers;
mod photometry;
mod planes;
mod plots;
mod process;
mod progress;
mod published;
mod solve;
mod solver_tables;
mod solvers;
mod summary;
mod table;

use anyhow::Result;

use args::Benchmark;

pub(crate) use args::BenchArgs;

/// Runs the command.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.benchmark {
        Benchmark::Accuracy(args) => accuracy::run(args),
        Benchmark::Solvers(args) => solvers::run(args),
        Benchmark::Peers(args) => peers::run(args),
        Benchmark::SolverCase(args) => solvers::run_case(args),
    }
}
