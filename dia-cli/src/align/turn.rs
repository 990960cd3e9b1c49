//! Turns by right angles and mirror images: the symmetries of the pixel grid, which move pixels and change none.

use dia_align::PlaneMap;
use dia_core::stars::Star;
use dia_core::{Image, Mask, Pixel};

use crate::input::{Input, InputNoise};

/// Rows and columns exchanged or not, and after that the order of either reversed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    transpose: bool,
    reverse_columns: bool,
    reverse_rows: bool,
    /// For programs and headers, in ASCII.
    pub(crate) code: &'static str,
    /// In words, as what an image is.
    pub(crate) name: &'static str,
}

const fn turn(
    [transpose, reverse_columns, reverse_rows]: [bool; 3],
    code: &'static str,
    name: &'static str,
) -> Turn {
    Turn { transpose, reverse_columns, reverse_rows, code, name }
}

/// All of them but the identity. Angles count from columns to rows.
pub(crate) const TURNS: [Turn; 7] = [
    turn([false, true, true], "180", "turned by 180°"),
    turn([true, true, false], "90", "turned by 90°"),
    turn([true, false, true], "270", "turned by 270°"),
    turn([false, true, false], "left-right", "mirrored left to right"),
    turn([false, false, true], "top-bottom", "mirrored top to bottom"),
    turn([true, false, false], "transposed", "mirrored about the diagonal (transposed)"),
    turn([true, true, true], "antitransposed", "mirrored about the other diagonal"),
];

impl Turn {
    /// Whether right becomes left, however it is turned.
    pub(crate) fn mirrors(self) -> bool {
        self.transpose ^ self.reverse_columns ^ self.reverse_rows
    }

    /// The shape (rows, columns) of an image that had `shape`.
    pub(crate) fn shape(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.transpose { (width, height) } else { (height, width) }
    }

    /// The stars of an image of `shape`, where they are in the turned one.
    pub(crate) fn stars(self, stars: &[Star], shape: (usize, usize)) -> Vec<Star> {
        let (height, width) = self.shape(shape);
        let place = |star: &Star| {
            let (x, y) = if self.transpose { (star.y, star.x) } else { (star.x, star.y) };
            let x = if self.reverse_columns { width as f64 - 1.0 - x } else { x };
            let y = if self.reverse_rows { height as f64 - 1.0 - y } else { y };
            Star { x, y, ..*star }
        };
        stars.iter().map(place).collect()
    }

    /// A map to an image of `shape`, when that is turned.
    pub(crate) fn map(self, map: &PlaneMap, shape: (usize, usize)) -> PlaneMap {
        let [x, y] = map.coefficients().map(<[f64]>::to_vec);
        let (x, y) = if self.transpose { (y, x) } else { (x, y) };
        let (height, width) = self.shape(shape);
        let x = if self.reverse_columns { reversed(x, width) } else { x };
        let y = if self.reverse_rows { reversed(y, height) } else { y };
        with_coefficients(map, [&x, &y])
    }

    /// Where a place (x, y) of the turned image of an image of `shape` was before.
    pub(crate) fn undone(self, (x, y): (f64, f64), shape: (usize, usize)) -> (f64, f64) {
        let (height, width) = self.shape(shape);
        let x = if self.reverse_columns { width as f64 - 1.0 - x } else { x };
        let y = if self.reverse_rows { height as f64 - 1.0 - y } else { y };
        if self.transpose { (y, x) } else { (x, y) }
    }

    /// Turns an image with all its planes.
    pub(crate) fn apply<T: Pixel>(self, input: &mut Input<T>) {
        input.image = self.image(&input.image);
        if let InputNoise::Variance(variance) = &mut input.noise {
            *variance = self.image(variance);
        }
        if let Some(old) = &input.mask {
            let (height, width) = self.shape((old.height(), old.width()));
            let mut mask = Mask::good(height, width);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let (old_y, old_x) = self.source(y, x, (height, width));
                mask.insert(y, x, old.at(old_y, old_x));
            }
            input.mask = Some(mask);
        }
    }

    fn image<T: Pixel>(self, image: &Image<T>) -> Image<T> {
        let (height, width) = self.shape(image.view().shape());
        Image::from_fn(height, width, |y, x| {
            let (old_y, old_x) = self.source(y, x, (height, width));
            image.view().at(old_y, old_x)
        })
    }

    /// Where the pixel (y, x) of a turned image of the given shape was before.
    fn source(self, y: usize, x: usize, (height, width): (usize, usize)) -> (usize, usize) {
        let x = if self.reverse_columns { width - 1 - x } else { x };
        let y = if self.reverse_rows { height - 1 - y } else { y };
        if self.transpose { (x, y) } else { (y, x) }
    }
}

/// A coordinate counted from the other side.
fn reversed(mut coefficients: Vec<f64>, size: usize) -> Vec<f64> {
    for coefficient in &mut coefficients {
        *coefficient = -*coefficient;
    }
    coefficients[0] += size as f64 - 1.0;
    coefficients
}

fn with_coefficients(map: &PlaneMap, coefficients: [&[f64]; 2]) -> PlaneMap {
    let (centre, scale) = map.coordinates();
    PlaneMap::polynomial(map.degree(), centre, scale, coefficients)
}

#[cfg(test)]
mod tests {
    use dia_align::PlaneMap;
    use dia_core::Image;
    use dia_core::stars::Star;

    use super::TURNS;

    #[test]
    fn pixels_and_stars_go_the_same_way_and_all_turns_differ() {
        let image = Image::from_fn(3, 5, |y, x| (10 * y + x) as f64);
        let mut all = vec![image.clone()];
        for turn in TURNS {
            let turned = turn.image(&image);
            for (y, x) in (0..3).flat_map(|y| (0..5).map(move |x| (y, x))) {
                let star = Star { x: x as f64, y: y as f64, flux: 1.0 };
                let [moved] = turn.stars(&[star], (3, 5))[..] else { panic!() };
                let value = turned.view().at(moved.y as usize, moved.x as usize);
                assert_eq!(value, image.view().at(y, x), "{turn:?}");
                assert_eq!(turn.undone((moved.x, moved.y), (3, 5)), (x as f64, y as f64));
            }
            assert!(!all.contains(&turned), "{turn:?}");
            all.push(turned);
        }
    }

    #[test]
    fn maps_lead_to_where_the_stars_are() {
        let map = PlaneMap::affine([[3.0, 0.9, 0.1], [1.0, -0.2, 1.1]]);
        for turn in TURNS {
            let (x, y) = map.place(2.0, 1.0);
            let [star] = turn.stars(&[Star { x, y, flux: 1.0 }], (7, 9))[..] else { panic!() };
            let turned = turn.map(&map, (7, 9));
            let (x, y) = turned.place(2.0, 1.0);
            assert!((x - star.x).hypot(y - star.y) < 1e-12, "{turn:?}");
            let mirrors = turned.determinant(0.0, 0.0) * map.determinant(0.0, 0.0) < 0.0;
            assert_eq!(turn.mirrors(), mirrors, "{turn:?}");
        }
    }

    #[test]
    fn a_right_angle_leads_from_columns_to_rows() {
        // A step along the columns becomes one along the rows.
        let star = |x: f64| Star { x, y: 1.0, flux: 1.0 };
        let turned = TURNS[1].stars(&[star(1.0), star(2.0)], (5, 5));
        assert_eq!((turned[1].x - turned[0].x, turned[1].y - turned[0].y), (0.0, 1.0));
        assert_eq!(TURNS[1].code, "90");
    }
}
