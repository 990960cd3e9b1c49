//! From frames to a reference: each is matched to the base by the fit of a difference, and the weighted mean is taken without outliers.

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use dia_core::MaskPlanes;
use dia_core::coadd::{Coadd, Layer, Rejection, coadd, weights};
use serde::Serialize;

use super::candidates::{Choice, Quality, choose};
use super::lineage::{Member, Shared, hash};
use crate::align::Shift;
use crate::args::NoiseArgs;
use crate::crew::Crew;
use crate::frames::Frame;
use crate::input::{Input, Real, Role};
use crate::notice::Level;
use crate::request::{Convolve, SubtractRequest};
use crate::subtraction::{Subtraction, planes, subtract};
use crate::terminal::chain;

/// Displacement over the field in pixels from which on a frame is warped: it is not convolved, so that no kernel follows it.
const WARPED_FROM: f64 = 0.5;

/// Image-sized arrays of pixels that a frame keeps until the mean is taken, and bytes of masks beside them.
const KEPT_PLANES: usize = 4;
const KEPT_BYTES: usize = 3;

/// How a reference is made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe<'a> {
    /// At most so many frames.
    pub(crate) most: usize,
    /// Widest seeing, over that of the base.
    pub(crate) widest: f64,
    /// σ from which on a pixel is an outlier.
    pub(crate) clip: f64,
    /// How frames are matched to the base.
    pub(crate) request: &'a SubtractRequest,
    pub(crate) noise: &'a NoiseArgs,
    pub(crate) crew: Crew,
}

/// What became of a frame.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FrameReport {
    pub(crate) file: String,
    /// Whether it is in the reference.
    pub(crate) used: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Seeing in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fwhm: Option<f64>,
    /// σ of a point source over the flux of the median star.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) depth: Option<f64>,
    #[serde(flatten)]
    pub(crate) matched: Option<Matched>,
}

/// How a frame was matched.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Matched {
    /// What its pixels were multiplied by.
    pub(crate) scale: f64,
    pub(crate) scale_sigma: f64,
    /// `shift`, `kernel` or `warp`: as in a report of `dia subtract`.
    pub(crate) decision: &'static str,
    /// Whole pixels, unless the frame was turned or warped: a star's place in the base minus that in the frame.
    #[serde(flatten)]
    pub(crate) moved: Option<Shift>,
    /// Part of the mean.
    pub(crate) weight: f64,
    /// Pixels that were left out as outliers.
    pub(crate) rejected: usize,
}

/// A reference.
pub(crate) struct Made<T> {
    /// The frame on whose grid, scale and sky it is.
    pub(crate) base: Input<T>,
    pub(crate) base_file: String,
    pub(crate) stack: Coadd<T>,
    pub(crate) members: Vec<Member>,
    pub(crate) frames: Vec<FrameReport>,
    /// How many times as significant as in the base a point source is.
    pub(crate) gain: f64,
}

/// A frame on the base's grid, with what the mean needs of it.
struct OnBase<T> {
    layer: Layer<T>,
    hash: String,
    /// Seeing in pixels and σ of the sky's pixels at the base's scale.
    psf_and_noise: (f64, f64),
    matched: Matched,
}

/// Chooses among `frames`, matches the chosen and takes their mean. `tell` hears how each ended.
///
/// # Errors
/// If no frame can be the base.
pub(crate) fn make<T: Real>(
    frames: &[Frame],
    recipe: &Recipe<'_>,
    tell: &(dyn Fn(&Frame, &str) + Sync),
) -> Result<Made<T>> {
    let read = |frame: &Frame| {
        Input::<T>::read(&frame.spec, Role::Reference, &recipe.noise.of(Role::Reference))
    };
    let qualities = recipe.crew.each(frames, |frame| Quality::of(&read(frame)?))?;
    let mut reports: Vec<FrameReport> = frames
        .iter()
        .zip(&qualities)
        .map(|(frame, quality)| FrameReport {
            file: frame.given.clone(),
            used: false,
            reason: quality.as_ref().err().map(chain),
            fwhm: quality.as_ref().ok().map(|quality| quality.fwhm),
            depth: quality.as_ref().ok().map(|quality| quality.depth),
            matched: None,
        })
        .collect();
    let known: Vec<Option<Quality>> = qualities.into_iter().map(Result::ok).collect();
    let Some(Choice { base, members, left_out }) = choose(&known, recipe.most, recipe.widest)
    else {
        let first = reports.iter().find_map(|report| report.reason.clone()).unwrap_or_default();
        bail!(
            "no frame can be the reference: the quality of none can be measured ({first}); give another list of frames"
        );
    };
    for (i, reason) in left_out {
        reports[i].reason = Some(reason);
    }
    let base_input = read(&frames[base])?;
    check_memory(&base_input, members.len(), recipe)?;
    let request = SubtractRequest {
        convolve: Convolve::Target,
        left_to_kernel: WARPED_FROM,
        ..recipe.request.clone()
    };
    let matching = |i: &usize| {
        if *i == base {
            return of_base(&base_input, known[base]);
        }
        on_base(read(&frames[*i])?, &base_input, &request)
    };
    let mut layers = Vec::new();
    let mut kept = Vec::new();
    for (i, result) in members.iter().zip(recipe.crew.each(&members, matching)?) {
        match result {
            Ok(layer) => {
                tell(&frames[*i], "matched");
                layers.push(layer);
                kept.push(*i);
            }
            Err(error) => reports[*i].reason = Some(chain(&error)),
        }
    }
    for (frame, report) in frames.iter().zip(&reports) {
        if let Some(reason) = &report.reason {
            tell(frame, &format!("is not in the reference: {reason}"));
        }
    }
    let qualities: Vec<(f64, f64)> = layers.iter().map(|layer| layer.psf_and_noise).collect();
    let (weights, gains) = weights(&qualities);
    for (layer, weight) in layers.iter_mut().zip(&weights) {
        (layer.layer.weight, layer.matched.weight) = (*weight, *weight);
    }
    let sky = base_input.sky.context("the noise of the sky cannot be told")?.level;
    let of_layers: Vec<_> =
        layers.iter().map(|layer| (layer.hash.clone(), layer.matched)).collect();
    let layers: Vec<Layer<T>> = layers.into_iter().map(|layer| layer.layer).collect();
    // The radius of a star.
    let reach = known[base].map_or(0, |quality| (2.0 * quality.fwhm).ceil() as usize);
    let rejection = Rejection { sigmas: recipe.clip, reach, ..Rejection::default() };
    let stack = coadd(&layers, sky, &rejection);
    let mut in_it = Vec::new();
    for ((i, (hash, matched)), rejected) in kept.iter().zip(of_layers).zip(&stack.rejected) {
        let matched = Matched { rejected: *rejected, ..matched };
        in_it.push(Member {
            file: frames[*i].given.clone(),
            hash,
            weight: matched.weight,
            shared: matched
                .moved
                .map(|moved| Shared { part: matched.weight * matched.scale, moved }),
        });
        reports[*i].used = true;
        reports[*i].matched = Some(matched);
    }
    let of_base = kept.iter().position(|i| *i == base).context("the base is a member")?;
    Ok(Made {
        base: base_input,
        base_file: frames[base].given.clone(),
        stack,
        members: in_it,
        frames: reports,
        gain: gains[of_base].sqrt(),
    })
}

/// Frames wait for each other in memory.
fn check_memory<T: Real>(base: &Input<T>, members: usize, recipe: &Recipe<'_>) -> Result<()> {
    let (height, width) = base.image.view().shape();
    let kept = (height * width * (KEPT_PLANES * size_of::<T>() + KEPT_BYTES) * members) as u64;
    let needed = ByteSize(kept + recipe.crew.jobs as u64 * planes::<T>(height, width));
    let limit = recipe.request.max_memory.map_or(needed, ByteSize);
    ensure!(
        needed <= limit,
        "a reference of {members} frames of {height} × {width} pixels takes about {needed}, more than the limit of {limit}; give a larger --max-memory, or smaller --most and --jobs"
    );
    Ok(())
}

/// The base itself.
fn of_base<T: Real>(base: &Input<T>, quality: Option<Quality>) -> Result<OnBase<T>> {
    let quality = quality.context("nothing is known of the base")?;
    let sky = base.sky.context("the noise of the sky cannot be told")?;
    let (image, variance) = (base.image.clone(), base.variance());
    let unjudged = vec![true; image.pixels().len()];
    let mask = base.unusable();
    Ok(OnBase {
        layer: Layer { image, variance, deviation: None, mask, unjudged, weight: 1.0 },
        hash: hash(base),
        psf_and_noise: (quality.fwhm, sky.sigma),
        matched: Matched {
            scale: 1.0,
            scale_sigma: 0.0,
            decision: "shift",
            moved: Some(Shift::default()),
            weight: 1.0,
            rejected: 0,
        },
    })
}

/// Matches a frame to the base, which is convolved for that: the frame's pixels are only moved and scaled.
fn on_base<T: Real>(
    frame: Input<T>,
    base: &Input<T>,
    request: &SubtractRequest,
) -> Result<OnBase<T>> {
    let hash = hash(&frame);
    let Subtraction { difference, report, reference, .. } =
        subtract(frame, base.clone(), request, &mut |_| ())?;
    let verdict = &report.verdict;
    if verdict.level == Level::Fail {
        let codes: Vec<&str> = verdict.reasons.iter().map(|reason| reason.code).collect();
        bail!("it does not match the base ({})", codes.join(", "));
    }
    let scale = difference.photometric_scale;
    ensure!(scale.value > 0.0, "its photometric scale to the base is {:.4}", scale.value);
    let seeing = report.seeing.context("its seeing cannot be measured")?;
    let sky = reference.sky.context("the noise of its sky cannot be told")?;
    let offset = &report.offset;
    let whole = report.alignment.decision != "warp" && offset.turned.is_none();
    let moved = whole.then_some(Shift { dx: offset.dx, dy: offset.dy });
    // MODEL is the frame at the base's scale and sky; DIFFERENCE the base with the frame's PSF minus it.
    let squared = scale.value * scale.value;
    let deviation = difference.difference.map(|value| T::narrow(-value.widen()));
    let left_out = MaskPlanes::VARIABLE | MaskPlanes::CLIPPED;
    let unjudged = difference.mask.planes().iter().map(|planes| !(*planes - left_out).is_empty());
    Ok(OnBase {
        hash,
        psf_and_noise: (seeing.reference_fwhm, scale.value * sky.sigma),
        matched: Matched {
            scale: scale.value,
            scale_sigma: scale.sigma,
            decision: report.alignment.decision,
            moved,
            weight: 0.0,
            rejected: 0,
        },
        layer: Layer {
            variance: reference.variance().map(|value| T::narrow(squared * value.widen())),
            mask: reference.unusable(),
            unjudged: unjudged.collect(),
            deviation: Some((deviation, difference.variance)),
            image: difference.model,
            weight: 0.0,
        },
    })
}
