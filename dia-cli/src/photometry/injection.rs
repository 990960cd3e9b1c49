//! What the measurements of a subtraction are worth: stars of known flux in its target, subtracted and found again.

use anyhow::{Context, Result, ensure};
use dia_core::Image;
use dia_photometry::{
    Certificate, DetectOptions, InjectOptions, Injected, Pull, ScoreOptions, compare, detect,
    half_complete, inject, score,
};
use serde::Serialize;

use super::Scenery;
use crate::fits::FitsSpec;
use crate::input::{Input, Real};
use crate::request::SubtractRequest;
use crate::subtraction::subtract;

/// Where the ranges of S/N begin and end in which completeness is told.
const EDGES: [f64; 9] = [2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0];

/// How many stars, and from which significance on they are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InjectRequest {
    pub(crate) count: usize,
    pub(crate) threshold: f64,
}

/// The section `injection` of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InjectionReport {
    /// Stars that found room.
    stars: usize,
    /// S/N at which half of them are found; null if all or none were.
    half_complete: Option<f64>,
    completeness: Vec<Range>,
    /// (measured − true)/σ of forced fluxes at the true places, and of both coordinates of refined places above S/N 10.
    flux_pull: PullReport,
    position_pull: PullReport,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Range {
    from: f64,
    to: f64,
    injected: usize,
    found: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct PullReport {
    count: usize,
    mean: Option<f64>,
    deviation: Option<f64>,
}

impl From<Pull> for PullReport {
    fn from(pull: Pull) -> Self {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        Self { count: pull.count, mean: finite(pull.mean), deviation: finite(pull.deviation) }
    }
}

/// Pixels for each star of a round: more stars would be a field of their own, which the fit takes for variables or fits.
const PIXELS_PER_STAR: usize = 64 * 64;

impl InjectRequest {
    /// Adds stars to the target, away from those of the reference and from what has changed, subtracts again, and compares; in several rounds, each with a part of the
    /// stars, so that they do not disturb the fit. `first` is what came of the pair as it is.
    ///
    /// The stars have the PSF that the first subtraction found, and no photon noise of their own: the noise planes stay true.
    pub(crate) fn run<T: Real>(
        self,
        first: &Scenery,
        pair: &(Input<T>, Input<T>),
        request: &SubtractRequest,
        psf: Option<&FitsSpec>,
    ) -> Result<InjectionReport> {
        let name = pair.1.taken.image.clone();
        let failed = || format!("{name}: stars cannot be injected");
        let scene = first.scene();
        let before = score(&scene, &ScoreOptions::default()).with_context(failed)?;
        let detecting = DetectOptions { threshold: self.threshold, ..Default::default() };
        let changed = detect(&scene, &before, &detecting).with_context(failed)?;
        let options = InjectOptions { count: self.count, ..Default::default() };
        // What merges with a detection is no star that was lost.
        let is_alone = |star: &Injected| {
            changed.iter().all(|detection| {
                let (x, y) = detection.peak;
                (x as f64 - star.x).hypot(y as f64 - star.y) > options.separation
            })
        };
        let mut stars = inject::draw(&scene, &before, &options).with_context(failed)?;
        stars.retain(is_alone);
        ensure!(
            !stars.is_empty(),
            "{name}: there is no room for injected stars away from those of the reference; leave out --inject"
        );
        let (height, width) = first.difference.view().shape();
        let rounds = stars.len().div_ceil((height * width / PIXELS_PER_STAR).max(1));
        let mut certificates = Vec::new();
        for round in 0..rounds {
            let part: Vec<Injected> = stars.iter().skip(round).step_by(rounds).copied().collect();
            let mut light = Image::filled(height, width, 0.0_f32);
            inject::add(&scene, &mut light, &part);
            let (reference, mut target) = pair.clone();
            for (pixel, light) in target.image.pixels_mut().iter_mut().zip(light.pixels()) {
                *pixel = T::narrow(pixel.widen() + f64::from(*light));
            }
            let second = subtract(reference, target, request, &mut |_| ())
                .context("the subtraction of the target with injected stars failed")?;
            let second = Scenery::of(&second, psf)?;
            let scene = second.scene();
            let after = score(&scene, &ScoreOptions::default()).with_context(failed)?;
            let found = detect(&scene, &after, &detecting).with_context(failed)?;
            certificates.push(compare(&scene, part, &found).with_context(failed)?);
        }
        Ok(InjectionReport::of(&certificates))
    }
}

/// The pull of all measurements together.
fn joined(pulls: impl Iterator<Item = Pull> + Clone) -> Pull {
    let some = pulls.filter(|pull| pull.count > 0);
    let count: usize = some.clone().map(|pull| pull.count).sum();
    let mean = some.clone().map(|pull| pull.count as f64 * pull.mean).sum::<f64>() / count as f64;
    let squares = |pull: Pull| {
        // That of a single one about its mean is zero, and its deviation not a number.
        let about = if pull.count > 1 { pull.deviation.powi(2) } else { 0.0 };
        (pull.count as f64 - 1.0) * about + pull.count as f64 * (pull.mean - mean).powi(2)
    };
    let deviation = (some.map(squares).sum::<f64>() / (count as f64 - 1.0)).sqrt();
    Pull { count, mean, deviation }
}

impl InjectionReport {
    fn of(certificates: &[Certificate]) -> Self {
        let pairs = |certificate: &Certificate| -> Vec<(f64, bool)> {
            let stars = certificate.stars.iter().map(|star| star.signal_to_noise);
            stars.zip(certificate.found.iter().copied()).collect()
        };
        let stars: Vec<(f64, bool)> = certificates.iter().flat_map(pairs).collect();
        let range = |edge: &[f64]| {
            let inside = stars.iter().filter(|(s, _)| (edge[0]..edge[1]).contains(s));
            let found = inside.clone().filter(|(_, found)| *found).count();
            Range { from: edge[0], to: edge[1], injected: inside.count(), found }
        };
        Self {
            stars: stars.len(),
            half_complete: half_complete(&stars),
            completeness: EDGES.windows(2).map(range).collect(),
            flux_pull: joined(certificates.iter().map(|c| c.flux_pull)).into(),
            position_pull: joined(certificates.iter().map(|c| c.position_pull)).into(),
        }
    }

    /// A line for the terminal.
    pub(super) fn summary(&self) -> String {
        let half =
            self.half_complete.map_or("no S/N in particular".to_owned(), |s| format!("S/N {s:.2}"));
        let pull = |pull: &PullReport| match (pull.mean, pull.deviation) {
            (Some(mean), Some(deviation)) => format!("{mean:+.2} ± {deviation:.2}"),
            _ => "unknown".to_owned(),
        };
        format!(
            "{} stars injected into the target: half of them found at {half}; (measured − true)/σ of fluxes {}, of places {}",
            self.stars,
            pull(&self.flux_pull),
            pull(&self.position_pull)
        )
    }
}

#[cfg(test)]
mod tests {
    use dia_photometry::Pull;

    use super::joined;

    #[test]
    fn pulls_of_parts_are_those_of_the_whole() {
        let values = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];
        let whole = Pull::of(values);
        let parts = [Pull::of(values[..1].to_vec()), Pull::of([]), Pull::of(values[1..].to_vec())];
        let pull = joined(parts.into_iter());
        assert_eq!(pull.count, 6);
        assert!((pull.mean - whole.mean).abs() < 1e-15);
        assert!((pull.deviation - whole.deviation).abs() < 1e-15);
    }
}
