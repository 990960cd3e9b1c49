//! Convolution and correlation with a small kernel by the direct products, in bands of rows.

use std::ops::Range;

use dia_core::{ImageView, Kernel};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::background::Moments;
use crate::direct::Direct;
use crate::pool::Pool;
use crate::rows::{Pixelwise, RowLoop};
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
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        self.direct.set_kernel(kernel, &mut workspace.taps);
        let (taps, width) = (&workspace.taps, self.direct.shape().1);
        out.par_chunks_mut(BAND_ROWS * width).enumerate().for_each(|(band, out)| {
            let range = self.rows(band);
            self.direct.convolve_rows(range.clone(), taps, out);
            self.run_rows(range.start, out, rows, None);
        });
    }

    /// As [`Products::sweep`](crate::products::Products::sweep).
    pub(crate) fn sweep(
        &self,
        kernel: Option<&Kernel>,
        gradient: &mut [f64],
        workspace: &mut BandWorkspace<T>,
        moments: &mut [Option<Moments<T>>],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        let BandWorkspace { taps, values, sums } = workspace;
        if let Some(kernel) = kernel {
            self.direct.set_kernel(kernel, taps);
        }
        let (taps, width) = (&*taps, self.direct.shape().1);
        sums.par_iter_mut().zip(moments).enumerate().for_each(|(band, (sums, moments))| {
            let range = self.rows(band);
            sums.fill(0.0);
            values.with(
                || self.band(),
                |values| {
                    let values = &mut values[..range.len() * width];
                    if kernel.is_some() {
                        self.direct.convolve_rows(range.clone(), taps, values);
                    }
                    self.run_rows(range.start, values, rows, moments.as_mut());
                    self.direct.correlate_rows(range, values, sums);
                },
            );
        });
        gradient.fill(0.0);
        for sums in sums {
            gradient.iter_mut().zip(&*sums).for_each(|(g, s)| *g += s);
        }
    }

    /// Runs over the rows of a band from row `first` on.
    fn run_rows(
        &self,
        first: usize,
        values: &mut [T],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
        moments: Option<&mut Moments<T>>,
    ) {
        let width = self.direct.shape().1;
        self.direct.arch().dispatch(BandLoop { values, width, first, rows, moments });
    }

    fn rows(&self, band: usize) -> Range<usize> {
        band * BAND_ROWS..((band + 1) * BAND_ROWS).min(self.direct.shape().0)
    }
}

/// The loop of [`Bands::run_rows`].
struct BandLoop<'a, 'r, T, P> {
    values: &'a mut [T],
    width: usize,
    first: usize,
    rows: &'a RowLoop<'r, T, P>,
    moments: Option<&'a mut Moments<T>>,
}

impl<T: FftPixel, P: Pixelwise<T>> WithSimd for BandLoop<'_, '_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, width, first, rows, mut moments } = self;
        for (y, row) in values.chunks_exact_mut(width).enumerate() {
            rows.run(simd, moments.as_deref_mut(), first + y, 0..width, row);
        }
    }
}
