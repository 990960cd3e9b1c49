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
/// each octave of size is given its share.
pub fn match_offset(first: &[Star], second: &[Star], shape: (usize, usize)) -> Option<Matched> {
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
    let matched = tries.filter_map(|(vote, radius)| under(first, second, shape, vote, radius));
    matched.min_by(|p, q| p.log_chance.total_cmp(&q.log_chance))
}

/// The pairs that meet within `radius` under an offset near the given one.
fn under(
    first: &[Star],
    second: &[Star],
    shape: (usize, usize),
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
    let (height, width) = (shape.0 as f64, shape.1 as f64);
    let overlap = (height - offset.1.abs()).max(1.0) * (width - offset.0.abs()).max(1.0);
    // Stars that lie in the overlap.
    let inside = |stars: &[Star], sign: f64| {
        let lies = |star: &&Star| {
            let (x, y) = (star.x + sign * offset.0, star.y + sign * offset.1);
            (0.0..width).contains(&x) && (0.0..height).contains(&y)
        };
        stars.iter().filter(lies).count() as f64
    };
    let disc = std::f64::consts::PI * radius * radius;
    let expected = inside(first, 1.0) * inside(second, -1.0) * disc / overlap;
    let everywhere = 4.0 * height * width / disc;
    let size = offset.0.hypot(offset.1).max(radius) / radius;
    let no_larger = size * size * (1.0 + 2.0 * (height.hypot(width) / radius).ln());
    // Two radii, and two ways to count offsets.
    let tries = 4.0 * everywhere.min(no_larger);
    let log_chance = log_tail(expected, pairs.len()) + tries.log10();
    Some(Matched { dx: offset.0, dy: offset.1, pairs, log_chance })
}

#[cfg(test)]
mod tests;
