//! Functions through measured points that scatter by more than their errors.

use dia_core::robust::median_and_scatter;

/// A measured number and the variance of its noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) value: f64,
    pub(super) variance: f64,
}

/// How points scatter beyond their noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scatter {
    /// At least by this.
    pub(super) least: f64,
    /// Those that are so many σ off count half, and those very far off do not count (Cauchy's weights).
    pub(super) far: f64,
}

/// The weighted mean of some functions that goes through points: in an orthonormal basis, so that the error of every sum of them is one of squares.
#[derive(Debug)]
pub(super) struct Fit {
    /// The values at the points of functions that are orthonormal by the weights, point by point.
    basis: Vec<Vec<f64>>,
    coefficients: Vec<f64>,
    /// By how much errors are larger than the scatter says, since the functions took some of it.
    wider: f64,
    /// The number of points of equal weights that would tell as much of the scatter.
    pub(super) effective: f64,
}

impl Fit {
    /// How much the function is higher at point `i` than at point `j`, and the error of that.
    pub(super) fn difference(&self, i: usize, j: usize) -> (f64, f64) {
        let (mut value, mut variance) = (0.0, 0.0);
        for ((a, b), c) in self.basis[i].iter().zip(&self.basis[j]).zip(&self.coefficients) {
            value += (a - b) * c;
            variance += (a - b).powi(2);
        }
        (value, self.wider * variance.sqrt())
    }

    /// The value at point `i`.
    fn at(&self, i: usize) -> f64 {
        self.basis[i].iter().zip(&self.coefficients).map(|(q, c)| q * c).sum()
    }

    /// The points where the function is lowest and highest.
    pub(super) fn extremes(&self) -> Option<(usize, usize)> {
        let points = || 0..self.basis.len();
        let order = |i: &usize, j: &usize| self.at(*i).total_cmp(&self.at(*j));
        Some((points().min_by(order)?, points().max_by(order)?))
    }
}

/// Fits a sum of functions, whose values at point i are `functions[i]`, by errors that hold what the points scatter beyond noise. `None` unless there are more
/// points than functions, and if they do not tell the functions apart.
pub(super) fn fit(
    functions: &[Vec<f64>],
    points: &[Measured],
    Scatter { least, far }: Scatter,
) -> Option<Fit> {
    let (count, unknowns) = (points.len(), functions.first()?.len());
    if count <= unknowns {
        return None;
    }
    let weight = |variance: f64| (variance + least * least).recip();
    let mut weights: Vec<f64> = points.iter().map(|point| weight(point.variance)).collect();
    let mut found = None;
    for _ in 0..10 {
        let fit = weighted(functions, points, &weights)?;
        let off: Vec<f64> = (0..count).map(|i| points[i].value - fit.at(i)).collect();
        let floor = floor(&off, points, least)?;
        for ((weight, off), point) in weights.iter_mut().zip(&off).zip(points) {
            let variance = point.variance + floor * floor;
            *weight = (variance + (off / far).powi(2)).recip();
        }
        found = Some(fit);
    }
    found
}

/// By which points scatter beyond noise: with it, the pulls have a scatter of one.
fn floor(off: &[f64], points: &[Measured], least: f64) -> Option<f64> {
    let (mut floor, mut above) = (least, 1.0);
    for _ in 0..20 {
        let middle = 0.5 * (floor + above);
        let pulls = off.iter().zip(points);
        let pulls = pulls.map(|(off, point)| off / (point.variance + middle * middle).sqrt());
        let (_, scatter) = median_and_scatter(pulls)?;
        *(if scatter > 1.0 { &mut floor } else { &mut above }) = middle;
    }
    Some(floor)
}

/// By modified Gram-Schmidt orthogonalisation.
fn weighted(functions: &[Vec<f64>], points: &[Measured], weights: &[f64]) -> Option<Fit> {
    let (count, unknowns) = (points.len(), functions[0].len());
    let mut basis = functions.to_vec();
    let product = |basis: &[Vec<f64>], k: usize, l: usize| -> f64 {
        basis.iter().zip(weights).map(|(q, w)| w * q[k] * q[l]).sum()
    };
    for k in 0..unknowns {
        let before = product(&basis, k, k);
        for l in 0..k {
            let along = product(&basis, k, l);
            for q in &mut basis {
                q[k] -= along * q[l];
            }
        }
        let norm = product(&basis, k, k);
        // Of double precision, half of the digits are left.
        if norm.is_nan() || norm <= 1e-8 * before {
            return None;
        }
        for q in &mut basis {
            q[k] /= norm.sqrt();
        }
    }
    let coefficient = |k: usize| -> f64 {
        basis.iter().zip(weights).zip(points).map(|((q, w), point)| w * q[k] * point.value).sum()
    };
    let coefficients: Vec<f64> = (0..unknowns).map(coefficient).collect();
    let wider = (count as f64 / (count - unknowns) as f64).sqrt();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    let effective = weights.iter().sum::<f64>().powi(2) / squares;
    let is_known = coefficients.iter().all(|c| c.is_finite());
    is_known.then_some(Fit { basis, coefficients, wider, effective })
}

#[cfg(test)]
mod tests {
    use super::{Measured, Scatter, fit};

    const SCATTER: Scatter = Scatter { least: 1e-3, far: 2.4 };

    /// Twelve uniform numbers added up, less their mean, have a variance of one.
    fn gaussian(state: &mut u64) -> f64 {
        let mut uniform = || {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*state >> 40) as f64 / (1 << 24) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }

    #[test]
    fn errors_are_those_of_where_the_points_are() {
        // In the corner of a unit square, a tenth of its side wide: slopes have an error ten times that of points all over it, and differences between points none of that.
        let mut state = 7;
        let (mut pulls, mut far) = (Vec::new(), 0);
        for _ in 0..200 {
            let places: Vec<(f64, f64)> =
                (0..40).map(|i| (f64::from(i % 7) / 70.0, f64::from(i * 5 % 11) / 110.0)).collect();
            let functions: Vec<Vec<f64>> =
                places.iter().map(|(x, y)| vec![1.0, *x, *y, x * x, x * y, y * y]).collect();
            let points: Vec<Measured> = places
                .iter()
                .map(|(x, y)| Measured {
                    // One in twenty is far off.
                    value: 0.3 * x - 0.2 * y
                        + 0.02 * gaussian(&mut state)
                        + if (1000.0 * x) as usize == 71 && *y < 0.02 { 0.5 } else { 0.0 },
                    variance: 1e-4,
                })
                .collect();
            let found = fit(&functions, &points, SCATTER).unwrap();
            let (off, error) = found.difference(3, 22);
            let ((x, y), (x0, y0)) = (places[3], places[22]);
            pulls.push((off - 0.3 * (x - x0) + 0.2 * (y - y0)) / error);
            let (low, high) = found.extremes().unwrap();
            let (range, error) = found.difference(high, low);
            far += usize::from(range > 0.03 + 4.0 * error);
        }
        // 200 pulls: their variance is known to 10 %, and that of the robust scatter of 40 values adds another 20 %.
        let variance = pulls.iter().map(|z| z * z).sum::<f64>() / pulls.len() as f64;
        assert!((0.6..1.4).contains(&variance), "{variance}");
        assert!(far <= 1, "{far}");
    }

    #[test]
    fn what_points_cannot_tell_apart_is_not_fitted() {
        let points = [Measured { value: 1.0, variance: 1.0 }; 8];
        let on_a_line: Vec<Vec<f64>> =
            (0..8).map(|i| vec![1.0, f64::from(i), f64::from(2 * i)]).collect();
        assert!(fit(&on_a_line, &points, SCATTER).is_none());
        assert!(fit(&on_a_line[..2], &points[..2], SCATTER).is_none());
    }
}
