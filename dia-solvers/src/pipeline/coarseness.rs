//! How coarse the values of an image are: integers, or photons that were counted.

use dia_core::{CcdNoise, ImageView, Mask, NoiseModel, Pixel, robust};

/// Pixels that are looked at.
const SAMPLE: usize = 4096;

/// From this part of σ on, quantiles of the residuals tell the steps between values rather than noise: with a step of 0.3 σ, the median of |z| is known to 0.05 σ, 7 % of it.
const COARSE: f64 = 0.3;

/// Values beyond this many σ are none of noise; of the few photons of a sky of 0.3 e⁻, those beyond have 3 % of the variance.
const CLIP: f64 = 4.5;

/// The mean distance in ADU between the values that the middle half of the pixels have; of values that are not coarse, hardly anything.
pub(crate) fn step<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> f64 {
    let (pixels, planes) = (image.pixels(), mask.planes());
    // An odd stride meets every column of an image of even width.
    let stride = (pixels.len() / SAMPLE) | 1;
    let good = (0..pixels.len()).step_by(stride).filter(|i| planes[*i].is_empty());
    let mut values: Vec<f64> =
        good.map(|i| pixels[i].widen()).filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let mut middle = values[quarter..values.len() - quarter].to_vec();
    middle.dedup();
    // Of a photon in every third pixel, the middle half has one value.
    let (Some(first), Some(last)) = (middle.first(), middle.last()) else { return 0.0 };
    let next = values[values.partition_point(|value| value <= last)..].first().unwrap_or(last);
    (next - first) / middle.len() as f64
}

/// The variance that rounding to values `step` apart added, in ADU²: (s² − g²)/12 where values were g apart before, as electrons are.
pub(crate) fn rounding<T: Pixel>(noise: &NoiseModel<'_, T>, step: f64) -> f64 {
    let of = |ccd: &CcdNoise| (step.powi(2) - ccd.photon(1.0).powi(2)).max(0.0) / 12.0;
    if let NoiseModel::Ccd(ccd, _) = noise { of(ccd) } else { 0.0 }
}

/// The robust scatter of residuals in units of their noise σ, of which the values were `step` apart, in σ: the standard deviation of those within a few of it where that is coarse.
pub(crate) fn scatter(z: &(impl Iterator<Item = f64> + Clone), step: f64) -> Option<f64> {
    let (middle, robust) = robust::median_and_scatter(z.clone())?;
    if step.is_nan() || step < COARSE {
        return Some(robust);
    }
    let (mut mean, mut sigma) = (middle, robust.max(1.0));
    for _ in 0..20 {
        let near = || z.clone().filter(|z| (z - mean).abs() <= CLIP * sigma);
        let count = near().count() as f64;
        let about = near().sum::<f64>() / count;
        sigma = (near().map(|z| (z - about).powi(2)).sum::<f64>() / count).sqrt();
        mean = about;
    }
    Some(sigma)
}

#[cfg(test)]
mod tests {
    use dia_core::{CcdNoise, Image, Mask, NoiseModel};

    use super::{rounding, scatter, step};

    /// Uniform numbers.
    fn uniform(state: &mut u64) -> f64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Photons of a mean λ (Knuth).
    fn photons(state: &mut u64, mean: f64) -> f64 {
        let (mut count, mut product) = (0.0, uniform(state));
        while product > (-mean).exp() {
            count += 1.0;
            product *= uniform(state);
        }
        count
    }

    #[test]
    fn photons_scatter_by_their_noise() {
        let mut state = 1;
        for mean in [0.3_f64, 0.5, 1.0, 2.0, 3.0, 10.0] {
            let image = Image::from_fn(100, 200, |_, _| photons(&mut state, mean));
            let apart = step(image.view(), &Mask::good(100, 200));
            // One in fifty is a star's.
            let star = |i: usize| if i.is_multiple_of(50) { 40.0 } else { 0.0 };
            let z: Vec<f64> = image
                .pixels()
                .iter()
                .enumerate()
                .map(|(i, value)| (value - mean + star(i)) / mean.sqrt())
                .collect();
            assert_eq!(apart, 1.0);
            let found = scatter(&z.into_iter(), apart / mean.sqrt()).unwrap();
            assert!((found - 1.0).abs() < 0.06, "{mean}: {found}");
        }
    }

    #[test]
    fn rounded_values_scatter_by_noise_and_rounding() {
        let mut state = 1;
        let ccd = CcdNoise { gain: 30.0, read_noise: 5.0, subtracted_sky: 0.0 };
        for sigma in [0.4, 0.6, 1.2] {
            // Twelve uniform numbers added up have a variance of one.
            let mut noise = || (0..12).map(|_| uniform(&mut state)).sum::<f64>() - 6.0;
            let image = Image::from_fn(100, 200, |_, _| (10.3 + sigma * noise()).round());
            let apart = step(image.view(), &Mask::good(100, 200));
            assert_eq!(apart, 1.0);
            let more: f64 = rounding(&NoiseModel::<f64>::Ccd(ccd, None), apart);
            let expected = (sigma * sigma + more).sqrt();
            let z: Vec<f64> = image.pixels().iter().map(|v| (v - 10.3) / expected).collect();
            // Of rounding errors, which depend on the value; and 20 000 values have an error of 0.5 %.
            let found = scatter(&z.into_iter(), apart / expected).unwrap();
            assert!((found - 1.0).abs() < 0.03, "{sigma}: {found}");
        }
    }
}
