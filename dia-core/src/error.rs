//! Errors of the vocabulary types and of operators.

use std::error::Error;

/// Pixels that do not make an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The number of pixels is not height × width.
    #[error("{pixels} pixels cannot make an image of {height} rows and {width} columns")]
    Length {
        /// Rows asked for.
        height: usize,
        /// Columns asked for.
        width: usize,
        /// Pixels given.
        pixels: usize,
    },
    /// The array is transposed, reversed or a slice with gaps.
    #[error("the array is not contiguous in row-major order; copy it with `as_standard_layout`")]
    Layout,
    /// Two planes that must share a grid do not.
    #[error(
        "{plane} has {}×{} pixels (rows × columns), the image has {}×{}",
        got.0, got.1, expected.0, expected.1
    )]
    Shape {
        /// The plane that does not fit.
        plane: &'static str,
        /// (height, width) of the image.
        expected: (usize, usize),
        /// (height, width) of the plane.
        got: (usize, usize),
    },
}

/// A model that cannot be set up with the values given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The kernel does not fit into the image.
    #[error(
        "a kernel of half-width {half_width} ({side}×{side} pixels) leaves no valid pixel in an image of \
         {height}×{width} pixels (rows × columns); choose a smaller half-width",
        side = 2 * half_width + 1
    )]
    KernelTooLarge {
        /// Half-width of the kernel in pixels.
        half_width: usize,
        /// Rows of the image.
        height: usize,
        /// Columns of the image.
        width: usize,
    },
    /// A noise parameter without physical meaning.
    #[error("{name} is {value}; it must be {range}")]
    Noise {
        /// Which parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Basis images of different sizes, or none.
    #[error("a kernel basis needs at least one image, all of one odd square size")]
    Basis,
    /// Scale and shape of the kernel cannot vary differently in this basis.
    #[error(
        "the photometric scale is to vary with degree {scale_degree} and the kernel's shape with degree {kernel_degree}, but \
         several functions of the kernel basis carry flux; choose equal degrees or a flux-conserving basis"
    )]
    Variation {
        /// Degree of the photometric scale.
        scale_degree: usize,
        /// Degree of the kernel's shape.
        kernel_degree: usize,
    },
    /// A polynomial of too high a degree.
    #[error("{what} of degree {degree} is not offered; the highest is {most}")]
    Degree {
        /// Which one.
        what: &'static str,
        /// The degree asked for.
        degree: usize,
        /// The highest.
        most: usize,
    },
    /// A loss whose tuning constant is not a positive number.
    #[error("the tuning constant of the loss is {value}; it must be positive and finite")]
    Loss {
        /// Its value.
        value: f64,
    },
}

/// A product that failed: memory, a lost device, a driver.
///
/// Wrong lengths are bugs of the caller and panic; they are not reported here.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct OperatorError {
    context: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl OperatorError {
    /// An error with its context and no deeper cause.
    pub fn new(context: impl Into<String>) -> Self {
        Self { context: context.into(), source: None }
    }

    /// An error with the cause that the back end reported.
    pub fn with_source(
        context: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { context: context.into(), source: Some(source.into()) }
    }
}
