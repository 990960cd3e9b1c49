//! Difference images from FITS files: the library behind the `dia` command.
//!
//! [`subtract()`] takes two [`Input`]s, read from FITS files or made of arrays in memory, and a [`SubtractRequest`], whose default
//! is what `dia subtract` does; a [`Subtraction`] is planes, solution and report. The layer of [FITS files](fits) is public.
//! The command wires all of it together and alone knows terminals and command lines; each subcommand has its file.

mod align;
mod args;
mod backend;
mod bench;
mod command;
mod defects;
mod demo;
mod detector;
mod devices;
mod direction;
mod error;
mod figure;
pub mod fits;
mod info;
mod input;
mod interrupt;
mod linear;
mod matched_filter;
mod notice;
mod output;
mod planes;
mod quality_bits;
mod report;
mod request;
mod simulate;
mod subtract;
mod subtraction;
mod terminal;
mod turn;
mod verdict;
mod world_coordinates;

pub use backend::{Backend, OnDevice};
pub use error::Error;
pub use input::{Input, InputOptions, NumberOrKeyword, Real, Role};
pub use notice::Level;
pub use planes::{MaskBits, Uncertainty};
pub use report::Report;
pub use request::{Align, Basis, Convolve, HalfWidth, KernelDegree, Precision, SubtractRequest};
pub use subtraction::{Event, Subtraction, subtract};

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

/// Runs the command with the arguments of this process.
///
/// Exit codes are 0 for success, 1 for failure, 2 for wrong usage and 3 for a result that its verdict says not to use.
pub fn command_line() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = interrupt::clean_up() {
        eprintln!("dia: error: cannot listen to signals: {error}");
        return ExitCode::FAILURE;
    }
    let command_line: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let result = match &cli.command {
        Command::Subtract(args) => subtract::run(args, &command_line),
        Command::Simulate(args) => simulate::run(args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(args, &command_line).map(|()| ExitCode::SUCCESS),
        Command::Info(args) => info::run(args).map(|()| ExitCode::SUCCESS),
        Command::Devices => devices::run().map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        // Who reads our output may close it early, as `head` does.
        Err(error) if terminal::reader_has_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dia: error: {}", terminal::chain(&error));
            ExitCode::FAILURE
        }
    }
}
