//! Areas whose pixels all have one value.

use rayon::prelude::*;

use super::sample::{Distribution, runs};
use crate::robust::median;
use crate::{ImageView, Mask, MaskPlanes, Pixel};

/// Fewer connected pixels than this may have one value by chance. Where one pixel in ten has a value p, chance makes some N (4.06 p)ᵏ areas of k of them in
/// an image of N pixels (4.06 is the growth of the number of lattice animals): 10⁻⁵ for k = 32 and N = 4096².
const FEWEST: usize = 32;

/// The part of the other pixels that may have the value of an area.
const BY_CHANCE: f64 = 0.1;

/// Nothing is found where one of the other values is more frequent than this, in the image or beside the area.
const COARSE: f64 = 0.2;

/// Areas of more than this part of the good pixels may be the sky of a model without noise, into which its sources fade. In padding, the median step to the
/// pixels beside it is this many scatters at least.
const MAJORITY: f64 = 0.5;
const JUMP: f64 = 0.2;

/// A connected area of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstantBlock {
    /// The value, in the unit of the image.
    pub value: f64,
    /// Number of its pixels.
    pub pixels: usize,
    /// Whether it reaches the border of the image, as the padding of a mosaic does.
    pub at_border: bool,
}

/// Finds areas of 32 pixels or more that have exactly one value, and marks them as `NO_DATA`; the first in row-major order comes first.
///
/// Padding of dithered and mosaicked images, gaps between chips and filled-in regions are such. Nothing is found in images of so few different values
/// that equal neighbours are nothing special, and saturated stars should be masked before.
///
/// ```
/// use dia_core::defects::{ConstantBlock, constant_blocks};
/// use dia_core::{Image, Mask};
///
/// // Ten columns are padded.
/// let image = Image::from_fn(40, 60, |y, x| {
///     if x < 10 { 0.0 } else { 200.0 + ((y * 37 + x * 101) % 173) as f32 / 10.0 }
/// });
/// let mut mask = Mask::good(40, 60);
/// let found = constant_blocks(image.view(), &mut mask);
/// assert_eq!(found, [ConstantBlock { value: 0.0, pixels: 400, at_border: true }]);
/// ```
///
/// # Panics
/// If image and mask differ in shape.
pub fn constant_blocks<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask) -> Vec<ConstantBlock> {
    assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
    let Some(distribution) = Distribution::new(image, mask) else { return Vec::new() };
    if distribution.coarseness > COARSE {
        return Vec::new();
    }
    let seeds = seeds(image, mask);
    if seeds.is_empty() {
        return Vec::new();
    }
    let mut areas = areas(image, mask, &seeds);
    areas.retain(|area| !area.is_amid_coarse_values());
    let mut values: Vec<f64> = areas.iter().map(|area| area.block.value).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let pixels = image.pixels();
    values.retain(|value| {
        let same = |i: &usize| mask.planes()[*i].is_empty() && pixels[*i].widen() == *value;
        let all = (0..pixels.len()).into_par_iter().filter(same).count();
        let own = || areas.iter().filter(|area| area.block.value == *value);
        let in_areas: usize = own().map(|area| area.block.pixels).sum();
        let by_chance = (all - in_areas) as f64 > BY_CHANCE * (pixels.len() - in_areas) as f64;
        let fades = || {
            let beside = own().flat_map(|area| &area.beside);
            let mut jumps: Vec<f64> = beside.map(|v| (v - value).abs()).collect();
            median(&mut jumps).is_none_or(|jump| jump < JUMP * distribution.scatter)
        };
        let majority = in_areas as f64 > MAJORITY * pixels.len() as f64;
        !(by_chance || majority && fades())
    });
    areas.retain(|area| values.contains(&area.block.value));
    for i in areas.iter().flat_map(|area| &area.pixels) {
        mask.insert(i / image.width(), i % image.width(), MaskPlanes::NO_DATA);
    }
    areas.into_iter().map(|area| area.block).collect()
}

/// A block with the indices of its pixels.
struct Area {
    block: ConstantBlock,
    pixels: Vec<usize>,
    /// The values of the good pixels beside it, sorted.
    beside: Vec<f64>,
}

impl Area {
    /// Whether the values beside it are so few that a constant area is nothing special.
    fn is_amid_coarse_values(&self) -> bool {
        let most = runs(&self.beside).iter().map(|run| run.count).max().unwrap_or(0);
        most > 2 && most as f64 > COARSE * self.beside.len() as f64
    }
}

/// Pixels that begin three equal ones in a row or a column.
fn seeds<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> Vec<usize> {
    let (height, width) = image.shape();
    (0..height)
        .into_par_iter()
        .flat_map_iter(|y| {
            let row = image.row(y);
            let below = (y + 2 < height).then(|| [image.row(y + 1), image.row(y + 2)]);
            let starts = move |x: &usize| {
                let x = *x;
                let across = x + 2 < width && row[x] == row[x + 1] && row[x] == row[x + 2];
                let down = below.is_some_and(|rows| rows.iter().all(|other| other[x] == row[x]));
                (across || down) && row[x].is_finite()
            };
            (0..width).filter(starts).map(move |x| y * width + x)
        })
        .filter(|&i| mask.planes()[i].is_empty())
        .collect()
}

/// The connected areas of equal good pixels around the seeds.
fn areas<T: Pixel>(image: ImageView<'_, T>, mask: &Mask, seeds: &[usize]) -> Vec<Area> {
    let ((height, width), pixels) = (image.shape(), image.pixels());
    let mut seen = vec![false; pixels.len()];
    let mut areas = Vec::new();
    for &seed in seeds {
        if seen[seed] {
            continue;
        }
        seen[seed] = true;
        let value = pixels[seed].widen();
        let (mut members, mut beside, mut at_border, mut next) = (vec![seed], vec![], false, 0);
        while next < members.len() {
            let i = members[next];
            next += 1;
            let (y, x) = (i / width, i % width);
            at_border |= y == 0 || x == 0 || y + 1 == height || x + 1 == width;
            let around = [
                (y > 0).then(|| i - width),
                (x > 0).then(|| i - 1),
                (x + 1 < width).then(|| i + 1),
                (y + 1 < height).then(|| i + width),
            ];
            for j in around.into_iter().flatten() {
                if !mask.planes()[j].is_empty() || !pixels[j].is_finite() {
                    continue;
                }
                if pixels[j] != pixels[seed] {
                    beside.push(pixels[j].widen());
                } else if !seen[j] {
                    seen[j] = true;
                    members.push(j);
                }
            }
        }
        if members.len() >= FEWEST {
            beside.sort_unstable_by(f64::total_cmp);
            let block = ConstantBlock { value, pixels: members.len(), at_border };
            areas.push(Area { block, pixels: members, beside });
        }
    }
    areas
}
