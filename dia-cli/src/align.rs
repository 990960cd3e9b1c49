//! Moves the reference onto the target's grid: by whole pixels and the symmetries of the grid where the kernel can do the rest, else by warping it once. The target is
//! never resampled.

mod decision;
mod moved;
mod report;
mod search;
mod turn;

use anyhow::{Result, ensure};
use dia_core::seeing;
use dia_core::stars::Star;

use crate::input::{Input, Real};
use crate::notice::{Level, Notice};
use crate::request::{Align, SubtractRequest};

pub(crate) use report::AlignmentReport;
pub(crate) use turn::Turn;

use decision::{Decision, decide};
use search::{Found, Searched};

/// The whole-pixel offset that was taken out: a star's place in the target minus its place in the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

/// How the reference was moved, and the stars that both images have, on the target's grid; none if it was found by other means.
#[derive(Clone, Debug)]
pub(crate) struct Aligned {
    /// Before the shift; a star's place in the turned reference counts for it.
    pub(crate) turn: Option<Turn>,
    pub(crate) shift: Shift,
    pub(crate) stars: Vec<Star>,
    pub(crate) report: AlignmentReport,
}

/// Finds how the images lie, and moves `reference` so that both share the target's grid.
pub(crate) fn align<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    request: &SubtractRequest,
) -> Result<Aligned> {
    let (r, t) = (reference.image.view().shape(), target.image.view().shape());
    let given = |by, shift| {
        let report = AlignmentReport::given(by, shift);
        Aligned { turn: None, shift, stars: Vec::new(), report }
    };
    match request.align {
        Align::None => {
            ensure!(
                r == t,
                "the images differ in size: {} has {} × {} pixels (rows × columns), {} has {} × {}; \
                 give --align auto or --align integer to subtract them where they overlap",
                reference.taken.image,
                r.0,
                r.1,
                target.taken.image,
                t.0,
                t.1
            );
            Ok(given("none", Shift::default()))
        }
        Align::By(dx, dy) => {
            let shift = Shift { dx, dy };
            moved::move_onto_grid(reference, shift, t);
            Ok(given("option", shift))
        }
        Align::Auto | Align::Integer | Align::Stars | Align::Wcs => {
            let found = search::find(reference, target, request.align)?;
            follow(reference, target, request, found)
        }
    }
}

/// What the map asks for, done to the reference.
fn follow<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    request: &SubtractRequest,
    found: Searched,
) -> Result<Aligned> {
    let shapes = [reference.image.view().shape(), target.image.view().shape()];
    let Searched { found, notices, .. } = &found;
    let stars = found.target_stars();
    let (mut turn, mut shift) = (None, Shift::default());
    let decision = match found {
        Found::Offset { shift, .. } => Decision::offset(*shift),
        Found::Map { map, turned, .. } => decide(&map.map, *turned, shapes, request.half_width),
    };
    reference.notices.extend(notices.iter().cloned());
    match &decision.warp {
        None => {
            (turn, shift) = (decision.turn, decision.shift);
            if let Some(turn) = turn {
                turn.apply(reference);
                let text = format!(
                    "{} is {} against {}, whose pixels were moved in the same way before the fit",
                    target.taken.image, turn.name, reference.taken.image
                );
                reference.notices.push(Notice::new(Level::Pass, "turned", text));
            }
            if shift != Shift::default() || reference.image.view().shape() != shapes[1] {
                moved::move_onto_grid(reference, shift, shapes[1]);
            }
        }
        Some(map) => {
            let (angle, scale, mirrored) =
                map.turn(0.5 * shapes[1].1 as f64, 0.5 * shapes[1].0 as f64);
            let text = format!(
                "{} is {}turned by {:.3}° and scaled by {:.5} against {}, which no kernel follows over the field ({:.1} pixels); the reference was warped onto the target's grid",
                target.taken.image,
                if mirrored { "mirrored and " } else { "" },
                -angle,
                scale.recip(),
                reference.taken.image,
                decision.variation,
            );
            ensure!(
                request.align != Align::Integer,
                "{text}, if --align integer did not forbid it; give --align auto"
            );
            ensure!(
                request.fit.reference_contains_target.is_none(),
                "{text}; --reference-contains-target knows the noise that both share pixel by pixel, and it is no longer: leave it out, or warp no reference"
            );
            let smoothing = smoothing(reference, target, found, scale);
            moved::warp_onto_grid(reference, map, shapes[1], smoothing);
            reference.notices.push(Notice::new(Level::Pass, "warped", text));
        }
    }
    let report = AlignmentReport::of(found, &decision, shapes[1]);
    Ok(Aligned { turn, shift, stars, report })
}

/// From the full width at half maximum of a Gaussian to its σ.
const SIGMA: f64 = 0.424_660_9;

/// σ in pixels of the kernel that leads from the seeing of the one image to that of the other, and of that kernel with the target's PSF: what the noise of the
/// warped reference has to be right behind. 0 and 1 where the seeing is not known.
fn smoothing<T: Real>(
    reference: &Input<T>,
    target: &Input<T>,
    found: &Found,
    scale: f64,
) -> [f64; 2] {
    let width = |input: &Input<T>, stars: &[Star]| {
        let (image, mask) = (input.image.view(), input.unusable());
        seeing::measure_stars(image, &mask, stars, 3).or_else(|| seeing::measure(image, &mask))
    };
    let measured =
        width(reference, &found.reference_stars()).zip(width(target, &found.target_stars()));
    let Some((r, t)) = measured else { return [0.0, 1.0] };
    let (r, t) = (SIGMA * r.fwhm / scale, SIGMA * t.fwhm);
    let kernel = (t * t - r * r).max(0.0).sqrt();
    [kernel, kernel.hypot(t)]
}
