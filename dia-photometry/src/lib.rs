//! From a difference image to measurements: what changed, where, by how much, and how sure.
//!
//! The noise of a difference D = I − K ⊗ R − B is not white: the reference's noise comes through the kernel K, C = diag V_n + 𝒦 diag(V_r) 𝒦ᵀ. The usual
//! error of a flux, σ² = Σ w² V_D, ignores that and is up to 44 % too small. Everything here is a linear sum wᵀD with the exact variance
//!
//! > σ² = Σ w² V_n + Σ (𝒦ᵀ w)² V_r + the fit's own error aᵀ H⁻¹ a,
//!
//! from the original variances of both images and the kernel at that place.
//!
//! | idea | here |
//! |---|---|
//! | the difference and what its errors come from | [`Scene`] |
//! | PSF of the reference by its stars | [`reference_psf()`] |
//! | PSF of the target without its stars | [`target_psf()`] |
//! | significance and flux of a point source at each pixel | [`score()`] |
//! | a difference of white noise | [`decorrelate()`] |
//! | what is significant, with flags | [`detect()`] |
//! | flux at given places | [`forced()`] |
//! | stars of known flux, and what becomes of them | [`inject`], [`certify()`] |
//!
//! Positions are (x, y) in pixels, 0 in the middle of the first; fluxes are in target ADU unless said otherwise. Results have the same bits for any number of
//! threads.

mod alternatives;
mod certify;
mod components;
mod decorrelate;
mod detect;
mod error;
mod extended;
mod filter;
mod flags;
mod forced;
pub mod inject;
mod linear;
mod moffat;
mod offsets;
mod peaks;
mod place;
mod reference_flux;
mod reference_psf;
mod scene;
mod score;
mod spectrum;
mod star_stack;
mod surroundings;
mod target_psf;
mod tiles;

pub use certify::{Certificate, Completeness, Pull, certify, compare, found_part, half_complete};
pub use decorrelate::{Decorrelated, decorrelate, decorrelated_psf, lag_correlation};
pub use detect::{DetectOptions, Detection, detect};
pub use error::PhotometryError;
pub use filter::{Filter, SkyVariance, whitening_kernel};
pub use flags::Flags;
pub use forced::{ForcedFlux, ForcedOptions, Measured, forced};
pub use inject::{InjectOptions, Injected};
pub use reference_psf::{PsfOptions, ReferencePsf, reference_psf};
pub use scene::{FitCovariance, Scene};
pub use score::{Score, ScoreOptions, score};
pub use target_psf::{displacement, target_psf};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
