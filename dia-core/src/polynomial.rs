//! Two-dimensional polynomials on the image, with every cross term.

use std::ops::Range;

use crate::Pixel;

/// The polynomials P_i(x) P_j(y) with i + j ≤ degree on coordinates scaled to [−1, 1].
///
/// P_i is the Legendre polynomial of degree i, |P_i| ≤ 1: the coefficients have the units of the
/// quantity, and the first one is its mean over the image. Terms are ordered by total degree, and
/// within one degree by falling power of x: 1, x, y, P₂(x), xy, P₂(y), …
///
/// The scaled coordinate of column x in an image of W columns is (2x − (W − 1)) / (W − 1), so the
/// outermost pixel centres are at ±1; the only pixel of a one-pixel axis is at 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial2d {
    degree: usize,
    /// P_i at each column: `columns[i][x]`.
    columns: Vec<Vec<f64>>,
    /// P_j at each row: `rows[j][y]`.
    rows: Vec<Vec<f64>>,
}

impl Polynomial2d {
    /// The polynomials up to a total `degree` on an image of `height` × `width` pixels.
    pub fn new(degree: usize, height: usize, width: usize) -> Self {
        Self { degree, columns: legendre(degree, width), rows: legendre(degree, height) }
    }

    /// Number of terms, (d + 1)(d + 2) / 2.
    pub fn len(&self) -> usize {
        Self::terms(self.degree)
    }

    /// Never: a constant is always among the terms.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Number of terms of a given total degree: (d + 1)(d + 2) / 2.
    pub fn terms(degree: usize) -> usize {
        (degree + 1) * (degree + 2) / 2
    }

    /// The total degree.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The powers (i, j) of each term, in order.
    pub fn powers(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        (0..=self.degree).flat_map(|total| (0..=total).map(move |j| (total - j, j)))
    }

    /// Writes the value of every term at pixel (y, x) to `terms`.
    pub fn evaluate(&self, y: usize, x: usize, terms: &mut [f64]) {
        for (term, (i, j)) in terms.iter_mut().zip(self.powers()) {
            *term = self.columns[i][x] * self.rows[j][y];
        }
    }

    /// The value of Σ c_k φ_k at pixel (y, x).
    pub fn value(&self, coefficients: &[f64], y: usize, x: usize) -> f64 {
        self.powers()
            .zip(coefficients)
            .map(|((i, j), c)| c * self.columns[i][x] * self.rows[j][y])
            .sum()
    }

    /// Σ c_k φ_k in row `y`, where it is a polynomial in x alone.
    #[inline(always)]
    pub fn in_row(&self, coefficients: &[f64], y: usize) -> RowPolynomial<'_> {
        // q_i = Σ_j c_ij P_j(y)
        let mut q = [0.0; MAX_DEGREE + 1];
        // Plain loops, for they run in the innermost loops of the products.
        let mut k = 0;
        for total in 0..=self.degree {
            for j in 0..=total {
                q[total - j] += coefficients[k] * self.rows[j][y];
                k += 1;
            }
        }
        RowPolynomial { columns: &self.columns, q }
    }

    /// Room for the moments of an image that arrives row by row: the adjoint of [`in_row`](Self::in_row).
    pub fn column_moments(&self) -> ColumnMoments {
        let width = self.columns[0].len();
        ColumnMoments { sums: vec![0.0; (self.degree + 1) * width], width }
    }

    /// Adds `values`, those at `columns` of row `y`, to the moments.
    #[inline(always)]
    pub fn add_row<T: Pixel>(
        &self,
        values: &[T],
        y: usize,
        columns: Range<usize>,
        moments: &mut ColumnMoments,
    ) {
        for (sums, p) in moments.sums.chunks_exact_mut(moments.width).zip(&self.rows) {
            let p = p[y];
            for (sum, v) in sums[columns.clone()].iter_mut().zip(values) {
                *sum += p * v.widen();
            }
        }
    }

    /// Adds Σ v(x, y) φ_k(x, y) over all rows that were added to each `sums[k]`.
    pub fn add_moments(&self, moments: &ColumnMoments, sums: &mut [f64]) {
        for ((i, j), sum) in self.powers().zip(sums) {
            let line = &moments.sums[j * moments.width..(j + 1) * moments.width];
            *sum += line.iter().zip(&self.columns[i]).map(|(s, p)| s * p).sum::<f64>();
        }
    }
}

/// Σ_y v(x, y) P_j(y) of every column x and each j, over the rows added so far. Sums along rows come last: they do not
/// vectorise, and there is one per image instead of one per row.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnMoments {
    /// j is the slow index.
    sums: Vec<f64>,
    width: usize,
}

impl ColumnMoments {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.sums.fill(0.0);
    }
}

/// A polynomial restricted to one row of the image: Σ_i q_i P_i(x).
#[derive(Clone, Debug)]
pub struct RowPolynomial<'a> {
    columns: &'a [Vec<f64>],
    q: [f64; MAX_DEGREE + 1],
}

impl RowPolynomial<'_> {
    /// Adds its value at each of the `columns` to `values`.
    #[inline(always)]
    pub fn add_to<T: Pixel>(&self, values: &mut [T], columns: Range<usize>) {
        // P_0 = 1
        let constant = T::narrow(self.q[0]);
        for v in values.iter_mut() {
            *v += constant;
        }
        for (q, p) in self.q.iter().zip(self.columns).skip(1) {
            for (v, p) in values.iter_mut().zip(&p[columns.clone()]) {
                *v += T::narrow(q * p);
            }
        }
    }
}

/// The highest total degree that is offered; beyond it, pixels of an image are no well-posed support.
pub const MAX_DEGREE: usize = 9;

/// P_0 … P_degree at `points` equidistant places on [−1, 1], by Bonnet's recurrence.
fn legendre(degree: usize, points: usize) -> Vec<Vec<f64>> {
    assert!(degree <= MAX_DEGREE, "polynomials are offered up to degree {MAX_DEGREE}");
    let last = points.saturating_sub(1) as f64;
    let scaled = |i: usize| if points > 1 { (2.0 * i as f64 - last) / last } else { 0.0 };
    let mut p: Vec<Vec<f64>> = vec![vec![1.0; points]];
    for n in 0..degree {
        let k = n as f64;
        // (n + 1) P_{n+1} = (2n + 1) t P_n − n P_{n−1}
        let next = (0..points)
            .map(|i| {
                let below = if n > 0 { p[n - 1][i] } else { 0.0 };
                ((2.0 * k + 1.0) * scaled(i) * p[n][i] - k * below) / (k + 1.0)
            })
            .collect();
        p.push(next);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::Polynomial2d;

    #[test]
    fn terms_are_legendre_products_with_every_cross_term() {
        let polynomial = Polynomial2d::new(2, 5, 3);
        let mut terms = [f64::NAN; 6];
        polynomial.evaluate(3, 2, &mut terms);
        // x = 1, y = 0.5: 1, x, y, P₂(x) = 1, xy, P₂(y) = (3/4 − 1)/2. All values are exact in binary.
        assert_eq!(terms, [1.0, 1.0, 0.5, 1.0, 0.5, -0.125]);
        let coefficients = [3.0, -2.0, 5.0, 0.25, 1.0, 8.0];
        let expected: f64 = terms.iter().zip(coefficients).map(|(t, c)| t * c).sum();
        assert!((polynomial.value(&coefficients, 3, 2) - expected).abs() < 1e-14);
        let mut row = [1.0];
        polynomial.in_row(&coefficients, 3).add_to(&mut row, 2..3);
        assert!((row[0] - 1.0 - expected).abs() < 1e-14);
    }

    #[test]
    fn moments_are_the_adjoint_of_row_values() {
        let polynomial = Polynomial2d::new(3, 6, 17);
        let c: Vec<f64> = (0..10).map(|k| 0.3 * f64::from(k) - 1.0).collect();
        let mut columns = polynomial.column_moments();
        let mut forward = 0.0;
        for y in 1..5 {
            let v: Vec<f64> = (0..13).map(|k| 1.0 - 0.2 * f64::from(k) * y as f64).collect();
            let mut row = [0.0; 13];
            polynomial.in_row(&c, y).add_to(&mut row, 2..15);
            forward += row.iter().zip(&v).map(|(r, v)| r * v).sum::<f64>();
            polynomial.add_row(&v, y, 2..15, &mut columns);
        }
        let mut moments = [0.0; 10];
        polynomial.add_moments(&columns, &mut moments);
        let adjoint: f64 = moments.iter().zip(&c).map(|(m, c)| m * c).sum();
        // 4 · 130 products of size < 4 · 10, each rounded a few times.
        assert!((forward - adjoint).abs() < 520.0 * 40.0 * 4.0 * f64::EPSILON);
    }

    #[test]
    fn a_single_pixel_axis_is_at_zero() {
        let polynomial = Polynomial2d::new(1, 1, 1);
        assert_eq!(polynomial.value(&[2.0, 3.0, 4.0], 0, 0), 2.0);
    }
}
