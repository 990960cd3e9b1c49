//! How two images lie: by their stars, or where these are too few, by all that they show.

use anyhow::{Context, Result, anyhow, bail};
use dia_align::{
    AlignError, FittedMap, MatchOptions, Matched, PlaneMap, StarMatch, match_near, match_offset,
    match_stars, recentre,
};
use dia_core::stars::{self, Star};
use dia_core::{Mask, seeing};
use dia_fft::offset;

use super::Shift;
use super::headers::{self, WcsReport};
use super::turn::{TURNS, Turn};
use crate::input::{Input, Real};
use crate::notice::{Level, Notice};
use crate::request::{Align, LEFT_TO_THE_KERNEL};

/// Below this correlation, images with few stars show no common pattern.
const LEAST_CORRELATION: f64 = 0.25;

/// Where both images have more stars than this, these decide, and not what else correlates: two galaxies, say.
const FEW: usize = 10;

/// Matched stars are believed where that many or more would meet by chance in fewer than one of 3000 pairs of images.
const CHANCE: f64 = -3.5;

/// The same for turned images, of which seven are tried.
const CHANCE_TURNED: f64 = -6.0;

/// Stars are no independent places: they cluster, and where there are many, chance is more often kind than Poisson says. True matches of many lie far beyond.
const DOUBT_PER_STAR: f64 = 0.08;

/// Stars of each image that are matched as they stand.
const STARS: usize = 200;

/// Stars of each image whose asterisms are matched.
const MOST_STARS: usize = 1000;

/// Fewer matched stars than this do not tell a rotation.
const FEWEST_FOR_ROTATION: usize = 5;

/// What was found, and what is to be said about it.
pub(super) struct Searched {
    pub(super) found: Found,
    pub(super) notices: Vec<Notice>,
    pub(super) wcs: Option<WcsReport>,
}

/// How the images lie, and by what that is known.
pub(super) struct Found {
    pub(super) lie: Lie,
    /// As in the report.
    pub(super) by: &'static str,
    /// Stars found in reference and target.
    pub(super) counts: [usize; 2],
    /// Those that are the same.
    pub(super) pairs: Vec<[Star; 2]>,
    pub(super) log_chance: Option<f64>,
}

/// How the images lie.
pub(super) enum Lie {
    /// By an offset, of which no star tells whether it is the whole truth.
    Offset(Shift),
    /// By a map from the target to the reference, with the turn and shift under which it was found if it was by these.
    Map { map: Box<FittedMap>, turned: Option<(Option<Turn>, Shift)> },
}

impl Found {
    /// Stars that both images have, where they are in the target.
    pub(super) fn target_stars(&self) -> Vec<Star> {
        self.pairs.iter().map(|pair| pair[1]).collect()
    }
}

/// One image with its stars, the brightest first.
struct Side<'a, T> {
    input: &'a Input<T>,
    mask: Mask,
    shape: (usize, usize),
    stars: Vec<Star>,
}

impl<'a, T: Real> Side<'a, T> {
    fn new(input: &'a Input<T>) -> Self {
        let mask = input.unusable();
        let stars = stars::find(input.image.view(), &mask, MOST_STARS);
        Self { input, mask, shape: input.image.view().shape(), stars }
    }

    fn name(&self) -> &str {
        &self.input.taken.image
    }

    fn brightest(&self) -> &[Star] {
        &self.stars[..self.stars.len().min(STARS)]
    }

    /// The stars with better centroids, where the seeing can be measured.
    fn recentred(&self, stars: &[Star]) -> Vec<Star> {
        let image = self.input.image.view();
        match seeing::fwhm_of_stars(image, &self.mask, stars, 3) {
            Some(fwhm) => recentre(image, &self.mask, stars, fwhm),
            None => stars.to_vec(),
        }
    }
}

/// How the reference lies against the target.
pub(super) fn find<T: Real>(
    reference: &Input<T>,
    target: &Input<T>,
    choice: Align,
) -> Result<Searched> {
    let headers = headers::map(reference, target);
    let (first, second) = rayon::join(|| Side::new(reference), || Side::new(target));
    if choice == Align::Wcs {
        let map = headers?.with_context(|| {
            format!(
                "--align wcs needs the world coordinates of both images, and the header of {} or of {} has no CTYPE1",
                first.name(),
                second.name()
            )
        })?;
        return Ok(by_headers(&first, &second, &map));
    }
    let found = by_stars(&first, &second)
        .or_else(|error| by_correlation(&first, &second, choice, error))?;
    let wcs = match (&found.lie, headers) {
        (_, Err(error)) => Some(WcsReport::Unused(format!("{error:#}"))),
        (Lie::Map { map, .. }, Ok(Some(headers))) => {
            Some(WcsReport::Disagreement(headers::distance(map, &headers, second.shape)))
        }
        (_, Ok(_)) => None,
    };
    Ok(Searched { found, notices: Vec::new(), wcs })
}

/// The map of the headers, corrected by the stars; or that of the stars, where it contradicts.
fn by_headers<T: Real>(first: &Side<'_, T>, second: &Side<'_, T>, headers: &FittedMap) -> Searched {
    let (a, b) = (&first.stars, &second.stars);
    let counts = [a.len(), b.len()];
    let options = MatchOptions::default();
    let near = match_near(a, b, first.shape, second.shape, &headers.map, &options);
    let (found, notice) = if let Ok(matched) = near {
        (of_match(first, second, matched, "wcs and stars"), None)
    } else if let Ok(found) = by_stars(first, second) {
        let off = match &found.lie {
            Lie::Map { map, .. } => headers::distance(map, headers, second.shape),
            Lie::Offset(shift) => {
                let (x, y) = (0.5 * second.shape.1 as f64, 0.5 * second.shape.0 as f64);
                let (u, v) = headers.map.place(x, y);
                (x - u - shift.dx as f64).hypot(y - v - shift.dy as f64)
            }
        };
        let text = format!(
            "the world coordinates of {} and {} put their stars {off:.1} pixels from each other; the stars were followed",
            first.name(),
            second.name()
        );
        (found, Some(Notice::new(Level::Warn, "wcs-contradicts", text)))
    } else {
        let text = format!(
            "{} and {} were aligned by their world coordinates alone: too few stars confirm them",
            first.name(),
            second.name()
        );
        let lie = Lie::Map { map: Box::new(headers.clone()), turned: None };
        let found = Found { lie, by: "wcs", counts, pairs: Vec::new(), log_chance: None };
        (found, Some(Notice::new(Level::Warn, "wcs-alone", text)))
    };
    let wcs = match &found.lie {
        Lie::Map { map, .. } if found.by != "wcs" => {
            Some(WcsReport::Disagreement(headers::distance(map, headers, second.shape)))
        }
        _ => None,
    };
    Searched { found, notices: notice.into_iter().collect(), wcs }
}

/// The offset under which the stars meet, upright or turned, or any map under which they do.
fn by_stars<T: Real>(first: &Side<'_, T>, second: &Side<'_, T>) -> Result<Found, AlignError> {
    let (a, b) = (first.brightest(), second.brightest());
    if let Some(matched) = believed(a, b, [first.shape, second.shape], CHANCE)
        && let Some(found) = only_shifted(first, second, a, &matched, None)
    {
        return Ok(found);
    }
    if let Some((turn, turned, matched)) = turned(a, b, first.shape, second.shape)
        && let Some(found) = only_shifted(first, second, &turned, &matched, Some(turn))
    {
        return Ok(found);
    }
    let (a, b) = (&first.stars, &second.stars);
    let matched = match_stars(a, b, first.shape, second.shape, &MatchOptions::default())?;
    Ok(of_match(first, second, matched, "stars"))
}

/// A match with better centroids.
fn of_match<T: Real>(
    first: &Side<'_, T>,
    second: &Side<'_, T>,
    matched: StarMatch,
    by: &'static str,
) -> Found {
    let (a, b) = (&first.stars, &second.stars);
    let pairs: Vec<[Star; 2]> = matched.pairs.iter().map(|(i, j)| [a[*i], b[*j]]).collect();
    let middle = (0.5 * second.shape.1 as f64, 0.5 * second.shape.0 as f64);
    let mirrored = matched.fitted.map.determinant(middle.0, middle.1) < 0.0;
    let map = refit(first, second, &pairs, mirrored).unwrap_or(matched.fitted);
    let counts = [a.len(), b.len()];
    let log_chance = Some(matched.log_chance);
    let lie = Lie::Map { map: Box::new(map), turned: None };
    Found { lie, by, counts, pairs, log_chance }
}

/// A match under an offset, unless a rotation or scale is seen that a kernel cannot follow; `first_stars` are those of the turned reference.
fn only_shifted<T: Real>(
    first: &Side<'_, T>,
    second: &Side<'_, T>,
    first_stars: &[Star],
    matched: &Matched,
    turn: Option<Turn>,
) -> Option<Found> {
    let second_stars = second.brightest();
    let shape = turn.map_or(first.shape, |turn| turn.shape(first.shape));
    let shift = Shift { dx: matched.dx.round() as isize, dy: matched.dy.round() as isize };
    let own = &first.stars;
    let pairs: Vec<[Star; 2]> =
        matched.pairs.iter().map(|(i, j)| [own[*i], second_stars[*j]]).collect();
    let counts = [first.stars.len(), second.stars.len()];
    let log_chance = Some(matched.log_chance);
    let found = |lie, pairs| Found { lie, by: "stars", counts, pairs, log_chance };
    // What the stars farther out tell, if they are enough.
    let near = PlaneMap::affine([[-matched.dx, 1.0, 0.0], [-matched.dy, 0.0, 1.0]]);
    let options = MatchOptions::default();
    let grown = match_near(first_stars, second_stars, shape, second.shape, &near, &options).ok();
    let Some(grown) = grown.filter(|grown| grown.pairs.len() >= FEWEST_FOR_ROTATION) else {
        return Some(found(Lie::Offset(shift), pairs));
    };
    let middle = (0.5 * second.shape.1 as f64, 0.5 * second.shape.0 as f64);
    let (angle, scale, _) = grown.fitted.map.turn(middle.0, middle.1);
    if middle.0.hypot(middle.1) * angle.to_radians().hypot(scale - 1.0) > LEFT_TO_THE_KERNEL {
        return None;
    }
    let all: Vec<[Star; 2]> =
        grown.pairs.iter().map(|(i, j)| [own[*i], second_stars[*j]]).collect();
    let mirrored = turn.is_some_and(Turn::mirrors);
    let Some(map) = refit(first, second, &all, mirrored) else {
        return Some(found(Lie::Offset(shift), pairs));
    };
    Some(found(Lie::Map { map: Box::new(map), turned: Some((turn, shift)) }, pairs))
}

/// The map from target to reference of pairs with better centroids, if they tell one.
fn refit<T: Real>(
    first: &Side<'_, T>,
    second: &Side<'_, T>,
    pairs: &[[Star; 2]],
    mirrored: bool,
) -> Option<FittedMap> {
    let of = |k: usize| pairs.iter().map(|pair| pair[k]).collect::<Vec<_>>();
    let (to, from) = rayon::join(|| first.recentred(&of(0)), || second.recentred(&of(1)));
    let places: Vec<[(f64, f64); 2]> =
        from.iter().zip(&to).map(|(s, t)| [(s.x, s.y), (t.x, t.y)]).collect();
    FittedMap::best(&places, mirrored, true)
}

/// The match of two lists, if it is no chance.
fn believed(
    first: &[Star],
    second: &[Star],
    shapes: [(usize, usize); 2],
    chance: f64,
) -> Option<Matched> {
    let doubt = DOUBT_PER_STAR * first.len().min(second.len()) as f64;
    match_offset(first, second, shapes).filter(|found| found.log_chance < chance - doubt)
}

/// The symmetry of the grid under which most stars meet, with the turned stars of the reference.
fn turned(
    first: &[Star],
    second: &[Star],
    reference_shape: (usize, usize),
    shape: (usize, usize),
) -> Option<(Turn, Vec<Star>, Matched)> {
    let candidates = TURNS.into_iter().filter(|turn| turn.shape(reference_shape) == shape);
    let found = candidates.filter_map(|turn| {
        let turned = turn.stars(first, reference_shape);
        let matched = believed(&turned, second, [shape; 2], CHANCE_TURNED)?;
        Some((turn, turned, matched))
    });
    found.min_by(|a, b| a.2.log_chance.total_cmp(&b.2.log_chance))
}

/// The offset of the highest correlation, for images of few stars.
fn by_correlation<T: Real>(
    first: &Side<'_, T>,
    second: &Side<'_, T>,
    choice: Align,
    by_stars: AlignError,
) -> Result<Found> {
    let (names, counts) = ((first.name(), second.name()), [first.stars.len(), second.stars.len()]);
    if choice == Align::Stars {
        return Err(anyhow!(by_stars).context(format!(
            "{} and {} cannot be aligned by their stars; is it the same field?",
            names.0, names.1
        )));
    }
    let (reference, target) = (first.input.image.view(), second.input.image.view());
    let correlated = offset(reference, &first.mask, target, &second.mask).with_context(|| {
        format!(
            "no offset between {} and {} can be found, for one of them has no pixel that stands out of its sky; is it a \
             flat field or a bias? --align none skips this step",
            names.0, names.1
        )
    })?;
    let few = counts[0].min(counts[1]) <= FEW;
    let upright = first.shape == second.shape || choice == Align::Integer;
    if !(upright && few && correlated.correlation >= LEAST_CORRELATION) {
        bail!(
            "{} and {} show no common pattern of stars ({} and {} stars were found; correlation {:.2} at dx = {}, dy = {}); is it the same field? \
             --align none skips this test, --align DX,DY gives the offset",
            names.0,
            names.1,
            counts[0],
            counts[1],
            correlated.correlation,
            correlated.dx,
            correlated.dy
        );
    }
    let shift = Shift { dx: correlated.dx, dy: correlated.dy };
    let lie = Lie::Offset(shift);
    Ok(Found { lie, by: "correlation", counts, pairs: Vec::new(), log_chance: None })
}
