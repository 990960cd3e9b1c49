//! The score image: how significant a point source is at each pixel, and its flux.

use dia_core::{Image, Kernel};

use crate::filter::{Filter, peak_curvature, peak_density, whitened_twice};
use crate::linear::fit_term;
use crate::tiles::map;
use crate::{PhotometryError, Scene};

/// How the score is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreOptions {
    /// Least part of the optimal weight that lies on pixels with a difference; below it there is no score.
    pub least_coverage: f64,
    /// Whether the error of the fit is in the variance at every pixel, at n² operations for n parameters. Detections and forced photometry have it anyway.
    pub fit_term: bool,
}

impl Default for ScoreOptions {
    /// Half of the weight, without the fit's term.
    fn default() -> Self {
        Self { least_coverage: 0.5, fit_term: false }
    }
}

/// The proper score of a point source at every pixel, on the difference's grid; NaN where the difference is missing or covers too little of the weight.
#[derive(Clone, Debug)]
pub struct Score {
    /// S_corr = S/√V_S: Gaussian noise of variance 1 where nothing changed.
    pub significance: Image<f32>,
    /// α = S/F, the flux in target ADU of a point source at the pixel's centre.
    pub flux: Image<f32>,
    /// σ_α in target ADU. Five of these are the limiting flux.
    pub flux_error: Image<f32>,
    /// The part of the weight that lies on pixels with a difference, 0 to 1.
    pub coverage: Image<f32>,
    /// Number of pixels with a score, and √det Λ of each tile.
    curvatures: Vec<(usize, f64)>,
}

/// Filters the difference by F̂ = P̂_n* / (σ_n² + σ_r² |K̂|²) with the kernel of each tile.
///
/// S(p) = Σ_u w(u) D(p + u) over the pixels with a difference, V_S(p) = Σ w² V_n + Σ (𝒦ᵀ w)² V_r from the original variances, and F = Σ w P_n over the same
/// pixels (Kaiser 2004; Zackay, Ofek & Gal-Yam 2016; DMTN-179). Beside a masked pixel V_S keeps the reference's noise that the pixel had: a few per cent too
/// much, never too little; [`forced`](crate::forced()) has none of that.
///
/// # Errors
/// That of [`Scene::validate`]; [`PhotometryError::Empty`] if no pixel has a score.
pub fn score(scene: &Scene<'_>, options: &ScoreOptions) -> Result<Score, PhotometryError> {
    scene.validate()?;
    let (height, width) = scene.difference.shape();
    let of_tile = |tile: crate::tiles::Tile| {
        let (cy, cx) = tile.centre();
        let sky = scene.sky_variance(cy, cx)?;
        let kernel = scene.kernel_at(cy, cx);
        let psf = scene.psf(&kernel, 0.0, 0.0);
        let half_width = psf.half_width();
        let weights = whitened_twice(&[&psf], &kernel, sky, half_width).remove(0);
        let light = Kernel::from_fn(half_width, |dy, dx| weights.at(dy, dx) * psf.at(dy, dx));
        let filter = Filter::new(weights, &kernel);
        let difference = |y: isize, x: isize| scene.difference_at(y, x);
        let s = tile.correlate(&filter.weights, |y, x| difference(y, x).unwrap_or(0.0));
        let covered = tile.correlate(&light, |y, x| f64::from(difference(y, x).is_some()));
        let target = tile.correlate(&filter.weights.squared(), |y, x| {
            if difference(y, x).is_some() { scene.target_variance_at(y, x) } else { 0.0 }
        });
        let through = filter.reference_weights.squared();
        let reference = tile.correlate(&through, |y, x| scene.reference_variance_at(y, x));
        let f = light.photometric_scale();
        let pixels: Vec<[f64; 4]> = (0..s.len())
            .map(|i| {
                let (y, x) = (tile.y + i / tile.width, tile.x + i % tile.width);
                let coverage = covered[i] / f;
                if coverage < options.least_coverage || difference(y as isize, x as isize).is_none()
                {
                    return [f64::NAN, f64::NAN, f64::NAN, coverage];
                }
                let mut variance = target[i] + reference[i];
                if options.fit_term {
                    let independent = variance;
                    variance += fit_term(scene, y, x, &filter.weights);
                    // The correlation between the fit and its own pixels takes away less than there is.
                    variance = variance.max(0.1 * independent);
                }
                [s[i] / variance.sqrt(), s[i] / covered[i], variance.sqrt() / covered[i], coverage]
            })
            .collect();
        let scored = pixels.iter().filter(|pixel| pixel[0].is_finite()).count();
        Some((pixels, scored, peak_curvature(&psf, &kernel, sky)))
    };
    let mut planes: [Image<f32>; 4] =
        std::array::from_fn(|_| Image::filled(height, width, f32::NAN));
    planes[3] = Image::filled(height, width, 0.0);
    let mut curvatures = Vec::new();
    for (tile, result) in map(height, width, of_tile) {
        let Some((pixels, scored, curvature)) = result else { continue };
        for (i, values) in pixels.iter().enumerate() {
            for (plane, value) in planes.iter_mut().zip(values) {
                plane.pixels_mut()[tile.place(i, width)] = *value as f32;
            }
        }
        curvatures.push((scored, curvature));
    }
    if curvatures.iter().all(|(scored, _)| *scored == 0) {
        return Err(PhotometryError::Empty);
    }
    let [significance, flux, flux_error, coverage] = planes;
    Ok(Score { significance, flux, flux_error, coverage, curvatures })
}

impl Score {
    /// The faintest flux in ADU that is `threshold` σ, at every pixel.
    pub fn limiting_flux(&self, threshold: f32) -> Image<f32> {
        self.flux_error.map(|sigma| threshold * sigma)
    }

    /// How many detections of both signs above `threshold` Gaussian noise alone makes: √det Λ · ν e^(−ν²/2)/(2π)^(3/2) per pixel and sign (Kaiser
    /// 2004) times [`SAMPLED_PEAKS`], from the score's own second moments.
    pub fn expected_false_alarms(&self, threshold: f64) -> f64 {
        let of_tile = |(scored, curvature): &(usize, f64)| {
            *scored as f64 * peak_density(*curvature, threshold)
        };
        2.0 * SAMPLED_PEAKS * self.curvatures.iter().map(of_tile).sum::<f64>()
    }
}

/// Connected regions above 3.5 to 5 σ of a field that is sampled at pixels, over the asymptotic number of peaks of the continuous field; measured by the
/// example `certify_simulations` (Kaiser's formula is some 20 % high there, as DMTN-006 found).
pub const SAMPLED_PEAKS: f64 = 0.80;
