//! Kernel bases: linear maps from a few coefficients to the pixels of a kernel.

mod gaussian_polynomials;
mod mixed_resolution;

pub use gaussian_polynomials::GaussianTerm;
pub use mixed_resolution::{Resolution, SparseColumns};

use crate::{Kernel, KernelShape, KernelSupport, ModelError};

/// How a kernel is made of coefficients, K = Σ_k a_k K_k.
///
/// A basis is a linear map E from coefficients to kernel pixels. Operators convolve with the kernel E a and hand the
/// gradient over kernel pixels back through Eᵀ, so every basis costs the same products.
#[derive(Clone, Debug, PartialEq)]
pub enum KernelBasis {
    /// Every pixel of the support is free (Bramich 2008, MNRAS 386, L77); coefficients in the order of the offsets.
    Delta(KernelSupport),
    /// The delta basis {δ_0, δ_u − δ_0 (u ≠ 0)}: the first coefficient is the photometric scale, all others carry no
    /// flux (Bramich et al. 2013, MNRAS 428, 2275).
    FluxConservingDelta(KernelSupport),
    /// A delta basis of mixed resolution: every pixel free near the centre, interpolated between the nodes of a coarser grid further out, where kernels
    /// are smooth; see [`mixed_resolution`](Self::mixed_resolution).
    MixedResolution {
        /// The support.
        support: KernelSupport,
        /// E by its elements that are not zero, by coefficient.
        elements: SparseColumns,
    },
    /// A sum of given images of one size, say those of [`gaussian_polynomials`](Self::gaussian_polynomials).
    Images {
        /// The support that holds all of them.
        support: KernelSupport,
        /// The images K_k.
        images: Vec<Kernel>,
    },
}

impl KernelBasis {
    /// A free pixel array over the (2h + 1)² square.
    pub fn delta(half_width: usize) -> Self {
        Self::Delta(KernelSupport::new(half_width, KernelShape::Square))
    }

    /// A sum of given images.
    ///
    /// # Errors
    /// [`ModelError::Basis`] if there are none or their sizes differ.
    pub fn images(images: Vec<Kernel>) -> Result<Self, ModelError> {
        let half_width = images.first().ok_or(ModelError::Basis)?.half_width();
        if images.iter().any(|image| image.half_width() != half_width) {
            return Err(ModelError::Basis);
        }
        Ok(Self::Images { support: KernelSupport::new(half_width, KernelShape::Square), images })
    }

    /// Number of coefficients.
    pub fn len(&self) -> usize {
        match self {
            Self::Delta(support) | Self::FluxConservingDelta(support) => support.len(),
            Self::MixedResolution { elements, .. } => elements.columns.len(),
            Self::Images { images, .. } => images.len(),
        }
    }

    /// Whether it has no function at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether only the first function carries flux, so that its coefficient is the photometric scale times its own sum.
    pub fn conserves_flux(&self) -> bool {
        match self {
            Self::Delta(support) => support.len() == 1,
            Self::FluxConservingDelta(_) => true,
            Self::MixedResolution { elements, .. } => {
                let sum = |column: &Vec<(usize, f64)>| column.iter().map(|(_, v)| v).sum::<f64>();
                elements.columns[1..].iter().all(|column| sum(column).abs() <= 1e-12)
            }
            Self::Images { images, .. } => images[1..].iter().all(|image| {
                let size: f64 = image.pixels().iter().map(|k| k.abs()).sum();
                image.photometric_scale().abs() <= 1e-10 * size
            }),
        }
    }

    /// The pixels that any kernel of this basis may use.
    pub fn support(&self) -> &KernelSupport {
        match self {
            Self::Delta(support)
            | Self::FluxConservingDelta(support)
            | Self::MixedResolution { support, .. }
            | Self::Images { support, .. } => support,
        }
    }

    /// E a: the kernel of the given coefficients, written over `kernel` (all (2h + 1)² pixels of it).
    pub fn expand(&self, coefficients: &[f64], kernel: &mut Kernel) {
        assert_eq!(coefficients.len(), self.len());
        self.expand_part(0, coefficients, kernel);
    }

    /// As [`expand`](Self::expand), for the coefficients of the functions from `first` on; those of the others are 0.
    pub(crate) fn expand_part(&self, first: usize, coefficients: &[f64], kernel: &mut Kernel) {
        assert!(first + coefficients.len() <= self.len());
        assert_eq!(kernel.half_width(), self.support().half_width());
        let pixels = kernel.pixels_mut();
        pixels.fill(0.0);
        match self {
            Self::Delta(support) => {
                for (place, a) in support.places().skip(first).zip(coefficients) {
                    pixels[place] = *a;
                }
            }
            Self::FluxConservingDelta(support) => {
                let centre = pixels.len() / 2;
                let (flux, others) = coefficients.split_at(usize::from(first == 0));
                pixels[centre] = flux.iter().sum::<f64>() - others.iter().sum::<f64>();
                let places = support.places().filter(|place| *place != centre);
                for (place, a) in places.skip(first.saturating_sub(1)).zip(others) {
                    pixels[place] = *a;
                }
            }
            Self::MixedResolution { elements, .. } => {
                for (column, a) in elements.columns[first..].iter().zip(coefficients) {
                    for (place, value) in column {
                        pixels[*place] += value * a;
                    }
                }
            }
            Self::Images { images, .. } => {
                for (image, a) in images[first..].iter().zip(coefficients) {
                    for (pixel, k) in pixels.iter_mut().zip(image.pixels()) {
                        *pixel += a * k;
                    }
                }
            }
        }
    }

    /// Eᵀ g: from a gradient over the (2h + 1)² kernel pixels to one over the coefficients.
    pub fn project(&self, gradient: &[f64], coefficients: &mut [f64]) {
        assert_eq!(coefficients.len(), self.len());
        self.project_part(gradient, 0, coefficients);
    }

    /// As [`project`](Self::project), to the coefficients of the functions from `first` on.
    pub(crate) fn project_part(&self, gradient: &[f64], first: usize, coefficients: &mut [f64]) {
        assert!(first + coefficients.len() <= self.len());
        assert_eq!(gradient.len(), self.support().side().pow(2));
        match self {
            Self::Delta(support) => {
                for (place, a) in support.places().skip(first).zip(coefficients) {
                    *a = gradient[place];
                }
            }
            Self::FluxConservingDelta(support) => {
                let centre = gradient.len() / 2;
                let (flux, others) = coefficients.split_at_mut(usize::from(first == 0));
                flux.fill(gradient[centre]);
                let places = support.places().filter(|place| *place != centre);
                for (place, a) in places.skip(first.saturating_sub(1)).zip(others) {
                    *a = gradient[place] - gradient[centre];
                }
            }
            Self::MixedResolution { elements, .. } => {
                elements.project(gradient, first, coefficients);
            }
            Self::Images { images, .. } => {
                for (image, a) in images[first..].iter().zip(coefficients) {
                    *a = image.pixels().iter().zip(gradient).map(|(k, g)| k * g).sum();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
