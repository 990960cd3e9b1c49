//! Difference images from FITS files: the library behind the `dia` command.
//!
//! The command wires the numerical crates together and is the only part that knows FITS files, reports and terminals; each
//! subcommand has its file. The layer of [FITS files](fits) is public.

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
mod simulate;
mod subtract;
mod terminal;
mod turn;
mod verdict;
mod world_coordinates;

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
