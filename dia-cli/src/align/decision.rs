//! Shift, leave to the kernel, or warp: one decision, by how much the displacement varies over the field.

use dia_align::PlaneMap;

use super::turn::TURNS;
use super::{Shift, Turn};
use crate::request::{HalfWidth, LEFT_TO_THE_KERNEL, SubtractRequest};

/// A displacement that varies less than this is no more than the rest of a whole-pixel shift.
const CONSTANT: f64 = 0.25;

/// A kernel that varies by polynomials of degree 2 follows displacements that vary by this part of its σ: the next order of what it would have to be is this cubed, over six. Narrower ones would have to
/// move sharp peaks by as much as they are wide.
const OF_WIDTH: f64 = 0.8;

/// But any kernel follows this many pixels.
const NARROW: f64 = 0.35;

/// Places along each side of the target at which the displacement is looked at.
const PLACES: usize = 9;

/// What is done to the reference.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) turn: Option<Turn>,
    pub(super) shift: Shift,
    /// The map to be followed, where turn and shift do not suffice.
    pub(super) warp: Option<PlaneMap>,
    /// Least and largest displacement in pixels that turn and shift leave, over the field that both images see; where there is a map.
    pub(super) left: Option<[f64; 2]>,
    /// Largest difference of the displacement from that in the middle.
    pub(super) variation: f64,
    /// What of that is left to the kernel.
    pub(super) limit: f64,
}

impl Decision {
    /// An offset of which nothing else is known.
    pub(super) fn offset(shift: Shift) -> Self {
        Self {
            turn: None,
            shift,
            warp: None,
            left: None,
            variation: 0.0,
            limit: LEFT_TO_THE_KERNEL,
        }
    }

    /// Its name in the report.
    pub(super) fn name(&self) -> &'static str {
        match (&self.warp, self.variation > CONSTANT) {
            (Some(_), _) => "warp",
            (None, true) => "kernel",
            (None, false) => "shift",
        }
    }
}

/// Decides for a map from the target to the reference. `known` is a turn and a shift that pixels were found to meet under; `width` tells the kernel's σ in pixels, 0 where it is not known.
pub(super) fn decide(
    map: &PlaneMap,
    known: Option<(Option<Turn>, Shift)>,
    [reference, target]: [(usize, usize); 2],
    request: &SubtractRequest,
    width: impl FnOnce() -> f64,
) -> Decision {
    let all = [None].into_iter().chain(TURNS.into_iter().map(Some));
    let candidates = all.filter(|turn| match known {
        Some((known, _)) => *turn == known,
        None => turn.is_none_or(|turn| turn.shape(reference) == target || reference != target),
    });
    let mut best: Option<Decision> = None;
    for turn in candidates {
        let turned = turn.map_or_else(|| map.clone(), |turn| turn.map(map, reference));
        let shape = turn.map_or(reference, |turn| turn.shape(reference));
        let Some(displacements) = displacements(&turned, shape, target) else { continue };
        let middle = displacements.middle;
        let whole = Shift { dx: middle.0.round() as isize, dy: middle.1.round() as isize };
        let shift = known.map_or(whole, |known| known.1);
        let variation = displacements.farthest(middle);
        if best.as_ref().is_none_or(|best| variation < best.variation) {
            let left = displacements.range((shift.dx as f64, shift.dy as f64));
            best = Some(Decision { turn, left: Some(left), variation, ..Decision::offset(shift) });
        }
    }
    let best =
        best.unwrap_or(Decision { variation: f64::INFINITY, ..Decision::offset(Shift::default()) });
    let best = Decision { limit: limit(request, best.variation, width), ..best };
    if best.variation <= best.limit { best } else { Decision { warp: Some(map.clone()), ..best } }
}

/// What a kernel can be left, of the half-width that is asked for and of the `width` that it has; that is looked at where the variation makes it matter.
fn limit(request: &SubtractRequest, variation: f64, width: impl FnOnce() -> f64) -> f64 {
    let most = match request.half_width {
        // A star needs some two pixels of it for itself.
        HalfWidth::Pixels(pixels) => request.left_to_kernel.min((pixels as f64 - 2.0).max(1.0)),
        HalfWidth::Auto | HalfWidth::Best(_) => request.left_to_kernel,
    };
    let matters = variation > NARROW && variation <= most;
    if matters { most.min(NARROW.max(OF_WIDTH * width())) } else { most }
}

/// A star's place in the target minus that in the reference, over the field that both images see.
struct Displacements {
    middle: (f64, f64),
    all: Vec<(f64, f64)>,
}

impl Displacements {
    fn farthest(&self, from: (f64, f64)) -> f64 {
        self.range(from)[1]
    }

    fn range(&self, from: (f64, f64)) -> [f64; 2] {
        let sizes = self.all.iter().map(|d| (d.0 - from.0).hypot(d.1 - from.1));
        sizes.fold([f64::INFINITY, 0.0], |[least, most], size| [least.min(size), most.max(size)])
    }
}

/// `None` where the images do not overlap.
fn displacements(
    map: &PlaneMap,
    reference: (usize, usize),
    target: (usize, usize),
) -> Option<Displacements> {
    let place = |k: usize, size: usize| k as f64 * (size as f64 - 1.0) / (PLACES as f64 - 1.0);
    let places =
        (0..PLACES * PLACES).map(|k| (place(k % PLACES, target.1), place(k / PLACES, target.0)));
    let seen: Vec<((f64, f64), (f64, f64))> = places
        .filter_map(|(x, y)| {
            let (u, v) = map.place(x, y);
            let inside = |at: f64, size: usize| (0.0..size as f64).contains(&at);
            (inside(u, reference.1) && inside(v, reference.0)).then_some(((x, y), (x - u, y - v)))
        })
        .collect();
    if seen.is_empty() {
        return None;
    }
    let n = seen.len() as f64;
    let sum = seen.iter().fold((0.0, 0.0), |sum, (_, d)| (sum.0 + d.0, sum.1 + d.1));
    let middle = (sum.0 / n, sum.1 / n);
    Some(Displacements { middle, all: seen.into_iter().map(|(_, d)| d).collect() })
}
