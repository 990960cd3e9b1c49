//! The two number types that a pixel can have.

use std::fmt::{Debug, Display};
use std::ops::{AddAssign, MulAssign};

use num_traits::Float;

/// A pixel value: `f32` for production, `f64` for the exact reference path.
///
/// Sums over pixels are always taken in `f64`, whatever the pixel type.
pub trait Pixel:
    Float + AddAssign + MulAssign + Default + Debug + Display + Send + Sync + 'static + sealed::Sealed
{
    /// The value in double precision, exactly.
    fn widen(self) -> f64;

    /// The nearest value of this type; beyond its range, ±∞.
    fn narrow(value: f64) -> Self;
}

impl Pixel for f32 {
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Pixel for f64 {
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
