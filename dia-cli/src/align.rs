//! Moves the reference onto the target's grid, by whole pixels and the symmetries of the grid.

use anyhow::{Context, Result, bail, ensure};
use dia_core::stars::{self, Matched, Similarity, Star};
use dia_core::{Image, Mask, MaskPlanes, Pixel};
use dia_fft::offset;

use crate::input::{Input, InputNoise, Real};
use crate::notice::{Level, Notice};
use crate::request::Align;
use crate::turn::{TURNS, Turn};

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

/// Stars of each image that are matched.
const STARS: usize = 200;

/// Displacement in pixels in the corners that is left to a kernel that varies.
const LEFT_TO_THE_KERNEL: f64 = 2.0;

/// Fewer matched stars than this do not tell a rotation.
const FEWEST_FOR_ROTATION: usize = 5;

/// The whole-pixel offset that was taken out: a star's place in the target minus its place in the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

/// How the reference was moved, and the stars that both images have, on the target's grid; none if it was found by other means.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned {
    /// Before the shift; a star's place in the turned reference counts for it.
    pub(crate) turn: Option<Turn>,
    pub(crate) shift: Shift,
    pub(crate) stars: Vec<Star>,
}

/// Finds turn and offset, and moves `reference` so that both images share the target's grid.
pub(crate) fn align<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    choice: Align,
) -> Result<Aligned> {
    let (r, t) = (reference.image.view().shape(), target.image.view().shape());
    let any_size = matches!(choice, Align::Integer | Align::By(..));
    let upright = r == t || any_size;
    let on_its_side = (r.1, r.0) == t && choice == Align::Auto;
    let sizes = || {
        format!(
            "the images differ in size: {} has {} × {} pixels (rows × columns), {} has {} × {}; \
             give --align integer to subtract them where they overlap",
            reference.taken.image, r.0, r.1, target.taken.image, t.0, t.1
        )
    };
    ensure!(upright || on_its_side, sizes());
    let aligned = match choice {
        Align::None => return Ok(Aligned::default()),
        Align::By(dx, dy) => Aligned { shift: Shift { dx, dy }, ..Aligned::default() },
        Align::Auto | Align::Integer => {
            let found = found(reference, target, upright);
            if upright { found? } else { found.with_context(sizes)? }
        }
    };
    if let Some(turn) = aligned.turn {
        turn.apply(reference);
        let text = format!(
            "{} is {} against {}, whose pixels were moved in the same way before the fit",
            target.taken.image, turn.name, reference.taken.image
        );
        reference.notices.push(Notice::new(Level::Pass, "turned", text));
    }
    if aligned.shift != Shift::default() || reference.image.view().shape() != t {
        move_onto_grid(reference, aligned.shift, t);
    }
    Ok(aligned)
}

/// Turn and offset under which the stars meet, or where they are too few for that, the offset of the highest correlation.
fn found<T: Real>(reference: &Input<T>, target: &Input<T>, upright: bool) -> Result<Aligned> {
    let names = (&reference.taken.image, &target.taken.image);
    let masks = (reference.unusable(), target.unusable());
    let (first, second) = rayon::join(
        || stars::find(reference.image.view(), &masks.0, STARS),
        || stars::find(target.image.view(), &masks.1, STARS),
    );
    let shape = target.image.view().shape();
    if upright && let Some(matched) = believed(&first, &second, shape, CHANCE) {
        return checked(&first, &second, &matched, None, shape, names);
    }
    if let Some((turn, first, matched)) =
        turned(&first, &second, reference.image.view().shape(), shape)
    {
        return checked(&first, &second, &matched, Some(turn), shape, names);
    }
    let mirrored: Vec<Star> = first.iter().map(|star| Star { x: -star.x, ..*star }).collect();
    for (first, mirrored) in [(&first, ""), (&mirrored, "mirrored left to right, then ")] {
        if let Some(similarity) = stars::match_similarity(first, &second, shape) {
            return Err(not_to_be_followed(similarity, mirrored, names));
        }
    }
    let correlated =
        offset(reference.image.view(), &masks.0, target.image.view(), &masks.1).with_context(|| {
            format!(
                "no offset between {} and {} can be found, for one of them has no pixel that stands out of its sky; is it a \
                 flat field or a bias? --align none skips this step",
                names.0, names.1
            )
        })?;
    let few = first.len().min(second.len()) <= FEW;
    if !(upright && few && correlated.correlation >= LEAST_CORRELATION) {
        bail!(
            "{} and {} show no common pattern of stars ({} and {} stars were found; correlation {:.2} at dx = {}, dy = {}); is it the same field? \
             --align none skips this test, --align DX,DY gives the offset",
            names.0,
            names.1,
            first.len(),
            second.len(),
            correlated.correlation,
            correlated.dx,
            correlated.dy
        );
    }
    let shift = Shift { dx: correlated.dx, dy: correlated.dy };
    Ok(Aligned { shift, ..Aligned::default() })
}

/// The match of two lists, if it is no chance.
fn believed(
    first: &[Star],
    second: &[Star],
    shape: (usize, usize),
    chance: f64,
) -> Option<Matched> {
    let doubt = DOUBT_PER_STAR * first.len().min(second.len()) as f64;
    stars::match_offset(first, second, shape).filter(|found| found.log_chance < chance - doubt)
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
        let matched = believed(&turned, second, shape, CHANCE_TURNED)?;
        Some((turn, turned, matched))
    });
    found.min_by(|a, b| a.2.log_chance.total_cmp(&b.2.log_chance))
}

/// A match from which no rotation and scale are left that a kernel cannot follow.
fn checked(
    first: &[Star],
    second: &[Star],
    matched: &Matched,
    turn: Option<Turn>,
    shape: (usize, usize),
    names: (&String, &String),
) -> Result<Aligned> {
    let similarity = stars::similarity(first, second, matched);
    if let Some(similarity) = similarity.filter(|found| found.stars >= FEWEST_FOR_ROTATION) {
        let corner = 0.5 * (shape.0 as f64).hypot(shape.1 as f64);
        let Similarity { angle, scale, .. } = similarity;
        if corner * angle.to_radians().hypot(scale - 1.0) > LEFT_TO_THE_KERNEL {
            let before = turn.map_or(String::new(), |turn| format!("{}, then ", turn.name));
            return Err(not_to_be_followed(similarity, &before, names));
        }
    }
    Ok(Aligned {
        turn,
        shift: Shift { dx: matched.dx.round() as isize, dy: matched.dy.round() as isize },
        stars: matched.pairs.iter().map(|(_, j)| second[*j]).collect(),
    })
}

/// The error that names a rotation and a scale.
fn not_to_be_followed(
    Similarity { angle, scale, stars }: Similarity,
    before: &str,
    names: (&String, &String),
) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is {before}turned by {angle:.2}° and scaled by {scale:.4} against {} ({stars} stars meet so), which a kernel cannot follow; resample the reference onto the \
         target's grid first; --align none skips this test",
        names.1,
        names.0
    )
}

/// Pixel (y, x) of the moved planes is pixel (y − dy, x − dx) of the old ones; where there is none, it has no data.
fn move_onto_grid<T: Real>(input: &mut Input<T>, shift: Shift, shape: (usize, usize)) {
    let old_mask = input.mask.take();
    let old_shape = input.image.view().shape();
    let mut mask = Mask::good(shape.0, shape.1);
    for y in 0..shape.0 {
        for x in 0..shape.1 {
            match source(y, x, shift, old_shape) {
                Some((sy, sx)) => {
                    if let Some(old) = &old_mask {
                        mask.insert(y, x, old.at(sy, sx));
                    }
                }
                None => mask.insert(y, x, MaskPlanes::NO_DATA),
            }
        }
    }
    input.mask = Some(mask);
    input.image = moved(&input.image, shift, shape);
    if let InputNoise::Variance(variance) = &mut input.noise {
        *variance = moved(variance, shift, shape);
    }
}

fn moved<T: Pixel>(image: &Image<T>, shift: Shift, shape: (usize, usize)) -> Image<T> {
    let old = image.view();
    Image::from_fn(shape.0, shape.1, |y, x| {
        source(y, x, shift, old.shape()).map_or(T::nan(), |(y, x)| old.at(y, x))
    })
}

fn source(y: usize, x: usize, shift: Shift, shape: (usize, usize)) -> Option<(usize, usize)> {
    let y = y.checked_add_signed(-shift.dy).filter(|y| *y < shape.0)?;
    let x = x.checked_add_signed(-shift.dx).filter(|x| *x < shape.1)?;
    Some((y, x))
}
