//! The two-dimensional FFT of one square tile of complex numbers.
//!
//! Real and imaginary parts are separate planes, and one-dimensional transforms run along columns, many neighbouring columns at
//! once, one per vector lane. Nothing is ever reordered: the forward transform decimates in frequency and leaves the
//! frequencies in digit-reversed order, the inverse one decimates in time and takes them so, and products of spectra
//! do not care. The second dimension is made the first by a transposition. All of it happens in place: fewer planes in the cache.

use std::ops::Range;

use aligned_vec::{AVec, ConstAlign};
use pulp::{Arch, Simd, WithSimd};

use crate::butterfly::{Arithmetic, Complex};
use crate::vector::{FftPixel, Lanes};

/// Sides of tiles, the radices of their passes, and what AᵀWA x costs per pair of tiles, in µs. All sides are multiples of 16, the
/// widest vector.
const SIDES: [(usize, &[usize], f64); 15] = [
    (32, &[8, 4], 4.3),
    (48, &[6, 8], 9.2),
    (64, &[8, 8], 16.6),
    (80, &[5, 4, 4], 24.5),
    (96, &[6, 4, 4], 36.9),
    (128, &[8, 4, 4], 68.8),
    (144, &[6, 6, 4], 88.2),
    (160, &[5, 8, 4], 121.7),
    (192, &[6, 8, 4], 195.9),
    (240, &[5, 6, 8], 320.4),
    (256, &[8, 8, 4], 369.2),
    (288, &[6, 6, 8], 478.8),
    (320, &[5, 8, 8], 599.9),
    (384, &[6, 8, 8], 892.0),
    (512, &[8, 8, 8], 1757.7),
];

/// Sides for which there are transforms, in increasing order, with their costs.
pub(crate) fn costs() -> impl Iterator<Item = (usize, f64)> {
    SIDES.iter().map(|(side, _, cost)| (*side, *cost))
}

/// Distance between the rows of a tile. An odd number of cache lines spreads the points of a column over all sets of the
/// cache.
pub(crate) fn stride<T>(side: usize) -> usize {
    let line = CACHE_LINE / size_of::<T>();
    (side.div_ceil(line) | 1) * line
}

/// Real and imaginary parts of a tile or a spectrum: `side` rows of `stride` numbers each, of which `side` count.
#[derive(Clone)]
pub(crate) struct Planes<T> {
    pub(crate) re: AVec<T, ConstAlign<CACHE_LINE>>,
    pub(crate) im: AVec<T, ConstAlign<CACHE_LINE>>,
}

const CACHE_LINE: usize = 64;

impl<T: FftPixel> Planes<T> {
    /// No memory at all.
    pub(crate) fn empty() -> Self {
        Self { re: AVec::new(CACHE_LINE), im: AVec::new(CACHE_LINE) }
    }

    /// Sets all to zero.
    pub(crate) fn clear(&mut self) {
        self.re.fill(T::zero());
        self.im.fill(T::zero());
    }
}

/// Transforms of tiles of `side` × `side` complex numbers.
///
/// Normalization: none; `inverse(forward(z))` is side² z. Spectra are transposed and in digit-reversed order.
pub(crate) struct TileFft<T> {
    side: usize,
    stride: usize,
    passes: Vec<Pass<T>>,
    arch: Arch,
}

/// One pass of a decimated transform: butterflies of `radix` points that lie `distance` apart, in `blocks` blocks.
struct Pass<T> {
    radix: usize,
    distance: usize,
    blocks: usize,
    /// exp(−2πi j k / (radix · distance)) for j < distance, 1 ≤ k < radix; j is the slow index. Empty if all are 1.
    twiddles: Vec<(T, T)>,
}

impl<T: FftPixel> TileFft<T> {
    /// Plans the transforms of one of the [`costs`].
    pub(crate) fn new(side: usize) -> Self {
        let radices = SIDES.iter().find(|(s, ..)| *s == side).expect("one of the sides").1;
        let mut remaining = side;
        let passes = radices.iter().map(|radix| {
            let (block, distance) = (remaining, remaining / radix);
            remaining = distance;
            let twiddle = |i: usize| {
                let (j, k) = (i / (radix - 1), i % (radix - 1) + 1);
                let angle = -std::f64::consts::TAU * (j * k) as f64 / block as f64;
                (T::nearest(angle.cos()), T::nearest(angle.sin()))
            };
            let twiddles = if distance == 1 { 0 } else { distance * (radix - 1) };
            Pass {
                radix: *radix,
                distance,
                blocks: side / block,
                twiddles: (0..twiddles).map(twiddle).collect(),
            }
        });
        let stride = stride::<T>(side);
        Self { side, stride, passes: passes.collect(), arch: Arch::new() }
    }

    /// Number of rows and columns.
    pub(crate) fn side(&self) -> usize {
        self.side
    }

    /// Distance between rows of a plane.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The instruction set at hand.
    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    /// A tile or a spectrum of zeros.
    pub(crate) fn zeros(&self) -> Planes<T> {
        let plane = || AVec::from_iter(CACHE_LINE, (0..self.side * self.stride).map(|_| T::zero()));
        Planes { re: plane(), im: plane() }
    }

    /// From a tile to its spectrum, in place; all columns outside `columns` must be zero.
    pub(crate) fn forward(&self, z: &mut Planes<T>, columns: Range<usize>) {
        self.forward_columns(z, columns);
        self.forward_rows(z);
    }

    /// The first half of [`forward`](Self::forward): row x holds the spectrum of the tile's column x.
    pub(crate) fn forward_columns(&self, z: &mut Planes<T>, columns: Range<usize>) {
        self.run(z, columns, Direction::Forward);
        self.transpose(z);
    }

    /// The second half of [`forward`](Self::forward).
    pub(crate) fn forward_rows(&self, z: &mut Planes<T>) {
        self.run(z, 0..self.side, Direction::Forward);
    }

    /// From a spectrum to its tile, in place; columns outside `columns` are left with unspecified values.
    pub(crate) fn inverse(&self, z: &mut Planes<T>, columns: Range<usize>) {
        self.inverse_rows(z);
        self.inverse_columns(z, columns);
    }

    /// The first half of [`inverse`](Self::inverse): row x becomes the spectrum of the tile's column x.
    pub(crate) fn inverse_rows(&self, z: &mut Planes<T>) {
        self.run(z, 0..self.side, Direction::Inverse);
    }

    /// The second half of [`inverse`](Self::inverse).
    pub(crate) fn inverse_columns(&self, z: &mut Planes<T>, columns: Range<usize>) {
        self.transpose(z);
        self.run(z, columns, Direction::Inverse);
    }

    fn transpose(&self, z: &mut Planes<T>) {
        for plane in [&mut z.re, &mut z.im] {
            T::transpose(self.arch, plane, self.side, self.stride);
        }
    }

    /// z ← a b, element by element.
    pub(crate) fn multiply(&self, a: &Planes<T>, b: &Planes<T>, z: &mut Planes<T>) {
        self.arch.dispatch(Product::<T, false> { a, b, z });
    }

    /// s ← s + conj(a) b, element by element.
    pub(crate) fn accumulate(&self, a: &Planes<T>, b: &Planes<T>, s: &mut Planes<T>) {
        self.arch.dispatch(Product::<T, true> { a, b, z: s });
    }

    /// Rows of `to` ← those of `from` times real factors, for the rows from `first` on; all others become zero. `factors` are those of the real
    /// and of the imaginary parts.
    pub(crate) fn scale_rows(
        &self,
        from: &Planes<T>,
        first: usize,
        factors: [&[T]; 2],
        to: &mut Planes<T>,
    ) {
        for (plane, factors) in [&mut to.re, &mut to.im].into_iter().zip(factors) {
            plane[..first * self.stride].fill(T::zero());
            plane[(first + factors.len()) * self.stride..].fill(T::zero());
        }
        self.arch.dispatch(ScaledRows::<T, false> { fft: self, from, first, factors, to });
    }

    /// Adds rows of `from` times real factors to those of `to`, for the rows from `first` on; see [`scale_rows`](Self::scale_rows).
    pub(crate) fn add_rows(
        &self,
        from: &Planes<T>,
        first: usize,
        factors: [&[T]; 2],
        to: &mut Planes<T>,
    ) {
        self.arch.dispatch(ScaledRows::<T, true> { fft: self, from, first, factors, to });
    }

    /// Transforms `columns`, rounded out to whole vectors, in place.
    ///
    /// The inverse transform is the forward one of the numbers with real and imaginary parts exchanged.
    fn run(&self, z: &mut Planes<T>, columns: Range<usize>, direction: Direction) {
        let (re, im) = match direction {
            Direction::Forward => (&mut z.re, &mut z.im),
            Direction::Inverse => (&mut z.im, &mut z.re),
        };
        self.arch.dispatch(Transform { fft: self, re, im, columns, direction });
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Inverse,
}

/// One-dimensional transforms along some columns.
struct Transform<'a, T> {
    fft: &'a TileFft<T>,
    re: &'a mut [T],
    im: &'a mut [T],
    columns: Range<usize>,
    direction: Direction,
}

impl<T: FftPixel> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = T::lanes::<S>();
        let mut strip = Strip {
            z: Arithmetic::<S, T>::new(simd),
            re: T::vectors_mut::<S>(self.re),
            im: T::vectors_mut::<S>(self.im),
            stride: self.fft.stride / lanes,
            column: 0,
        };
        for column in self.columns.start / lanes..self.columns.end.div_ceil(lanes) {
            strip.column = column;
            match self.direction {
                Direction::Forward => {
                    for pass in &self.fft.passes {
                        strip.pass::<true>(pass);
                    }
                }
                Direction::Inverse => {
                    for pass in self.fft.passes.iter().rev() {
                        strip.pass::<false>(pass);
                    }
                }
            }
        }
    }
}

/// The vectors of one column; all its points stay in the first-level cache over the passes.
struct Strip<'a, S: Simd, T: Lanes> {
    z: Arithmetic<S, T>,
    re: &'a mut [T::Vector<S>],
    im: &'a mut [T::Vector<S>],
    stride: usize,
    column: usize,
}

/// Runs over the butterflies of a pass. The points are spelt out one by one so that they stay in registers.
macro_rules! butterflies {
    ($strip:ident, $pass:ident, $forward:ident, $dft:ident, $first:ident, $($x:ident $k:literal),+) => {
        let distance = $pass.distance * $strip.stride;
        let radix = $pass.radix;
        for block in 0..$pass.blocks {
            let start = block * radix * distance + $strip.column;
            for j in 0..$pass.distance {
                let start = start + j * $strip.stride;
                let $first = $strip.load(start);
                $(let $x = $strip.load(start + $k * distance);)+
                if $pass.twiddles.is_empty() {
                    let [$first, $($x),+] = $strip.z.$dft([$first, $($x),+]);
                    $strip.store(start, $first);
                    $($strip.store(start + $k * distance, $x);)+
                } else {
                    let twiddles = &$pass.twiddles[j * (radix - 1)..(j + 1) * (radix - 1)];
                    if $forward {
                        let [$first, $($x),+] = $strip.z.$dft([$first, $($x),+]);
                        $strip.store(start, $first);
                        $($strip.store(start + $k * distance, $strip.twist($x, twiddles[$k - 1]));)+
                    } else {
                        $(let $x = $strip.twist($x, twiddles[$k - 1]);)+
                        let [$first, $($x),+] = $strip.z.$dft([$first, $($x),+]);
                        $strip.store(start, $first);
                        $($strip.store(start + $k * distance, $x);)+
                    }
                }
            }
        }
    };
}

impl<S: Simd, T: Lanes> Strip<'_, S, T> {
    #[inline(always)]
    fn pass<const FORWARD: bool>(&mut self, pass: &Pass<T>) {
        match pass.radix {
            4 => {
                butterflies!(self, pass, FORWARD, dft4, a, b 1, c 2, d 3);
            }
            5 => {
                butterflies!(self, pass, FORWARD, dft5, a, b 1, c 2, d 3, e 4);
            }
            6 => {
                butterflies!(self, pass, FORWARD, dft6, a, b 1, c 2, d 3, e 4, f 5);
            }
            8 => {
                butterflies!(self, pass, FORWARD, dft8, a, b 1, c 2, d 3, e 4, f 5, g 6, h 7);
            }
            radix => unreachable!("no butterfly of {radix} points"),
        }
    }

    #[inline(always)]
    fn load(&self, i: usize) -> Complex<T::Vector<S>> {
        Complex { re: self.re[i], im: self.im[i] }
    }

    #[inline(always)]
    fn store(&mut self, i: usize, z: Complex<T::Vector<S>>) {
        self.re[i] = z.re;
        self.im[i] = z.im;
    }

    #[inline(always)]
    fn twist(&self, z: Complex<T::Vector<S>>, (re, im): (T, T)) -> Complex<T::Vector<S>> {
        self.z.mul(z, self.z.splat(re, im))
    }
}

/// z ← a b, or z ← z + conj(a) b where `ACCUMULATE`.
struct Product<'a, T, const ACCUMULATE: bool> {
    a: &'a Planes<T>,
    b: &'a Planes<T>,
    z: &'a mut Planes<T>,
}

impl<T: FftPixel, const ACCUMULATE: bool> WithSimd for Product<'_, T, ACCUMULATE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let arithmetic = Arithmetic::<S, T>::new(simd);
        let a = T::vectors::<S>(&self.a.re).iter().zip(T::vectors::<S>(&self.a.im));
        let b = T::vectors::<S>(&self.b.re).iter().zip(T::vectors::<S>(&self.b.im));
        let z = T::vectors_mut::<S>(&mut self.z.re).iter_mut();
        let z = z.zip(T::vectors_mut::<S>(&mut self.z.im));
        for ((a, b), z) in a.zip(b).zip(z) {
            let (a, b) = (Complex { re: *a.0, im: *a.1 }, Complex { re: *b.0, im: *b.1 });
            let product = if ACCUMULATE {
                arithmetic.conj_mul_add(Complex { re: *z.0, im: *z.1 }, a, b)
            } else {
                arithmetic.mul(a, b)
            };
            (*z.0, *z.1) = (product.re, product.im);
        }
    }
}

/// The loop of [`TileFft::scale_rows`], or of [`TileFft::add_rows`] where `ADD`.
struct ScaledRows<'a, T, const ADD: bool> {
    fft: &'a TileFft<T>,
    from: &'a Planes<T>,
    first: usize,
    factors: [&'a [T]; 2],
    to: &'a mut Planes<T>,
}

impl<T: FftPixel, const ADD: bool> WithSimd for ScaledRows<'_, T, ADD> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { fft, from, first, factors, to } = self;
        let planes = [(&from.re, &mut to.re), (&from.im, &mut to.im)];
        for ((from, to), factors) in planes.into_iter().zip(factors) {
            let stride = fft.stride / T::lanes::<S>();
            let from = T::vectors::<S>(from).chunks_exact(stride).skip(first);
            let to = T::vectors_mut::<S>(to).chunks_exact_mut(stride).skip(first);
            for (factor, (from, to)) in factors.iter().zip(from.zip(to)) {
                let factor = T::splat(simd, *factor);
                for (from, to) in from.iter().zip(to) {
                    *to = if ADD {
                        <T as Lanes>::mul_add(simd, factor, *from, *to)
                    } else {
                        <T as Lanes>::mul(simd, factor, *from)
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustfft::FftPlanner;
    use rustfft::num_complex::Complex;

    use super::{TileFft, costs};

    /// The element of a spectrum at position `i` holds frequency `digits[i]`: found by transforming one wave at a time.
    fn spectrum_of(fft: &TileFft<f64>, tile: &[Complex<f64>]) -> Vec<Complex<f64>> {
        let (side, stride) = (fft.side(), fft.stride());
        let mut planes = fft.zeros();
        for (i, z) in tile.iter().enumerate() {
            let at = i / side * stride + i % side;
            (planes.re[at], planes.im[at]) = (z.re, z.im);
        }
        fft.forward(&mut planes, 0..side);
        let at = |i: usize| i / side * stride + i % side;
        (0..side * side).map(|i| Complex::new(planes.re[at(i)], planes.im[at(i)])).collect()
    }

    #[test]
    fn spectra_hold_the_fourier_sums_in_one_fixed_order() {
        for (side, _) in costs() {
            let fft = TileFft::<f64>::new(side);
            // The transform of a one in row 0, column 1 is exp(−2πi k_x/N): its angle tells k_x at each position.
            let mut delta = vec![Complex::new(0.0, 0.0); side * side];
            delta[1] = Complex::new(1.0, 0.0);
            let order: Vec<usize> = spectrum_of(&fft, &delta)
                .iter()
                .step_by(side)
                .map(|z| (-z.arg() / std::f64::consts::TAU * side as f64).round() as isize)
                .map(|k| k.rem_euclid(side as isize) as usize)
                .collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..side), "{side}: {order:?}");

            let tile: Vec<_> = (0..side * side)
                .map(|i| Complex::new((i as f64).sin(), (i as f64 * 0.7).cos()))
                .collect();
            let mut expected = tile.clone();
            let plan = FftPlanner::new().plan_fft_forward(side);
            plan.process(&mut expected);
            let mut turned: Vec<_> =
                (0..side * side).map(|i| expected[i % side * side + i / side]).collect();
            plan.process(&mut turned);
            let spectrum = spectrum_of(&fft, &tile);
            // Both transforms have relative errors of about ε log₂ N² in the 2-norm, which is N² for this spectrum; its waves
            // gather most of it in a few elements.
            let tolerance = f64::EPSILON * 2.0 * (side as f64).log2() * (side * side) as f64;
            for (i, z) in spectrum.iter().enumerate() {
                let expected = turned[order[i / side] * side + order[i % side]];
                assert!((z - expected).norm() < tolerance, "{side}: {z} for {expected}");
            }
        }
    }

    #[test]
    fn the_inverse_gives_back_the_columns_that_were_asked_for() {
        for (side, _) in costs() {
            let fft = TileFft::<f32>::new(side);
            let stride = fft.stride();
            let columns = 5..side - 3;
            let mut tile = fft.zeros();
            for y in 0..side {
                for x in columns.clone() {
                    let i = y * stride + x;
                    (tile.re[i], tile.im[i]) = ((i as f32 * 0.3).sin(), (i as f32 * 0.7).cos());
                }
            }
            let original = tile.clone();
            fft.forward(&mut tile, columns.clone());
            fft.inverse(&mut tile, columns.clone());
            let norm = 1.0 / (side * side) as f32;
            for y in 0..side {
                for x in columns.clone() {
                    let i = y * stride + x;
                    // Two transforms of relative error ε log₂ N² in the 2-norm, of numbers of size 1; ten times that.
                    let tolerance = 10.0 * 2.0 * f32::EPSILON * 2.0 * (side as f32).log2();
                    assert!((tile.re[i] * norm - original.re[i]).abs() < tolerance);
                    assert!((tile.im[i] * norm - original.im[i]).abs() < tolerance);
                }
            }
        }
    }
}
