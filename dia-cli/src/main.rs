//! `dia`: difference images from FITS files.
//!
//! The command wires the libraries together and is the only part that knows FITS files, reports and terminals. Each
//! subcommand has its file; exit codes are 0 for success, 1 for failure, 2 for wrong usage and 3 for a
//! result that its verdict says not to use.

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
mod fits;
// Not of `fits`, which test programs include by its path.
#[cfg(test)]
#[path = "fits/tests.rs"]
mod fits_tests;
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

fn main() -> ExitCode {
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
