//! The design matrix of difference imaging on the CPU.

use std::fmt;
use std::sync::Arc;

use dia_core::{
    Design, DesignMatrix, Image, ImageView, Kernel, KernelBasis, LinearOperator, Loss, ModelError,
    Noise, OperatorError,
};

use crate::modulated::{Modulated, Moments};
use crate::plan::Plan;
use crate::products::{Products, ProductsWorkspace};
use crate::rows::{Model, Pixelwise, RobustResiduals, RowLoop, Values, Weighted};
use crate::vector::FftPixel;

/// The design matrix A of a reference image: (A x)(p) = Σ_t T_t(p) (R ⊗ K_t)(p) + Σ_j b_j φ_j(p) at the valid pixels p.
///
/// Both products work on tiles that stay in cache (overlap-save); their cost hardly depends on the size of the kernel.
/// With `T = f32` pixels and spectra are `f32`, while kernels, their gradients and all sums over tiles are `f64`; with
/// `T = f64` everything is. Threads are those of the current rayon pool, and the results have the same bits for any number.
///
/// ```
/// use dia_core::{Design, Image, Kernel, KernelBasis, LinearOperator};
/// use dia_fft::FftDesignMatrix;
///
/// let reference = Image::from_fn(40, 50, |y, x| ((y * y + 3 * x) % 17) as f64);
/// let design = Design::new(40, 50, KernelBasis::delta(2), Some(0))?;
/// let a = FftDesignMatrix::new(reference.view(), design)?;
///
/// // The kernel that is one in the middle copies the reference; the last coefficient is the background.
/// let mut x = vec![0.0; a.ncols()];
/// (x[12], x[25]) = (1.0, 100.0);
/// let mut model = a.zeros()?;
/// a.apply(&x, &mut model, &mut a.workspace()?)?;
/// assert!((model[0] - (reference.view().at(2, 2) + 100.0)).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FftDesignMatrix<T> {
    design: Design,
    /// The same without the rings of the kernel's wings, which are known images times polynomials: tiles have to hold the rest of the kernel only.
    inner: Design,
    plan: Plan,
    products: Products<T>,
    /// For each ring, R convolved with it; then the background, if there is one.
    modulated: Vec<Modulated<T>>,
}

/// The scratch memory of a [`FftDesignMatrix`]; see [`LinearOperator::workspace`].
pub struct FftWorkspace<T> {
    /// Over the kernel pixels of each term of the variation.
    gradient: Vec<f64>,
    products: ProductsWorkspace<T>,
    /// Per task, the moments with each of the modulated images.
    moments: Vec<Vec<Moments<T>>>,
}

impl<T: FftPixel> FftDesignMatrix<T> {
    /// Plans the products with `reference`, the fastest way; its pixels must be finite, with 0 where it is masked.
    ///
    /// # Errors
    /// If `reference` has not the shape of the design, or holds a pixel that is not finite, or the kernel is larger than any tile.
    pub fn new(reference: ImageView<'_, T>, design: Design) -> Result<Self, OperatorError> {
        let plan = Plan::fastest(&design)?;
        Self::build(reference, || Arc::new(reference.to_owned()), design, plan)
    }

    /// As [`new`](Self::new), with a plan of one's own; the image is shared, not copied, where the plan needs it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_plan(
        reference: &Arc<Image<T>>,
        design: Design,
        plan: Plan,
    ) -> Result<Self, OperatorError> {
        Self::build(reference.view(), || Arc::clone(reference), design, plan)
    }

    fn build(
        view: ImageView<'_, T>,
        shared: impl FnOnce() -> Arc<Image<T>>,
        design: Design,
        plan: Plan,
    ) -> Result<Self, OperatorError> {
        let (height, width) = design.reference_shape();
        if view.shape() != (height, width) {
            return Err(OperatorError::new(format!(
                "the reference has {} × {} pixels (rows × columns), the design takes {height} × {width}",
                view.height(),
                view.width(),
            )));
        }
        if let Some(i) = view.pixels().iter().position(|r| !r.is_finite()) {
            return Err(OperatorError::new(format!(
                "the reference is {} at row {}, column {}; mask that pixel and set it to 0",
                view.pixels()[i],
                i / view.width(),
                i % view.width()
            )));
        }
        let (inner, rings) = (design.without_rings(), ring_images(view, &design)?);
        let products = if rings.is_empty() {
            Products::new(view, shared, &inner, plan)?
        } else {
            let cut = Arc::new(inner_part(view, &inner)?);
            Products::new(cut.view(), || Arc::clone(&cut), &inner, plan)?
        };
        Ok(Self::of_parts(design, plan, products, rings.into_iter().map(Arc::new)))
    }

    fn of_parts(
        design: Design,
        plan: Plan,
        products: Products<T>,
        rings: impl Iterator<Item = Arc<Vec<T>>>,
    ) -> Self {
        let (inner, valid) = (design.without_rings(), design.valid());
        let rings = rings.map(|image| (Some(image), design.variation()));
        let background = design.background().map(|background| (None, background));
        let modulated = rings.chain(background);
        let modulated = modulated.map(|(image, by)| Modulated::new(image, by, valid)).collect();
        Self { design, inner, plan, products, modulated }
    }

    /// How the products are computed.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The kernels without their wings, and the coefficients of each of the modulated images.
    fn parts(&self, x: &[f64]) -> (Vec<Kernel>, Vec<Vec<f64>>) {
        let mut inner = vec![0.0; self.inner.ncols()];
        let mut coefficients: Vec<Vec<f64>> =
            self.modulated.iter().map(|m| vec![0.0; m.len()]).collect();
        let terms = self.design.kernel_terms().zip(self.inner.kernel_terms());
        for (t, (all, part)) in terms.enumerate() {
            let (of_part, of_rings) = x[all.columns].split_at(part.columns.len());
            inner[part.columns].copy_from_slice(of_part);
            of_rings.iter().zip(&mut coefficients).for_each(|(x, c)| c[t] = *x);
        }
        let background = self.design.split(x).1;
        if let Some(last) = coefficients.last_mut().filter(|_| !background.is_empty()) {
            last.copy_from_slice(background);
        }
        (self.inner.kernels(&inner), coefficients)
    }

    /// The adjoint of [`parts`](Self::parts), from gradients over the pixels of the kernels.
    fn join(&self, gradient: &[f64], sums: &[Vec<f64>], g: &mut [f64]) {
        let mut inner = vec![0.0; self.inner.ncols()];
        self.inner.project(gradient, &mut inner);
        let terms = self.design.kernel_terms().zip(self.inner.kernel_terms());
        for (t, (all, part)) in terms.enumerate() {
            let (of_part, of_rings) = g[all.columns].split_at_mut(part.columns.len());
            of_part.copy_from_slice(&inner[part.columns]);
            of_rings.iter_mut().zip(sums).for_each(|(g, sum)| *g = sum[t]);
        }
        let background = self.design.split_mut(g).1;
        if let Some(last) = sums.last().filter(|_| !background.is_empty()) {
            background.copy_from_slice(last);
        }
    }

    /// The loop over rows that adds the modulated images of some coefficients.
    fn rows<P: Pixelwise<T>>(&self, coefficients: &[Vec<f64>], pixelwise: P) -> RowLoop<'_, T, P> {
        let added = self.modulated.iter().zip(coefficients);
        let added = added.map(|(modulated, c)| (modulated, modulated.in_rows(c))).collect();
        RowLoop { added, adjoint: &self.modulated, width: self.design.valid().width, pixelwise }
    }

    /// Aᵀ of what `pixelwise` makes of the model of `x`, or of nothing, in one pass; see [`Products::sweep`].
    fn sweep(
        &self,
        x: Option<&[f64]>,
        pixelwise: impl Pixelwise<T>,
        g: &mut [f64],
        workspace: &mut FftWorkspace<T>,
    ) {
        let FftWorkspace { gradient, products, moments } = workspace;
        moments.iter_mut().flatten().for_each(Moments::clear);
        let (kernels, coefficients) = x.map(|x| self.parts(x)).unzip();
        let rows = self.rows(coefficients.as_deref().unwrap_or(&[]), pixelwise);
        self.products.sweep(kernels.as_deref(), gradient, products, moments, &rows);
        let mut sums: Vec<Vec<f64>> = self.modulated.iter().map(|m| vec![0.0; m.len()]).collect();
        for moments in moments {
            let parts = self.modulated.iter().zip(moments).zip(&mut sums);
            parts.for_each(|((modulated, moments), sums)| modulated.finish(moments, sums));
        }
        self.join(gradient, &sums, g);
    }
}

/// R convolved with each of the rings of a design's kernel, at the valid pixels.
fn ring_images<T: FftPixel>(
    reference: ImageView<'_, T>,
    design: &Design,
) -> Result<Vec<Vec<T>>, OperatorError> {
    let rings = design.basis().ring_images();
    if rings.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: ModelError| OperatorError::new(error.to_string());
    let (n, basis) = (rings.len(), KernelBasis::images(rings).map_err(failed)?);
    let of_rings = Design::new(design.height(), design.width(), basis, None).map_err(failed)?;
    let a = FftDesignMatrix::new(reference, of_rings.with_border(design.valid().y))?;
    let mut workspace = a.workspace()?;
    let image = |ring: usize| {
        let (mut x, mut image) = (vec![0.0; n], a.zeros()?);
        x[ring] = 1.0;
        a.apply(&x, &mut image, &mut workspace)?;
        Ok(image)
    };
    (0..n).map(image).collect()
}

/// The middle of a reference, as large as `design` takes it.
fn inner_part<T: FftPixel>(
    reference: ImageView<'_, T>,
    design: &Design,
) -> Result<Image<T>, OperatorError> {
    let (height, width) = design.reference_shape();
    let (y, x) = ((reference.height() - height) / 2, (reference.width() - width) / 2);
    let rows = (y..y + height).flat_map(|y| &reference.row(y)[x..x + width]);
    Image::from_vec(height, width, rows.copied().collect())
        .map_err(|error| OperatorError::new(error.to_string()))
}

impl<T: FftPixel> LinearOperator for FftDesignMatrix<T> {
    type Data = Vec<T>;
    type Workspace = FftWorkspace<T>;

    fn nrows(&self) -> usize {
        self.design.nrows()
    }

    fn ncols(&self) -> usize {
        self.design.ncols()
    }

    fn workspace(&self) -> Result<FftWorkspace<T>, OperatorError> {
        let moments: Vec<_> = self.modulated.iter().map(Modulated::moments).collect();
        let kernel_pixels = self.inner.basis().support().side().pow(2);
        Ok(FftWorkspace {
            gradient: vec![0.0; self.design.variation().len() * kernel_pixels],
            products: self.products.workspace(),
            moments: vec![moments; self.products.tasks()],
        })
    }

    fn zeros(&self) -> Result<Vec<T>, OperatorError> {
        Ok(vec![T::zero(); self.nrows()])
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut Vec<T>,
        workspace: &mut FftWorkspace<T>,
    ) -> Result<(), OperatorError> {
        assert_eq!((x.len(), y.len()), (self.ncols(), self.nrows()));
        let (kernels, coefficients) = self.parts(x);
        let rows = self.rows(&coefficients, Model);
        self.products.convolve(&kernels, y, &mut workspace.products, &rows);
        Ok(())
    }

    fn apply_adjoint(
        &self,
        y: &Vec<T>,
        x: &mut [f64],
        workspace: &mut FftWorkspace<T>,
    ) -> Result<(), OperatorError> {
        assert_eq!((x.len(), y.len()), (self.ncols(), self.nrows()));
        self.sweep(None, Values(y), x, workspace);
        Ok(())
    }

    /// One pass over the tiles: A x on a tile, weighted and correlated while it is in cache. `scratch` is not touched.
    fn apply_normal(
        &self,
        x: &[f64],
        weights: &Vec<T>,
        g: &mut [f64],
        _scratch: &mut Vec<T>,
        workspace: &mut FftWorkspace<T>,
    ) -> Result<(), OperatorError> {
        assert_eq!((x.len(), g.len()), (self.ncols(), self.ncols()));
        assert_eq!(weights.len(), self.nrows());
        self.sweep(Some(x), Weighted(weights), g, workspace);
        Ok(())
    }
}

impl<T: FftPixel> DesignMatrix for FftDesignMatrix<T> {
    type Pixel = T;

    fn design(&self) -> &Design {
        &self.design
    }

    fn with_degrees_of(&self, design: Design) -> Result<Self, OperatorError> {
        assert!(self.design.differs_in_degrees_alone(&design));
        let products = self.products.varied_as(&design);
        let rings = self.modulated.iter().filter_map(|m| m.image().cloned());
        Ok(Self::of_parts(design, self.plan, products, rings))
    }

    fn upload(&self, values: Vec<T>) -> Result<Vec<T>, OperatorError> {
        assert_eq!(values.len(), self.nrows());
        Ok(values)
    }

    fn download(&self, data: Vec<T>) -> Result<Vec<T>, OperatorError> {
        Ok(data)
    }

    /// One pass over the tiles; nothing pixel-sized is written.
    fn robust_gradient(
        &self,
        x: &[f64],
        data: &Vec<T>,
        noise: &Noise<Vec<T>>,
        loss: Loss,
        g: &mut [f64],
        workspace: &mut FftWorkspace<T>,
    ) -> Result<(), OperatorError> {
        assert_eq!((x.len(), g.len(), data.len()), (self.ncols(), self.ncols(), self.nrows()));
        self.sweep(Some(x), RobustResiduals { data, noise, loss }, g, workspace);
        Ok(())
    }

    fn ring_images(&self) -> Vec<&[T]> {
        self.modulated.iter().filter_map(|m| m.image().map(|image| image.as_slice())).collect()
    }

    fn gather(
        &self,
        data: &Vec<T>,
        rows: &[usize],
        values: &mut [f64],
    ) -> Result<(), OperatorError> {
        for (value, row) in values.iter_mut().zip(rows) {
            *value = data[*row].widen();
        }
        Ok(())
    }
}

impl<T: FftPixel> fmt::Debug for FftDesignMatrix<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FftDesignMatrix")
            .field("nrows", &self.nrows())
            .field("ncols", &self.ncols())
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for FftWorkspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FftWorkspace").field("tasks", &self.moments.len()).finish_non_exhaustive()
    }
}
