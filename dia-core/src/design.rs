//! What the rows and columns of the design matrix are.

use crate::{Kernel, KernelBasis, ModelError, Polynomial2d};

/// The model M(p) = (R ⊗ K)(p) + Σ_j b_j φ_j(p) as a linear map of x = (kernel coefficients, b).
///
/// Columns: the coefficients of the kernel in its [`KernelBasis`], then the coefficients b_j of the differential background
/// in the order of [`Polynomial2d`], in ADU. Rows: the valid pixels p, those at which the kernel lies fully inside the
/// reference image, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    height: usize,
    width: usize,
    basis: KernelBasis,
    background: Option<Polynomial2d>,
}

/// A rectangle of pixels inside an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First row.
    pub y: usize,
    /// First column.
    pub x: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Design {
    /// The model on images of `height` × `width` pixels; `background_degree` is the total degree of the differential
    /// background's polynomial, `None` for no background at all.
    ///
    /// # Errors
    /// [`ModelError::KernelTooLarge`] if no pixel is valid; [`ModelError::Basis`] if the basis is empty.
    pub fn new(
        height: usize,
        width: usize,
        basis: KernelBasis,
        background_degree: Option<usize>,
    ) -> Result<Self, ModelError> {
        let half_width = basis.support().half_width();
        if basis.is_empty() {
            return Err(ModelError::Basis);
        }
        if height.min(width) <= 2 * half_width {
            return Err(ModelError::KernelTooLarge { half_width, height, width });
        }
        let background = background_degree.map(|degree| Polynomial2d::new(degree, height, width));
        Ok(Self { height, width, basis, background })
    }

    /// Rows of the images.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of the images.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How the kernel is made of coefficients.
    pub fn basis(&self) -> &KernelBasis {
        &self.basis
    }

    /// Half-width of the kernel in pixels.
    pub fn half_width(&self) -> usize {
        self.basis.support().half_width()
    }

    /// The polynomials of the differential background.
    pub fn background(&self) -> Option<&Polynomial2d> {
        self.background.as_ref()
    }

    /// The valid pixels: the image without a border of one half-width.
    pub fn valid(&self) -> Region {
        let h = self.half_width();
        Region { y: h, x: h, height: self.height - 2 * h, width: self.width - 2 * h }
    }

    /// m, the number of valid pixels.
    pub fn nrows(&self) -> usize {
        let valid = self.valid();
        valid.height * valid.width
    }

    /// n, the number of coefficients.
    pub fn ncols(&self) -> usize {
        self.basis.len() + self.background.as_ref().map_or(0, Polynomial2d::len)
    }

    /// x cut into kernel coefficients and background coefficients.
    pub fn split<'x>(&self, x: &'x [f64]) -> (&'x [f64], &'x [f64]) {
        assert_eq!(x.len(), self.ncols());
        x.split_at(self.basis.len())
    }

    /// x cut into kernel coefficients and background coefficients, to be changed.
    pub fn split_mut<'x>(&self, x: &'x mut [f64]) -> (&'x mut [f64], &'x mut [f64]) {
        assert_eq!(x.len(), self.ncols());
        x.split_at_mut(self.basis.len())
    }

    /// The kernel K of the parameters x.
    pub fn kernel(&self, x: &[f64]) -> Kernel {
        let mut kernel = Kernel::zero(self.half_width());
        self.basis.expand(self.split(x).0, &mut kernel);
        kernel
    }

    /// The differential background in ADU at pixel (y, x) of the image.
    pub fn background_at(&self, parameters: &[f64], y: usize, x: usize) -> f64 {
        let coefficients = self.split(parameters).1;
        self.background.as_ref().map_or(0.0, |b| b.value(coefficients, y, x))
    }

    /// The linear functional c with c·x = P, the photometric scale.
    pub fn photometric_scale_functional(&self) -> Vec<f64> {
        let mut c = vec![0.0; self.ncols()];
        let ones = vec![1.0; self.basis.support().side().pow(2)];
        self.basis.project(&ones, self.split_mut(&mut c).0);
        c
    }
}

#[cfg(test)]
mod tests {
    use super::Design;
    use crate::{GaussianTerm, KernelBasis, KernelShape, KernelSupport, ModelError};

    #[test]
    fn the_scale_functional_gives_the_sum_of_the_kernel() {
        let circle = KernelSupport::new(3, KernelShape::Circle);
        for basis in [
            KernelBasis::delta(3),
            KernelBasis::FluxConservingDelta(circle),
            KernelBasis::gaussian_polynomials(3, KernelShape::Square, &GaussianTerm::HOTPANTS),
        ] {
            let design = Design::new(20, 30, basis, Some(1)).unwrap();
            let x: Vec<f64> = (0..design.ncols()).map(|k| (k as f64).cos()).collect();
            let c = design.photometric_scale_functional();
            let scale: f64 = c.iter().zip(&x).map(|(c, x)| c * x).sum();
            let kernel = design.kernel(&x);
            // 49 pixels × 49 functions of size up to (3/0.7)⁶ e⁻⁹ < 10.
            assert!((scale - kernel.photometric_scale()).abs() < 1e-11);
        }
    }

    #[test]
    fn a_kernel_must_leave_valid_pixels() {
        let error = Design::new(20, 9, KernelBasis::delta(5), None).unwrap_err();
        assert_eq!(error, ModelError::KernelTooLarge { half_width: 5, height: 20, width: 9 });
        let design = Design::new(20, 11, KernelBasis::delta(5), None).unwrap();
        assert_eq!((design.nrows(), design.ncols()), (10, 121));
    }
}
