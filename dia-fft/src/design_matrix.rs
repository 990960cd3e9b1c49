//! The design matrix of difference imaging on the CPU.

use std::fmt;

use dia_core::{
    Design, DesignMatrix, ImageView, Kernel, LinearOperator, OperatorError, Pixel, Polynomial2d,
};
use rayon::prelude::*;
use rustfft::FftNum;

use crate::overlap_save::{Band, KernelSpectrum, OverlapSave};

/// The design matrix A of a reference image: (A x)(p) = (R ⊗ K)(p) + Σ_j b_j φ_j(p) at the valid pixels p.
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
    overlap_save: OverlapSave<T>,
}

/// The scratch memory of a [`FftDesignMatrix`]; see [`LinearOperator::workspace`].
pub struct FftWorkspace<T> {
    kernel: Kernel,
    gradient: Vec<f64>,
    kernel_spectrum: KernelSpectrum<T>,
    bands: Vec<Band<T>>,
    /// Per band, Σ y φ_j.
    moments: Vec<Vec<f64>>,
}

impl<T: Pixel + FftNum> FftDesignMatrix<T> {
    /// Transforms `reference` for the products; its pixels must be finite, with 0 where it is masked.
    ///
    /// # Errors
    /// If `reference` has not the shape of the design, or holds a pixel that is not finite.
    pub fn new(reference: ImageView<'_, T>, design: Design) -> Result<Self, OperatorError> {
        if reference.shape() != (design.height(), design.width()) {
            return Err(OperatorError::new(format!(
                "the reference has {} × {} pixels (rows × columns), the design {} × {}",
                reference.height(),
                reference.width(),
                design.height(),
                design.width()
            )));
        }
        if let Some(i) = reference.pixels().iter().position(|r| !r.is_finite()) {
            return Err(OperatorError::new(format!(
                "the reference is {} at row {}, column {}; mask that pixel and set it to 0",
                reference.pixels()[i],
                i / reference.width(),
                i % reference.width()
            )));
        }
        let overlap_save = OverlapSave::new(reference, design.half_width());
        Ok(Self { design, overlap_save })
    }

    /// Side of the tiles in pixels.
    pub fn tile_side(&self) -> usize {
        self.overlap_save.tile_side()
    }

    fn set_kernel(&self, x: &[f64], workspace: &mut FftWorkspace<T>) {
        self.design.basis().expand(self.design.split(x).0, &mut workspace.kernel);
        self.overlap_save.set_kernel(&workspace.kernel, &mut workspace.kernel_spectrum);
    }

    /// From the sums of all bands to the gradient over x.
    fn finish(&self, x: &mut [f64], workspace: &mut FftWorkspace<T>) {
        self.overlap_save.finish_sum(
            &workspace.bands,
            &mut workspace.kernel_spectrum,
            &mut workspace.gradient,
        );
        let (kernel, background) = self.design.split_mut(x);
        self.design.basis().project(&workspace.gradient, kernel);
        background.fill(0.0);
        for moments in &workspace.moments {
            background.iter_mut().zip(moments).for_each(|(b, moment)| *b += moment);
        }
    }

    /// Adds the background of row `y` of the valid region to `values`.
    fn add_background(
        &self,
        coefficients: &[f64],
        y: usize,
        columns: &std::ops::Range<usize>,
        values: &mut [T],
    ) {
        if let Some(background) = self.design.background() {
            let h = self.design.half_width();
            let in_row = background.in_row(coefficients, y + h);
            in_row.add_to(values, columns.start + h..columns.end + h);
        }
    }

    /// Adds the background moments of row `y` of the valid region.
    fn add_moments(
        &self,
        values: &[T],
        y: usize,
        columns: &std::ops::Range<usize>,
        moments: &mut [f64],
    ) {
        if let Some(background) = self.design.background() {
            let h = self.design.half_width();
            background.add_row_moments(values, y + h, columns.start + h..columns.end + h, moments);
        }
    }
}

impl<T: Pixel + FftNum> LinearOperator for FftDesignMatrix<T> {
    type Data = Vec<T>;
    type Workspace = FftWorkspace<T>;

    fn nrows(&self) -> usize {
        self.design.nrows()
    }

    fn ncols(&self) -> usize {
        self.design.ncols()
    }

    fn workspace(&self) -> Result<FftWorkspace<T>, OperatorError> {
        let moments = self.design.background().map_or(0, Polynomial2d::len);
        Ok(FftWorkspace {
            kernel: Kernel::zero(self.design.half_width()),
            gradient: vec![0.0; self.design.basis().support().side().pow(2)],
            kernel_spectrum: self.overlap_save.kernel_spectrum(),
            bands: (0..self.overlap_save.bands()).map(|_| self.overlap_save.band()).collect(),
            moments: vec![vec![0.0; moments]; self.overlap_save.bands()],
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
        self.set_kernel(x, workspace);
        let (save, width) = (&self.overlap_save, self.design.valid().width);
        let background = self.design.split(x).1;
        let kernel = &workspace.kernel_spectrum;
        let bands = workspace.bands.par_iter_mut().enumerate();
        y.par_chunks_mut(save.step() * width).zip(bands).for_each(|(y, (band, memory))| {
            let first = band * save.step();
            for pair in 0..save.pairs_per_band() {
                save.convolve(band, pair, kernel, memory);
                save.valid_rows(band, pair, memory, |row, columns, values| {
                    self.add_background(background, row, &columns, values);
                    let start = (row - first) * width;
                    y[start + columns.start..start + columns.end].copy_from_slice(values);
                });
            }
        });
        Ok(())
    }

    fn apply_adjoint(
        &self,
        y: &Vec<T>,
        x: &mut [f64],
        workspace: &mut FftWorkspace<T>,
    ) -> Result<(), OperatorError> {
        assert_eq!((x.len(), y.len()), (self.ncols(), self.nrows()));
        let (save, width) = (&self.overlap_save, self.design.valid().width);
        let bands = workspace.bands.par_iter_mut().zip(&mut workspace.moments).enumerate();
        bands.for_each(|(band, (memory, moments))| {
            OverlapSave::start_sum(memory);
            moments.fill(0.0);
            for pair in 0..save.pairs_per_band() {
                OverlapSave::clear_tile(memory);
                save.valid_rows(band, pair, memory, |row, columns, values| {
                    let start = row * width;
                    values.copy_from_slice(&y[start + columns.start..start + columns.end]);
                    self.add_moments(values, row, &columns, moments);
                });
                save.correlate(band, pair, memory);
            }
        });
        self.finish(x, workspace);
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
        self.set_kernel(x, workspace);
        let (save, width) = (&self.overlap_save, self.design.valid().width);
        let background = self.design.split(x).1;
        let kernel = &workspace.kernel_spectrum;
        let bands = workspace.bands.par_iter_mut().zip(&mut workspace.moments).enumerate();
        bands.for_each(|(band, (memory, moments))| {
            OverlapSave::start_sum(memory);
            moments.fill(0.0);
            for pair in 0..save.pairs_per_band() {
                save.convolve(band, pair, kernel, memory);
                save.clear_margins(band, pair, memory);
                save.valid_rows(band, pair, memory, |row, columns, values| {
                    self.add_background(background, row, &columns, values);
                    let start = row * width;
                    let weights = &weights[start + columns.start..start + columns.end];
                    values.iter_mut().zip(weights).for_each(|(v, w)| *v *= *w);
                    self.add_moments(values, row, &columns, moments);
                });
                save.correlate(band, pair, memory);
            }
        });
        self.finish(g, workspace);
        Ok(())
    }
}

impl<T: Pixel + FftNum> DesignMatrix for FftDesignMatrix<T> {
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

impl<T: Pixel + FftNum> fmt::Debug for FftDesignMatrix<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FftDesignMatrix")
            .field("nrows", &self.nrows())
            .field("ncols", &self.ncols())
            .field("tile_side", &self.tile_side())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for FftWorkspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FftWorkspace").field("bands", &self.bands.len()).finish_non_exhaustive()
    }
}
