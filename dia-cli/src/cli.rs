//! The command line: which subcommand runs, and how it ends.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::args::{AlignArgs, DemoArgs, InfoArgs, SimulateArgs, SubtractArgs};
use crate::bench::{self, BenchArgs};
use crate::night::{self, LightCurvesArgs, NightArgs};
use crate::photometry::{self, DetectArgs, PhotometryCommandArgs};
use crate::reference::{self, ReferenceArgs};
use crate::shell::{self, CompletionsArgs, ManArgs};
use crate::{align, demo, devices, hotpants, info, interrupt, simulate, subtract, terminal};

/// Difference image analysis: fit the kernel and background that turn a reference image into a target image, and subtract.
#[derive(Debug, Parser)]
#[command(name = "dia", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Subtract a reference image, convolved to match, from a target image
    Subtract(Box<SubtractArgs>),
    /// Find how a target lies against a reference, and write the map between their pixels
    Align(Box<AlignArgs>),
    /// Find what changed, on a difference that was written before
    Detect(Box<DetectArgs>),
    /// Measure fluxes at given places, on a difference that was written before
    Photometry(Box<PhotometryCommandArgs>),
    /// Make a deep reference of the best of many frames
    Reference(Box<ReferenceArgs>),
    /// Subtract a reference from many targets, and follow what changes: differences, detections, light curves and a page to look at
    Night(Box<NightArgs>),
    /// Light curves at further places, on what dia night has left
    Lightcurves(Box<LightCurvesArgs>),
    /// Simulate a pair of images with stars, variables, transients and defects, and write the truth beside them
    Simulate(Box<SimulateArgs>),
    /// Simulate a pair, subtract it, and compare what is found with the truth
    Demo(Box<DemoArgs>),
    /// Say what was understood of a FITS file
    Info(InfoArgs),
    /// List the Vulkan devices
    Devices,
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Write the pages of the manual
    Man(ManArgs),
    /// Benchmarks against a known truth
    Bench(Box<BenchArgs>),
    /// Take the command line of HOTPANTS, and write its files; the same when this program is called hotpants
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Hotpants {
        /// Its flags; without any, they are listed
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAG")]
        words: Vec<String>,
    },
}

/// Runs the command with the arguments of this process.
///
/// Exit codes are 0 for success, 1 for failure, 2 for wrong usage, 3 for a result that its verdict says not to use, and 75 for what may succeed if it is tried again.
pub fn command_line() -> ExitCode {
    run_command(std::env::args_os())
}

/// As [`command_line`], with the arguments of the caller, the first of which is the name of the command.
///
/// Wrong usage, and questions for help, end the process.
pub fn run_command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments
        .first()
        .is_some_and(|name| Path::new(name).file_stem() == Some("hotpants".as_ref()))
    {
        arguments.insert(1, "hotpants".into());
    }
    let cli = Cli::parse_from(&arguments);
    if let Err(error) = interrupt::clean_up() {
        eprintln!("dia: error: cannot listen to signals: {error}");
        return ExitCode::FAILURE;
    }
    let command_line: Vec<String> =
        arguments.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let result = match &cli.command {
        Command::Subtract(args) => subtract::run(args, &command_line),
        Command::Align(args) => align::command::run(args).map(|()| ExitCode::SUCCESS),
        Command::Detect(args) => photometry::run_detect(args),
        Command::Photometry(args) => photometry::run_photometry(args),
        Command::Reference(args) => reference::run(args, &command_line),
        Command::Night(args) => night::run(args, &command_line),
        Command::Lightcurves(args) => night::run_light_curves(args),
        Command::Simulate(args) => simulate::run(args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(args, &command_line).map(|()| ExitCode::SUCCESS),
        Command::Info(args) => info::run(args).map(|()| ExitCode::SUCCESS),
        Command::Devices => devices::run().map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => shell::completions(args).map(|()| ExitCode::SUCCESS),
        Command::Man(args) => shell::manual(args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Hotpants { words } => Ok(hotpants::run(words)),
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
