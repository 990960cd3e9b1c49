//! A difference image with all that its errors come from.

use dia_core::{Design, ImageView, Kernel, Mask, MaskPlanes};

use crate::PhotometryError;
use crate::spectrum::shifted;
use crate::target_psf;

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
    /// R less its sky in its own ADU: what the kernel was fitted to.
    pub reference: ImageView<'a, f32>,
    /// Why D is missing; pixels that only the fit left out have the planes `VARIABLE` or `CLIPPED`.
    pub mask: &'a Mask,
    /// The model that was fitted.
    pub design: &'a Design,
    /// Its parameters.
    pub parameters: &'a [f64],
    /// P_r, the PSF of the reference, of unit sum and centred.
    pub reference_psf: &'a Kernel,
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
    /// [`PhotometryError::Shape`] names the first plane that does not fit; [`PhotometryError::Psf`] if the PSF's sum is not positive and finite.
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
        let sum = self.reference_psf.photometric_scale();
        if sum.is_finite() && sum > 0.0 { Ok(()) } else { Err(PhotometryError::Psf { sum }) }
    }

    /// K at the pixel nearest to (y, x) inside the image.
    pub fn kernel_at(&self, y: f64, x: f64) -> Kernel {
        let (y, x) = self.nearest(y, x);
        self.design.kernel_at(self.parameters, y, x)
    }

    /// Half-width of the target's PSF and of all weights: that of the reference's PSF and half the kernel's more, beyond which almost no light is.
    pub fn half_width(&self) -> usize {
        self.reference_psf.half_width() + self.design.half_width() / 2
    }

    /// The target's PSF with its centre at (dy, dx) pixels, for the kernel `kernel`.
    pub fn psf(&self, kernel: &Kernel, dy: f64, dx: f64) -> Kernel {
        let half_width = self.half_width();
        let psf = target_psf(self.reference_psf, kernel, half_width);
        if dy == 0.0 && dx == 0.0 { psf } else { shifted(&psf, dy, dx, half_width) }
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

    /// Whether the fit saw the pixel.
    pub(crate) fn is_fitted(&self, y: isize, x: isize) -> bool {
        let left_out = MaskPlanes::VARIABLE | MaskPlanes::CLIPPED;
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
