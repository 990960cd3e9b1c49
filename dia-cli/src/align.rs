//! Moves the reference onto the target's grid: by whole pixels and the symmetries of the grid where the kernel can do the rest, else by warping it once. The target is
//! never resampled.

pub(crate) mod command;
mod decision;
mod headers;
mod moved;
mod report;
mod search;
pub(crate) mod turn;

use anyhow::{Result, ensure};
use dia_align::PlaneMap;
use dia_core::seeing;
use dia_core::stars::Star;
use serde::Serialize;

use crate::input::{Input, Real};
use crate::notice::{Level, Notice};
use crate::request::{Align, SubtractRequest};

pub(crate) use report::AlignmentReport;
pub(crate) use turn::Turn;

use decision::{Decision, decide};
use report::MapReport;
use search::{Found, Lie, Searched};

/// The whole-pixel offset that was taken out: a star's place in the target minus its place in the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Shift {
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

impl Shift {
    /// Whether the two differ by the rounding of a fraction.
    fn is_neighbour(self, other: Self) -> bool {
        self.dx.abs_diff(other.dx) <= 1 && self.dy.abs_diff(other.dy) <= 1
    }
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

/// How the images lie, and what is to be done about it.
pub(crate) struct AlignmentPlan {
    decision: Decision,
    found: Option<Found>,
    report: AlignmentReport,
    notices: Vec<Notice>,
}

/// Finds how the images lie, and moves `reference` so that both share the target's grid.
///
/// An offset of which `known` is a neighbour is taken to be that one: where both images have the noise of one exposure, it is known to the pixel.
pub(crate) fn align<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    request: &SubtractRequest,
    known: Option<Shift>,
) -> Result<Aligned> {
    let AlignmentPlan { mut decision, found, report, notices } = plan(reference, target, request)?;
    let whole = decision.warp.is_none() && decision.turn.is_none();
    if let Some(known) = known.filter(|known| whole && known.is_neighbour(decision.shift)) {
        decision.shift = known;
    }
    reference.notices.extend(notices);
    let shape = target.image.view().shape();
    let stars = found.as_ref().map(Found::target_stars).unwrap_or_default();
    let mut aligned = Aligned { turn: None, shift: Shift::default(), stars, report };
    if let Some(map) = &decision.warp {
        moved::warp_onto_grid(reference, map, shape);
    } else {
        (aligned.turn, aligned.shift) = (decision.turn, decision.shift);
        if let Some(turn) = decision.turn {
            turn.apply(reference);
        }
        if decision.shift != Shift::default() || reference.image.view().shape() != shape {
            moved::move_onto_grid(reference, decision.shift, shape);
        }
    }
    Ok(aligned)
}

/// What [`align`] would do.
pub(crate) fn plan<T: Real>(
    reference: &Input<T>,
    target: &Input<T>,
    request: &SubtractRequest,
) -> Result<AlignmentPlan> {
    let shapes = [reference.image.view().shape(), target.image.view().shape()];
    let given = |by, shift| AlignmentPlan {
        decision: Decision::offset(shift),
        found: None,
        report: AlignmentReport::given(by),
        notices: Vec::new(),
    };
    let names = (&reference.taken.image, &target.taken.image);
    match request.align {
        Align::None => {
            let [r, t] = shapes;
            ensure!(
                r == t,
                "the images differ in size: {} has {} × {} pixels (rows × columns), {} has {} × {}; \
                 give --align auto or --align integer to subtract them where they overlap",
                names.0,
                r.0,
                r.1,
                names.1,
                t.0,
                t.1
            );
            return Ok(given("none", Shift::default()));
        }
        Align::By(dx, dy) => return Ok(given("option", Shift { dx, dy })),
        Align::Auto | Align::Integer | Align::Stars | Align::Wcs => {}
    }
    let Searched { found, mut notices, wcs } = search::find(reference, target, request.align)?;
    let decision = match &found.lie {
        Lie::Offset(shift) => Decision::offset(*shift),
        Lie::Map { map, turned } => {
            let width = || kernel_width(reference, target, &found);
            decide(&map.map, *turned, shapes, request, width)
        }
    };
    if let Some(map) = &decision.warp {
        ensure!(
            decision.left.is_some(),
            "{} and {} do not overlap: no pixel of the one is seen in the other",
            names.0,
            names.1
        );
        let (text, code) = (warped(map, &decision, names, shapes[1]), "warped");
        ensure!(
            request.align != Align::Integer,
            "{text}, if --align integer did not forbid it; give --align auto"
        );
        ensure!(
            request.reference_contains_target.is_none(),
            "{text}; but then the target cannot be taken out of it pixel by pixel (--reference-contains-target): leave the option out"
        );
        notices.push(Notice::new(Level::Pass, code, text));
    } else if let Some(turn) = decision.turn {
        let text = format!(
            "{} is {} against {}, whose pixels were moved in the same way before the fit",
            names.1, turn.name, names.0
        );
        notices.push(Notice::new(Level::Pass, "turned", text));
    }
    let report = AlignmentReport { wcs, ..AlignmentReport::of(&found, &decision, shapes[1]) };
    Ok(AlignmentPlan { decision, found: Some(found), report, notices })
}

/// σ in pixels of the kernel from the seeing of one image to that of the other; 0 where it is not known.
fn kernel_width<T: Real>(reference: &Input<T>, target: &Input<T>, found: &Found) -> f64 {
    let of = |input: &Input<T>, side: usize| {
        let stars: Vec<Star> = found.pairs.iter().map(|pair| pair[side]).collect();
        seeing::fwhm_of_stars(input.image.view(), &input.unusable(), &stars, 3)
    };
    let fwhms = of(reference, 0).zip(of(target, 1));
    let width = fwhms.map_or(0.0, |(r, t)| (t * t - r * r).abs().sqrt());
    width / (8.0 * std::f64::consts::LN_2).sqrt()
}

/// In words, that the reference was warped.
fn warped(
    map: &PlaneMap,
    decision: &Decision,
    names: (&String, &String),
    shape: (usize, usize),
) -> String {
    let MapReport { rotation, scale, mirrored, .. } = MapReport::new(map, "", shape);
    format!(
        "{} is {}turned by {rotation:.3}° and scaled by {scale:.5} against {}: displacements differ by {:.1} pixels over the field, which no kernel follows; the reference is warped \
         onto the target's grid",
        names.1,
        if mirrored { "mirrored, " } else { "" },
        names.0,
        decision.variation,
    )
}
