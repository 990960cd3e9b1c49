//! Loss functions ρ of the normalised residual z = (I − M)/σ, and their weights for reweighted least squares.
//!
//! The set is closed, because every back end computes the weights in its own vector code; with ρ, ψ and ψ(z)/z beside each other here for all of
//! them to be compared with.

use std::f64::consts::PI;

use crate::{ModelError, Pixel};

/// What the fit minimises, Σ ρ(z): ψ = dρ/dz, and the weight of a pixel in the next pass is ψ(z)/z.
///
/// All but the Gaussian loss limit the influence of outliers; the efficiency is what is left of the information if the noise is
/// Gaussian after all, see [`efficiency`](Self::efficiency). Those that redescend (all but Gaussian and Huber) give outliers no influence
/// at all, or hardly any, but may have several minima: a fit starts from Huber's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// ρ = z²/2: least squares.
    Gaussian,
    /// ρ = z²/2 for |z| ≤ c, c(|z| − c/2) beyond (Huber 1964, Ann. Math. Stat. 35, 73).
    Huber {
        /// The tuning constant c, in σ.
        c: f64,
    },
    /// ρ = c²/6 (1 − (1 − z²/c²)³) for |z| ≤ c, c²/6 beyond: the biweight (Beaton & Tukey 1974, Technometrics 16, 147).
    Tukey {
        /// The tuning constant c, in σ: pixels beyond it do not count.
        c: f64,
    },
    /// ρ = c²/2 ln(1 + z²/c²).
    Cauchy {
        /// The tuning constant c, in σ.
        c: f64,
    },
    /// ρ = (ν + 1)/2 ln(1 + z²/ν): noise of Student's t distribution (Lange, Little & Taylor 1989, JASA 84, 881).
    StudentT {
        /// The degrees of freedom ν.
        nu: f64,
    },
}

/// Which function of the residual a pixel's weight is; all are divided by σ².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PixelWeight {
    /// ψ(z)/z, of reweighted least squares.
    #[default]
    Robust,
    /// ψ′(z), the curvature of the loss: AᵀWA is its Hessian.
    Curvature,
    /// ψ(z)², the square of the score: AᵀWA is the covariance of its gradient.
    Score,
}

impl Default for Loss {
    /// Huber's: it has one minimum only.
    fn default() -> Self {
        Self::HUBER
    }
}

impl Loss {
    /// Huber's loss with c = 1.345, of an efficiency of 95 %.
    pub const HUBER: Self = Self::Huber { c: 1.345 };
    /// Tukey's biweight with c = 4.685, of an efficiency of 95 %.
    pub const TUKEY: Self = Self::Tukey { c: 4.685 };
    /// Cauchy's loss with c = 2.385, of an efficiency of 95 %.
    pub const CAUCHY: Self = Self::Cauchy { c: 2.385 };
    /// Student's t with ν = 5, of an efficiency of 94 %.
    pub const STUDENT_T: Self = Self::StudentT { nu: 5.0 };

    /// Checks the tuning constant.
    ///
    /// # Errors
    /// [`ModelError::Loss`] if it is not positive.
    pub fn validate(self) -> Result<(), ModelError> {
        match self {
            Self::Huber { c: value }
            | Self::Tukey { c: value }
            | Self::Cauchy { c: value }
            | Self::StudentT { nu: value }
                if !(value > 0.0 && value.is_finite()) =>
            {
                Err(ModelError::Loss { value })
            }
            _ => Ok(()),
        }
    }

    /// Whether ψ falls for large |z|, so that there may be several minima.
    pub fn redescends(self) -> bool {
        !matches!(self, Self::Gaussian | Self::Huber { .. })
    }

    /// ρ(z).
    pub fn rho(self, z: f64) -> f64 {
        match self {
            Self::Gaussian => 0.5 * z * z,
            Self::Huber { c } if z.abs() <= c => 0.5 * z * z,
            Self::Huber { c } => c * (z.abs() - 0.5 * c),
            Self::Tukey { c } => c * c / 6.0 * (1.0 - (1.0 - (z / c).powi(2)).max(0.0).powi(3)),
            Self::Cauchy { c } => 0.5 * c * c * (z / c).powi(2).ln_1p(),
            Self::StudentT { nu } => 0.5 * (nu + 1.0) * (z * z / nu).ln_1p(),
        }
    }

    /// ψ(z) = dρ/dz.
    pub fn psi(self, z: f64) -> f64 {
        z * self.weight(z)
    }

    /// ψ(z)/z.
    #[inline(always)]
    pub fn weight<T: Pixel>(self, z: T) -> T {
        let one = T::one();
        match self {
            Self::Gaussian => one,
            Self::Huber { c } => {
                let c = T::narrow(c);
                // c/max(|z|, c) has no branch and is exactly 1 inside.
                c / z.abs().max(c)
            }
            Self::Tukey { c } => {
                let u = (one - z * z * T::narrow(1.0 / (c * c))).max(T::zero());
                u * u
            }
            Self::Cauchy { c } => T::narrow(c * c) / (T::narrow(c * c) + z * z),
            Self::StudentT { nu } => T::narrow(nu + 1.0) / (T::narrow(nu) + z * z),
        }
    }

    /// ψ′(z) = d²ρ/dz².
    #[inline(always)]
    pub fn curvature<T: Pixel>(self, z: T) -> T {
        let (one, two) = (T::one(), T::narrow(2.0));
        match self {
            Self::Gaussian => one,
            Self::Huber { c } => {
                if z.abs() <= T::narrow(c) {
                    one
                } else {
                    T::zero()
                }
            }
            Self::Tukey { c } => {
                let u2 = z * z * T::narrow(1.0 / (c * c));
                (one - u2).max(T::zero()) * (one - T::narrow(5.0) * u2)
            }
            // Of ψ = a z/(b + z²): ψ′ = w (1 − 2z²/(b + z²)).
            Self::Cauchy { c } => self.weight(z) * (one - two * z * z / (T::narrow(c * c) + z * z)),
            Self::StudentT { nu } => self.weight(z) * (one - two * z * z / (T::narrow(nu) + z * z)),
        }
    }

    /// The weight of the given kind, not yet divided by σ².
    #[inline(always)]
    pub fn pixel_weight<T: Pixel>(self, kind: PixelWeight, z: T) -> T {
        match kind {
            PixelWeight::Robust => self.weight(z),
            PixelWeight::Curvature => self.curvature(z),
            PixelWeight::Score => {
                let psi = z * self.weight(z);
                psi * psi
            }
        }
    }

    /// The expectation of a function of z under Gaussian noise of σ = 1.
    fn expectation(f: impl Fn(f64) -> f64) -> f64 {
        // The trapezoidal rule to 8 σ; with 1600 steps, even a kink of f leaves an error below 1e-5.
        let step = 0.01;
        let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
        (-800..=800).map(|i| f64::from(i) * step).map(|z| step * density(z) * f(z)).sum()
    }

    /// The mean of a weight, not divided by σ², where the noise is Gaussian.
    pub fn mean_weight(self, kind: PixelWeight) -> f64 {
        Self::expectation(|z| self.pixel_weight(kind, z))
    }

    /// Relative to least squares, the inverse variance of the parameters where the noise is Gaussian: (E ψ′)²/E ψ² (Huber 1964).
    ///
    /// ```
    /// use dia_core::Loss;
    ///
    /// assert!((Loss::TUKEY.efficiency() - 0.95).abs() < 1e-3);
    /// assert!((Loss::HUBER.efficiency() - 0.95).abs() < 1e-3);
    /// assert!((Loss::CAUCHY.efficiency() - 0.95).abs() < 1e-3);
    /// assert!((Loss::STUDENT_T.efficiency() - 0.94).abs() < 5e-3);
    /// ```
    pub fn efficiency(self) -> f64 {
        self.mean_weight(PixelWeight::Curvature).powi(2) / self.mean_weight(PixelWeight::Score)
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, PixelWeight};

    const LOSSES: [Loss; 6] = [
        Loss::Gaussian,
        Loss::HUBER,
        Loss::Huber { c: 3.0 },
        Loss::TUKEY,
        Loss::CAUCHY,
        Loss::STUDENT_T,
    ];

    #[test]
    fn psi_is_the_slope_of_rho_and_the_curvature_that_of_psi() {
        for loss in LOSSES {
            for z in [-50.0, -4.0, -1.3, -0.1, 0.2, 1.4, 2.9, 100.0_f64] {
                let step = 1e-4;
                let slope = |f: &dyn Fn(f64) -> f64| (f(z + step) - f(z - step)) / (2.0 * step);
                // Central differences: an error of step²/6 times the third derivative, below 3, and of rounding ε ρ / step < 1e-10 for ρ < 5000.
                assert!((slope(&|z| loss.rho(z)) - loss.psi(z)).abs() < 1e-8, "{loss:?} at {z}");
                assert!(
                    (slope(&|z| loss.psi(z)) - loss.curvature(z)).abs() < 1e-8,
                    "{loss:?} at {z}"
                );
                let score = loss.pixel_weight(PixelWeight::Score, z);
                assert!(
                    (score - loss.psi(z).powi(2)).abs() < 1e-12 * (1.0 + score),
                    "{loss:?} at {z}"
                );
            }
        }
    }

    #[test]
    fn small_residuals_count_in_full_and_large_ones_redescend() {
        for loss in LOSSES {
            let at_zero = if let Loss::StudentT { nu } = loss { (nu + 1.0) / nu } else { 1.0 };
            assert!((loss.weight(0.0_f32) - at_zero as f32).abs() < 1e-6);
            assert_eq!(loss.psi(1e6) < loss.psi(2.0), loss.redescends(), "{loss:?}");
        }
    }

    #[test]
    fn a_tuning_constant_must_be_positive() {
        assert!(Loss::Huber { c: 0.0 }.validate().is_err());
        assert!(Loss::StudentT { nu: f64::NAN }.validate().is_err());
        assert!(Loss::TUKEY.validate().is_ok());
    }
}
