//! The autocorrelation of an image at small lags.

use dia_core::{ImageView, Pixel};
use rustfft::num_complex::Complex;
use rustfft::{FftDirection, FftNum};

use crate::global::Plane;

/// Σ_p R(p) R(p + a) for the lags a = (dy, dx) with |dy|, |dx| ≤ `reach`, over the pixels p and p + a inside the image.
///
/// Row-major over (2 reach + 1)² lags, lag (0, 0) in the middle; units ADU². Computed in `f64` by one transform of the
/// image padded with `reach` zeros. With reach = 2h this is the normal matrix of a delta basis of half-width h under
/// uniform weights, for a kernel that does not vary, up to the pixels near the border: H_uv ≈ C(u − v).
///
/// ```
/// let image = dia_core::Image::from_vec(1, 3, vec![1.0, 2.0, 4.0])?;
/// let c = dia_fft::autocorrelation(image.view(), 1);
/// assert!((c[4] - 21.0).abs() < 1e-12 && (c[5] - 10.0).abs() < 1e-12);
/// # Ok::<(), dia_core::ImageError>(())
/// ```
pub fn autocorrelation<T: Pixel + FftNum>(image: ImageView<'_, T>, reach: usize) -> Vec<f64> {
    let mut plane = Plane::<f64>::zeros(image.height() + reach, image.width() + reach);
    for y in 0..image.height() {
        for (z, r) in plane.values[y * plane.width..].iter_mut().zip(image.row(y)) {
            z.re = r.widen();
        }
    }
    let mut spectrum = plane.transform(FftDirection::Forward);
    spectrum.values.iter_mut().for_each(|z| *z = Complex::new(z.norm_sqr(), 0.0));
    let lags = spectrum.transform(FftDirection::Inverse);
    let norm = 1.0 / lags.values.len() as f64;
    let wrap = |i: usize, length: usize| (i + length - reach) % length;
    let side = 2 * reach + 1;
    (0..side * side)
        .map(|i| {
            let (y, x) = (wrap(i / side, lags.height), wrap(i % side, lags.width));
            lags.values[y * lags.width + x].re * norm
        })
        .collect()
}
