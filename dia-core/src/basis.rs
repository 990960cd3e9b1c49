//! Kernel bases: linear maps from a few coefficients to the pixels of a kernel.

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
    /// A sum of given images of one size, say those of [`gaussian_polynomials`](Self::gaussian_polynomials).
    Images {
        /// The support that holds all of them.
        support: KernelSupport,
        /// The images K_k.
        images: Vec<Kernel>,
    },
}

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

    /// Number of coefficients.
    pub fn len(&self) -> usize {
        match self {
            Self::Delta(support) | Self::FluxConservingDelta(support) => support.len(),
            Self::Images { images, .. } => images.len(),
        }
    }

    /// Whether it has no function at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pixels that any kernel of this basis may use.
    pub fn support(&self) -> &KernelSupport {
        match self {
            Self::Delta(support)
            | Self::FluxConservingDelta(support)
            | Self::Images { support, .. } => support,
        }
    }

    /// E a: the kernel of the given coefficients, written over `kernel` (all (2h + 1)² pixels of it).
    pub fn expand(&self, coefficients: &[f64], kernel: &mut Kernel) {
        assert_eq!(coefficients.len(), self.len());
        assert_eq!(kernel.half_width(), self.support().half_width());
        let pixels = kernel.pixels_mut();
        pixels.fill(0.0);
        match self {
            Self::Delta(support) => {
                for (place, a) in support.places().zip(coefficients) {
                    pixels[place] = *a;
                }
            }
            Self::FluxConservingDelta(support) => {
                let centre = pixels.len() / 2;
                pixels[centre] = coefficients[0] - coefficients[1..].iter().sum::<f64>();
                let others = support.places().filter(|place| *place != centre);
                for (place, a) in others.zip(&coefficients[1..]) {
                    pixels[place] = *a;
                }
            }
            Self::Images { images, .. } => {
                for (image, a) in images.iter().zip(coefficients) {
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
        assert_eq!(gradient.len(), self.support().side().pow(2));
        match self {
            Self::Delta(support) => {
                for (place, a) in support.places().zip(coefficients) {
                    *a = gradient[place];
                }
            }
            Self::FluxConservingDelta(support) => {
                let centre = gradient.len() / 2;
                coefficients[0] = gradient[centre];
                let others = support.places().filter(|place| *place != centre);
                for (place, a) in others.zip(&mut coefficients[1..]) {
                    *a = gradient[place] - gradient[centre];
                }
            }
            Self::Images { images, .. } => {
                for (image, a) in images.iter().zip(coefficients) {
                    *a = image.pixels().iter().zip(gradient).map(|(k, g)| k * g).sum();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GaussianTerm, KernelBasis};
    use crate::{Kernel, KernelShape, KernelSupport, ModelError};

    fn bases() -> Vec<KernelBasis> {
        let circle = KernelSupport::new(4, KernelShape::Circle);
        vec![
            KernelBasis::delta(4),
            KernelBasis::Delta(circle.clone()),
            KernelBasis::FluxConservingDelta(circle),
            KernelBasis::gaussian_polynomials(4, KernelShape::Circle, &GaussianTerm::HOTPANTS),
        ]
    }

    /// Σ values, pseudo-random in [−1, 1] and reproducible.
    fn values(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f64 / 504.5 - 1.0).collect()
    }

    #[test]
    fn project_is_the_adjoint_of_expand() {
        for basis in bases() {
            let (a, g) = (values(basis.len()), values(81));
            let mut kernel = Kernel::from_fn(4, |_, _| f64::NAN);
            basis.expand(&a, &mut kernel);
            let mut projected = vec![f64::NAN; basis.len()];
            basis.project(&g, &mut projected);
            let left: f64 = kernel.pixels().iter().zip(&g).map(|(k, g)| k * g).sum();
            let right: f64 = projected.iter().zip(&a).map(|(p, a)| p * a).sum();
            // At most 81 × 49 products of size below 10; each rounds once.
            assert!((left - right).abs() < 81.0 * 49.0 * 10.0 * f64::EPSILON);
        }
    }

    #[test]
    fn only_the_first_function_of_a_flux_conserving_basis_carries_flux() {
        for basis in &bases()[2..] {
            for k in 0..basis.len() {
                let mut a = vec![0.0; basis.len()];
                a[k] = 1.0;
                let mut kernel = Kernel::zero(4);
                basis.expand(&a, &mut kernel);
                let expected = f64::from(u8::from(k == 0));
                // 81 values of size at most 10⁴ (u⁶ at the edge, in units of σ) that cancel in pairs.
                assert!((kernel.photometric_scale() - expected).abs() < 1e-11, "function {k}");
            }
        }
    }

    #[test]
    fn hotpants_defaults_make_49_functions() {
        let basis =
            KernelBasis::gaussian_polynomials(10, KernelShape::Square, &GaussianTerm::HOTPANTS);
        assert_eq!(basis.len(), 28 + 15 + 6);
    }

    #[test]
    fn images_must_share_one_size() {
        assert_eq!(KernelBasis::images(vec![]), Err(ModelError::Basis));
        let mixed = vec![Kernel::zero(2), Kernel::zero(3)];
        assert_eq!(KernelBasis::images(mixed), Err(ModelError::Basis));
    }
}
