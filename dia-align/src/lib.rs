//! Alignment of two images of one field, without touching the one that is measured.
//!
//! | question | answer |
//! |---|---|
//! | Which stars of two images are the same? | [`match_offset`] for images that are only shifted, [`match_stars`] for any rotation, mirror image and scale; both say what chance does |
//! | Which map do they tell? | [`FittedMap`]: similarity, affine or quadratic, robust, with its residual and covariance |
//! | Where are stars, to hundredths of a pixel? | [`recentre`] |
//! | What is an image on the grid of another? | [`warp`]: Lanczos, flux kept by the Jacobian, noise white again, with variance and mask |
//! | Where does a header say that pixels lie? | [`wcs::Wcs`]: six projections, SIP and TPV |
//!
//! A map leads from the pixels of the second image, the target, whose grid the result has, to those of the first, the reference, which is warped. Pixels are (x, y), columns and rows, 0 in the middle
//! of the first. Results do not depend on the number of threads.

mod asterisms;
mod centroid;
mod error;
mod fit;
mod lanczos;
mod map;
mod offset;
mod pairing;
mod star_match;
mod warp;
pub mod wcs;
mod whitening;

pub use centroid::recentre;
pub use error::AlignError;
pub use fit::{FittedMap, Model};
pub use map::{MAX_DEGREE, PlaneMap};
pub use offset::{Matched, match_offset};
pub use star_match::{FEWEST, MatchOptions, StarMatch, match_near, match_stars};
pub use warp::{Warped, warp};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
