//! Moves the reference onto the target's grid by whole pixels.

use anyhow::{Context, Result, bail, ensure};
use dia_core::{Image, Mask, MaskPlanes, Pixel};
use dia_fft::offset;

use crate::args::AlignArg;
use crate::input::{Input, InputNoise, Real};

/// Below this correlation, the images show no common pattern of stars.
const LEAST_CORRELATION: f64 = 0.25;

/// The whole-pixel offset that was taken out: a star's place in the target minus its place in the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

/// Finds the offset and moves `reference` so that both images share the target's grid.
pub(crate) fn align<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    choice: Option<AlignArg>,
) -> Result<Shift> {
    let (r, t) = (reference.image.view().shape(), target.image.view().shape());
    if r != t && choice != Some(AlignArg::Integer) {
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
    if choice == Some(AlignArg::None) {
        return Ok(Shift::default());
    }
    let found = offset(
        reference.image.view(),
        &reference.unusable(),
        target.image.view(),
        &target.unusable(),
    )
    .with_context(|| {
        format!(
            "no offset between {} and {} can be found, for one of them has no pixel that stands out of its sky; is it a \
             flat field or a bias? --align none skips this step",
            reference.taken.image, target.taken.image
        )
    })?;
    ensure!(
        found.correlation >= LEAST_CORRELATION,
        "{} and {} show no common pattern of stars (correlation {:.2} at dx = {}, dy = {}); is it the same field? \
         --align none skips this test",
        reference.taken.image,
        target.taken.image,
        found.correlation,
        found.dx,
        found.dy
    );
    let shift = Shift { dx: found.dx, dy: found.dy };
    if shift != Shift::default() || r != t {
        move_onto_grid(reference, shift, t);
    }
    Ok(shift)
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
