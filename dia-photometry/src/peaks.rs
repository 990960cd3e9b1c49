//! How many peaks Gaussian noise has.

use std::f64::consts::TAU;

/// Λ, minus the Hessian of the noise's autocorrelation at zero lag, over its variance, in pixels⁻².
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Curvature {
    pub(crate) yy: f64,
    pub(crate) xx: f64,
    pub(crate) yx: f64,
}

impl Curvature {
    /// Peaks above ν σ per pixel and sign: √det Λ · ν e^(−ν²/2)/(2π)^(3/2) of the continuous field (Kaiser 2004; DMTN-006), times the part of them that a pixel sees.
    ///
    /// A peak of height h at a distance δ from the nearest pixel has h (1 − δᵀΛδ/2) there. Peaks fall off as e^(−h²/2), so that those above ν in a pixel are fewer by
    /// the mean of e^(−ν²δᵀΛδ/2) over a pixel: by 10 % for a PSF of σ = 2 pixels and by 40 % for one of σ = 1 at 3.5 σ, and more at higher thresholds.
    pub(crate) fn peak_density(self, threshold: f64) -> f64 {
        let determinant = (self.yy * self.xx - self.yx * self.yx).max(0.0);
        let continuous =
            determinant.sqrt() * threshold * (-0.5 * threshold * threshold).exp() / TAU.powf(1.5);
        let seen = |curvature: f64| mean_over_pixel(0.5 * threshold * threshold * curvature);
        continuous * seen(self.yy) * seen(self.xx)
    }
}

/// The mean of e^(−a δ²) over −½ ≤ δ ≤ ½, by Simpson's rule.
fn mean_over_pixel(a: f64) -> f64 {
    const HALF: usize = 16;
    let value = |i: usize| (-a * (0.5 * i as f64 / HALF as f64).powi(2)).exp();
    let weight = |i: usize| match i {
        0 | HALF => 1.0,
        odd if odd % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=HALF).map(|i| weight(i) * value(i)).sum::<f64>() / (3.0 * HALF as f64)
}

#[cfg(test)]
mod tests {
    use super::{Curvature, mean_over_pixel};

    #[test]
    fn means_are_those_of_the_error_function() {
        // √(π/a) erf(√a/2)/1: erf(1) = 0.842 700 792 949 715 at a = 4, and 1 − a/12 for small a.
        let expected = (std::f64::consts::PI / 4.0).sqrt() * 0.842_700_792_949_715;
        assert!((mean_over_pixel(4.0) - expected).abs() < 1e-6);
        assert!((mean_over_pixel(1e-3) - (1.0 - 1e-3 / 12.0)).abs() < 1e-7);
    }

    #[test]
    fn the_density_is_kaisers_where_pixels_are_small() {
        // Λ = 1/(2σ²): ν e^(−ν²/2)/(2^(5/2) π^(3/2) σ²), of σ = 50 pixels.
        let lambda = 0.5 / 2500.0;
        let curvature = Curvature { yy: lambda, xx: lambda, yx: 0.0 };
        let nu = 4.0_f64;
        let expected = nu * (-0.5 * nu * nu).exp()
            / (2.0_f64.powf(2.5) * std::f64::consts::PI.powf(1.5) * 2500.0);
        // What pixels hide is ν²Λ/12, 3e-4.
        assert!((curvature.peak_density(nu) / expected - 1.0).abs() < 4e-4);
    }
}
