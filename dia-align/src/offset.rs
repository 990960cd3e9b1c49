//! The offset between two lists of stars: the first thing to be tried, for most images of one field are neither turned nor scaled.

use std::cmp::Reverse;

use dia_core::stars::Star;
use rayon::prelude::*;

use crate::pairing::{log_tail, pairs_under};

/// Stars of two images that are the same under one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    /// A star's place in the second image minus its place in the first, in pixels: the mean over the pairs.
    pub dx: f64,
    /// The same of rows.
    pub dy: f64,
    /// Indices of the pairs in both lists.
    pub pairs: Vec<(usize, usize)>,
    /// log₁₀ of the expected number of offsets, of all possible ones, under which as many stars would meet by chance.
    pub log_chance: f64,
}

/// Distances in pixels within which two stars are one: for those in noise, and for bright ones, of which few are enough where they meet that closely.
const NEAR: [f64; 2] = [1.5, 0.4];

/// Stars of each image that vote for offsets.
const VOTERS: usize = 120;

/// Offsets with the most votes that are tried.
const TRIED: usize = 8;

/// The offset under which stars of the two images meet that would hardly do so by chance; `None` where an image has none.
///
/// Every pair of stars, one of each image, votes for its offset: right ones agree. Chance is judged by the Poisson distribution of the pairs that would
/// meet if the places were independent, times the number of offsets: of all that are possible, or, since images are mostly aligned, of those that are no larger, and
/// each octave of size is given its share. `shapes` are the (rows, columns) of both images.
pub fn match_offset(
    first: &[Star],
    second: &[Star],
    shapes: [(usize, usize); 2],
) -> Option<Matched> {
    let (a, b) = (&first[..first.len().min(VOTERS)], &second[..second.len().min(VOTERS)]);
    let mut votes: Vec<(f64, f64)> =
        a.iter().flat_map(|s| b.iter().map(move |t| (t.x - s.x, t.y - s.y))).collect();
    votes.sort_by(|p, q| p.0.total_cmp(&q.0));
    let square = |p: (f64, f64), q: (f64, f64)| (p.0 - q.0).powi(2) + (p.1 - q.1).powi(2);
    let near = |p: (f64, f64), q: (f64, f64)| square(p, q) <= NEAR[0] * NEAR[0];
    let count = |i: usize| {
        let vote = votes[i];
        let from = votes.partition_point(|other| other.0 < vote.0 - NEAR[0]);
        let close = votes[from..].iter().take_while(|other| other.0 <= vote.0 + NEAR[0]);
        close.filter(|other| near(vote, **other)).count()
    };
    let mut ranked: Vec<(usize, (f64, f64))> =
        (0..votes.len()).into_par_iter().map(|i| (count(i), votes[i])).collect();
    let size = |vote: (f64, f64)| square(vote, (0.0, 0.0));
    ranked.sort_by(|p, q| (Reverse(p.0).cmp(&Reverse(q.0))).then(size(p.1).total_cmp(&size(q.1))));
    let mut tried: Vec<(f64, f64)> = Vec::new();
    for (_, vote) in ranked {
        if tried.len() < TRIED && tried.iter().all(|other| !near(vote, *other)) {
            tried.push(vote);
        }
    }
    let tries = tried.iter().flat_map(|vote| NEAR.map(|radius| (*vote, radius)));
    let matched = tries.filter_map(|(vote, radius)| under(first, second, shapes, vote, radius));
    matched.min_by(|p, q| p.log_chance.total_cmp(&q.log_chance))
}

/// The pairs that meet within `radius` under an offset near the given one.
fn under(
    first: &[Star],
    second: &[Star],
    shapes: [(usize, usize); 2],
    mut offset: (f64, f64),
    radius: f64,
) -> Option<Matched> {
    let mut pairs = Vec::new();
    // From the wider circle to the one that is asked for.
    for reach in [NEAR[0], radius, radius] {
        pairs = pairs_under(first, second, |star| (star.x + offset.0, star.y + offset.1), reach);
        if pairs.is_empty() {
            return None;
        }
        let mean = |of: &dyn Fn(&Star) -> f64| {
            let sum: f64 = pairs.iter().map(|(i, j)| of(&second[*j]) - of(&first[*i])).sum();
            sum / pairs.len() as f64
        };
        offset = (mean(&|s| s.x), mean(&|s| s.y));
    }
    let sizes = shapes.map(|(height, width)| [width as f64, height as f64]);
    let moved = [offset.0, offset.1];
    let common = |axis: usize| {
        let end = sizes[1][axis].min(sizes[0][axis] + moved[axis]);
        (end - moved[axis].max(0.0)).max(1.0)
    };
    let overlap = common(0) * common(1);
    // Stars that lie in the overlap.
    let inside = |stars: &[Star], sign: f64, [width, height]: [f64; 2]| {
        let lies = |star: &&Star| {
            let (x, y) = (star.x + sign * offset.0, star.y + sign * offset.1);
            (0.0..width).contains(&x) && (0.0..height).contains(&y)
        };
        stars.iter().filter(lies).count() as f64
    };
    let disc = std::f64::consts::PI * radius * radius;
    let expected = inside(first, 1.0, sizes[1]) * inside(second, -1.0, sizes[0]) * disc / overlap;
    let all = |axis: usize| sizes[0][axis] + sizes[1][axis];
    let everywhere = all(0) * all(1) / disc;
    let size = offset.0.hypot(offset.1).max(radius) / radius;
    let widest = 0.5 * all(0).hypot(all(1));
    let no_larger = size * size * (1.0 + 2.0 * (widest / radius).ln());
    // Two radii, and two ways to count offsets.
    let tries = 4.0 * everywhere.min(no_larger);
    let log_chance = log_tail(expected, pairs.len()) + tries.log10();
    Some(Matched { dx: offset.0, dy: offset.1, pairs, log_chance })
}

#[cfg(test)]
mod tests;
