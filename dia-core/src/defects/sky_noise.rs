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
const QUANTILES: [f64; 2] = [0.05, 0.25];
const SPAN: f64 = 1.644_854 - 0.674_490;

/// Of noise of skewness γ, Cornish & Fisher's expansion has quantiles at z + γ (z² − 1)/6, so that the lower side is 1 − 0.387 γ times as wide: by 17 % less for five photons, of γ = 1/√5. The
/// expansion ends where hardly any of it is left.
const SKEW: f64 = 0.387;
const LEAST_SIDE: f64 = 0.4;

/// Stars widen some blocks: of the sorted ones, that at this part of them is taken. A little below the middle, it is 1 % narrower than the noise where no stars are.
const TAKEN: f64 = 0.45;

/// Noise is the same all over an image of one sky: if a block at `ALIKE` of the sorted ones has this many times the σ of one at `QUIET`, stars are in it.
const QUIET: f64 = 0.15;
const ALIKE: f64 = 0.6;
const UNIFORM: f64 = 1.25;

/// The upper side of a block is as wide as the lower one where there is noise: each is known to 8 %, and their ratio in the middle of the blocks to 1 %. Poisson noise of five
/// photons a pixel is taken account of. Stars that widen the lower side by a quarter have 1.5 and more.
const SKEWED: f64 = 1.25;

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
/// Where there are several stars in every block, they widen the lower side as well, and the same in all blocks. Then the upper side is wider still, as noise never is, and what is left of
/// noise in second differences along rows of second differences along columns (Immerkær 1996, CVIU 64, 300), which a profile of 3 pixels FWHM passes a twentieth of, is far less.
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
        .filter_map(|i| {
            of_block(image, mask, noise, step, (i / columns * SIDE, i % columns * SIDE))
        })
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
    // Both ways tell the same of noise without correlation, and not of stars.
    let [wider, narrower] = [0, 1].map(|way: usize| at(&sorted[way], TAKEN));
    let crowded = uniform.is_none() || wider > UNIFORM * narrower;
    let finest = middle_of(&found, |block| block.finest / block.expected)?;
    let confused = ratio > UNIFORM * finest
        && middle_of(&found, |block| block.high_side / block.low_side)? > SKEWED;
    // Noise that neighbours share is in the one and not in the other, and the light of stars likewise.
    let ratio = if confused { 1.0_f64.clamp(finest, ratio) } else { ratio };
    let (sigma, crowded) = (ratio * expected, crowded || confused);
    let found = SkyNoise { level, sigma, expected, crowded };
    (sigma > RESOLVED * step).then_some(found)
}

fn middle_of(blocks: &[Block], way: impl Fn(&Block) -> f64) -> Option<f64> {
    median(&mut blocks.iter().map(way).collect::<Vec<_>>())
}

/// The level of a block, and its σ by different ways.
struct Block {
    level: f64,
    low_side: f64,
    high_side: f64,
    differences: f64,
    /// Of differences along rows and columns.
    finest: f64,
    expected: f64,
}

fn of_block<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    noise: &NoiseModel<'_, T>,
    step: f64,
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
    values.sort_unstable_by(f64::total_cmp);
    let below = QUANTILES.map(|part| quantile(&values, part, step));
    let above = QUANTILES.map(|part| quantile(&values, 1.0 - part, step));
    let plane = |plane: &ImageView<'_, T>| {
        median(&mut good.iter().map(|i| plane.pixels()[*i].widen()).collect::<Vec<_>>())
    };
    let (variance, skewness) = match noise {
        NoiseModel::Ccd(ccd, flat) => {
            let flat = flat.as_ref().map_or(Some(1.0), plane)?;
            let variance = ccd.variance(level, flat);
            // The third moment of photons is their number.
            let photon = ccd.photon(flat);
            let light = (level + ccd.subtracted_sky).max(0.0);
            (variance, light * photon * photon / variance.powf(1.5))
        }
        NoiseModel::Variance(variance) => (plane(variance)?, 0.0),
    };
    let value = |i: usize| image.pixels()[i].widen();
    let triples = good.windows(3).filter(|w| w[0] + 2 == w[2]);
    let mut curvatures: Vec<f64> =
        triples.map(|w| (2.0 * value(w[1]) - value(w[0]) - value(w[2])).abs()).collect();
    // (2, −1, −1) has a norm of √6.
    let differences = MAD_TO_SIGMA * median(&mut curvatures)? / 6.0_f64.sqrt();
    let low_side = (below[1] - below[0]) / SPAN / (1.0 - SKEW * skewness).max(LEAST_SIDE);
    let high_side = (above[0] - above[1]) / SPAN / (1.0 + SKEW * skewness);
    // Between masked pixels it says nothing.
    let finest = finest(image, mask, (y, x)).unwrap_or(f64::INFINITY);
    Some(Block { level, low_side, high_side, differences, finest, expected: variance.sqrt() })
}

/// The quantile at `part` of sorted values that are `step` apart: those that are equal are spread over the step, since a quantile of integers says nothing finer.
fn quantile(values: &[f64], part: f64, step: f64) -> f64 {
    let rank = part * values.len() as f64;
    let value = values[(rank as usize).min(values.len() - 1)];
    let first = values.partition_point(|v| *v < value);
    let equal = values.partition_point(|v| *v <= value) - first;
    if equal == 1 { value } else { value + step * ((rank - first as f64) / equal as f64 - 0.5) }
}

/// σ of a block by second differences along rows of those along columns, whose weights (1, −2, 1) ⊗ (1, −2, 1) have a norm of 6.
fn finest<T: Pixel>(image: ImageView<'_, T>, mask: &Mask, (y, x): (usize, usize)) -> Option<f64> {
    let value = |y: usize, x: usize| {
        if mask.at(y, x).is_empty() { image.at(y, x).widen() } else { f64::NAN }
    };
    let along = |y: usize, x: usize| value(y, x - 1) - 2.0 * value(y, x) + value(y, x + 1);
    let of = |y: usize, x: usize| along(y - 1, x) - 2.0 * along(y, x) + along(y + 1, x);
    let places = (y + 1..y + SIDE - 1).flat_map(|y| (x + 1..x + SIDE - 1).map(move |x| (y, x)));
    let differences = places.map(|(y, x)| of(y, x).abs()).filter(|d| d.is_finite());
    Some(MAD_TO_SIGMA * median(&mut differences.collect::<Vec<_>>())? / 6.0)
}
