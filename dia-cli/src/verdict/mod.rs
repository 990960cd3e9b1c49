//! What a finished subtraction says against itself. Limits that were measured are those of the tables of verdicts in ACCURACY.md.

mod coverage;
mod kernel;
mod linearity;
mod residuals;
mod scale;
mod trail;

use dia_core::stars::Star;
use dia_core::{Image, Mask, Pixel};
use dia_solvers::Difference;

use crate::notice::Notice;

/// What is known of a result, and of the images that it was made of.
pub(crate) struct Evidence<'a, T> {
    pub(crate) difference: &'a Difference<T>,
    /// Reference and target on the target's grid.
    pub(crate) images: [(&'a Image<T>, &'a Mask); 2],
    /// Those that both images have, the brightest first.
    pub(crate) stars: &'a [Star],
    /// FWHM of reference and target in pixels.
    pub(crate) seeing: Option<[f64; 2]>,
    /// The share of the sky's variance in the difference that went through the kernel.
    pub(crate) convolved_noise: f64,
}

/// Row, column and distance in pixels of all that may lie within `reach` of a star; `None` where that leaves the image.
fn pixels_around(
    star: &Star,
    reach: f64,
    (height, width): (usize, usize),
) -> Option<impl Iterator<Item = (usize, usize, f64)>> {
    let within = |at: f64, size: usize| at >= reach && at + reach < size as f64 - 1.0;
    let range = move |at: f64| (at - reach).ceil() as usize..=(at + reach) as usize;
    let Star { x: x0, y: y0, .. } = *star;
    let at = move |y: usize, x: usize| (y, x, (x as f64 - x0).hypot(y as f64 - y0));
    (within(x0, width) && within(y0, height))
        .then(|| range(y0).flat_map(move |y| range(x0).map(move |x| at(y, x))))
}

/// The reasons for doubt.
pub(crate) fn judge<T: Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let difference = evidence.difference;
    let kernel = kernel::judge(&difference.kernel, difference.design.valid().y);
    let of_field =
        [coverage::judge(evidence), trail::judge(evidence), linearity::judge(evidence)].concat();
    [scale::judge(evidence), residuals::judge(evidence), kernel, of_field].concat()
}
