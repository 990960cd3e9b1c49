//! Gaussians times polynomials, the basis of Alard & Lupton.

use crate::{Kernel, KernelBasis, KernelShape, KernelSupport};

/// One Gaussian of the basis of Alard & Lupton: its width and the degree of the polynomial that multiplies it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianTerm {
    /// σ in pixels.
    pub sigma: f64,
    /// Highest total degree of u^i v^j.
    pub degree: usize,
}

impl GaussianTerm {
    /// HOTPANTS' defaults: σ = 0.7, 1.5, 3.0 px with degrees 6, 4, 2; 49 functions.
    pub const HOTPANTS: [Self; 3] = [
        Self { sigma: 0.7, degree: 6 },
        Self { sigma: 1.5, degree: 4 },
        Self { sigma: 3.0, degree: 2 },
    ];
}

impl KernelBasis {
    /// The basis of Alard & Lupton (1998, ApJ 503, 325): e^{−(u²+v²)/2σ²} u^i v^j for each Gaussian, cut at the outline `shape`.
    ///
    /// As in HOTPANTS, the functions with even i and j have unit sum; those but the first have the first subtracted, and the
    /// others sum to zero by symmetry. So the first coefficient is the photometric scale. Functions that vanish on a small
    /// support (those with an odd power at half-width 0) are left out.
    pub fn gaussian_polynomials(
        half_width: usize,
        shape: KernelShape,
        terms: &[GaussianTerm],
    ) -> Self {
        let support = KernelSupport::new(half_width, shape);
        let mut images: Vec<Kernel> = Vec::new();
        for term in terms {
            for (i, j) in (0..=term.degree).flat_map(|d| (0..=d).map(move |j| (d - j, j))) {
                let mut image = Kernel::from_fn(half_width, |dy, dx| {
                    if dx.abs() > support.row_reach(dy) {
                        return 0.0;
                    }
                    let (v, u) = (dy as f64, dx as f64);
                    let gaussian = (-(u * u + v * v) / (2.0 * term.sigma * term.sigma)).exp();
                    // Scaled by σ so that all functions are of one size.
                    gaussian * (u / term.sigma).powi(i as i32) * (v / term.sigma).powi(j as i32)
                });
                if image.pixels().iter().all(|k| *k == 0.0) {
                    continue;
                }
                if i % 2 == 0 && j % 2 == 0 {
                    let sum = image.photometric_scale();
                    image.pixels_mut().iter_mut().for_each(|k| *k /= sum);
                    if let Some(first) = images.first() {
                        for (k, first) in image.pixels_mut().iter_mut().zip(first.pixels()) {
                            *k -= first;
                        }
                    }
                }
                images.push(image);
            }
        }
        Self::Images { support, images }
    }
}
