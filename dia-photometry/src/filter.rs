//! Linear filters of a difference whose noise is white in the target and convolved with the kernel in the reference.

use std::f64::consts::TAU;

use dia_core::Kernel;

use crate::spectrum::Grid;

/// The variances of empty sky that a filter is made for: source noise belongs in the errors, not in the filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkyVariance {
    /// σ_n² of the target, in ADU².
    pub target: f64,
    /// σ_r² of the reference, in its own ADU².
    pub reference: f64,
}

/// Weights w(u) of the difference around a pixel, and those that the reference's pixels get through the kernel.
///
/// The sum Σ_u w(u) D(p + u) has the variance Σ_u w(u)² V_n(p + u) + Σ_v c(v)² V_r(p + v) with c = 𝒦ᵀ w for any w: squares of overall kernels, never of
/// an image that is correlated already (DMTN-179; generalised to any kernel).
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// w(u), the weight of D(p + u).
    pub weights: Kernel,
    /// c(v) = Σ_u w(u) K(u − v), the weight of −R(p + v).
    pub reference_weights: Kernel,
}

impl Filter {
    /// The filter of given weights for a difference of kernel `kernel`.
    pub fn new(weights: Kernel, kernel: &Kernel) -> Self {
        let reference_weights = through_kernel(&weights, kernel);
        Self { weights, reference_weights }
    }

    /// The variance of the filtered difference where both variances are constant.
    pub fn variance(&self, sky: SkyVariance) -> f64 {
        let squares = |kernel: &Kernel| kernel.pixels().iter().map(|w| w * w).sum::<f64>();
        squares(&self.weights) * sky.target + squares(&self.reference_weights) * sky.reference
    }
}

/// 𝒦ᵀ w: c(v) = Σ_u w(u) K(u − v), on the support of both.
pub(crate) fn through_kernel(w: &Kernel, kernel: &Kernel) -> Kernel {
    let (hw, hk) = (w.half_width() as isize, kernel.half_width() as isize);
    Kernel::from_fn((hw + hk) as usize, |vy, vx| {
        let mut sum = 0.0;
        for uy in (vy - hk).max(-hw)..=(vy + hk).min(hw) {
            for ux in (vx - hk).max(-hw)..=(vx + hk).min(hw) {
                sum += w.at(uy, ux) * kernel.at(uy - vy, ux - vx);
            }
        }
        sum
    })
}

/// C⁻¹ applied to templates: ŵ = t̂ / (σ_n² + σ_r² |K̂|²), cut at `half_width` (Kaiser 2004; DMTN-179). The denominator is never zero.
pub(crate) fn whitened_twice(
    templates: &[&Kernel],
    kernel: &Kernel,
    sky: SkyVariance,
    half_width: usize,
) -> Vec<Kernel> {
    let grid = grid(half_width, kernel);
    let power: Vec<f64> = noise_power(&grid, kernel, sky);
    let whiten = |template: &&Kernel| {
        let mut spectrum = grid.transform(template);
        spectrum.iter_mut().zip(&power).for_each(|(t, power)| *t /= *power);
        grid.kernel(spectrum, half_width)
    };
    templates.iter().map(whiten).collect()
}

/// The whitening kernel ψ̂ = √((σ_n² + σ_r² P²) / (σ_n² + σ_r² |K̂|²)) of DMTN-021 eq. 1, cut at `half_width` and scaled back to ψ̂(0) = 1.
pub fn whitening_kernel(kernel: &Kernel, sky: SkyVariance, half_width: usize) -> Kernel {
    let grid = grid(half_width, kernel);
    let white = sky.target + sky.reference * kernel.photometric_scale().powi(2);
    let power = noise_power(&grid, kernel, sky);
    let spectrum = power.into_iter().map(|power| (white / power).sqrt().into()).collect();
    let mut psi = grid.kernel(spectrum, half_width);
    let sum = psi.photometric_scale();
    psi.pixels_mut().iter_mut().for_each(|value| *value /= sum);
    psi
}

/// √det Λ in pixels⁻², Λ = Σ k kᵀ S(k) / Σ S(k) of the spectrum S = |P̂_n|²/(σ_n² + σ_r² |K̂|²) of the score: minus the Hessian of its
/// autocorrelation at zero lag, by which peaks of noise are counted.
pub(crate) fn peak_curvature(psf: &Kernel, kernel: &Kernel, sky: SkyVariance) -> f64 {
    let grid = grid(psf.half_width(), kernel);
    let power = noise_power(&grid, kernel, sky);
    let [mut sum, mut yy, mut xx, mut yx] = [0.0; 4];
    let spectrum = grid.transform(psf);
    for ((p, power), (ky, kx)) in spectrum.iter().zip(power).zip(grid.frequencies()) {
        let s = p.norm_sqr() / power;
        sum += s;
        yy += ky * ky * s;
        xx += kx * kx * s;
        yx += ky * kx * s;
    }
    (yy * xx - yx * yx).max(0.0).sqrt() / sum
}

/// Peaks above ν σ per pixel and sign in Gaussian noise: √det Λ · ν e^(−ν²/2)/(2π)^(3/2) (Kaiser 2004; DMTN-006).
pub(crate) fn peak_density(curvature: f64, threshold: f64) -> f64 {
    curvature * threshold * (-0.5 * threshold * threshold).exp() / TAU.powf(1.5)
}

fn grid(half_width: usize, kernel: &Kernel) -> Grid {
    Grid::around(half_width + kernel.half_width())
}

fn noise_power(grid: &Grid, kernel: &Kernel, sky: SkyVariance) -> Vec<f64> {
    let of_kernel = grid.transform(kernel);
    of_kernel.iter().map(|k| sky.target + sky.reference * k.norm_sqr()).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        Filter, SkyVariance, peak_curvature, through_kernel, whitened_twice, whitening_kernel,
    };
    use dia_core::Kernel;

    const SKY: SkyVariance = SkyVariance { target: 4.0, reference: 9.0 };

    #[test]
    fn through_the_kernel_is_its_adjoint() {
        // ⟨w, K ⊗ r⟩ = ⟨𝒦ᵀ w, r⟩ for r of a single pixel at v is c(v) = Σ_u w(u) K(u − v).
        let w = Kernel::from_fn(2, |dy, dx| (dy * 3 + dx) as f64);
        let kernel = Kernel::from_fn(1, |dy, dx| (1 + dy - 2 * dx) as f64);
        let c = through_kernel(&w, &kernel);
        let direct: f64 = (-2..=2)
            .flat_map(|y: isize| (-2..=2).map(move |x: isize| (y, x)))
            .filter(|(y, x)| (y - 1).abs() <= 1 && (x + 2).abs() <= 1)
            .map(|(y, x)| w.at(y, x) * kernel.at(y - 1, x + 2))
            .sum();
        assert_eq!(c.at(1, -2), direct);
    }

    #[test]
    fn a_whitened_difference_has_white_noise_of_the_expected_variance() {
        let kernel = Kernel::gaussian(9, 1.6);
        let psi = whitening_kernel(&kernel, SKY, 18);
        let filter = Filter::new(psi, &kernel);
        // ψ keeps the power at zero frequency at every frequency: σ_n² + σ_r² P². What is cut off ψ is below 1e-3 of it.
        assert!((filter.variance(SKY) / 13.0 - 1.0).abs() < 2e-3, "{}", filter.variance(SKY));
    }

    #[test]
    fn the_optimal_weight_has_the_variance_that_theory_gives() {
        let (kernel, psf) = (Kernel::gaussian(9, 1.5), Kernel::gaussian(14, 2.2));
        let w = whitened_twice(&[&psf], &kernel, SKY, 14).remove(0);
        let f: f64 = w.pixels().iter().zip(psf.pixels()).map(|(w, p)| w * p).sum();
        // wᵀ C w = P C⁻¹ P = F for the optimal weight; cutting it at 14 pixels loses light below e^(−20).
        assert!((Filter::new(w, &kernel).variance(SKY) / f - 1.0).abs() < 1e-3);
    }

    #[test]
    fn peaks_of_smoothed_white_noise_are_as_wide_as_the_gaussian() {
        // White noise through a Gaussian of σ has the autocorrelation e^(−r²/4σ²): Λ = 1/(2σ²) in both directions.
        let kernel = Kernel::from_fn(1, |dy, dx| if (dy, dx) == (0, 0) { 1.0 } else { 0.0 });
        let curvature = peak_curvature(&Kernel::gaussian(16, 1.8), &kernel, SKY);
        assert!((curvature * 2.0 * 1.8 * 1.8 - 1.0).abs() < 1e-6);
    }
}
