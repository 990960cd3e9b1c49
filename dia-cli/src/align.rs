//! Moves the reference onto the target's grid by whole pixels.

use anyhow::{Context, Result, bail, ensure};
use dia_core::stars::{self, Similarity, Star};
use dia_core::{Image, Mask, MaskPlanes, Pixel};
use dia_fft::offset;

use crate::args::AlignArg;
use crate::input::{Input, InputNoise, Real};

/// Below this correlation, the images show no common pattern of stars.
const LEAST_CORRELATION: f64 = 0.25;

/// Matched stars are believed where that many or more would meet by chance in fewer than one of 10⁴ pairs of images.
const CHANCE: f64 = -4.0;

/// The same for turned images, of which seven are tried.
const CHANCE_TURNED: f64 = -6.0;

/// Stars are no independent places: they cluster, and where there are many, chance is more often kind than Poisson says. True matches of many lie far beyond.
const DOUBT_PER_STAR: f64 = 0.08;

/// Stars of each image that are matched.
const STARS: usize = 200;

/// Displacement in pixels in the corners that is left to a kernel that varies.
const LEFT_TO_THE_KERNEL: f64 = 2.0;

/// Fewer matched stars than this do not tell a rotation.
const FEW: usize = 8;

/// The whole-pixel offset that was taken out: a star's place in the target minus its place in the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

/// The offset, and the stars that both images have, on the target's grid; none if it was found by other means.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned {
    pub(crate) shift: Shift,
    pub(crate) stars: Vec<Star>,
}

/// Finds the offset and moves `reference` so that both images share the target's grid.
pub(crate) fn align<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    choice: AlignArg,
) -> Result<Aligned> {
    let (r, t) = (reference.image.view().shape(), target.image.view().shape());
    let any_size = matches!(choice, AlignArg::Integer | AlignArg::By(..));
    if r != t && !any_size {
        bail!(
            "the images differ in size: {} has {} × {} pixels (rows × columns), {} has {} × {}; \
             give --align integer to subtract them where they overlap",
            reference.taken.image,
            r.0,
            r.1,
            target.taken.image,
            t.0,
            t.1
        );
    }
    let aligned = match choice {
        AlignArg::None => return Ok(Aligned::default()),
        AlignArg::By(dx, dy) => Aligned { shift: Shift { dx, dy }, stars: Vec::new() },
        AlignArg::Auto | AlignArg::Integer => found(reference, target)?,
    };
    if aligned.shift != Shift::default() || r != t {
        move_onto_grid(reference, aligned.shift, t);
    }
    Ok(aligned)
}

/// The offset under which the stars meet, or where they are too few or too many for that, that of the highest correlation.
fn found<T: Real>(reference: &Input<T>, target: &Input<T>) -> Result<Aligned> {
    let names = (&reference.taken.image, &target.taken.image);
    let masks = (reference.unusable(), target.unusable());
    let (first, second) = rayon::join(
        || stars::find(reference.image.view(), &masks.0, STARS),
        || stars::find(target.image.view(), &masks.1, STARS),
    );
    let shape = target.image.view().shape();
    let matched = stars::match_offset(&first, &second, shape);
    let doubt = DOUBT_PER_STAR * first.len().min(second.len()) as f64;
    if let Some(matched) = matched.filter(|matched| matched.log_chance < CHANCE - doubt) {
        if let Some(similarity) = stars::similarity(&first, &second, &matched) {
            check_similarity(similarity, shape, names)?;
        }
        let shift = Shift { dx: matched.dx.round() as isize, dy: matched.dy.round() as isize };
        return Ok(Aligned {
            shift,
            stars: matched.pairs.iter().map(|(_, j)| second[*j]).collect(),
        });
    }
    let correlated =
        offset(reference.image.view(), &masks.0, target.image.view(), &masks.1).with_context(|| {
            format!(
                "no offset between {} and {} can be found, for one of them has no pixel that stands out of its sky; is it a \
                 flat field or a bias? --align none skips this step",
                names.0, names.1
            )
        })?;
    if correlated.correlation < LEAST_CORRELATION {
        if let Some(turn) = turned(&first, &second, reference.image.view().shape(), shape) {
            bail!(
                "{} is {turn} against {}; turn one of them back, and subtract them then",
                names.1,
                names.0
            );
        }
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
    Ok(Aligned { shift, stars: Vec::new() })
}

/// What a kernel that varies cannot follow is refused.
fn check_similarity(
    similarity: Similarity,
    (height, width): (usize, usize),
    names: (&String, &String),
) -> Result<()> {
    let Similarity { angle, scale, stars } = similarity;
    let corner = 0.5 * (height as f64).hypot(width as f64);
    let displaced = corner * angle.to_radians().hypot(scale - 1.0);
    ensure!(
        stars < FEW || displaced <= LEFT_TO_THE_KERNEL,
        "{} is turned by {angle:.2}° and scaled by {scale:.4} against {} ({stars} stars; {displaced:.1} pixels in the corners), which a kernel cannot follow; resample \
         the reference onto the target's grid first; --align none skips this test",
        names.1,
        names.0
    );
    Ok(())
}

/// From (x, y, right, bottom).
type Turn = fn(f64, f64, f64, f64) -> (f64, f64);

/// The symmetry of the square, other than none, under which the stars meet.
fn turned(
    first: &[Star],
    second: &[Star],
    (height, width): (usize, usize),
    shape: (usize, usize),
) -> Option<&'static str> {
    let (bottom, right) = (height as f64 - 1.0, width as f64 - 1.0);
    let turns: [(&str, Turn); 7] = [
        ("turned by 180°", |x, y, right, bottom| (right - x, bottom - y)),
        ("turned by 90°", |x, y, _, bottom| (bottom - y, x)),
        ("turned by 270°", |x, y, right, _| (y, right - x)),
        ("mirrored left to right", |x, y, right, _| (right - x, y)),
        ("mirrored top to bottom", |x, y, _, bottom| (x, bottom - y)),
        ("mirrored about a diagonal (transposed)", |x, y, _, _| (y, x)),
        ("mirrored about the other diagonal", |x, y, right, bottom| (bottom - y, right - x)),
    ];
    turns.into_iter().find_map(|(name, turn)| {
        let turned = first.iter().map(|star| {
            let (x, y) = turn(star.x, star.y, right, bottom);
            Star { x, y, ..*star }
        });
        let turned: Vec<Star> = turned.collect();
        let matched = stars::match_offset(&turned, second, shape)?;
        let doubt = DOUBT_PER_STAR * first.len().min(second.len()) as f64;
        (matched.log_chance < CHANCE_TURNED - doubt).then_some(name)
    })
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
