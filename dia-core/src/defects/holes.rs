//! Single bad pixels, and columns of them, interpolated from those around.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::seeing::Seeing;
use crate::small_matrix::inverse;
use crate::{Image, ImageView, Mask, MaskPlanes, Pixel, stars};

/// A pixel is interpolated from those at most this far away in rows and columns.
const REACH: usize = 2;

/// At least so many of the 24 pixels around must be good: along a straight edge of a large hole there are 10 at most.
const FEWEST: usize = 12;

/// The noise of a pixel in the light of the stars that interpolation is made for.
const NOISE: f64 = 1e-2;

/// Above this error, relative to the range of the pixels around, these tell too little: of stars of a single pixel, it is 0.35 by the pixels beside the centre, and the centre's is not
/// bounded by any.
const LARGEST_ERROR: f64 = 0.3;

/// No error is known to be smaller than this.
const LEAST_ERROR: f64 = 1e-3;

/// Stars that errors are measured on, the brightest ones.
const STARS: usize = 100;

/// Planes of pixels whose values are lost, and those around are not.
const LOST: MaskPlanes =
    DEFECT.union(MaskPlanes::NO_DATA).union(MaskPlanes::USER).union(MaskPlanes::SUSPECT);

/// Those of them that a pixel has for what it is itself, even where it is as high as a saturated one.
const DEFECT: MaskPlanes = MaskPlanes::BAD.union(MaskPlanes::COSMIC_RAY);

/// What filling holes has changed beside the image and its mask.
#[derive(Clone, Debug, PartialEq)]
pub struct FilledHoles<T> {
    /// Number of pixels that are good now.
    pub pixels: usize,
    /// The variance of all pixels.
    pub variance: Image<T>,
}

/// Fills holes of a few pixels in an image that is to be convolved; `None` if there are none that can be.
///
/// A kernel spreads one bad pixel over its whole footprint: of an image of which one pixel in a hundred is bad, nothing would be left. So a bad pixel with at least 12 good ones among the 24 around
/// gets their best linear combination Σ w v, with Σ w = 1, for light with the autocovariance of stars of the image's `seeing` (ordinary kriging), and leaves the mask.
///
/// **Error.** A kernel that is wider than the hole adds the noise of those pixels to itself: K n + K Σ w n has the variance of independent noise if the pixel's is Σ w (2 + w) V. To this comes (f a)²: a is the
/// range of the pixels that were used, and f the error relative to it that the same combination has around the image's own stars, beyond their noise; whatever the profile of the stars and however fine
/// the pixels, the error is measured. Where f is above 0.3, as for stars of a pixel, the pixel stays masked. So do saturated pixels and their neighbours, but for those that are defects.
///
/// `variance` of the image's pixels and `seeing` by its good ones are asked for only if there are such holes; where the seeing is not known, nothing is filled.
///
/// # Panics
/// If the planes differ in shape.
pub fn fill_holes<T: Pixel>(
    image: &mut Image<T>,
    mask: &mut Mask,
    variance: impl FnOnce(&Image<T>) -> Image<T>,
    seeing: impl FnOnce(ImageView<'_, T>, &Mask) -> Option<Seeing>,
) -> Option<FilledHoles<T>> {
    let (height, width) = image.view().shape();
    assert_eq!((mask.height(), mask.width()), (height, width), "image and mask share a grid");
    let holes = holes(mask);
    if holes.is_empty() {
        return None;
    }
    let seeing = seeing(image.view(), mask)?;
    let mut variance = variance(image);
    assert_eq!(variance.view().shape(), (height, width), "image and variance share a grid");
    let sample = star_pixels(image.view(), mask);
    let mut patterns: Vec<u32> = holes.iter().map(|(_, pattern)| *pattern).collect();
    patterns.sort_unstable();
    patterns.dedup();
    let of_pattern = |pattern: &u32| -> Option<(u32, (Interpolation, f64))> {
        let found = Interpolation::new(*pattern, &seeing)?;
        let error = found.error_at(&sample, image.view(), variance.view())?;
        (error <= LARGEST_ERROR).then_some((*pattern, (found, error)))
    };
    let known: HashMap<u32, (Interpolation, f64)> =
        patterns.par_iter().filter_map(of_pattern).collect();
    let filled: Vec<(usize, f64, f64)> = holes
        .par_iter()
        .filter_map(|(i, pattern)| {
            let (found, error) = known.get(pattern)?;
            let sums = found.at(*i, image.view(), variance.view());
            Some((*i, sums.value, sums.noise() + (error * sums.range).powi(2)))
        })
        .collect();
    for (i, value, spread) in &filled {
        image.pixels_mut()[*i] = T::narrow(*value);
        variance.pixels_mut()[*i] = T::narrow(*spread);
        mask.clear(i / width, i % width);
    }
    (!filled.is_empty()).then_some(FilledHoles { pixels: filled.len(), variance })
}

/// The pixels that may be filled, and which of those around them are good: a bit each, row after row.
fn holes(mask: &Mask) -> Vec<(usize, u32)> {
    let (height, width) = (mask.height(), mask.width());
    let is_saturated =
        |planes: MaskPlanes| planes.intersects(MaskPlanes::SATURATED) && !planes.intersects(DEFECT);
    let hole = |i: usize| -> Option<(usize, u32)> {
        let planes = mask.planes()[i];
        if !planes.intersects(LOST) || is_saturated(planes) {
            return None;
        }
        let (y, x) = (i / width, i % width);
        let mut pattern = 0;
        for (bit, (dy, dx)) in offsets().enumerate() {
            let at = y.checked_add_signed(dy).zip(x.checked_add_signed(dx));
            let Some((y, x)) = at.filter(|(y, x)| *y < height && *x < width) else { continue };
            let planes = mask.at(y, x);
            if is_saturated(planes) {
                return None;
            }
            pattern |= u32::from(planes.is_empty()) << bit;
        }
        (pattern.count_ones() as usize >= FEWEST).then_some((i, pattern))
    };
    (0..mask.planes().len()).into_par_iter().filter_map(hole).collect()
}

/// Those of the 5 × 5 pixels around one, row after row, itself among them.
fn offsets() -> impl Iterator<Item = (isize, isize)> {
    let reach = REACH as isize;
    (-reach..=reach).flat_map(move |dy| (-reach..=reach).map(move |dx| (dy, dx)))
}

/// The 3 × 3 pixels in the middle of the brightest stars, whose 5 × 5 pixels around are good.
fn star_pixels<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> Vec<usize> {
    let (height, width) = image.shape();
    let mut pixels = Vec::new();
    for star in stars::find(image, mask, STARS) {
        let (cy, cx) = (star.y.round() as usize, star.x.round() as usize);
        for (y, x) in (cy - 1..=cy + 1).flat_map(|y| (cx - 1..=cx + 1).map(move |x| (y, x))) {
            let inside = y >= REACH && x >= REACH && y + REACH < height && x + REACH < width;
            let is_good =
                |(dy, dx)| mask.at(y.wrapping_add_signed(dy), x.wrapping_add_signed(dx)).is_empty();
            if inside && offsets().all(is_good) {
                pixels.push(y * width + x);
            }
        }
    }
    pixels
}

/// How a pixel is interpolated whose neighbours are good in one pattern.
struct Interpolation {
    /// Offsets and weights of the good pixels; the weights sum to one.
    weights: Vec<((isize, isize), f64)>,
}

/// What an interpolation finds.
struct Sums {
    value: f64,
    /// Of the value: Σ w² V.
    variance: f64,
    /// Σ w V.
    mean_variance: f64,
    /// Largest less smallest pixel.
    range: f64,
}

impl Sums {
    /// The variance of independent noise that adds as much to a sum over all pixels.
    fn noise(&self) -> f64 {
        self.variance + 2.0 * self.mean_variance.max(0.0)
    }
}

impl Interpolation {
    /// Ordinary kriging with the autocovariance exp(−½ dᵀ (2C)⁻¹ d) of stars of covariance C, and white noise.
    fn new(pattern: u32, seeing: &Seeing) -> Option<Self> {
        let [along_y, both, along_x] = seeing.covariance.map(|c| 2.0 * c);
        let determinant = along_y * along_x - both * both;
        let covariance = |dy: isize, dx: isize| {
            let (dy, dx) = (dy as f64, dx as f64);
            let square = along_x * dy * dy - 2.0 * both * dy * dx + along_y * dx * dx;
            (-0.5 * square / determinant).exp()
        };
        let bits = offsets().enumerate();
        let good: Vec<(isize, isize)> =
            bits.filter(|(bit, _)| pattern >> bit & 1 == 1).map(|(_, offset)| offset).collect();
        let matrix: Vec<Vec<f64>> = good
            .iter()
            .map(|p| {
                let row = good.iter().map(|q| {
                    covariance(p.0 - q.0, p.1 - q.1) + if p == q { NOISE * NOISE } else { 0.0 }
                });
                row.collect()
            })
            .collect();
        let inverse = inverse(&matrix)?;
        let solved = |rhs: &[f64]| -> Vec<f64> {
            inverse.iter().map(|row| row.iter().zip(rhs).map(|(m, r)| m * r).sum()).collect()
        };
        let to_here: Vec<f64> = good.iter().map(|(dy, dx)| covariance(*dy, *dx)).collect();
        let (simple, ones) = (solved(&to_here), solved(&vec![1.0; good.len()]));
        let multiplier = (1.0 - simple.iter().sum::<f64>()) / ones.iter().sum::<f64>();
        let weights = simple.iter().zip(&ones).map(|(w, one)| w + multiplier * one);
        Some(Self { weights: good.into_iter().zip(weights).collect() })
    }

    fn at<T: Pixel>(&self, i: usize, image: ImageView<'_, T>, variance: ImageView<'_, T>) -> Sums {
        let (y, x) = (i / image.width(), i % image.width());
        let mut sums = Sums { value: 0.0, variance: 0.0, mean_variance: 0.0, range: 0.0 };
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for ((dy, dx), weight) in &self.weights {
            let (y, x) = (y.wrapping_add_signed(*dy), x.wrapping_add_signed(*dx));
            let (value, noise) = (image.at(y, x).widen(), variance.at(y, x).widen());
            sums.value += weight * value;
            sums.variance += weight * weight * noise;
            sums.mean_variance += weight * noise;
            (least, most) = (least.min(value), most.max(value));
        }
        sums.range = most - least;
        sums
    }

    /// By what it misses good pixels beyond their noise, relative to the range of those that it uses: the root of the ratio of mean squares; `None` without any.
    fn error_at<T: Pixel>(
        &self,
        sample: &[usize],
        image: ImageView<'_, T>,
        variance: ImageView<'_, T>,
    ) -> Option<f64> {
        let (mut errors, mut ranges) = (0.0, 0.0);
        for i in sample {
            let sums = self.at(*i, image, variance);
            let noise = sums.variance + variance.pixels()[*i].widen();
            errors += (sums.value - image.pixels()[*i].widen()).powi(2) - noise;
            ranges += sums.range * sums.range;
        }
        (ranges > 0.0).then(|| (errors / ranges).max(0.0).sqrt().max(LEAST_ERROR))
    }
}

#[cfg(test)]
mod tests;
