//! `dia reference`: a deep reference image from the best of many frames.
//!
//! The frames are ranked by the noise of a point source over the light of their stars, which is what seeing, sky, transparency and exposure make together. The sharpest of the
//! deep ones is the base: the others are matched to it by the fit of a difference, in which the base is convolved, so that their own pixels are only moved and scaled. What
//! deviates from most frames is left out, and the rest is averaged with the weights that let a point source stand out most.

mod candidates;
pub(crate) mod lineage;
mod output;
mod stack;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use dia_core::seeing;
use serde::Serialize;

use crate::args::{ModelArgs, NoiseArgs, RunArgs, positive};
use crate::backend::Precision;
use crate::command;
use crate::crew::Crew;
use crate::frames::{Frame, frames};
use crate::input::Real;
use crate::output::check_places;
use crate::report::write_json;
use crate::request::{Convolve, SubtractRequest};
use crate::terminal::say;

pub(crate) use output::write;
pub(crate) use stack::make;

use stack::{FrameReport, Recipe};

/// Version of the report: raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// The options of `dia reference`.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// Frames of one field: files, FILE[EXT], patterns such as 'night/*.fits', or lists (.txt, .lst) with one of these in each line
    #[arg(num_args = 1.., required = true, value_name = "FILE|PATTERN|LIST")]
    frames: Vec<String>,
    /// Reference to write: a FITS file of the image, VARIANCE, MASK, COVERAGE and PSF, with its frames in the header; gzipped if its name ends with .gz
    #[arg(short, long, value_name = "REF.fits")]
    output: PathBuf,
    /// Write what became of each frame as JSON
    #[arg(long, value_name = "REPORT.json")]
    report: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Frames that are worked on at once, which share the threads [default: as many as threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    noise: NoiseArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Which frames a reference is made of, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Frames that a reference is made of at most: those that bring most
    #[arg(long, value_name = "N", default_value_t = Self::default().most, value_parser = clap::value_parser!(u16).range(1..=lineage::MOST as i64))]
    pub(crate) most: u16,
    /// Widest seeing of a frame in it, over that of the sharpest
    #[arg(long, value_name = "FACTOR", default_value_t = Self::default().widest, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) widest: f64,
    /// Pixels that are so many σ from the median of the frames are left out
    #[arg(long, value_name = "SIGMA", default_value_t = Self::default().clip, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) clip: f64,
}

/// What `--report` writes.
#[derive(Debug, Serialize)]
struct ReferenceReport<'a> {
    schema: u32,
    version: &'static str,
    command: String,
    output: String,
    /// The frame whose grid, scale and sky the reference has.
    base: &'a str,
    /// Seeing in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    fwhm: Option<f64>,
    /// How many times as significant as in the base a point source is.
    gain: f64,
    /// Part of the pixels that is masked.
    masked: f64,
    /// Part of the pixels that is near a source which varies, where nothing was left out.
    varying: f64,
    frames: &'a [FrameReport],
}

/// Runs the command.
pub(crate) fn run(args: &ReferenceArgs, command_line: &[String]) -> Result<ExitCode> {
    match args.model.precision {
        Precision::F32 => run_in::<f32>(args, command_line),
        Precision::F64 => run_in::<f64>(args, command_line),
    }
}

fn run_in<T: Real>(args: &ReferenceArgs, command_line: &[String]) -> Result<ExitCode> {
    let frames = frames(&args.frames)?;
    let outputs = [("reference", Some(&args.output)), ("report", args.report.as_ref())];
    check_places(
        outputs.into_iter().filter_map(|(what, path)| Some((what, path?.as_path()))),
        frames.iter().map(|frame| frame.spec.path.as_path()),
    )?;
    let request = args.model.request(&args.run);
    let recipe = args.selection.recipe(&request, &args.noise, {
        Crew::of(args.run.threads, args.jobs, frames.len(), (0, None))
    })?;
    let tell = |frame: &Frame, text: &str| {
        if !args.run.quiet {
            eprintln!("{}: {text}", frame.given);
        }
    };
    let made = make::<T>(&frames, &recipe, &tell)?;
    write(&args.output, &made, &command::reproducible(command_line))?;
    let pixels = made.stack.coverage.len() as f64;
    let masked = 1.0 - made.stack.mask.good_pixels() as f64 / pixels;
    let fwhm = seeing::fwhm(made.stack.image.view(), &made.stack.mask);
    if let Some(path) = &args.report {
        let report = ReferenceReport {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: command_line.join(" "),
            output: args.output.display().to_string(),
            base: &made.base_file,
            fwhm,
            gain: made.gain,
            masked,
            varying: made.stack.disputed as f64 / pixels,
            frames: &made.frames,
        };
        write_json(path, &report)?;
    }
    if !args.run.quiet {
        let count = made.members.len();
        say(format!(
            "{count} of {} frames on the grid of {}{}; a point source is {:.2} times as significant as in that frame alone (√{count} = {:.2}); {:.2} % of the pixels are masked\nwrote {}",
            frames.len(),
            made.base_file,
            fwhm.map_or_else(String::new, |fwhm| format!(", seeing {fwhm:.2} px")),
            made.gain,
            (count as f64).sqrt(),
            100.0 * masked,
            args.output.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Default for Selection {
    fn default() -> Self {
        Self { most: 20, widest: 1.15, clip: 5.0 }
    }
}

impl Selection {
    /// # Errors
    /// If an option of the model cannot be had here.
    pub(crate) fn recipe<'a>(
        &self,
        request: &'a SubtractRequest,
        noise: &'a NoiseArgs,
        crew: Crew,
    ) -> Result<Recipe<'a>> {
        ensure!(
            request.convolve != Convolve::Reference,
            "the frames of a reference are matched by convolving the sharpest of them; leave out --convolve reference"
        );
        ensure!(
            request.reference_contains_target.is_none(),
            "--reference-contains-target is said of a finished reference; leave it out"
        );
        Ok(Recipe {
            most: self.most.into(),
            widest: self.widest,
            clip: self.clip,
            request,
            noise,
            crew,
        })
    }
}
