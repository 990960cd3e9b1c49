//! An image on the grid of another, with its variance, its mask, and what the correlation of its noise does.

use dia_core::{Image, ImageView, Mask, MaskPlanes, Pixel};
use rayon::prelude::*;

use crate::PlaneMap;
use crate::lanczos::Taps;

/// A pixel is spoilt where a tap larger than this is.
const SPOILT: f64 = 0.02;

/// Phases in x and in y for which the noise behind a smooth kernel is found.
const PHASES: usize = 16;

/// Radius of that kernel in its σ.
const REACH: f64 = 3.5;

/// What is made of an image beside its pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WarpOptions {
    /// σ in pixels of the new grid of the Gaussian kernels that the noise is to be right behind: of the one that will be convolved with the image, and of one with which that is
    /// measured, a PSF for instance. 0 is the noise of single pixels.
    pub smoothing: [f64; 2],
}

/// An image that was carried to another grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Warped<T> {
    /// Light per pixel of the new grid: NaN where there is none of the old one.
    pub image: Image<T>,
    /// For each of [`WarpOptions::smoothing`], the variance that white noise must have to be as large behind that kernel as the noise of `image` is. Of single
    /// pixels (0) it is Σ w² V.
    pub variances: [Image<T>; 2],
    /// The planes of all pixels that count, and `NO_DATA` where some would lie outside.
    pub mask: Mask,
}

/// Carries `image` to a grid of `shape` (rows, columns) on which pixel (x, y) shows what is at `map.place(x, y)` of it.
///
/// Values are sums over 6 × 6 pixels with the taps of Lanczos' window of three lobes, times the area |det ∂(u, v)/∂(x, y)| of a new pixel in old ones: light is kept, and the sky per pixel changes with the
/// area. Where pixels become larger, the window does too. Masked pixels count nothing; a new one within reach of them has their planes if a tap of more than 0.02 would fall on one of them.
///
/// **Noise.** Interpolated noise is smaller and correlated: midway between pixels it has 0.62 of its variance, in two dimensions, and low frequencies have all of theirs. Its own variance Σ w² V is right for single pixels, and too small for
/// everything that is summed up: after a convolution with a kernel G it is Σ_q V(q) [Σ_u G(u) w(p − u, q)]². A white noise that is as large behind G has that over ΣG²; it is
/// tabulated over the phases of p, for the derivatives of the map in the middle of the grid, and multiplied with the mean of V under the squared taps.
///
/// # Panics
/// If mask or variance have another shape than the image, or a smoothing is negative or not finite.
pub fn warp<T: Pixel>(
    image: ImageView<'_, T>,
    variance: ImageView<'_, T>,
    mask: &Mask,
    map: &PlaneMap,
    shape: (usize, usize),
    options: &WarpOptions,
) -> Warped<T> {
    let (height, width) = shape;
    let old = image.shape();
    assert!(variance.shape() == old && (mask.height(), mask.width()) == old, "planes of one shape");
    let middle = (0.5 * (width as f64 - 1.0), 0.5 * (height as f64 - 1.0));
    let stretch = map.determinant(middle.0, middle.1).abs().sqrt().max(1.0);
    let taps = Taps::new(stretch);
    let noise = options
        .smoothing
        .map(|sigma| SmoothedNoise::new(&taps, map.jacobian(middle.0, middle.1), sigma));
    let source = Source { image, variance, mask, taps: &taps };

    let mut pixels = vec![T::nan(); height * width];
    let mut variances = [vec![T::nan(); height * width], vec![T::nan(); height * width]];
    let mut planes = vec![MaskPlanes::NO_DATA; height * width];
    let [first, second] = &mut variances;
    pixels
        .par_chunks_mut(width.max(1))
        .zip(planes.par_chunks_mut(width.max(1)))
        .zip(first.par_chunks_mut(width.max(1)).zip(second.par_chunks_mut(width.max(1))))
        .enumerate()
        .for_each_init(
            || [vec![0.0; taps.count()], vec![0.0; taps.count()]],
            |along, (y, ((pixels, planes), (first, second)))| {
                for x in 0..width {
                    let (u, v) = map.place(x as f64, y as f64);
                    let Some(sample) = source.at(u, v, along) else { continue };
                    planes[x] = sample.planes;
                    let area = map.determinant(x as f64, y as f64).abs();
                    if sample.squares > 0.0 {
                        pixels[x] = T::narrow(area * sample.value);
                        let variance = area * area * sample.variance;
                        first[x] = T::narrow(variance * noise[0].at(u, v));
                        second[x] = T::narrow(variance * noise[1].at(u, v));
                    }
                }
            },
        );
    let whole = |pixels| Image::from_vec(height, width, pixels).expect("one value per pixel");
    Warped {
        image: whole(pixels),
        variances: variances.map(whole),
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
    /// Σ w² of the pixels that count; 0 where there is none.
    squares: f64,
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
        let mut sums =
            Sample { value: 0.0, variance: 0.0, squares: 0.0, planes: MaskPlanes::empty() };
        let mut weight = 0.0;
        for (y, down) in (y0..).zip(down.iter()) {
            let row = usize::try_from(y).ok().filter(|y| *y < height);
            for (x, across) in (x0..).zip(across.iter()) {
                let tap = down * across;
                let at = row.zip(usize::try_from(x).ok().filter(|x| *x < width));
                let planes = at.map_or(MaskPlanes::NO_DATA, |(y, x)| self.mask.at(y, x));
                let Some((y, x)) = at.filter(|_| planes.is_empty()) else {
                    if tap.abs() > SPOILT {
                        sums.planes |= planes;
                    }
                    continue;
                };
                weight += tap;
                sums.value += tap * self.image.at(y, x).widen();
                sums.variance += tap * tap * self.variance.at(y, x).widen();
                sums.squares += tap * tap;
            }
        }
        // What is left of the taps where they fall on masked pixels may be nothing.
        if weight > 0.5 {
            sums.value /= weight;
            sums.variance /= sums.squares;
        } else {
            sums.squares = 0.0;
        }
        Some(sums)
    }
}

/// Σ_q [Σ_u G(u) w(p − u, q)]² / ΣG² for a Gaussian G, over the phases of p in a pixel.
struct SmoothedNoise {
    table: Vec<f64>,
}

impl SmoothedNoise {
    fn new(taps: &Taps, [[a, b], [c, d]]: [[f64; 2]; 2], sigma: f64) -> Self {
        assert!(sigma >= 0.0 && sigma.is_finite(), "a width is not negative");
        let reach = (REACH * sigma).ceil() as isize;
        let gaussian = |dy: isize, dx: isize| {
            let square = (dy * dy + dx * dx) as f64;
            if square == 0.0 { 1.0 } else { (-0.5 * square / (sigma * sigma)).exp() }
        };
        // The old pixels that may count, about that of p.
        let corner = reach as f64 * (a.abs() + b.abs()).max(c.abs() + d.abs());
        let half = corner.ceil() as isize + taps.count() as isize;
        let side = (2 * half + 1) as usize;
        let at = |phase: usize| {
            let place = |phase: usize| phase as f64 / PHASES as f64;
            let (u0, v0) = (place(phase % PHASES), place(phase / PHASES));
            let mut overall = vec![0.0; side * side];
            let (mut across, mut down) = (vec![0.0; taps.count()], vec![0.0; taps.count()]);
            let mut squares = 0.0;
            for (dy, dx) in (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (y, x))) {
                let g = gaussian(dy, dx);
                squares += g * g;
                let (x, y) = (dx as f64, dy as f64);
                let x0 = taps.fill(u0 + a * x + b * y, &mut across) + half;
                let y0 = taps.fill(v0 + c * x + d * y, &mut down) + half;
                for (y, down) in (y0 as usize..).zip(&down) {
                    for (x, across) in (x0 as usize..).zip(&across) {
                        overall[y * side + x] += g * down * across;
                    }
                }
            }
            overall.iter().map(|w| w * w).sum::<f64>() / squares
        };
        Self { table: (0..PHASES * PHASES).into_par_iter().map(at).collect() }
    }

    /// At a place on the old grid, between the nearest phases.
    fn at(&self, u: f64, v: f64) -> f64 {
        let split = |at: f64| {
            let phase = (at - at.floor()) * PHASES as f64;
            let before = phase.floor();
            (before as usize % PHASES, phase - before)
        };
        let ((x, dx), (y, dy)) = (split(u), split(v));
        let (next_x, next_y) = ((x + 1) % PHASES, (y + 1) % PHASES);
        let value = |y: usize, x: usize| self.table[y * PHASES + x];
        let low = value(y, x) + dx * (value(y, next_x) - value(y, x));
        let high = value(next_y, x) + dx * (value(next_y, next_x) - value(next_y, x));
        low + dy * (high - low)
    }
}

#[cfg(test)]
mod tests;
