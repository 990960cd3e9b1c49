//! The options of the command line that its subcommands share, and those of each.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "documentation comments are the help text: FILE[EXT] is no link"
)]

mod model;
mod noise;
mod simulation;

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use crate::backend::Backend;
use crate::fits::FitsSpec;
use crate::photometry::PhotometryArgs;
use crate::request::Align;

pub(crate) use model::{LossArg, ModelArgs, SolverArg};
pub(crate) use noise::NoiseArgs;
pub(crate) use simulation::{PsfArg, SimulateArgs, SimulationArgs};

#[derive(Debug, Args)]
pub(crate) struct SubtractArgs {
    /// Reference (template) image: FILE, FILE[EXT] with EXT a number or a name, or FILE[EXT][PLANE] of a cube
    pub(crate) reference: FitsSpec,

    /// Target (science) image: FILE or FILE[EXT]
    pub(crate) target: FitsSpec,

    /// Difference image to write: a FITS file of DIFFERENCE, VARIANCE, MASK, MODEL, KERNEL and LEFT_OUT; gzipped if its name ends with .gz
    #[arg(short, long, value_name = "OUT.fits")]
    pub(crate) output: PathBuf,

    /// Write a report of the fit as JSON
    #[arg(long, value_name = "REPORT.json")]
    pub(crate) report: Option<PathBuf>,

    /// Draw reference, target, model, difference, normalised residuals and kernel as PNG
    #[arg(long, value_name = "FIGURE.png")]
    pub(crate) figure: Option<PathBuf>,

    /// Write a page to look at in a browser, in one file that needs nothing else: verdict, pictures, figures of the fit, what was measured
    #[arg(long, value_name = "REPORT.html")]
    pub(crate) html: Option<PathBuf>,

    /// From which verdict on the exit code is 3, though the files are written
    #[arg(long, value_enum, default_value_t = FailOn::Fail)]
    pub(crate) fail_on: FailOn,

    #[command(flatten)]
    pub(crate) photometry: PhotometryArgs,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) noise: NoiseArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Also where something is doubtful.
    Warn,
    /// Where the result is not to be used.
    Fail,
    /// At no verdict.
    Never,
}

/// How the command runs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunArgs {
    /// Number of threads [default: all cores]; the result is the same, bit for bit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Where the products are computed: `cpu`, `vulkan[:INDEX|NAME]` with a device of `dia devices`, or `auto`, a GPU if there is one
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub(crate) backend: Backend,
    /// Memory that images and fit may take, such as 2GiB; beyond it the spectra of the reference are computed again in every pass
    /// [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<ByteSize>,
    /// Memory of the Vulkan device that the fit may take; rows of the image beyond it stay in the host's memory, which is right and
    /// slower [default: all that the device has]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_device_memory: Option<ByteSize>,
    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print what was taken from the headers, and each pass of the fit
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder for the images, the truth, the report and the figure
    #[arg(short, long, value_name = "DIR", default_value = "dia-demo")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) simulation: SimulationArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// FITS files
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Arguments of `dia align`.
#[derive(Debug, Args)]
pub(crate) struct AlignArgs {
    /// Reference image, FILE or FILE[EXT]
    pub(crate) reference: FitsSpec,
    /// Target image, FILE or FILE[EXT]
    pub(crate) target: FitsSpec,
    /// Where the map is written, as JSON; on standard output if it is not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// As in `dia subtract`
    #[arg(
        long,
        value_name = "auto|integer|stars|wcs",
        default_value = "auto",
        allow_hyphen_values = true
    )]
    pub(crate) align: Align,
    #[command(flatten)]
    pub(crate) noise: NoiseArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a positive number".into()),
    }
}

/// The name of a value as it is given on the command line.
pub(crate) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::cli::{Cli, Command};

    use crate::input::NumberOrKeyword;
    use crate::request::{HalfWidth, SubtractRequest};

    use super::noise::{not_negative_or_keyword, positive_or_keyword};
    use super::simulation::Size;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_request_is_what_the_command_does_unless_told_otherwise() {
        let cli = Cli::parse_from(["dia", "subtract", "r.fits", "t.fits", "-o", "d.fits"]);
        let Command::Subtract(args) = cli.command else { panic!("{cli:?}") };
        assert_eq!(args.model.request(&args.run), SubtractRequest::default());
    }

    #[test]
    fn numbers_are_checked_and_other_words_are_keywords() {
        assert_eq!(positive_or_keyword("1.9"), Ok(NumberOrKeyword::Number(1.9)));
        assert_eq!(positive_or_keyword("EGAIN"), Ok(NumberOrKeyword::Keyword("EGAIN".into())));
        assert!(positive_or_keyword("-1").is_err() && positive_or_keyword("nan").is_err());
        assert!(positive_or_keyword("0").is_err() && not_negative_or_keyword("0").is_ok());
        assert!("nine".parse::<HalfWidth>().is_err() && "-3".parse::<HalfWidth>().is_err());
        assert_eq!("30x40".parse(), Ok(Size { height: 30, width: 40 }));
    }
}
