//! Vectors of pixels in the registers of the processor at hand.

use dia_core::Pixel;
use pulp::Simd;
use rustfft::FftNum;

use crate::transpose::Transpose;

/// Pixel types with Fourier transforms on the CPU: `f32` and `f64`.
pub trait FftPixel: Pixel + FftNum + Lanes + Transpose {}

impl FftPixel for f32 {}
impl FftPixel for f64 {}

/// Arithmetic on the vectors of an instruction set, chosen at run time by [`pulp::Arch`].
pub trait Lanes: Copy + Send + Sync + 'static {
    /// A register of values.
    type Vector<S: Simd>: Copy + Send + Sync;

    /// The nearest value.
    fn nearest(value: f64) -> Self;
    /// The value in double precision.
    fn exact(self) -> f64;
    /// The slice as vectors; its length must be a multiple of theirs.
    fn vectors<S: Simd>(values: &[Self]) -> &[Self::Vector<S>];
    /// The slice as vectors, to be changed.
    fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [Self::Vector<S>];
    /// Number of values in a vector.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// The first values of a slice; lanes beyond its end are zero.
    fn load<S: Simd>(simd: S, from: &[Self]) -> Self::Vector<S>;
    /// Overwrites the first values of a slice; lanes beyond its end are dropped.
    fn store<S: Simd>(simd: S, to: &mut [Self], vector: Self::Vector<S>);
    /// The sum of the lanes.
    fn sum<S: Simd>(simd: S, vector: Self::Vector<S>) -> Self;
    /// All lanes the same.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// a + b
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a − b
    fn sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a / b
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The larger of a and b
    fn max<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// √a
    fn sqrt<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// a b + c, fused where the instruction set does that
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// c − a b, fused where the instruction set does that
    fn neg_mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
}

/// Where the vectors of a slice of some length start and end; the last one may be short.
#[inline(always)]
pub(crate) fn vectors<S: Simd, T: Lanes>(length: usize) -> impl Iterator<Item = (usize, usize)> {
    let lanes = T::lanes::<S>();
    (0..length).step_by(lanes).map(move |start| (start, (start + lanes).min(length)))
}

macro_rules! lanes {
    ($type:ty, $vector:ident, $as_simd:ident, $as_mut_simd:ident, $load:ident, $store:ident, $sum:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $max:ident, $sqrt:ident,
     $mul_add:ident, $neg_mul_add:ident) => {
        impl Lanes for $type {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn nearest(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn exact(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn vectors<S: Simd>(values: &[Self]) -> &[S::$vector] {
                let (vectors, rest) = S::$as_simd(values);
                debug_assert!(rest.is_empty());
                vectors
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [S::$vector] {
                let (vectors, rest) = S::$as_mut_simd(values);
                debug_assert!(rest.is_empty());
                vectors
            }
            #[inline(always)]
            fn load<S: Simd>(simd: S, from: &[Self]) -> S::$vector {
                match S::$as_simd(from).0.first() {
                    Some(vector) => *vector,
                    None => simd.$load(from),
                }
            }
            #[inline(always)]
            fn store<S: Simd>(simd: S, to: &mut [Self], vector: S::$vector) {
                match S::$as_mut_simd(to).0.first_mut() {
                    Some(to) => *to = vector,
                    None => simd.$store(to, vector),
                }
            }
            #[inline(always)]
            fn sum<S: Simd>(simd: S, vector: S::$vector) -> Self {
                simd.$sum(vector)
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn add<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn sub<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }
            #[inline(always)]
            fn mul<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn div<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$div(a, b)
            }
            #[inline(always)]
            fn max<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$max(a, b)
            }
            #[inline(always)]
            fn sqrt<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$sqrt(a)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn neg_mul_add<S: Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                simd.$neg_mul_add(a, b, c)
            }
        }
    };
}

lanes!(
    f32,
    f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    partial_load_f32s,
    partial_store_f32s,
    reduce_sum_f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    div_f32s,
    max_f32s,
    sqrt_f32s,
    mul_add_e_f32s,
    negate_mul_add_e_f32s
);
lanes!(
    f64,
    f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    partial_load_f64s,
    partial_store_f64s,
    reduce_sum_f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    div_f64s,
    max_f64s,
    sqrt_f64s,
    mul_add_e_f64s,
    negate_mul_add_e_f64s
);
