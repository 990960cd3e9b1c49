//! The options of `dia night` and `dia lightcurves`.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "documentation comments are the help text: FILE[EXT] is no link"
)]

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::args::{FailOn, ModelArgs, NoiseArgs, RunArgs, positive};
use crate::fits::FitsSpec;

/// The options of `dia night`.
#[derive(Debug, Args)]
pub(crate) struct NightArgs {
    /// Reference image, FILE or FILE[EXT] [default: made of the best frames, as `dia reference` does]
    #[arg(long)]
    pub(super) reference: Option<FitsSpec>,
    /// Target images: FILE, FILE[EXT], a pattern such as 'night/*.fits', or a list (.txt, .lst) with one of these in each line
    #[arg(long, num_args = 1.., required = true, value_name = "FILE|PATTERN|LIST")]
    pub(super) targets: Vec<String>,
    /// Folder of the results; made if it does not exist. What is done there already, with the same inputs and options, is not done again
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// Light curves at given positions too: a table with columns x and y in pixels of the reference, or ra and dec
    #[arg(long, value_name = "POSITIONS")]
    pub(super) at: Option<PathBuf>,
    /// Least significance of what is found, in σ of the matched filter
    #[arg(long, value_name = "SIGMA", default_value_t = 5.0, value_parser = positive, allow_negative_numbers = true)]
    pub(super) threshold: f64,
    /// Stars of the reference whose light curves tell the zero points of the frames and the scatter; the brightest ones
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(super) stars: usize,
    /// PSF of the reference, an image of odd sides with the star in its middle pixel [default: from its stars]
    #[arg(long, value_name = "FILE[EXT]")]
    pub(super) reference_psf: Option<FitsSpec>,
    #[command(flatten)]
    pub(super) corrections: Corrections,
    /// Do again what is done
    #[arg(long)]
    pub(super) force: bool,
    /// Do again what failed
    #[arg(long)]
    pub(super) retry_failed: bool,
    /// Only every N-th frame, from the I-th on, I from 1 to N: for several machines over one folder
    #[arg(long, value_name = "I/N", conflicts_with = "task_index")]
    pub(super) shard: Option<Shard>,
    /// Only frame I of the list, from 0: for job arrays
    #[arg(long, value_name = "I")]
    pub(super) task_index: Option<usize>,
    /// Frames that are worked on at once, which share the threads and the memory [default: as many as threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// How the run is told on the standard error: for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log: LogFormat,
    /// From which verdict of a frame on the exit code is 3
    #[arg(long, value_enum, default_value_t = FailOn::Fail)]
    pub(super) fail_on: FailOn,
    #[command(flatten)]
    pub(super) model: ModelArgs,
    #[command(flatten)]
    pub(super) noise: NoiseArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// What is made of the light curves.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Corrections {
    /// Divide each frame's fluxes by its zero point, that of the stars which do not vary
    #[arg(long)]
    pub(super) apply_zero_points: bool,
    /// Multiply the errors by √(χ²/dof) of the stars that do not vary, where that is above 1
    #[arg(long)]
    pub(super) rescale_errors: bool,
}

/// The options of `dia lightcurves`.
#[derive(Debug, Args)]
pub(crate) struct LightCurvesArgs {
    /// The folder that dia night wrote
    pub(super) folder: PathBuf,
    /// Where to measure: a table with columns x and y in pixels of the reference, or ra and dec in degrees
    #[arg(long, value_name = "POSITIONS")]
    pub(super) at: PathBuf,
    /// Table to write, one row for each position and frame; ECSV, CSV or FITS by its suffix
    #[arg(short, long, value_name = "TABLE")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) corrections: Corrections,
    /// Number of threads [default: all cores]; the result is the same, bit for bit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// `--log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON lines.
    Json,
}

/// `--shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1 to `of`.
    index: usize,
    of: usize,
}

impl Shard {
    /// Whether frame `place` of the list, from 0, belongs to it.
    pub(super) fn has(self, place: usize) -> bool {
        place % self.of == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('/')
            .and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)))
            .filter(|(index, of): &(usize, usize)| (1..=*of).contains(index))
            .map(|(index, of)| Self { index, of })
            .ok_or_else(|| "expected I/N with I from 1 to N, such as 2/8".into())
    }
}

#[cfg(test)]
mod tests {
    use super::Shard;

    #[test]
    fn every_frame_belongs_to_one_shard() {
        let shards = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Shard>().unwrap());
        for place in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.has(place)).count(), 1);
        }
        for bad in ["0/3", "4/3", "1", "1/0", "a/b"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
