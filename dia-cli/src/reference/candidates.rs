//! The reference where none is given: the frame of the sharpest stars among those that are deep enough.

use anyhow::{Context, Result};
use dia_core::{seeing, stars};
use serde::{Deserialize, Serialize};

use super::args::NightArgs;
use super::frames::Frame;
use super::key::Key;
use super::log::{Log, Weight};
use super::work::Crew;
use crate::fits::FitsSpec;
use crate::input::{Input, Real, Role};
use crate::report::write_json;
use crate::terminal::chain;

/// A frame is deep enough if the noise of a point source in it, over its stars' fluxes, is at most so many times that of the deepest.
const DEEP: f64 = 2.0;

/// Stars whose fluxes tell the transparency.
const STARS: usize = 50;

/// The choice as it is kept, for it takes all frames to be read.
#[derive(Serialize, Deserialize)]
struct Choice {
    key: String,
    given: String,
}

/// What is known of a candidate.
struct Quality {
    fwhm: f64,
    /// σ of a point source's flux in parts of the median star's.
    depth: f64,
}

/// The best of the frames.
///
/// # Errors
/// If the seeing of none can be measured.
pub(super) fn among<T: Real>(frames: &[Frame], args: &NightArgs, log: &Log) -> Result<FitsSpec> {
    let said = format!("{:?} {:?}", args.noise, T::PRECISION);
    let key = frames.iter().fold(Key::of(&said), |key, frame| {
        // What cannot be read is no candidate.
        key.with_files(&[&frame.spec.path]).unwrap_or(key)
    });
    let path = args.output.join("reference.json");
    let kept: Option<Choice> =
        std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let of = |given: &str| frames.iter().find(|frame| frame.given == given);
    if let Some(frame) =
        kept.filter(|kept| kept.key == key.to_hex()).and_then(|kept| of(&kept.given))
    {
        return Ok(frame.spec.clone());
    }
    let crew = Crew::of(args.run.threads, args.jobs, frames.len(), (0, None));
    let qualities = crew.each(frames, |frame| {
        let input =
            Input::<T>::read(&frame.spec, Role::Reference, &args.noise.of(Role::Reference))?;
        let mask = input.unusable();
        let fwhm = seeing::fwhm(input.image.view(), &mask).context("no seeing")?;
        let mut fluxes: Vec<f64> =
            stars::find(input.image.view(), &mask, STARS).iter().map(|star| star.flux).collect();
        let flux = dia_core::robust::median(&mut fluxes).context("no stars")?;
        let sky = input.sky.context("the noise of the sky cannot be told")?;
        Ok(Quality { fwhm, depth: fwhm * sky.sigma / flux })
    })?;
    for (frame, quality) in frames.iter().zip(&qualities) {
        if let Err(error) = quality {
            let text = format!("cannot be the reference: {}", chain(error));
            log.tell(Weight::Info, &frame.id, "reference", &text);
        }
    }
    let known = || frames.iter().zip(&qualities).filter_map(|(f, q)| Some((f, q.as_ref().ok()?)));
    let deepest = known().map(|(_, quality)| quality.depth).fold(f64::INFINITY, f64::min);
    let deep = known().filter(|(_, quality)| quality.depth <= DEEP * deepest);
    let (frame, quality) = deep.min_by(|a, b| a.1.fwhm.total_cmp(&b.1.fwhm)).context(
        "no frame can be the reference: the seeing of none can be measured; give --reference FILE",
    )?;
    let text = format!("{} is the reference, with a seeing of {:.2} px", frame.given, quality.fwhm);
    log.tell(Weight::Info, "", "reference", &text);
    write_json(&path, &Choice { key: key.to_hex(), given: frame.given.clone() })?;
    Ok(frame.spec.clone())
}
