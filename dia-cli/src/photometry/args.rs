//! The options of what is measured on a difference.

use std::path::PathBuf;

use clap::Args;

use super::{MOST_APERTURES, MeasureRequest, Plane};
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
    /// Measure the flux at given positions: a table with columns x and y, or xcentroid and ycentroid; goes with --photometry
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
}

impl PhotometryArgs {
    /// What these options ask for; reads the positions.
    pub(crate) fn request(&self) -> anyhow::Result<MeasureRequest> {
        anyhow::ensure!(
            self.apertures.len() <= MOST_APERTURES,
            "{} apertures were given; give {MOST_APERTURES} at most",
            self.apertures.len()
        );
        let mut planes = self.planes.clone();
        planes.sort_by_key(|plane| *plane as u8);
        planes.dedup();
        Ok(MeasureRequest {
            threshold: self.sources.as_ref().map(|_| self.threshold),
            positions: self.at.as_deref().map(read_positions).transpose()?,
            apertures: self.apertures.clone(),
            planes,
            psf: self.reference_psf.clone(),
        })
    }
}
