//! The whole-pixel offset between two images, by cross-correlation.

use dia_core::{ImageView, Mask, Pixel, robust};
use rustfft::FftDirection;
use rustfft::num_complex::Complex;

use crate::global::Plane;

/// Where a star is in the target minus where it is in the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset {
    /// Rows.
    pub dy: isize,
    /// Columns.
    pub dx: isize,
    /// The correlation coefficient of the two images at this offset, −1 to 1. Pairs of one field of a few hundred pixels reach 0.5
    /// to 1 and unrelated ones stay below 0.2; with few stars on less than about 100 × 100 pixels they cannot be told apart.
    pub correlation: f64,
}

/// Finds the whole-pixel offset between `reference` and `target`, whose sizes may differ.
///
/// Both are reduced to their stars: values are clipped to [2 scatters above the sky, the 99.7th percentile], so that neither noise nor
/// saturated stars dominate, and masked pixels count as sky. The correlation is circular; of the two offsets that
/// it cannot tell apart, the one that moves by at most half the image is taken. Returns `None` if an image has no pixel
/// above its sky.
pub fn offset<T: Pixel>(
    reference: ImageView<'_, T>,
    reference_mask: &Mask,
    target: ImageView<'_, T>,
    target_mask: &Mask,
) -> Option<Offset> {
    let height = reference.height().max(target.height());
    let width = reference.width().max(target.width());
    // Both real images as one complex plane t + ir: their spectra are the even and odd parts of its spectrum.
    let mut plane = Plane::<f32>::zeros(height, width);
    let t = place_stars(target, target_mask, plane.width, |i, value| plane.values[i].re = value)?;
    let r =
        place_stars(reference, reference_mask, plane.width, |i, value| plane.values[i].im = value)?;
    let mut spectrum = plane.transform(FftDirection::Forward);
    cross_spectrum(&mut spectrum);
    let correlation = spectrum.transform(FftDirection::Inverse);

    let n = correlation.values.len() as f64;
    let (peak, z) =
        correlation.values.iter().enumerate().max_by(|a, b| a.1.re.total_cmp(&b.1.re))?;
    let covariance = f64::from(z.re) / n - t.sum * r.sum / n;
    let variance = |s: Sums| s.squares - s.sum * s.sum / n;
    let signed = |i: usize, length: usize| {
        if i > length / 2 { i as isize - length as isize } else { i as isize }
    };
    Some(Offset {
        dy: signed(peak / correlation.width, correlation.height),
        dx: signed(peak % correlation.width, correlation.width),
        correlation: covariance / (variance(t) * variance(r)).sqrt(),
    })
}

/// Σ v and Σ v² of an image's stars.
#[derive(Clone, Copy, Default)]
struct Sums {
    sum: f64,
    squares: f64,
}

/// Calls `place(i, value)` for each pixel that stands out of the sky, i its index in a plane of the given width.
fn place_stars<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    plane_width: usize,
    mut place: impl FnMut(usize, f32),
) -> Option<Sums> {
    // A regular sub-sample is enough for the level of the sky.
    let stride = (image.pixels().len() / 250_000).max(1) | 1;
    let good = image.pixels().iter().zip(mask.planes()).step_by(stride);
    let mut sample: Vec<f64> = good
        .filter(|(_, p)| p.is_empty())
        .map(|(v, _)| v.widen())
        .filter(|v| v.is_finite())
        .collect();
    let (sky, scatter) = robust::median_and_scatter(sample.iter().copied())?;
    let top = sample.len() - 1 - sample.len() * 3 / 1000;
    let ceiling = *sample.select_nth_unstable_by(top, f64::total_cmp).1;
    let floor = sky + 2.0 * scatter;
    if ceiling <= floor {
        return None;
    }
    let mut sums = Sums::default();
    for y in 0..image.height() {
        for (x, (v, planes)) in image.row(y).iter().zip(mask.row(y)).enumerate() {
            let v = v.widen();
            if planes.is_empty() && v > floor {
                let scaled = (v.min(ceiling) - floor) / (ceiling - floor);
                sums.sum += scaled;
                sums.squares += scaled * scaled;
                place(y * plane_width + x, scaled as f32);
            }
        }
    }
    Some(sums)
}

/// From the spectrum of t + ir to t̂ conj(r̂), in place.
fn cross_spectrum(spectrum: &mut Plane<f32>) {
    let (height, width) = (spectrum.height, spectrum.width);
    for y in 0..height {
        for x in 0..width {
            let (i, j) = (y * width + x, (height - y) % height * width + (width - x) % width);
            if i > j {
                continue;
            }
            let (z, mirrored) = (spectrum.values[i], spectrum.values[j].conj());
            // t̂ = (z + z̄(−ω))/2 and r̂ = (z − z̄(−ω))/2i
            let target = (z + mirrored) * 0.5;
            let reference = (z - mirrored) * Complex::new(0.0, -0.5);
            let product = target * reference.conj();
            spectrum.values[i] = product;
            spectrum.values[j] = product.conj();
        }
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Image, Mask, MaskPlanes};

    use super::offset;

    /// Round stars at pseudo-random places, moved by (dy, dx).
    fn stars(height: usize, width: usize, dy: f64, dx: f64) -> Image<f64> {
        // The R2 sequence fills the square evenly without repeating its pattern.
        let place = |i: i32, ratio: f64, size: f64| (f64::from(i) * ratio).fract() * size;
        let places: Vec<(f64, f64)> = (0..60)
            .map(|i| (place(i, 0.754_877_67, 130.0) + dy, place(i, 0.569_840_29, 120.0) + dx))
            .collect();
        Image::from_fn(height, width, |y, x| {
            let star = |(sy, sx): &(f64, f64)| {
                (-((y as f64 - sy).powi(2) + (x as f64 - sx).powi(2)) / 4.0).exp()
            };
            100.0 + ((y * 31 + x * 17) % 13) as f64 + 1000.0 * places.iter().map(star).sum::<f64>()
        })
    }

    #[test]
    fn offsets_are_found_with_their_sign_for_images_of_different_size() {
        let reference = stars(130, 120, 0.0, 0.0);
        let good = Mask::good(130, 120);
        for (dy, dx, height, width) in [(0, 0, 130, 120), (-9, 14, 130, 120), (35, -4, 110, 150)] {
            let target = stars(height, width, f64::from(dy) + 0.3, f64::from(dx) - 0.2);
            let found =
                offset(reference.view(), &good, target.view(), &Mask::good(height, width)).unwrap();
            assert_eq!((found.dy, found.dx), (dy as isize, dx as isize));
            assert!(found.correlation > 0.3, "{found:?}");
        }
    }

    #[test]
    fn masked_pixels_do_not_attract() {
        let (mut reference, mut target) = (stars(130, 120, 0.0, 0.0), stars(130, 120, 5.0, -7.0));
        let mut mask = Mask::good(130, 120);
        for y in 0..130 {
            for x in 40..46 {
                reference.row_mut(y)[x] = f64::NAN;
                target.row_mut(y)[x] = 1e30;
                mask.insert(y, x, MaskPlanes::BAD);
            }
        }
        let found = offset(reference.view(), &mask, target.view(), &mask).unwrap();
        assert_eq!((found.dy, found.dx), (5, -7));
    }

    #[test]
    fn a_constant_image_has_no_offset() {
        let (flat, good) = (Image::filled(50, 50, 7.0_f32), Mask::good(50, 50));
        assert_eq!(offset(flat.view(), &good, flat.view(), &good), None);
    }
}
