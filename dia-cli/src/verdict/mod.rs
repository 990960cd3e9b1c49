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

/// The reasons for doubt.
pub(crate) fn judge<T: Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let difference = evidence.difference;
    let kernel = kernel::judge(&difference.kernel, difference.design.valid().y);
    let of_field =
        [coverage::judge(evidence), trail::judge(evidence), linearity::judge(evidence)].concat();
    [scale::judge(evidence), residuals::judge(evidence), kernel, of_field].concat()
}
