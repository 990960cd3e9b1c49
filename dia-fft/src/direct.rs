//! Convolution and correlation with a small kernel, by their definition and in the processor's vectors.
//!
//! With half-width h, side k = 2h + 1 and (y, x) counted in the valid region, (H − 2h) × (W − 2h) pixels of an H × W reference,
//!
//! > M(y, x) = Σ_u K(u) R(y + h − dy, x + h − dx),  g(u) = Σ_(y,x) v(y, x) R(y + h − dy, x + h − dx),  u = (dy, dx).
//!
//! Both run down strips of columns. The convolution keeps a strip of up to five output rows in registers: a vector of R serves
//! them all, and after each row of R the oldest leaves and a new one enters. The correlation keeps a vector of partial sums for
//! each of up to 5 × 3 kernel pixels, and the last five rows of v: one vector of v and three of R serve fifteen
//! multiply-adds. Larger kernels are cut into such pieces.
//!
//! Each product costs 2k² flop per pixel. A vector of R starts anywhere, so one of 512 bits nearly always crosses a cache
//! line, and Zen 4 loads it in two cycles, in which it multiplies and adds two. With k = 5 the convolution loads 0.2 and the
//! correlation 0.33 vectors per multiply-add, and the multiply-adds are the bound; with k = 3, at 0.33 and 0.44, the loads are
//! as slow. A range of rows costs up to four rows more than it has, so it should have 32 or more, and fit into the L2 cache.
//! On one core at 3.7 GHz, whose bound is 118 Gflop/s (`f32`, 1024², ranges of 64 rows):
//!
//! | k | 3 | 5 | 7 | 9 | 19 |
//! |---|---|---|---|---|---|
//! | convolution / (Gflop/s) | 77 | 108 | 106 | 110 | 106 |
//! | correlation / (Gflop/s) | 77 | 94 | 92 | 97 | 94 |

// The vector instructions of a processor can be used only where all that stands between them and the dispatch is inlined:
// so always inline, and loops instead of closures and library functions.
#![allow(clippy::needless_range_loop)]

use std::array;
use std::ops::Range;

use dia_core::{ImageView, Kernel};
use pulp::{Arch, Simd, WithSimd};

use crate::vector::{FftPixel, Lanes};

/// Terms that one lane of a correlation adds up in the precision of the pixels; beyond, sums are `f64`.
const RUN: usize = 64;

/// Rows that the correlation goes down a strip, few enough for the strip to stay in the L1 cache for its neighbour.
const HEIGHT: usize = 32;

/// Vectors in a strip of the convolution: a kernel pixel is broadcast once for all of them.
const STRIP: usize = 3;

/// Zeros after each row of the reference, for its last vector to reach into; no vector has more lanes. They also
/// keep rows of 2ⁿ pixels from falling on the same lines of the cache.
const PADDING: usize = 16;

/// A reference image, ready for products with kernels of one half-width.
pub(crate) struct Direct<T> {
    /// k, the side of the kernel.
    side: usize,
    /// Rows and columns of the valid region.
    height: usize,
    width: usize,
    /// W + [`PADDING`], from one row of the reference to the next.
    stride: usize,
    pixels: Vec<T>,
    arch: Arch,
}

impl<T: FftPixel> Direct<T> {
    /// Copies `reference`; its pixels must be finite, and the kernel must fit into it.
    pub(crate) fn new(reference: ImageView<'_, T>, half_width: usize) -> Self {
        let stride = reference.width() + PADDING;
        let mut pixels = vec![T::zero(); reference.height() * stride];
        for (y, row) in pixels.chunks_exact_mut(stride).enumerate() {
            row[..reference.width()].copy_from_slice(reference.row(y));
        }
        Self {
            side: 2 * half_width + 1,
            height: reference.height() - 2 * half_width,
            width: reference.width() - 2 * half_width,
            stride,
            pixels,
            arch: Arch::new(),
        }
    }

    /// (height, width) of the valid region.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// k².
    pub(crate) fn kernel_pixels(&self) -> usize {
        self.side * self.side
    }

    /// The instruction set at hand.
    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    /// Prepares the convolution with `kernel`: its k² pixels in the order in which they meet those of the reference.
    pub(crate) fn set_kernel(&self, kernel: &Kernel, taps: &mut [T]) {
        assert_eq!((kernel.side(), taps.len()), (self.side, self.side * self.side));
        taps.iter_mut().zip(kernel.pixels().iter().rev()).for_each(|(t, k)| *t = T::narrow(*k));
    }

    /// M at the valid `rows`, row after row, with the `taps` of [`set_kernel`](Self::set_kernel).
    ///
    /// The bits of a pixel do not depend on the range that it is computed in.
    pub(crate) fn convolve_rows(&self, rows: Range<usize>, taps: &[T], out: &mut [T]) {
        assert!(rows.end <= self.height && taps.len() == self.side * self.side);
        assert_eq!(out.len(), rows.len() * self.width);
        self.arch.dispatch(Convolution { direct: self, first: rows.start, taps, out });
    }

    /// Adds to the k² `sums`, in kernel order, what the `values` v of the valid `rows` give to g.
    ///
    /// In the precision of the pixels only [`RUN`] products are added up, in each lane of a vector, and then the lanes.
    pub(crate) fn correlate_rows(&self, rows: Range<usize>, values: &[T], sums: &mut [f64]) {
        assert!(rows.end <= self.height && sums.len() == self.side * self.side);
        assert_eq!(values.len(), rows.len() * self.width);
        let (mut first, mut values) = (rows.start, values);
        while first < rows.end {
            let rows = piece(rows.end - first, HEIGHT);
            let (now, later) = values.split_at(rows * self.width);
            self.arch.dispatch(Correlation { direct: self, first, rows, values: now, sums });
            (first, values) = (first + rows, later);
        }
    }
}

/// The first of the fewest and most even pieces, none longer than `most`, that `length` can be cut into.
#[inline(always)]
fn piece(length: usize, most: usize) -> usize {
    length.div_ceil(length.div_ceil(most))
}

/// The most kernel rows whose accumulators, with what they are multiplied with, fit into the registers.
#[inline(always)]
fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT < 32 { 3 } else { 5 }
}

struct Convolution<'a, T> {
    direct: &'a Direct<T>,
    /// The first row.
    first: usize,
    taps: &'a [T],
    out: &'a mut [T],
}

impl<T: FftPixel> WithSimd for Convolution<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (width, mut x) = (self.direct.width, 0);
        while x + STRIP * T::lanes::<S>() <= width {
            self.strip::<S, STRIP>(s, x);
            x += STRIP * T::lanes::<S>();
        }
        for x in (x..width).step_by(T::lanes::<S>()) {
            self.strip::<S, 1>(s, x);
        }
    }
}

impl<T: FftPixel> Convolution<'_, T> {
    /// The strip of V vectors that starts in column `x`.
    #[inline(always)]
    fn strip<S: Simd, const V: usize>(&mut self, s: S, x: usize) {
        let mut a = 0;
        while a < self.direct.side {
            let rows = piece(self.direct.side - a, most_rows::<S>());
            match rows {
                1 => self.sweep::<S, V, 1>(s, x, a),
                2 => self.sweep::<S, V, 2>(s, x, a),
                3 => self.sweep::<S, V, 3>(s, x, a),
                4 => self.sweep::<S, V, 4>(s, x, a),
                _ => self.sweep::<S, V, 5>(s, x, a),
            }
            a += rows;
        }
    }

    /// Adds what the G rows of taps from `a` on give to the strip; those from 0 on overwrite it.
    #[inline(always)]
    fn sweep<S: Simd, const V: usize, const G: usize>(&mut self, s: S, x: usize, a: usize) {
        let Direct { side, width, stride, .. } = *self.direct;
        let (rows, lanes) = (self.out.len() / width, T::lanes::<S>());
        let reference = &self.direct.pixels[(self.first + a) * stride + x..];
        let taps: [&[T]; G] = array::from_fn(|g| &self.taps[(a + g) * side..][..side]);
        let zero = T::splat(s, T::zero());
        // Element g is the output row j − g; those outside 0..rows are never stored.
        let mut sums = [[zero; V]; G];
        for j in 0..rows + G - 1 {
            if a > 0 && j < rows {
                let out = &self.out[j * width..][..width];
                for v in 0..V {
                    sums[0][v] = T::load(s, &out[x + v * lanes..]);
                }
            }
            let pixels = &reference[j * stride..][..V * lanes + side - 1];
            for (b, r) in (0..side).zip(pixels.windows(V * lanes)) {
                for v in 0..V {
                    let r = T::load(s, &r[v * lanes..]);
                    for g in 0..G {
                        let tap = T::splat(s, taps[g][b]);
                        sums[g][v] = <T as Lanes>::mul_add(s, tap, r, sums[g][v]);
                    }
                }
            }
            if j + 1 >= G {
                let out = &mut self.out[(j + 1 - G) * width..][..width];
                for v in 0..V {
                    T::store(s, &mut out[x + v * lanes..], sums[G - 1][v]);
                }
            }
            for g in (1..G).rev() {
                sums[g] = sums[g - 1];
            }
            sums[0] = [zero; V];
        }
    }
}

struct Correlation<'a, T> {
    direct: &'a Direct<T>,
    /// The first row, and the number of rows, at most [`HEIGHT`].
    first: usize,
    rows: usize,
    values: &'a [T],
    sums: &'a mut [f64],
}

impl<T: FftPixel> WithSimd for Correlation<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let Direct { side, width, .. } = *self.direct;
        let step = RUN / self.rows * T::lanes::<S>();
        for x in (0..width).step_by(step) {
            let columns = x..width.min(x + step);
            let mut a = 0;
            while a < side {
                let rows = piece(side - a, most_rows::<S>());
                match rows {
                    1 => self.kernel_rows::<S, 1>(s, &columns, a),
                    2 => self.kernel_rows::<S, 2>(s, &columns, a),
                    3 => self.kernel_rows::<S, 3>(s, &columns, a),
                    4 => self.kernel_rows::<S, 4>(s, &columns, a),
                    _ => self.kernel_rows::<S, 5>(s, &columns, a),
                }
                a += rows;
            }
        }
    }
}

impl<T: FftPixel> Correlation<'_, T> {
    #[inline(always)]
    fn kernel_rows<S: Simd, const G: usize>(&mut self, s: S, columns: &Range<usize>, a: usize) {
        let mut b = 0;
        while b < self.direct.side {
            let count = piece(self.direct.side - b, 3);
            match count {
                1 => self.sweep::<S, G, 1>(s, columns, a, b),
                2 => self.sweep::<S, G, 2>(s, columns, a, b),
                _ => self.sweep::<S, G, 3>(s, columns, a, b),
            }
            b += count;
        }
    }

    /// Adds the products in `columns` to the sums of G × C kernel pixels, from the one that meets R(y + a, x + b) on.
    #[inline(always)]
    fn sweep<S: Simd, const G: usize, const C: usize>(
        &mut self,
        s: S,
        columns: &Range<usize>,
        a: usize,
        b: usize,
    ) {
        let Direct { side, width, stride, .. } = *self.direct;
        let lanes = T::lanes::<S>();
        let zero = T::splat(s, T::zero());
        let mut sums = [[zero; C]; G];
        for x in columns.clone().step_by(lanes) {
            let reference = &self.direct.pixels[(self.first + a) * stride + x + b..];
            // Element g is the row j − g of v, zero outside 0..rows.
            let mut v = [zero; G];
            for j in 0..self.rows + G - 1 {
                for g in (1..G).rev() {
                    v[g] = v[g - 1];
                }
                v[0] = zero;
                if j < self.rows {
                    v[0] = T::load(s, &self.values[j * width..][x..width]);
                }
                let pixels = &reference[j * stride..][..lanes + C - 1];
                for c in 0..C {
                    let r = T::load(s, &pixels[c..]);
                    for g in 0..G {
                        sums[g][c] = <T as Lanes>::mul_add(s, v[g], r, sums[g][c]);
                    }
                }
            }
        }
        for g in 0..G {
            for c in 0..C {
                let u = side * side - 1 - (a + g) * side - (b + c);
                self.sums[u] += <T as Lanes>::sum(s, sums[g][c]).widen();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Image, Kernel, Pixel};
    use pulp::Arch;

    use super::{Direct, RUN};
    use crate::vector::FftPixel;

    /// Half-widths, and sizes of the valid region: tiny, around all lengths of vectors, strips, runs and pieces.
    const HALF_WIDTHS: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 9];
    const SIZES: [(usize, usize); 9] =
        [(1, 1), (1, 3), (2, 16), (5, 7), (3, 49), (31, 33), (33, 24), (66, 9), (70, 115)];

    /// Pseudo-random values in [−1, 1].
    fn value(i: usize) -> f64 {
        ((i + 1) * 7919 % 20_011) as f64 / 10_005.0 - 1.0
    }

    fn architectures() -> Vec<Arch> {
        let mut architectures = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        architectures.extend(pulp::x86::V3::try_new().map(Arch::V3));
        architectures
    }

    /// Calls `test` with the reference, its products' plan, the prepared kernel and the kernel, for all sizes and processors.
    fn for_all<T: FftPixel>(test: impl Fn(&Image<T>, &Direct<T>, &[T], &Kernel)) {
        for h in HALF_WIDTHS {
            let side = 2 * h + 1;
            let kernel =
                Kernel::from_fn(h, |y, x| T::narrow(value((y * 50 + x + 900) as usize)).widen());
            for (height, width) in SIZES {
                let reference = Image::from_fn(height + 2 * h, width + 2 * h, |y, x| {
                    T::narrow(value(y * 1000 + x))
                });
                for arch in architectures() {
                    let mut direct = Direct::new(reference.view(), h);
                    direct.arch = arch;
                    let mut taps = vec![T::zero(); side * side];
                    direct.set_kernel(&kernel, &mut taps);
                    test(&reference, &direct, &taps, &kernel);
                }
            }
        }
    }

    /// R(y + h − dy, x + h − dx) for kernel pixel u.
    fn meets<T: Pixel>(reference: &Image<T>, side: usize, u: usize, y: usize, x: usize) -> f64 {
        reference.view().at(y + side - 1 - u / side, x + side - 1 - u % side).widen()
    }

    fn check_products<T: FftPixel>() {
        let epsilon = T::epsilon().widen();
        for_all::<T>(|reference, direct, taps, kernel| {
            let Direct { side, height, width, .. } = *direct;
            let mut values = vec![T::nan(); height * width];
            direct.convolve_rows(0..height, taps, &mut values);
            for (i, model) in values.iter().enumerate() {
                let products = kernel.pixels().iter().enumerate();
                let products =
                    products.map(|(u, k)| k * meets(reference, side, u, i / width, i % width));
                let (sum, size) = products.fold((0.0, 0.0), |(s, a), p| (s + p, a + p.abs()));
                // A chain of k² products and sums, each rounded to ε/2, here and (for f64) in the expectation: 2 k² ε/2 each.
                let tolerance = 2.0 * (side * side) as f64 * epsilon * size;
                assert!((model.widen() - sum).abs() <= tolerance, "{side} {height} {width} {i}");
            }

            values.iter_mut().enumerate().for_each(|(i, v)| *v = T::narrow(value(3 * i + 5)));
            let mut sums = vec![1.0; side * side];
            direct.correlate_rows(0..height, &values, &mut sums);
            for (u, g) in sums.iter().enumerate() {
                let products = values.iter().enumerate();
                let products = products
                    .map(|(i, v)| v.widen() * meets(reference, side, u, i / width, i % width));
                let (sum, size) = products.fold((1.0, 1.0), |(s, a), p| (s + p, a + p.abs()));
                // A run of products and sums and four sums of lanes, each rounded to ε/2; in f64, here and in the expectation,
                // at most one sum for each pixel.
                let run = (RUN + 4) as f64 * epsilon;
                let tolerance = (run + (height * width) as f64 * f64::EPSILON) * size;
                assert!((g - sum).abs() <= tolerance, "{side} {height} {width} {u}: {g} {sum}");
            }
        });
    }

    #[test]
    fn products_agree_with_their_definition() {
        check_products::<f32>();
        check_products::<f64>();
    }

    #[test]
    fn rows_have_the_same_bits_in_any_range() {
        for_all::<f32>(|_, direct, taps, _| {
            let Direct { height, width, .. } = *direct;
            let mut whole = vec![f32::NAN; height * width];
            direct.convolve_rows(0..height, taps, &mut whole);
            for rows in [1, 3, 32] {
                let mut cut = vec![f32::NAN; whole.len()];
                for (i, out) in cut.chunks_mut(rows * width).enumerate() {
                    let first = i * rows;
                    direct.convolve_rows(first..first + out.len() / width, taps, out);
                }
                assert!(whole.iter().zip(&cut).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        });
    }
}
