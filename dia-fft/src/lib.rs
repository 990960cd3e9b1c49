//! The design matrix of difference imaging as a [`LinearOperator`](dia_core::LinearOperator) on the CPU.
//!
//! The kernel fit M = Σ_t T_t (R ⊗ K_t) + B ≈ I is a linear least-squares problem with one column per kernel pixel and polynomial T_t of the
//! kernel's variation over the image, and one row per image pixel. The matrix would fill terabytes; its products are convolutions.
//! [`FftDesignMatrix`] computes them as a [`Plan`] says: directly for small kernels, else by overlap-save: the reference is cut into tiles that fit
//! into a core's cache and whose spectra are kept, so that A x costs one inverse transform per tile, and Aᵀ y one forward transform per tile whose
//! spectra are summed before a single inverse one.
//!
//! | product | per pair of tiles | at the end |
//! |---|---|---|
//! | A x | multiply, inverse transform | |
//! | Aᵀ y | forward transform, multiply, add | one inverse transform |
//! | AᵀW A x | all of it while the tile is in cache | one inverse transform |
//!
//! That is for one constant kernel. One that varies with degree d, n = (d + 1)(d + 2)/2 terms, takes n transforms along one dimension of a tile and
//! d + 1 along the other, while the tile is in cache, and n inverse ones at the end.
//!
//! Only valid pixels are rows: those at which the whole kernel lies inside the reference. Masked pixels of the target are
//! zero weights; masked pixels of the reference are zero in R, and every target pixel that they touch is masked. Nothing is padded.
//!
//! Beside it: [`offset`], the whole-pixel offset between two images by cross-correlation, and [`autocorrelation`], from which
//! the normal matrix of a constant kernel and uniform weights is made.

mod autocorrelation;
mod bands;
mod butterfly;
mod design_matrix;
mod direct;
mod factors;
mod global;
mod modulated;
mod offset;
mod overlap_save;
mod plan;
mod pool;
mod products;
mod rows;
mod tile;
mod tiling;
mod transpose;
mod vector;

pub use autocorrelation::autocorrelation;
pub use design_matrix::{FftDesignMatrix, FftWorkspace};
pub use offset::{Offset, offset};
pub use plan::{Method, Plan};
pub use vector::FftPixel;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
