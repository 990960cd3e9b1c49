//! Parts of an image that no light of the sky has reached: behind a field stop, a baffle, a guide probe.

use rayon::prelude::*;

use super::blocks::{Blocks, SIDE};
use crate::robust::{median, median_and_scatter};
use crate::{ImageView, Mask, MaskPlanes, Pixel};

/// An unexposed block is at least this many σ of a pixel of the sky darker than the sky …
const DARKER: f64 = 5.0;

/// … and has less than this part of the sky's level, or less than this part of its noise.
const DARK: f64 = 0.25;
const QUIET: f64 = 0.5;

/// A region that does not reach the border has at least this many blocks.
const LARGE: usize = 16;

/// Along at least this part of its edge …
const SHARP: f64 = 0.5;

/// … the level rises by this part of the way to the sky within so many blocks. Galaxies and nebulae fade more gently.
const RISE: f64 = 0.65;
const WITHIN: usize = 3;

/// Of the blocks that are not dark, at least this part has the sky's level within this part of the step from dark to sky: before anything else than a sky, a region that is
/// darker is nothing special.
const PLATEAU: f64 = 0.5;
const LEVEL: f64 = 0.15;

/// The rim is followed over at most so many blocks, while their level differs from the sky around by more than this part of it and this many σ, of
/// the block and of the blocks around.
const RIM: usize = 8;
const RIM_DIFFERENCE: f64 = 0.015;
const RIM_SIGNIFICANCE: f64 = 5.0;

/// The sky around is the median of the other blocks within so many.
const AROUND: usize = 8;

/// Images of fewer blocks say nothing.
const FEWEST_BLOCKS: usize = 36;

/// Unexposed columns and rows at the border, overscan or the edge of a frame transfer, are at most so many.
const MOST_LINES: usize = 256;

/// Blocks whose noise is looked at.
const NOISE_SAMPLE: usize = 128;

/// The part of an image that was not exposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unexposed {
    /// Number of its pixels, those of its rim among them.
    pub pixels: usize,
    /// Median level of its dark part, in the unit of the image.
    pub level: f64,
    /// Median level of all blocks, in the unit of the image.
    pub sky: f64,
}

/// Finds large dark regions with sharp edges, and marks them, with the rim along which the level differs from the sky's, as `BAD`.
///
/// The median level of blocks of 16 × 16 pixels is compared with that of the whole image. Unexposed is what is much darker, has next to no light or the noise
/// of none, reaches the border or is large, and has an edge that rises to the sky within 48 pixels, and the sky is the same over most of the rest. Less than half of the image can be found so.
/// Dark columns and rows at the border, such as overscan, are found one by one.
///
/// ```
/// use dia_core::defects::unexposed;
/// use dia_core::{Image, Mask};
///
/// // A round field stop before a sky of 1000 ADU.
/// let image = Image::from_fn(256, 256, |y, x| {
///     let lit = (y as f64 - 128.0).hypot(x as f64 - 128.0) < 150.0;
///     (if lit { 1000.0 } else { 5.0 }) + ((y * 37 + x * 101) % 173) as f64 / 4.0
/// });
/// let mut mask = Mask::good(256, 256);
/// let found = unexposed(image.view(), &mut mask).unwrap();
/// assert!(!mask.at(0, 0).is_empty() && mask.at(60, 128).is_empty());
/// assert!(found.level < 50.0 && found.sky > 1000.0);
/// ```
///
/// # Panics
/// If image and mask differ in shape.
pub fn unexposed<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask) -> Option<Unexposed> {
    assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
    let blocks = Blocks::new(image, mask, 0.5);
    let mut levels: Vec<f64> = blocks.levels.iter().copied().filter(|v| v.is_finite()).collect();
    if levels.len() < FEWEST_BLOCKS {
        return None;
    }
    let sky = median(&mut levels)?;
    let step = levels.len().div_ceil(NOISE_SAMPLE) | 1;
    let of_sky = |i: &usize| (blocks.levels[*i] - sky).abs() < 0.5 * sky.abs().max(f64::EPSILON);
    let all = (0..blocks.levels.len()).filter(|i| blocks.levels[*i].is_finite());
    let noise = |i: usize| blocks.scatter(image, mask, i);
    let mut of_blocks: Vec<f64> = all.clone().filter(of_sky).step_by(step).map(noise).collect();
    if of_blocks.is_empty() {
        of_blocks = all.step_by(step).map(noise).collect();
    }
    let sigma = median(&mut of_blocks)?;
    let is_dark = |i: usize| {
        let level = blocks.levels[i];
        level < sky - DARKER * sigma && (level < DARK * sky || noise(i) < QUIET * sigma)
    };
    let dark: Vec<bool> = (0..blocks.levels.len()).into_par_iter().map(is_dark).collect();
    let (mut marked, mut lines) = (0, Vec::new());
    for side in [Side::Top, Side::Bottom, Side::Left, Side::Right] {
        for line in side.dark_lines(image, mask, sky, sigma) {
            lines.push(line.level);
            marked += side.mark(mask, line.distance);
        }
    }
    let mut found = vec![false; dark.len()];
    for region in regions(&blocks, &dark) {
        if is_unexposed(&blocks, &region, &dark, sky) {
            for i in &region {
                found[*i] = true;
            }
        }
    }
    let mut own: Vec<f64> =
        (0..found.len()).filter(|i| found[*i]).map(|i| blocks.levels[i]).collect();
    let of_lines = median(&mut lines).map(|level| Unexposed { pixels: marked, level, sky });
    let Some(level) = median(&mut own) else { return of_lines };
    let lit = || (0..found.len()).filter(|i| !dark[*i] && blocks.levels[*i].is_finite());
    let at_sky = |i: &usize| (blocks.levels[*i] - sky).abs() < LEVEL * (sky - level);
    if (lit().filter(at_sky).count() as f64) < PLATEAU * lit().count() as f64 {
        return of_lines;
    }
    grow(&blocks, &mut found, sigma);
    let mut pixels = marked;
    for y in 0..image.height() {
        for x in 0..image.width() {
            if found[y / SIDE * blocks.columns + x / SIDE] {
                pixels += usize::from(!mask.at(y, x).contains(MaskPlanes::BAD));
                mask.insert(y, x, MaskPlanes::BAD);
            }
        }
    }
    Some(Unexposed { pixels, level, sky })
}

/// A side of an image, along which lines of pixels lie.
#[derive(Clone, Copy)]
enum Side {
    Top,
    Bottom,
    Left,
    Right,
}

/// A line of pixels parallel to a side.
struct Line {
    distance: usize,
    level: f64,
}

impl Side {
    /// The pixels (y, x) of the line at a distance.
    fn line(self, (height, width): (usize, usize), n: usize) -> Vec<(usize, usize)> {
        match self {
            Self::Top => (0..width).map(|x| (n, x)).collect(),
            Self::Bottom => (0..width).map(|x| (height - 1 - n, x)).collect(),
            Self::Left => (0..height).map(|y| (y, n)).collect(),
            Self::Right => (0..height).map(|y| (y, width - 1 - n)).collect(),
        }
    }

    /// The dark lines at the border and one more, which may be lit in part, if the sky begins right behind them.
    fn dark_lines<T: Pixel>(
        self,
        image: ImageView<'_, T>,
        mask: &Mask,
        sky: f64,
        sigma: f64,
    ) -> Vec<Line> {
        let (height, width) = image.shape();
        let most = MOST_LINES.min(match self {
            Self::Top | Self::Bottom => height / 4,
            Self::Left | Self::Right => width / 4,
        });
        let level_of = |n: usize| {
            let pixels = self.line(image.shape(), n).into_iter();
            let good = pixels.filter(|&(y, x)| mask.at(y, x).is_empty());
            median_and_scatter(good.map(|(y, x)| image.at(y, x).widen()))
        };
        let mut lines: Vec<Line> = Vec::new();
        for distance in 0..most {
            let Some((level, scatter)) = level_of(distance) else { break };
            if level > sky - DARKER * sigma || level > DARK * sky && scatter > QUIET * sigma {
                let Some(dark) = lines.last().map(|line| line.level) else { break };
                let behind = level_of(distance + 1).map_or(f64::NAN, |(level, _)| level);
                if behind > dark + RISE * (sky - dark) {
                    lines.push(Line { distance, level: dark });
                    return lines;
                }
                break;
            }
            lines.push(Line { distance, level });
        }
        Vec::new()
    }

    /// Marks a line; returns how many pixels are new.
    fn mark(self, mask: &mut Mask, distance: usize) -> usize {
        let pixels = self.line((mask.height(), mask.width()), distance);
        let new = |&(y, x): &(usize, usize)| !mask.at(y, x).contains(MaskPlanes::BAD);
        let count = pixels.iter().filter(|place| new(place)).count();
        for &(y, x) in &pixels {
            mask.insert(y, x, MaskPlanes::BAD);
        }
        count
    }
}

/// The connected regions of marked blocks.
fn regions(blocks: &Blocks, marked: &[bool]) -> Vec<Vec<usize>> {
    let mut seen = vec![false; marked.len()];
    let mut regions = Vec::new();
    for first in 0..marked.len() {
        if !marked[first] || seen[first] {
            continue;
        }
        seen[first] = true;
        let (mut region, mut next) = (vec![first], 0);
        while next < region.len() {
            for j in blocks.around(region[next]).filter(|j| marked[*j]) {
                if !std::mem::replace(&mut seen[j], true) {
                    region.push(j);
                }
            }
            next += 1;
        }
        regions.push(region);
    }
    regions
}

/// Whether a dark region lies at the border or is large, and has a sharp edge.
fn is_unexposed(blocks: &Blocks, region: &[usize], dark: &[bool], sky: f64) -> bool {
    let Blocks { rows, columns, ref levels } = *blocks;
    let place = |i: usize| (i / columns, i % columns);
    let at_border = |i: &usize| {
        let (row, column) = place(*i);
        row == 0 || column == 0 || row + 1 == rows || column + 1 == columns
    };
    if region.len() < LARGE && !region.iter().any(at_border) {
        return false;
    }
    let (mut edge, mut sharp) = (0, 0);
    for &i in region {
        let (row, column) = place(i);
        let bright = levels[i] + RISE * (sky - levels[i]);
        let outwards = [(0, 1), (0, -1), (1, 0), (-1, 0)].map(|(dy, dx)| {
            (1..=WITHIN as isize)
                .map_while(|n| {
                    let y = row.checked_add_signed(n * dy).filter(|y| *y < rows)?;
                    let x = column.checked_add_signed(n * dx).filter(|x| *x < columns)?;
                    Some(y * columns + x)
                })
                .collect::<Vec<_>>()
        });
        let leaves = |way: &&Vec<usize>| way.first().is_some_and(|j| !dark[*j]);
        let rises = |way: &Vec<usize>| way.iter().any(|j| levels[*j] > bright);
        edge += usize::from(outwards.iter().any(|way| leaves(&way)));
        sharp += usize::from(outwards.iter().filter(leaves).any(rises));
    }
    edge > 0 && sharp as f64 >= SHARP * edge as f64
}

/// Adds the rim of what was found, and one block around all of it. `sigma` is the noise of a pixel.
fn grow(blocks: &Blocks, found: &mut [bool], sigma: f64) {
    let Blocks { rows, columns, ref levels } = *blocks;
    let dark = found.to_vec();
    // The median of n values has an error of 1.25 σ/√n; half of the pixels are taken.
    let own = RIM_SIGNIFICANCE * 1.25 * sigma / (0.5 * (SIDE * SIDE) as f64).sqrt();
    let differs = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        let near = (row.saturating_sub(AROUND)..rows.min(row + AROUND + 1)).flat_map(|y| {
            let columns_near = column.saturating_sub(AROUND)..columns.min(column + AROUND + 1);
            columns_near.map(move |x| y * columns + x)
        });
        let around = near.filter(|j| !dark[*j]).map(|j| levels[j]);
        median_and_scatter(around).is_none_or(|(sky, scatter)| {
            let difference = (levels[i] - sky).abs();
            let noise = own.max(RIM_SIGNIFICANCE * scatter);
            difference.is_nan() || difference > noise.max(RIM_DIFFERENCE * sky.abs())
        })
    };
    let mut front: Vec<usize> = (0..found.len()).filter(|i| found[*i]).collect();
    for step in 0..=RIM {
        let mut next: Vec<usize> = front.iter().flat_map(|i| blocks.around(*i)).collect();
        next.sort_unstable();
        next.dedup();
        // The first step takes all, for a block may be dark in part.
        next.retain(|i| !found[*i] && (step == 0 || differs(*i)));
        for i in &next {
            found[*i] = true;
        }
        front = next;
    }
}
