//! Convolution and correlation with a small kernel by the direct products, in bands of rows.

use std::ops::Range;

use dia_core::{ImageView, Kernel};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::direct::Direct;
use crate::pool::Pool;
use crate::vector::FftPixel;

/// Rows of a band. A band costs up to four rows more than it has, and its pixels and those of the reference should stay in the
/// L2 cache, so that a sweep finds there what it has just written.
const BAND_ROWS: usize = 32;

/// The products of a reference, a band of rows at a time.
pub(crate) struct Bands<T> {
    direct: Direct<T>,
}

/// The memory of the products.
pub(crate) struct BandWorkspace<T> {
    /// The kernel, see [`Direct::set_kernel`].
    taps: Vec<T>,
    /// The valid pixels of a band, for each thread.
    values: Pool<Vec<T>>,
    /// For each band, the sums over kernel pixels.
    sums: Vec<Vec<f64>>,
}

impl<T: FftPixel> Bands<T> {
    /// Copies `reference`, for kernels of the given half-width.
    pub(crate) fn new(reference: ImageView<'_, T>, half_width: usize) -> Self {
        Self { direct: Direct::new(reference, half_width) }
    }

    /// Number of bands.
    pub(crate) fn tasks(&self) -> usize {
        self.direct.shape().0.div_ceil(BAND_ROWS)
    }

    /// Memory for the products.
    pub(crate) fn workspace(&self) -> BandWorkspace<T> {
        let kernel_pixels = self.direct.kernel_pixels();
        BandWorkspace {
            taps: vec![T::zero(); kernel_pixels],
            values: Pool::new(|| self.band()),
            sums: vec![vec![0.0; kernel_pixels]; self.tasks()],
        }
    }

    fn band(&self) -> Vec<T> {
        vec![T::zero(); BAND_ROWS * self.direct.shape().1]
    }

    /// As [`Products::convolve`](crate::products::Products::convolve).
    pub(crate) fn convolve(
        &self,
        kernel: &Kernel,
        out: &mut [T],
        workspace: &mut BandWorkspace<T>,
        visit: impl Fn(usize, Range<usize>, &mut [T]) + Sync,
    ) {
        self.direct.set_kernel(kernel, &mut workspace.taps);
        let (taps, width) = (&workspace.taps, self.direct.shape().1);
        out.par_chunks_mut(BAND_ROWS * width).enumerate().for_each(|(band, out)| {
            let rows = self.rows(band);
            self.direct.convolve_rows(rows.clone(), taps, out);
            self.visit_rows(rows.start, out, &visit);
        });
    }

    /// As [`Products::sweep`](crate::products::Products::sweep).
    pub(crate) fn sweep<P: Send>(
        &self,
        kernel: Option<&Kernel>,
        gradient: &mut [f64],
        workspace: &mut BandWorkspace<T>,
        parts: &mut [P],
        visit: impl Fn(&mut P, usize, Range<usize>, &mut [T]) + Sync,
    ) {
        let BandWorkspace { taps, values, sums } = workspace;
        if let Some(kernel) = kernel {
            self.direct.set_kernel(kernel, taps);
        }
        let (taps, width) = (&*taps, self.direct.shape().1);
        sums.par_iter_mut().zip(parts).enumerate().for_each(|(band, (sums, part))| {
            let rows = self.rows(band);
            sums.fill(0.0);
            values.with(
                || self.band(),
                |values| {
                    let values = &mut values[..rows.len() * width];
                    if kernel.is_some() {
                        self.direct.convolve_rows(rows.clone(), taps, values);
                    }
                    self.visit_rows(
                        rows.start,
                        values,
                        #[inline(always)]
                        |y, columns, values| visit(part, y, columns, values),
                    );
                    self.direct.correlate_rows(rows, values, sums);
                },
            );
        });
        gradient.fill(0.0);
        for sums in sums {
            gradient.iter_mut().zip(&*sums).for_each(|(g, s)| *g += s);
        }
    }

    /// Calls `visit(y, columns, values)` for all rows of a band whose first row is `first`.
    fn visit_rows(
        &self,
        first: usize,
        values: &mut [T],
        visit: impl FnMut(usize, Range<usize>, &mut [T]),
    ) {
        let width = self.direct.shape().1;
        self.direct.arch().dispatch(Rows { values, width, first, visit });
    }

    fn rows(&self, band: usize) -> Range<usize> {
        band * BAND_ROWS..((band + 1) * BAND_ROWS).min(self.direct.shape().0)
    }
}

/// The loop of [`Bands::visit_rows`], compiled for the vector instructions at hand.
struct Rows<'a, T, F> {
    values: &'a mut [T],
    width: usize,
    first: usize,
    visit: F,
}

impl<T: FftPixel, F: FnMut(usize, Range<usize>, &mut [T])> WithSimd for Rows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        for (y, row) in self.values.chunks_exact_mut(self.width).enumerate() {
            (self.visit)(self.first + y, 0..self.width, row);
        }
    }
}
