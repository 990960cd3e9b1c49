//! The vocabulary of difference image analysis.
//!
//! Difference imaging finds what changed in the sky. Given a reference (template) image R and a target (science) image I
//! on the same pixel grid, it fits a convolution kernel K and a differential background B such that
//!
//! > M(p) = Σ_u K(u) R(p − u) + Σ_j b_j φ_j(p) ≈ I(p),
//!
//! and looks at the difference D = I − M. The model is linear in x = (kernel coefficients, b), and its design matrix is a
//! convolution: it is never written down. This crate holds what all parts of such a program share and nothing else: no
//! Fourier transform, no input or output, no solver.
//!
//! | idea | type |
//! |---|---|
//! | pixels, row-major, `f32` or `f64` | [`Image`], [`ImageView`], [`Pixel`] |
//! | why a pixel does not count | [`Mask`], [`MaskPlanes`] |
//! | the variance of a pixel | [`NoiseModel`], [`CcdNoise`]; as data vectors [`Noise`] |
//! | the kernel and its free pixels | [`Kernel`], [`KernelSupport`], [`KernelShape`] |
//! | kernels from coefficients | [`KernelBasis`] |
//! | how wide stars are, and their wings | [`seeing`], [`moffat`] |
//! | smooth functions of position | [`Polynomial2d`] |
//! | rows and columns of the design matrix | [`Design`] |
//! | what is minimised | [`Loss`] |
//! | a deep image from single exposures | [`coadd`] |
//! | a matrix known by its products | [`LinearOperator`], [`DataVector`], [`DesignMatrix`] |
//!
//! # Conventions
//! * Pixel (y, x) is row y, column x, both from 0; x is the first FITS axis. Offsets are (dy, dx).
//! * Images are in ADU, variances in ADU², gains in e⁻/ADU, read noise in e⁻.
//! * Convolution has the orientation of `scipy.signal.convolve2d`; only pixels whose kernel lies fully inside the reference
//!   are ever used, and nothing is padded or replaced.
//! * Parameters and sums are `f64`. Results have the same bits for any number of threads.

mod basis;
pub mod coadd;
pub mod defects;
mod design;
mod error;
mod host_vector;
mod image;
mod kernel;
mod loss;
mod mask;
pub mod moffat;
mod noise;
mod operator;
mod pixel;
mod polynomial;
pub mod robust;
pub mod seeing;
pub mod simd;
#[cfg(feature = "simulate")]
pub mod simulate;
mod sky;
pub mod small_matrix;
pub mod stars;
pub mod sum;
#[cfg(feature = "testing")]
pub mod testing;
mod traffic;

pub use basis::{GaussianTerm, KernelBasis, Resolution, SparseColumns};
pub use design::{Design, KernelTerm, MAX_VARIATION, Region};
pub use error::{ImageError, ModelError, OperatorError};
pub use image::{Image, ImageView};
pub use kernel::{Kernel, KernelShape, KernelSupport};
pub use loss::{Loss, PixelWeight};
pub use mask::{Mask, MaskPlanes};
pub use noise::{CcdNoise, Noise, NoiseModel, Photon};
pub use operator::{DataVector, DesignMatrix, LinearOperator, Reweight};
pub use pixel::Pixel;
pub use polynomial::{MAX_DEGREE, Polynomial2d};
pub use sky::LocalSky;
pub use traffic::Traffic;
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
