//! The profile of a star that has wings, fitted to a noisy one.
//!
//! The sum of many pixels with next to no light in them tells a star's flux badly: those beyond two FWHM hold a few per cent of it, and most of the noise. They are
//! replaced by a profile of few parameters (as DAOPHOT does with its tables of residuals; Stetson 1987, PASP 99, 191).

use dia_core::Kernel;
use dia_core::small_matrix::inverse;

use crate::offsets::offsets;

/// A (1 + u)^−β + s with u = a y² + b x² + 2c xy around its centre (Moffat 1969, A&A 3, 455).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moffat {
    /// ln A, ln a, ln b, c, ln (β − 1), s, and the centre's (y, x) in pixels.
    parameters: [f64; 8],
}

/// Largest and smallest ln (β − 1): a Gaussian is a Moffat profile of infinite β, of which 20 is near enough; below 1.3 wings hold too much light to be those of a star.
const STEEPNESS: (f64, f64) = (-1.2, 2.94);

/// Relative error of the profile that is allowed for: no star is a Moffat profile, and its core, where there is no noise, must not decide on the wings.
const MODEL_ERROR: f64 = 0.03;

impl Moffat {
    /// The one that fits best to a star of known FWHM and noise σ per pixel; `None` if there is none.
    pub(crate) fn fitted(star: &Kernel, fwhm: f64, sigma: f64) -> Option<Self> {
        const STEPS: usize = 60;
        let peak = star.centre();
        if !(peak > 0.0 && fwhm > 0.0 && sigma.is_finite()) {
            return None;
        }
        // Of β = 3: FWHM = 2 √((2^(1/3) − 1)/a).
        let a = (4.0 * (2.0_f64.powf(1.0 / 3.0) - 1.0) / (fwhm * fwhm)).ln();
        let mut best = Self { parameters: [peak.ln(), a, a, 0.0, 2.0_f64.ln(), 0.0, 0.0, 0.0] };
        let mut damping = 1e-3;
        let mut loss = best.loss(star, sigma, &best);
        for _ in 0..STEPS {
            let reference = best;
            let (normal, right) = best.normal_equations(star, sigma);
            let damped: Vec<Vec<f64>> = (0..8)
                .map(|i| {
                    let scale = |j: usize| if i == j { 1.0 + damping } else { 1.0 };
                    (0..8).map(|j| normal[i][j] * scale(j)).collect()
                })
                .collect();
            let step = inverse(&damped)?.into_iter().map(|row| {
                row.iter().zip(&right).map(|(h, g)| h * g).sum::<f64>().clamp(-1.0, 1.0)
            });
            let mut trial = best;
            trial.parameters.iter_mut().zip(step).for_each(|(p, step)| *p += step);
            trial.parameters[4] = trial.parameters[4].clamp(STEEPNESS.0, STEEPNESS.1);
            // At the weights of the step's start.
            let before = best.loss(star, sigma, &reference);
            let after = trial.loss(star, sigma, &reference);
            if after < before && trial.is_round_enough() {
                let done = before - after < 1e-9 * before;
                (best, loss) = (trial, after);
                damping = (0.3 * damping).max(1e-9);
                if done {
                    break;
                }
            } else {
                damping *= 10.0;
                if damping > 1e9 {
                    break;
                }
            }
        }
        loss.is_finite().then_some(best)
    }

    /// s.
    pub(crate) fn sky(&self) -> f64 {
        self.parameters[5]
    }

    /// The profile without s at an offset.
    pub(crate) fn at(&self, dy: isize, dx: isize) -> f64 {
        self.terms(dy as f64, dx as f64).0
    }

    /// Σ of the profile without s over the pixels from `half_width` out to `farthest`.
    pub(crate) fn beyond(&self, half_width: usize, farthest: usize) -> f64 {
        let (inner, outer) = (half_width as isize, farthest as isize);
        let all = (-outer..=outer).flat_map(|dy| (-outer..=outer).map(move |dx| (dy, dx)));
        all.filter(|(dy, dx)| dy.abs().max(dx.abs()) > inner).map(|(dy, dx)| self.at(dy, dx)).sum()
    }

    /// Whether u is positive in all directions.
    fn is_round_enough(&self) -> bool {
        let [_, a, b, c, ..] = self.parameters;
        c * c < 0.9 * (a + b).exp() && self.parameters.iter().all(|p| p.is_finite())
    }

    /// A (1 + u)^−β, and 1 + u, y and x from the centre.
    fn terms(&self, dy: f64, dx: f64) -> (f64, f64, f64, f64) {
        let [amplitude, a, b, c, steepness, _, y0, x0] = self.parameters;
        let (y, x) = (dy - y0, dx - x0);
        let one_plus_u = 1.0 + a.exp() * y * y + b.exp() * x * x + 2.0 * c * x * y;
        let beta = 1.0 + steepness.exp();
        ((amplitude - beta * one_plus_u.max(1e-9).ln()).exp(), one_plus_u, y, x)
    }

    fn weight(&self, dy: f64, dx: f64, sigma: f64) -> f64 {
        let floor = 1e-6 * self.parameters[0].exp();
        (sigma * sigma + (MODEL_ERROR * self.terms(dy, dx).0).powi(2) + floor * floor).recip()
    }

    /// Σ w (star − profile)², w of the profile `reference`.
    fn loss(&self, star: &Kernel, sigma: f64, reference: &Self) -> f64 {
        let of_pixel = |((dy, dx), value): ((isize, isize), &f64)| {
            let (dy, dx) = (dy as f64, dx as f64);
            let residual = value - self.terms(dy, dx).0 - self.sky();
            reference.weight(dy, dx, sigma) * residual * residual
        };
        offsets(star).zip(star.pixels()).map(of_pixel).sum()
    }

    fn normal_equations(&self, star: &Kernel, sigma: f64) -> ([[f64; 8]; 8], [f64; 8]) {
        let [_, a, b, c, steepness, sky, ..] = self.parameters;
        let beta_less_one = steepness.exp();
        let (mut normal, mut right) = ([[0.0; 8]; 8], [0.0; 8]);
        for ((dy, dx), value) in offsets(star).zip(star.pixels()) {
            let (dy, dx) = (dy as f64, dx as f64);
            let (m, one_plus_u, y, x) = self.terms(dy, dx);
            let of_u = -(1.0 + beta_less_one) * m / one_plus_u;
            let row = [
                m,
                of_u * a.exp() * y * y,
                of_u * b.exp() * x * x,
                of_u * 2.0 * x * y,
                -beta_less_one * one_plus_u.ln() * m,
                1.0,
                -2.0 * of_u * (a.exp() * y + c * x),
                -2.0 * of_u * (b.exp() * x + c * y),
            ];
            let (w, residual) = (self.weight(dy, dx, sigma), value - m - sky);
            for (i, p) in row.iter().enumerate() {
                right[i] += w * p * residual;
                for (j, q) in row.iter().enumerate() {
                    normal[i][j] += w * p * q;
                }
            }
        }
        (normal, right)
    }
}

#[cfg(test)]
mod tests {
    use super::Moffat;
    use crate::scene::tests::pseudo_random;
    use dia_core::Kernel;

    /// β = 3, a = 0.25, b = 0.16, c = 0.03 around (0.1, −0.2), A = 5, s = 0.01.
    fn truth(y: f64, x: f64) -> f64 {
        let (y, x) = (y - 0.1, x + 0.2);
        5.0 * (1.0 + 0.25 * y * y + 0.16 * x * x + 0.06 * x * y).powi(-3)
    }

    #[test]
    fn a_moffat_profile_is_found_and_its_wings_extrapolated() {
        let star = Kernel::from_fn(9, |dy, dx| truth(dy as f64, dx as f64) + 0.01);
        let fit = Moffat::fitted(&star, 2.2, 1e-3).unwrap();
        assert!((fit.sky() - 0.01).abs() < 1e-6, "{fit:?}");
        let beyond: f64 = (-20..=20_isize)
            .flat_map(|y| (-20..=20_isize).map(move |x| (y, x)))
            .filter(|(y, x)| y.abs().max(x.abs()) > 9)
            .map(|(y, x)| truth(y as f64, x as f64))
            .sum();
        assert!((fit.beyond(9, 20) / beyond - 1.0).abs() < 1e-3, "{}", fit.beyond(9, 20) / beyond);
    }

    #[test]
    fn in_noise_the_flux_is_known_better_than_by_a_sum() {
        let mut values = pseudo_random(1);
        let (mut errors, mut sums) = (0.0, 0.0);
        let flux: f64 = (-9..=9)
            .flat_map(|y| (-9..=9).map(move |x| (y, x)))
            .map(|(y, x)| truth(f64::from(y), f64::from(x)))
            .sum();
        for _ in 0..40 {
            let star = Kernel::from_fn(9, |dy, dx| truth(dy as f64, dx as f64) + 0.1 * values());
            let fit = Moffat::fitted(&star, 2.2, 0.1 / 3.0_f64.sqrt()).unwrap();
            let total: f64 = Kernel::from_fn(9, |y, x| fit.at(y, x)).photometric_scale();
            errors += (total / flux - 1.0).powi(2) / 40.0;
            sums += (star.photometric_scale() / flux - 1.0).powi(2) / 40.0;
        }
        // The sum of 361 pixels has √361 σ = 1.1 of 53; and knows no sky.
        assert!(errors.sqrt() < 0.03 && sums.sqrt() > 0.015, "{} {}", errors.sqrt(), sums.sqrt());
    }

    #[test]
    fn a_gaussian_is_a_steep_one_and_no_light_is_none() {
        let fit = Moffat::fitted(&Kernel::gaussian(9, 1.5), 3.5, 1e-3).unwrap();
        // β = 20 differs by (r²/2σ²)²/40 of itself, 10 % at 2 σ: the fit, which takes a third of that for noise, balances them.
        assert!((fit.at(0, 0) * 14.137 - 1.0).abs() < 0.1, "{fit:?}");
        assert!(fit.beyond(9, 20) < 1e-3);
        assert!(Moffat::fitted(&Kernel::zero(5), 3.0, 1.0).is_none());
    }
}
