//! Filters that follow a varying kernel, tile by tile, in real space: what is masked or saturated reaches no further than a filter does.

use dia_core::simd::{Loop, widest};
use dia_core::{Kernel, robust};
use rayon::prelude::*;

use crate::Scene;
use crate::filter::SkyVariance;

/// Side of a tile in pixels: a kernel of low degree hardly varies over it.
const SIDE: usize = 64;

/// Sums that stay in registers while the weights pass.
const LANES: usize = 32;

/// The sums of one row of pixels, over the lines from the uppermost on that its weights meet.
struct RowSums<'a> {
    weights: &'a Kernel,
    lines: &'a [f64],
    padded_width: usize,
    sums: &'a mut [f64],
}

impl Loop for RowSums<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { weights, lines, padded_width, sums } = self;
        let side = weights.side();
        for (block, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut lanes = [0.0; LANES];
            for uy in 0..side {
                let line = &lines[uy * padded_width + block * LANES..][..LANES + side - 1];
                let weights = &weights.pixels()[uy * side..][..side];
                for (ux, w) in weights.iter().enumerate() {
                    let line: &[f64; LANES] = line[ux..].first_chunk().expect("a padded line");
                    for i in 0..LANES {
                        lanes[i] += w * line[i];
                    }
                }
            }
            *sums = lanes;
        }
    }
}

/// A rectangle of pixels with one filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) y: usize,
    pub(crate) x: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Tile {
    pub(crate) fn centre(self) -> (f64, f64) {
        (self.y as f64 + 0.5 * self.height as f64, self.x as f64 + 0.5 * self.width as f64)
    }

    /// Σ_u w(u) value(p + u) for all pixels p of the tile, row after row.
    pub(crate) fn correlate(
        self,
        weights: &Kernel,
        value: impl Fn(isize, isize) -> f64,
    ) -> Vec<f64> {
        let h = weights.half_width();
        let wide = self.width.next_multiple_of(LANES);
        let (padded_height, padded_width) = (self.height + 2 * h, wide + 2 * h);
        let at = |i: usize, first: usize| (first + i) as isize - h as isize;
        // Columns beyond the tile's own serve sums that nobody asks for.
        let value = |i: usize| {
            let (y, x) = (i / padded_width, i % padded_width);
            if x < self.width + 2 * h { value(at(y, self.y), at(x, self.x)) } else { 0.0 }
        };
        let padded: Vec<f64> = (0..padded_height * padded_width).map(value).collect();
        let mut sums = vec![0.0; self.height * wide];
        for (row, sums) in sums.chunks_exact_mut(wide.max(1)).enumerate() {
            let lines = &padded[row * padded_width..];
            widest(RowSums { weights, lines, padded_width, sums });
        }
        let rows = sums.chunks_exact(wide.max(1));
        rows.flat_map(|row| &row[..self.width]).copied().collect()
    }

    /// Whether a property holds for all pixels of the tile and those within `half_width` of it.
    pub(crate) fn all(self, half_width: usize, holds: impl Fn(isize, isize) -> bool) -> bool {
        let range = |first: usize, length: usize| {
            let (first, h) = (first as isize, half_width as isize);
            first - h..first + length as isize + h
        };
        range(self.y, self.height).all(|y| range(self.x, self.width).all(|x| holds(y, x)))
    }

    /// (row, column) in the image of the tile's element `i`.
    pub(crate) fn pixel(self, i: usize) -> (isize, isize) {
        ((self.y + i / self.width) as isize, (self.x + i % self.width) as isize)
    }

    /// The index in the image of the tile's element `i`.
    pub(crate) fn place(self, i: usize, width: usize) -> usize {
        (self.y + i / self.width) * width + self.x + i % self.width
    }
}

/// The tiles of an image, and what `filter` makes of each, in their order.
pub(crate) fn map<R: Send>(
    height: usize,
    width: usize,
    filter: impl Fn(Tile) -> R + Sync,
) -> Vec<(Tile, R)> {
    let tiles: Vec<Tile> = (0..height)
        .step_by(SIDE)
        .flat_map(|y| (0..width).step_by(SIDE).map(move |x| (y, x)))
        .map(|(y, x)| Tile { y, x, height: SIDE.min(height - y), width: SIDE.min(width - x) })
        .collect();
    tiles.into_par_iter().map(|tile| (tile, filter(tile))).collect()
}

impl Scene<'_> {
    /// The median variances around a pixel, of a tile's size: those of the sky. `None` where no pixel has a difference.
    pub fn sky_variance(&self, y: f64, x: f64) -> Option<SkyVariance> {
        let (height, width) = self.difference.shape();
        let (y, x) = self.nearest(y, x);
        let half = SIDE / 2 + 8;
        let (ys, xs) = (
            y.saturating_sub(half)..(y + half).min(height),
            x.saturating_sub(half)..(x + half).min(width),
        );
        let (mut target, mut reference) = (Vec::new(), Vec::new());
        // Every second pixel tells the median well enough.
        for y in ys.step_by(2) {
            for x in xs.clone() {
                let n = self.target_variance_at(y as isize, x as isize);
                if n > 0.0 && self.difference_at(y as isize, x as isize).is_some() {
                    target.push(n);
                    reference.push(self.reference_variance_at(y as isize, x as isize));
                }
            }
        }
        Some(SkyVariance {
            target: robust::median(&mut target)?,
            reference: robust::median(&mut reference)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Tile;
    use dia_core::Kernel;

    #[test]
    fn correlations_of_any_width_are_their_sums() {
        let weights = Kernel::from_fn(3, |dy, dx| (dy * 2 - dx * dx) as f64);
        let value = |y: isize, x: isize| (y * y - 3 * x + (x * y) % 5) as f64;
        for width in [1, 15, 16, 37] {
            let tile = Tile { y: 2, x: 5, height: 4, width };
            let sums = tile.correlate(&weights, value);
            assert_eq!(sums.len(), 4 * width);
            for (i, sum) in sums.iter().enumerate() {
                let (y, x) = tile.pixel(i);
                let expected: f64 = crate::offsets::offsets(&weights)
                    .map(|(dy, dx)| weights.at(dy, dx) * value(y + dy, x + dx))
                    .sum();
                // Sums of whole numbers.
                assert_eq!(*sum, expected, "{width} {i}");
            }
        }
    }
}
