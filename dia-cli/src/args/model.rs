//! Options of the model and of how it is fitted.

use std::str::FromStr;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use dia_core::{KernelShape, Loss, MAX_DEGREE, MAX_VARIATION};
use dia_solvers::{
    Clipping, FitOptions, Lambda, NoiseScale, ReferenceNoise, Solver, VariableSourceOptions,
};

use crate::args::{RunArgs, positive};
use crate::backend::Precision;
use crate::request::{Align, Basis, Convolve, Degree, HalfWidth, SubtractRequest};

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
    #[arg(long, value_name = "D|auto", default_value = "auto", allow_negative_numbers = true,
        value_parser = |text: &str| Degree::parse(text, MAX_VARIATION))]
    pub(crate) kernel_degree: Degree,

    /// Degree of the polynomial by which the photometric scale varies over the image
    #[arg(long, value_name = "D", default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(0..=MAX_VARIATION as i64))]
    pub(crate) scale_degree: u8,

    /// Total degree of the differential background's polynomial, up to 16; `auto`: 2, or as much more as a test sees structure in the sky
    #[arg(long, value_name = "D|auto", default_value = "auto", allow_negative_numbers = true,
        value_parser = |text: &str| Degree::parse(text, MAX_DEGREE))]
    pub(crate) background_degree: Degree,

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

    /// The reference is the mean of N exposures at the target's scale, and the target is one of them: the target is taken out of it before the fit, for they share noise and what is new
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
            background_degree: self.background_degree,
            fit: self.fit_options(),
            reference_contains_target: self.reference_contains_target,
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
            model_variance: self.model_variance == Switch::On,
            solver: self.solver.solver(),
            tolerance: self.tolerance,
            ..FitOptions::default()
        }
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
            Self::Huber => FitOptions::LOSS,
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
