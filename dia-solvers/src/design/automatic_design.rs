//! The design that is chosen where nobody says another one: how far the kernel reaches, and where it is how fine.
//!
//! The kernel that turns one seeing into another has a core about as wide as the wider of the two, and wings that fall off as those of the stars do. Of a Moffat
//! profile of β = 3, 2 % of the light lie beyond 2.5 FWHM and 0.07 % beyond 6: a kernel that ends at the former finds too small a photometric scale. But the wings are
//! smooth, round and weak, so that they cost few unknowns, and may reach over masked pixels and the edge of the image, where what they would carry in is
//! far below the noise.

use dia_core::{
    Design, KernelBasis, KernelShape, KernelSupport, MAX_DEGREE, ModelError, Resolution,
};

/// Radius in FWHM of the wider seeing within which every pixel of the kernel is free.
const CORE: f64 = 1.25;

/// That out to which it is interpolated between nodes, and no masked pixel may lie: on simulated fields with the wings of seeing, 2 lost flux and 3 gained little.
const INNER: f64 = 2.5;

/// That at which the wings end.
const WINGS: f64 = 6.0;

/// Spacing of the nodes in pixels, of FWHM up to [`FINE`]; beyond, it grows in proportion.
const SPACING: usize = 3;

/// The FWHM in pixels from which kernels are smooth from pixel to pixel: the core grows no more.
const FINE: f64 = 6.0;

/// Largest radius of the inner part and of the wings in pixels: unknowns are too many for most images beyond the one, sums too long beyond the other.
const LARGEST_INNER: usize = 25;
const LARGEST: usize = 45;

/// Smallest radius of the inner part.
const SMALLEST_INNER: usize = 3;

/// Degree of the kernel's variation: on simulated fields with a constant kernel, it cost 0 to 3 % of the model's error, and 0.039 instead of
/// 0.28 σ were left where the seeing changed by 12 % from the middle to the edges.
const DEGREE: usize = 2;

/// Where there are fewer, a smaller degree is chosen.
const PIXELS_PER_UNKNOWN: usize = 30;

/// How far a kernel reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelExtent {
    /// Radius in pixels within which every pixel is free.
    pub core: f64,
    /// Spacing of the nodes beyond it in pixels.
    pub spacing: usize,
    /// That out to which pixels are interpolated between nodes; also the border without valid pixels, and how far a masked pixel of the reference spoils others.
    pub inner: usize,
    /// Half-width of the whole kernel with its wings, in pixels; at least [`inner`](Self::inner).
    pub half_width: usize,
}

impl KernelExtent {
    /// For the wider FWHM of both images' stars in pixels, and images of `height` × `width` pixels.
    pub fn of_seeing(fwhm: f64, height: usize, width: usize) -> Self {
        let pixels = |radius: f64| (radius * fwhm).ceil() as usize;
        let inner = pixels(INNER).clamp(SMALLEST_INNER, LARGEST_INNER);
        let room = height.min(width).saturating_sub(1) / 2;
        let half_width = pixels(WINGS).min(LARGEST).min(room).max(inner);
        Self { inner, half_width, ..Self::of_half_width(half_width, Some(fwhm)) }
    }

    /// Without wings, of a given half-width in pixels; for the wider FWHM of both images' stars if that is known.
    pub fn of_half_width(half_width: usize, fwhm: Option<f64>) -> Self {
        let fwhm = fwhm.unwrap_or(half_width as f64 / INNER);
        let wider = (fwhm / FINE).max(1.0);
        let spacing = (SPACING as f64 * wider).round() as usize;
        Self { core: CORE * fwhm / wider, spacing, inner: half_width, half_width }
    }

    /// The delta basis of mixed resolution; see [`KernelBasis::mixed_resolution`].
    pub fn basis(&self, shape: KernelShape, conserve_flux: bool) -> KernelBasis {
        let (inner, support) = if self.half_width > self.inner {
            (self.inner as f64, KernelSupport::new(self.half_width, KernelShape::Circle))
        } else {
            (f64::INFINITY, KernelSupport::new(self.half_width, shape))
        };
        let resolution = Resolution { core: self.core, spacing: self.spacing, inner };
        KernelBasis::mixed_resolution(support, resolution, conserve_flux)
    }
}

/// The design of the highest degree of the kernel's variation, up to 2, that leaves thirty pixels for each unknown; `designed` makes that of a given degree.
///
/// # Errors
/// Those of `designed`.
pub fn automatic_degree<E: From<ModelError>>(
    designed: impl Fn(usize) -> Result<Design, E>,
) -> Result<Design, E> {
    for degree in (1..=DEGREE).rev() {
        let design = designed(degree)?;
        if design.nrows() >= PIXELS_PER_UNKNOWN * design.ncols() {
            return Ok(design);
        }
    }
    designed(0)
}

/// The least degree of a background, which sky has nearly always.
pub const LEAST_BACKGROUND: usize = 2;

/// `design` with the largest degree of a background that is worth a test, see [`FitOptions::least_background`](crate::FitOptions::least_background): what it follows is wider than the kernel.
pub fn with_largest_background(design: Design) -> Design {
    let (valid, kernel) = (design.valid(), 2 * design.inner_half_width() + 1);
    let degree = (valid.height.min(valid.width) / kernel).clamp(LEAST_BACKGROUND, MAX_DEGREE);
    design.with_background(degree)
}

#[cfg(test)]
mod tests {
    use dia_core::KernelShape;
    use faer::Side;

    use super::KernelExtent;
    use crate::precondition::basis_rows::BasisRows;

    #[test]
    fn every_basis_has_full_rank() {
        for shape in [KernelShape::Circle, KernelShape::Square] {
            for fwhm in [2.0, 2.7, 3.6, 5.0, 6.3, 9.0, 20.0] {
                let given = (1..16).map(|h| KernelExtent::of_half_width(h, Some(fwhm)));
                for extent in given.chain([KernelExtent::of_seeing(fwhm, 300, 300)]) {
                    let basis = extent.basis(shape, false);
                    let squares = BasisRows::new(&basis, <[f64]>::to_vec).gram(|_| 1.0);
                    let eigenvalues = squares.self_adjoint_eigenvalues(Side::Lower).unwrap();
                    let (least, most) = (eigenvalues[0], eigenvalues[eigenvalues.len() - 1]);
                    // A column of which a millionth of its square is new may be left.
                    assert!(least > 1e-8 * most, "{extent:?}: {least:e} of {most:e}");
                }
            }
        }
    }
}
