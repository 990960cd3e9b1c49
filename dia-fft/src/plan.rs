//! Which way of multiplying is the fastest for an image and a kernel.

use dia_core::{Design, OperatorError};

use crate::overlap_save::Tiling;
use crate::tile;

/// How the products of a [`FftDesignMatrix`](crate::FftDesignMatrix) are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Side N of the tiles, see [`Plan::sides`].
    pub side: usize,
    /// Whether the spectra of the reference's tiles are kept, about 1.4 times the reference's own memory; else they are
    /// computed again in every product, which then takes about half as long again.
    pub store_spectra: bool,
}

impl Plan {
    /// The fastest way for a design.
    ///
    /// Tiles cost c(N) per pair, measured for each side and listed beside its radices; of all sides that leave room for
    /// the kernel, the one with the least c(N) times the number of pairs is taken.
    ///
    /// # Errors
    /// If no tile has room for the kernel.
    pub fn fastest(design: &Design) -> Result<Self, OperatorError> {
        let cost = |(side, cost): (usize, f64)| {
            let tiling = Tiling::new(side, design.half_width(), design.valid());
            cost * (tiling.bands * tiling.pairs_per_band) as f64
        };
        let room = |(side, _): &(usize, f64)| *side > 2 * design.half_width();
        let fastest = tile::costs().filter(room).min_by(|a, b| cost(*a).total_cmp(&cost(*b)));
        let (side, _) = fastest.ok_or_else(|| {
            OperatorError::new(format!(
                "a kernel of half-width {} does not fit into the largest tile; choose a smaller one",
                design.half_width()
            ))
        })?;
        Ok(Self { side, store_spectra: true })
    }

    /// Sides that tiles can have.
    pub fn sides() -> impl Iterator<Item = usize> {
        tile::costs().map(|(side, _)| side)
    }
}
