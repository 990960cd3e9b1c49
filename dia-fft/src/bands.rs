//! Convolution and correlation with a small kernel by the direct products, in bands of rows.

use std::ops::Range;
use std::sync::Arc;

use dia_core::{Design, ImageView, Kernel};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::direct::Direct;
use crate::factors::Factors;
use crate::modulated::Moments;
use crate::pool::Pool;
use crate::rows::{Pixelwise, RowLoop};
use crate::vector::{FftPixel, Lanes};

/// Rows of a band. A band costs up to four rows more than it has, and its pixels and those of the reference should stay in the
/// L2 cache, so that a sweep finds there what it has just written.
const BAND_ROWS: usize = 32;

/// The products of a reference, a band of rows at a time.
pub(crate) struct Bands<T> {
    direct: Arc<Direct<T>>,
    variation: Factors<T>,
}

/// The memory of the products.
pub(crate) struct BandWorkspace<T> {
    /// The kernel of each term, see [`Direct::set_kernel`].
    taps: Vec<T>,
    /// For each thread.
    pixels: Pool<Pixels<T>>,
    /// For each band, the sums over kernel pixels, for each term.
    sums: Vec<Vec<f64>>,
}

/// The memory in which a thread works on a band.
struct Pixels<T> {
    /// The valid pixels.
    values: Vec<T>,
    /// The same for one term of the variation; empty where there is but one.
    term: Vec<T>,
}

impl<T: FftPixel> Bands<T> {
    /// Copies `reference`, for the kernels of a design.
    pub(crate) fn new(reference: ImageView<'_, T>, design: &Design) -> Self {
        let variation = Factors::new(design.variation(), design.valid());
        Self { direct: Arc::new(Direct::new(reference, design.half_width())), variation }
    }

    /// The same reference for the kernels of a design that differs in the variation alone.
    pub(crate) fn varied_as(&self, design: &Design) -> Self {
        let variation = Factors::new(design.variation(), design.valid());
        Self { direct: Arc::clone(&self.direct), variation }
    }

    /// Number of bands.
    pub(crate) fn tasks(&self) -> usize {
        self.direct.shape().0.div_ceil(BAND_ROWS)
    }

    /// Memory for the products.
    pub(crate) fn workspace(&self) -> BandWorkspace<T> {
        let kernel_pixels = self.variation.powers.len() * self.direct.kernel_pixels();
        BandWorkspace {
            taps: vec![T::zero(); kernel_pixels],
            pixels: Pool::new(|| self.pixels()),
            sums: vec![vec![0.0; kernel_pixels]; self.tasks()],
        }
    }

    fn pixels(&self) -> Pixels<T> {
        let values = vec![T::zero(); BAND_ROWS * self.direct.shape().1];
        let term = if self.variation.powers.len() > 1 { values.clone() } else { Vec::new() };
        Pixels { values, term }
    }

    /// As [`Products::convolve`](crate::products::Products::convolve).
    pub(crate) fn convolve(
        &self,
        kernels: &[Kernel],
        out: &mut [T],
        workspace: &mut BandWorkspace<T>,
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        let BandWorkspace { taps, pixels, .. } = workspace;
        self.set_kernels(kernels, taps);
        let (taps, width) = (&*taps, self.direct.shape().1);
        out.par_chunks_mut(BAND_ROWS * width).enumerate().for_each(|(band, out)| {
            let range = self.rows(band);
            pixels.with(
                || self.pixels(),
                |pixels| self.convolve_rows(range.clone(), taps, &mut pixels.term, out),
            );
            self.run_rows(range.start, out, rows, &mut []);
        });
    }

    /// As [`Products::sweep`](crate::products::Products::sweep).
    pub(crate) fn sweep(
        &self,
        kernels: Option<&[Kernel]>,
        gradient: &mut [f64],
        workspace: &mut BandWorkspace<T>,
        moments: &mut [Vec<Moments<T>>],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        let BandWorkspace { taps, pixels, sums } = workspace;
        if let Some(kernels) = kernels {
            self.set_kernels(kernels, taps);
        }
        let (taps, width) = (&*taps, self.direct.shape().1);
        sums.par_iter_mut().zip(moments).enumerate().for_each(|(band, (sums, moments))| {
            let range = self.rows(band);
            sums.fill(0.0);
            pixels.with(
                || self.pixels(),
                |Pixels { values, term }| {
                    let values = &mut values[..range.len() * width];
                    if kernels.is_some() {
                        self.convolve_rows(range.clone(), taps, term, values);
                    }
                    self.run_rows(range.start, values, rows, moments);
                    self.correlate_rows(range, values, term, sums);
                },
            );
        });
        gradient.fill(0.0);
        for sums in sums {
            gradient.iter_mut().zip(&*sums).for_each(|(g, s)| *g += s);
        }
    }

    /// Prepares the convolutions with the kernels of all terms.
    fn set_kernels(&self, kernels: &[Kernel], taps: &mut [T]) {
        for (kernel, taps) in kernels.iter().zip(taps.chunks_exact_mut(self.direct.kernel_pixels()))
        {
            self.direct.set_kernel(kernel, taps);
        }
    }

    /// Σ_t T_t (R ⊗ K_t) at some valid rows.
    fn convolve_rows(&self, rows: Range<usize>, taps: &[T], term: &mut [T], out: &mut [T]) {
        for (t, taps) in taps.chunks_exact(self.direct.kernel_pixels()).enumerate() {
            if t == 0 {
                self.direct.convolve_rows(rows.clone(), taps, out);
            } else {
                let term = &mut term[..out.len()];
                self.direct.convolve_rows(rows.clone(), taps, term);
                self.vary::<true>(t, rows.clone(), term, out);
            }
        }
    }

    /// Adds to the `sums` of each t what the values T_t v of some valid rows give.
    fn correlate_rows(&self, rows: Range<usize>, v: &[T], term: &mut [T], sums: &mut [f64]) {
        for (t, sums) in sums.chunks_exact_mut(self.direct.kernel_pixels()).enumerate() {
            if t == 0 {
                self.direct.correlate_rows(rows.clone(), v, sums);
            } else {
                let term = &mut term[..v.len()];
                self.vary::<false>(t, rows.clone(), v, term);
                self.direct.correlate_rows(rows.clone(), term, sums);
            }
        }
    }

    /// `to` ← T_t `from` at some valid rows, or `to` + T_t `from` where `ADD`.
    fn vary<const ADD: bool>(&self, t: usize, rows: Range<usize>, from: &[T], to: &mut [T]) {
        let (i, j) = self.variation.powers[t];
        let (x, y) = (&self.variation.x[i], &self.variation.y[j][rows]);
        self.direct.arch().dispatch(Vary::<T, ADD> { x, y, from, to });
    }

    /// Runs over the rows of a band from row `first` on.
    fn run_rows(
        &self,
        first: usize,
        values: &mut [T],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
        moments: &mut [Moments<T>],
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
    moments: &'a mut [Moments<T>],
}

impl<T: FftPixel, P: Pixelwise<T>> WithSimd for BandLoop<'_, '_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, width, first, rows, moments } = self;
        for (y, row) in values.chunks_exact_mut(width).enumerate() {
            rows.run(simd, moments, first + y, 0..width, row);
        }
    }
}

/// The loop of [`Bands::vary`].
struct Vary<'a, T, const ADD: bool> {
    x: &'a [T],
    y: &'a [T],
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: FftPixel, const ADD: bool> WithSimd for Vary<'_, T, ADD> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, y, from, to } = self;
        let rows = from.chunks_exact(x.len()).zip(to.chunks_exact_mut(x.len()));
        for (y, (from, to)) in y.iter().zip(rows) {
            let y = T::splat(simd, *y);
            let pixels = from.chunks(T::lanes::<S>()).zip(to.chunks_mut(T::lanes::<S>()));
            for (x, (from, to)) in x.chunks(T::lanes::<S>()).zip(pixels) {
                let factor = <T as Lanes>::mul(simd, T::load(simd, x), y);
                let from = T::load(simd, from);
                let sum = if ADD {
                    <T as Lanes>::mul_add(simd, factor, from, T::load(simd, to))
                } else {
                    <T as Lanes>::mul(simd, factor, from)
                };
                T::store(simd, to, sum);
            }
        }
    }
}
