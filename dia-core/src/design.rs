//! What the rows and columns of the design matrix are.

use std::ops::Range;

use crate::{
    Kernel, KernelBasis, KernelShape, KernelSupport, MAX_DEGREE, ModelError, Pixel, Polynomial2d,
};

/// The model M(p) = Σ_t T_t(p) (R ⊗ K_t)(p) + Σ_j b_j φ_j(p) as a linear map of x = (kernel coefficients, b).
///
/// T_t are the polynomials of the kernel's variation over the image, T = {1} where it is constant. Columns: for each T_t the coefficients of
/// K_t in the [`KernelBasis`], those that [`KernelTerm`] names; then the coefficients b_j of the differential background in the order of
/// [`Polynomial2d`], in ADU. Rows: the valid pixels p, those at which the kernel lies fully inside the reference image, row after row;
/// or those that lie at least a given border inside, see [`with_border`](Self::with_border).
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    height: usize,
    width: usize,
    border: usize,
    basis: KernelBasis,
    scale_degree: usize,
    kernel_degree: usize,
    variation: Polynomial2d,
    background: Option<Polynomial2d>,
}

/// What belongs to one polynomial T_t of the kernel's variation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTerm {
    /// The columns of the design matrix.
    pub columns: Range<usize>,
    /// The functions of the basis that they multiply, one for each column: all, or where the degrees of scale and shape differ, only the first,
    /// which carries the flux, or all but it.
    pub functions: Range<usize>,
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
    /// [`ModelError::KernelTooLarge`] if no pixel is valid; [`ModelError::Basis`] if the basis is empty; [`ModelError::Degree`] above [`MAX_DEGREE`].
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
        if let Some(degree) = background_degree.filter(|degree| *degree > MAX_DEGREE) {
            let what = "a background";
            return Err(ModelError::Degree { what, degree, most: MAX_DEGREE });
        }
        let background = background_degree.map(|degree| Polynomial2d::new(degree, height, width));
        let variation = Polynomial2d::new(0, height, width);
        let (border, scale_degree, kernel_degree) = (half_width, 0, 0);
        Ok(Self {
            height,
            width,
            border,
            basis,
            scale_degree,
            kernel_degree,
            variation,
            background,
        })
    }

    /// The same with all pixels that lie at least `border` pixels inside the image as rows, where that is less than the half-width.
    ///
    /// Operators then take a reference that continues with zeros, its sky being subtracted, by [`margin`](Self::margin) pixels on every side. What the kernel
    /// would carry in from stars beyond the edge is missing: `border` is to hold all of the kernel but its wings.
    #[must_use]
    pub fn with_border(self, border: usize) -> Self {
        Self { border: border.min(self.half_width()), ..self }
    }

    /// The same with a kernel that varies over the image: its photometric scale as a polynomial of total degree `scale_degree`, its shape
    /// as one of `kernel_degree` (Bramich et al. 2013, MNRAS 428, 2275). Different degrees need a basis in which only the first function
    /// carries flux.
    ///
    /// # Errors
    /// [`ModelError::Variation`] if the degrees differ and other functions of the basis carry flux; [`ModelError::Degree`] above
    /// [`MAX_VARIATION`].
    pub fn with_variation(
        self,
        scale_degree: usize,
        kernel_degree: usize,
    ) -> Result<Self, ModelError> {
        let degree = scale_degree.max(kernel_degree);
        if degree > MAX_VARIATION {
            let what = "a variation of the kernel";
            return Err(ModelError::Degree { what, degree, most: MAX_VARIATION });
        }
        if scale_degree != kernel_degree && !self.basis.conserves_flux() {
            return Err(ModelError::Variation { scale_degree, kernel_degree });
        }
        let variation = Polynomial2d::new(degree, self.height, self.width);
        Ok(Self { scale_degree, kernel_degree, variation, ..self })
    }

    /// The same with a kernel that does not vary.
    pub fn constant(&self) -> Self {
        let variation = Polynomial2d::new(0, self.height, self.width);
        Self { scale_degree: 0, kernel_degree: 0, variation, ..self.clone() }
    }

    /// The same with a background of total degree `degree`.
    ///
    /// # Panics
    /// If that is above [`MAX_DEGREE`].
    #[must_use]
    pub fn with_background(self, degree: usize) -> Self {
        Self { background: Some(Polynomial2d::new(degree, self.height, self.width)), ..self }
    }

    /// Whether `other` differs from this design by the degrees of its polynomials alone.
    pub fn differs_in_degrees_alone(&self, other: &Self) -> bool {
        let rows = |design: &Self| (design.height, design.width, design.border);
        rows(self) == rows(other) && self.basis == other.basis
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

    /// Rows and columns of the reference that operators take: one half-width on each side of the valid pixels. That is the shape of the images and the
    /// [`margin`](Self::margin) on either side, or less where the border is wider than the kernel.
    pub fn reference_shape(&self) -> (usize, usize) {
        let (valid, both) = (self.valid(), 2 * self.half_width());
        (valid.height + both, valid.width + both)
    }

    /// Pixels by which the reference that operators take continues beyond the edges of the images; 0 but for [`with_border`](Self::with_border).
    pub fn margin(&self) -> usize {
        self.half_width().saturating_sub(self.border)
    }

    /// The same rows with a kernel that has no rings, see [`KernelBasis::without_rings`].
    #[must_use]
    pub fn without_rings(&self) -> Self {
        Self { basis: self.basis.without_rings(), ..self.clone() }
    }

    /// Half-width of the kernel in pixels.
    pub fn half_width(&self) -> usize {
        self.basis.support().half_width()
    }

    /// That of the kernel without its rings.
    pub fn inner_half_width(&self) -> usize {
        self.basis.inner_radius() as usize
    }

    /// Degree of the photometric scale's polynomial.
    pub fn scale_degree(&self) -> usize {
        self.scale_degree
    }

    /// Degree of the polynomials of the kernel's shape.
    pub fn kernel_degree(&self) -> usize {
        self.kernel_degree
    }

    /// The polynomials T_t.
    pub fn variation(&self) -> &Polynomial2d {
        &self.variation
    }

    /// What belongs to each T_t, in their order.
    pub fn kernel_terms(&self) -> impl ExactSizeIterator<Item = KernelTerm> + '_ {
        let (n, terms) = (self.basis.len(), Polynomial2d::terms);
        let whole = terms(self.scale_degree.min(self.kernel_degree));
        let rest = if self.scale_degree > self.kernel_degree { 0..1 } else { 1..n };
        (0..self.variation.len()).map(move |t| {
            let functions = if t < whole { 0..n } else { rest.clone() };
            let first = t.min(whole) * n + t.saturating_sub(whole) * rest.len();
            KernelTerm { columns: first..first + functions.len(), functions }
        })
    }

    /// Number of columns that belong to the kernel.
    pub fn kernel_ncols(&self) -> usize {
        self.kernel_terms().last().map_or(0, |term| term.columns.end)
    }

    /// The polynomials of the differential background.
    pub fn background(&self) -> Option<&Polynomial2d> {
        self.background.as_ref()
    }

    /// The valid pixels: the image without a border of one half-width, or of what [`with_border`](Self::with_border) says.
    pub fn valid(&self) -> Region {
        let b = self.border;
        Region { y: b, x: b, height: self.height - 2 * b, width: self.width - 2 * b }
    }

    /// m, the number of valid pixels.
    pub fn nrows(&self) -> usize {
        let valid = self.valid();
        valid.height * valid.width
    }

    /// n, the number of coefficients.
    pub fn ncols(&self) -> usize {
        self.kernel_ncols() + self.background.as_ref().map_or(0, Polynomial2d::len)
    }

    /// x cut into kernel coefficients and background coefficients.
    pub fn split<'x>(&self, x: &'x [f64]) -> (&'x [f64], &'x [f64]) {
        assert_eq!(x.len(), self.ncols());
        x.split_at(self.kernel_ncols())
    }

    /// x cut into kernel coefficients and background coefficients, to be changed.
    pub fn split_mut<'x>(&self, x: &'x mut [f64]) -> (&'x mut [f64], &'x mut [f64]) {
        assert_eq!(x.len(), self.ncols());
        x.split_at_mut(self.kernel_ncols())
    }

    /// The kernel K of the parameters x: the constant term K_0, which is the mean over the image where it varies.
    pub fn kernel(&self, x: &[f64]) -> Kernel {
        self.kernels(x).swap_remove(0)
    }

    /// All K_t of the parameters x.
    pub fn kernels(&self, x: &[f64]) -> Vec<Kernel> {
        let mut kernels = vec![Kernel::zero(self.half_width()); self.variation.len()];
        self.expand(x, &mut kernels);
        kernels
    }

    /// Writes all K_t of the parameters x over `kernels`.
    pub fn expand(&self, x: &[f64], kernels: &mut [Kernel]) {
        assert_eq!(kernels.len(), self.variation.len());
        for (term, kernel) in self.kernel_terms().zip(kernels) {
            self.basis.expand_part(term.functions.start, &x[term.columns], kernel);
        }
    }

    /// Σ_t T_t(p) K_t, the kernel at pixel p = (y, x) of the image.
    pub fn kernel_at(&self, parameters: &[f64], y: usize, x: usize) -> Kernel {
        let mut values = vec![0.0; self.variation.len()];
        self.variation.evaluate(y, x, &mut values);
        let mut sum = Kernel::zero(self.half_width());
        for (kernel, value) in self.kernels(parameters).iter().zip(values) {
            for (sum, k) in sum.pixels_mut().iter_mut().zip(kernel.pixels()) {
                *sum += value * k;
            }
        }
        sum
    }

    /// The adjoint of [`expand`](Self::expand): from the gradients over the (2h + 1)² pixels of each K_t, one after the other, to the
    /// kernel's coefficients, the first of `x`.
    pub fn project(&self, gradients: &[f64], x: &mut [f64]) {
        let gradients = gradients.chunks_exact(self.basis.support().side().pow(2));
        assert_eq!(gradients.len(), self.variation.len());
        for (term, gradient) in self.kernel_terms().zip(gradients) {
            self.basis.project_part(gradient, term.functions.start, &mut x[term.columns]);
        }
    }

    /// The differential background in ADU at pixel (y, x) of the image.
    pub fn background_at(&self, parameters: &[f64], y: usize, x: usize) -> f64 {
        let coefficients = self.split(parameters).1;
        self.background.as_ref().map_or(0.0, |b| b.value(coefficients, y, x))
    }

    /// Subtracts the differential background in ADU from pixels of row `y` of the image, from column `first` on.
    pub fn subtract_background<T: Pixel>(
        &self,
        parameters: &[f64],
        y: usize,
        first: usize,
        row: &mut [T],
    ) {
        let Some(background) = &self.background else { return };
        let in_row = background.in_row(self.split(parameters).1, y);
        background.along_row(&in_row, first, row, |value, b| *value = *value - T::narrow(b));
    }

    /// The linear functional c with c·x = P, the photometric scale; its mean over the image where it varies.
    pub fn photometric_scale_functional(&self) -> Vec<f64> {
        let mut values = vec![0.0; self.variation.len()];
        values[0] = 1.0;
        self.scale_functional(&values)
    }

    /// The linear functional c with c·x = P(p), the photometric scale at pixel p = (y, x).
    pub fn photometric_scale_functional_at(&self, y: usize, x: usize) -> Vec<f64> {
        let mut values = vec![0.0; self.variation.len()];
        self.variation.evaluate(y, x, &mut values);
        self.scale_functional(&values)
    }

    /// c with c·x = Σ_t T_t ΣK_t for given values of T_t.
    fn scale_functional(&self, values: &[f64]) -> Vec<f64> {
        let pixels = self.basis.support().side().pow(2);
        let ones: Vec<f64> = values.iter().flat_map(|t| std::iter::repeat_n(*t, pixels)).collect();
        let mut c = vec![0.0; self.ncols()];
        self.project(&ones, &mut c);
        c
    }

    /// The design that carries the variance of the reference into the model: (K² ⊗ σ_R²)(p) is linear in the pixels of K(·; p)², a
    /// polynomial of twice the degree.
    ///
    /// Rings are left out: a percent of the flux that is spread over a thousand pixels adds some 10⁻⁵ of the variance.
    pub fn of_variance(&self) -> Self {
        let support = KernelSupport::new(self.inner_half_width(), KernelShape::Square);
        let degree = 2 * self.variation.degree();
        Self {
            basis: KernelBasis::Delta(support),
            scale_degree: degree,
            kernel_degree: degree,
            variation: Polynomial2d::new(degree, self.height, self.width),
            background: None,
            ..*self
        }
    }

    /// The parameters of [`of_variance`](Self::of_variance) for the kernel of the parameters `x`: the coefficients of K(·; p)².
    pub fn variance_parameters(&self, x: &[f64]) -> Vec<f64> {
        let inner = self.inner_half_width();
        let kernels: Vec<Kernel> =
            self.kernels(x).iter().map(|kernel| kernel.within(inner)).collect();
        let pixels = kernels[0].pixels().len();
        let mut squares = vec![0.0; pixels * Polynomial2d::terms(2 * self.variation.degree())];
        for (s, a) in kernels.iter().enumerate() {
            for (t, b) in kernels.iter().enumerate() {
                for (term, factor) in self.variation.product(s, t) {
                    let square = &mut squares[term * pixels..(term + 1) * pixels];
                    for ((square, a), b) in square.iter_mut().zip(a.pixels()).zip(b.pixels()) {
                        *square += factor * a * b;
                    }
                }
            }
        }
        squares
    }
}

/// The highest degree of the kernel's variation. Its square is a polynomial of twice that, see [`MAX_DEGREE`].
pub const MAX_VARIATION: usize = 4;

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
    fn terms_hold_all_columns_once() {
        let basis = || KernelBasis::FluxConservingDelta(KernelSupport::new(1, KernelShape::Square));
        for (scale, kernel, columns) in [(0, 0, 9), (1, 1, 27), (0, 2, 9 + 5 * 8), (2, 1, 27 + 3)] {
            let design = Design::new(20, 30, basis(), Some(1)).unwrap();
            let design = design.with_variation(scale, kernel).unwrap();
            let mut next = 0;
            for term in design.kernel_terms() {
                assert_eq!((term.columns.start, term.columns.len()), (next, term.functions.len()));
                next = term.columns.end;
            }
            assert_eq!((next, design.ncols()), (columns, columns + 3));
        }
        let delta = Design::new(20, 30, KernelBasis::delta(1), None).unwrap();
        assert!(matches!(
            delta.clone().with_variation(0, 1),
            Err(ModelError::Variation { scale_degree: 0, kernel_degree: 1 })
        ));
        assert!(delta.with_variation(5, 5).is_err());
    }

    #[test]
    fn the_local_kernel_has_the_local_scale_and_square() {
        let support = KernelSupport::new(1, KernelShape::Square);
        let design = Design::new(20, 30, KernelBasis::FluxConservingDelta(support), None).unwrap();
        let design = design.with_variation(1, 2).unwrap();
        let x: Vec<f64> = (0..design.ncols()).map(|k| (k as f64).cos()).collect();
        let variance = design.of_variance();
        let squares = design.variance_parameters(&x);
        for (py, px) in [(0, 0), (7, 29), (19, 11)] {
            let kernel = design.kernel_at(&x, py, px);
            let c = design.photometric_scale_functional_at(py, px);
            let scale: f64 = c.iter().zip(&x).map(|(c, x)| c * x).sum();
            // Sums of fewer than 100 terms below 10; squares below 1000.
            assert!((scale - kernel.photometric_scale()).abs() < 1e-12);
            let square = variance.kernel_at(&squares, py, px);
            for (square, k) in square.pixels().iter().zip(kernel.pixels()) {
                assert!((square - k * k).abs() < 1e-10, "{square} {}", k * k);
            }
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
