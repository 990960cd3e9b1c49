//! The sky of an image from place to place.

use rayon::prelude::*;

use crate::robust::median;
use crate::{ImageView, Mask, MaskPlanes, Pixel};

/// Least side of a cell in pixels: several times the width of the widest stars, so that one of them does not raise the median.
const CELL: usize = 64;

/// Pixels of a cell that its median is taken from, about.
const SAMPLE: usize = 1024;

/// Fewer good pixels of the sample than this tell nothing.
const FEWEST: usize = 64;

/// The medians of cells of 64 to 128 pixels a side, interpolated linearly between their centres and beyond the outermost.
///
/// Gradients are followed exactly, and what is smaller than a cell is not followed. An image of less than 128 pixels is one cell.
#[derive(Clone, Debug)]
pub struct LocalSky {
    rows: usize,
    columns: usize,
    medians: Vec<f64>,
    /// For each row and for each column of pixels, that of cells before it and the way from there.
    places: [Vec<(usize, f64)>; 2],
}

impl LocalSky {
    /// That of the finite pixels with none of the planes `left_out`; a cell with few of them takes the sky of the nearest one. `None` if there is none.
    ///
    /// # Panics
    /// If image and mask differ in shape.
    pub fn of<T: Pixel>(
        image: ImageView<'_, T>,
        mask: &Mask,
        left_out: MaskPlanes,
    ) -> Option<Self> {
        let (height, width) = image.shape();
        assert_eq!((mask.height(), mask.width()), (height, width), "image and mask share a grid");
        let (rows, columns) = ((height / CELL).max(1), (width / CELL).max(1));
        let fewest = FEWEST.min(height * width);
        let of_cell = |cell: usize| {
            let (row, column) = (cell / columns, cell % columns);
            let ys = row * height / rows..(row + 1) * height / rows;
            let xs = column * width / columns..(column + 1) * width / columns;
            let size = ys.len() * xs.len();
            let pixels = (0..size).step_by((size / SAMPLE) | 1);
            let pixels = pixels.map(|i| (ys.start + i / xs.len(), xs.start + i % xs.len()));
            let good = pixels.filter(|(y, x)| !mask.at(*y, *x).intersects(left_out));
            let mut values: Vec<f64> = good.map(|(y, x)| image.at(y, x).widen()).collect();
            values.retain(|value| value.is_finite());
            (values.len() >= fewest).then(|| median(&mut values)).flatten()
        };
        let known: Vec<Option<f64>> = (0..rows * columns).into_par_iter().map(of_cell).collect();
        let nearest = |cell: usize| {
            let apart = |other: &usize| {
                let dy = (other / columns).abs_diff(cell / columns);
                let dx = (other % columns).abs_diff(cell % columns);
                dy * dy + dx * dx
            };
            known[(0..known.len()).filter(|other| known[*other].is_some()).min_by_key(apart)?]
        };
        let medians = (0..known.len()).map(|cell| known[cell].or_else(|| nearest(cell)));
        let places = [(height, rows), (width, columns)].map(|(pixels, cells)| {
            (0..pixels).map(|pixel| between(pixel, cells as f64 / pixels as f64, cells)).collect()
        });
        Some(Self { rows, columns, medians: medians.collect::<Option<_>>()?, places })
    }

    /// The sky at row `y` and column `x`, in the unit of the image.
    pub fn at(&self, y: usize, x: usize) -> f64 {
        self.row(y)(x)
    }

    /// The sky of row `y` by columns, in the unit of the image.
    pub fn row(&self, y: usize) -> impl Fn(usize) -> f64 + use<'_> {
        let [down, across] = &self.places;
        let (row, down) = down[y];
        let cells =
            |row: usize| &self.medians[row.min(self.rows - 1) * self.columns..][..self.columns];
        let (above, below) = (cells(row), cells(row + 1));
        move |x| {
            let (column, right) = across[x];
            let next = (column + 1).min(self.columns - 1);
            let along = |row: &[f64]| row[column] + right * (row[next] - row[column]);
            along(above) + down * (along(below) - along(above))
        }
    }
}

/// The cell from which to interpolate to its successor, and the way in cells from its centre; beyond 0 and 1 at the borders.
fn between(pixel: usize, scale: f64, cells: usize) -> (usize, f64) {
    let place = (pixel as f64 + 0.5) * scale - 0.5;
    let cell = (place.max(0.0) as usize).min(cells.saturating_sub(2));
    (cell, place - cell as f64)
}

#[cfg(test)]
mod tests {
    use super::LocalSky;
    use crate::{Image, Mask, MaskPlanes};

    #[test]
    fn a_gradient_is_followed_to_the_corners_and_stars_are_not() {
        let plane = |y: usize, x: usize| 100.0 + 3.0 * x as f64 - 0.7 * y as f64;
        let star = |y: f64, x: f64| 1e5 * (-(y * y + x * x) / 8.0).exp();
        let image = Image::from_fn(300, 200, |y, x| {
            plane(y, x) + star((y % 60) as f64 - 30.0, (x % 50) as f64 - 25.0)
        });
        let mut mask = Mask::good(300, 200);
        // A cell without pixels takes what its neighbour has.
        (0..75).for_each(|y| (134..200).for_each(|x| mask.insert(y, x, MaskPlanes::BAD)));
        let sky = LocalSky::of(image.view(), &mask, MaskPlanes::all()).unwrap();
        for (y, x) in [(150, 0), (299, 0), (299, 199), (200, 120)] {
            // Stars are above a ramp of 300 ADU in 5 % of the pixels, and shift its median by as much of it at most.
            assert!((sky.at(y, x) - plane(y, x)).abs() < 15.0, "{y} {x}: {}", sky.at(y, x));
        }
        assert!(sky.at(0, 199).is_finite());
        let none = Mask::from_vec(300, 200, vec![MaskPlanes::BAD; 60_000]).unwrap();
        assert!(LocalSky::of(image.view(), &none, MaskPlanes::BAD).is_none());
    }

    #[test]
    fn a_small_image_has_one_sky() {
        let image = Image::from_fn(20, 30, |y, x| ((3 * y + 5 * x) % 11) as f64);
        let sky = LocalSky::of(image.view(), &Mask::good(20, 30), MaskPlanes::all()).unwrap();
        assert_eq!((sky.at(0, 0), sky.at(19, 29)), (5.0, 5.0));
    }
}
