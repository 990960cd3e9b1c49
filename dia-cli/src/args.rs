//! The options of the command line that its subcommands share, and those of each.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "documentation comments are the help text: FILE[EXT] is no link"
)]

use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use dia_core::{KernelShape, Loss, MAX_VARIATION};
use dia_solvers::{
    Clipping, FitOptions, Lambda, NoiseScale, ReferenceNoise, Solver, VariableSourceOptions,
};

use crate::backend::{Backend, Precision};
use crate::fits::FitsSpec;
use crate::input::{InputOptions, NumberOrKeyword, Role};
use crate::photometry::PhotometryArgs;
use crate::planes::{MaskBits, Uncertainty};
use crate::request::{Align, Basis, Convolve, HalfWidth, KernelDegree, SubtractRequest};

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

/// The model and how it is fitted.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model and fit")]
pub(crate) struct ModelArgs {
    /// Half-width of the kernel in pixels; `auto`: two and a half times the wider seeing FWHM of the two images, and round wings out to six times (`--kernel-shape square` and other bases have none); or the one up to two and a half which an information
    /// criterion finds best for free pixels (aic, bic, or tic, which does not rely on the noise model)
    #[arg(
        long,
        value_name = "N|auto|aic|bic|tic",
        default_value = "auto",
        allow_negative_numbers = true
    )]
    pub(crate) half_width: HalfWidth,

    /// Outline of the kernel's free pixels
    #[arg(long, value_enum, default_value_t = KernelShapeArg::Circle)]
    pub(crate) kernel_shape: KernelShapeArg,

    /// Kernel basis: pixels free within one FWHM of the centre and interpolated from every third one beyond, every pixel free, or Gaussians times
    /// polynomials (σ = 0.7, 1.5, 3.0 px of degrees 6, 4, 2)
    #[arg(long, value_enum, default_value_t = Basis::Mixed)]
    pub(crate) basis: Basis,

    /// Degree of the polynomial by which the kernel's shape varies over the image, up to 4; `auto`: 2 where a test sees that it varies, else 0; less on images of
    /// few pixels. What the data do not ask for, the regularisation takes out
    #[arg(long, value_name = "D|auto", default_value = "auto", allow_negative_numbers = true)]
    pub(crate) kernel_degree: KernelDegree,

    /// Degree of the polynomial by which the photometric scale varies over the image
    #[arg(long, value_name = "D", default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(0..=MAX_VARIATION as i64))]
    pub(crate) scale_degree: u8,

    /// Total degree of the differential background's polynomial
    #[arg(long, value_name = "D", default_value_t = 2,
        value_parser = clap::value_parser!(u8).range(0..=dia_core::MAX_DEGREE as i64))]
    pub(crate) background_degree: u8,

    /// What is minimised over the normalised residuals; `clip` is least squares with three passes of 5 σ rejection
    #[arg(long, value_enum, default_value_t = LossArg::Huber)]
    pub(crate) loss: LossArg,

    /// The reference's own noise: correct its bias and weigh it, weigh it only, or ignore it
    #[arg(long, value_enum, default_value_t = ReferenceNoiseArg::Correct)]
    pub(crate) reference_noise: ReferenceNoiseArg,

    /// Regularisation of the kernel, in units of what the reference's noise adds to the normal matrix; `auto` finds the one of smallest expected error
    #[arg(long, value_name = "auto|VALUE", default_value = "auto", allow_negative_numbers = true)]
    pub(crate) lambda: LambdaArg,

    /// Leave variable sources out of the fit, as wholes; they stay in the difference
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) mask_variables: Switch,

    /// Believe the noise of the target as it is given, or multiply its variance by what the residuals' robust scatter tells: for an unknown gain
    #[arg(long, value_enum, default_value_t = NoiseScaleArg::Given)]
    pub(crate) noise_scale: NoiseScaleArg,

    /// The reference is the mean of N exposures at the target's scale, and the target is one of them: corrects P and VARIANCE for the noise that they share
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) reference_contains_target: Option<f64>,

    /// The uncertainty of kernel and background in VARIANCE: subtracted where a pixel was fitted, added where it was left out
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pub(crate) model_variance: Switch,

    /// Linear solver: preconditioned CG, LSQR, or the whole normal matrix by Cholesky
    #[arg(long, value_enum, default_value_t = SolverArg::Pcg)]
    pub(crate) solver: SolverArg,

    /// Arithmetic of pixels and Fourier transforms; parameters and sums are always f64
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub(crate) precision: Precision,

    /// End the fit within this distance of the minimum, in σ
    #[arg(long, value_name = "SIGMA", default_value_t = 0.01, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) tolerance: f64,

    /// auto: find by the stars how the images lie; take out whole pixels, right angles and mirror images where a kernel can follow the rest, else warp the reference onto the target's
    /// grid; integer: never warp; stars: take nothing but stars for it; wcs: start from the world coordinates of both headers; none: assume that they are aligned;
    /// DX,DY: take out this offset, a star's place in the target minus that in the reference. The target is never resampled
    #[arg(
        long,
        value_name = "auto|integer|stars|wcs|none|DX,DY",
        default_value = "auto",
        allow_hyphen_values = true
    )]
    pub(crate) align: Align,

    /// The image that the kernel is for; auto: the reference, unless its kernel would have to sharpen it. The difference is target minus reference in the target's ADU
    /// either way
    #[arg(long, value_enum, default_value_t = Convolve::Auto)]
    pub(crate) convolve: Convolve,
}

impl ModelArgs {
    /// The request that these options make, together with those of how the command runs.
    pub(crate) fn request(&self, run: &RunArgs) -> SubtractRequest {
        let bytes = |size: ByteSize| size.as_u64();
        SubtractRequest {
            half_width: self.half_width,
            kernel_shape: match self.kernel_shape {
                KernelShapeArg::Square => KernelShape::Square,
                KernelShapeArg::Circle => KernelShape::Circle,
            },
            basis: self.basis,
            kernel_degree: self.kernel_degree,
            scale_degree: self.scale_degree.into(),
            background_degree: self.background_degree.into(),
            fit: self.fit_options(),
            align: self.align,
            convolve: self.convolve,
            backend: run.backend.clone(),
            max_memory: run.max_memory.map(bytes),
            max_device_memory: run.max_device_memory.map(bytes),
            ..SubtractRequest::default()
        }
    }

    fn fit_options(&self) -> FitOptions {
        FitOptions {
            loss: self.loss.loss(),
            clipping: self.loss.clipping(),
            reference_noise: match self.reference_noise {
                ReferenceNoiseArg::Correct => ReferenceNoise::Correct,
                ReferenceNoiseArg::Weight => ReferenceNoise::Weight,
                ReferenceNoiseArg::Ignore => ReferenceNoise::Ignore,
            },
            lambda: self.lambda.0,
            variable_sources: (self.mask_variables == Switch::On)
                .then(VariableSourceOptions::default),
            noise_scale: match self.noise_scale {
                NoiseScaleArg::Given => NoiseScale::Given,
                NoiseScaleArg::Estimated => NoiseScale::Estimated,
            },
            reference_contains_target: self.reference_contains_target,
            model_variance: self.model_variance == Switch::On,
            solver: self.solver.solver(),
            tolerance: self.tolerance,
            ..FitOptions::default()
        }
    }
}

/// Noise, masks and saturation of the two images.
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "Detector, noise and masks (VALUE: a number or the name of a header keyword; by default the usual names)"
)]
pub(crate) struct NoiseArgs {
    /// Gain of both images, in e⁻/ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) gain: Option<NumberOrKeyword>,
    /// Gain of the reference, in e⁻/ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_gain: Option<NumberOrKeyword>,
    /// Gain of the target, in e⁻/ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_gain: Option<NumberOrKeyword>,
    /// Read noise of both images, in e⁻
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) read_noise: Option<NumberOrKeyword>,
    /// Read noise of the reference, in e⁻
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_read_noise: Option<NumberOrKeyword>,
    /// Read noise of the target, in e⁻
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_read_noise: Option<NumberOrKeyword>,
    /// Saturation level of both images, in ADU; pixels at or above it are masked
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) saturation: Option<NumberOrKeyword>,
    /// Saturation level of the reference, in ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_saturation: Option<NumberOrKeyword>,
    /// Saturation level of the target, in ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_saturation: Option<NumberOrKeyword>,
    /// Sky that was subtracted from the reference, in ADU; its photons still make noise
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_subtracted_sky: Option<NumberOrKeyword>,
    /// Sky that was subtracted from the target, in ADU
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_subtracted_sky: Option<NumberOrKeyword>,
    /// Variance plane of the reference in ADU², FILE or FILE[EXT], instead of gain and read noise
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) reference_variance: Option<FitsSpec>,
    /// Variance plane of the target in ADU², instead of gain and read noise
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) target_variance: Option<FitsSpec>,
    /// Plane of σ of the reference in ADU, in the variance's place
    #[arg(long, value_name = "FILE[EXT]", conflicts_with = "reference_variance")]
    pub(crate) reference_sigma: Option<FitsSpec>,
    /// Plane of σ of the target in ADU
    #[arg(long, value_name = "FILE[EXT]", conflicts_with = "target_variance")]
    pub(crate) target_sigma: Option<FitsSpec>,
    /// Plane of the reference's inverse variance (a weight map) in ADU⁻²
    #[arg(long, value_name = "FILE[EXT]", conflicts_with_all = ["reference_variance", "reference_sigma"])]
    pub(crate) reference_weight: Option<FitsSpec>,
    /// Plane of the target's inverse variance in ADU⁻²
    #[arg(long, value_name = "FILE[EXT]", conflicts_with_all = ["target_variance", "target_sigma"])]
    pub(crate) target_weight: Option<FitsSpec>,
    /// The bits of masks that make a pixel bad, as a sum of powers of two, instead of the convention that their header tells; for the same masks as --mask-good-is
    #[arg(long, value_name = "BITS", conflicts_with = "mask_good_is")]
    pub(crate) bad_bits: Option<u64>,
    /// Which pixels of a mask are the good ones: of those given by options, or where none is given, of those beside the images. Without it, a mask that leaves out more than half is refused
    #[arg(long, value_enum)]
    pub(crate) mask_good_is: Option<MaskGood>,
    /// Mask of the reference; bad planes by their MP_ keywords, or any value but 0
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) reference_mask: Option<FitsSpec>,
    /// Mask of the target
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) target_mask: Option<FitsSpec>,
}

impl NoiseArgs {
    /// The files of all planes that are given.
    pub(crate) fn planes(&self) -> impl Iterator<Item = &FitsSpec> {
        [
            &self.reference_variance,
            &self.target_variance,
            &self.reference_sigma,
            &self.target_sigma,
            &self.reference_weight,
            &self.target_weight,
            &self.reference_mask,
            &self.target_mask,
        ]
        .into_iter()
        .flatten()
    }

    /// Those of one image; what is given for it wins over what is given for both.
    pub(crate) fn of(&self, role: Role) -> InputOptions {
        let of_zeros = |good| match good {
            MaskGood::Zero => MaskBits::ZeroIsGood,
            MaskGood::Nonzero => MaskBits::NonzeroIsGood,
        };
        let bits = self.bad_bits.map(MaskBits::Bad).or_else(|| self.mask_good_is.map(of_zeros));
        // What is said of masks is said of those that were given, if any were.
        let given = [self.reference_mask.is_some(), self.target_mask.is_some()];
        let bits = bits.filter(|_| given == [false; 2] || given[usize::from(role == Role::Target)]);
        let first = |planes: [&Option<FitsSpec>; 3]| {
            let kinds = [Uncertainty::Variance, Uncertainty::Sigma, Uncertainty::InverseVariance];
            planes.into_iter().zip(kinds).find_map(|(plane, kind)| Some((plane.clone()?, kind)))
        };
        let or_both = |own: &Option<NumberOrKeyword>, both: &Option<NumberOrKeyword>| {
            own.as_ref().or(both.as_ref()).cloned()
        };
        match role {
            Role::Reference => InputOptions {
                gain: or_both(&self.reference_gain, &self.gain),
                read_noise: or_both(&self.reference_read_noise, &self.read_noise),
                saturation: or_both(&self.reference_saturation, &self.saturation),
                subtracted_sky: self.reference_subtracted_sky.clone(),
                uncertainty: first([
                    &self.reference_variance,
                    &self.reference_sigma,
                    &self.reference_weight,
                ]),
                mask: self.reference_mask.clone(),
                mask_bits: bits,
            },
            Role::Target => InputOptions {
                gain: or_both(&self.target_gain, &self.gain),
                read_noise: or_both(&self.target_read_noise, &self.read_noise),
                saturation: or_both(&self.target_saturation, &self.saturation),
                subtracted_sky: self.target_subtracted_sky.clone(),
                uncertainty: first([
                    &self.target_variance,
                    &self.target_sigma,
                    &self.target_weight,
                ]),
                mask: self.target_mask.clone(),
                mask_bits: bits,
            },
        }
    }
}

/// `--mask-good-is`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MaskGood {
    /// Pixels of value 0.
    Zero,
    /// All others.
    Nonzero,
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

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a positive number".into()),
    }
}

fn positive_or_keyword(text: &str) -> Result<NumberOrKeyword, String> {
    number_or_keyword(text, |number| number > 0.0, "positive")
}

fn not_negative_or_keyword(text: &str) -> Result<NumberOrKeyword, String> {
    number_or_keyword(text, |number| number >= 0.0, "zero or positive")
}

fn number_or_keyword(
    text: &str,
    valid: impl Fn(f64) -> bool,
    range: &str,
) -> Result<NumberOrKeyword, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && valid(number) => Ok(NumberOrKeyword::Number(number)),
        Ok(_) => Err(format!("a number given here must be {range}")),
        Err(_) if text.trim().is_empty() => Err("expected a number or a header keyword".into()),
        Err(_) => Ok(NumberOrKeyword::Keyword(text.to_string())),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KernelShapeArg {
    Square,
    Circle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LossArg {
    Gaussian,
    Huber,
    Tukey,
    Cauchy,
    #[value(name = "student-t")]
    StudentT,
    Clip,
}

impl LossArg {
    pub(crate) const ALL: [Self; 6] =
        [Self::Gaussian, Self::Huber, Self::Tukey, Self::Cauchy, Self::StudentT, Self::Clip];

    /// ρ.
    pub(crate) fn loss(self) -> Loss {
        match self {
            Self::Gaussian | Self::Clip => Loss::Gaussian,
            Self::Huber => Loss::HUBER,
            Self::Tukey => Loss::TUKEY,
            Self::Cauchy => Loss::CAUCHY,
            Self::StudentT => Loss::STUDENT_T,
        }
    }

    /// What is rejected.
    pub(crate) fn clipping(self) -> Option<Clipping> {
        (self == Self::Clip).then(Clipping::default)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReferenceNoiseArg {
    Correct,
    Weight,
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NoiseScaleArg {
    Given,
    Estimated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// `--lambda`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LambdaArg(pub(crate) Lambda);

impl FromStr for LambdaArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(Lambda::Auto));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Self(Lambda::Fixed(value))),
            _ => Err("expected `auto`, zero or a positive number".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SolverArg {
    Pcg,
    Lsqr,
    Cholesky,
}

impl SolverArg {
    /// The solver that it names.
    pub(crate) fn solver(self) -> Solver {
        match self {
            Self::Pcg => Solver::Pcg,
            Self::Lsqr => Solver::Lsqr,
            Self::Cholesky => Solver::Cholesky,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PsfArg {
    Gaussian,
    Moffat,
}

/// The name of a value as it is given on the command line.
pub(crate) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::cli::{Cli, Command};

    use super::{
        HalfWidth, NumberOrKeyword, Size, SubtractRequest, not_negative_or_keyword,
        positive_or_keyword,
    };

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
