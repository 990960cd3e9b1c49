//! The stars of an image.

use rayon::prelude::*;

use crate::robust::median_and_scatter;
use crate::{ImageView, LocalSky, Mask, MaskPlanes, Pixel};

/// A local maximum of light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Star {
    /// Column of the centre in pixels, 0 in the middle of the first.
    pub x: f64,
    /// Row of the centre.
    pub y: f64,
    /// Light above the sky within 5 × 5 pixels, in ADU.
    pub flux: f64,
}

/// Height of a maximum above the sky, in the scatter of means of 3 × 3 pixels.
const THRESHOLD: f64 = 6.0;

/// Pixels to both sides at which a maximum has to have fallen off.
const AROUND: usize = 5;

/// By which part of its height a star of 15 pixels FWHM has fallen off there, a bit less.
const FALL: f64 = 0.2;

/// The least fall of all directions relative to the largest: along a trail or the edge of a shadow there is none.
const ROUND: f64 = 0.3;

/// Pixels that the scatter is taken from, about.
const SAMPLE: usize = 1 << 16;

/// The `most` brightest stars, the brightest first: maxima of the mean over 3 × 3 pixels within 7 × 7, with their centroids.
///
/// A maximum has to fall off in all directions, so that grains of noise on a satellite's trail, along an edge or on a bright galaxy are no stars. Those within 2
/// pixels of a masked one, and within 6 of the border, are left out.
///
/// # Panics
/// If the mask has another size than the image.
pub fn find<T: Pixel>(image: ImageView<'_, T>, mask: &Mask, most: usize) -> Vec<Star> {
    let (height, width) = image.shape();
    let border = AROUND + 1;
    let sky = LocalSky::of(image, mask, MaskPlanes::all());
    let (Some(sky), true) = (sky, height > 2 * border && width > 2 * border) else {
        return Vec::new();
    };
    let good = |y: usize, x: usize| mask.at(y, x).is_empty();
    let mut light = vec![0.0_f32; height * width];
    light.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
        let (pixels, planes, sky) = (image.row(y), mask.row(y), sky.row(y));
        for (x, value) in row.iter_mut().enumerate().filter(|(x, _)| planes[*x].is_empty()) {
            *value = (pixels[x].widen() - sky(x)) as f32;
        }
    });
    let mut smooth = vec![0.0_f32; height * width];
    smooth.par_chunks_mut(width).enumerate().skip(1).take(height - 2).for_each(|(y, row)| {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &light[y * width..(y + 1) * width]);
        let column = |x: usize| above[x] + here[x] + below[x];
        for (x, mean) in row.iter_mut().enumerate().take(width - 1).skip(1) {
            *mean = (column(x - 1) + column(x) + column(x + 1)) / 9.0;
        }
    });
    let step = (height * width / SAMPLE) | 1;
    let sample = smooth.iter().step_by(step).map(|value| f64::from(*value));
    // A model without noise may have none.
    let (_, scatter) = median_and_scatter(sample).unwrap_or_default();
    let threshold = (THRESHOLD * scatter) as f32;
    let smooth = |y: usize, x: usize| smooth[y * width + x];
    let star = |y: usize, x: usize| -> Option<Star> {
        let peak = smooth(y, x);
        let beside = || smooth(y, x - 1).max(smooth(y, x + 1));
        if peak <= threshold || beside() > peak || !falls_off(smooth, y, x) {
            return None;
        }
        let square = |reach: usize| {
            (y - reach..=y + reach)
                .flat_map(move |py| (x - reach..=x + reach).map(move |px| (py, px)))
        };
        // Of equal ones, the first.
        let highest = square(3).all(|(py, px)| {
            let other = smooth(py, px);
            other < peak || other == peak && (py, px) >= (y, x)
        });
        if !highest || !square(2).all(|(py, px)| good(py, px)) {
            return None;
        }
        let (mut flux, mut sum, mut sx, mut sy) = (0.0, 0.0, 0.0, 0.0);
        for (py, px) in square(2) {
            let value = f64::from(light[py * width + px]);
            let positive = value.max(0.0);
            flux += value;
            sum += positive;
            sx += positive * (px as f64 - x as f64);
            sy += positive * (py as f64 - y as f64);
        }
        (flux > 0.0).then(|| Star { x: x as f64 + sx / sum, y: y as f64 + sy / sum, flux })
    };
    let row = |y: usize| (border..width - border).filter_map(move |x| star(y, x));
    let mut stars: Vec<Star> =
        (border..height - border).into_par_iter().flat_map_iter(row).collect();
    stars.sort_by(|a, b| b.flux.total_cmp(&a.flux));
    stars.truncate(most);
    stars
}

/// Whether a maximum is lower to both sides along rows, columns and diagonals.
pub(crate) fn falls_off(smooth: impl Fn(usize, usize) -> f32, y: usize, x: usize) -> bool {
    // Of a diagonal, 0.7 of the pixels are as long.
    let diagonal = (AROUND * 7).div_ceil(10);
    let directions = [(0, AROUND as isize), (AROUND as isize, 0)];
    let diagonals =
        [(diagonal as isize, diagonal as isize), (diagonal as isize, -(diagonal as isize))];
    let peak = smooth(y, x);
    let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
    for (dy, dx) in directions.into_iter().chain(diagonals) {
        let at = |sign: isize| {
            smooth(y.wrapping_add_signed(sign * dy), x.wrapping_add_signed(sign * dx))
        };
        let fall = peak - 0.5 * (at(1) + at(-1));
        (least, most) = (least.min(fall), most.max(fall));
    }
    f64::from(most) > FALL * f64::from(peak) && f64::from(least) > ROUND * f64::from(most)
}

#[cfg(test)]
mod tests;
