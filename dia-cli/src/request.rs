//! What a subtraction is asked to do.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use dia_core::KernelShape;
use dia_solvers::{Criterion, FitOptions};

use crate::backend::Backend;

/// Displacement in pixels about that of the middle of the field that is left to a kernel that varies.
pub(crate) const LEFT_TO_THE_KERNEL: f64 = 2.0;

/// Model, fit and resources of a subtraction. The default is what `dia subtract` does unless told otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct SubtractRequest {
    /// Half-width h of the kernel, whose sides have 2h + 1 pixels.
    pub half_width: HalfWidth,
    /// Outline of the kernel's free pixels.
    pub kernel_shape: KernelShape,
    /// The functions that the kernel is a sum of.
    pub basis: Basis,
    /// Degree of the polynomial by which the kernel's shape varies over the image.
    pub kernel_degree: Degree,
    /// Degree of the polynomial by which the photometric scale varies, at most [`dia_core::MAX_VARIATION`].
    pub scale_degree: usize,
    /// Total degree of the differential background's polynomial, at most [`dia_core::MAX_DEGREE`].
    pub background_degree: Degree,
    /// Loss, regularisation, variable sources, uncertainties and linear solver. Its `target_fwhm` is not looked at: the
    /// seeing is measured.
    pub fit: FitOptions,
    /// n, where the reference is the mean of n exposures at the scale of the target, and the target is one of them: it is taken out of the mean first, for they share noise and what is new. What
    /// [`Input`](crate::Input)s know of their frames by themselves need not be said.
    pub reference_contains_target: Option<f64>,
    /// How the reference is moved onto the target's grid.
    pub align: Align,
    /// How far displacements in pixels may differ over the field for a kernel that varies to follow them; beyond it, and beyond what fits into the kernel, the reference is
    /// warped.
    pub left_to_kernel: f64,
    /// The image that the kernel is for.
    pub convolve: Convolve,
    /// Where the products with the design matrix are computed.
    pub backend: Backend,
    /// Memory in bytes that images and fit may take; beyond it, the spectra of the reference are computed again in every
    /// pass. `None` is no limit.
    pub max_memory: Option<u64>,
    /// Memory in bytes of the Vulkan device that the fit may take; rows of the image beyond it stay on the host. `None`
    /// is all that the device has.
    pub max_device_memory: Option<u64>,
}

impl Default for SubtractRequest {
    fn default() -> Self {
        Self {
            half_width: HalfWidth::Auto,
            kernel_shape: KernelShape::Circle,
            basis: Basis::Mixed,
            kernel_degree: Degree::Auto,
            scale_degree: 0,
            background_degree: Degree::Auto,
            fit: FitOptions::default(),
            reference_contains_target: None,
            align: Align::Auto,
            left_to_kernel: LEFT_TO_THE_KERNEL,
            convolve: Convolve::Auto,
            backend: Backend::Auto,
            max_memory: None,
            max_device_memory: None,
        }
    }
}

/// The half-width of the kernel, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfWidth {
    /// 2.5 times the wider seeing FWHM of the two images.
    Auto,
    /// The one up to that of `Auto` that an information criterion finds best for free pixels.
    Best(Criterion),
    /// A given one.
    Pixels(usize),
}

/// The degree of a polynomial by which a part of the model varies over the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degree {
    /// What the images ask for.
    Auto,
    /// A given one.
    Given(usize),
}

impl Degree {
    /// The given one, or `least`.
    pub(crate) fn or(self, least: usize) -> usize {
        match self {
            Self::Auto => least,
            Self::Given(degree) => degree,
        }
    }

    /// From `auto` or a number up to `most`.
    pub(crate) fn parse(text: &str, most: usize) -> Result<Self, String> {
        match text.parse() {
            Ok(degree) if degree <= most => Ok(Self::Given(degree)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err(format!("expected `auto` or a degree from 0 to {most}")),
        }
    }
}

/// The functions that a kernel is a sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Basis {
    /// Free pixels within 1.25 FWHM of the centre, and every third one beyond, interpolated.
    Mixed,
    /// Every pixel is free.
    Delta,
    /// Gaussians times polynomials (Alard & Lupton 1998, ApJ 503, 325), σ = 0.7, 1.5 and 3 pixels of degrees 6, 4 and 2.
    Gauss,
}

impl Basis {
    /// As report and command line call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Delta => "delta",
            Self::Gauss => "gauss",
        }
    }
}

/// The image that the kernel is for. The difference is target minus reference in the target's unit either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Convolve {
    /// The reference, unless its kernel would have to sharpen it.
    Auto,
    /// The reference.
    Reference,
    /// The target.
    Target,
}

/// How the reference is moved onto the target's grid. The target never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// As the stars tell, or where they are few, all that the images show: by whole pixels, right angles and mirror images if a kernel can follow the rest, else warped.
    #[default]
    Auto,
    /// The same, by whole pixels, right angles and mirror images only.
    Integer,
    /// As the stars tell, or not at all.
    Stars,
    /// As the world coordinates of both headers say, corrected by the stars.
    Wcs,
    /// Not at all.
    None,
    /// By columns and rows: a star's place in the target minus that in the reference.
    By(isize, isize),
}

impl fmt::Display for HalfWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Best(Criterion::Aic) => "aic",
            Self::Best(Criterion::Bic) => "bic",
            Self::Best(Criterion::Tic) => "tic",
            Self::Pixels(_) => "given",
        })
    }
}

impl FromStr for HalfWidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "aic" => Self::Best(Criterion::Aic),
            "bic" => Self::Best(Criterion::Bic),
            "tic" => Self::Best(Criterion::Tic),
            number => Self::Pixels(number.parse().map_err(|_| {
                "expected a whole number of pixels, `auto`, `aic`, `bic` or `tic`".to_owned()
            })?),
        })
    }
}

impl FromStr for Align {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "integer" => Ok(Self::Integer),
            "stars" => Ok(Self::Stars),
            "wcs" => Ok(Self::Wcs),
            "none" => Ok(Self::None),
            _ => text
                .split_once(',')
                .and_then(|(dx, dy)| {
                    Some(Self::By(dx.trim().parse().ok()?, dy.trim().parse().ok()?))
                })
                .ok_or_else(|| {
                    "expected `auto`, `integer`, `stars`, `wcs`, `none` or two whole numbers DX,DY"
                        .into()
                }),
        }
    }
}
