//! The products with the kernel, by whichever method was planned.

use std::sync::Arc;

use dia_core::{Design, Image, ImageView, Kernel, OperatorError};

use crate::bands::{BandWorkspace, Bands};
use crate::modulated::Moments;
use crate::overlap_save::{OverlapSave, TileWorkspace};
use crate::plan::{Method, Plan};
use crate::rows::{Pixelwise, RowLoop};
use crate::vector::FftPixel;

/// A reference, ready for convolutions and correlations.
pub(crate) enum Products<T> {
    Direct(Bands<T>),
    OverlapSave(OverlapSave<T>),
}

/// The memory of [`Products`].
pub(crate) enum ProductsWorkspace<T> {
    Direct(BandWorkspace<T>),
    OverlapSave(TileWorkspace<T>),
}

impl<T: FftPixel> Products<T> {
    /// Prepares `reference`, which `shared` gives as a whole where the plan needs to keep it.
    pub(crate) fn new(
        reference: ImageView<'_, T>,
        shared: impl FnOnce() -> Arc<Image<T>>,
        design: &Design,
        plan: Plan,
    ) -> Result<Self, OperatorError> {
        let side = match plan.method {
            Method::Direct => return Ok(Self::Direct(Bands::new(reference, design))),
            Method::OverlapSave { side } => side,
        };
        let half_width = design.half_width();
        let mut sides = Method::sides().filter(|side| *side > 2 * half_width);
        if !sides.any(|s| s == side) {
            return Err(OperatorError::new(format!(
                "tiles cannot have a side of {side} pixels with a kernel of half-width {half_width}; \
                 let `Plan::fastest` choose one"
            )));
        }
        let keep = (!plan.store_spectra).then(shared);
        Ok(Self::OverlapSave(OverlapSave::new(reference, design, side, keep)))
    }

    /// The same reference for the kernels of a design that differs in the variation alone.
    pub(crate) fn varied_as(&self, design: &Design) -> Self {
        match self {
            Self::Direct(bands) => Self::Direct(bands.varied_as(design)),
            Self::OverlapSave(tiles) => Self::OverlapSave(tiles.varied_as(design)),
        }
    }

    /// Number of parts that a sweep is cut into; it does not depend on the number of threads.
    pub(crate) fn tasks(&self) -> usize {
        match self {
            Self::Direct(bands) => bands.tasks(),
            Self::OverlapSave(tiles) => tiles.tasks(),
        }
    }

    /// Memory for the products.
    pub(crate) fn workspace(&self) -> ProductsWorkspace<T> {
        match self {
            Self::Direct(bands) => ProductsWorkspace::Direct(bands.workspace()),
            Self::OverlapSave(tiles) => ProductsWorkspace::OverlapSave(tiles.workspace()),
        }
    }

    /// `out` ← what `rows` make of Σ_t T_t (R ⊗ K_t) over the valid pixels.
    pub(crate) fn convolve(
        &self,
        kernels: &[Kernel],
        out: &mut [T],
        workspace: &mut ProductsWorkspace<T>,
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        match (self, workspace) {
            (Self::Direct(bands), ProductsWorkspace::Direct(workspace)) => {
                bands.convolve(kernels, out, workspace, rows);
            }
            (Self::OverlapSave(tiles), ProductsWorkspace::OverlapSave(workspace)) => {
                tiles.convolve(kernels, out, workspace, rows);
            }
            _ => panic!("the workspace belongs to another operator"),
        }
    }

    /// One pass over the pixels: `gradient` ← Σ_p v(p) T_t(p) R(p − u) over the (2h + 1)² kernel pixels u of each t, v what `rows` make of
    /// Σ_t T_t (R ⊗ K_t) where `kernels` are given, and of anything where not. There are moments for every task.
    pub(crate) fn sweep(
        &self,
        kernels: Option<&[Kernel]>,
        gradient: &mut [f64],
        workspace: &mut ProductsWorkspace<T>,
        moments: &mut [Vec<Moments<T>>],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        match (self, workspace) {
            (Self::Direct(bands), ProductsWorkspace::Direct(workspace)) => {
                bands.sweep(kernels, gradient, workspace, moments, rows);
            }
            (Self::OverlapSave(tiles), ProductsWorkspace::OverlapSave(workspace)) => {
                tiles.sweep(kernels, gradient, workspace, moments, rows);
            }
            _ => panic!("the workspace belongs to another operator"),
        }
    }
}
