//! The Gaussian that fits a star.

use std::f64::consts::LN_2;

use super::{Field, Peak, THRESHOLD, UNUSABLE};
use crate::Pixel;
use crate::robust::median;

/// The logarithm is fitted out to this many widths from the maximum, where a Gaussian has fallen to 0.37.
const FIT_RADIUS: f64 = 0.6;

/// The Gaussian that fits a star, pixels included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Its maximum (y, x) in pixels, and its height above the sky in ADU.
    pub(super) centre: [f64; 2],
    pub(super) height: f64,
    /// The geometric mean of the full widths at half maximum along both axes, in pixels.
    pub(super) width: f64,
    /// As in [`Seeing`].
    pub(super) covariance: [f64; 3],
}

impl<T: Pixel> Field<'_, T> {
    /// The fitted shape of a star, and whether it stands alone.
    ///
    /// `typical` is about the width of all of them, and `long` that along their longer axis.
    pub(super) fn fitted_shape(
        &self,
        peak: &Peak,
        typical: f64,
        long: f64,
    ) -> Option<(Shape, bool)> {
        let (core, inner, outer) = (FIT_RADIUS * typical, 2.5 * long, 3.5 * long);
        let pixels = |radius: f64| {
            let reach = radius.ceil() as usize;
            let (height, width) = self.image.shape();
            let rows = peak.y.saturating_sub(reach)..height.min(peak.y + reach + 1);
            let columns = peak.x.saturating_sub(reach)..width.min(peak.x + reach + 1);
            rows.flat_map(move |y| columns.clone().map(move |x| (y, x))).filter_map(
                move |(y, x)| {
                    let (dy, dx) = (y as f64 - peak.y as f64, x as f64 - peak.x as f64);
                    (dy * dy + dx * dx <= radius * radius).then_some((y, x, dy, dx))
                },
            )
        };
        let beyond = |radius: f64, dy: f64, dx: f64| dy * dy + dx * dx > radius * radius;
        let usable = |y, x| !self.mask.at(y, x).intersects(UNUSABLE);
        let mut ring: Vec<f64> = pixels(outer)
            .filter(|&(y, x, dy, dx)| beyond(inner, dy, dx) && usable(y, x))
            .map(|(y, x, ..)| self.at(y, x))
            .filter(|v| v.is_finite())
            .collect();
        let background = median(&mut ring)?;
        let height = peak.height - background;
        if height < THRESHOLD * self.scatter {
            return None;
        }
        // What stays below the noise cannot be seen, nor does it matter.
        let limit = (0.2 * height).max(4.0 * self.scatter);
        let isolated = pixels(2.0 * long)
            .filter(|&(y, x, dy, dx)| beyond(1.2 * long, dy, dx) && usable(y, x))
            .all(|(y, x, ..)| self.at(y, x) - background < limit);

        // Least squares for ln v, whose σ is that of v over v: the weight of a pixel is v².
        let mut normal = [[0.0; 7]; 6];
        for (y, x, dy, dx) in pixels(core.max(1.5)) {
            let v = (self.at(y, x) - background) / height;
            if v.is_nan() || v < 0.1 || !usable(y, x) {
                continue;
            }
            let weight = v.powi(4);
            let terms = [1.0, dx, dy, dx * dx, dx * dy, dy * dy, v.ln()];
            for (row, term) in normal.iter_mut().zip(terms) {
                for (sum, other) in row.iter_mut().zip(terms) {
                    *sum += weight * term * other;
                }
            }
        }
        let [c, gx, gy, xx, xy, yy] = solve(normal)?;
        let determinant = xx * yy - 0.25 * xy * xy;
        let maximum = xx < 0.0 && determinant > 0.0;
        // Where g + 2 A d, here of −A, is zero.
        let dx = (0.5 * xy * gy - yy * gx) / (2.0 * determinant);
        let dy = (0.5 * xy * gx - xx * gy) / (2.0 * determinant);
        let centre = [peak.y as f64 + dy, peak.x as f64 + dx];
        let height = height * (c + 0.5 * (gx * dx + gy * dy)).exp();
        // The inverse of twice A.
        let covariance = [-yy, 0.5 * xy, -xx].map(|element| 0.5 * element / determinant);
        let width = 2.0 * LN_2.sqrt() * determinant.powf(-0.25);
        maximum.then_some((Shape { centre, height, width, covariance }, isolated))
    }
}

/// Solves a symmetric positive system of 6 equations by elimination; the last column is the right-hand side.
fn solve(mut rows: [[f64; 7]; 6]) -> Option<[f64; 6]> {
    for k in 0..6 {
        let pivot_row = rows[k];
        if pivot_row[k].is_nan() || pivot_row[k] <= 0.0 {
            return None;
        }
        for row in &mut rows[k + 1..] {
            let factor = row[k] / pivot_row[k];
            for (element, pivot) in row.iter_mut().zip(pivot_row) {
                *element -= factor * pivot;
            }
        }
    }
    let mut solution = [0.0; 6];
    for k in (0..6).rev() {
        let known: f64 = (k + 1..6).map(|j| rows[k][j] * solution[j]).sum();
        solution[k] = (rows[k][6] - known) / rows[k][k];
    }
    Some(solution)
}
