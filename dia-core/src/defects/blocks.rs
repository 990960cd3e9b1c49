//! The level of the sky in square blocks of an image.

use rayon::prelude::*;

use crate::robust::{MAD_TO_SIGMA, median};
use crate::{ImageView, Mask, Pixel};

/// Side of a block in pixels.
pub(super) const SIDE: usize = 16;

/// A block with less than this part of its pixels good has no level.
const FEWEST: f64 = 0.25;

/// A quantile of the good pixels of all blocks; row-major.
pub(super) struct Blocks {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// NaN where there are too few good pixels.
    pub(super) levels: Vec<f64>,
}

impl Blocks {
    /// The levels are the quantile `part` of the pixels, 0.5 their median.
    pub(super) fn new<T: Pixel>(image: ImageView<'_, T>, mask: &Mask, part: f64) -> Self {
        let (rows, columns) = (image.height().div_ceil(SIDE), image.width().div_ceil(SIDE));
        let levels = (0..rows * columns)
            .into_par_iter()
            .map_init(Vec::new, |values, block| {
                let size = good_values(image, mask, (block / columns, block % columns), values);
                let enough = values.len() as f64 >= FEWEST * size as f64;
                if values.is_empty() || !enough {
                    return f64::NAN;
                }
                let rank = (part * (values.len() - 1) as f64).round() as usize;
                *values.select_nth_unstable_by(rank, f64::total_cmp).1
            })
            .collect();
        Self { rows, columns, levels }
    }

    /// The robust scatter of the pixels of block `i` around its level.
    pub(super) fn scatter<T: Pixel>(&self, image: ImageView<'_, T>, mask: &Mask, i: usize) -> f64 {
        let mut values = Vec::new();
        good_values(image, mask, (i / self.columns, i % self.columns), &mut values);
        for v in &mut values {
            *v = (*v - self.levels[i]).abs();
        }
        median(&mut values).map_or(f64::NAN, |mad| MAD_TO_SIGMA * mad)
    }

    /// The blocks that block `i` touches, with their indices.
    pub(super) fn around(&self, i: usize) -> impl Iterator<Item = usize> + use<> {
        let (rows, columns) = (self.rows, self.columns);
        let (row, column) = (i / columns, i % columns);
        let rows = row.saturating_sub(1)..rows.min(row + 2);
        let near = column.saturating_sub(1)..columns.min(column + 2);
        rows.flat_map(move |y| near.clone().map(move |x| y * columns + x)).filter(move |j| *j != i)
    }
}

/// Puts every other good pixel of a block, as the black squares of a chessboard, into `values`. Returns how many such pixels the block has.
fn good_values<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    (row, column): (usize, usize),
    values: &mut Vec<f64>,
) -> usize {
    values.clear();
    let columns = column * SIDE..image.width().min((column + 1) * SIDE);
    let mut size = 0;
    for y in row * SIDE..image.height().min((row + 1) * SIDE) {
        let (pixels, planes) = (&image.row(y)[columns.clone()], &mask.row(y)[columns.clone()]);
        for (value, planes) in pixels.iter().zip(planes).skip(y % 2).step_by(2) {
            size += 1;
            if planes.is_empty() && value.is_finite() {
                values.push(value.widen());
            }
        }
    }
    size
}
