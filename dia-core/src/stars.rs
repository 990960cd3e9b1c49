//! The stars of an image, and which of two images' stars are the same.

use rayon::prelude::*;

use crate::robust::median_and_scatter;
use crate::{ImageView, Mask, Pixel};

/// A local maximum of light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Star {
    /// Column of the centre in pixels, 0 in the middle of the first.
    pub x: f64,
    /// Row of the centre.
    pub y: f64,
    /// Light above the sky within 5 × 5 pixels, in ADU.
    pub flux: f64,
}

/// Height of a maximum above the sky, in the scatter of means of 3 × 3 pixels.
const THRESHOLD: f64 = 6.0;

/// The `most` brightest stars, the brightest first: maxima of the mean over 3 × 3 pixels within 7 × 7, with their centroids.
///
/// # Panics
/// If the mask has another size than the image.
pub fn find<T: Pixel>(image: ImageView<'_, T>, mask: &Mask, most: usize) -> Vec<Star> {
    let (height, width) = image.shape();
    assert_eq!(mask.planes().len(), height * width);
    if height < 9 || width < 9 {
        return Vec::new();
    }
    let good = |i: usize| mask.planes()[i].is_empty();
    let values = (0..height * width).filter(|i| good(*i)).map(|i| image.pixels()[i].widen());
    let Some((sky, _)) = median_and_scatter(values) else { return Vec::new() };
    let light = |y: usize, x: usize| {
        if good(y * width + x) { image.at(y, x).widen() - sky } else { 0.0 }
    };
    let mut smooth = vec![0.0_f64; height * width];
    smooth.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
        if y == 0 || y + 1 == height {
            return;
        }
        for (x, mean) in row.iter_mut().enumerate().take(width - 1).skip(1) {
            let square = (y - 1..=y + 1).flat_map(|py| (x - 1..=x + 1).map(move |px| (py, px)));
            *mean = square.map(|(py, px)| light(py, px)).sum::<f64>() / 9.0;
        }
    });
    let Some((_, scatter)) = median_and_scatter(smooth.iter().copied()) else { return Vec::new() };
    let row = |y: usize| {
        let mut stars = Vec::new();
        for x in 4..width - 4 {
            let peak = smooth[y * width + x];
            if peak <= THRESHOLD * scatter {
                continue;
            }
            let near = || (y - 3..=y + 3).flat_map(|py| (x - 3..=x + 3).map(move |px| (py, px)));
            // Of equal ones, the first.
            let highest = near().all(|(py, px)| {
                let other = smooth[py * width + px];
                other < peak || other == peak && (py, px) >= (y, x)
            });
            if !highest {
                continue;
            }
            let (mut flux, mut sx, mut sy) = (0.0, 0.0, 0.0);
            for (py, px) in (y - 2..=y + 2).flat_map(|py| (x - 2..=x + 2).map(move |px| (py, px))) {
                let value = light(py, px);
                flux += value;
                let positive = value.max(0.0);
                sx += positive * (px as f64 - x as f64);
                sy += positive * (py as f64 - y as f64);
            }
            if flux > 0.0 {
                let centre = |sum: f64| (sum / flux).clamp(-2.0, 2.0);
                stars.push(Star { x: x as f64 + centre(sx), y: y as f64 + centre(sy), flux });
            }
        }
        stars
    };
    let rows: Vec<Vec<Star>> = (4..height - 4).into_par_iter().map(row).collect();
    let mut stars = rows.concat();
    stars.sort_by(|a, b| b.flux.total_cmp(&a.flux));
    stars.truncate(most);
    stars
}

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

/// Distance in pixels within which two stars are one.
const NEAR: f64 = 1.5;

/// Stars of each image that vote for offsets.
const VOTERS: usize = 120;

/// The offset under which most stars of the two images meet; `None` where no two do.
///
/// Every pair of stars, one of each image, votes for its offset: right ones agree. Chance is judged by the Poisson distribution of the pairs that would
/// meet if the places were independent, times the number of offsets there are.
pub fn match_offset(first: &[Star], second: &[Star], shape: (usize, usize)) -> Option<Matched> {
    let (a, b) = (&first[..first.len().min(VOTERS)], &second[..second.len().min(VOTERS)]);
    let mut votes: Vec<(f64, f64)> =
        a.iter().flat_map(|s| b.iter().map(move |t| (t.x - s.x, t.y - s.y))).collect();
    votes.sort_by(|p, q| p.0.total_cmp(&q.0));
    let near = |p: &(f64, f64), q: &(f64, f64)| (p.0 - q.0).hypot(p.1 - q.1) <= NEAR;
    let count = |i: usize| {
        let vote = &votes[i];
        let from = votes.partition_point(|other| other.0 < vote.0 - NEAR);
        votes[from..]
            .iter()
            .take_while(|other| other.0 <= vote.0 + NEAR)
            .filter(|o| near(vote, o))
            .count()
    };
    let counts: Vec<usize> = (0..votes.len()).into_par_iter().map(count).collect();
    let best = (0..votes.len()).max_by_key(|i| (counts[*i], std::cmp::Reverse(*i)))?;
    let mut offset = votes[best];
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs = pairs_under(first, second, |star| (star.x + offset.0, star.y + offset.1), NEAR);
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
    let disc = std::f64::consts::PI * NEAR * NEAR;
    let expected = inside(first, 1.0) * inside(second, -1.0) * disc / overlap;
    let offsets = 4.0 * height * width / disc;
    let log_chance = log_tail(expected, pairs.len()) + offsets.log10();
    Some(Matched { dx: offset.0, dy: offset.1, pairs, log_chance })
}

/// Pairs of stars, nearest ones that choose each other, where `place` carries the first image's to the second.
fn pairs_under(
    first: &[Star],
    second: &[Star],
    place: impl Fn(&Star) -> (f64, f64),
    radius: f64,
) -> Vec<(usize, usize)> {
    let distance = |i: usize, j: usize| {
        let (x, y) = place(&first[i]);
        (second[j].x - x).hypot(second[j].y - y)
    };
    let nearest =
        |i: usize| (0..second.len()).min_by(|j, k| distance(i, *j).total_cmp(&distance(i, *k)));
    let back =
        |j: usize| (0..first.len()).min_by(|i, k| distance(*i, j).total_cmp(&distance(*k, j)));
    (0..first.len())
        .filter_map(|i| Some((i, nearest(i)?)))
        .filter(|(i, j)| distance(*i, *j) <= radius && back(*j) == Some(*i))
        .collect()
}

/// log₁₀ of the probability of `count` or more where `expected` are expected (Poisson), from above.
fn log_tail(expected: f64, count: usize) -> f64 {
    let n = count as f64;
    if n <= expected {
        return 0.0;
    }
    let log_factorial: f64 = (1..=count).map(|k| (k as f64).ln()).sum();
    // The first term, and a geometric series for the rest.
    let rest = 1.0 / (1.0 - expected / (n + 1.0));
    (n * expected.ln() - expected - log_factorial + rest.ln()) / std::f64::consts::LN_10
}

/// How the second image is turned and scaled against the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Degrees, from the axis of columns towards that of rows.
    pub angle: f64,
    /// Size in the second image over that in the first.
    pub scale: f64,
    /// Number of stars that it was found from.
    pub stars: usize,
}

/// Rotation and scale, from a match under an offset: where stars near some place meet, those farther out are looked for along with the rotation that these
/// have, and so on outwards. `None` where too few stars are left.
pub fn similarity(first: &[Star], second: &[Star], matched: &Matched) -> Option<Similarity> {
    // (x, y) ↦ (a x − b y + c, b x + a y + d).
    let mut map = [1.0, 0.0, matched.dx, matched.dy];
    let mut pairs = matched.pairs.clone();
    for radius in [3.0, 2.5, 2.0, 2.0, 2.0, 2.0, NEAR] {
        if pairs.len() < 4 {
            return None;
        }
        map = fitted(first, second, &pairs)?;
        let [a, b, c, d] = map;
        let place = |s: &Star| (a * s.x - b * s.y + c, b * s.x + a * s.y + d);
        pairs = pairs_under(first, second, place, radius);
    }
    let [a, b, ..] = map;
    let (angle, scale) = (b.atan2(a).to_degrees(), a.hypot(b));
    (pairs.len() >= 4).then_some(Similarity { angle, scale, stars: pairs.len() })
}

/// The similarity of least squares.
fn fitted(first: &[Star], second: &[Star], pairs: &[(usize, usize)]) -> Option<[f64; 4]> {
    let n = pairs.len() as f64;
    let mean = |of: &dyn Fn(&(usize, usize)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x0, y0) = (mean(&|p| first[p.0].x), mean(&|p| first[p.0].y));
    let (u0, v0) = (mean(&|p| second[p.1].x), mean(&|p| second[p.1].y));
    let (mut size, mut along, mut across) = (0.0, 0.0, 0.0);
    for (i, j) in pairs {
        let (x, y) = (first[*i].x - x0, first[*i].y - y0);
        let (u, v) = (second[*j].x - u0, second[*j].y - v0);
        size += x * x + y * y;
        along += x * u + y * v;
        across += x * v - y * u;
    }
    if size <= 0.0 {
        return None;
    }
    let (a, b) = (along / size, across / size);
    Some([a, b, u0 - a * x0 + b * y0, v0 - b * x0 - a * y0])
}

#[cfg(test)]
mod tests {
    use super::{Star, find, log_tail, match_offset, similarity};
    use crate::simulate::{SimulatedPair, SimulationOptions, simulate};

    fn field(seed: u64, density: f64) -> SimulatedPair {
        simulate(&SimulationOptions {
            height: 400,
            width: 400,
            seed,
            density,
            ..Default::default()
        })
        .unwrap()
    }

    fn stars(pair: &SimulatedPair) -> [Vec<Star>; 2] {
        [
            find(pair.reference.view(), &pair.reference_mask, 200),
            find(pair.target.view(), &pair.target_mask, 200),
        ]
    }

    #[test]
    fn sparse_fields_meet_and_unrelated_ones_do_not() {
        let all: Vec<[Vec<Star>; 2]> = (0..12).map(|seed| stars(&field(seed, 1.5))).collect();
        for (k, [reference, target]) in all.iter().enumerate() {
            let matched = match_offset(reference, target, (400, 400)).unwrap();
            assert!(matched.log_chance < -6.0, "{k}: {matched:?}");
            assert!(matched.dx.abs() < 0.5 && matched.dy.abs() < 0.5, "{k}: {matched:?}");
            for (other, [_, unrelated]) in all.iter().enumerate().filter(|(other, _)| *other != k) {
                let matched = match_offset(reference, unrelated, (400, 400));
                // 132 pairs of fields: 10⁻⁴ for one of them is rare.
                assert!(matched.is_none_or(|m| m.log_chance > -4.0), "{k} {other}");
            }
        }
    }

    #[test]
    fn a_rotation_is_measured_from_the_stars_that_meet() {
        let [reference, _] = stars(&field(3, 20.0));
        for (angle, scale) in [(0.0, 1.0), (1.0_f64, 1.0), (-0.6, 1.004)] {
            let (sin, cos) = angle.to_radians().sin_cos();
            let turned: Vec<Star> = reference
                .iter()
                .map(|s| {
                    let (x, y) = (s.x - 200.0, s.y - 180.0);
                    Star {
                        x: 200.0 + scale * (cos * x - sin * y),
                        y: 180.0 + scale * (sin * x + cos * y),
                        ..*s
                    }
                })
                .collect();
            let matched = match_offset(&reference, &turned, (400, 400)).unwrap();
            let found = similarity(&reference, &turned, &matched).unwrap();
            assert!(
                (found.angle - angle).abs() < 0.01 && (found.scale - scale).abs() < 1e-4,
                "{found:?}"
            );
        }
    }

    #[test]
    fn tails_are_those_of_poisson() {
        // P(≥ 3 | 0.5) = 1 − e^−½ (1 + ½ + ⅛) = 0.01439.
        assert!((log_tail(0.5, 3) - 0.01439_f64.log10()).abs() < 0.02);
        assert_eq!(log_tail(5.0, 3), 0.0);
    }
}
