//! Whether two images have the same noise: of an exposure that is in both, or of a detector's pattern.

use dia_core::Mask;
use dia_core::robust::keep_near_zero;
use rayon::prelude::*;

use crate::input::{Input, Real};
use crate::notice::{Level, Notice};

/// The part from which on it is said: that of an exposure with the mean of a hundred, which it is one of.
const SHARED: f64 = 0.1;

/// And by how many times 1/√n.
const SIGNIFICANT: f64 = 6.0;

/// Pixels that are looked at: with as many, the common part of noise that has nothing in common has a σ of 0.01.
const SAMPLE: usize = 1 << 15;

/// In standard deviations: stars, cosmic rays and seams are no noise.
const CLIP: f64 = 4.0;

/// Compares the noise of images on one grid by the differences of 2 × 2 neighbours, a − b − c + d, which have all of the noise and next to nothing of stars.
pub(crate) fn judge<T: Real>(reference: &Input<T>, target: &Input<T>) -> Option<Notice> {
    let masks = [reference.unusable(), target.unusable()];
    let (part, count) = common([reference, target], &masks)?;
    let limit = SHARED.max(SIGNIFICANT / (count as f64).sqrt());
    (part > limit).then(|| {
        let text = format!(
            "{} and {} have {:.0} % of their noise in common: either the target is one of some {:.0} exposures that the reference is the mean of (--reference-contains-target), or a pattern of the \
             detector is in both; the photometric scale is drawn to 1 by it, and what is new in the target may be in the reference",
            reference.taken.image,
            target.taken.image,
            100.0 * part,
            part.powi(-2)
        );
        Notice::new(Level::Warn, "shared-noise", text).measured(part, limit)
    })
}

/// The part of the noise that is common, and the number of pixels that tell it; `None` if there are too few.
///
/// Light that both images have is common as well. Of it, though, the differences at neighbouring pixels are alike, and those of noise have a correlation of −½, since they have pixels of opposite signs in
/// common: what both have is twice the negative correlation of the one's differences with those of the other that are a pixel off, or less than it.
fn common<T: Real>(images: [&Input<T>; 2], masks: &[Mask; 2]) -> Option<(f64, usize)> {
    let views = images.map(|input| input.image.view());
    let (height, width) = views[0].shape();
    let stride = (height * width / (2 * SAMPLE)).max(1);
    let rows: Vec<usize> = (0..height.saturating_sub(2)).step_by(stride).collect();
    let of_row = |y: usize| {
        let all = (0..width.saturating_sub(2)).step_by(2).filter_map(move |x| {
            let is_good = |(y, x): (usize, usize)| masks.iter().all(|m| m.at(y, x).is_empty());
            let good = (0..9).all(|i| is_good((y + i / 3, x + i % 3)));
            let places = [(0, y, x), (1, y, x), (1, y, x + 1), (1, y + 1, x)];
            good.then(|| places.map(|(image, y, x)| views[image].mixed_difference(y, x)))
        });
        all.collect::<Vec<[f64; 4]>>()
    };
    let mut differences: Vec<[f64; 4]> = rows.into_par_iter().flat_map_iter(of_row).collect();
    keep_near_zero(&mut differences, CLIP)?;
    let sum = |j: usize, k: usize| differences.iter().map(|all| all[j] * all[k]).sum::<f64>();
    let correlation = |k: usize| sum(0, k) / (sum(0, 0) * sum(k, k)).sqrt();
    let common = (-correlation(2) - correlation(3)).min(correlation(1));
    common.is_finite().then_some((common, differences.len()))
}
