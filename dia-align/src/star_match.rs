//! The map between two lists of stars of one field, whatever the rotation, or none.

use std::f64::consts::PI;

use dia_core::stars::Star;
use rayon::prelude::*;

use crate::asterisms::{Hypothesis, hypotheses};
use crate::fit::{FEWEST_AFFINE, FittedMap, Model};
use crate::pairing::{log_tail, pairs_under};
use crate::{AlignError, PlaneMap};

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchOptions {
    /// Scales between the inverse of this and this are found.
    pub largest_scale: f64,
    /// log₁₀ of the chance of an accident above which no match is believed, before what clustered stars add.
    pub log_chance: f64,
    /// Whether distortions of degree 2 may be fitted, where the stars show them.
    pub quadratic: bool,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self { largest_scale: 2.5, log_chance: -5.0, quadratic: true }
    }
}

/// Stars of two images that are the same, and the map that they tell.
#[derive(Clone, Debug)]
pub struct StarMatch {
    /// From places in the second image to places in the first, with its residual and covariance.
    pub fitted: FittedMap,
    /// Indices of the pairs in the first list and in the second.
    pub pairs: Vec<(usize, usize)>,
    /// log₁₀ of a bound on the chance that so many stars meet under any map by accident.
    pub log_chance: f64,
}

/// Stars of each list that make triangles, and the neighbours of each that do: more of them from stage to stage, for lists that have less in common.
const STAGES: [(usize, usize); 4] = [(14, 13), (50, 9), (130, 7), (320, 6)];

/// Hypotheses of each stage that are pursued to the end.
const PURSUED: usize = 48;

/// Those that are pursued together; the first of them with a match that is believed end the search.
const AT_ONCE: usize = 8;

/// Radii in pixels within which stars are paired, one after the other: those farther from where the map was found join along with it.
const RADII: [f64; 7] = [4.0, 3.0, 3.0, 2.5, 2.0, 2.0, 1.5];

/// Radii within which stars are one in the end: for those in noise, and for bright ones, of which few are enough.
const FINAL: [f64; 2] = [1.5, 0.5];

/// Stars cluster, and are no independent places: each star of the shorter list counts against a match with this.
const DOUBT_PER_STAR: f64 = 0.03;

/// Fewer stars than this tell no map that could be tested.
pub const FEWEST: usize = 4;

/// Any shift and rotation, mirrored or not, and a scale within [`MatchOptions::largest_scale`], under which more stars of two lists meet than would by chance.
///
/// Lists are sorted by brightness, the brightest first; `first_shape` and `second_shape` are the (rows, columns) of the images that they come from. Triangles of the brightest
/// tell hypotheses, by the similarity of their shapes; those that neighbours bear out are refined with all stars, and the one that chance explains least is
/// taken, if it does not explain it.
///
/// **Chance.** A similarity that carries n pairs to within r of each other can be had from the two pairs farthest apart, to within 2r. There are 2 N₁²N₂²/2 such
/// hypotheses, mirrored ones included, under each of which λ = n₂ N₁ π (2r)²/A pairs meet where stars are independent (n₂ stars of the second list fall on the first image, of
/// area A): at most N₁²N₂² P(≥ n − 2 | λ), with P of Poisson. An affine map takes three pairs.
///
/// # Errors
/// [`AlignError::FewStars`] where a list has fewer than four, [`AlignError::NoMatch`] where chance does as well as the best map.
pub fn match_stars(
    first: &[Star],
    second: &[Star],
    first_shape: (usize, usize),
    second_shape: (usize, usize),
    options: &MatchOptions,
) -> Result<StarMatch, AlignError> {
    if first.len().min(second.len()) < FEWEST {
        let (first, second) = (first.len(), second.len());
        return Err(AlignError::FewStars { first, second, needed: FEWEST });
    }
    let lists = Lists { first, second, first_shape, second_shape };
    let mut best: Option<StarMatch> = None;
    for (stars, neighbours) in STAGES {
        let part = |list: &'_ [Star]| list.len().min(stars);
        let (a, b) = (&first[..part(first)], &second[..part(second)]);
        let mut all = hypotheses(a, b, neighbours, options.largest_scale);
        all.truncate(PURSUED);
        for some in all.chunks(AT_ONCE) {
            let pursued: Vec<StarMatch> =
                some.par_iter().filter_map(|hypothesis| lists.pursue(hypothesis)).collect();
            let found = pursued.into_iter().chain(best.take());
            best = found.min_by(|p, q| p.log_chance.total_cmp(&q.log_chance));
            if best.as_ref().is_some_and(|best| lists.believed(best, options)) {
                break;
            }
        }
        let done = first.len().max(second.len()) <= stars;
        if done || best.as_ref().is_some_and(|best| lists.believed(best, options)) {
            break;
        }
    }
    lists.judged(best, options)
}

/// The match of two lists about a map that is known nearly: stars within 4 pixels of where it puts them are paired where there are any, and the map that they tell leads to
/// others. Its [`log_chance`](StarMatch::log_chance) is that of a map that was not known.
///
/// # Errors
/// As [`match_stars`].
pub fn match_near(
    first: &[Star],
    second: &[Star],
    first_shape: (usize, usize),
    second_shape: (usize, usize),
    near: &PlaneMap,
    options: &MatchOptions,
) -> Result<StarMatch, AlignError> {
    let lists = Lists { first, second, first_shape, second_shape };
    let middle = (0.5 * second_shape.1 as f64, 0.5 * second_shape.0 as f64);
    let mirrored = near.determinant(middle.0, middle.1) < 0.0;
    let found = lists.from(|x, y| near.place(x, y), mirrored);
    lists.judged(found, options)
}

/// Two lists and the images that they come from.
struct Lists<'a> {
    first: &'a [Star],
    second: &'a [Star],
    first_shape: (usize, usize),
    second_shape: (usize, usize),
}

impl Lists<'_> {
    fn pursue(&self, hypothesis: &Hypothesis) -> Option<StarMatch> {
        self.from(|x, y| hypothesis.place(x, y), hypothesis.mirrored)
    }

    /// The map that a first guess becomes as more and more stars join, with the chance of it.
    fn from(&self, guess: impl Fn(f64, f64) -> (f64, f64), mirrored: bool) -> Option<StarMatch> {
        let mut map: Option<FittedMap> = None;
        for radius in RADII {
            let place = |x: f64, y: f64| match &map {
                Some(fitted) => fitted.map.place(x, y),
                None => guess(x, y),
            };
            let pairs = self.pairs(place, radius);
            let few = pairs.len() < FEWEST_AFFINE;
            let model = if few { Model::Similarity { mirrored } } else { Model::Affine };
            if pairs.len() < FEWEST - 1 {
                return None;
            }
            map = Some(FittedMap::of(&self.places(&pairs), model)?);
        }
        let fitted = map?;
        let judged = FINAL.map(|radius| {
            let pairs = self.pairs(|x, y| fitted.map.place(x, y), radius);
            // Two radii are tried.
            let log_chance = self.log_chance(&fitted, pairs.len(), radius) + 2.0_f64.log10();
            (log_chance, pairs)
        });
        let [wide, narrow] = judged;
        let log_chance = wide.0.min(narrow.0);
        let pairs = if narrow.0 < wide.0 { narrow.1 } else { wide.1 };
        Some(StarMatch { fitted, pairs, log_chance })
    }

    /// Pairs (in the first list, in the second) that meet within `radius`.
    fn pairs(&self, place: impl Fn(f64, f64) -> (f64, f64), radius: f64) -> Vec<(usize, usize)> {
        let found = pairs_under(self.second, self.first, |star| place(star.x, star.y), radius);
        found.into_iter().map(|(second, first)| (first, second)).collect()
    }

    /// Places in the second image and in the first.
    fn places(&self, pairs: &[(usize, usize)]) -> Vec<[(f64, f64); 2]> {
        let place = |star: &Star| (star.x, star.y);
        pairs.iter().map(|(i, j)| [place(&self.second[*j]), place(&self.first[*i])]).collect()
    }

    /// Stars of the second list that the map carries into the first image.
    fn inside(&self, map: &PlaneMap) -> usize {
        let (height, width) = (self.first_shape.0 as f64, self.first_shape.1 as f64);
        let lies = |star: &&Star| {
            let (x, y) = map.place(star.x, star.y);
            (0.0..width).contains(&x) && (0.0..height).contains(&y)
        };
        self.second.iter().filter(lies).count()
    }

    fn log_chance(&self, fitted: &FittedMap, pairs: usize, radius: f64) -> f64 {
        let (n1, n2) = (self.first.len() as f64, self.second.len() as f64);
        let area = (self.first_shape.0 * self.first_shape.1) as f64;
        let inside = self.inside(&fitted.map) as f64;
        let expected = inside * n1 * PI * (2.0 * radius).powi(2) / area;
        let taken = if fitted.model.parameters() == 4 { 2 } else { 3 };
        let hypotheses = f64::from(taken) * (n1 * n2).log10();
        log_tail(expected, pairs.saturating_sub(taken as usize)) + hypotheses
    }

    fn believed(&self, found: &StarMatch, options: &MatchOptions) -> bool {
        let middle = (0.5 * self.second_shape.1 as f64, 0.5 * self.second_shape.0 as f64);
        let (_, scale, _) = found.fitted.map.turn(middle.0, middle.1);
        let doubt = DOUBT_PER_STAR * self.inside(&found.fitted.map).min(self.first.len()) as f64;
        let possible = (options.largest_scale.recip()..=options.largest_scale).contains(&scale);
        possible && found.log_chance < options.log_chance - doubt
    }

    /// The best match in full, if chance does not explain it.
    fn judged(
        &self,
        best: Option<StarMatch>,
        options: &MatchOptions,
    ) -> Result<StarMatch, AlignError> {
        match best {
            Some(best) if self.believed(&best, options) => Ok(self.refined(best, options)),
            best => Err(AlignError::NoMatch {
                first: self.first.len(),
                second: self.second.len(),
                pairs: best.as_ref().map_or(0, |best| best.pairs.len()),
                log_chance: best.as_ref().map_or(0.0, |best| best.log_chance),
            }),
        }
    }

    /// The map of all pairs that agree with it, of the degree that they show.
    fn refined(&self, found: StarMatch, options: &MatchOptions) -> StarMatch {
        let StarMatch { mut fitted, mut pairs, log_chance } = found;
        let mirrored = fitted.map.determinant(0.0, 0.0) < 0.0;
        // Where distortion carried stars out of the circle, they come in again.
        for radius in [2.5, 2.5, 2.0, 1.5] {
            let now = self.pairs(|x, y| fitted.map.place(x, y), radius);
            let best = FittedMap::best(&self.places(&now), mirrored, options.quadratic);
            let Some(best) = best else { break };
            fitted = best;
            pairs = now;
        }
        StarMatch { fitted, pairs, log_chance }
    }
}

#[cfg(test)]
mod tests;
