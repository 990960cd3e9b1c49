//! An image on the grid of another, with its variance and its mask.

use dia_core::{Image, ImageView, Mask, MaskPlanes, Pixel};
use rayon::prelude::*;

use crate::PlaneMap;
use crate::lanczos::Taps;
use crate::whitening::Whitening;

/// A pixel is spoilt where a tap larger than this is.
const SPOILT: f64 = 0.02;

/// An image that was carried to another grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Warped<T> {
    /// Light per pixel of the new grid: NaN where there is none of the old one.
    pub image: Image<T>,
    /// The variance of its noise, which is white.
    pub variance: Image<T>,
    /// The planes of all pixels that count, and `NO_DATA` where some would lie outside.
    pub mask: Mask,
}

/// Carries `image` to a grid of `shape` (rows, columns) on which pixel (x, y) shows what is at `map.place(x, y)` of it.
///
/// Values are sums over 6 × 6 pixels with the taps of Lanczos' window of three lobes, times the area |det ∂(u, v)/∂(x, y)| of a new pixel in old ones: light is kept, and the sky per pixel changes with the
/// area. Where pixels become larger, the window does too. Masked pixels count nothing; a new one within reach of them has their planes if a tap of more than 0.02 would fall on one of them.
///
/// **Noise.** Interpolated noise is smaller than it was and correlated: midway between pixels it has 0.62 of its variance, Σ w² V, and low frequencies have all of theirs. No variance of single pixels is then right for
/// sums over them, and a fit that has nothing but a variance takes a part of the noise for signal. So noise of the spectrum that interpolation took away is added, drawn from `seed` (Rowe et al. 2015, A&C 10, 121): what comes out is
/// white, with the variance that the low frequencies have; a star has next to no light where it was added. The spectrum is that of the derivatives of the map in the middle of the
/// grid, at each phase; the variance is the mean of V under the squared taps.
///
/// # Panics
/// If variance or mask have another shape than the image.
pub fn warp<T: Pixel>(
    image: ImageView<'_, T>,
    variance: ImageView<'_, T>,
    mask: &Mask,
    map: &PlaneMap,
    shape: (usize, usize),
    seed: u64,
) -> Warped<T> {
    let (height, width) = shape;
    let old = image.shape();
    assert!(variance.shape() == old && (mask.height(), mask.width()) == old, "planes of one shape");
    let middle = (0.5 * (width as f64 - 1.0), 0.5 * (height as f64 - 1.0));
    let stretch = map.determinant(middle.0, middle.1).abs().sqrt().max(1.0);
    let taps = Taps::new(stretch);
    let whitening = Whitening::new(&taps, map.jacobian(middle.0, middle.1), shape, seed);
    let source = Source { image, variance, mask, taps: &taps };

    let mut pixels = vec![T::nan(); height * width];
    let mut variances = vec![T::nan(); height * width];
    let mut planes = vec![MaskPlanes::NO_DATA; height * width];
    let rows = pixels
        .par_chunks_mut(width.max(1))
        .zip(planes.par_chunks_mut(width.max(1)))
        .zip(variances.par_chunks_mut(width.max(1)))
        .enumerate();
    rows.for_each_init(
        || [vec![0.0; taps.count()], vec![0.0; taps.count()]],
        |along, (y, ((pixels, planes), variances))| {
            for x in 0..width {
                let (u, v) = map.place(x as f64, y as f64);
                let Some(sample) = source.at(u, v, along) else { continue };
                planes[x] = sample.planes;
                if sample.counts {
                    let area = map.determinant(x as f64, y as f64).abs();
                    let missing = whitening.at(y, x, (u, v)) * sample.variance.max(0.0).sqrt();
                    pixels[x] = T::narrow(area * (sample.value + missing));
                    variances[x] = T::narrow(area * area * whitening.level * sample.variance);
                }
            }
        },
    );
    let whole = |pixels| Image::from_vec(height, width, pixels).expect("one value per pixel");
    Warped {
        image: whole(pixels),
        variance: whole(variances),
        mask: Mask::from_vec(height, width, planes).expect("one value per pixel"),
    }
}

struct Source<'a, T> {
    image: ImageView<'a, T>,
    variance: ImageView<'a, T>,
    mask: &'a Mask,
    taps: &'a Taps,
}

/// What the taps find.
struct Sample {
    value: f64,
    /// Mean under the squared taps.
    variance: f64,
    /// Whether enough of the taps fall on good pixels.
    counts: bool,
    planes: MaskPlanes,
}

impl<T: Pixel> Source<'_, T> {
    /// `None` where (u, v) lies so far outside that no tap falls on the image.
    fn at(&self, u: f64, v: f64, [across, down]: &mut [Vec<f64>; 2]) -> Option<Sample> {
        let (height, width) = self.image.shape();
        let inside = |at: f64, size: usize| at > -1.0 && at < size as f64;
        if !(inside(u, width) && inside(v, height)) {
            return None;
        }
        let (x0, y0) = (self.taps.fill(u, across), self.taps.fill(v, down));
        if let Some(sample) = self.all_good((x0, y0), [across, down]) {
            return Some(sample);
        }
        let mut planes = MaskPlanes::empty();
        let (mut weight, mut value, mut variance, mut squares) = (0.0, 0.0, 0.0, 0.0);
        for (y, down) in (y0..).zip(down.iter()) {
            let row = usize::try_from(y).ok().filter(|y| *y < height);
            for (x, across) in (x0..).zip(across.iter()) {
                let tap = down * across;
                let at = row.zip(usize::try_from(x).ok().filter(|x| *x < width));
                let here = at.map_or(MaskPlanes::NO_DATA, |(y, x)| self.mask.at(y, x));
                let Some((y, x)) = at.filter(|_| here.is_empty()) else {
                    if tap.abs() > SPOILT {
                        planes |= here;
                    }
                    continue;
                };
                weight += tap;
                value += tap * self.image.at(y, x).widen();
                variance += tap * tap * self.variance.at(y, x).widen();
                squares += tap * tap;
            }
        }
        // What is left of the taps where they fall on masked pixels may be nothing.
        let counts = weight > 0.5;
        Some(Sample { value: value / weight, variance: variance / squares, counts, planes })
    }

    /// The same where no pixel is masked or missing: most of the image.
    fn all_good(&self, (x0, y0): (isize, isize), [across, down]: [&[f64]; 2]) -> Option<Sample> {
        let (height, width) = self.image.shape();
        let n = self.taps.count();
        let (x, y) = (usize::try_from(x0).ok()?, usize::try_from(y0).ok()?);
        if x + n > width || y + n > height {
            return None;
        }
        let (mut value, mut variance, mut squares) = (0.0, 0.0, 0.0);
        let widths: f64 = across.iter().map(|tap| tap * tap).sum();
        for (y, down) in (y..y + n).zip(down) {
            if !self.mask.row(y)[x..x + n].iter().all(MaskPlanes::is_empty) {
                return None;
            }
            let (pixels, noise) = (&self.image.row(y)[x..x + n], &self.variance.row(y)[x..x + n]);
            let (mut sum, mut spread) = (0.0, 0.0);
            for ((tap, pixel), variance) in across.iter().zip(pixels).zip(noise) {
                sum += tap * pixel.widen();
                spread += tap * tap * variance.widen();
            }
            value += down * sum;
            variance += down * down * spread;
            squares += down * down * widths;
        }
        let planes = MaskPlanes::empty();
        Some(Sample { value, variance: variance / squares, counts: true, planes })
    }
}

#[cfg(test)]
mod tests;
