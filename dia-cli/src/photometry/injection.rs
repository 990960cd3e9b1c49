//! What the measurements of a subtraction are worth: stars of known flux in its target, subtracted and found again.

use anyhow::{Context, Result, ensure};
use dia_core::Image;
use dia_photometry::{
    Certificate, DetectOptions, InjectOptions, Pull, ScoreOptions, compare, detect, inject, score,
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

impl InjectRequest {
    /// Adds stars to the target, away from those of the reference, subtracts again, and compares. `first` is what came of the pair as it is.
    ///
    /// The stars have the PSF that the first subtraction found, and no photon noise of their own: the noise planes stay true.
    pub(crate) fn run<T: Real>(
        self,
        first: &Scenery,
        (reference, mut target): (Input<T>, Input<T>),
        request: &SubtractRequest,
        psf: Option<&FitsSpec>,
    ) -> Result<InjectionReport> {
        let name = target.taken.image.clone();
        let failed = || format!("{name}: stars cannot be injected");
        let scene = first.scene();
        let before = score(&scene, &ScoreOptions::default()).with_context(failed)?;
        let options = InjectOptions { count: self.count, ..Default::default() };
        let stars = inject::draw(&scene, &before, &options).with_context(failed)?;
        ensure!(
            !stars.is_empty(),
            "{name}: there is no room for injected stars away from those of the reference; leave out --inject"
        );
        let (height, width) = first.difference.view().shape();
        let mut light = Image::filled(height, width, 0.0_f32);
        inject::add(&scene, &mut light, &stars);
        for (pixel, light) in target.image.pixels_mut().iter_mut().zip(light.pixels()) {
            *pixel = T::narrow(pixel.widen() + f64::from(*light));
        }
        let second = subtract(reference, target, request, &mut |_| ())
            .context("the subtraction of the target with injected stars failed")?;
        let second = Scenery::of(&second, psf)?;
        let scene = second.scene();
        let after = score(&scene, &ScoreOptions::default()).with_context(failed)?;
        let options = DetectOptions { threshold: self.threshold, ..Default::default() };
        let found = detect(&scene, &after, &options).with_context(failed)?;
        let certificate = compare(&scene, stars, &found).with_context(failed)?;
        Ok(InjectionReport::of(&certificate))
    }
}

impl InjectionReport {
    fn of(certificate: &Certificate) -> Self {
        let range = |part: &dia_photometry::Completeness| Range {
            from: part.range.0,
            to: part.range.1,
            injected: part.injected,
            found: part.found,
        };
        Self {
            stars: certificate.stars.len(),
            half_complete: certificate.half_complete(),
            completeness: certificate.completeness(&EDGES).iter().map(range).collect(),
            flux_pull: certificate.flux_pull.into(),
            position_pull: certificate.position_pull.into(),
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
