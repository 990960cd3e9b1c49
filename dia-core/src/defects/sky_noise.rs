//! The noise of the sky as the pixels show it, to be compared with what gain and read noise say.

use rayon::prelude::*;

use super::sample::Distribution;
use crate::robust::{MAD_TO_SIGMA, median};
use crate::{ImageView, Mask, NoiseModel, Pixel};

/// Side of a block in pixels.
const SIDE: usize = 32;

/// Blocks that are looked at.
const BLOCKS: usize = 512;

/// A block has at least this many good pixels.
const FEWEST: usize = 256;

/// Of Gaussian noise, this many σ lie between the quantiles of 5 and of 25 %. Light of stars can only raise pixels, so that the lower side of their distribution is
/// that of the noise also where it covers a part of them; and noise that is correlated between neighbours, as a resampled image has it, is as wide as any other.
const QUANTILES: [usize; 2] = [20, 4];
const SPAN: f64 = 1.644_854 - 0.674_490;

/// Stars widen some blocks: of the sorted ones, that at this part of them is taken. A little below the middle, it is 1 % narrower than the noise where no stars are.
const TAKEN: f64 = 0.45;

/// Noise is the same all over an image of one sky: if a block at `ALIKE` of the sorted ones has this many times the σ of one at `QUIET`, stars are in it.
const QUIET: f64 = 0.15;
const ALIKE: f64 = 0.6;
const UNIFORM: f64 = 1.25;

/// Below this many steps between neighbouring values, σ is not resolved.
const RESOLVED: f64 = 1.5;

/// The noise of the sky, in the unit of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkyNoise {
    /// Median level of the sky.
    pub level: f64,
    /// σ of a pixel, as measured.
    pub sigma: f64,
    /// σ of a pixel of that level, as the noise model has it.
    pub expected: f64,
    /// Whether stars are so many that `sigma` may be too large, or noise is correlated between neighbours.
    pub crowded: bool,
}

/// Measures the scatter of the pixels of the sky, and what `noise` says it should be.
///
/// In blocks of 32 × 32 pixels, σ is taken twice, and compared with the model's at the level of the block. The lower side of the distribution of the pixels is not
/// widened by a few stars, nor narrowed by a correlation between neighbours; the second differences of neighbours are not widened by many stars of good sampling. The first of the two
/// that is the same in most blocks is taken, and the smaller one of the quietest blocks if neither is. `None` means that the image has too few good pixels, or too coarse values.
///
/// ```
/// use dia_core::defects::sky_noise;
/// use dia_core::{CcdNoise, Image, Mask, NoiseModel};
///
/// // Noise of σ = 17 ADU (twelve uniform numbers added up) around a sky that was subtracted.
/// let mut state = 1_u64;
/// let mut uniform = || {
///     state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
///     (state >> 40) as f64 / (1 << 24) as f64
/// };
/// let image = Image::from_fn(128, 128, |_, _| 17.0 * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0));
/// let ccd = CcdNoise { gain: 1.5, read_noise: 3.0, subtracted_sky: 0.0 };
/// let found = sky_noise(image.view(), &Mask::good(128, 128), &NoiseModel::Ccd(ccd, None)).unwrap();
/// assert!((found.sigma / 17.0 - 1.0).abs() < 0.1);
/// assert!(found.expected < 3.0);
/// ```
///
/// # Panics
/// If the planes differ in shape.
pub fn sky_noise<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    noise: &NoiseModel<'_, T>,
) -> Option<SkyNoise> {
    assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
    let step = Distribution::new(image, mask)?.step;
    let (rows, columns) = (image.height() / SIDE, image.width() / SIDE);
    let stride = (rows * columns / BLOCKS) | 1;
    let blocks: Vec<usize> = (0..rows * columns).step_by(stride).collect();
    let found: Vec<Block> = blocks
        .into_par_iter()
        .filter_map(|i| of_block(image, mask, noise, (i / columns * SIDE, i % columns * SIDE)))
        .filter(|block| block.expected > 0.0)
        .collect();
    let level = median(&mut found.iter().map(|block| block.level).collect::<Vec<_>>())?;
    let expected = median(&mut found.iter().map(|block| block.expected).collect::<Vec<_>>())?;
    let ways: [fn(&Block) -> f64; 2] = [|block| block.low_side, |block| block.differences];
    let sorted = ways.map(|way| {
        let mut ratios: Vec<f64> = found.iter().map(|block| way(block) / block.expected).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios
    });
    let at = |ratios: &[f64], part: f64| ratios[(part * ratios.len() as f64) as usize];
    let is_uniform = |ratios: &&Vec<f64>| at(ratios, ALIKE) < UNIFORM * at(ratios, QUIET);
    let uniform = sorted.iter().find(is_uniform);
    let ratio = match uniform {
        Some(ratios) => at(ratios, TAKEN),
        None => sorted.iter().map(|ratios| at(ratios, 0.0)).fold(f64::INFINITY, f64::min),
    };
    let sigma = ratio * expected;
    // Both ways tell the same of noise without correlation, and not of stars.
    let [wider, narrower] = [0, 1].map(|way: usize| at(&sorted[way], TAKEN));
    let crowded = uniform.is_none() || wider > UNIFORM * narrower;
    let found = SkyNoise { level, sigma, expected, crowded };
    (sigma > RESOLVED * step).then_some(found)
}

/// The level of a block, and its σ by different ways.
struct Block {
    level: f64,
    low_side: f64,
    differences: f64,
    expected: f64,
}

fn of_block<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    noise: &NoiseModel<'_, T>,
    (y, x): (usize, usize),
) -> Option<Block> {
    let mut good: Vec<usize> = Vec::with_capacity(SIDE * SIDE);
    for y in y..y + SIDE {
        let row = image.row(y).iter().zip(mask.row(y)).enumerate().skip(x).take(SIDE);
        let usable = row.filter(|(_, (value, planes))| planes.is_empty() && value.is_finite());
        good.extend(usable.map(|(x, _)| y * image.width() + x));
    }
    if good.len() < FEWEST {
        return None;
    }
    let mut values: Vec<f64> = good.iter().map(|i| image.pixels()[*i].widen()).collect();
    let level = median(&mut values)?;
    let [low, high] =
        QUANTILES.map(|part| *values.select_nth_unstable_by(good.len() / part, f64::total_cmp).1);
    let plane = |plane: &ImageView<'_, T>| {
        median(&mut good.iter().map(|i| plane.pixels()[*i].widen()).collect::<Vec<_>>())
    };
    let variance = match noise {
        NoiseModel::Ccd(ccd, None) => ccd.variance(level, 1.0),
        NoiseModel::Ccd(ccd, Some(flat)) => ccd.variance(level, plane(flat)?),
        NoiseModel::Variance(variance) => plane(variance)?,
    };
    let value = |i: usize| image.pixels()[i].widen();
    let triples = good.windows(3).filter(|w| w[0] + 2 == w[2]);
    let mut curvatures: Vec<f64> =
        triples.map(|w| (2.0 * value(w[1]) - value(w[0]) - value(w[2])).abs()).collect();
    // (2, −1, −1) has a norm of √6.
    let differences = MAD_TO_SIGMA * median(&mut curvatures)? / 6.0_f64.sqrt();
    let low_side = (high - low) / SPAN;
    Some(Block { level, low_side, differences, expected: variance.sqrt() })
}
