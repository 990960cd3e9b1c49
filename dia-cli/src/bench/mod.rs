//! `dia bench`: benchmarks against a known truth.

mod accuracy;
mod hitchcock2021;
mod photometry;
mod published;
mod summary;
mod table;

use anyhow::Result;

use crate::args::{BenchArgs, Benchmark};

/// Runs the command.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.benchmark {
        Benchmark::Accuracy(args) => accuracy::run(args),
    }
}
