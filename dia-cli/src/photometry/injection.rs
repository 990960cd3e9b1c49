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
pub(super) const EDGES: [f64; 9] = [2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0];

/// How many stars, and from which significance on they are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InjectRequest {
    pub(crate) count: usize,
    pub(crate) threshold: f64,
}

/// What became of injected stars.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    /// S/N of each star, and whether it was found.
    pub(super) stars: Vec<(f64, bool)>,
    /// (measured − true)/σ of forced fluxes at the true places, where there are any.
    pub(super) flux_pulls: Vec<f64>,
    /// That of both coordinates of refined places above S/N 10.
    pub(super) position_pulls: Vec<f64>,
}

/// The section `injection` of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InjectionReport {
    /// Stars that found room.
    stars: usize,
    /// S/N at which half of them are found; null if all or none were.
    pub(super) half_complete: Option<f64>,
    pub(super) completeness: Vec<Range>,
    /// Of [`Injection::flux_pulls`] and [`Injection::position_pulls`].
    flux_pull: PullReport,
    position_pull: PullReport,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Range {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) injected: usize,
    pub(super) found: usize,
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
    ) -> Result<Injection> {
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
        let mut injection =
            Injection { stars: Vec::new(), flux_pulls: Vec::new(), position_pulls: Vec::new() };
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
            injection.add(compare(&scene, part, &found).with_context(failed)?);
        }
        Ok(injection)
    }
}

impl Injection {
    fn add(&mut self, part: Certificate) {
        let stars = part.stars.iter().map(|star| star.signal_to_noise);
        self.stars.extend(stars.zip(part.found));
        self.flux_pulls.extend(part.flux_pulls.into_iter().filter(|pull| pull.is_finite()));
        self.position_pulls.extend(part.position_pulls.into_iter().filter(|pull| pull.is_finite()));
    }

    pub(crate) fn report(&self) -> InjectionReport {
        let range = |edge: &[f64]| {
            let inside = self.stars.iter().filter(|(s, _)| (edge[0]..edge[1]).contains(s));
            let found = inside.clone().filter(|(_, found)| *found).count();
            Range { from: edge[0], to: edge[1], injected: inside.count(), found }
        };
        InjectionReport {
            stars: self.stars.len(),
            half_complete: half_complete(&self.stars),
            completeness: EDGES.windows(2).map(range).collect(),
            flux_pull: Pull::of(self.flux_pulls.iter().copied()).into(),
            position_pull: Pull::of(self.position_pulls.iter().copied()).into(),
        }
    }
}

impl InjectionReport {
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
