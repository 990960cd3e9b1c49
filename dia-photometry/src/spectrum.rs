//! Discrete Fourier transforms of small kernels, which filters are designed with; no image is ever transformed.

use std::cell::RefCell;
use std::f64::consts::TAU;
use std::sync::Arc;

use dia_core::Kernel;
use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftPlanner};

/// A periodic grid of N × N pixels with offset (0, 0) at its first element. Transforms are unnormalised forwards, over N² backwards. Spectra lie column after column: that saves a transposition each way.
#[derive(Clone)]
pub(crate) struct Grid {
    side: usize,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
}

impl Grid {
    /// The smallest grid of a side with fast transforms that holds a kernel of half-width `half_width`.
    pub(crate) fn holding(half_width: usize) -> Self {
        thread_local! {
            /// Plans are made once per thread and size.
            static PLANNER: RefCell<FftPlanner<f64>> = RefCell::new(FftPlanner::new());
        }
        let side = fast_side(2 * half_width + 1);
        PLANNER.with_borrow_mut(|planner| Self {
            side,
            forward: planner.plan_fft_forward(side),
            inverse: planner.plan_fft_inverse(side),
        })
    }

    /// The spectrum of a kernel, its elements at the frequencies of [`frequencies`](Self::frequencies).
    pub(crate) fn transform(&self, kernel: &Kernel) -> Vec<Complex64> {
        let mut grid = vec![Complex64::ZERO; self.side * self.side];
        self.put(kernel, &mut grid, |element, value| element.re = value);
        self.along_both(&self.forward, &mut grid);
        grid
    }

    /// The spectra of two kernels, by one transform of the first and i times the second.
    pub(crate) fn transforms(&self, kernels: [&Kernel; 2]) -> [Vec<Complex64>; 2] {
        let n = self.side;
        let mut grid = vec![Complex64::ZERO; n * n];
        let ratio = ratio(kernels.map(|kernel| kernel.pixels().iter().copied()));
        self.put(kernels[0], &mut grid, |element, value| element.re = value);
        self.put(kernels[1], &mut grid, |element, value| element.im = value * ratio);
        self.along_both(&self.forward, &mut grid);
        // Of a real kernel, opposite frequencies are conjugate.
        let opposite = |i: usize| (n - i / n) % n * n + (n - i % n) % n;
        let pair = |i: usize| (grid[i], grid[opposite(i)].conj());
        let first = (0..n * n).map(pair).map(|(here, there)| 0.5 * (here + there)).collect();
        let half = Complex64::new(0.0, -0.5 / ratio);
        [first, (0..n * n).map(pair).map(|(here, there)| half * (here - there)).collect()]
    }

    fn put(&self, kernel: &Kernel, grid: &mut [Complex64], set: impl Fn(&mut Complex64, f64)) {
        let (n, h) = (self.side, kernel.half_width() as isize);
        assert!(kernel.side() <= n, "the kernel fits on the grid");
        for (dy, row) in (-h..=h).zip(kernel.pixels().chunks(kernel.side())) {
            for (dx, value) in (-h..=h).zip(row) {
                set(&mut grid[self.place(dy, dx)], *value);
            }
        }
    }

    fn place(&self, dy: isize, dx: isize) -> usize {
        let n = self.side as isize;
        (dy.rem_euclid(n) * n + dx.rem_euclid(n)) as usize
    }

    /// The kernel of a spectrum, cut at `half_width`.
    pub(crate) fn kernel(&self, mut spectrum: Vec<Complex64>, half_width: usize) -> Kernel {
        self.along_both(&self.inverse, &mut spectrum);
        self.cut(&spectrum, half_width, |element| element.re)
    }

    /// The kernels of two spectra, by one transform, as [`transforms`](Self::transforms).
    pub(crate) fn kernels(
        &self,
        mut first: Vec<Complex64>,
        second: &[Complex64],
        half_width: usize,
    ) -> [Kernel; 2] {
        let ratio = ratio([&first[..], second].map(|s| s.iter().flat_map(|z| [z.re, z.im])));
        let with = |(a, b): (&mut Complex64, &Complex64)| {
            *a += Complex64::new(-b.im * ratio, b.re * ratio);
        };
        first.iter_mut().zip(second).for_each(with);
        self.along_both(&self.inverse, &mut first);
        [
            self.cut(&first, half_width, |element| element.re),
            self.cut(&first, half_width, |element| element.im / ratio),
        ]
    }

    fn cut(&self, grid: &[Complex64], half_width: usize, of: impl Fn(Complex64) -> f64) -> Kernel {
        assert!(2 * half_width < self.side, "the kernel fits on the grid");
        let norm = 1.0 / (self.side * self.side) as f64;
        Kernel::from_fn(half_width, |dy, dx| of(grid[self.place(dy, dx)]) * norm)
    }

    /// (k_y, k_x) in radians per pixel for each element; 0 in place of the Nyquist frequency, whose derivative and shift are not real.
    pub(crate) fn frequencies(&self) -> impl Iterator<Item = (f64, f64)> + use<> {
        let n = self.side;
        (0..n * n).map(move |i| (frequency(n, i % n), frequency(n, i / n)))
    }

    /// Multiplies a spectrum by that of a shift by (dy, dx) pixels.
    pub(crate) fn shift(&self, spectrum: &mut [Complex64], dy: f64, dx: f64) {
        if dy == 0.0 && dx == 0.0 {
            return;
        }
        let n = self.side;
        let phase = |d: f64| move |i: usize| Complex64::from_polar(1.0, -frequency(n, i) * d);
        let rows: Vec<Complex64> = (0..n).map(phase(dy)).collect();
        for (column, phase) in spectrum.chunks_mut(n).zip((0..n).map(phase(dx))) {
            column.iter_mut().zip(&rows).for_each(|(value, row)| *value *= phase * row);
        }
    }

    /// Transforms rows, transposes, and transforms what were columns.
    fn along_both(&self, fft: &Arc<dyn Fft<f64>>, grid: &mut [Complex64]) {
        fft.process(grid);
        self.transpose(grid);
        fft.process(grid);
    }

    fn transpose(&self, grid: &mut [Complex64]) {
        for y in 0..self.side {
            for x in 0..y {
                grid.swap(y * self.side + x, x * self.side + y);
            }
        }
    }
}

/// What brings the second of two sets of values to the size of the first, when both are transformed at once: rounding errors are those of the larger one, and weights, in ADU⁻², may be
/// smaller or larger than a PSF by any power of ten.
fn ratio(values: [impl Iterator<Item = f64>; 2]) -> f64 {
    let [first, second] = values.map(|values| values.map(f64::abs).fold(0.0, f64::max));
    let ratio = first / second;
    if ratio.is_normal() { ratio } else { 1.0 }
}

/// The least multiple of 4 from `length` on, and from 32, that has no other prime factors than 2, 3 and 5.
fn fast_side(length: usize) -> usize {
    let is_fast = |side: &usize| {
        let mut rest = *side;
        for factor in [2, 3, 5] {
            while rest.is_multiple_of(factor) {
                rest /= factor;
            }
        }
        rest == 1
    };
    (length.max(32).next_multiple_of(4)..).step_by(4).find(is_fast).expect("powers of two are fast")
}

/// The frequency of element `i` of `n` in radians per pixel; 0 in place of the Nyquist frequency.
fn frequency(n: usize, i: usize) -> f64 {
    let signed = if i > n / 2 { i as f64 - n as f64 } else { i as f64 };
    if i == n / 2 { 0.0 } else { TAU * signed / n as f64 }
}

/// The kernel moved by (dy, dx) pixels, band-limited interpolation on a periodic grid; exact for kernels sampled at least as finely as their band
/// (FWHM above 2 pixels).
pub(crate) fn shifted(kernel: &Kernel, dy: f64, dx: f64, half_width: usize) -> Kernel {
    // What is wanted must not be met by what is a period away.
    let grid = Grid::holding((kernel.half_width() + half_width).max(2 * kernel.half_width()));
    let mut spectrum = grid.transform(kernel);
    grid.shift(&mut spectrum, dy, dx);
    grid.kernel(spectrum, half_width)
}

/// (∂/∂y, ∂/∂x) of a band-limited kernel, per pixel.
pub(crate) fn gradient(kernel: &Kernel) -> [Kernel; 2] {
    let grid = Grid::holding(2 * kernel.half_width());
    let spectrum = grid.transform(kernel);
    let along = |pick: fn((f64, f64)) -> f64| -> Vec<Complex64> {
        let times_ik = |(value, k)| value * Complex64::new(0.0, pick(k));
        spectrum.iter().copied().zip(grid.frequencies()).map(times_ik).collect()
    };
    grid.kernels(along(|k| k.0), &along(|k| k.1), kernel.half_width())
}

/// Σ_u a(u) b(v − u) at |v| ≤ `half_width`; values beyond the support of a kernel are zero.
pub(crate) fn convolution(a: &Kernel, b: &Kernel, half_width: usize) -> Kernel {
    product(a, b, half_width, |a, b| a * b)
}

/// Σ_u a(u) b(u − v) at |v| ≤ `half_width`; values beyond the support of a kernel are zero.
pub(crate) fn correlation(a: &Kernel, b: &Kernel, half_width: usize) -> Kernel {
    product(a, b, half_width, |a, b| a * b.conj())
}

fn product(
    a: &Kernel,
    b: &Kernel,
    half_width: usize,
    of: impl Fn(Complex64, Complex64) -> Complex64,
) -> Kernel {
    // An offset that is wanted must not be met by one a period away.
    let reach = a.half_width() + b.half_width();
    let grid = Grid::holding(reach.max((reach + half_width).div_ceil(2)).max(half_width));
    let [a, b] = grid.transforms([a, b]);
    grid.kernel(a.into_iter().zip(b).map(|(a, b)| of(a, b)).collect(), half_width)
}

#[cfg(test)]
mod tests {
    use super::{Grid, convolution, correlation, gradient, shifted};
    use dia_core::Kernel;

    #[test]
    fn a_transform_and_back_is_the_kernel() {
        let kernel = Kernel::from_fn(5, |dy, dx| (3 * dy + dx * dx) as f64);
        let grid = Grid::holding(5);
        let back = grid.kernel(grid.transform(&kernel), 5);
        // Values below 50, ten roundings.
        assert!(kernel.pixels().iter().zip(back.pixels()).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn a_gaussian_is_moved_and_differentiated() {
        let gaussian = |y: f64, x: f64| (-0.5 * (y * y + x * x) / 2.25).exp();
        let kernel = Kernel::from_fn(12, |dy, dx| gaussian(dy as f64, dx as f64));
        let moved = shifted(&kernel, 0.3, -0.4, 10);
        let truth = Kernel::from_fn(10, |dy, dx| gaussian(dy as f64 - 0.3, dx as f64 + 0.4));
        // Aliases of σ = 1.5 are e^(−π²σ²/2) < 2e-5 at the Nyquist frequency.
        assert!(moved.pixels().iter().zip(truth.pixels()).all(|(a, b)| (a - b).abs() < 1e-4));
        let [slope, _] = gradient(&kernel);
        let truth =
            Kernel::from_fn(12, |dy, dx| -(dy as f64) / 2.25 * gaussian(dy as f64, dx as f64));
        // The same times k ≤ π.
        assert!(slope.pixels().iter().zip(truth.pixels()).all(|(a, b)| (a - b).abs() < 3e-4));
    }

    #[test]
    fn products_of_spectra_are_sums_over_offsets() {
        let a = Kernel::from_fn(2, |dy, dx| (dy * 3 + dx) as f64);
        let b = Kernel::from_fn(1, |dy, dx| (1 + dy - 2 * dx) as f64);
        let at = |kernel: &Kernel, y: isize, x: isize| {
            let h = kernel.half_width() as isize;
            if y.abs() <= h && x.abs() <= h { kernel.at(y, x) } else { 0.0 }
        };
        // Cut within the support, at it, and beyond.
        for half_width in [1, 3, 20] {
            let (c, d) = (convolution(&a, &b, half_width), correlation(&a, &b, half_width));
            let h = half_width as isize;
            for (vy, vx) in (-h..=h).flat_map(|y| (-h..=h).map(move |x| (y, x))) {
                let sum = |of: &dyn Fn(isize, isize) -> f64| -> f64 {
                    (-2..=2)
                        .flat_map(|y| (-2..=2).map(move |x| (y, x)))
                        .map(|(y, x)| of(y, x))
                        .sum()
                };
                let convolved = sum(&|y, x| at(&a, y, x) * at(&b, vy - y, vx - x));
                let correlated = sum(&|y, x| at(&a, y, x) * at(&b, y - vy, x - vx));
                // Sums below 200 and a dozen roundings.
                assert!((c.at(vy, vx) - convolved).abs() < 1e-12);
                assert!((d.at(vy, vx) - correlated).abs() < 1e-12);
            }
        }
    }
}
