//! What the measurements are worth: completeness, pulls and false alarms, from injected stars.

use dia_core::Image;

use crate::inject::{add, draw};
use crate::{
    DetectOptions, Detection, ForcedFlux, ForcedOptions, InjectOptions, Injected, PhotometryError,
    Scene, ScoreOptions, detect, forced, score,
};

/// Mean and standard deviation of (measured − true)/σ: 0 and 1 if errors are true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pull {
    /// Number of measurements.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation about it.
    pub deviation: f64,
}

impl Pull {
    /// Of the finite ones of given pulls.
    pub fn of(pulls: impl IntoIterator<Item = f64>) -> Self {
        let pulls: Vec<f64> = pulls.into_iter().filter(|pull| pull.is_finite()).collect();
        let count = pulls.len();
        let mean = pulls.iter().sum::<f64>() / count as f64;
        let squares: f64 = pulls.iter().map(|pull| (pull - mean).powi(2)).sum();
        Self { count, mean, deviation: (squares / (count as f64 - 1.0)).sqrt() }
    }
}

/// Of the stars in one range of S/N, how many were found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Completeness {
    /// The range of S/N.
    pub range: (f64, f64),
    /// Stars injected.
    pub injected: usize,
    /// Stars detected within two pixels.
    pub found: usize,
}

/// What became of injected stars.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Stars injected.
    pub stars: Vec<Injected>,
    /// Whether each was found.
    pub found: Vec<bool>,
    /// (measured − true)/σ of the forced flux at the true place of each star; NaN where there is none.
    pub flux_pulls: Vec<f64>,
    /// The same of both coordinates of refined positions, of stars above 10 σ.
    pub position_pulls: Vec<f64>,
    /// Of the fluxes.
    pub flux_pull: Pull,
    /// Of the positions.
    pub position_pull: Pull,
    /// Detections before anything was injected.
    pub detections: usize,
    /// Those that Gaussian noise alone makes.
    pub expected_false_alarms: f64,
}

impl Certificate {
    /// Completeness in ranges of S/N that start at `edges`.
    pub fn completeness(&self, edges: &[f64]) -> Vec<Completeness> {
        let of = |range: (f64, f64)| {
            let inside = self.stars.iter().zip(&self.found).filter(|(star, _)| {
                star.signal_to_noise >= range.0 && star.signal_to_noise < range.1
            });
            let found = inside.clone().filter(|(_, found)| **found).count();
            Completeness { range, injected: inside.count(), found }
        };
        edges.windows(2).map(|edge| of((edge[0], edge[1]))).collect()
    }

    /// The S/N at which half of the stars are found: see [`half_complete`].
    pub fn half_complete(&self) -> Option<f64> {
        let stars: Vec<(f64, bool)> = self
            .stars
            .iter()
            .zip(&self.found)
            .map(|(star, found)| (star.signal_to_noise, *found))
            .collect();
        half_complete(&stars)
    }
}

/// The S/N s₀ at which half of the stars (S/N, found) are found: the most likely one if Gaussian noise of σ = 1 decides, Φ(S/N − s₀). `None` unless some were
/// found and some not.
///
/// Some stars are lost for another reason, beside a bad column or another star, whatever their S/N: one that is far above s₀ would draw it upwards by as much. So there is
/// a share λ of such stars, found in (1 − λ) Φ(S/N − s₀); each that is not found is one of them with a probability, which is left out of the rest in turn (expectation
/// maximisation; Dempster, Laird & Rubin 1977).
pub fn half_complete(stars: &[(f64, bool)]) -> Option<f64> {
    let any = |which: bool| stars.iter().any(|(_, found)| *found == which);
    if !(any(true) && any(false)) {
        return None;
    }
    let mut share = 0.01;
    let mut s0 = balance(stars, |_| 1.0);
    for _ in 0..100 {
        let of_noise = |s: f64| {
            let noise = (1.0 - share) * found_part(s0, s);
            noise / (noise + share)
        };
        let lost = stars.iter().filter(|(_, found)| !found);
        let otherwise = lost.map(|(s, _)| 1.0 - of_noise(*s)).sum::<f64>();
        (s0, share) = (balance(stars, of_noise), otherwise / stars.len() as f64);
    }
    Some(s0)
}

/// The most likely s₀ of Φ(S/N − s₀), where each star that was not found counts with a weight by its S/N; by bisection of the likelihood's slope, which falls.
fn balance(stars: &[(f64, bool)], weight: impl Fn(f64) -> f64) -> f64 {
    // d/ds₀ Σ ln Φ(±(S/N − s₀)) = Σ ∓ φ/Φ falls with s₀.
    let slope = |s0: f64| -> f64 {
        stars
            .iter()
            .map(|(s, found)| {
                let z = s - s0;
                if *found { -hazard(z) } else { weight(*s) * hazard(-z) }
            })
            .sum()
    };
    let (mut low, mut high) = (0.0, 100.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The part Φ(S/N − s₀) of stars that is found where half of them are found at s₀.
pub fn found_part(signal_to_noise: f64, half_complete: f64) -> f64 {
    let z = signal_to_noise - half_complete;
    // Beyond, Φ is 0 or 1 to all digits that anyone looks at.
    if z.abs() > 8.0 { f64::from(z > 0.0) } else { density(z) / hazard(z) }
}

/// φ(z) of the normal distribution.
fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
}

/// φ(z)/Φ(z) of the normal distribution, by the continued fraction of Mills' ratio below −3 and by a series of Φ above.
fn hazard(z: f64) -> f64 {
    if z < -3.0 {
        // φ/Φ(z) = |z| + 1/(|z| + 2/(|z| + 3/…)).
        return (1..=40).rev().fold(-z, |tail, k| -z + f64::from(k) / tail);
    }
    let density = density(z);
    // Φ(z) = ½ + φ(z) (z + z³/3 + z⁵/15 + …).
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    while f64::abs(term) > 1e-16 * f64::abs(sum) && odd < 400.0 {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    if z > 8.0 { density } else { density / (0.5 + density * sum) }
}

/// Injects stars into the difference, finds and measures them again. That checks everything but what the fit itself does to a new star; for that, inject
/// into the target by [`draw`] and [`add`], subtract again, and [`compare`].
///
/// # Errors
/// Those of [`score`] and [`detect`].
pub fn certify(
    scene: &Scene<'_>,
    score_options: &ScoreOptions,
    detect_options: &DetectOptions,
    options: &InjectOptions,
) -> Result<Certificate, PhotometryError> {
    let before = score(scene, score_options)?;
    let stars = draw(scene, &before, options)?;
    let mut difference: Image<f32> = scene.difference.to_owned();
    add(scene, &mut difference, &stars);
    let after = Scene { difference: difference.view(), ..*scene };
    let found = detect(&after, &score(&after, score_options)?, detect_options)?;
    let mut certificate = compare(&after, stars, &found)?;
    certificate.detections = detect(scene, &before, detect_options)?.len();
    certificate.expected_false_alarms = before.expected_false_alarms(detect_options.threshold);
    Ok(certificate)
}

/// Compares injected stars with what was detected and what is measured at their places in a scene that holds them. `detections` and
/// `expected_false_alarms` are those of this scene: none.
///
/// # Errors
/// That of [`forced`].
pub fn compare(
    scene: &Scene<'_>,
    stars: Vec<Injected>,
    detections: &[Detection],
) -> Result<Certificate, PhotometryError> {
    let positions: Vec<(f64, f64)> = stars.iter().map(|star| (star.x, star.y)).collect();
    let fixed = forced(scene, &positions, &ForcedOptions::default())?;
    let pull =
        |(row, star): (&ForcedFlux, &Injected)| (row.flux.value - star.flux) / row.flux.sigma;
    let flux_pulls: Vec<f64> = fixed.iter().zip(&stars).map(pull).collect();
    let near = |star: &Injected| {
        detections.iter().any(|detection| {
            let (x, y) = detection.peak;
            (x as f64 - star.x).hypot(y as f64 - star.y) <= 2.0
        })
    };
    let found: Vec<bool> = stars.iter().map(near).collect();
    let refined_options = ForcedOptions { refine: true, ..Default::default() };
    let bright: Vec<&Injected> = stars.iter().filter(|star| star.signal_to_noise > 10.0).collect();
    let places: Vec<(f64, f64)> = bright.iter().map(|star| (star.x, star.y)).collect();
    let refined = forced(scene, &places, &refined_options)?;
    let offsets = refined.iter().zip(&bright).filter_map(|(row, star)| {
        let [xx, yy, _] = row.position_covariance?;
        Some([(row.x - star.x) / xx.sqrt(), (row.y - star.y) / yy.sqrt()])
    });
    let position_pulls: Vec<f64> = offsets.flatten().collect();
    Ok(Certificate {
        flux_pull: Pull::of(flux_pulls.iter().copied()),
        position_pull: Pull::of(position_pulls.iter().copied()),
        flux_pulls,
        position_pulls,
        found,
        stars,
        detections: 0,
        expected_false_alarms: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::{found_part, half_complete, hazard};

    #[test]
    fn the_part_that_is_found_is_the_normal_distribution() {
        assert!((found_part(5.0, 5.0) - 0.5).abs() < 1e-14);
        assert!((found_part(6.0, 5.0) - 0.841_344_746_068_543).abs() < 1e-13);
        assert!((found_part(2.0, 6.0) - 3.167_124_183_311_986e-5).abs() < 1e-12);
        assert_eq!((found_part(50.0, 5.0), found_part(0.0, 50.0)), (1.0, 0.0));
    }

    #[test]
    fn the_hazard_is_that_of_the_normal_distribution() {
        // Φ(0) = ½; Φ(1) = 0.841344746068543; Φ(−4) = 3.167124183311986e−5.
        assert!((hazard(0.0) - 0.797_884_560_802_865).abs() < 1e-14);
        assert!((hazard(1.0) - 0.241_970_724_519_143 / 0.841_344_746_068_543).abs() < 1e-13);
        assert!((hazard(-4.0) - 1.338_302_257_648_853e-4 / 3.167_124_183_311_986e-5).abs() < 1e-8);
    }

    #[test]
    fn half_completeness_lies_where_found_and_lost_balance() {
        let stars: Vec<(f64, bool)> =
            (0..40).map(|i| (3.0 + 0.1 * f64::from(i), i >= 20)).collect();
        // 3.0 … 4.9 lost and 5.0 … 6.9 found lie symmetrically about 4.95.
        assert!((half_complete(&stars).unwrap() - 4.95).abs() < 1e-6);
        assert_eq!(half_complete(&[(3.0, true)]), None);
        // A bright star that is lost for another reason says nothing of s₀; without a share of such stars it would draw it to 7.1. The share takes a few in a hundred of those
        // that are lost close to s₀, too.
        let with_lost = [&stars[..], &[(40.0, false)]].concat();
        assert!((half_complete(&with_lost).unwrap() - 4.95).abs() < 0.06);
    }
}
