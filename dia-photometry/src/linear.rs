//! Linear sums of a difference and their exact covariances.

use dia_core::Kernel;

use crate::Scene;
use crate::filter::through_kernel;

/// Weights w(u) of D(p + u), zero where the difference is missing, with what they are for the reference and for the fit.
#[derive(Clone, Debug)]
pub(crate) struct LinearSum {
    y: usize,
    x: usize,
    weights: Kernel,
    /// c = 𝒦ᵀ w: −R(p + v) is in the sum with this weight.
    through: Kernel,
    /// a = Aᵀ w over all pixels, and over those that the fit saw; empty without a covariance of the fit.
    functional: Vec<f64>,
    fitted: Vec<f64>,
}

impl LinearSum {
    pub(crate) fn new(
        scene: &Scene<'_>,
        y: usize,
        x: usize,
        weights: Kernel,
        kernel: &Kernel,
    ) -> Self {
        let through = through_kernel(&weights, kernel);
        let (functional, fitted) = if scene.covariance.is_some() {
            let of =
                |weights: &Kernel| functional(scene, y, x, weights, &light(scene, y, x, weights));
            let seen = masked(&weights, |dy, dx| scene.is_fitted(y as isize + dy, x as isize + dx));
            (of(&weights), of(&seen))
        } else {
            (Vec::new(), Vec::new())
        };
        Self { y, x, weights, through, functional, fitted }
    }

    /// Σ_u w(u) D(p + u).
    pub(crate) fn value(&self, scene: &Scene<'_>) -> f64 {
        self.sum(&self.weights, |dy, dx, y, x| {
            self.weights.at(dy, dx) * scene.difference_at(y, x).unwrap_or(0.0)
        })
    }

    /// The covariance of two sums around the same pixel: Σ w_a w_b V_n + Σ c_a c_b V_r, and of the fit aᵀH⁻¹b − a_uᵀH⁻¹b − aᵀH⁻¹b_u.
    ///
    /// Of the fit: D = y − A H⁻¹A_uᵀ W y with A_u the rows that it used, and W C = 1 there. Where the fit did not look, its error adds to that of the difference;
    /// where it did, it took the same away.
    pub(crate) fn covariance(&self, scene: &Scene<'_>, other: &Self) -> f64 {
        let target = self.sum(&self.weights, |dy, dx, y, x| {
            self.weights.at(dy, dx) * other.weights.at(dy, dx) * scene.target_variance_at(y, x)
        });
        let reference = self.sum(&self.through, |dy, dx, y, x| {
            self.through.at(dy, dx) * other.through.at(dy, dx) * scene.reference_variance_at(y, x)
        });
        let fit = scene.covariance.map_or(0.0, |covariance| {
            covariance.product(&self.functional, &other.functional)
                - covariance.product(&self.fitted, &other.functional)
                - covariance.product(&self.functional, &other.fitted)
        });
        target + reference + fit
    }

    /// The covariance with a sum over the reference's pixels of `weights` around (y, x): −Σ w_r c V_r.
    pub(crate) fn reference_covariance(
        &self,
        scene: &Scene<'_>,
        y: usize,
        x: usize,
        weights: &Kernel,
    ) -> f64 {
        let (up, left) = (y as isize - self.y as isize, x as isize - self.x as isize);
        let h = weights.half_width() as isize;
        -self.sum(&self.through, |dy, dx, py, px| {
            let (wy, wx) = (dy - up, dx - left);
            let inside = wy.abs() <= h && wx.abs() <= h;
            if inside {
                self.through.at(dy, dx) * weights.at(wy, wx) * scene.reference_variance_at(py, px)
            } else {
                0.0
            }
        })
    }

    fn sum(&self, support: &Kernel, term: impl Fn(isize, isize, isize, isize) -> f64) -> f64 {
        let (y, x) = (self.y as isize, self.x as isize);
        offsets(support).map(|(dy, dx)| term(dy, dx, y + dy, x + dx)).sum()
    }
}

/// The offsets of a kernel's pixels.
pub(crate) fn offsets(kernel: &Kernel) -> impl Iterator<Item = (isize, isize)> + use<> {
    let h = kernel.half_width() as isize;
    (-h..=h).flat_map(move |dy| (-h..=h).map(move |dx| (dy, dx)))
}

/// The kernel with zeros where `keep` is false.
pub(crate) fn masked(kernel: &Kernel, keep: impl Fn(isize, isize) -> bool) -> Kernel {
    Kernel::from_fn(
        kernel.half_width(),
        |dy, dx| if keep(dy, dx) { kernel.at(dy, dx) } else { 0.0 },
    )
}

/// The sum of the products of two kernels of one size.
pub(crate) fn dot(a: &Kernel, b: &Kernel) -> f64 {
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a * b).sum()
}

/// Σ_u w(u) R(p + u − k) for all k of the fitted kernel.
fn light(scene: &Scene<'_>, y: usize, x: usize, weights: &Kernel) -> Kernel {
    Kernel::from_fn(scene.design.half_width(), |ky, kx| {
        let at = |dy, dx| scene.reference_at(y as isize + dy - ky, x as isize + dx - kx);
        offsets(weights).zip(weights.pixels()).map(|((dy, dx), w)| w * at(dy, dx)).sum()
    })
}

/// a with aᵀ x = Σ_u w(u) M(p + u); the polynomials of kernel and background are those at p, which hardly vary over the weights.
fn functional(scene: &Scene<'_>, y: usize, x: usize, weights: &Kernel, light: &Kernel) -> Vec<f64> {
    let design = scene.design;
    let mut a = vec![0.0; design.ncols()];
    let mut terms = vec![0.0; design.variation().len()];
    design.variation().evaluate(y, x, &mut terms);
    let gradients: Vec<f64> =
        terms.iter().flat_map(|t| light.pixels().iter().map(move |light| t * light)).collect();
    design.project(&gradients, &mut a);
    if let Some(background) = design.background() {
        let of_background = design.split_mut(&mut a).1;
        background.evaluate(y, x, of_background);
        let sum = weights.photometric_scale();
        for phi in of_background {
            *phi *= sum;
        }
    }
    a
}

/// The fit's term of the variance of Σ_u w(u) D(p + u) for weights that need no mask: see [`LinearSum::covariance`].
pub(crate) fn fit_term(scene: &Scene<'_>, y: usize, x: usize, weights: &Kernel) -> f64 {
    let Some(covariance) = scene.covariance else { return 0.0 };
    let weights =
        masked(weights, |dy, dx| scene.difference_at(y as isize + dy, x as isize + dx).is_some());
    let a = functional(scene, y, x, &weights, &light(scene, y, x, &weights));
    let power = |keep: &dyn Fn(isize, isize) -> bool| {
        let kept = masked(&weights, |dy, dx| keep(y as isize + dy, x as isize + dx));
        dot(&kept, &kept)
    };
    let seen = power(&|y, x| scene.is_fitted(y, x)) / power(&|_, _| true);
    covariance.product(&a, &a) * (1.0 - 2.0 * seen)
}

/// The inverse of a small matrix by elimination with pivots; `None` if it is singular to rounding.
pub(crate) fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = matrix.len();
    let mut rows: Vec<Vec<f64>> = matrix.to_vec();
    for (i, row) in rows.iter_mut().enumerate() {
        row.extend((0..n).map(|j| f64::from(u8::from(i == j))));
    }
    let largest = matrix.iter().flatten().fold(0.0_f64, |most, v| most.max(v.abs()));
    for column in 0..n {
        let pivot =
            (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        rows.swap(column, pivot);
        let value = rows[column][column];
        if !value.is_finite() || value.abs() <= 1e-13 * largest {
            return None;
        }
        rows[column].iter_mut().for_each(|v| *v /= value);
        let pivot_row = rows[column].clone();
        for (i, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column];
            debug_assert_ne!(i, column);
            row.iter_mut().zip(&pivot_row).for_each(|(v, p)| *v -= factor * p);
        }
    }
    Some(rows.into_iter().map(|row| row[n..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::inverse;

    #[test]
    fn an_inverse_undoes_its_matrix_and_a_singular_one_has_none() {
        let matrix = vec![vec![0.0, 2.0, 1.0], vec![1.0, -1.0, 0.0], vec![3.0, 0.0, 4.0]];
        let inverse_matrix = inverse(&matrix).unwrap();
        let product = |i: usize, j: usize| -> f64 {
            matrix[i].iter().zip(&inverse_matrix).map(|(a, row)| a * row[j]).sum()
        };
        for i in 0..3 {
            for j in 0..3 {
                // Condition number below 20.
                assert!((product(i, j) - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
        assert!(inverse(&[vec![1.0, 2.0], vec![2.0, 4.0]]).is_none());
    }
}
