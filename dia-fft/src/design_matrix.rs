//! The design matrix of difference imaging on the CPU.

use std::fmt;
use std::sync::Arc;

use dia_core::{
    Design, DesignMatrix, Image, ImageView, LinearOperator, Loss, Noise, OperatorError,
};

use crate::background::{Background, Moments};
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
    plan: Plan,
    products: Products<T>,
    background: Option<Background<T>>,
}

/// The scratch memory of a [`FftDesignMatrix`]; see [`LinearOperator::workspace`].
pub struct FftWorkspace<T> {
    /// Over the kernel pixels of each term of the variation.
    gradient: Vec<f64>,
    products: ProductsWorkspace<T>,
    /// Per task, the moments with the background's polynomials.
    moments: Vec<Option<Moments<T>>>,
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
        let products = Products::new(view, shared, &design, plan)?;
        let background = Background::of(&design);
        Ok(Self { design, plan, products, background })
    }

    /// How the products are computed.
    pub fn plan(&self) -> Plan {
        self.plan
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
        let rows = RowLoop {
            background: self.background.as_ref().zip(x.map(|x| self.design.split(x).1)),
            adjoint: self.background.as_ref(),
            width: self.design.valid().width,
            pixelwise,
        };
        let kernels = x.map(|x| self.design.kernels(x));
        self.products.sweep(kernels.as_deref(), gradient, products, moments, &rows);
        let (kernel, sums) = self.design.split_mut(g);
        self.design.project(gradient, kernel);
        sums.fill(0.0);
        if let Some(background) = &self.background {
            moments.iter().flatten().for_each(|moments| background.finish(moments, sums));
        }
    }
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
        let moments = self.background.as_ref().map(Background::moments);
        let kernel_pixels = self.design.basis().support().side().pow(2);
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
        let rows = RowLoop {
            background: self.background.as_ref().zip(Some(self.design.split(x).1)),
            adjoint: None,
            width: self.design.valid().width,
            pixelwise: Model,
        };
        self.products.convolve(&self.design.kernels(x), y, &mut workspace.products, &rows);
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
