//! What sampled rows tell of the signal in a normal matrix, without what the smallness of the sample adds.
//!
//! The normal matrix of all rows is H = S + N: S of the reference without noise, N the known bias of its noise. That of m sampled rows differs. Seen in the
//! metric of N, the n eigenvalues that are one do not come out as one, but between (1 − √γ)² and (1 + √γ)² for γ = n/m (Marchenko & Pastur 1967, Math. USSR
//! Sb. 1, 457), and one of μ > 1 + √γ comes out as μ (1 + γ/(μ − 1)) with an eigenvector that is turned (Baik & Silverstein 2006, J. Multivar. Anal. 97, 1382).
//! Subtracting N from the sample's H would take the upper half of those for signal, and leave no positive matrix for the lower half. So each eigenvalue is
//! replaced by the best that can be said of it (Donoho, Gavish & Johnstone 2018, Ann. Stat. 46, 1742): what remains is positive, and zero where there is
//! nothing but noise.

use faer::{Mat, Side};

use crate::{Cholesky, Preconditioner, SolveError};

/// A normal matrix of sampled rows.
pub(crate) struct SampledHessian {
    /// With both triangles: the functions of the kernel, then background.
    pub(crate) h: Mat<f64>,
    /// γ, the number of columns over that of rows of equal weight that are as good.
    pub(crate) ratio: f64,
}

/// What stands for the signal's eigenvalue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eigenvalue {
    /// The estimate of least squared error, zero in the noise: to judge by.
    Estimate,
    /// Without a share for the turned eigenvector, and not less than the largest signal that would not be seen: to precondition with, for whoever divides by too
    /// little goes astray.
    UpperBound,
}

impl SampledHessian {
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        Self { h: &self.h * faer::Scale(factor), ratio: self.ratio }
    }

    /// S from S + N, N over the functions of the kernel, by each of `kinds`; without N, H.
    ///
    /// # Errors
    /// [`SolveError`] if a matrix is not positive definite or holds NaN.
    pub(crate) fn signal<const N: usize>(
        &self,
        noise: Option<&Mat<f64>>,
        kinds: [Eigenvalue; N],
    ) -> Result<[Mat<f64>; N], SolveError> {
        let Some(noise) = noise else { return Ok(kinds.map(|_| self.h.clone())) };
        let (n, k) = (self.h.ncols(), noise.ncols());
        // Rows of H over N's metric, with the background, which has no noise, eliminated.
        let background = self.h.submatrix(k, k, n - k, n - k).to_owned();
        let cross = self.h.submatrix(k, 0, n - k, k).to_owned();
        let explained = if n > k {
            let mut solved = cross.clone();
            Cholesky::new(&background)?.solve_columns(&mut solved);
            cross.transpose() * solved
        } else {
            Mat::zeros(k, k)
        };
        let metric = Cholesky::new(noise)?;
        let mut whitened = self.h.submatrix(0, 0, k, k) - &explained;
        for _ in 0..2 {
            for j in 0..k {
                metric.solve_lower(whitened.col_as_slice_mut(j));
            }
            whitened = whitened.transpose().to_owned();
        }
        let eigen = whitened
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| SolveError::NonFinite { what: "the normal matrix", iteration: 0 })?;
        let turned = metric.factor() * eigen.U();
        Ok(kinds.map(|kind| {
            let eigenvalues = eigen.S().column_vector().iter();
            let mut basis = turned.clone();
            for (j, sampled) in eigenvalues.enumerate() {
                let root = kind.of_signal(*sampled, self.ratio).sqrt();
                basis.col_as_slice_mut(j).iter_mut().for_each(|b| *b *= root);
            }
            let mut signal = self.h.clone();
            let of_kernel = &basis * basis.transpose() + &explained;
            signal.submatrix_mut(0, 0, k, k).copy_from(&of_kernel);
            signal
        }))
    }
}

impl Eigenvalue {
    /// The signal's part of an eigenvalue of the sample's matrix in the metric of the noise.
    fn of_signal(self, sampled: f64, ratio: f64) -> f64 {
        let root = ratio.sqrt();
        let mut signal = 0.0;
        if sampled > (1.0 + root).powi(2) {
            let sum = sampled - 1.0 - ratio;
            // μ − 1, from ℓ = μ (1 + γ/(μ − 1)).
            signal = 0.5 * (sum + (sum * sum - 4.0 * ratio).max(0.0).sqrt());
        }
        match self {
            Self::UpperBound => signal.max(root),
            Self::Estimate if signal > root => {
                // The squared cosine between the eigenvector and its estimate.
                signal * (1.0 - ratio / (signal * signal)) / (1.0 + ratio / signal)
            }
            Self::Estimate => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use faer::{Mat, Side};
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::{Eigenvalue, SampledHessian};

    /// 30 columns of noise of variance ½ … 2, five of them with a signal, and a background without noise; 900 rows.
    fn drawn(seed: u64) -> (SampledHessian, Mat<f64>, Mat<f64>) {
        let (n, k, m) = (31, 30, 900);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let noise =
            Mat::from_fn(k, k, |i, j| if i == j { 0.5 + 1.5 * i as f64 / 29.0 } else { 0.0 });
        let strength = |j: usize| if j < 5 { 20.0 / (1 + j * j) as f64 } else { 0.0 };
        let mut signal = Mat::<f64>::zeros(n, n);
        (0..5).for_each(|j| signal[(j, j)] = strength(j) * m as f64);
        signal[(k, k)] = m as f64;
        let mut rows = Mat::<f64>::zeros(m, n);
        for i in 0..m {
            for j in 0..k {
                let [s, r]: [f64; 2] = [0; 2].map(|_| StandardNormal.sample(&mut rng));
                rows[(i, j)] = strength(j).sqrt() * s + noise[(j, j)].sqrt() * r;
            }
            rows[(i, k)] = 1.0;
        }
        let h = rows.transpose() * &rows;
        (SampledHessian { h, ratio: k as f64 / m as f64 }, noise * faer::Scale(m as f64), signal)
    }

    #[test]
    fn what_is_left_is_the_signal_and_nearer_to_it_than_a_difference() {
        for seed in 0..4 {
            let (sampled, noise, signal) = drawn(seed);
            let [estimate] = sampled.signal(Some(&noise), [Eigenvalue::Estimate]).unwrap();
            // In the columns without a signal, where a difference leaves 30 (30 + 1)/m of the noise's square.
            let left = |h: &Mat<f64>| h.submatrix(5, 5, 25, 25).squared_norm_l2();
            let mut difference = sampled.h.clone();
            for j in 0..30 {
                difference[(j, j)] -= noise[(j, j)];
            }
            assert!(left(&estimate) < 0.05 * left(&difference), "seed {seed}");
            // Where there is one, the sample's own scatter, √(2/m) = 5 %, is left: five of that.
            for j in 0..3 {
                let ratio = estimate[(j, j)] / signal[(j, j)];
                assert!((ratio - 1.0).abs() < 0.25, "seed {seed}, column {j}: {ratio}");
            }
            let eigen = estimate.self_adjoint_eigen(Side::Lower).unwrap();
            assert!(eigen.S().column_vector().iter().all(|l| *l > -1e-9 * signal[(0, 0)]));
        }
    }

    #[test]
    fn no_step_of_its_upper_bound_goes_further_than_twice_to_the_minimum() {
        let (sampled, noise, signal) = drawn(7);
        let [p] = sampled.signal(Some(&noise), [Eigenvalue::UpperBound]).unwrap();
        // The eigenvalues of P⁻¹S stay below two where those of 2P − S are positive.
        let twice = p * faer::Scale(2.0) - signal;
        let eigen = twice.self_adjoint_eigen(Side::Lower).unwrap();
        assert!(eigen.S().column_vector().iter().all(|l| *l > 0.0));
    }

    #[test]
    fn an_eigenvalue_is_that_which_the_sample_moved() {
        let (ratio, signal): (f64, f64) = (0.04, 0.7);
        let sampled = (1.0 + signal) * (1.0 + ratio / signal);
        let bound = Eigenvalue::UpperBound.of_signal(sampled, ratio);
        assert!((bound - signal).abs() < 1e-12);
        assert!(Eigenvalue::Estimate.of_signal(sampled, ratio) < signal);
        // Below the edge there is nothing, at most what would not be seen.
        assert_eq!(Eigenvalue::Estimate.of_signal(1.43, ratio), 0.0);
        assert_eq!(Eigenvalue::UpperBound.of_signal(1.43, ratio), 0.2);
    }
}
