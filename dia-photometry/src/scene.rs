//! A difference image with all that its errors come from.

use dia_core::{Design, ImageView, Kernel, Mask, MaskPlanes};

use crate::place::Place;
use crate::{PhotometryError, ReferencePsf};

/// The covariance of the fitted parameters, asked for as aᵀ H⁻¹ b: a and b have one element for each column of the [`Design`].
pub trait FitCovariance: Sync {
    /// aᵀ H⁻¹ b, in ADU² where aᵀ x is in ADU.
    fn product(&self, a: &[f64], b: &[f64]) -> f64;
}

impl<F: Fn(&[f64], &[f64]) -> f64 + Sync> FitCovariance for F {
    fn product(&self, a: &[f64], b: &[f64]) -> f64 {
        self(a, b)
    }
}

/// D = I − K ⊗ R − B with the *original* variances, those of target and reference before anything was convolved.
///
/// All planes share the target's grid. Pixels of D that are not finite are left out wherever they are met. The variance of D itself is no part of this:
/// it lacks the covariance between pixels, which the reference brings along.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// D in ADU; NaN where it is missing.
    pub difference: ImageView<'a, f32>,
    /// V_n, the variance of the target in ADU².
    pub target_variance: ImageView<'a, f32>,
    /// V_r, the variance of the reference in its own ADU²; zero for a reference without noise.
    pub reference_variance: ImageView<'a, f32>,
    /// R less its sky in its own ADU: what the kernel was fitted to; NaN where it is masked, which counted as zero.
    pub reference: ImageView<'a, f32>,
    /// Why D is missing; pixels that only the fit left out have the planes `VARIABLE` or `CLIPPED`.
    pub mask: &'a Mask,
    /// The model that was fitted.
    pub design: &'a Design,
    /// Its parameters.
    pub parameters: &'a [f64],
    /// P_r, the PSF of the reference.
    pub reference_psf: &'a ReferencePsf,
    /// The increase of V_n in ADU² per ADU of light that V_n does not know of, 1/gain: the photons of what appeared. 0 where V_n was measured on the target itself.
    pub photon: f64,
    /// The covariance of the parameters; without it the fit's own error is taken for zero.
    pub covariance: Option<&'a dyn FitCovariance>,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("shape", &self.difference.shape()).finish_non_exhaustive()
    }
}

impl Scene<'_> {
    /// Checks that all planes share a grid.
    ///
    /// # Errors
    /// [`PhotometryError::Shape`] names the first plane that does not fit.
    pub fn validate(&self) -> Result<(), PhotometryError> {
        let expected = self.difference.shape();
        let planes = [
            ("target variance", self.target_variance.shape()),
            ("reference variance", self.reference_variance.shape()),
            ("reference", self.reference.shape()),
            ("mask", (self.mask.height(), self.mask.width())),
            ("fitted model", (self.design.height(), self.design.width())),
        ];
        for (plane, got) in planes {
            if got != expected {
                return Err(PhotometryError::Shape { plane, got, expected });
            }
        }
        Ok(())
    }

    /// K at the pixel nearest to (y, x) inside the image.
    pub fn kernel_at(&self, y: f64, x: f64) -> Kernel {
        let (y, x) = self.nearest(y, x);
        self.design.kernel_at(self.parameters, y, x)
    }

    /// The target's PSF at (y, x) as far as light reaches, its centre at (dy, dx) pixels from that of the kernel's square; of unit sum but for what the reference's
    /// PSF has lost. `None` where no pixel near it has a difference.
    pub fn psf_at(&self, y: f64, x: f64, (dy, dx): (f64, f64)) -> Option<Kernel> {
        Place::at(self, y, x).map(|place| place.whole_psf(dy, dx))
    }

    /// D at a pixel that may lie outside the image; `None` where it is missing.
    pub(crate) fn difference_at(&self, y: isize, x: isize) -> Option<f64> {
        let value = inside(self.difference, y, x)?;
        value.is_finite().then_some(value)
    }

    /// V_n; zero where it is unknown, as it is of pixels without D.
    pub(crate) fn target_variance_at(&self, y: isize, x: isize) -> f64 {
        variance_at(self.target_variance, y, x)
    }

    /// V_r; zero where it is unknown.
    pub(crate) fn reference_variance_at(&self, y: isize, x: isize) -> f64 {
        variance_at(self.reference_variance, y, x)
    }

    /// R; zero outside and where it is unknown, as it is in the fit.
    pub(crate) fn reference_at(&self, y: isize, x: isize) -> f64 {
        inside(self.reference, y, x).filter(|r| r.is_finite()).unwrap_or(0.0)
    }

    /// Whether R is known: neither outside nor NaN.
    pub(crate) fn is_reference_known(&self, y: isize, x: isize) -> bool {
        inside(self.reference, y, x).is_some_and(f64::is_finite)
    }

    /// R out to `half_width` pixels around a pixel: element u is R(p + u).
    pub(crate) fn reference_around(&self, y: usize, x: usize, half_width: usize) -> Kernel {
        let (y, x) = (y as isize, x as isize);
        Kernel::from_fn(half_width, |dy, dx| self.reference_at(y + dy, x + dx))
    }

    /// Whether the fit saw the pixel at an offset (dy, dx) from (y, x).
    pub(crate) fn is_fitted(&self, y: usize, x: usize, (dy, dx): (isize, isize)) -> bool {
        let left_out = MaskPlanes::VARIABLE | MaskPlanes::CLIPPED;
        let (y, x) = (y as isize + dy, x as isize + dx);
        self.difference_at(y, x).is_some()
            && !self.mask.at(y as usize, x as usize).intersects(left_out)
    }

    /// The pixel of the image that is nearest to (y, x); NaN counts as 0.
    pub(crate) fn nearest(&self, y: f64, x: f64) -> (usize, usize) {
        let (height, width) = self.difference.shape();
        let clamp = |v: f64, n: usize| (v.round().max(0.0) as usize).min(n - 1);
        (clamp(y, height), clamp(x, width))
    }
}

fn inside(plane: ImageView<'_, f32>, y: isize, x: isize) -> Option<f64> {
    let (height, width) = plane.shape();
    let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
    (y < height && x < width).then(|| f64::from(plane.at(y, x)))
}

fn variance_at(plane: ImageView<'_, f32>, y: isize, x: isize) -> f64 {
    inside(plane, y, x).filter(|v| v.is_finite() && *v > 0.0).unwrap_or(0.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use dia_core::{Design, Image, Kernel, KernelBasis, Mask};

    use super::Scene;
    use crate::{PhotometryError, ReferencePsf};

    /// The planes of a scene, to be lent.
    #[derive(Clone)]
    pub(crate) struct Fixture {
        pub(crate) difference: Image<f32>,
        pub(crate) target_variance: Image<f32>,
        pub(crate) reference_variance: Image<f32>,
        pub(crate) reference: Image<f32>,
        pub(crate) mask: Mask,
        pub(crate) design: Design,
        pub(crate) parameters: Vec<f64>,
        pub(crate) psf: ReferencePsf,
        pub(crate) photon: f64,
    }

    impl Fixture {
        /// A difference of zeros with variances of 4 and 0, an empty reference, a kernel of one pixel of 1, and a PSF of σ = 1.5 pixels.
        pub(crate) fn empty(height: usize, width: usize) -> Self {
            let design = Design::new(height, width, KernelBasis::delta(0), None).unwrap();
            Self {
                difference: Image::filled(height, width, 0.0),
                target_variance: Image::filled(height, width, 4.0),
                reference_variance: Image::filled(height, width, 0.0),
                reference: Image::filled(height, width, 0.0),
                mask: Mask::good(height, width),
                parameters: vec![1.0],
                design,
                psf: ReferencePsf::constant(&Kernel::gaussian(10, 1.5)).unwrap(),
                photon: 0.0,
            }
        }

        pub(crate) fn scene(&self) -> Scene<'_> {
            Scene {
                difference: self.difference.view(),
                target_variance: self.target_variance.view(),
                reference_variance: self.reference_variance.view(),
                reference: self.reference.view(),
                mask: &self.mask,
                design: &self.design,
                parameters: &self.parameters,
                reference_psf: &self.psf,
                photon: self.photon,
                covariance: None,
            }
        }

        /// Adds a Gaussian star of the fixture's PSF to the difference.
        pub(crate) fn add_star(&mut self, y: f64, x: f64, flux: f64) {
            for (py, row) in
                self.difference.clone().pixels().chunks(self.difference.width()).enumerate()
            {
                for (px, d) in row.iter().enumerate() {
                    let r2 = (py as f64 - y).powi(2) + (px as f64 - x).powi(2);
                    let star = flux * (-r2 / 4.5).exp() / (4.5 * std::f64::consts::PI);
                    self.difference.row_mut(py)[px] = d + star as f32;
                }
            }
        }
    }

    /// Numbers in [−1, 1], evenly distributed and reproducible.
    pub(crate) fn pseudo_random(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            // Knuth's linear congruential generator; its upper bits.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        }
    }

    #[test]
    fn a_plane_of_another_size_is_named() {
        let mut fixture = Fixture::empty(20, 24);
        assert_eq!(fixture.scene().validate(), Ok(()));
        fixture.reference = Image::filled(24, 20, 0.0);
        let error = fixture.scene().validate().unwrap_err();
        let expected =
            PhotometryError::Shape { plane: "reference", got: (24, 20), expected: (20, 24) };
        assert_eq!(error, expected);
    }
}
