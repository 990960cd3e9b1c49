//! The trait that back ends implement and solvers use.

use crate::{Design, Loss, Noise, OperatorError, Pixel, PixelWeight, Traffic};

/// A matrix A known by its products A x and Aᵀ y.
///
/// The parameter space is small (n = 10² … 10⁴) and lives on the host in `f64`. The data space is large (m = 10⁵ … 10⁸
/// pixels) and lives where the operator lives: its vectors are of the associated type [`Data`](Self::Data), a `Vec` for the
/// CPU, a device buffer elsewhere. Solvers touch it only through [`DataVector`].
///
/// Constructors plan and may be slow; an operator is immutable and can be shared between threads; all memory that changes is
/// in the [`Workspace`](Self::Workspace), made once per solve.
///
/// Correct means ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ to rounding for all x and y. Slices of the wrong length are bugs and panic.
pub trait LinearOperator: Sync {
    /// A vector of m elements.
    type Data: DataVector;

    /// Scratch memory of the products.
    type Workspace: Send;

    /// m, the length of A x.
    fn nrows(&self) -> usize;

    /// n, the length of x.
    fn ncols(&self) -> usize;

    /// The scratch memory that the products need.
    ///
    /// # Errors
    /// If there is not enough memory.
    fn workspace(&self) -> Result<Self::Workspace, OperatorError>;

    /// A data vector of m zeros.
    ///
    /// # Errors
    /// If there is not enough memory.
    fn zeros(&self) -> Result<Self::Data, OperatorError>;

    /// y ← A x.
    ///
    /// # Errors
    /// If the back end fails.
    fn apply(
        &self,
        x: &[f64],
        y: &mut Self::Data,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError>;

    /// x ← Aᵀ y.
    ///
    /// # Errors
    /// If the back end fails.
    fn apply_adjoint(
        &self,
        y: &Self::Data,
        x: &mut [f64],
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError>;

    /// g ← Aᵀ W A x with W = diag(`weights`); `scratch` may be overwritten with anything.
    ///
    /// The default is two products. An operator that can fuse them need not touch `scratch`.
    ///
    /// # Errors
    /// If the back end fails.
    fn apply_normal(
        &self,
        x: &[f64],
        weights: &Self::Data,
        g: &mut [f64],
        scratch: &mut Self::Data,
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError> {
        self.apply(x, scratch, workspace)?;
        scratch.multiply(weights)?;
        self.apply_adjoint(scratch, g, workspace)
    }
}

/// What solvers do with vectors of the data space. Lengths must agree; sums are taken in `f64` and in a fixed order.
pub trait DataVector: Sized + Send + Sync {
    /// Number of elements.
    fn len(&self) -> usize;

    /// Whether there is no element.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Σ selfᵢ otherᵢ.
    ///
    /// # Errors
    /// If the back end fails.
    fn dot(&self, other: &Self) -> Result<f64, OperatorError>;

    /// √Σ selfᵢ².
    ///
    /// # Errors
    /// If the back end fails.
    fn norm(&self) -> Result<f64, OperatorError> {
        Ok(self.dot(self)?.sqrt())
    }

    /// self ← a x + b self. With b = 0 the old values do not matter, not even if they are NaN.
    ///
    /// # Errors
    /// If the back end fails.
    fn axpby(&mut self, a: f64, x: &Self, b: f64) -> Result<(), OperatorError>;

    /// self ← a self.
    ///
    /// # Errors
    /// If the back end fails.
    fn scale(&mut self, a: f64) -> Result<(), OperatorError>;

    /// selfᵢ ← selfᵢ otherᵢ.
    ///
    /// # Errors
    /// If the back end fails.
    fn multiply(&mut self, other: &Self) -> Result<(), OperatorError>;

    /// selfᵢ ← √otherᵢ.
    ///
    /// # Errors
    /// If the back end fails.
    fn square_root_of(&mut self, other: &Self) -> Result<(), OperatorError>;
}

/// What iteratively reweighted least squares does with data vectors, beside [`DataVector`].
pub trait Reweight: DataVector {
    /// From the model M to the weights of the given kind: ψ(z)/z or another function of z over σ²(M), in ADU⁻², z = (I − M)/σ; `self` is I.
    /// On entry `weights` holds M, in ADU.
    ///
    /// A pixel of infinite variance gets a weight of exactly 0.
    ///
    /// # Errors
    /// If the back end fails.
    fn reweight(
        &self,
        noise: &Noise<Self>,
        loss: Loss,
        kind: PixelWeight,
        weights: &mut Self,
    ) -> Result<(), OperatorError>;
}

/// The design matrix of difference imaging: a [`LinearOperator`] whose rows are the valid pixels of an image.
///
/// Rows are in row-major order over [`Design::valid`]; columns are described by the [`Design`].
pub trait DesignMatrix: LinearOperator<Data: Reweight> {
    /// Type of the pixels that go in and come out.
    type Pixel: Pixel;

    /// The layout of rows and columns.
    fn design(&self) -> &Design;

    /// The same rows for a `design` that differs from [`design`](Self::design) by the degrees of its polynomials alone, see [`Design::constant`] and
    /// [`Design::with_background`]; what belongs to the reference is shared.
    ///
    /// # Errors
    /// If there is not enough memory.
    ///
    /// # Panics
    /// If `design` differs by more.
    fn with_degrees_of(&self, design: Design) -> Result<Self, OperatorError>
    where
        Self: Sized;

    /// A data vector of the given m values, in row order.
    ///
    /// # Errors
    /// If there is not enough memory or the transfer fails.
    fn upload(&self, values: Vec<Self::Pixel>) -> Result<Self::Data, OperatorError>;

    /// The m values of a data vector that is no longer needed.
    ///
    /// # Errors
    /// If the transfer fails.
    fn download(&self, data: Self::Data) -> Result<Vec<Self::Pixel>, OperatorError>;

    /// g ← Aᵀ W (I − M), M = A x: what remains of the normal equations, in one pass over the pixels. I is `data`, in ADU, and
    /// W = W(M) are the robust weights of [`Reweight::reweight`].
    ///
    /// # Errors
    /// If the back end fails.
    fn robust_gradient(
        &self,
        x: &[f64],
        data: &Self::Data,
        noise: &Noise<Self::Data>,
        loss: Loss,
        g: &mut [f64],
        workspace: &mut Self::Workspace,
    ) -> Result<(), OperatorError>;

    /// Copies the elements at `rows` to the host: `values[i]` ← `data[rows[i]]`.
    ///
    /// # Errors
    /// If the transfer fails.
    fn gather(
        &self,
        data: &Self::Data,
        rows: &[usize],
        values: &mut [f64],
    ) -> Result<(), OperatorError>;

    /// The reference convolved with each ring of the kernel at the m valid pixels, where the back end has these images in the host's memory; none otherwise.
    fn ring_images(&self) -> Vec<&[Self::Pixel]> {
        Vec::new()
    }

    /// What the back end has exchanged with its device so far, this operator's and others' on it together. Zero without a device.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}
