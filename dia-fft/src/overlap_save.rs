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
//! Where the kernel varies, M = Σ_ij P_i(x) P_j(y) (R ⊗ K_ij) is summed between the dimensions of the transform: after the inverse transform of the
//! rows, row x of a tile is still a spectrum along y, and P_i(x) is one factor for all of it, the same for both tiles of a pair, which lie one above
//! the other. So for each j the terms of all i are summed up before one transform of the columns, and the adjoint does the same backwards:
//!
//! > M = Σ_j P_j(y) F_y⁻¹ Σ_i P_i(x) F_x⁻¹ (r̂ k̂_ij),  ĝ_ij = Σ conj(r̂) F_x P_i(x) F_y P_j(y) v.
//!
//! With degree d and n = (d + 1)(d + 2)/2 terms these are n transforms of rows and d + 1 of columns; a constant kernel takes one of each.
//!
//! In a tile the kernel pixel i of (2h + 1)² lies at row and column i, so that the results of a convolution start at row and
//! column 2h.

use std::ops::Range;
use std::sync::Arc;

use dia_core::{Design, Image, ImageView, Kernel, Polynomial2d, Region};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::factors::Factors;
use crate::modulated::Moments;
use crate::pool::Pool;
use crate::rows::{Pixelwise, RowLoop};
use crate::tile::{Planes, TileFft};
use crate::tiling::Tiling;
use crate::vector::FftPixel;

/// The tiles of a reference, and the plans to work with them.
pub(crate) struct OverlapSave<T> {
    half_width: usize,
    tiling: Tiling,
    /// Pairs of one band that one task works on; their spectra are summed in the precision of the pixels.
    pairs_per_task: usize,
    variation: Factors<T>,
    fft: Arc<TileFft<T>>,
    /// Kernels and sums are transformed in double precision.
    exact_fft: Arc<TileFft<f64>>,
    spectra: Arc<Spectra<T>>,
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
    /// For each term of the variation.
    kernels: Vec<KernelSpectrum<T>>,
    /// Σ conj(r̂) ŷ over the pairs of each task, for each term; empty before the first sweep.
    sums: Vec<Vec<Planes<T>>>,
}

/// The memory in which a thread works on a pair.
struct Tiles<T> {
    tile: Planes<T>,
    /// What belongs to one P_j, and to one term; empty where the kernel is constant.
    part: Planes<T>,
    term: Planes<T>,
    /// r̂ where spectra are not stored.
    reference: Option<Planes<T>>,
}

/// The memory in which a kernel is transformed.
struct KernelSpectrum<T> {
    exact: Planes<f64>,
    /// The kernel's spectrum over N², in the precision of the pixels.
    transfer: Planes<T>,
}

impl<T: FftPixel> OverlapSave<T> {
    /// Cuts `reference` into tiles of `side`² pixels for the kernels of a design. Their spectra are kept,
    /// or else computed in every product from the image that `keep` gives.
    pub(crate) fn new(
        reference: ImageView<'_, T>,
        design: &Design,
        side: usize,
        keep: Option<Arc<Image<T>>>,
    ) -> Self {
        let tiling = Tiling::new(side, design);
        let fft = TileFft::new(side);
        let spectra = keep.map_or_else(
            || {
                let mut spectra: Vec<_> = (0..tiling.pairs()).map(|_| fft.zeros()).collect();
                spectra.par_iter_mut().enumerate().for_each(|(pair, spectrum)| {
                    fill_pair(reference, &fft, tiling.tiles(pair), spectrum);
                    fft.forward(spectrum, 0..side);
                });
                Spectra::Stored(spectra)
            },
            Spectra::Computed,
        );
        let pairs_per_task =
            (tiling.pairs() / TASKS).clamp(1, PAIRS_PER_TASK).min(tiling.pairs_per_band);
        Self {
            half_width: design.half_width(),
            tiling,
            pairs_per_task,
            variation: Factors::new(design.variation(), design.valid()),
            fft: Arc::new(fft),
            exact_fft: Arc::new(TileFft::new(side)),
            spectra: Arc::new(spectra),
        }
    }

    /// The same tiles for the kernels of a design that differs in the variation alone.
    pub(crate) fn varied_as(&self, design: &Design) -> Self {
        Self {
            half_width: self.half_width,
            tiling: self.tiling.clone(),
            pairs_per_task: self.pairs_per_task,
            variation: Factors::new(design.variation(), design.valid()),
            fft: Arc::clone(&self.fft),
            exact_fft: Arc::clone(&self.exact_fft),
            spectra: Arc::clone(&self.spectra),
        }
    }

    /// Number of tasks that a sweep is cut into; it does not depend on the number of threads.
    pub(crate) fn tasks(&self) -> usize {
        self.tiling.bands * self.tasks_per_band()
    }

    fn tasks_per_band(&self) -> usize {
        self.tiling.pairs_per_band.div_ceil(self.pairs_per_task)
    }

    fn terms(&self) -> usize {
        self.variation.powers.len()
    }

    /// d, the degree of the variation.
    fn degree(&self) -> usize {
        self.variation.x.len() - 1
    }

    /// Memory for the products.
    pub(crate) fn workspace(&self) -> TileWorkspace<T> {
        let kernel =
            || KernelSpectrum { exact: self.exact_fft.zeros(), transfer: self.fft.zeros() };
        TileWorkspace {
            tiles: Pool::new(|| self.tiles()),
            kernels: (0..self.terms()).map(|_| kernel()).collect(),
            sums: Vec::new(),
        }
    }

    fn tiles(&self) -> Tiles<T> {
        let reference = match &*self.spectra {
            Spectra::Stored(_) => None,
            Spectra::Computed(_) => Some(self.fft.zeros()),
        };
        let spare = || if self.terms() > 1 { self.fft.zeros() } else { Planes::empty() };
        Tiles { tile: self.fft.zeros(), part: spare(), term: spare(), reference }
    }

    /// As [`Products::convolve`](crate::products::Products::convolve), over the tiles.
    pub(crate) fn convolve(
        &self,
        kernels: &[Kernel],
        out: &mut [T],
        workspace: &mut TileWorkspace<T>,
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        let TileWorkspace { tiles, kernels: transfer, .. } = workspace;
        self.set_kernels(kernels, transfer);
        let band_pixels = self.tiling.band_rows() * self.tiling.valid.width;
        out.par_chunks_mut(band_pixels).enumerate().for_each(|(band, out)| {
            let first = band * self.tiling.pairs_per_band;
            tiles.with(
                || self.tiles(),
                |tiles| {
                    for pair in first..first + self.tiling.pairs_per_band {
                        self.convolve_pair(pair, transfer, tiles);
                        self.run_rows(pair, &mut tiles.tile, rows, &mut []);
                        self.copy_rows(pair, &tiles.tile, out);
                    }
                },
            );
        });
    }

    /// As [`Products::sweep`](crate::products::Products::sweep), over the tiles.
    pub(crate) fn sweep(
        &self,
        kernels: Option<&[Kernel]>,
        gradient: &mut [f64],
        workspace: &mut TileWorkspace<T>,
        moments: &mut [Vec<Moments<T>>],
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
    ) {
        let TileWorkspace { tiles, kernels: transfer, sums } = workspace;
        if let Some(kernels) = kernels {
            self.set_kernels(kernels, transfer);
        }
        sums.resize_with(self.tasks(), || (0..self.terms()).map(|_| self.fft.zeros()).collect());
        sums.par_iter_mut().zip(moments).enumerate().for_each(|(task, (sums, moments))| {
            let (band, part) = (task / self.tasks_per_band(), task % self.tasks_per_band());
            let first = band * self.tiling.pairs_per_band + part * self.pairs_per_task;
            let end = (band + 1) * self.tiling.pairs_per_band;
            sums.iter_mut().for_each(Planes::clear);
            tiles.with(
                || self.tiles(),
                |tiles| {
                    for pair in first..end.min(first + self.pairs_per_task) {
                        if kernels.is_some() {
                            self.convolve_pair(pair, transfer, tiles);
                        } else {
                            self.read_reference(pair, tiles);
                        }
                        self.run_rows(pair, &mut tiles.tile, rows, moments);
                        self.clear_margins(pair, &mut tiles.tile);
                        self.correlate_pair(pair, tiles, sums);
                    }
                },
            );
        });
        let kernel_pixels = gradient.len() / self.terms();
        let gradients = gradient.par_chunks_exact_mut(kernel_pixels);
        gradients.zip(transfer).enumerate().for_each(|(t, (gradient, memory))| {
            self.finish(t, sums, memory, gradient);
        });
    }

    /// Prepares the convolutions with the kernels of all terms.
    fn set_kernels(&self, kernels: &[Kernel], memory: &mut [KernelSpectrum<T>]) {
        kernels.par_iter().zip(memory).for_each(|(kernel, memory)| self.set_kernel(kernel, memory));
    }

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
    fn read_reference(&self, pair: usize, tiles: &mut Tiles<T>) {
        if let (Spectra::Computed(image), Some(reference)) = (&*self.spectra, &mut tiles.reference)
        {
            fill_pair(image.view(), &self.fft, self.tiling.tiles(pair), reference);
            self.fft.forward(reference, 0..self.fft.side());
        }
    }

    /// r̂ of the pair, after [`read_reference`](Self::read_reference).
    fn reference<'s>(&'s self, pair: usize, computed: Option<&'s Planes<T>>) -> &'s Planes<T> {
        match (&*self.spectra, computed) {
            (Spectra::Stored(spectra), _) => &spectra[pair],
            (Spectra::Computed(_), Some(reference)) => reference,
            (Spectra::Computed(_), None) => unreachable!("tiles() gives it memory"),
        }
    }

    /// Σ_t T_t (R ⊗ K_t) on a pair; the result is in the valid rows of the tile.
    fn convolve_pair(&self, pair: usize, kernels: &[KernelSpectrum<T>], tiles: &mut Tiles<T>) {
        self.read_reference(pair, tiles);
        let Tiles { tile, part, term, reference } = tiles;
        let reference = self.reference(pair, reference.as_ref());
        let (fft, margin) = (&self.fft, 2 * self.half_width);
        let transfer = |i: usize, j: usize| &kernels[Polynomial2d::place(i, j)].transfer;
        for j in 0..=self.degree() {
            let sum = if j == 0 { &mut *tile } else { &mut *part };
            fft.multiply(reference, transfer(0, j), sum);
            fft.inverse_rows(sum);
            for i in 1..=self.degree() - j {
                fft.multiply(reference, transfer(i, j), term);
                fft.inverse_rows(term);
                fft.add_rows(term, margin, self.in_columns(i, pair), sum);
            }
            fft.inverse_columns(sum, self.tile_columns(pair));
            if j > 0 {
                fft.add_rows(part, margin, self.in_rows(j, pair), tile);
            }
        }
    }

    /// Adds conj(r̂) ŷ of a pair to the sum of each t, with y = T_t v; v is in the valid rows of the tile, and zero elsewhere.
    fn correlate_pair(&self, pair: usize, tiles: &mut Tiles<T>, sums: &mut [Planes<T>]) {
        let Tiles { tile, part, term, reference } = tiles;
        let reference = self.reference(pair, reference.as_ref());
        let (fft, margin) = (&self.fft, 2 * self.half_width);
        for j in (0..=self.degree()).rev() {
            if j > 0 {
                fft.scale_rows(tile, margin, self.in_rows(j, pair), part);
            }
            let part = if j > 0 { &mut *part } else { &mut *tile };
            fft.forward_columns(part, self.tile_columns(pair));
            for i in (0..=self.degree() - j).rev() {
                if i > 0 {
                    fft.scale_rows(part, margin, self.in_columns(i, pair), term);
                }
                let term = if i > 0 { &mut *term } else { &mut *part };
                fft.forward_rows(term);
                fft.accumulate(reference, term, &mut sums[Polynomial2d::place(i, j)]);
            }
        }
    }

    /// P_i at the valid columns of a pair's tiles, which lie one above the other.
    fn in_columns(&self, i: usize, pair: usize) -> [&[T]; 2] {
        self.tiling.tiles(pair).map(|tile| &self.variation.x[i][tile.x..tile.x + tile.width])
    }

    /// P_j at the valid rows of a pair's tiles.
    fn in_rows(&self, j: usize, pair: usize) -> [&[T]; 2] {
        let factors = &self.variation.y[j];
        self.tiling.tiles(pair).map(|tile| &factors[tile.y.min(factors.len())..][..tile.height])
    }

    /// The gradient over the (2h + 1)² kernel pixels of term `t`: the sums of all tasks, in order, transformed back.
    fn finish(
        &self,
        t: usize,
        sums: &[Vec<Planes<T>>],
        memory: &mut KernelSpectrum<T>,
        gradient: &mut [f64],
    ) {
        let (stride, exact_stride) = (self.fft.stride(), self.exact_fft.stride());
        let total = |total: &mut [f64], plane: &(dyn Fn(&Planes<T>) -> &[T] + Sync)| {
            total.par_chunks_mut(8 * exact_stride).enumerate().for_each(|(block, total)| {
                for (row, total) in total.chunks_exact_mut(exact_stride).enumerate() {
                    total.fill(0.0);
                    for sum in sums {
                        let sum = &plane(&sum[t])[(8 * block + row) * stride..][..self.fft.side()];
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

    /// Runs over every row of valid pixels of a pair.
    fn run_rows(
        &self,
        pair: usize,
        tile: &mut Planes<T>,
        rows: &RowLoop<'_, T, impl Pixelwise<T>>,
        moments: &mut [Moments<T>],
    ) {
        self.fft.arch().dispatch(ValidRows {
            tile,
            places: self.tiling.tiles(pair),
            stride: self.fft.stride(),
            margin: 2 * self.half_width,
            rows,
            moments,
        });
    }

    /// Copies the valid pixels of a pair to `out`, the band's rows.
    fn copy_rows(&self, pair: usize, tile: &Planes<T>, out: &mut [T]) {
        let (stride, margin) = (self.fft.stride(), 2 * self.half_width);
        let places = self.tiling.tiles(pair);
        for (plane, place) in [&tile.re, &tile.im].into_iter().zip(places) {
            let lines = plane.chunks_exact(stride).skip(margin).take(place.height);
            let rows = out.chunks_exact_mut(self.tiling.valid.width).skip(place.y - places[0].y);
            for (line, out) in lines.zip(rows).filter(|_| place.width > 0) {
                out[place.x..place.x + place.width]
                    .copy_from_slice(&line[margin..margin + place.width]);
            }
        }
    }

    /// Sets to zero what is no valid pixel in the tile.
    fn clear_margins(&self, pair: usize, tile: &mut Planes<T>) {
        let (stride, margin) = (self.fft.stride(), 2 * self.half_width);
        for (plane, place) in [&mut tile.re, &mut tile.im].into_iter().zip(self.tiling.tiles(pair))
        {
            let (first, end) = (margin * stride, (margin + place.height) * stride);
            plane[..first].fill(T::zero());
            plane[end..].fill(T::zero());
            for row in plane[first..end].chunks_exact_mut(stride) {
                row[..margin].fill(T::zero());
                row[margin + place.width..].fill(T::zero());
            }
        }
    }

    /// The columns of a tile that hold valid pixels of either tile of the pair.
    fn tile_columns(&self, pair: usize) -> Range<usize> {
        2 * self.half_width..2 * self.half_width + self.tiling.tiles(pair)[0].width
    }
}

/// The loop of [`OverlapSave::run_rows`].
struct ValidRows<'a, 'r, T, P> {
    tile: &'a mut Planes<T>,
    /// The valid pixels of both tiles.
    places: [Region; 2],
    stride: usize,
    margin: usize,
    rows: &'a RowLoop<'r, T, P>,
    moments: &'a mut [Moments<T>],
}

impl<T: FftPixel, P: Pixelwise<T>> WithSimd for ValidRows<'_, '_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tile, places, stride, margin, rows, moments } = self;
        // Spelt out for both tiles: in a loop over the two, the vectors of a row cost AᵀWA x a tenth of its time.
        let [first, second] = places;
        let mut start = margin * stride + margin;
        for y in 0..first.height {
            let columns = first.x..first.x + first.width;
            let values = &mut tile.re[start..start + first.width];
            rows.run(simd, moments, first.y + y, columns, values);
            if y < second.height {
                let columns = second.x..second.x + second.width;
                let values = &mut tile.im[start..start + second.width];
                rows.run(simd, moments, second.y + y, columns, values);
            }
            start += stride;
        }
    }
}

/// About how many tasks a sweep is cut into: enough for the threads of a large machine, few enough for their sums to be added quickly.
const TASKS: usize = 16;

/// Most pairs whose spectra are summed in the precision of the pixels before they go on in `f64`: the rounding of so few terms is
/// below that of the transforms.
const PAIRS_PER_TASK: usize = 8;

/// Copies the pixels of a pair's two tiles; zero beyond the image.
fn fill_pair<T: FftPixel>(
    image: ImageView<'_, T>,
    fft: &TileFft<T>,
    places: [Region; 2],
    tile: &mut Planes<T>,
) {
    tile.clear();
    for (plane, place) in [&mut tile.re, &mut tile.im].into_iter().zip(places) {
        let columns = place.x.min(image.width())..image.width().min(place.x + fft.side());
        let rows = place.y..image.height().min(place.y + fft.side());
        for (row, y) in plane.chunks_exact_mut(fft.stride()).zip(rows) {
            row[..columns.len()].copy_from_slice(&image.row(y)[columns.clone()]);
        }
    }
}
