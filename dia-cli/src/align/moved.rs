//! The reference on the target's grid: its pixels moved, or warped once.

use dia_align::{PlaneMap, warp};
use dia_core::{Image, Mask, MaskPlanes, Pixel};

use crate::align::Shift;
use crate::input::{Input, InputNoise, Real};

/// Pixel (y, x) of the moved planes is pixel (y − dy, x − dx) of the old ones; where there is none, it has no data.
pub(super) fn move_onto_grid<T: Real>(input: &mut Input<T>, shift: Shift, shape: (usize, usize)) {
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

/// Where the noise that a warp puts back begins: the same for all, so that results can be made again.
const SEED: u64 = 20_150_315;

/// Warps image, variance and mask to a grid of `shape`, on which a pixel p shows what is at `map.place(p)`. From then on, the noise is a plane of variances.
pub(super) fn warp_onto_grid<T: Real>(input: &mut Input<T>, map: &PlaneMap, shape: (usize, usize)) {
    let variance = input.variance();
    let warped = warp(input.image.view(), variance.view(), &input.unusable(), map, shape, SEED);
    if let Some(sky) = &mut input.sky {
        let ratio = ratio_of_medians(&warped.variance, &variance).sqrt();
        (sky.sigma, sky.expected) = (sky.sigma * ratio, sky.expected * ratio);
    }
    input.image = warped.image;
    input.noise = InputNoise::Variance(warped.variance);
    input.mask = Some(warped.mask);
    // Its pixels are masked, and those of the new grid have other levels.
    input.saturation = None;
}

/// The median of one plane over that of the other; 1 where they have none.
fn ratio_of_medians<T: Pixel>(new: &Image<T>, old: &Image<T>) -> f64 {
    let median = |image: &Image<T>| {
        let step = (image.pixels().len() / 100_000).max(1);
        let sample = image.pixels().iter().step_by(step).map(|value| value.widen());
        let mut known: Vec<f64> = sample.filter(|value| value.is_finite()).collect();
        dia_core::robust::median(&mut known)
    };
    match (median(new), median(old)) {
        (Some(new), Some(old)) if old > 0.0 => new / old,
        _ => 1.0,
    }
}
