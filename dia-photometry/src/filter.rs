//! Weights of a difference whose noise is white in the target and convolved with the kernel in the reference.

use dia_core::Kernel;

use crate::offsets::{cut, reach};
use crate::spectrum::{Grid, correlation};
use rustfft::num_complex::Complex64;

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
    /// c(v) = Σ_u w(u) K(u − v), the weight of −R(p + v), cut where less than 1e-5 of Σ c² are beyond.
    pub reference_weights: Kernel,
}

/// The part of a variance that the wings of weights may have which are cut off: σ is wrong by half of it.
const LOST_VARIANCE: f64 = 1e-5;

impl Filter {
    /// The filter of given weights for a difference of kernel `kernel`.
    pub fn new(weights: Kernel, kernel: &Kernel) -> Self {
        let whole = correlation(&weights, kernel, weights.half_width() + kernel.half_width());
        let reference_weights = cut(&whole, reach(&whole.squared(), LOST_VARIANCE));
        Self { weights, reference_weights }
    }

    /// The variance of the filtered difference where both variances are constant.
    pub fn variance(&self, sky: SkyVariance) -> f64 {
        let squares = |kernel: &Kernel| kernel.pixels().iter().map(|w| w * w).sum::<f64>();
        squares(&self.weights) * sky.target + squares(&self.reference_weights) * sky.reference
    }
}

/// The whitening kernel ψ̂ = √((σ_n² + σ_r² P²) / (σ_n² + σ_r² |K̂|²)) of DMTN-021 eq. 1, scaled back to ψ̂(0) = 1 after it is cut where less than 1e-8
/// of Σ ψ² are beyond: its far wings are weak and wide.
pub fn whitening_kernel(kernel: &Kernel, sky: SkyVariance) -> Kernel {
    let half_width = 2 * kernel.half_width();
    let grid = Grid::holding(2 * half_width);
    let white = sky.target + sky.reference * kernel.photometric_scale().powi(2);
    let power = noise_power(&grid.transform(kernel), sky);
    let spectrum = power.into_iter().map(|power| (white / power).sqrt().into()).collect();
    let whole = grid.kernel(spectrum, half_width);
    let mut psi = cut(&whole, reach(&whole.squared(), 1e-8));
    let sum = psi.photometric_scale();
    psi.pixels_mut().iter_mut().for_each(|value| *value /= sum);
    psi
}

/// σ_n² + σ_r² |K̂|² of a kernel's spectrum, in ADU².
pub(crate) fn noise_power(of_kernel: &[Complex64], sky: SkyVariance) -> Vec<f64> {
    of_kernel.iter().map(|k| sky.target + sky.reference * k.norm_sqr()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Filter, SkyVariance, whitening_kernel};
    use dia_core::Kernel;

    const SKY: SkyVariance = SkyVariance { target: 4.0, reference: 9.0 };

    #[test]
    fn through_the_kernel_is_its_adjoint() {
        // ⟨w, K ⊗ r⟩ = ⟨𝒦ᵀ w, r⟩ for r of a single pixel at v is c(v) = Σ_u w(u) K(u − v).
        let w = Kernel::from_fn(2, |dy, dx| (dy * 3 + dx) as f64);
        let kernel = Kernel::from_fn(1, |dy, dx| (1 + dy - 2 * dx) as f64);
        let c = Filter::new(w.clone(), &kernel).reference_weights;
        let direct: f64 = (-2..=2)
            .flat_map(|y: isize| (-2..=2).map(move |x: isize| (y, x)))
            .filter(|(y, x)| (y - 1).abs() <= 1 && (x + 2).abs() <= 1)
            .map(|(y, x)| w.at(y, x) * kernel.at(y - 1, x + 2))
            .sum();
        // Sums below 100 by Fourier transforms.
        assert!((c.at(1, -2) - direct).abs() < 1e-12);
    }

    #[test]
    fn a_whitened_difference_has_white_noise_of_the_expected_variance() {
        let kernel = Kernel::gaussian(9, 1.6);
        let filter = Filter::new(whitening_kernel(&kernel, SKY), &kernel);
        // ψ keeps the power at zero frequency at every frequency: σ_n² + σ_r² P². What is cut off ψ
        // changes its sum by √(1e-8 · 1000 pixels) at most.
        assert!((filter.variance(SKY) / 13.0 - 1.0).abs() < 4e-3, "{}", filter.variance(SKY));
    }
}
