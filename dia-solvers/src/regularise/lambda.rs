//! How much regularisation: the λ that leaves the smallest expected error in the model.
//!
//! For the kernel x_λ = (J + Q_λ)⁻¹ J x̂, the expected squared error of the model, Σ w (M − M_true)², is but for a constant without bias estimated by
//!
//! > (x_λ − x̂)ᵀ J (x_λ − x̂) + 2 tr (J + Q_λ)⁻¹ S
//!
//! (Stein 1981, Ann. Stat. 9, 1135; the unbiased risk of Becker et al. 2012, MNRAS 425, 1341; for a robust loss with J = Aᵀ(ψ′/σ²)A and the covariance of
//! the gradient S = Aᵀ(ψ²/σ²)A, Takeuchi 1976), whatever Q_λ is and whether or not a kernel can describe the target. x̂ is the minimum of the
//! unpenalised sum. All that is needed are x̂, J and S, and for that choice those of the sampled rows are good enough: the mean ψ′ and ψ² of
//! Gaussian noise times those of the weights ψ(z)/z.
//!
//! The deviations of a kernel that varies from its mean are several such kernels with one J, one Q_λ and one λ; their risks add up.

use std::ops::RangeInclusive;

use faer::Mat;

use crate::linear::cg::dot;
use crate::regularise::penalty::Strength;
use crate::{Cholesky, SolveError};

/// The search for the strength of least risk, which goes on where it stopped as more becomes known.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// log₁₀ of λ times the mean of g, and log₂ of the core's radius in pixels.
    best: (f64, f64),
    /// Step of log₁₀ λ.
    step: f64,
}

impl Search {
    /// From where deep references have their best, and a core of 2 pixels.
    pub(crate) fn new() -> Self {
        Self { best: (3.0, 1.0), step: 1.0 }
    }

    /// Whether the next search is as fine as any.
    pub(crate) fn is_fine(&self) -> bool {
        self.step <= FINEST
    }

    /// The strength of least risk near the last one, to a factor of 10^step in λ and √2 in r; the next search is finer.
    ///
    /// λ is the least for which J + Q is positive definite, if the risk grows from there. `parts` gives the two parts of Q over the kernel for a radius,
    /// `mean` that of g; `minima` are the x̂ of one kernel or several.
    ///
    /// # Errors
    /// [`SolveError::NonFinite`] if H holds NaN.
    pub(crate) fn least_risk(
        &mut self,
        information: &Information,
        parts: impl Fn(f64) -> [Mat<f64>; 2],
        mean: impl Fn(f64) -> f64,
        minima: &[Vec<f64>],
    ) -> Result<Strength, SolveError> {
        let risk = Risk::new(information, minima);
        let mut known: Vec<((f64, f64), f64)> = Vec::new();
        let mut of_radius: Vec<(f64, [Mat<f64>; 2])> = Vec::new();
        let mut at = |place: (f64, f64)| -> Result<f64, SolveError> {
            if let Some((_, risk)) = known.iter().find(|(other, _)| *other == place) {
                return Ok(*risk);
            }
            if of_radius.iter().all(|(radius, _)| *radius != place.1) {
                let radius = 2.0_f64.powf(place.1);
                let [mut rough, noise] = parts(radius);
                rough *= faer::Scale(mean(radius).recip());
                of_radius.push((place.1, [rough, noise]));
            }
            let parts = of_radius.iter().find(|(radius, _)| *radius == place.1);
            let value =
                parts.map_or(Ok(f64::INFINITY), |(_, p)| risk.of(p, 10.0_f64.powf(place.0)))?;
            known.push((place, value));
            Ok(value)
        };
        let mut least = at(self.best)?;
        loop {
            let (log, radius) = self.best;
            let mut moved = false;
            for place in [
                (log + self.step, radius),
                (log - self.step, radius),
                (log, radius - 0.5),
                (log, radius + 0.5),
            ] {
                if !(-3.0..=MOST).contains(&place.0) || !RADII.contains(&place.1) {
                    continue;
                }
                let value = at(place)?;
                // Where nothing is positive definite yet, more regularisation is the way.
                if value < least || (least.is_infinite() && place.0 > log) {
                    (self.best, least, moved) = (place, value, true);
                    break;
                }
            }
            if !moved {
                break;
            }
        }
        self.step = (0.5 * self.step).max(FINEST);
        let mut chosen = self.best.0;
        while chosen + self.step <= MOST && at((chosen + self.step, self.best.1))? <= least + SLACK
        {
            chosen += self.step;
        }
        let radius = 2.0_f64.powf(self.best.1);
        Ok(Strength { lambda: 10.0_f64.powf(chosen) / mean(radius), radius })
    }
}

/// log₂ of the core's radii. With smaller ones, which chance makes the best where little light is, P of sparse shallow fields of Moffat stars was 1 % too small.
const RADII: RangeInclusive<f64> = 1.0..=4.0;

/// Largest log₁₀ of λ times the mean of g: beyond it nothing but the free kernels is left.
const MOST: f64 = 8.0;

/// The risk is known to a few units only, and where little light is, chance makes it fall towards small λ. Among those that differ by no more than this, the
/// largest λ is taken: a seeing's kernel has the right flux. It costs at most as much of Σ w (M − M_true)².
const SLACK: f64 = 1.0;

/// Finest step of log₁₀ λ: the risk is so flat that half of it does not matter.
const FINEST: f64 = 0.25;

/// What a sample tells of the parameters.
pub(crate) struct Information {
    /// J = Aᵀ(ψ′/σ²)A with both triangles, over the kernel and the background.
    pub(crate) curvature: Mat<f64>,
    /// The factor of S = Aᵀ(ψ²/σ²)A, the covariance of the gradient.
    pub(crate) score: Cholesky,
}

/// The risk of one kernel or several, but for a constant.
struct Risk<'a> {
    information: &'a Information,
    /// J x̂ of each.
    right: Vec<Vec<f64>>,
}

impl<'a> Risk<'a> {
    fn new(information: &'a Information, minima: &[Vec<f64>]) -> Self {
        let right = minima.iter().map(|x| product(&information.curvature, x)).collect();
        Self { information, right }
    }

    /// That of λ, infinite where J + Q is not positive definite.
    fn of(&self, [rough, noise]: &[Mat<f64>; 2], lambda: f64) -> Result<f64, SolveError> {
        let Information { curvature, score } = self.information;
        let q = rough * faer::Scale(lambda) + noise;
        let factor = match Cholesky::new(&penalised(curvature, &q)) {
            Ok(factor) => factor,
            Err(SolveError::NotPositiveDefinite { .. }) => return Ok(f64::INFINITY),
            Err(error) => return Err(error),
        };
        let excess = self.right.iter().map(|right| {
            let mut x = right.clone();
            factor.solve_in_place(&mut x);
            dot(&x, &product(curvature, &x)) - 2.0 * dot(&x, right)
        });
        let trace = factor.whitened(score).squared_norm_l2();
        Ok(excess.sum::<f64>() + 2.0 * self.right.len() as f64 * trace)
    }
}

/// H + Q, Q over the first columns.
pub(crate) fn penalised(h: &Mat<f64>, q: &Mat<f64>) -> Mat<f64> {
    let mut sum = h.clone();
    for j in 0..q.ncols() {
        for i in 0..q.nrows() {
            sum[(i, j)] += q[(i, j)];
        }
    }
    sum
}

/// H x.
pub(crate) fn product(h: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    (0..h.ncols()).map(|j| dot(h.col_as_slice(j), x)).collect()
}
