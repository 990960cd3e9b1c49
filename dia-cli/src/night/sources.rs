//! Sources of a season: the detections of all frames, put together by their place.

use std::cmp::Reverse;

use dia_photometry::Flags;
use serde::{Deserialize, Serialize};

use super::record::Found;

/// Why a place has a light curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// It was asked for.
    Given,
    /// It was detected in at least one frame.
    Found,
    /// It is a star of the reference, for zero points and scatter.
    Star,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Found => "found",
            Self::Star => "star",
        }
    }
}

/// A place that has a light curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    pub(super) kind: Kind,
    /// In pixels of the reference.
    pub(super) x: f64,
    pub(super) y: f64,
    /// Standard deviation of x and y, where the place was fitted.
    pub(super) sigma: Option<f64>,
    /// Frames in which it was detected, and those in which nothing speaks against it.
    pub(super) detections: usize,
    pub(super) clean: usize,
    /// The largest significance, with its sign.
    pub(super) strongest: f64,
    /// All flags of its detections.
    pub(super) flags: Flags,
}

impl Source {
    /// One that is not detected but looked at.
    pub(super) fn at(kind: Kind, x: f64, y: f64) -> Self {
        let (sigma, flags) = (None, Flags::empty());
        Self { kind, x, y, sigma, detections: 0, clean: 0, strongest: f64::NAN, flags }
    }
}

/// Puts the detections of all frames together that lie within `radius` pixels of the strongest of them, one of each frame at most; the strongest source first.
///
/// The place is the mean of its detections, weighted with their variances: of those against which nothing speaks, if there are any.
pub(super) fn matched(frames: &[&[Found]], radius: f64) -> Vec<Source> {
    let mut all: Vec<(usize, Found)> = Vec::new();
    for (frame, found) in frames.iter().enumerate() {
        all.extend(found.iter().map(|found| (frame, *found)));
    }
    let strength = |found: &Found| Reverse(ordered(found.significance.abs()));
    all.sort_by_key(|(frame, found)| (strength(found), *frame));
    let mut groups: Vec<Vec<(usize, Found)>> = Vec::new();
    for (frame, found) in all {
        let distance =
            |group: &[(usize, Found)]| (group[0].1.x - found.x).hypot(group[0].1.y - found.y);
        let near: Vec<usize> =
            (0..groups.len()).filter(|g| distance(&groups[*g]) <= radius).collect();
        let free = |g: &&usize| groups[**g].iter().all(|(other, _)| *other != frame);
        let nearer =
            |a: &&usize, b: &&usize| distance(&groups[**a]).total_cmp(&distance(&groups[**b]));
        match near.iter().filter(free).min_by(nearer).copied() {
            Some(group) => groups[group].push((frame, found)),
            None if near.is_empty() => groups.push(vec![(frame, found)]),
            // Beside a stronger detection of the same frame it is another part of that one.
            None => {}
        }
    }
    groups.iter().map(|group| of_group(group)).collect()
}

/// An order of numbers that are not NaN.
fn ordered(value: f64) -> u64 {
    value.max(0.0).to_bits()
}

fn of_group(group: &[(usize, Found)]) -> Source {
    let doubts = |found: &Found| Flags::from_bits_truncate(found.flags) - Flags::VARIABLE;
    let clean: Vec<&Found> =
        group.iter().map(|(_, found)| found).filter(|found| doubts(found).is_empty()).collect();
    let members: Vec<&Found> = if clean.is_empty() {
        group.iter().map(|(_, found)| found).collect()
    } else {
        clean.clone()
    };
    let weight = |found: &Found| found.sigma.map_or(0.0, |sigma| sigma.powi(-2));
    let total: f64 = members.iter().map(|found| weight(found)).sum();
    let mean = |of: &dyn Fn(&Found) -> f64| {
        if total > 0.0 {
            members.iter().map(|found| weight(found) * of(found)).sum::<f64>() / total
        } else {
            members.iter().map(|found| of(found)).sum::<f64>() / members.len() as f64
        }
    };
    Source {
        kind: Kind::Found,
        x: mean(&|found| found.x),
        y: mean(&|found| found.y),
        sigma: (total > 0.0).then(|| total.sqrt().recip()),
        detections: group.len(),
        clean: clean.len(),
        strongest: group[0].1.significance,
        flags: group
            .iter()
            .map(|(_, found)| Flags::from_bits_truncate(found.flags))
            .fold(Flags::empty(), |all, flags| all | flags),
    }
}

#[cfg(test)]
mod tests {
    use dia_photometry::Flags;

    use super::{Found, matched};

    fn found(x: f64, significance: f64, flags: Flags) -> Found {
        Found { x, y: 10.0, sigma: Some(0.1), significance, flags: flags.bits() }
    }

    #[test]
    fn detections_of_one_place_are_one_source_and_doubts_do_not_move_it() {
        let none = Flags::empty();
        let frames = [
            vec![found(5.0, 9.0, none), found(40.0, -6.0, none)],
            vec![found(5.2, 20.0, none), found(6.4, 7.0, none)],
            vec![found(5.9, 30.0, Flags::SHARP), found(40.2, -8.0, none)],
        ];
        let frames: Vec<&[Found]> = frames.iter().map(Vec::as_slice).collect();
        let sources = matched(&frames, 2.0);
        assert_eq!(sources.len(), 2);
        // The mean of 5.0 and 5.2; 6.4 is of the frame of 5.2.
        assert!((sources[0].x - 5.1).abs() < 1e-12);
        assert_eq!((sources[0].detections, sources[0].clean), (3, 2));
        assert!((sources[0].sigma.unwrap() - 0.1 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(sources[0].flags, Flags::SHARP);
        assert!((sources[1].x - 40.1).abs() < 1e-12 && sources[1].strongest == -8.0);
    }
}
