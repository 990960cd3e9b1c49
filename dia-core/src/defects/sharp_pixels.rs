//! Pixels that are sharper than any star: hot pixels, cosmic rays, dead pixels.

use std::f64::consts::LN_2;

use rayon::prelude::*;

use super::blocks::{Blocks, SIDE};
use super::sky_noise::SkyNoise;
use crate::{ImageView, Mask, MaskPlanes, NoiseModel, Pixel};

/// The narrowest star has this part of the measured width: widths are measured to 8 % and vary over the field.
const NARROWEST: f64 = 0.75;

/// The narrowest star where no width is known, FWHM in pixels.
const NARROWEST_UNKNOWN: f64 = 0.9;

/// A pixel is too sharp by this many σ. Of 4096² pixels and four directions, noise alone has 0.07 there.
const THRESHOLD: f64 = 6.0;

/// A pixel is too dark by this many σ below all of the sky around, while two neighbours are not.
const TOO_DARK: f64 = 8.0;

/// The background is this quantile of the pixels of blocks, and the lowest of the blocks around, for the light of a crowd is no background.
const LOW: f64 = 0.15;

/// By how many σ it lies below the sky in blocks without stars.
const BELOW: f64 = 1.036_43;

/// Directions (dy, dx) in which a pixel is compared with its two neighbours.
const DIRECTIONS: [(isize, isize); 4] = [(0, 1), (1, 0), (1, 1), (1, -1)];

/// How many pixels no telescope can have made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharpPixels {
    /// Brighter than their neighbours allow: hot, or hit by a cosmic ray.
    pub bright: usize,
    /// Darker than the sky can be: dead, or cold.
    pub dark: usize,
}

/// Finds pixels that are sharper than the point-spread function allows, and marks them as `COSMIC_RAY`; and those far darker than the sky, as `BAD`.
///
/// First those are found that are sharper than any star of any telescope; with these masked, `fwhm` tells the width of the stars in pixels, for they would be taken for the sharpest stars, or
/// `None` if it cannot be known; and then those that are sharper than these stars. `noise` of the image, which is widened where `sky`, as
/// [`sky_noise()`](super::sky_noise()) measures it, shows more. A pixel v is compared with the mean m of
/// its two neighbours in each of four directions. A Gaussian star of three quarters of that width has a centre of at most q(m − b) above the background b, wherever it lies
/// on the pixels. Beyond b + q(m − b) by six σ in one of the directions, v is no star's. Only the lowest sky around counts as background: within nebulae and
/// galaxies less is found, and nothing wrong.
///
/// ```
/// use dia_core::defects::{SharpPixels, sharp_pixels, sky_noise};
/// use dia_core::{CcdNoise, Image, Mask, NoiseModel};
///
/// // A star of σ = 1.5 px, and one hot pixel.
/// let image = Image::from_fn(64, 64, |y, x| {
///     let r2 = (y as f64 - 30.3).powi(2) + (x as f64 - 33.1).powi(2);
///     let hot = if (y, x) == (50, 20) { 900.0 } else { 0.0 };
///     400.0 + 17.0 * ((y * 37 + x * 101) as f64).sin() + 20_000.0 * (-r2 / 4.5).exp() + hot
/// });
/// let noise = NoiseModel::Ccd(CcdNoise { gain: 1.5, read_noise: 5.0, subtracted_sky: 0.0 }, None);
/// let mut mask = Mask::good(64, 64);
/// let sky = sky_noise(image.view(), &mask, &noise).unwrap();
/// let found = sharp_pixels(image.view(), &mut mask, &noise, &sky, |_| Some(3.5));
/// assert_eq!(found, SharpPixels { bright: 1, dark: 0 });
/// assert!(!mask.at(50, 20).is_empty());
/// ```
///
/// # Panics
/// If the planes differ in shape.
pub fn sharp_pixels<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &mut Mask,
    noise: &NoiseModel<'_, T>,
    sky: &SkyNoise,
    fwhm: impl FnOnce(&Mask) -> Option<f64>,
) -> SharpPixels {
    assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
    let widened = (sky.sigma / sky.expected).max(1.0).powi(2);
    let blocks = Blocks::new(image, mask, LOW);
    let finder = Finder {
        image,
        background: lowest_around(&blocks, BELOW * sky.sigma),
        columns: blocks.columns,
        sigma: sky.sigma,
        variance: |i: usize, value: f64| {
            widened
                * match noise {
                    NoiseModel::Ccd(ccd, None) => ccd.variance(value, 1.0),
                    NoiseModel::Ccd(ccd, Some(flat)) => {
                        ccd.variance(value, flat.pixels()[i].widen())
                    }
                    NoiseModel::Variance(variance) => variance.pixels()[i].widen(),
                }
        },
    };
    let dark = finder.dark(mask);
    mark(mask, &dark, MaskPlanes::BAD);
    let mut sharp = 0;
    let mut mark_bright = |mask: &mut Mask, narrowest: f64| {
        let bright = finder.bright(mask, peak_ratios(narrowest));
        mark(mask, &bright, MaskPlanes::COSMIC_RAY);
        sharp += bright.len();
    };
    mark_bright(mask, NARROWEST_UNKNOWN);
    if let Some(fwhm) = fwhm(mask) {
        mark_bright(mask, NARROWEST * fwhm);
    }
    SharpPixels { bright: sharp, dark: dark.len() }
}

fn mark(mask: &mut Mask, pixels: &[usize], plane: MaskPlanes) {
    let width = mask.width();
    for i in pixels {
        mask.insert(i / width, i % width, plane);
    }
}

/// By how much the central pixel of a Gaussian star exceeds the mean of its neighbours beside and diagonally, at most: where it is centred.
fn peak_ratios(fwhm: f64) -> [f64; 2] {
    let sigma = fwhm / (8.0 * LN_2).sqrt();
    // The integral over a pixel at distance d, by Simpson's rule with 32 intervals.
    let pixel = |d: f64| {
        let at = |i: usize| (-0.5 * ((d - 0.5 + i as f64 / 32.0) / sigma).powi(2)).exp();
        (0..=32)
            .map(|i| at(i) * if i % 32 == 0 { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 })
            .sum::<f64>()
    };
    let beside = pixel(0.0) / pixel(1.0);
    [beside, beside * beside]
}

/// For each block, the lowest level of those it touches and itself, and `above` that.
fn lowest_around(blocks: &Blocks, above: f64) -> Vec<f64> {
    let level = |i: usize| {
        let lowest = blocks.around(i).map(|j| blocks.levels[j]).fold(blocks.levels[i], f64::min);
        lowest + above
    };
    (0..blocks.levels.len()).map(level).collect()
}

struct Finder<'a, T, V> {
    image: ImageView<'a, T>,
    /// Of each block; NaN, which nothing exceeds, where it is not known.
    background: Vec<f64>,
    /// Blocks in a row.
    columns: usize,
    /// The noise of the sky.
    sigma: f64,
    /// σ² of a pixel of a value.
    variance: V,
}

impl<T: Pixel, V: Fn(usize, f64) -> f64 + Sync> Finder<'_, T, V> {
    /// The pixels that are good or saturated and that `is_wanted`, which takes row, column, value and background.
    fn pixels(
        &self,
        mask: &Mask,
        is_wanted: impl Fn(usize, usize, f64, f64) -> bool + Sync,
    ) -> Vec<usize> {
        let width = self.image.width();
        let in_row = |y: usize| {
            let (row, planes) = (self.image.row(y), mask.row(y));
            let backgrounds = &self.background[y / SIDE * self.columns..][..self.columns];
            let mut found = Vec::new();
            for (block, &background) in backgrounds.iter().enumerate() {
                for x in block * SIDE..width.min((block + 1) * SIDE) {
                    let value = row[x].widen();
                    // A saturated star is less sharp than it would be.
                    let others = planes[x].difference(MaskPlanes::SATURATED);
                    if is_wanted(y, x, value, background) && others.is_empty() {
                        found.push(y * width + x);
                    }
                }
            }
            found
        };
        (0..self.image.height()).into_par_iter().flat_map_iter(in_row).collect()
    }

    fn dark(&self, mask: &Mask) -> Vec<usize> {
        let depth = TOO_DARK * self.sigma;
        self.pixels(mask, |y, x, value, background| {
            let between = |(_, a, b): (bool, f64, f64)| f64::midpoint(a, b) > background;
            value < background - depth && self.pairs(mask, (y, x)).any(between)
        })
    }

    fn bright(&self, mask: &Mask, ratios: [f64; 2]) -> Vec<usize> {
        let height = THRESHOLD * self.sigma;
        self.pixels(mask, |y, x, value, background| {
            value > background + height && self.is_sharp(mask, (y, x), background, ratios)
        })
    }

    /// The good pairs of neighbours on either side of a pixel, and whether they lie diagonally.
    fn pairs(&self, mask: &Mask, (y, x): (usize, usize)) -> impl Iterator<Item = (bool, f64, f64)> {
        let (height, width) = self.image.shape();
        let neighbour = move |dy: isize, dx: isize| {
            let y = y.checked_add_signed(dy).filter(|y| *y < height)?;
            let x = x.checked_add_signed(dx).filter(|x| *x < width)?;
            Some(self.image.at(y, x).widen())
                .filter(|value| value.is_finite() && mask.at(y, x).is_empty())
        };
        DIRECTIONS.iter().filter_map(move |&(dy, dx)| {
            Some((dy != 0 && dx != 0, neighbour(dy, dx)?, neighbour(-dy, -dx)?))
        })
    }

    /// Whether a pixel is too high for its neighbours in one of the directions.
    fn is_sharp(
        &self,
        mask: &Mask,
        (y, x): (usize, usize),
        background: f64,
        ratios: [f64; 2],
    ) -> bool {
        let (i, value) = (y * self.image.width() + x, self.image.at(y, x).widen());
        self.pairs(mask, (y, x)).any(|(is_diagonal, a, b)| {
            let (mean, ratio) = (f64::midpoint(a, b), ratios[usize::from(is_diagonal)]);
            let excess = value - background - ratio * (mean - background);
            let variance = || {
                (self.variance)(i, value)
                    + 0.5 * ratio * ratio * (self.variance)(i, mean.max(background))
            };
            excess > 0.0 && excess * excess > THRESHOLD * THRESHOLD * variance()
        })
    }
}
