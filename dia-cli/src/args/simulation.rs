//! Options of simulated pairs.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Folder for reference.fits, target.fits and truth.json; made if it does not exist
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) simulation: SimulationArgs,
}

/// The simulated sky and camera; what is not given has the default of a realistic night.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Simulation")]
pub(crate) struct SimulationArgs {
    /// Seed of all random numbers
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Image size in pixels: SIDE or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Size>,
    /// Stars per 100 × 100 pixels
    #[arg(long)]
    pub(crate) density: Option<f64>,
    /// Slope of the cumulative flux law, N(> F) ∝ F^−slope
    #[arg(long)]
    pub(crate) flux_slope: Option<f64>,
    /// Flux of the brightest possible star in ADU of the target
    #[arg(long, value_name = "ADU")]
    pub(crate) flux_max: Option<f64>,
    /// Shape of the stars
    #[arg(long, value_enum)]
    pub(crate) psf: Option<PsfArg>,
    /// Seeing of the reference, FWHM in pixels
    #[arg(long, value_name = "PX")]
    pub(crate) reference_fwhm: Option<f64>,
    /// Seeing of the target, FWHM in pixels
    #[arg(long, value_name = "PX")]
    pub(crate) target_fwhm: Option<f64>,
    /// Offset in x: a star's place in the target minus its place in the reference, in pixels
    #[arg(long, value_name = "PX", allow_negative_numbers = true)]
    pub(crate) dx: Option<f64>,
    /// Offset in y, in pixels
    #[arg(long, value_name = "PX", allow_negative_numbers = true)]
    pub(crate) dy: Option<f64>,
    /// Photometric scale: target ADU per reference ADU of a constant star
    #[arg(long)]
    pub(crate) scale: Option<f64>,
    /// Sky of the target in ADU
    #[arg(long, value_name = "ADU")]
    pub(crate) sky: Option<f64>,
    /// Change of the target's sky across the field in x, in ADU
    #[arg(long, value_name = "ADU", allow_negative_numbers = true)]
    pub(crate) sky_gradient_x: Option<f64>,
    /// Change of the target's sky across the field in y, in ADU
    #[arg(long, value_name = "ADU", allow_negative_numbers = true)]
    pub(crate) sky_gradient_y: Option<f64>,
    /// Quadratic rise of the target's sky from the middle to the corners, in ADU
    #[arg(long, value_name = "ADU", allow_negative_numbers = true)]
    pub(crate) sky_curvature: Option<f64>,
    /// Relative change of the target's seeing from the middle to the right edge
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub(crate) psf_gradient_x: Option<f64>,
    /// Relative change of the target's seeing from the middle to the last row
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub(crate) psf_gradient_y: Option<f64>,
    /// Gain in e⁻/ADU
    #[arg(long)]
    pub(crate) gain: Option<f64>,
    /// Read noise in e⁻
    #[arg(long)]
    pub(crate) read_noise: Option<f64>,
    /// How many target exposures the reference is the mean of
    #[arg(long, value_name = "N")]
    pub(crate) reference_depth: Option<f64>,
    /// Number of variable stars
    #[arg(long, value_name = "N")]
    pub(crate) variables: Option<usize>,
    /// Number of transients
    #[arg(long, value_name = "N")]
    pub(crate) transients: Option<usize>,
    /// Number of cosmic rays in the target
    #[arg(long, value_name = "N")]
    pub(crate) cosmic_rays: Option<usize>,
    /// Saturation level in ADU
    #[arg(long, value_name = "ADU")]
    pub(crate) saturation: Option<f64>,
    /// Number of bad columns
    #[arg(long, value_name = "N")]
    pub(crate) bad_columns: Option<usize>,
    /// Let the brightest star vary
    #[arg(long)]
    pub(crate) brightest_varies: bool,
}

/// `--size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |t: &str| t.parse::<usize>().map_err(|_| "expected SIDE or HEIGHTxWIDTH".to_string());
        let (height, width) = text.split_once('x').unwrap_or((text, text));
        Ok(Self { height: number(height)?, width: number(width)? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PsfArg {
    Gaussian,
    Moffat,
}
