//! One two-dimensional FFT over a whole image, for what is done once per image.

use dia_core::Pixel;
use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{FftDirection, FftNum, FftPlanner};

/// A rectangle of complex numbers whose sides have fast transforms.
pub(crate) struct Plane<T> {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<Complex<T>>,
}

impl<T: Pixel + FftNum> Plane<T> {
    /// Zeros, at least `height` × `width`.
    pub(crate) fn zeros(height: usize, width: usize) -> Self {
        let (height, width) = (fast_length(height), fast_length(width));
        Self { height, width, values: vec![Complex::default(); height * width] }
    }

    /// The unnormalised transform along both axes, transposed: rows become columns, and height and width change places.
    pub(crate) fn transform(self, direction: FftDirection) -> Self {
        let Self { height, width, mut values } = self;
        transform_rows(&mut values, width, direction);
        let mut transposed = vec![Complex::default(); values.len()];
        transposed.par_chunks_mut(height).enumerate().for_each(|(x, column)| {
            for (y, z) in column.iter_mut().enumerate() {
                *z = values[y * width + x];
            }
        });
        transform_rows(&mut transposed, height, direction);
        Self { height: width, width: height, values: transposed }
    }
}

fn transform_rows<T: Pixel + FftNum>(
    values: &mut [Complex<T>],
    width: usize,
    direction: FftDirection,
) {
    let fft = FftPlanner::new().plan_fft(width, direction);
    values.par_chunks_mut(width).for_each_init(
        || vec![Complex::default(); fft.get_inplace_scratch_len()],
        |scratch, row| fft.process_with_scratch(row, scratch),
    );
}

/// The least number ≥ `length` that has no prime factor above 5.
fn fast_length(length: usize) -> usize {
    let smooth = |n: &usize| {
        let mut rest = *n;
        for prime in [2, 3, 5] {
            while usize::is_multiple_of(rest, prime) {
                rest /= prime;
            }
        }
        rest == 1
    };
    let length = length.max(1);
    (length..2 * length).find(smooth).expect("a power of two lies in the range")
}

#[cfg(test)]
mod tests {
    use super::fast_length;

    #[test]
    fn fast_lengths_are_smooth_and_not_too_short() {
        assert_eq!([1, 7, 11, 1025, 4097].map(fast_length), [1, 8, 12, 1080, 4320]);
    }
}
