//! How pairs of tiles cover the valid pixels.

use dia_core::{Design, Region};

/// Bands of pairs of tiles, from top to bottom, and the pairs of a band from left to right.
///
/// The tiles of a pair are side by side, or one above the other where the kernel may vary: a polynomial of x then has the same values in both.
#[derive(Clone)]
pub(crate) struct Tiling {
    /// N − 2h: valid rows and columns that a tile gives.
    pub(crate) step: usize,
    pub(crate) bands: usize,
    pub(crate) pairs_per_band: usize,
    pub(crate) valid: Region,
    stacked: bool,
}

impl Tiling {
    /// Tiles of `side`² pixels, more than the kernel has.
    pub(crate) fn new(side: usize, design: &Design) -> Self {
        let (step, valid) = (side - 2 * design.half_width(), design.valid());
        let (rows, columns) = (valid.height.div_ceil(step), valid.width.div_ceil(step));
        let stacked = design.variation().len() > 1;
        let (bands, pairs_per_band) =
            if stacked { (rows.div_ceil(2), columns) } else { (rows, columns.div_ceil(2)) };
        Self { step, bands, pairs_per_band, valid, stacked }
    }

    /// Number of pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.bands * self.pairs_per_band
    }

    /// Valid rows of a band, but for the last one, which may have fewer.
    pub(crate) fn band_rows(&self) -> usize {
        if self.stacked { 2 * self.step } else { self.step }
    }

    /// The valid pixels that the two tiles of a pair hold, at least as many rows and columns in the first as in the second; (y, x) is counted in
    /// the valid region, which makes it the tile's first pixel in the image.
    pub(crate) fn tiles(&self, pair: usize) -> [Region; 2] {
        let (band, pair) = (pair / self.pairs_per_band, pair % self.pairs_per_band);
        [0, 1].map(|tile| {
            let (row, column) =
                if self.stacked { (2 * band + tile, pair) } else { (band, 2 * pair + tile) };
            let (y, x) = (row * self.step, column * self.step);
            let height = self.step.min(self.valid.height.saturating_sub(y));
            let width = self.step.min(self.valid.width.saturating_sub(x));
            Region { y, x, height, width }
        })
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, KernelBasis};

    use super::Tiling;

    #[test]
    fn tiles_hold_every_valid_pixel_once() {
        for (height, width, degree) in [(70, 200, 0), (70, 200, 1), (9, 9, 1), (150, 57, 2)] {
            let design = Design::new(height, width, KernelBasis::delta(4), None).unwrap();
            let design = design.with_variation(degree, degree).unwrap();
            let tiling = Tiling::new(32, &design);
            let mut count = vec![0; design.nrows()];
            for pair in 0..tiling.pairs() {
                let [first, second] = tiling.tiles(pair);
                assert!(first.height >= second.height && first.width >= second.width);
                assert!(degree == 0 || first.x == second.x);
                for tile in [first, second] {
                    for y in tile.y..tile.y + tile.height {
                        for x in tile.x..tile.x + tile.width {
                            count[y * tiling.valid.width + x] += 1;
                        }
                    }
                }
            }
            assert!(count.into_iter().all(|count| count == 1));
        }
    }
}
