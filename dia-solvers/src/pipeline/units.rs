//! The unit in which images are computed with: a power of two near their noise.
//!
//! Images come in electrons, in counts per second or in erg/s/cm²/Å, from 10⁻²⁰ to 10²⁰. Squares of such numbers leave the range of `f32`, and sums over
//! thresholds that are meant for numbers near one go astray. So reference and target are divided by a power of two each before anything else: no
//! bit of a pixel changes, and the same images in another unit give the same bits, scaled.

use dia_core::Design;
use faer::Mat;

use crate::uncertainty::estimates::Estimate;

/// What is one in the numbers that operators and solvers see, in ADU; both are powers of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Units {
    /// Of the reference's pixels.
    pub reference: f64,
    /// Of the target's pixels.
    pub target: f64,
}

impl Units {
    /// A kernel of one in those numbers, in target ADU per reference ADU.
    pub fn kernel(self) -> f64 {
        self.target / self.reference
    }

    /// From the parameters that operators and solvers see to target ADU per reference ADU for the kernel's coefficients, ADU for those of the background.
    pub fn scale_parameters(self, design: &Design, x: &mut [f64]) {
        let (kernel, background) = design.split_mut(x);
        for k in kernel {
            *k *= self.kernel();
        }
        for b in background {
            *b *= self.target;
        }
    }

    /// The same for their covariance.
    pub(crate) fn scale_covariance(self, design: &Design, covariance: &mut Mat<f64>) {
        let mut factors = vec![1.0; design.ncols()];
        self.scale_parameters(design, &mut factors);
        for (j, b) in factors.iter().enumerate() {
            for (i, a) in factors.iter().enumerate() {
                covariance[(i, j)] *= a * b;
            }
        }
    }
}

/// An estimate in another unit.
pub(crate) fn scaled(estimate: Estimate, factor: f64) -> Estimate {
    Estimate { value: estimate.value * factor, sigma: estimate.sigma * factor }
}

/// The largest power of two that is not above a positive number.
pub(crate) fn power_of_two(value: f64) -> f64 {
    // The bits of the exponent alone; of a subnormal number there are none.
    let power = f64::from_bits(value.to_bits() & 0x7ff0_0000_0000_0000);
    if power > 0.0 && power.is_finite() { power } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::power_of_two;

    #[test]
    fn powers_of_two_lie_below_their_numbers() {
        for (value, power) in [(1.0, 1.0), (1.99, 1.0), (0.3, 0.25), (5e10, 2_f64.powi(35))] {
            assert_eq!(power_of_two(value), power);
            assert_eq!(power_of_two(value * 2_f64.powi(-90)), power * 2_f64.powi(-90));
        }
    }
}
