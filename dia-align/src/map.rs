//! Maps of one pixel grid onto another by polynomials.

/// Degrees above this are not fitted.
pub const MAX_DEGREE: usize = 3;

/// Monomials in x and y up to the largest degree.
const TERMS: usize = (MAX_DEGREE + 1) * (MAX_DEGREE + 2) / 2;

/// A map (x, y) ↦ (u, v) of pixels of one image, usually the target, to pixels of another, usually the reference.
///
/// u and v are polynomials of the scaled coordinates (x − x₀)/s and (y − y₀)/s. Coordinates are columns and rows in pixels, 0 in the middle of the first.
///
/// ```
/// use dia_align::PlaneMap;
///
/// // A turn by a quarter, from columns to rows, and 10 columns.
/// let map = PlaneMap::affine([[10.0, 0.0, -1.0], [0.0, 1.0, 0.0]]);
/// assert_eq!(map.place(3.0, 4.0), (6.0, 3.0));
/// assert_eq!(map.back(6.0, 3.0), Some((3.0, 4.0)));
/// assert_eq!(map.determinant(3.0, 4.0), 1.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PlaneMap {
    degree: usize,
    centre: (f64, f64),
    scale: f64,
    /// Of u and of v, by degree: 1, x, y, x², xy, y², …
    coefficients: [[f64; TERMS]; 2],
}

/// Number of monomials in two variables up to a degree.
pub(crate) const fn terms(degree: usize) -> usize {
    (degree + 1) * (degree + 2) / 2
}

/// 1, x, y, x², xy, y², x³, …
pub(crate) fn monomials(x: f64, y: f64) -> [f64; TERMS] {
    [1.0, x, y, x * x, x * y, y * y, x * x * x, x * x * y, x * y * y, y * y * y]
}

impl PlaneMap {
    /// The map that changes nothing.
    pub fn identity() -> Self {
        Self::affine([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    }

    /// u = a₀ + a₁ x + a₂ y and v = b₀ + b₁ x + b₂ y, of `[[a₀, a₁, a₂], [b₀, b₁, b₂]]`.
    pub fn affine(coefficients: [[f64; 3]; 2]) -> Self {
        let [u, v] = coefficients;
        Self::polynomial(1, (0.0, 0.0), 1.0, [&u, &v])
    }

    /// u and v by their coefficients of 1, x, y, x², xy, y², … in x and y less `centre`, over `scale`.
    ///
    /// # Panics
    /// If the degree is 0 or above [`MAX_DEGREE`], or the coefficients are not (d + 1)(d + 2)/2.
    pub fn polynomial(
        degree: usize,
        centre: (f64, f64),
        scale: f64,
        coefficients: [&[f64]; 2],
    ) -> Self {
        assert!((1..=MAX_DEGREE).contains(&degree), "degrees are 1 to {MAX_DEGREE}, not {degree}");
        let padded = coefficients.map(|given| {
            let mut padded = [0.0; TERMS];
            padded[..terms(degree)].copy_from_slice(given);
            padded
        });
        Self { degree, centre, scale, coefficients: padded }
    }

    /// The degree of its polynomials.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The centre and the scale of its coordinates.
    pub fn coordinates(&self) -> ((f64, f64), f64) {
        (self.centre, self.scale)
    }

    /// The coefficients of u and of v, of 1, x, y, x², xy, y², … in the scaled coordinates.
    pub fn coefficients(&self) -> [&[f64]; 2] {
        let n = terms(self.degree);
        [&self.coefficients[0][..n], &self.coefficients[1][..n]]
    }

    /// Where (x, y) is carried.
    pub fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = ((x - self.centre.0) / self.scale, (y - self.centre.1) / self.scale);
        let n = terms(self.degree);
        let at = monomials(x, y);
        let [u, v] = self.coefficients.each_ref().map(|c| {
            c[..n].iter().zip(&at[..n]).map(|(coefficient, term)| coefficient * term).sum()
        });
        (u, v)
    }

    /// [[∂u/∂x, ∂u/∂y], [∂v/∂x, ∂v/∂y]] at (x, y).
    pub fn jacobian(&self, x: f64, y: f64) -> [[f64; 2]; 2] {
        let (x, y) = ((x - self.centre.0) / self.scale, (y - self.centre.1) / self.scale);
        let along_x = [0.0, 1.0, 0.0, 2.0 * x, y, 0.0, 3.0 * x * x, 2.0 * x * y, y * y, 0.0];
        let along_y = [0.0, 0.0, 1.0, 0.0, x, 2.0 * y, 0.0, x * x, 2.0 * x * y, 3.0 * y * y];
        let n = terms(self.degree);
        self.coefficients.each_ref().map(|c| {
            [along_x, along_y]
                .map(|at| c[..n].iter().zip(&at).map(|(c, t)| c * t).sum::<f64>() / self.scale)
        })
    }

    /// The area of a pixel at (x, y) on the other grid; negative where the map mirrors.
    pub fn determinant(&self, x: f64, y: f64) -> f64 {
        let [[a, b], [c, d]] = self.jacobian(x, y);
        a * d - b * c
    }

    /// Which (x, y) is carried to (u, v), by Newton's method from the inverse of the affine part; `None` where it does not converge.
    pub fn back(&self, u: f64, v: f64) -> Option<(f64, f64)> {
        let (mut x, mut y) = self.centre;
        for _ in 0..MOST_STEPS {
            let (at_u, at_v) = self.place(x, y);
            let [[a, b], [c, d]] = self.jacobian(x, y);
            let determinant = a * d - b * c;
            if determinant == 0.0 {
                return None;
            }
            let (du, dv) = (u - at_u, v - at_v);
            let (dx, dy) = ((d * du - b * dv) / determinant, (a * dv - c * du) / determinant);
            (x, y) = (x + dx, y + dy);
            if dx.hypot(dy) < 1e-9 * (1.0 + x.hypot(y)) {
                return Some((x, y));
            }
        }
        None
    }

    /// The angle in degrees by which the directions of the image are turned at (x, y), from columns to rows, the mean scale √|det|, and whether it mirrors.
    ///
    /// A map that mirrors is one that turns after the columns were reversed.
    pub fn turn(&self, x: f64, y: f64) -> (f64, f64, bool) {
        let [[a, b], [c, d]] = self.jacobian(x, y);
        let determinant = a * d - b * c;
        let mirrors = determinant < 0.0;
        let sign = if mirrors { -1.0 } else { 1.0 };
        // The rotation nearest to the matrix, its first column reversed where it mirrors.
        let angle = (sign * c - b).atan2(sign * a + d).to_degrees();
        (angle, determinant.abs().sqrt(), mirrors)
    }
}

/// Newton's method doubles the digits with every step.
const MOST_STEPS: usize = 30;

#[cfg(test)]
mod tests {
    use super::PlaneMap;

    fn cubic() -> PlaneMap {
        let u = [400.0, 310.0, -12.0, 3.0, -2.0, 1.0, 0.5, 0.2, -0.3, 0.1];
        let v = [380.0, 14.0, 305.0, 1.0, 2.5, -1.0, -0.2, 0.4, 0.3, 0.2];
        PlaneMap::polynomial(3, (300.0, 280.0), 300.0, [&u, &v])
    }

    #[test]
    fn derivatives_are_those_of_the_places() {
        let map = cubic();
        let (x, y, h) = (120.0, 470.0, 1e-3);
        let jacobian = map.jacobian(x, y);
        let along = |dx: f64, dy: f64| {
            let (p, q) = (map.place(x + dx, y + dy), map.place(x - dx, y - dy));
            [(p.0 - q.0) / (2.0 * h), (p.1 - q.1) / (2.0 * h)]
        };
        for (k, numerical) in [along(h, 0.0), along(0.0, h)].into_iter().enumerate() {
            for row in 0..2 {
                assert!((jacobian[row][k] - numerical[row]).abs() < 1e-7, "{row} {k}");
            }
        }
    }

    #[test]
    fn back_is_the_inverse_and_fails_where_there_is_none() {
        let map = cubic();
        for (x, y) in [(0.0, 0.0), (599.0, 10.0), (250.0, 520.0)] {
            let (u, v) = map.place(x, y);
            let (bx, by) = map.back(u, v).unwrap();
            assert!((bx - x).hypot(by - y) < 1e-8);
        }
        let flat = PlaneMap::affine([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]);
        assert_eq!(flat.back(3.0, 5.0), None);
    }

    #[test]
    fn turns_and_mirrors_are_told_apart() {
        let (sin, cos) = 30.0_f64.to_radians().sin_cos();
        let turned = PlaneMap::affine([[0.0, 1.2 * cos, -1.2 * sin], [0.0, 1.2 * sin, 1.2 * cos]]);
        let mirrored =
            PlaneMap::affine([[0.0, -1.2 * cos, -1.2 * sin], [0.0, -1.2 * sin, 1.2 * cos]]);
        for (map, expected) in [(turned, false), (mirrored, true)] {
            let (angle, scale, mirrors) = map.turn(5.0, 7.0);
            assert!((angle - 30.0).abs() < 1e-9 && (scale - 1.2).abs() < 1e-12);
            assert_eq!(mirrors, expected);
        }
    }
}
