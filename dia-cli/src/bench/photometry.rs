//! Point-spread-function photometry of the brightest star in the difference, the metric of Bramich et al. (2016, MNRAS 457, 542) and Hitchcock et al. (2021).
//!
//! The star does not vary, so its difference flux is 0 but for noise and the faults of the fit. On a square stamp of side 9 φ_I,
//!
//! > D(p) ≈ F_diff ψ(p) + c, ψ = (ψ_R ⊗ K)/Σ(ψ_R ⊗ K),
//!
//! by least squares with the true variances. The measured flux in reference ADU is F = F_diff/P. No unbiased measurement of a star of known place and
//! sky has a variance below
//!
//! > σ_min² = P_true⁻² (Σ_p ψ_true²/σ²)⁻¹.

use dia_core::{Image, ImageView, Kernel};

/// Half of the stamp's side, rounded so that the side is odd and about 9 φ; φ in pixels.
pub(crate) fn stamp_radius(phi: f64) -> usize {
    (9.0 * phi).ceil() as usize / 2
}

/// The square of side 2 radius + 1 around pixel (centre, centre).
pub(crate) fn stamp(image: ImageView<'_, f64>, centre: usize, radius: usize) -> Image<f64> {
    let (first, side) = (centre - radius, 2 * radius + 1);
    Image::from_fn(side, side, |y, x| image.at(first + y, first + x))
}

/// A Gaussian of width φ sampled at the pixels of a stamp, of sum 1, its centre (dy, dx) from the middle.
pub(crate) fn gaussian(radius: usize, phi: f64, (dy, dx): (f64, f64)) -> Image<f64> {
    let offset = |i: usize| i as f64 - radius as f64;
    let side = 2 * radius + 1;
    normalised(&Image::from_fn(side, side, |y, x| {
        (-0.5 * ((offset(y) - dy).powi(2) + (offset(x) - dx).powi(2)) / phi.powi(2)).exp()
    }))
}

/// ψ ⊗ K on the stamp of ψ, which is zero outside, of sum 1.
pub(crate) fn convolved(psf: ImageView<'_, f64>, kernel: &Kernel) -> Image<f64> {
    let (h, (height, width)) = (kernel.half_width() as isize, psf.shape());
    normalised(&Image::from_fn(height, width, |y, x| {
        let mut sum = 0.0;
        for dy in -h..=h {
            for dx in -h..=h {
                let from = (y.checked_add_signed(-dy), x.checked_add_signed(-dx));
                if let (Some(y), Some(x)) = from
                    && y < height
                    && x < width
                {
                    sum += kernel.at(dy, dx) * psf.at(y, x);
                }
            }
        }
        sum
    }))
}

/// F_diff in ADU of `difference` by least squares with a constant, all three being stamps.
pub(crate) fn difference_flux(
    psf: &Image<f64>,
    difference: &Image<f64>,
    variance: &Image<f64>,
) -> f64 {
    let weighted_mean = |image: &Image<f64>| {
        let terms = image.pixels().iter().zip(variance.pixels());
        let (sum, weight) = terms.fold((0.0, 0.0), |(s, w), (v, var)| (s + v / var, w + 1.0 / var));
        sum / weight
    };
    // Without its mean, the profile does not feel the constant.
    let mean = weighted_mean(psf);
    let terms = psf.pixels().iter().zip(difference.pixels()).zip(variance.pixels());
    let (data, model) = terms.fold((0.0, 0.0), |(data, model), ((psf, d), variance)| {
        let centred = (psf - mean) / variance;
        (data + centred * d, model + centred * psf)
    });
    data / model
}

/// σ_min in ADU for P_true = 1.
pub(crate) fn least_sigma(true_psf: &Image<f64>, variance: &Image<f64>) -> f64 {
    let terms = true_psf.pixels().iter().zip(variance.pixels());
    terms.map(|(psf, variance)| psf * psf / variance).sum::<f64>().sqrt().recip()
}

fn normalised(image: &Image<f64>) -> Image<f64> {
    let sum: f64 = image.pixels().iter().sum();
    image.map(|value| value / sum)
}

#[cfg(test)]
mod tests {
    use dia_core::{Image, Kernel};

    use super::{convolved, difference_flux, gaussian, least_sigma, stamp, stamp_radius};

    #[test]
    fn stamps_are_odd_centred_and_about_nine_phi() {
        // ⌈9 φ⌉ is 14, 15, 16: sides 15, 15, 17.
        assert_eq!([1.5, 1.6, 1.7].map(stamp_radius), [7, 7, 8]);
        let image = Image::from_fn(20, 20, |y, x| (100 * y + x) as f64);
        let cut = stamp(image.view(), 10, 3);
        assert_eq!((cut.view().at(3, 3), cut.view().at(0, 6)), (1010.0, 713.0));
    }

    #[test]
    fn the_flux_of_a_noiseless_star_is_recovered_beside_any_constant() {
        let psf = gaussian(9, 2.0, (0.2, -0.4));
        let difference = psf.map(|psf| -350.0 * psf + 17.0);
        let variance = psf.map(|psf| 100.0 + 5e4 * psf);
        // 361 terms of size 1; the constant is 500 times the flux per pixel, and centring leaves its rounding.
        assert!((difference_flux(&psf, &difference, &variance) + 350.0).abs() < 1e-9);
    }

    #[test]
    fn sigma_min_is_that_of_background_limited_photometry() {
        // Σψ² = 1/(4πφ²) for a well-sampled Gaussian, so σ_min = 2 √π φ σ.
        let (phi, sigma) = (1.8_f64, 12.0_f64);
        let psf = gaussian(stamp_radius(phi), phi, (0.3, 0.1));
        let variance = psf.map(|_| sigma * sigma);
        let expected = 2.0 * std::f64::consts::PI.sqrt() * phi * sigma;
        // Cut at 4.4 φ: e^−9.9 ≈ 5e-5 of the flux lies outside; sampling errs by e^−(2πφ)²/4 < 1e-13.
        assert!((least_sigma(&psf, &variance) / expected - 1.0).abs() < 1e-4);
    }

    #[test]
    fn the_convolved_profile_is_the_wider_shifted_gaussian() {
        let kernel = Kernel::from_fn(9, |dy, dx| {
            let (dy, dx) = (dy as f64 - 0.3, dx as f64 + 0.2);
            3.0 * (-0.5 * (dy * dy + dx * dx) / 1.44).exp()
        });
        let psf = convolved(gaussian(12, 1.5, (0.0, 0.0)).view(), &kernel);
        let expected = gaussian(12, 1.5_f64.hypot(1.2), (0.3, -0.2));
        for (a, b) in psf.pixels().iter().zip(expected.pixels()) {
            // Sampling errs by 2 e^−2π²·1.44 < 1e-12 of the peak; the kernel is cut at 7 σ (e^−25), the stamp at 8 φ_R and 6.2 φ_I (e^−19).
            assert!((a - b).abs() < 1e-8, "{a} {b}");
        }
    }
}
