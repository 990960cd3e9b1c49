//! The flux that the reference has where a difference is measured.

use crate::linear::LinearSum;
use crate::offsets::{dot, masked, offsets};
use crate::place::Place;
use crate::spectrum::shifted;
use crate::{Measured, Scene};

/// The reference's PSF flux at the place of the sky that is (y, x) in the target, and its covariance with a sum over the difference, which has the same noise of
/// the reference with the opposite sign; `None` where less than half of the PSF lies on good pixels.
///
/// f_r = ΣP R / ΣP² over the pixels that are known, with the variance Σ w² V_r.
pub(crate) fn reference_flux(
    scene: &Scene<'_>,
    place: &Place,
    (y, x): (f64, f64),
    sum: &LinearSum,
) -> Option<(Measured, f64)> {
    // The kernel displaces the star.
    let (ry, rx) = (y - place.displacement.0, x - place.displacement.1);
    let (qy, qx) = scene.nearest(ry, rx);
    let psf = &place.reference_psf;
    let psf = shifted(psf, ry - qy as f64, rx - qx as f64, psf.half_width());
    let at = |dy: isize, dx: isize| (qy as isize + dy, qx as isize + dx);
    let known = masked(&psf, |dy, dx| {
        let (y, x) = at(dy, dx);
        scene.is_reference_known(y, x)
    });
    let power = dot(&known, &known);
    if power.is_nan() || power < 0.5 * dot(&psf, &psf) {
        return None;
    }
    let weights = crate::offsets::combined(&[1.0 / power], &[known]);
    let (mut flux, mut variance) = (0.0, 0.0);
    for ((dy, dx), w) in offsets(&weights).zip(weights.pixels()) {
        let (y, x) = at(dy, dx);
        flux += w * scene.reference_at(y, x);
        variance += w * w * scene.reference_variance_at(y, x);
    }
    let covariance = sum.reference_covariance(scene, place, (qy, qx), &weights);
    Some((Measured { value: flux, sigma: variance.sqrt() }, covariance))
}
