//! The two-dimensional FFT of one square tile of complex numbers.

use std::ops::Range;
use std::sync::Arc;

use dia_core::Pixel;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};

/// Transforms of tiles of `side` × `side` complex numbers.
///
/// Normalization: none; `inverse(forward(z))` is side² z. Output order: spectra are transposed, the frequency along x is the
/// slow index; both transforms agree on it, so products of spectra need not know.
pub(crate) struct TileFft<T> {
    side: usize,
    forward: Arc<dyn Fft<T>>,
    inverse: Arc<dyn Fft<T>>,
}

impl<T: Pixel + FftNum> TileFft<T> {
    /// Plans the transforms.
    pub(crate) fn new(side: usize) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            side,
            forward: planner.plan_fft(side, FftDirection::Forward),
            inverse: planner.plan_fft(side, FftDirection::Inverse),
        }
    }

    /// Number of rows and columns.
    pub(crate) fn side(&self) -> usize {
        self.side
    }

    /// Number of complex numbers in a tile or a spectrum.
    pub(crate) fn len(&self) -> usize {
        self.side * self.side
    }

    /// Scratch memory for both directions.
    pub(crate) fn scratch(&self) -> Vec<Complex<T>> {
        let len =
            self.forward.get_inplace_scratch_len().max(self.inverse.get_inplace_scratch_len());
        vec![Complex::default(); len]
    }

    /// From a tile, of which only `rows` may differ from zero, to its spectrum. The tile is overwritten.
    pub(crate) fn forward(
        &self,
        tile: &mut [Complex<T>],
        rows: Range<usize>,
        spectrum: &mut [Complex<T>],
        scratch: &mut [Complex<T>],
    ) {
        let used = rows.start * self.side..rows.end * self.side;
        self.forward.process_with_scratch(&mut tile[used], scratch);
        transpose(self.side, tile, spectrum);
        self.forward.process_with_scratch(spectrum, scratch);
    }

    /// From a spectrum to those `rows` of its tile; other rows are left with unspecified values. The spectrum is overwritten.
    pub(crate) fn inverse(
        &self,
        spectrum: &mut [Complex<T>],
        tile: &mut [Complex<T>],
        rows: Range<usize>,
        scratch: &mut [Complex<T>],
    ) {
        self.inverse.process_with_scratch(spectrum, scratch);
        transpose(self.side, spectrum, tile);
        let used = rows.start * self.side..rows.end * self.side;
        self.inverse.process_with_scratch(&mut tile[used], scratch);
    }
}

/// Writes the transpose of a `side` × `side` matrix, block by block so that both sides stay in cache lines.
fn transpose<C: Copy>(side: usize, from: &[C], to: &mut [C]) {
    const BLOCK: usize = 8;
    for y0 in (0..side).step_by(BLOCK) {
        for x0 in (0..side).step_by(BLOCK) {
            for x in x0..(x0 + BLOCK).min(side) {
                let to = &mut to[x * side..(x + 1) * side];
                for y in y0..(y0 + BLOCK).min(side) {
                    to[y] = from[y * side + x];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustfft::num_complex::Complex;

    use super::{TileFft, transpose};

    #[test]
    fn transforms_invert_each_other_and_are_transposed_fourier_sums() {
        let side = 12;
        let fft = TileFft::<f64>::new(side);
        let mut scratch = fft.scratch();
        // Rows 3..9 only: the others must not be read as anything but zero.
        let mut tile = vec![Complex::new(0.0, 0.0); fft.len()];
        for (i, z) in tile.iter_mut().enumerate().skip(3 * side).take(6 * side) {
            *z = Complex::new((i as f64).sin(), (i as f64 * 0.7).cos());
        }
        let original = tile.clone();
        let mut spectrum = vec![Complex::new(f64::NAN, f64::NAN); fft.len()];
        fft.forward(&mut tile, 3..9, &mut spectrum, &mut scratch);

        let (ky, kx) = (5, 2);
        let expected: Complex<f64> = (0..fft.len())
            .map(|i| {
                let angle =
                    -std::f64::consts::TAU * ((i / side * ky + i % side * kx) as f64) / side as f64;
                original[i] * Complex::from_polar(1.0, angle)
            })
            .sum();
        // 144 terms of size ≤ √2, angles known to 100 ε.
        assert!((spectrum[kx * side + ky] - expected).norm() < 144.0 * 200.0 * f64::EPSILON);

        tile.fill(Complex::new(f64::NAN, f64::NAN));
        fft.inverse(&mut spectrum, &mut tile, 4..8, &mut scratch);
        for (z, o) in tile.iter().zip(&original).skip(4 * side).take(4 * side) {
            // A transform of length 144 has relative error of a few ε in the 2-norm, √144 · √2 here.
            assert!((z.unscale(144.0) - o).norm() < 17.0 * 8.0 * f64::EPSILON);
        }
    }

    #[test]
    fn transpose_works_for_sides_that_are_no_multiple_of_the_block() {
        let from: Vec<usize> = (0..13 * 13).collect();
        let mut to = vec![0; 13 * 13];
        transpose(13, &from, &mut to);
        assert!((0..169).all(|i| to[i] == (i % 13) * 13 + i / 13));
    }
}
