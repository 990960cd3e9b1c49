//! Which way of multiplying is the fastest for an image and a kernel.

use dia_core::{Design, OperatorError};

use crate::tile;
use crate::tiling::Tiling;

/// How the products of a [`FftDesignMatrix`](crate::FftDesignMatrix) are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The algorithm.
    pub method: Method,
    /// Whether the spectra of the reference's tiles are kept, about 1.4 times the reference's own memory; else they are
    /// computed again in every product, which then takes about half as long again, less where the kernel varies. The direct method has none.
    pub store_spectra: bool,
}

/// The algorithms of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By definition, 2 (2h + 1)² flop per pixel. For small kernels.
    Direct,
    /// By Fourier transforms of tiles of `side`² pixels, one of [`Method::sides`]. The cost hardly depends on the kernel.
    OverlapSave {
        /// N, the side of a tile.
        side: usize,
    },
}

/// What AᵀWA x costs by the direct method, in ns per pixel and kernel pixel, measured as the costs of tiles were: 0.055 for
/// 7 × 7, more for smaller and less for larger kernels; at the crossover to tiles the kernel has about that size.
const DIRECT_COST: f64 = 0.055;

impl Plan {
    /// The fastest way for a design, with stored spectra.
    ///
    /// The direct method costs 0.055 ns per pixel and kernel pixel. Tiles cost c(N) per pair, measured for each side and listed beside its
    /// radices (the table `tiles` of the benchmarks). All were measured for `f32` on one core with AVX-512; of the choice only ratios matter.
    /// A kernel that varies as a polynomial of degree d, n terms, takes n direct products, and tiles of (n + d + 1)/2 times the cost: that moves the
    /// ratio by less than kernels of 5 × 5 and 7 × 7 pixels differ, between which the choice lies.
    ///
    /// # Errors
    /// If no tile has room for the kernel.
    pub fn fastest(design: &Design) -> Result<Self, OperatorError> {
        let design = &design.without_rings();
        let h = design.half_width();
        let tiles = tile::costs().filter(|(side, _)| *side > 2 * h).map(|(side, cost)| {
            (Method::OverlapSave { side }, cost * Tiling::new(side, design).pairs() as f64)
        });
        let (method, tiles_cost) = tiles.min_by(|a, b| a.1.total_cmp(&b.1)).ok_or_else(|| {
            OperatorError::new(format!(
                "a kernel of half-width {h} does not fit into the largest tile; choose a smaller one"
            ))
        })?;
        let kernel_pixels = (2 * h + 1).pow(2);
        let direct_cost = 1e-3 * DIRECT_COST * (kernel_pixels * design.nrows()) as f64;
        let method = if direct_cost < tiles_cost { Method::Direct } else { method };
        Ok(Self { method, store_spectra: true })
    }

    /// Memory in bytes of what an operator with this plan keeps beside the shared image, for pixels of type `T`.
    pub fn bytes<T>(&self, design: &Design) -> usize {
        let rings = design.basis().rings().len() * design.nrows() * size_of::<T>();
        let design = &design.without_rings();
        let (height, width) = design.reference_shape();
        let products = match self.method {
            Method::Direct => height * (width + 16) * size_of::<T>(),
            // The image is that of others, but for the part of it that is cut out.
            Method::OverlapSave { .. } if !self.store_spectra && rings > 0 => {
                height * width * size_of::<T>()
            }
            Method::OverlapSave { .. } if !self.store_spectra => 0,
            Method::OverlapSave { side } => {
                let planes = 2 * Tiling::new(side, design).pairs();
                planes * side * tile::stride::<T>(side) * size_of::<T>()
            }
        };
        rings + products
    }
}

impl Method {
    /// Sides that tiles can have.
    pub fn sides() -> impl Iterator<Item = usize> {
        tile::costs().map(|(side, _)| side)
    }
}
