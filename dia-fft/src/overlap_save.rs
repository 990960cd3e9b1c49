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

use std::ops::Range;

use dia_core::{ImageView, Kernel, Pixel, Region};
use rayon::prelude::*;
use rustfft::FftNum;
use rustfft::num_complex::Complex;

use crate::tile::TileFft;

/// Spectra of the reference's tiles, and the plans to work with them.
pub(crate) struct OverlapSave<T> {
    half_width: usize,
    /// N − 2h or less: valid rows and columns that a tile gives.
    step: usize,
    bands: usize,
    pairs_per_band: usize,
    valid: Region,
    fft: TileFft<T>,
    /// Kernels and sums are transformed in double precision.
    exact_fft: TileFft<f64>,
    /// r̂ of all pairs, band after band.
    spectra: Vec<Complex<T>>,
}

/// The memory in which one band of tiles is worked on.
pub(crate) struct Band<T> {
    /// Two tiles, as real and imaginary part.
    tile: Vec<Complex<T>>,
    spectrum: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
    /// Valid pixels of one row of one tile.
    row: Vec<T>,
    /// Σ conj(r̂) ŷ over the pairs of this band.
    sum: Vec<Complex<f64>>,
}

/// The memory in which kernels are transformed.
pub(crate) struct KernelSpectrum<T> {
    tile: Vec<Complex<f64>>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    /// The kernel's spectrum over N², in the precision of the pixels.
    transfer: Vec<Complex<T>>,
}

impl<T: Pixel + FftNum> OverlapSave<T> {
    /// Transforms the tiles of `reference` for kernels of half-width h that lie fully inside it.
    pub(crate) fn new(reference: ImageView<'_, T>, half_width: usize) -> Self {
        let valid = Region {
            y: half_width,
            x: half_width,
            height: reference.height() - 2 * half_width,
            width: reference.width() - 2 * half_width,
        };
        let side = tile_side(half_width, valid);
        let step = side - 2 * half_width;
        let bands = valid.height.div_ceil(step);
        let pairs_per_band = valid.width.div_ceil(2 * step);
        let fft = TileFft::new(side);
        let mut spectra = vec![Complex::default(); bands * pairs_per_band * fft.len()];
        spectra.par_chunks_mut(fft.len()).enumerate().for_each_init(
            || (vec![Complex::default(); fft.len()], fft.scratch()),
            |(tile, scratch), (pair, spectrum)| {
                let (y0, x0) = (pair / pairs_per_band * step, pair % pairs_per_band * 2 * step);
                fill_pair(reference, side, y0, [x0, x0 + step], tile);
                fft.forward(tile, 0..side, spectrum, scratch);
            },
        );
        let exact_fft = TileFft::new(side);
        Self { half_width, step, bands, pairs_per_band, valid, fft, exact_fft, spectra }
    }

    /// N, the side of a tile.
    pub(crate) fn tile_side(&self) -> usize {
        self.fft.side()
    }

    /// Valid rows in a band; the last band may have fewer.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// Number of bands of tiles.
    pub(crate) fn bands(&self) -> usize {
        self.bands
    }

    /// Number of pairs of tiles in a band.
    pub(crate) fn pairs_per_band(&self) -> usize {
        self.pairs_per_band
    }

    /// Memory for one band.
    pub(crate) fn band(&self) -> Band<T> {
        Band {
            tile: vec![Complex::default(); self.fft.len()],
            spectrum: vec![Complex::default(); self.fft.len()],
            scratch: self.fft.scratch(),
            row: vec![T::zero(); self.step],
            sum: vec![Complex::default(); self.fft.len()],
        }
    }

    /// Memory for kernels.
    pub(crate) fn kernel_spectrum(&self) -> KernelSpectrum<T> {
        KernelSpectrum {
            tile: vec![Complex::default(); self.fft.len()],
            spectrum: vec![Complex::default(); self.fft.len()],
            scratch: self.exact_fft.scratch(),
            transfer: vec![Complex::default(); self.fft.len()],
        }
    }

    /// Prepares the convolution with `kernel`.
    pub(crate) fn set_kernel(&self, kernel: &Kernel, memory: &mut KernelSpectrum<T>) {
        let side = self.fft.side();
        memory.tile.fill(Complex::default());
        for (i, k) in kernel.pixels().iter().enumerate() {
            memory.tile[self.wrapped(i)].re = *k;
        }
        self.exact_fft.forward(
            &mut memory.tile,
            0..side,
            &mut memory.spectrum,
            &mut memory.scratch,
        );
        let norm = 1.0 / self.fft.len() as f64;
        for (transfer, k) in memory.transfer.iter_mut().zip(&memory.spectrum) {
            *transfer = Complex::new(T::narrow(k.re * norm), T::narrow(k.im * norm));
        }
    }

    /// Where in a tile the kernel pixel `i` lies: offset u at u modulo N.
    fn wrapped(&self, i: usize) -> usize {
        let (side, h, kernel_side) = (self.fft.side(), self.half_width, 2 * self.half_width + 1);
        let wrap = |u: usize| (u + side - h) % side;
        wrap(i / kernel_side) * side + wrap(i % kernel_side)
    }

    /// R ⊗ K on the pair `pair` of band `band`; the result is in the valid rows of `memory`.
    pub(crate) fn convolve(
        &self,
        band: usize,
        pair: usize,
        kernel: &KernelSpectrum<T>,
        memory: &mut Band<T>,
    ) {
        let reference = self.spectrum(band, pair);
        for ((z, r), k) in memory.spectrum.iter_mut().zip(reference).zip(&kernel.transfer) {
            *z = *r * *k;
        }
        let rows = self.tile_rows(band);
        self.fft.inverse(&mut memory.spectrum, &mut memory.tile, rows, &mut memory.scratch);
    }

    /// Forgets the sums of earlier correlations.
    pub(crate) fn start_sum(memory: &mut Band<T>) {
        memory.sum.fill(Complex::default());
    }

    /// Clears the tile, for rows of [`valid_rows`](Self::valid_rows) to be filled.
    pub(crate) fn clear_tile(memory: &mut Band<T>) {
        memory.tile.fill(Complex::default());
    }

    /// Sets to zero what is no valid pixel in the tile, after [`convolve`](Self::convolve).
    pub(crate) fn clear_margins(&self, band: usize, pair: usize, memory: &mut Band<T>) {
        let (side, h) = (self.fft.side(), self.half_width);
        let rows = self.tile_rows(band);
        memory.tile[..rows.start * side].fill(Complex::default());
        memory.tile[rows.end * side..].fill(Complex::default());
        let [left, right] = self.columns(pair).map(|columns| h..h + columns.len());
        for row in memory.tile[rows.start * side..rows.end * side].chunks_exact_mut(side) {
            row[..h].fill(Complex::default());
            row[left.end..].fill(Complex::default());
            row[right.end..left.end].iter_mut().for_each(|z| z.im = T::zero());
        }
    }

    /// Adds conj(r̂) ŷ of one pair to the band's sum; y is in the valid rows of the tile, and zero elsewhere.
    pub(crate) fn correlate(&self, band: usize, pair: usize, memory: &mut Band<T>) {
        let rows = self.tile_rows(band);
        self.fft.forward(&mut memory.tile, rows, &mut memory.spectrum, &mut memory.scratch);
        let reference = self.spectrum(band, pair);
        for ((sum, y), r) in memory.sum.iter_mut().zip(&memory.spectrum).zip(reference) {
            let product = *y * r.conj();
            *sum += Complex::new(product.re.widen(), product.im.widen());
        }
    }

    /// The gradient over the (2h + 1)² kernel pixels: the sums of all bands, in order, transformed back.
    pub(crate) fn finish_sum(
        &self,
        bands: &[Band<T>],
        memory: &mut KernelSpectrum<T>,
        gradient: &mut [f64],
    ) {
        let side = self.fft.side();
        memory.spectrum.fill(Complex::default());
        for band in bands {
            for (total, sum) in memory.spectrum.iter_mut().zip(&band.sum) {
                *total += sum;
            }
        }
        self.exact_fft.inverse(
            &mut memory.spectrum,
            &mut memory.tile,
            0..side,
            &mut memory.scratch,
        );
        let norm = 1.0 / self.fft.len() as f64;
        for (i, g) in gradient.iter_mut().enumerate() {
            *g = memory.tile[self.wrapped(i)].re * norm;
        }
    }

    /// Calls `visit(y, columns, values)` with every row of valid pixels of a pair, left tile then right tile in each row;
    /// `y` and `columns` count in the valid region, and changed values are kept.
    pub(crate) fn valid_rows(
        &self,
        band: usize,
        pair: usize,
        memory: &mut Band<T>,
        mut visit: impl FnMut(usize, Range<usize>, &mut [T]),
    ) {
        let (side, h) = (self.fft.side(), self.half_width);
        let [left, right] = self.columns(pair);
        for (offset, tile_y) in self.tile_rows(band).enumerate() {
            let y = band * self.step + offset;
            let tile = &mut memory.tile[tile_y * side + h..(tile_y + 1) * side];
            let row = &mut memory.row[..left.len()];
            row.iter_mut().zip(&*tile).for_each(|(v, z)| *v = z.re);
            visit(y, left.clone(), row);
            row.iter().zip(&mut *tile).for_each(|(v, z)| z.re = *v);
            let row = &mut memory.row[..right.len()];
            row.iter_mut().zip(&*tile).for_each(|(v, z)| *v = z.im);
            visit(y, right.clone(), row);
            row.iter().zip(&mut *tile).for_each(|(v, z)| z.im = *v);
        }
    }

    fn spectrum(&self, band: usize, pair: usize) -> &[Complex<T>] {
        let start = (band * self.pairs_per_band + pair) * self.fft.len();
        &self.spectra[start..start + self.fft.len()]
    }

    /// The rows of a tile that hold valid pixels.
    fn tile_rows(&self, band: usize) -> Range<usize> {
        let rows = self.step.min(self.valid.height - band * self.step);
        self.half_width..self.half_width + rows
    }

    /// The columns of the valid region that the two tiles of a pair hold.
    fn columns(&self, pair: usize) -> [Range<usize>; 2] {
        let at = |x: usize| x.min(self.valid.width);
        let start = pair * 2 * self.step;
        [at(start)..at(start + self.step), at(start + self.step)..at(start + 2 * self.step)]
    }
}

/// Copies the two tiles that start at row `y0` and columns `x0` of the image; zero beyond it.
fn fill_pair<T: Pixel + FftNum>(
    image: ImageView<'_, T>,
    side: usize,
    y0: usize,
    x0: [usize; 2],
    tile: &mut [Complex<T>],
) {
    tile.fill(Complex::default());
    for (y, row) in tile.chunks_exact_mut(side).enumerate().take(image.height() - y0) {
        let pixels = image.row(y0 + y);
        let [left, right] = x0.map(|x| &pixels[x.min(image.width())..]);
        for (z, r) in row.iter_mut().zip(left) {
            z.re = *r;
        }
        for (z, r) in row.iter_mut().zip(right) {
            z.im = *r;
        }
    }
}

/// The side N that costs least: N² log N per tile, times the number of tiles.
fn tile_side(half_width: usize, valid: Region) -> usize {
    // Products of 2 and 3 with fast transforms, small enough for a tile and its spectrum to stay in the L2 cache.
    const SIDES: [usize; 9] = [32, 48, 64, 96, 128, 192, 256, 384, 512];
    let cost = |side: usize| {
        let step = side - 2 * half_width;
        let pairs = valid.height.div_ceil(step) * valid.width.div_ceil(2 * step);
        pairs as f64 * (side * side) as f64 * (side as f64).log2()
    };
    SIDES
        .into_iter()
        .filter(|side| *side >= 4 * half_width)
        .filter(|side| *side > 2 * half_width)
        .min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
        .unwrap_or_else(|| (8 * half_width).next_power_of_two())
}
