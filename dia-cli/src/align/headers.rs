//! The map that the world coordinates of both headers make, and how far it is from what the images show.

use anyhow::{Context, Result, bail};
use dia_align::FittedMap;
use serde::Serialize;

use crate::input::{Input, Real};
use crate::sky::wcs;

/// What the headers are worth beside the images.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WcsReport {
    /// Largest distance between the places of both maps over the target, in pixels of the reference.
    Disagreement(f64),
    /// Why they were not used.
    Unused(String),
}

/// The map from the target's pixels to the reference's, by both headers; `None` where one of them says nothing of the sky.
pub(super) fn map<T: Real>(reference: &Input<T>, target: &Input<T>) -> Result<Option<FittedMap>> {
    let of = |input: &Input<T>| {
        wcs(&input.header)
            .with_context(|| format!("{}: its world coordinates cannot be used", input.taken.image))
    };
    let (Some(first), Some(second)) = (of(reference)?, of(target)?) else { return Ok(None) };
    if first.system() != second.system() {
        bail!(
            "{} has {} coordinates, and {} {} ones; give headers of one kind",
            reference.taken.image,
            first.system(),
            target.taken.image,
            second.system()
        );
    }
    let map = second.map_to(&first, target.image.view().shape()).with_context(|| {
        format!(
            "by their world coordinates, {} and {} show no common part of the sky",
            reference.taken.image, target.taken.image
        )
    })?;
    Ok(Some(map))
}

/// Largest distance between two maps over an image of `shape`.
pub(super) fn distance(one: &FittedMap, other: &FittedMap, shape: (usize, usize)) -> f64 {
    let parts = [0.0, 0.5, 1.0];
    let places = parts.iter().flat_map(|y| parts.iter().map(move |x| (*x, *y)));
    let distances = places.map(|(x, y)| {
        let (x, y) = (x * (shape.1 as f64 - 1.0), y * (shape.0 as f64 - 1.0));
        let ((u, v), (s, t)) = (one.map.place(x, y), other.map.place(x, y));
        (u - s).hypot(v - t)
    });
    distances.fold(0.0, f64::max)
}
