//! Anderson acceleration of a fixed-point iteration (Anderson 1965, J. ACM 12, 547; Walker & Ni 2011, SIAM J. Numer. Anal. 49,
//! 1715, doi:10.1137/10078356X).
//!
//! Reweighting is a fixed-point iteration x ← x + δ(x), δ = P⁻¹g, that converges linearly: slowly where many residuals lie
//! beyond the knee of the loss. Each step is replaced by the combination of the last few whose residual, extrapolated linearly,
//! is smallest in the norm of P. It touches parameter vectors only.

use std::collections::VecDeque;

use crate::linear::cg::{axpy, dot};

/// Steps that are combined.
const DEPTH: usize = 6;

/// The last steps of an iteration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anderson {
    last: Option<Step>,
    /// Differences between consecutive steps, oldest first.
    differences: VecDeque<Step>,
}

/// A point, its gradient and its correction; or differences of them.
#[derive(Clone, Debug)]
struct Step {
    x: Vec<f64>,
    g: Vec<f64>,
    delta: Vec<f64>,
}

impl Anderson {
    /// Forgets all steps.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Replaces the correction `delta` at `x` by the accelerated one. `g` is the gradient with P delta ≈ g, so that
    /// δᵢ·gⱼ is the inner product of corrections in the norm of P.
    pub(crate) fn accelerate(&mut self, x: &[f64], g: &[f64], delta: &mut [f64]) {
        let step = Step { x: x.to_vec(), g: g.to_vec(), delta: delta.to_vec() };
        if let Some(last) = self.last.replace(step) {
            let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
            self.differences.push_back(Step {
                x: minus(x, &last.x),
                g: minus(g, &last.g),
                delta: minus(delta, &last.delta),
            });
            if self.differences.len() > DEPTH {
                self.differences.pop_front();
            }
        }
        // min ‖δ − Σ γⱼ Δδⱼ‖ by Gram–Schmidt from the newest difference on; dependent ones are left out.
        let mut basis: Vec<Step> = Vec::new();
        let mut residual = g.to_vec();
        for difference in self.differences.iter().rev() {
            let mut d = difference.clone();
            let size = dot(&d.delta, &d.g);
            for b in &basis {
                let along = dot(&b.g, &d.delta);
                axpy(-along, &b.x, &mut d.x);
                axpy(-along, &b.g, &mut d.g);
                axpy(-along, &b.delta, &mut d.delta);
            }
            let norm2 = dot(&d.delta, &d.g);
            if norm2.is_nan() || norm2 <= 1e-6 * size {
                continue;
            }
            let scale = norm2.sqrt().recip();
            for v in [&mut d.x, &mut d.g, &mut d.delta] {
                for v in v.iter_mut() {
                    *v *= scale;
                }
            }
            // γ along this direction: the step is δ − γ (Δx + Δδ).
            let gamma = dot(&d.delta, &residual);
            axpy(-gamma, &d.g, &mut residual);
            axpy(-gamma, &d.x, delta);
            axpy(-gamma, &d.delta, delta);
            basis.push(d);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Anderson;
    use crate::linear::cg::{axpy, dot};

    #[test]
    fn a_linear_iteration_ends_after_as_many_steps_as_unknowns() {
        // Minimise ½ Σ hᵢ (xᵢ − 1)², with P = I: without acceleration the error falls by 1 − h per step.
        let h = [1.0, 0.6, 0.3, 0.1];
        let mut x = [0.0; 4];
        let mut anderson = Anderson::default();
        for _ in 0..6 {
            let g: Vec<f64> = h.iter().zip(&x).map(|(h, x)| h * (1.0 - x)).collect();
            let mut delta = g.clone();
            anderson.accelerate(&x, &g, &mut delta);
            axpy(1.0, &delta, &mut x);
        }
        let error: Vec<f64> = x.iter().map(|x| x - 1.0).collect();
        // Plain iteration leaves 0.9⁶ = 0.53 in the last component.
        assert!(dot(&error, &error).sqrt() < 1e-6, "{x:?}");
    }
}
