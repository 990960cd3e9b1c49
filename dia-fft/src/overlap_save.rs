//! Convolution and correlation with a small kernel, by overlap-save on tiles.
//!
//! The reference is cut into tiles of N² pixels that overlap by 2h; each gives the (N − 2h)² pixels at which the kernel lies
//! inside it. Two neighbouring tiles a, b are transformed as one complex tile a + ib: the kernel is real, so convolving
//! that with it gives both convolutions, as real and imaginary part. For the adjoint, with residuals y = y_a + i y_b and
//! reference r = r_a + i r_b,
//!
//! > Σ_p conj(r(p − u)) y(p) = Σ r_a y_a + Σ r_b y_b + i(…),
//!
//! so the spectra conj(r̂) ŷ of all pairs are added up, and the real part of one single inverse transform is the gradient.
//!
//! In a tile the kernel pixel i of (2h + 1)² lies at row and column i, so that the results of a convolution start at row and
//! column 2h.

use std::ops::Range;
use std::sync::Arc;

use dia_core::{Image, ImageView, Kernel, Region};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::background::Moments;
use crate::pool::Pool;
use crate::rows::{Pixelwise, RowLoop};
use crate::tile::{Planes, TileFft};
use crate::vector::FftPixel;

/// The tiles of a reference, and the plans to work with them.
pub(crate) struct OverlapSave<T> {
    half_width: usize,
    /// N − 2h: valid rows and columns that a tile gives.
    step: usize,
    bands: usize,
    pairs_per_band: usize,
    /// Pairs of one band that one task works on; their spectra are summed in the precision of the pixels.
    pairs_per_task: usize,
    valid: Region,
    fft: TileFft<T>,
    /// Kernels and sums are transformed in double precision.
    exact_fft: TileFft<f64>,
    spectra: Spectra<T>,
}

/// Where the spectra r̂ of the pairs come from.
enum Spectra<T> {
    /// Memory, band after band.
    Stored(Vec<Planes<T>>),
    /// A transform whenever one is needed.
    Computed(Arc<Image<T>>),
}

/// The memory of the products.
pub(crate) struct TileWorkspace<T> {
    tiles: Pool<Tiles<T>>,
    kernel: KernelSpectrum<T>,
    /// Σ conj(r̂) ŷ over the pairs of each task; empty before the first sweep.
    sums: Vec<Planes<T>>,
}

/// The memory in which a thread works on a pair.
struct Tiles<T> {
    tile: Planes<T>,
    /// r̂ where spectra are not stored.
    reference: Option<Planes<T>>,
}

/// The memory in which kernels are transformed.
struct KernelSpectrum<T> {
    exact: Planes<f64>,
    /// The kernel's spectrum over N², in the precision of the pixels.
    transfer: Planes<T>,
}

impl<T: FftPixel> OverlapSave<T> {
    /// Cuts `reference` into tiles of `side`² pixels for kernels of half-width h that lie fully inside it. Their spectra are kept,
    /// or else computed in every product from the image that `keep` gives.
    pub(crate) fn new(
        reference: ImageView<'_, T>,
        half_width: usize,
        side: usize,
        keep: Option<Arc<Image<T>>>,
    ) -> Self {
        let valid = Region {
            y: half_width,
            x: half_width,
            height: reference.height() - 2 * half_width,
            width: reference.width() - 2 * half_width,
        };
        let Tiling { step, bands, pairs_per_band } = Tiling::new(side, half_width, valid);
        let fft = TileFft::new(side);
        let spectra = keep.map_or_else(
            || {
                let mut spectra: Vec<_> =
                    (0..bands * pairs_per_band).map(|_| fft.zeros()).collect();
                spectra.par_iter_mut().enumerate().for_each(|(pair, spectrum)| {
                    let at = [pair / pairs_per_band * step, pair % pairs_per_band * 2 * step];
                    fill_pair(reference, &fft, at, step, spectrum);
                    fft.forward(spectrum, 0..side);
                });
                Spectra::Stored(spectra)
            },
            Spectra::Computed,
        );
        let pairs_per_task =
            (bands * pairs_per_band / TASKS).clamp(1, PAIRS_PER_TASK).min(pairs_per_band);
        let exact_fft = TileFft::new(side);
        Self {
            half_width,
            step,
            bands,
            pairs_per_band,
            pairs_per_task,
            valid,
            fft,
            exact_fft,
            spectra,
        }
    }

    /// Number of tasks that a sweep is cut into; it does not depend on the number of threads.
    pub(crate) fn tasks(&self) -> usize {
        self.bands * self.tasks_per_band()
    }

    fn tasks_per_band(&self) -> usize {
        self.pairs_per_band.div_ceil(self.pairs_per_task)
    }

    /// Memory for the products.
    pub(crate) fn workspace(&self) -> TileWorkspace<T> {
        TileWorkspace {
            tiles: Pool::new(|| self.tiles()),
            kernel: KernelSpectrum { exact: self.exact_fft.zeros(), transfer: self.fft.zeros() },
            sums: Vec::new(),
        }
    }

    fn tiles(&self) -> Tiles<T> {
        let reference = match &self.spectra {
            Spectra::Stored(_) => None,
            Spectra::Computed(_) => Some(self.fft.zeros()),
        };
        Tiles { tile: self.fft.zeros(), reference }
    }

    /// As [`Products::convolve`](crate::products::Products::convolve), over the tiles.
    pub(crate) fn convolve(
        &self,
        kernel: &Kernel,
        out: &mut [T],
        workspace: &mut TileWorkspace<T>,
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        self.set_kernel(kernel, &mut workspace.kernel);
        let TileWorkspace { tiles, kernel, .. } = workspace;
        let width = self.valid.width;
        out.par_chunks_mut(self.step * width).enumerate().for_each(|(band, out)| {
            tiles.with(
                || self.tiles(),
                |tiles| {
                    for pair in 0..self.pairs_per_band {
                        self.convolve_pair(band, pair, kernel, tiles);
                        self.run_rows(band, pair, &mut tiles.tile, rows, None);
                        self.copy_rows(band, pair, &tiles.tile, out);
                    }
                },
            );
        });
    }

    /// As [`Products::sweep`](crate::products::Products::sweep), over the tiles.
    pub(crate) fn sweep(
        &self,
        kernel: Option<&Kernel>,
        gradient: &mut [f64],
        workspace: &mut TileWorkspace<T>,
        moments: &mut [Option<Moments<T>>],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        if let Some(kernel) = kernel {
            self.set_kernel(kernel, &mut workspace.kernel);
        }
        let TileWorkspace { tiles, kernel: transfer, sums } = workspace;
        sums.resize_with(self.tasks(), || self.fft.zeros());
        sums.par_iter_mut().zip(moments).enumerate().for_each(|(task, (sum, moments))| {
            let (band, first) =
                (task / self.tasks_per_band(), task % self.tasks_per_band() * self.pairs_per_task);
            let pairs = first..(first + self.pairs_per_task).min(self.pairs_per_band);
            sum.clear();
            tiles.with(
                || self.tiles(),
                |tiles| {
                    for pair in pairs {
                        if kernel.is_some() {
                            self.convolve_pair(band, pair, transfer, tiles);
                        } else {
                            self.read_reference(band, pair, tiles);
                        }
                        self.run_rows(band, pair, &mut tiles.tile, rows, moments.as_mut());
                        self.clear_margins(band, pair, &mut tiles.tile);
                        self.correlate_pair(band, pair, tiles, sum);
                    }
                },
            );
        });
        self.finish(sums, transfer, gradient);
    }

    /// Prepares the convolution with `kernel`.
    fn set_kernel(&self, kernel: &Kernel, memory: &mut KernelSpectrum<T>) {
        let (stride, kernel_side) = (self.exact_fft.stride(), 2 * self.half_width + 1);
        let KernelSpectrum { exact, transfer } = memory;
        exact.clear();
        let norm = 1.0 / (self.fft.side() * self.fft.side()) as f64;
        for (row, pixels) in kernel.pixels().chunks_exact(kernel_side).enumerate() {
            let row = &mut exact.re[row * stride..][..kernel_side];
            row.iter_mut().zip(pixels).for_each(|(t, k)| *t = k * norm);
        }
        self.exact_fft.forward(exact, 0..kernel_side);
        for (from, to) in [(&exact.re, &mut transfer.re), (&exact.im, &mut transfer.im)] {
            let rows = from.chunks_exact(stride).zip(to.chunks_exact_mut(self.fft.stride()));
            for (from, to) in rows {
                let from = &from[..self.fft.side()];
                to.iter_mut().zip(from).for_each(|(to, from)| *to = T::narrow(*from));
            }
        }
    }

    /// Makes sure that r̂ of the pair is at hand.
    fn read_reference(&self, band: usize, pair: usize, tiles: &mut Tiles<T>) {
        if let (Spectra::Computed(image), Some(reference)) = (&self.spectra, &mut tiles.reference) {
            let at = [band * self.step, pair * 2 * self.step];
            fill_pair(image.view(), &self.fft, at, self.step, reference);
            self.fft.forward(reference, 0..self.fft.side());
        }
    }

    /// r̂ of the pair, after [`read_reference`](Self::read_reference).
    fn reference<'s>(
        &'s self,
        band: usize,
        pair: usize,
        computed: Option<&'s Planes<T>>,
    ) -> &'s Planes<T> {
        match (&self.spectra, computed) {
            (Spectra::Stored(spectra), _) => &spectra[band * self.pairs_per_band + pair],
            (Spectra::Computed(_), Some(reference)) => reference,
            (Spectra::Computed(_), None) => unreachable!("tiles() gives it memory"),
        }
    }

    /// R ⊗ K on a pair; the result is in the valid rows of the tile.
    fn convolve_pair(
        &self,
        band: usize,
        pair: usize,
        kernel: &KernelSpectrum<T>,
        tiles: &mut Tiles<T>,
    ) {
        self.read_reference(band, pair, tiles);
        let Tiles { tile, reference } = tiles;
        let reference = self.reference(band, pair, reference.as_ref());
        self.fft.multiply(reference, &kernel.transfer, tile);
        self.fft.inverse(tile, self.tile_columns(pair));
    }

    /// Adds conj(r̂) ŷ of a pair to `sum`; y is in the valid rows of the tile, and zero elsewhere.
    fn correlate_pair(&self, band: usize, pair: usize, tiles: &mut Tiles<T>, sum: &mut Planes<T>) {
        let Tiles { tile, reference } = tiles;
        self.fft.forward(tile, self.tile_columns(pair));
        self.fft.accumulate(self.reference(band, pair, reference.as_ref()), tile, sum);
    }

    /// The gradient over the (2h + 1)² kernel pixels: the sums of all tasks, in order, transformed back.
    fn finish(&self, sums: &[Planes<T>], memory: &mut KernelSpectrum<T>, gradient: &mut [f64]) {
        let (stride, exact_stride) = (self.fft.stride(), self.exact_fft.stride());
        let total = |total: &mut [f64], plane: &(dyn Fn(&Planes<T>) -> &[T] + Sync)| {
            total.par_chunks_mut(8 * exact_stride).enumerate().for_each(|(block, total)| {
                for (row, total) in total.chunks_exact_mut(exact_stride).enumerate() {
                    total.fill(0.0);
                    for sum in sums {
                        let sum = &plane(sum)[(8 * block + row) * stride..][..self.fft.side()];
                        total.iter_mut().zip(sum).for_each(|(t, s)| *t += s.widen());
                    }
                }
            });
        };
        rayon::join(
            || total(&mut memory.exact.re, &|sum| &sum.re),
            || total(&mut memory.exact.im, &|sum| &sum.im),
        );
        let kernel_side = 2 * self.half_width + 1;
        self.exact_fft.inverse(&mut memory.exact, 0..kernel_side);
        let norm = 1.0 / (self.fft.side() * self.fft.side()) as f64;
        for (gradient, row) in
            gradient.chunks_exact_mut(kernel_side).zip(memory.exact.re.chunks_exact(exact_stride))
        {
            gradient.iter_mut().zip(row).for_each(|(g, t)| *g = t * norm);
        }
    }

    /// Runs over every row of valid pixels of a pair, left tile then right tile in each row.
    fn run_rows(
        &self,
        band: usize,
        pair: usize,
        tile: &mut Planes<T>,
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
        moments: Option<&mut Moments<T>>,
    ) {
        self.fft.arch().dispatch(ValidRows {
            tile,
            tile_rows: self.tile_rows(band),
            stride: self.fft.stride(),
            margin: 2 * self.half_width,
            first: band * self.step,
            columns: self.columns(pair),
            rows,
            moments,
        });
    }

    /// Copies the valid pixels of a pair to `out`, the band's rows.
    fn copy_rows(&self, band: usize, pair: usize, tile: &Planes<T>, out: &mut [T]) {
        let (stride, width) = (self.fft.stride(), self.valid.width);
        for (tile_row, out) in self.tile_rows(band).zip(out.chunks_exact_mut(width)) {
            let start = tile_row * stride + 2 * self.half_width;
            for (plane, columns) in [&tile.re, &tile.im].into_iter().zip(self.columns(pair)) {
                out[columns.clone()].copy_from_slice(&plane[start..start + columns.len()]);
            }
        }
    }

    /// Sets to zero what is no valid pixel in the tile.
    fn clear_margins(&self, band: usize, pair: usize, tile: &mut Planes<T>) {
        let (stride, margin) = (self.fft.stride(), 2 * self.half_width);
        let rows = self.tile_rows(band);
        for (plane, columns) in [&mut tile.re, &mut tile.im].into_iter().zip(self.columns(pair)) {
            plane[..rows.start * stride].fill(T::zero());
            plane[rows.end * stride..].fill(T::zero());
            for row in plane[rows.start * stride..rows.end * stride].chunks_exact_mut(stride) {
                row[..margin].fill(T::zero());
                row[margin + columns.len()..].fill(T::zero());
            }
        }
    }

    /// The rows of a tile that hold valid pixels.
    fn tile_rows(&self, band: usize) -> Range<usize> {
        let rows = self.step.min(self.valid.height - band * self.step);
        2 * self.half_width..2 * self.half_width + rows
    }

    /// The columns of a tile that hold valid pixels; the left one of a pair has at least as many as the right one.
    fn tile_columns(&self, pair: usize) -> Range<usize> {
        2 * self.half_width..2 * self.half_width + self.columns(pair)[0].len()
    }

    /// The columns of the valid region that the two tiles of a pair hold.
    fn columns(&self, pair: usize) -> [Range<usize>; 2] {
        let at = |x: usize| x.min(self.valid.width);
        let start = pair * 2 * self.step;
        [at(start)..at(start + self.step), at(start + self.step)..at(start + 2 * self.step)]
    }
}

/// The loop of [`OverlapSave::run_rows`].
struct ValidRows<'a, 'r, T, P> {
    tile: &'a mut Planes<T>,
    tile_rows: Range<usize>,
    stride: usize,
    margin: usize,
    /// The valid row that the first of the tile's rows is.
    first: usize,
    columns: [Range<usize>; 2],
    rows: &'a RowLoop<'r, T, P>,
    moments: Option<&'a mut Moments<T>>,
}

impl<T: FftPixel, P: Pixelwise<T>> WithSimd for ValidRows<'_, '_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tile, tile_rows, stride, margin, first, columns, rows, mut moments } = self;
        let [left, right] = columns;
        let mut start = tile_rows.start * stride + margin;
        for y in first..first + tile_rows.len() {
            let values = &mut tile.re[start..start + left.len()];
            rows.run(simd, moments.as_deref_mut(), y, left.clone(), values);
            let values = &mut tile.im[start..start + right.len()];
            rows.run(simd, moments.as_deref_mut(), y, right.clone(), values);
            start += stride;
        }
    }
}

/// About how many tasks a sweep is cut into: enough for the threads of a large machine, few enough for their sums to be added quickly.
const TASKS: usize = 16;

/// Most pairs whose spectra are summed in the precision of the pixels before they go on in `f64`: the rounding of so few terms is
/// below that of the transforms.
const PAIRS_PER_TASK: usize = 8;

/// How tiles cover the valid pixels.
pub(crate) struct Tiling {
    pub(crate) step: usize,
    pub(crate) bands: usize,
    pub(crate) pairs_per_band: usize,
}

impl Tiling {
    pub(crate) fn new(side: usize, half_width: usize, valid: Region) -> Self {
        let step = side - 2 * half_width;
        let (bands, pairs_per_band) =
            (valid.height.div_ceil(step), valid.width.div_ceil(step).div_ceil(2));
        Self { step, bands, pairs_per_band }
    }
}

/// Copies the two tiles that start at row and column `at` and one `step` to the right of it; zero beyond the image.
fn fill_pair<T: FftPixel>(
    image: ImageView<'_, T>,
    fft: &TileFft<T>,
    at: [usize; 2],
    step: usize,
    tile: &mut Planes<T>,
) {
    tile.clear();
    let side = fft.side();
    for (plane, x) in [(&mut tile.re, at[1]), (&mut tile.im, at[1] + step)] {
        if x >= image.width() {
            continue;
        }
        let columns = x..image.width().min(x + side);
        let rows = plane.chunks_exact_mut(fft.stride()).take(image.height() - at[0]);
        for (y, row) in rows.enumerate() {
            row[..columns.len()].copy_from_slice(&image.row(at[0] + y)[columns.clone()]);
        }
    }
}
