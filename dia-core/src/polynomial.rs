//! Two-dimensional polynomials on the image, with every cross term.

use crate::simd::widest;

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

    /// Where the term of powers (i, j) stands in that order.
    pub fn place(i: usize, j: usize) -> usize {
        Self::terms(i + j) - 1 - i
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

    /// Σ_j c_ij P_j(y) for each i, from which the polynomial follows in d multiplications a pixel.
    pub fn in_row(&self, coefficients: &[f64], y: usize) -> Vec<f64> {
        let mut q = vec![0.0; self.degree + 1];
        for ((i, j), c) in self.powers().zip(coefficients) {
            q[i] += c * self.rows[j][y];
        }
        q
    }

    /// Gives `update` each of the `values` with that of the polynomial there: the columns from `first` on of the row of [`in_row`](Self::in_row).
    pub(crate) fn along_row<T>(
        &self,
        in_row: &[f64],
        first: usize,
        values: &mut [T],
        update: impl Fn(&mut T, f64),
    ) {
        /// Columns at a time.
        const BLOCK: usize = 64;
        widest(
            #[inline(always)]
            || {
                for (k, values) in values.chunks_mut(BLOCK).enumerate() {
                    let mut sums = [0.0; BLOCK];
                    for (q, p) in in_row.iter().zip(&self.columns) {
                        let p = &p[first + k * BLOCK..][..values.len()];
                        sums.iter_mut().zip(p).for_each(|(sum, p)| *sum += q * p);
                    }
                    values.iter_mut().zip(sums).for_each(|(value, sum)| update(value, sum));
                }
            },
        );
    }

    /// The product of two of the terms as a sum Σ factor φ_term of those of twice the degree.
    pub fn product(&self, s: usize, t: usize) -> Vec<(usize, f64)> {
        let powers: Vec<_> = self.powers().collect();
        let ((a, b), (c, d)) = (powers[s], powers[t]);
        let in_x = legendre_product(a, c);
        let in_y = legendre_product(b, d);
        let terms = in_x.iter().flat_map(|(i, f)| in_y.iter().map(move |(j, g)| ((*i, *j), f * g)));
        terms.map(|((i, j), factor)| (Self::place(i, j), factor)).collect()
    }

    /// P_i at every column of the image.
    pub fn factors_x(&self, i: usize) -> &[f64] {
        &self.columns[i]
    }

    /// P_j at every row of the image.
    pub fn factors_y(&self, j: usize) -> &[f64] {
        &self.rows[j]
    }
}

/// P_m P_n = Σ factor P_degree (Adams 1878, Proc. R. Soc. London 27, 63).
fn legendre_product(m: usize, n: usize) -> Vec<(usize, f64)> {
    // A_r = (2r − 1)!!/r!
    let a = |r: usize| (1..=r).map(|k| (2 * k - 1) as f64 / k as f64).product::<f64>();
    (0..=m.min(n))
        .map(|r| {
            let (all, degree) = (m + n - r, m + n - 2 * r);
            let factor = a(r) * a(m - r) * a(n - r) / a(all) * (2 * degree + 1) as f64
                / (2 * all + 1) as f64;
            (degree, factor)
        })
        .collect()
}

/// The highest total degree that is offered: that of a background of 153 terms, which follows what is wider than a tenth of the image.
pub const MAX_DEGREE: usize = 16;

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
        assert_eq!(polynomial.factors_x(2)[2] * polynomial.factors_y(0)[3], terms[3]);
        assert!(polynomial.powers().map(|(i, j)| Polynomial2d::place(i, j)).eq(0..6));
    }

    #[test]
    fn products_are_sums_of_terms() {
        let (low, high) = (Polynomial2d::new(4, 7, 9), Polynomial2d::new(8, 7, 9));
        let (mut a, mut b) = (vec![0.0; low.len()], vec![0.0; high.len()]);
        for (y, x) in [(0, 0), (2, 7), (5, 3)] {
            low.evaluate(y, x, &mut a);
            high.evaluate(y, x, &mut b);
            for s in 0..low.len() {
                for t in 0..low.len() {
                    let sum: f64 = low.product(s, t).iter().map(|(k, f)| f * b[*k]).sum();
                    // At most 25 terms, |φ| ≤ 1 and Σ factors = 1.
                    assert!((sum - a[s] * a[t]).abs() < 1e-14, "{s} {t}");
                }
            }
        }
    }

    #[test]
    fn a_single_pixel_axis_is_at_zero() {
        let polynomial = Polynomial2d::new(1, 1, 1);
        assert_eq!(polynomial.value(&[2.0, 3.0, 4.0], 0, 0), 2.0);
    }
}
