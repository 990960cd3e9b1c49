//! Rotation and scale between two lists of stars.

use std::collections::HashMap;
use std::f64::consts::PI;

use super::matching::{log_tail, pairs_under};
use super::{Matched, Star};

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

/// (x, y) ↦ (a x − b y + c, b x + a y + d).
#[derive(Clone, Copy, Debug)]
struct Map([f64; 4]);

impl Map {
    fn place(self, x: f64, y: f64) -> (f64, f64) {
        let [a, b, c, d] = self.0;
        (a * x - b * y + c, b * x + a * y + d)
    }

    /// That of least squares, of places in the first image and in the second; `None` where the former are one.
    fn of(pairs: &[[(f64, f64); 2]]) -> Option<Self> {
        let n = pairs.len() as f64;
        let mean = |side: usize| {
            let places = pairs.iter().map(|pair| pair[side]);
            let (x, y) = places.fold((0.0, 0.0), |(x, y), place| (x + place.0, y + place.1));
            (x / n, y / n)
        };
        let ((x0, y0), (u0, v0)) = (mean(0), mean(1));
        let (mut size, mut along, mut across) = (0.0, 0.0, 0.0);
        for [(x, y), (u, v)] in pairs {
            let (x, y, u, v) = (x - x0, y - y0, u - u0, v - v0);
            size += x * x + y * y;
            along += x * u + y * v;
            across += x * v - y * u;
        }
        let (a, b) = (along / size, across / size);
        (size > 0.0).then_some(Self([a, b, u0 - a * x0 + b * y0, v0 - b * x0 - a * y0]))
    }

    /// The map and the pairs that it leaves, from circles that become narrower.
    fn refined(self, first: &[Star], second: &[Star], fewest: usize) -> Option<(Self, usize)> {
        let mut map = self;
        let mut count = 0;
        for radius in REFINED {
            let place = |star: &Star| map.place(star.x, star.y);
            let pairs = pairs_under(first, second, place, radius);
            count = pairs.len();
            if count < fewest {
                return None;
            }
            let places = pairs.iter().map(|(i, j)| {
                let (s, t) = (&first[*i], &second[*j]);
                [(s.x, s.y), (t.x, t.y)]
            });
            map = Self::of(&places.collect::<Vec<_>>())?;
        }
        Some((map, count))
    }

    fn similarity(self, stars: usize) -> Similarity {
        let [a, b, ..] = self.0;
        Similarity { angle: b.atan2(a).to_degrees(), scale: a.hypot(b), stars }
    }
}

/// Distances in pixels within which stars are paired, one after the other: those farther out join along with the rotation that the nearer ones have.
const REFINED: [f64; 8] = [3.0, 3.0, 2.5, 2.0, 2.0, 2.0, 2.0, NEAR];

/// Distance within which two stars are one in the end.
const NEAR: f64 = 1.5;

/// Fewer stars than this tell neither rotation nor scale.
const FEWEST: usize = 4;

/// Rotation and scale, from a match under an offset: where stars near some place meet, those farther out are looked for along with the rotation that these
/// have, and so on outwards. `None` where fewer than four stars are left.
pub fn similarity(first: &[Star], second: &[Star], matched: &Matched) -> Option<Similarity> {
    let map = Map([1.0, 0.0, matched.dx, matched.dy]);
    map.refined(first, second, FEWEST).map(|(map, stars)| map.similarity(stars))
}

/// Stars of each image whose pairs are compared.
const VOTERS: usize = 36;

/// Pairs closer than this part of the diagonal do not tell an angle.
const LEAST_SEPARATION: f64 = 0.08;

/// Scales between the inverse of this and this are found.
const LARGEST_SCALE: f64 = 4.0;

/// Sides of the cells in which votes are counted: in ln scale, in radians, and in pixels at the centre of the image.
const CELLS: [f64; 4] = [0.03, 0.03, 8.0, 8.0];

/// Maps with the most votes that are tried.
const TRIED: usize = 6;

/// log₁₀ of chance above which a similarity is not believed.
const CHANCE: f64 = -6.0;

/// Any rotation, and a scale of ¼ to 4, under which stars of the two images meet that would not do so by chance; `None` where there is none.
///
/// Every two stars of one image and two of the other, of the 36 brightest, vote for the similarity that carries the ones to the others (Groth 1986, AJ 91,
/// 1244, does so with triangles); those with the most votes are judged by all stars. `shape` is that of the second image.
pub fn match_similarity(
    first: &[Star],
    second: &[Star],
    shape: (usize, usize),
) -> Option<Similarity> {
    let (height, width) = (shape.0 as f64, shape.1 as f64);
    let diagonal = height.hypot(width);
    let mut votes: HashMap<[i64; 4], (usize, Map)> = HashMap::new();
    let (from, to) = (brightest_pairs(first, diagonal), brightest_pairs(second, diagonal));
    for [s, t] in &from {
        for [u, v] in &to {
            for pair in [[*u, *v], [*v, *u]] {
                let Some(map) = Map::of(&[[*s, pair[0]], [*t, pair[1]]]) else { continue };
                let [a, b, ..] = map.0;
                let scale = a.hypot(b);
                if !(LARGEST_SCALE.recip()..=LARGEST_SCALE).contains(&scale) {
                    continue;
                }
                let (x, y) = map.place(0.5 * width, 0.5 * height);
                let place = [scale.ln(), b.atan2(a), x, y];
                let cell = std::array::from_fn(|k| (place[k] / CELLS[k]).round() as i64);
                votes.entry(cell).or_insert((0, map)).0 += 1;
            }
        }
    }
    let mut votes: Vec<([i64; 4], (usize, Map))> = votes.into_iter().collect();
    // By the cell too: the order of the map is not that of the last run.
    votes.sort_by(|p, q| (q.1.0, p.0).cmp(&(p.1.0, q.0)));
    let tried = votes.into_iter().take(TRIED);
    let judged = tried.filter_map(|(_, (_, map))| {
        let (map, stars) = map.refined(first, second, FEWEST)?;
        let lies = |star: &&Star| {
            let (x, y) = map.place(star.x, star.y);
            (0.0..width).contains(&x) && (0.0..height).contains(&y)
        };
        let disc = PI * NEAR * NEAR;
        let inside = first.iter().filter(lies).count() as f64;
        let expected = inside * second.len() as f64 * disc / (height * width);
        // Offsets, angles and scales that stars half a diagonal from the centre can tell apart.
        let turns = PI * diagonal / NEAR;
        let scales = LARGEST_SCALE.ln() * diagonal / NEAR;
        let tries = 4.0 * height * width / disc * turns * scales;
        let log_chance = log_tail(expected, stars) + tries.log10();
        Some((log_chance, map.similarity(stars)))
    });
    let best = judged.min_by(|p, q| p.0.total_cmp(&q.0))?;
    (best.0 < CHANCE).then_some(best.1)
}

/// Places of two stars each, of the brightest, that are far enough apart.
fn brightest_pairs(stars: &[Star], diagonal: f64) -> Vec<[(f64, f64); 2]> {
    let stars = &stars[..stars.len().min(VOTERS)];
    let place = |star: &Star| (star.x, star.y);
    let pairs = stars.iter().enumerate().flat_map(|(i, s)| stars[..i].iter().map(move |t| (s, t)));
    pairs
        .filter(|(s, t)| (s.x - t.x).hypot(s.y - t.y) > LEAST_SEPARATION * diagonal)
        .map(|(s, t)| [place(s), place(t)])
        .collect()
}
