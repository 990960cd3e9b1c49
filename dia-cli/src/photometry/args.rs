//! The options of what is measured on a difference.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{InjectRequest, MOST_APERTURES, MeasureRequest, Plane};
use crate::args::positive;
use crate::fits::FitsSpec;
use crate::table::read_positions;

/// What is measured on the difference.
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "Sources (tables are ECSV, CSV or FITS by their suffix; x and y are pixels, 0 in the middle of the first)"
)]
pub(crate) struct PhotometryArgs {
    /// Find what changed, both signs, and write it as a table with fluxes, positions, their errors, and flags
    #[arg(long, value_name = "TABLE")]
    pub(crate) sources: Option<PathBuf>,
    /// Least significance of what is found, in σ of the matched filter
    #[arg(long, value_name = "SIGMA", default_value_t = 5.0, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) threshold: f64,
    /// Measure the flux at given positions: a table with columns x and y (xcentroid and ycentroid), or ra and dec in degrees; goes with --photometry
    #[arg(long, value_name = "POSITIONS", requires = "photometry")]
    pub(crate) at: Option<PathBuf>,
    /// Table of those fluxes, one row for each position
    #[arg(long, value_name = "TABLE", requires = "at")]
    pub(crate) photometry: Option<PathBuf>,
    /// Radii of apertures for those fluxes in pixels, up to five
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', requires = "photometry", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) apertures: Vec<f64>,
    /// Planes to write beside the usual ones
    #[arg(long, value_enum, value_name = "PLANE,…", value_delimiter = ',')]
    pub(crate) planes: Vec<Plane>,
    /// PSF of the reference, an image of odd sides with the star in its middle pixel [default: from its stars]
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) reference_psf: Option<FitsSpec>,
    /// Put N stars of known flux, S/N 2 to 50, into a copy of the target, subtract and measure it too, and tell completeness and (measured − true)/σ; as often as there is one star for 64² pixels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) inject: Option<u16>,
    /// Draw the completeness of those stars against S/N, and their (measured − true)/σ, as PNG
    #[arg(long, value_name = "FIGURE.png", requires = "inject")]
    pub(crate) inject_figure: Option<PathBuf>,
    /// Draw the strongest detections cut out of target, model, difference and score, as PNG
    #[arg(long, value_name = "FIGURE.png", requires = "sources")]
    pub(crate) sources_figure: Option<PathBuf>,
}

impl PhotometryArgs {
    /// What these options ask for; reads the positions.
    pub(crate) fn request(&self) -> Result<MeasureRequest> {
        let mut planes = self.planes.clone();
        planes.sort_by_key(|plane| *plane as u8);
        planes.dedup();
        Ok(MeasureRequest {
            threshold: self.sources.as_ref().map(|_| self.threshold),
            positions: self.at.as_deref().map(read_positions).transpose()?,
            apertures: checked_apertures(&self.apertures)?,
            planes,
            psf: self.reference_psf.clone(),
            inject: self
                .inject
                .map(|count| InjectRequest { count: count.into(), threshold: self.threshold }),
        })
    }
}

/// Not more apertures than a table has columns for.
pub(super) fn checked_apertures(apertures: &[f64]) -> Result<Vec<f64>> {
    ensure!(
        apertures.len() <= MOST_APERTURES,
        "{} apertures were given; give {MOST_APERTURES} at most",
        apertures.len()
    );
    Ok(apertures.to_vec())
}

/// The options of `dia detect`.
#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// A difference that dia subtract wrote with --planes scene
    pub(crate) difference: PathBuf,
    /// Table to write, ECSV, CSV or FITS by its suffix [default: the strongest columns on the terminal]
    #[arg(long, value_name = "TABLE")]
    pub(crate) sources: Option<PathBuf>,
    /// Least significance of what is found, in σ of the matched filter
    #[arg(long, value_name = "SIGMA", default_value_t = 5.0, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) threshold: f64,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// The options of `dia photometry`.
#[derive(Debug, Args)]
pub(crate) struct PhotometryCommandArgs {
    /// A difference that dia subtract wrote with --planes scene
    pub(crate) difference: PathBuf,
    /// Where to measure: a table with columns x and y in pixels, 0 in the middle of the first, or ra and dec in degrees
    #[arg(long, value_name = "POSITIONS")]
    pub(crate) at: PathBuf,
    /// Table to write, one row for each position; ECSV, CSV or FITS by its suffix
    #[arg(short, long, value_name = "TABLE")]
    pub(crate) output: PathBuf,
    /// Radii of apertures in pixels, up to five
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', value_parser = positive, allow_negative_numbers = true)]
    pub(crate) apertures: Vec<f64>,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// How such a command runs.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// Number of threads [default: all cores]; the result is the same, bit for bit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Running {
    /// Runs in so many threads.
    pub(super) fn run<R: Send>(&self, what: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        let threads = self.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.context("cannot start the threads; give a smaller --threads")?.install(what)
    }
}
