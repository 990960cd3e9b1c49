//! From frames to a reference: each is matched to the base by the fit of a difference, and the weighted mean is taken without outliers.

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use dia_core::MaskPlanes;
use dia_core::coadd::{Coadd, Layer, Rejection, coadd, weights};
use serde::Serialize;

use super::candidates::{Choice, Quality, choose};
use super::lineage::{Member, Shared};
use crate::align::Shift;
use crate::args::NoiseArgs;
use crate::crew::Crew;
use crate::frames::Frame;
use crate::input::{Input, Real, Role};
use crate::memory::planes;
use crate::notice::Level;
use crate::request::{Convolve, SubtractRequest};
use crate::subtraction::{Subtraction, subtract};
use crate::terminal::chain;

/// Displacement over the field in pixels from which on a frame is warped: it is not convolved, so that no kernel follows it.
const WARPED_FROM: f64 = 0.5;

/// Image-sized arrays of pixels that a frame keeps until the mean is taken, and bytes of masks beside them.
const KEPT_PLANES: usize = 4;
const KEPT_BYTES: usize = size_of::<MaskPlanes>();

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

/// How a frame was matched, and its part.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Matched {
    #[serde(flatten)]
    placed: Placed,
    /// Part of the mean.
    weight: f64,
    /// Pixels that were left out as outliers.
    rejected: usize,
}

/// How a frame was brought to the base's grid and scale.
#[derive(Clone, Copy, Debug, Serialize)]
struct Placed {
    /// What its pixels were multiplied by.
    scale: f64,
    scale_sigma: f64,
    /// `shift`, `kernel` or `warp`: as in a report of `dia subtract`.
    decision: &'static str,
    /// Whole pixels, unless the frame was turned or warped: a star's place in the base minus that in the frame.
    #[serde(flatten)]
    moved: Option<Shift>,
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
    placed: Placed,
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
    let (mut layers, mut placed, mut psfs_and_noises) = (Vec::new(), Vec::new(), Vec::new());
    for (i, result) in members.iter().zip(recipe.crew.each(&members, matching)?) {
        match result {
            Ok(on_base) => {
                tell(&frames[*i], "matched");
                layers.push(on_base.layer);
                psfs_and_noises.push(on_base.psf_and_noise);
                placed.push((*i, on_base.hash, on_base.placed));
            }
            Err(error) => reports[*i].reason = Some(chain(&error)),
        }
    }
    for (frame, report) in frames.iter().zip(&reports) {
        if let Some(reason) = &report.reason {
            tell(frame, &format!("is not in the reference: {reason}"));
        }
    }
    let (weights, gains) = weights(&psfs_and_noises);
    let of_base = placed.iter().position(|(i, ..)| *i == base).context("the base is a member")?;
    let sky = base_input.sky.context("the noise of the sky cannot be told")?.level;
    // The radius of a star.
    let reach = known[base].map_or(0, |quality| (2.0 * quality.fwhm).ceil() as usize);
    let rejection = Rejection { sigmas: recipe.clip, reach, ..Rejection::default() };
    let stack = coadd(&layers, &weights, sky, &rejection);
    let mut in_it = Vec::new();
    for (((i, hash, placed), weight), rejected) in
        placed.into_iter().zip(weights).zip(&stack.rejected)
    {
        let shared = placed.moved.map(|moved| Shared { part: weight * placed.scale, moved });
        in_it.push(Member { file: frames[i].given.clone(), hash, weight, shared });
        reports[i].used = true;
        reports[i].matched = Some(Matched { placed, weight, rejected: *rejected });
    }
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
    let mask = base.unusable();
    Ok(OnBase {
        layer: Layer { image, variance, deviation: None, mask },
        hash: base.hash(),
        psf_and_noise: (quality.fwhm, sky.sigma),
        placed: Placed {
            scale: 1.0,
            scale_sigma: 0.0,
            decision: "shift",
            moved: Some(Shift::default()),
        },
    })
}

/// Matches a frame to the base, which is convolved for that: the frame's pixels are only moved and scaled.
fn on_base<T: Real>(
    frame: Input<T>,
    base: &Input<T>,
    request: &SubtractRequest,
) -> Result<OnBase<T>> {
    let hash = frame.hash();
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
    let mut deviation = difference.difference.map(|value| T::narrow(-value.widen()));
    let left_out = MaskPlanes::VARIABLE | MaskPlanes::CLIPPED;
    for (value, planes) in deviation.pixels_mut().iter_mut().zip(difference.mask.planes()) {
        if !(*planes - left_out).is_empty() {
            *value = T::nan();
        }
    }
    Ok(OnBase {
        hash,
        psf_and_noise: (seeing.reference_fwhm, scale.value * sky.sigma),
        placed: Placed {
            scale: scale.value,
            scale_sigma: scale.sigma,
            decision: report.alignment.decision,
            moved,
        },
        layer: Layer {
            variance: reference.variance().map(|value| T::narrow(squared * value.widen())),
            mask: reference.unusable(),
            deviation: Some((deviation, difference.variance)),
            image: difference.model,
        },
    })
}
