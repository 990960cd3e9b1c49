//! Discrete Fourier transforms of 2 to 8 points, on vectors of numbers.

use pulp::Simd;

use crate::vector::Lanes;

/// A complex number per lane.
#[derive(Clone, Copy)]
pub(crate) struct Complex<V> {
    pub(crate) re: V,
    pub(crate) im: V,
}

/// The arithmetic of [`Complex`] vectors with the instruction set `S`.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic<S, T> {
    simd: S,
    marker: std::marker::PhantomData<T>,
}

type Z<S, T> = Complex<<T as Lanes>::Vector<S>>;

impl<S: Simd, T: Lanes> Arithmetic<S, T> {
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Self {
        Self { simd, marker: std::marker::PhantomData }
    }

    #[inline(always)]
    fn add(self, a: Z<S, T>, b: Z<S, T>) -> Z<S, T> {
        Complex { re: T::add(self.simd, a.re, b.re), im: T::add(self.simd, a.im, b.im) }
    }

    #[inline(always)]
    fn sub(self, a: Z<S, T>, b: Z<S, T>) -> Z<S, T> {
        Complex { re: T::sub(self.simd, a.re, b.re), im: T::sub(self.simd, a.im, b.im) }
    }

    /// a − i b
    #[inline(always)]
    fn sub_i(self, a: Z<S, T>, b: Z<S, T>) -> Z<S, T> {
        Complex { re: T::add(self.simd, a.re, b.im), im: T::sub(self.simd, a.im, b.re) }
    }

    /// a + i b
    #[inline(always)]
    fn add_i(self, a: Z<S, T>, b: Z<S, T>) -> Z<S, T> {
        Complex { re: T::sub(self.simd, a.re, b.im), im: T::add(self.simd, a.im, b.re) }
    }

    /// a + c b, c real
    #[inline(always)]
    fn scale_add(self, a: Z<S, T>, c: T::Vector<S>, b: Z<S, T>) -> Z<S, T> {
        Complex {
            re: T::mul_add(self.simd, c, b.re, a.re),
            im: T::mul_add(self.simd, c, b.im, a.im),
        }
    }

    /// c a, c real
    #[inline(always)]
    fn scale(self, c: T::Vector<S>, a: Z<S, T>) -> Z<S, T> {
        Complex { re: T::mul(self.simd, c, a.re), im: T::mul(self.simd, c, a.im) }
    }

    /// a b
    #[inline(always)]
    pub(crate) fn mul(self, a: Z<S, T>, b: Z<S, T>) -> Z<S, T> {
        Complex {
            re: T::neg_mul_add(self.simd, a.im, b.im, T::mul(self.simd, a.re, b.re)),
            im: T::mul_add(self.simd, a.re, b.im, T::mul(self.simd, a.im, b.re)),
        }
    }

    /// s + conj(a) b
    #[inline(always)]
    pub(crate) fn conj_mul_add(self, s: Z<S, T>, a: Z<S, T>, b: Z<S, T>) -> Z<S, T> {
        Complex {
            re: T::mul_add(self.simd, a.im, b.im, T::mul_add(self.simd, a.re, b.re, s.re)),
            im: T::neg_mul_add(self.simd, a.im, b.re, T::mul_add(self.simd, a.re, b.im, s.im)),
        }
    }

    #[inline(always)]
    pub(crate) fn splat(self, re: T, im: T) -> Z<S, T> {
        Complex { re: T::splat(self.simd, re), im: T::splat(self.simd, im) }
    }

    /// Σ_q x_q exp(−2πi q k/6): the transforms of 2 and 3 points combine without factors, after Good and Thomas.
    #[inline(always)]
    pub(crate) fn dft6(self, [a, b, c, d, e, f]: [Z<S, T>; 6]) -> [Z<S, T>; 6] {
        let even = self.dft3([self.add(a, d), self.add(c, f), self.add(e, b)]);
        let odd = self.dft3([self.sub(a, d), self.sub(c, f), self.sub(e, b)]);
        [even[0], odd[1], even[2], odd[0], even[1], odd[2]]
    }

    /// Σ_q x_q exp(−2πi q k/8)
    #[inline(always)]
    pub(crate) fn dft8(self, [a, b, c, d, e, f, g, h]: [Z<S, T>; 8]) -> [Z<S, T>; 8] {
        let even = self.dft4([a, c, e, g]);
        let odd = self.dft4([b, d, f, h]);
        // o₁ exp(−iπ/4) √2 = o₁ − i o₁, and o₃ exp(−3iπ/4) √2 = −(o₃ + i o₃).
        let (first, third) = (self.sub_i(odd[1], odd[1]), self.add_i(odd[3], odd[3]));
        let plus = self.constant(std::f64::consts::FRAC_1_SQRT_2);
        let minus = self.constant(-std::f64::consts::FRAC_1_SQRT_2);
        [
            self.add(even[0], odd[0]),
            self.scale_add(even[1], plus, first),
            self.sub_i(even[2], odd[2]),
            self.scale_add(even[3], minus, third),
            self.sub(even[0], odd[0]),
            self.scale_add(even[1], minus, first),
            self.add_i(even[2], odd[2]),
            self.scale_add(even[3], plus, third),
        ]
    }

    #[inline(always)]
    fn constant(self, value: f64) -> T::Vector<S> {
        T::splat(self.simd, T::nearest(value))
    }

    /// Σ_q x_q exp(−2πi q k/3)
    #[inline(always)]
    fn dft3(self, [a, b, c]: [Z<S, T>; 3]) -> [Z<S, T>; 3] {
        let sum = self.add(b, c);
        let mean = self.scale_add(a, self.constant(-0.5), sum);
        let turned = self.scale(self.constant(SIN_60), self.sub(b, c));
        [self.add(a, sum), self.sub_i(mean, turned), self.add_i(mean, turned)]
    }

    /// Σ_q x_q exp(−2πi q k/4)
    #[inline(always)]
    pub(crate) fn dft4(self, [a, b, c, d]: [Z<S, T>; 4]) -> [Z<S, T>; 4] {
        let (even, odd) = (self.add(a, c), self.add(b, d));
        let (even_difference, odd_difference) = (self.sub(a, c), self.sub(b, d));
        [
            self.add(even, odd),
            self.sub_i(even_difference, odd_difference),
            self.sub(even, odd),
            self.add_i(even_difference, odd_difference),
        ]
    }

    /// Σ_q x_q exp(−2πi q k/5)
    #[inline(always)]
    pub(crate) fn dft5(self, [a, b, c, d, e]: [Z<S, T>; 5]) -> [Z<S, T>; 5] {
        let (cos1, cos2) = (self.constant(COS_72), self.constant(COS_144));
        let (sin1, sin2) = (self.constant(SIN_72), self.constant(SIN_144));
        let (sum1, sum2) = (self.add(b, e), self.add(c, d));
        let (difference1, difference2) = (self.sub(b, e), self.sub(c, d));
        let real1 = self.scale_add(self.scale_add(a, cos1, sum1), cos2, sum2);
        let real2 = self.scale_add(self.scale_add(a, cos2, sum1), cos1, sum2);
        let turned1 = self.scale_add(self.scale(sin1, difference1), sin2, difference2);
        let minus_sin1 = self.constant(-SIN_72);
        let turned2 = self.scale_add(self.scale(sin2, difference1), minus_sin1, difference2);
        [
            self.add(a, self.add(sum1, sum2)),
            self.sub_i(real1, turned1),
            self.sub_i(real2, turned2),
            self.add_i(real2, turned2),
            self.add_i(real1, turned1),
        ]
    }
}

const SIN_60: f64 = 0.866_025_403_784_438_6;
const COS_72: f64 = 0.309_016_994_374_947_45;
const COS_144: f64 = -0.809_016_994_374_947_5;
const SIN_72: f64 = 0.951_056_516_295_153_5;
const SIN_144: f64 = 0.587_785_252_292_473_1;
