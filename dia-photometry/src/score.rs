//! The score image: how significant a point source is at each pixel, and its flux.

use dia_core::{Image, Kernel};

use crate::filter::Filter;
use crate::peaks::Curvature;
use crate::place::{Place, Template};
use crate::tiles::{Tile, map};
use crate::{PhotometryError, Scene};

/// How the score is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreOptions {
    /// Least part of the optimal weight that lies on pixels with a difference; below it there is no score.
    pub least_coverage: f64,
}

impl Default for ScoreOptions {
    /// Half of the weight.
    fn default() -> Self {
        Self { least_coverage: 0.5 }
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
    /// Number of pixels with a score, and Λ of each tile.
    curvatures: Vec<(usize, Curvature)>,
}

/// Filters the difference by F̂ = P̂_n* / (σ_n² + σ_r² |K̂|²) with the kernel of each tile.
///
/// S(p) = Σ_u w(u) D(p + u) over the pixels with a difference, V_S(p) = Σ w² V_n + Σ (𝒦ᵀ w)² V_r from the original variances, and F = Σ w P_n over the same
/// pixels (Kaiser 2004; Zackay, Ofek & Gal-Yam 2016; DMTN-179). Beside a masked pixel V_S keeps the reference's noise that the pixel had: a few per cent too
/// much, never too little. The error of the fit, which matters on bright stars, is in no pixel: [`forced`](crate::forced()) and [`detect`](crate::detect())
/// have it, and all that is masked is exact there.
///
/// # Errors
/// That of [`Scene::validate`]; [`PhotometryError::Empty`] if no pixel has a score.
pub fn score(scene: &Scene<'_>, options: &ScoreOptions) -> Result<Score, PhotometryError> {
    scene.validate()?;
    let (height, width) = scene.difference.shape();
    let mut planes: [Image<f32>; 4] =
        std::array::from_fn(|_| Image::filled(height, width, f32::NAN));
    planes[3] = Image::filled(height, width, 0.0);
    let mut curvatures = Vec::new();
    for (tile, result) in map(height, width, |tile| of_tile(scene, *options, tile)) {
        let Some((pixels, curvature)) = result else { continue };
        for (i, values) in pixels.iter().enumerate() {
            for (plane, value) in planes.iter_mut().zip(values) {
                plane.pixels_mut()[tile.place(i, width)] = *value;
            }
        }
        let scored = pixels.iter().filter(|pixel| pixel[0].is_finite()).count();
        curvatures.push((scored, curvature));
    }
    if curvatures.iter().all(|(scored, _)| *scored == 0) {
        return Err(PhotometryError::Empty);
    }
    let [significance, flux, flux_error, coverage] = planes;
    Ok(Score { significance, flux, flux_error, coverage, curvatures })
}

/// Significance, flux, its error and coverage of the pixels of a tile, and Λ.
fn of_tile(
    scene: &Scene<'_>,
    options: ScoreOptions,
    tile: Tile,
) -> Option<(Vec<[f32; 4]>, Curvature)> {
    let difference = |y: isize, x: isize| scene.difference_at(y, x);
    let (cy, cx) = tile.centre();
    let place = Place::at(scene, cy, cx)?;
    let Template { shape, weights } = place.point(0.0, 0.0);
    let light = Kernel::from_fn(place.half_width, |dy, dx| weights.at(dy, dx) * shape.at(dy, dx));
    let filter = Filter::new(weights, &place.kernel);
    let f = light.photometric_scale();
    let s = tile.correlate(&filter.weights, |y, x| difference(y, x).unwrap_or(0.0));
    let covered = if tile.all(place.half_width, |y, x| difference(y, x).is_some()) {
        vec![f; s.len()]
    } else {
        tile.correlate(&light, |y, x| f64::from(difference(y, x).is_some()))
    };
    let target = tile.correlate(&filter.weights.squared(), |y, x| {
        if difference(y, x).is_some() { scene.target_variance_at(y, x) } else { 0.0 }
    });
    let through = filter.reference_weights.squared();
    let reference = tile.correlate(&through, |y, x| scene.reference_variance_at(y, x));
    let of_pixel = |i: usize| {
        let (y, x) = tile.pixel(i);
        let coverage = covered[i] / f;
        let known = coverage >= options.least_coverage && difference(y, x).is_some();
        if !known {
            return [f32::NAN, f32::NAN, f32::NAN, coverage as f32];
        }
        let sigma = (target[i] + reference[i]).sqrt();
        [s[i] / sigma, s[i] / covered[i], sigma / covered[i], coverage].map(|value| value as f32)
    };
    Some(((0..s.len()).map(of_pixel).collect(), place.peak_curvature()))
}

impl Score {
    /// The faintest flux in ADU that is `threshold` σ, at every pixel.
    pub fn limiting_flux(&self, threshold: f32) -> Image<f32> {
        self.flux_error.map(|sigma| threshold * sigma)
    }

    /// How many detections of both signs above `threshold` Gaussian noise alone makes, by the number of its peaks (Kaiser 2004) that a grid of pixels sees: from the
    /// score's own second moments, without any constant that was measured.
    pub fn expected_false_alarms(&self, threshold: f64) -> f64 {
        let of_tile = |(scored, curvature): &(usize, Curvature)| {
            *scored as f64 * curvature.peak_density(threshold)
        };
        2.0 * self.curvatures.iter().map(of_tile).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Image, MaskPlanes};

    use super::{ScoreOptions, score};
    use crate::PhotometryError;
    use crate::scene::tests::Fixture;

    #[test]
    fn a_single_star_has_the_flux_and_significance_of_the_matched_filter() {
        let mut fixture = Fixture::empty(100, 90);
        fixture.add_star(50.0, 40.0, 300.0);
        fixture.add_star(20.0, 70.0, -200.0);
        let score = score(&fixture.scene(), &ScoreOptions::default()).unwrap();
        // White noise of variance 4: σ_α² = 4/ΣP², ΣP² = 1/(4πσ²) of a Gaussian, σ = 1.5.
        let sigma = (4.0 * 4.0 * std::f64::consts::PI * 2.25_f64).sqrt();
        for (y, x, flux) in [(50, 40, 300.0), (20, 70, -200.0)] {
            let at = |plane: &Image<f32>| f64::from(plane.view().at(y, x));
            // Weights that are cut lose 1e-4 of the information; light in their wings 1e-6.
            assert!((at(&score.flux) / flux - 1.0).abs() < 1e-5, "{}", at(&score.flux));
            assert!((at(&score.flux_error) / sigma - 1.0).abs() < 1e-4);
            assert!((at(&score.significance) / (flux / sigma) - 1.0).abs() < 1e-4);
            assert!((at(&score.limiting_flux(5.0)) / (5.0 * sigma) - 1.0).abs() < 1e-4);
        }
        // Far from both, across tiles, nothing.
        assert_eq!(score.significance.view().at(90, 10), 0.0);
        // Between the pixels of a star the score falls as its autocorrelation, e^(−r²/4σ²).
        let next = f64::from(score.flux.view().at(50, 42)) / 300.0;
        assert!((next - (-4.0_f64 / 9.0).exp()).abs() < 1e-4, "{next}");
    }

    #[test]
    fn missing_pixels_have_no_score_and_those_beside_them_the_flux_of_what_is_left() {
        let mut fixture = Fixture::empty(60, 60);
        fixture.add_star(30.0, 30.0, 300.0);
        for y in 0..60 {
            for x in 0..29 {
                fixture.difference.row_mut(y)[x] = f32::NAN;
                fixture.mask.insert(y, x, MaskPlanes::SATURATED);
            }
        }
        let score = score(&fixture.scene(), &ScoreOptions::default()).unwrap();
        assert!(score.significance.view().at(30, 28).is_nan());
        assert!(score.significance.view().at(30, 29).is_finite());
        // All its pixels are those of the star: the ratio is exact whatever is missing.
        assert!((score.flux.view().at(30, 30) - 300.0).abs() < 0.01);
        let covered = f64::from(score.coverage.view().at(30, 30));
        // ΣP² over the columns x ≥ 29 of all: of e^(−x²/σ²), by their sums.
        let column = |x: i32| (-f64::from(x * x) / 2.25).exp();
        let part = (-1..=7).map(column).sum::<f64>() / (-7..=7).map(column).sum::<f64>();
        assert!((covered - part).abs() < 1e-4, "{covered} {part}");
        // σ_α grows as 1/√coverage.
        let sigma = |x: usize| f64::from(score.flux_error.view().at(30, x));
        assert!((sigma(30) / sigma(45) * part.sqrt() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn an_image_without_a_difference_is_an_error() {
        let mut fixture = Fixture::empty(20, 20);
        fixture.difference = Image::filled(20, 20, f32::NAN);
        let error = score(&fixture.scene(), &ScoreOptions::default()).unwrap_err();
        assert_eq!(error, PhotometryError::Empty);
    }
}
