//! Moffat's family of profiles, from the Gaussian to those with wide wings, and their Fourier transforms.
//!
//! Moffat (1969, A&A 3, 455) describes a star by (1 + r²/α²)^−β. Turbulent air gives β from 2.5 to 4.8, and β → ∞ is a Gaussian. The wings are told here by
//! 1/β, which is 0 for the Gaussian, and the width by the Gaussian σ of the same full width at half maximum: σ = FWHM / 2 √(2 ln 2). A profile and its transform
//! then depend on r²/σ² and σ²k² alone, whatever its wings.

use std::f64::consts::LN_2;

/// The largest 1/β that is taken: the flux beyond r falls as r^−2(β − 1), and does not exist at β = 1.
pub const MOST_WINGS: f64 = 0.47;

/// Below this 1/β, a profile is a Gaussian: β = 250 has 10⁻³ of the peak as its largest difference.
const GAUSSIAN: f64 = 0.004;

/// The profile at ρ² = r²/σ², in units of its peak, for a given 1/β from 0 to [`MOST_WINGS`].
pub fn profile(rho2: f64, inverse_beta: f64) -> f64 {
    if inverse_beta < GAUSSIAN {
        return (-0.5 * rho2).exp();
    }
    // r²/α² for α = ½ FWHM / √(2^{1/β} − 1).
    (1.0 + rho2 * half_maximum(inverse_beta) / (2.0 * LN_2)).powf(-1.0 / inverse_beta)
}

/// 2^{1/β} − 1.
fn half_maximum(inverse_beta: f64) -> f64 {
    (LN_2 * inverse_beta).exp_m1()
}

/// The logarithm of the Fourier transform of a profile of unit flux, as a function of s = σ²k².
///
/// The profile is a mixture of Gaussians whose inverse variances have a Gamma distribution, so that its transform is
/// T(s) = ∫ t^{β−2} e^{−t} e^{−a s/t} dt / Γ(β − 1) with a = ln 2 / 2 (2^{1/β} − 1); e^{−s/2} for the Gaussian.
#[derive(Clone, Debug)]
pub struct MoffatTransfer {
    /// ln T and d ln T/ds at √s = 0, [`STEP`], 2 [`STEP`] …; none for a Gaussian.
    table: Vec<[f64; 2]>,
}

/// Distance in √s of the table's places. Between them a cubic of Hermite's is right to 10⁻⁶.
const STEP: f64 = 0.125;

/// Gaussians of the mixture; the integrand is smooth over the whole line, where the trapezoidal rule converges geometrically.
const NODES: usize = 64;

/// What the truncated ends of the mixture leave out is e to the minus this.
const TRUNCATION: f64 = 24.0;

impl MoffatTransfer {
    /// For 1/β from 0 to [`MOST_WINGS`], up to a largest s.
    pub fn new(inverse_beta: f64, largest: f64) -> Self {
        if inverse_beta < GAUSSIAN {
            return Self { table: Vec::new() };
        }
        // With t = c eᵛ, c = β − 1, the weight of v is exp(−c (eᵛ − v)), largest at 0.
        let c = 1.0 / inverse_beta.min(MOST_WINGS) - 1.0;
        let (low, high) = (-(TRUNCATION / c + 1.0), (2.0 * (TRUNCATION / c + 1.0)).ln());
        let step = (high - low) / (NODES - 1) as f64;
        let a = LN_2 / (2.0 * half_maximum(inverse_beta.min(MOST_WINGS)));
        let nodes: Vec<(f64, f64)> = (0..NODES)
            .map(|i| low + step * i as f64)
            .map(|v| ((-c * (v.exp_m1() - v)).exp(), a / (c * v.exp())))
            .collect();
        let whole: f64 = nodes.iter().map(|(weight, _)| weight).sum();
        let slowest = nodes[NODES - 1].1;
        let at = |i: usize| {
            let s = (STEP * i as f64).powi(2);
            // Relative to the Gaussian that falls slowest, so that nothing underflows.
            let (mut sum, mut slope) = (0.0, 0.0);
            for (weight, rate) in &nodes {
                let part = weight * (-(rate - slowest) * s).exp();
                sum += part;
                slope -= rate * part;
            }
            [(sum / whole).ln() - slowest * s, slope / sum]
        };
        let count = (largest.max(0.0).sqrt() / STEP) as usize + 2;
        Self { table: (0..count).map(at).collect() }
    }

    /// ln T(s) and its derivative by s.
    ///
    /// # Panics
    /// If s is negative or NaN, or larger than the table was made for.
    pub fn ln(&self, s: f64) -> [f64; 2] {
        if self.table.is_empty() {
            return [-0.5 * s, -0.5];
        }
        let place = s.sqrt() / STEP;
        let i = place as usize;
        let (t, [left, right]) = (place - i as f64, [self.table[i], self.table[i + 1]]);
        // By √s = q, whose derivative of ln T is 2 q times that by s.
        let slope = |j: usize, by_s: f64| 2.0 * STEP * STEP * j as f64 * by_s;
        let (a, b) = (slope(i, left[1]), slope(i + 1, right[1]));
        let rise = right[0] - left[0];
        let value = left[0] + t * (a + t * (3.0 * rise - 2.0 * a - b + t * (a + b - 2.0 * rise)));
        [value, left[1] + t * (right[1] - left[1])]
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::{MoffatTransfer, profile};

    #[test]
    fn the_half_maximum_is_where_it_is_said_to_be() {
        for inverse_beta in [0.0, 0.01, 0.2, 1.0 / 3.0, 0.45] {
            // FWHM/2σ = √(2 ln 2).
            let half = profile(2.0 * 2.0_f64.ln(), inverse_beta);
            assert!((half - 0.5).abs() < 1e-12, "{inverse_beta}: {half}");
        }
    }

    /// ∫ ψ(r) J₀(k r) r dr / ∫ ψ(r) r dr of a profile of σ = 1, by brute force.
    fn hankel(inverse_beta: f64, k: f64) -> f64 {
        let bessel = |x: f64| {
            let n = 400;
            (0..n)
                .map(|i| (x * (PI * (f64::from(i) + 0.5) / f64::from(n)).sin()).cos())
                .sum::<f64>()
                / f64::from(n)
        };
        let step = 0.01;
        let (mut sum, mut flux) = (0.0, 0.0);
        for i in 0..6000 {
            let r = step * (f64::from(i) + 0.5);
            let weight = profile(r * r, inverse_beta) * r;
            sum += weight * bessel(k * r);
            flux += weight;
        }
        sum / flux
    }

    #[test]
    fn the_transform_is_that_of_the_profile() {
        // The midpoint rule of step h has an error of h²/24; beyond 60 σ, β = 2.5 has 5·10⁻⁵ of its flux.
        for (inverse_beta, tolerance) in [(0.0, 5e-6), (0.02, 5e-6), (0.25, 5e-6), (0.4, 1e-4)] {
            let transfer = MoffatTransfer::new(inverse_beta, 20.0);
            for k in [0.1, 0.37, 1.0, 2.2] {
                let (found, expected) = (transfer.ln(k * k)[0].exp(), hankel(inverse_beta, k));
                assert!(
                    (found - expected).abs() < tolerance,
                    "{inverse_beta}, {k}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_derivative_is_that_of_the_value() {
        for inverse_beta in [0.02, 0.25, 0.4] {
            let transfer = MoffatTransfer::new(inverse_beta, 900.0);
            for s in [0.3, 2.0, 31.0, 800.0] {
                let h = 1e-2 * s;
                let [below, above] = [s - h, s + h].map(|s| transfer.ln(s)[0]);
                let (difference, slope) = ((above - below) / (2.0 * h), transfer.ln(s)[1]);
                // Slopes are interpolated linearly.
                assert!((difference / slope - 1.0).abs() < 5e-3, "{s}: {difference} {slope}");
            }
        }
    }
}
