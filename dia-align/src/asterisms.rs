//! Triangles of stars and their shapes, which neither shifts, rotations, scales nor mirror images change.
//!
//! Groth (1986, AJ 91, 1244) matches lists of stars by them. Only those of stars that are neighbours among the brightest are made (as Beroiz, Cabral & Sanchez 2020, A&C 32,
//! 100384, do): they lie in one image as a whole where the overlap is small, and there are few of them.

use std::cmp::Reverse;

use dia_core::stars::Star;
use rayon::prelude::*;

use crate::pairing::Nearest;

/// Error of a star's place in pixels, of which the tolerance of shapes is made.
const PLACE_ERROR: f64 = 0.7;

/// What distortion may change of a ratio of sides.
const DISTORTION: f64 = 0.002;

/// Longest sides below this many pixels tell no shape.
const SHORTEST: f64 = 16.0;

/// Triangles whose shortest side is less than this part of the longest tell no scale across.
const FLATTEST: f64 = 0.08;

/// Neighbours around a triangle by which it is checked.
const NEIGHBOURS: usize = 12;

/// Distance in pixels within which they have to meet.
const NEAR: f64 = 3.0;

/// How many of them have to, beside the triangle's own stars.
const CHECKED: usize = 2;

/// u = a x − b y + c, v = b x + a y + d, of −x where it mirrors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hypothesis {
    pub(crate) mirrored: bool,
    parameters: [f64; 4],
    /// Neighbours that meet.
    votes: usize,
}

impl Hypothesis {
    pub(crate) fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let x = if self.mirrored { -x } else { x };
        let [a, b, c, d] = self.parameters;
        (a * x - b * y + c, b * x + a * y + d)
    }

    /// That of least squares through pairs of places.
    fn of(pairs: &[[(f64, f64); 2]; 3], mirrored: bool) -> Self {
        let n = pairs.len() as f64;
        let pairs = pairs.map(|[(x, y), to]| [(if mirrored { -x } else { x }, y), to]);
        let mean = |side: usize| {
            let (x, y) = pairs.iter().fold((0.0, 0.0), |(x, y), p| (x + p[side].0, y + p[side].1));
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
        let parameters = [a, b, u0 - a * x0 + b * y0, v0 - b * x0 - a * y0];
        Self { mirrored, parameters, votes: 0 }
    }
}

/// Three stars, by their place in a list: opposite the shortest side, the middle one, and the longest.
#[derive(Clone, Copy, Debug)]
struct Triangle {
    stars: [usize; 3],
    /// The shortest and the middle side over the longest.
    shape: [f64; 2],
    longest: f64,
    /// Whether the stars go round from columns to rows.
    turns: bool,
}

impl Triangle {
    fn of(list: &[Star], corners: [usize; 3]) -> Option<Self> {
        let side = |i: usize, j: usize| {
            (list[corners[i]].x - list[corners[j]].x).hypot(list[corners[i]].y - list[corners[j]].y)
        };
        let mut sides = [(side(1, 2), 0), (side(0, 2), 1), (side(0, 1), 2)];
        sides.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [short, middle, long] = sides.map(|side| side.0);
        if long < SHORTEST || short < FLATTEST * long {
            return None;
        }
        let stars = sides.map(|side| corners[side.1]);
        let [p, q, r] = stars.map(|i| (list[i].x, list[i].y));
        let cross = (q.0 - p.0) * (r.1 - p.1) - (q.1 - p.1) * (r.0 - p.0);
        Some(Self {
            stars,
            shape: [short / long, middle / long],
            longest: long,
            turns: cross > 0.0,
        })
    }

    /// By how much errors of places change its shape.
    fn tolerance(&self) -> f64 {
        PLACE_ERROR / self.longest
    }
}

/// Triangles of every star with two of its `neighbours` nearest ones, sorted by the first ratio.
fn triangles(list: &[Star], neighbours: usize) -> Vec<Triangle> {
    let mut corners: Vec<[usize; 3]> = (0..list.len())
        .flat_map(|i| {
            let near = nearest(list, i, neighbours);
            let pairs = (0..near.len()).flat_map(|k| (0..k).map(move |l| (k, l)));
            pairs.map(|(k, l)| [i, near[k], near[l]]).collect::<Vec<_>>()
        })
        .map(|mut corners| {
            corners.sort_unstable();
            corners
        })
        .collect();
    corners.sort_unstable();
    corners.dedup();
    let mut all: Vec<Triangle> =
        corners.into_iter().filter_map(|corners| Triangle::of(list, corners)).collect();
    all.sort_by(|a, b| a.shape[0].total_cmp(&b.shape[0]));
    all
}

/// The `count` stars nearest to star `i`.
fn nearest(list: &[Star], i: usize, count: usize) -> Vec<usize> {
    let square = |j: usize| (list[j].x - list[i].x).powi(2) + (list[j].y - list[i].y).powi(2);
    let mut others: Vec<usize> = (0..list.len()).filter(|j| *j != i).collect();
    others.sort_by(|a, b| square(*a).total_cmp(&square(*b)).then(a.cmp(b)));
    others.truncate(count);
    others
}

/// Maps from `second` to `first` that triangles of the same shape tell and their neighbours bear out, those with the most of them first.
pub(crate) fn hypotheses(
    first: &[Star],
    second: &[Star],
    neighbours: usize,
    largest_scale: f64,
) -> Vec<Hypothesis> {
    let (to, from) = (triangles(first, neighbours), triangles(second, neighbours));
    let places: Vec<(f64, f64)> = first.iter().map(|star| (star.x, star.y)).collect();
    let grid = Nearest::new(&places);
    let around: Vec<Vec<usize>> =
        (0..second.len()).map(|i| nearest(second, i, NEIGHBOURS)).collect();
    let told = |triangle: &Triangle, other: &Triangle| {
        let pair = |k: usize| {
            let (s, t) = (&second[triangle.stars[k]], &first[other.stars[k]]);
            [(s.x, s.y), (t.x, t.y)]
        };
        let map = Hypothesis::of(&[pair(0), pair(1), pair(2)], triangle.turns != other.turns);
        // A map is known best near where it was found.
        let others = around[triangle.stars[0]].iter().filter(|i| !triangle.stars.contains(i));
        let meet = others.filter(|i| {
            let place = map.place(second[**i].x, second[**i].y);
            grid.within(place, NEAR).is_some()
        });
        let votes = meet.count();
        (votes >= CHECKED).then_some(Hypothesis { votes, ..map })
    };
    let widest = to.iter().map(Triangle::tolerance).fold(0.0, f64::max);
    let found = from.par_iter().flat_map_iter(|triangle| {
        let reach = triangle.tolerance() + widest + DISTORTION;
        let start = to.partition_point(|other| other.shape[0] < triangle.shape[0] - reach);
        let close = to[start..].iter().take_while(move |o| o.shape[0] <= triangle.shape[0] + reach);
        let alike = close.filter(move |other| {
            let tolerance = triangle.tolerance() + other.tolerance() + DISTORTION;
            let [a, b] = [0, 1].map(|k| other.shape[k] - triangle.shape[k]);
            let scale = other.longest / triangle.longest;
            a.hypot(b) <= tolerance && (largest_scale.recip()..=largest_scale).contains(&scale)
        });
        alike.filter_map(|other| told(triangle, other)).collect::<Vec<_>>()
    });
    let mut found: Vec<Hypothesis> = found.collect();
    found.sort_by_key(|hypothesis| Reverse(hypothesis.votes));
    found
}
