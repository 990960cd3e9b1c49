//! Planes of variances that were computed from the very pixels whose noise they tell.
//!
//! Most pipelines take the value of a pixel for the number of its photons: V = σ₀² + γ I. Where noise makes I too small, V is too small as well, and a fit that weighs
//! by 1/V follows the lower pixels: every level comes out too low by γ, one electron, whatever the sky (Neyman's χ²; Jading & Riisager 1996, Nucl. Instrum. Methods A 372,
//! 289). It is nothing beside a bright sky's noise in one pixel, and many times the error of a background from a million. The cure is the noise model of a detector,
//! V − γ I + γ M with the model M in place of the pixel, for which γ has to be known.

use dia_core::robust::keep_near_zero;
use dia_core::{ImageView, Mask, Pixel};
use rayon::prelude::*;

/// The increase γ of an image's variance per ADU of its own pixels' noise; 0 where the plane does not follow them.
///
/// It is the slope of V against I over differences of 2 × 2 neighbours, a − b − c + d: of these the noise of single pixels has everything, stars and sky next to nothing. A plane
/// that tells the true variances has no slope there, for it knows nothing of the noise.
pub(crate) fn own_photon<T: Pixel>(
    image: ImageView<'_, T>,
    variance: ImageView<'_, T>,
    mask: &Mask,
) -> f64 {
    let (height, width) = image.shape();
    let stride = 2 * (image.pixels().len() / (4 * SAMPLE)).max(1);
    let rows: Vec<usize> = (0..height.saturating_sub(1)).step_by(stride).collect();
    let of_row = |y: usize| {
        let differences = (0..width.saturating_sub(1)).step_by(2).filter_map(move |x| {
            let mut corners = [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)].into_iter();
            let good = corners.all(|(y, x)| mask.at(y, x).is_empty());
            good.then(|| [image, variance].map(|plane| plane.mixed_difference(y, x)))
        });
        differences.collect::<Vec<_>>()
    };
    let mut differences: Vec<[f64; 2]> = rows.into_par_iter().flat_map_iter(of_row).collect();
    // Cores of stars, cosmic rays and seams are no noise.
    if keep_near_zero(&mut differences, CLIP).is_none() {
        return 0.0;
    }
    let sum = |j: usize, k: usize| differences.iter().map(|pair| pair[j] * pair[k]).sum::<f64>();
    let (of_image, of_both, of_variance) = (sum(0, 0), sum(0, 1), sum(1, 1));
    let follows = of_both > 0.0 && of_both * of_both >= LEAST_SHARE * of_image * of_variance;
    if follows { of_both / of_image } else { 0.0 }
}

/// Groups of four pixels: the slope of a plane that follows its pixels is known to a part in a hundred by far fewer.
const SAMPLE: usize = 1 << 15;

/// In standard deviations.
const CLIP: f64 = 5.0;

/// The share of the plane's pixel-to-pixel variance that has to be explained by the image's: seams, flat fields and roundings have the rest. By chance it is 10⁻⁴.
const LEAST_SHARE: f64 = 0.5;

#[cfg(test)]
mod tests {
    use dia_core::simulate::{SimulationOptions, simulate};
    use dia_core::{Image, Mask};

    use super::own_photon;

    /// A crowded field of a gain of 2 e⁻/ADU and a read noise of 3 e⁻, and the truth of its target.
    fn field() -> (Image<f64>, Image<f64>) {
        let options = SimulationOptions {
            height: 160,
            width: 160,
            density: 60.0,
            gain: 2.0,
            read_noise: 3.0,
            cosmic_rays: 5,
            ..SimulationOptions::default()
        };
        let pair = simulate(&options).unwrap();
        (pair.target, pair.target_noiseless)
    }

    #[test]
    fn a_plane_of_the_own_pixels_is_told_from_one_of_the_truth() {
        let (image, truth) = field();
        let mask = Mask::good(160, 160);
        let variance = |of: &Image<f64>| of.map(|v| 1.5 * 1.5 + v.max(0.0) / 2.0);
        let own = own_photon(image.view(), variance(&image).view(), &mask);
        assert!((own - 0.5).abs() < 1e-6, "{own}");
        assert_eq!(own_photon(image.view(), variance(&truth).view(), &mask), 0.0);
        assert_eq!(own_photon(image.view(), image.map(|_| 7.0).view(), &mask), 0.0);
    }

    #[test]
    fn flat_fields_and_rounding_do_not_hide_it() {
        let (image, _) = field();
        let mask = Mask::good(160, 160);
        // Sensitivities that differ by ± 1.5 % from pixel to pixel, and variances in whole units.
        let flat = |i: usize| 1.0 + 0.015 * if (7 * i) % 5 < 2 { 1.0 } else { -1.0 };
        let pixels = image.view().pixels().iter().enumerate();
        let pixels = pixels.map(|(i, v)| (2.25 + v / (2.0 * flat(i))).round()).collect();
        let variance = Image::from_vec(160, 160, pixels).unwrap();
        let own = own_photon(image.view(), variance.view(), &mask);
        // 6000 groups with a share of r² ≈ 0.9: the slope is known to 1/3 over the root of their number.
        assert!((own - 0.5).abs() < 0.02, "{own}");
    }
}
