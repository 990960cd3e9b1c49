//! What else a detection may be than a point source: one bright pixel, or a star that moved.

use dia_core::Kernel;
use dia_core::small_matrix::inverse;

use crate::Scene;
use crate::offsets::{dot, masked};
use crate::place::{Place, Template};
use crate::spectrum::convolution;

/// Twice the log-likelihood ratios of one bright pixel, and of a moved K ⊗ R, against a point source at `position`, (y, x) in pixels, near the pixel (y, x);
/// `None` without noise or light to tell.
///
/// Each template t explains tᵀC⁻¹d/√(tᵀC⁻¹t) squared of the difference's dᵀC⁻¹d, C the noise of the sky; two of them together their normal equations'.
pub(crate) fn alternatives(
    scene: &Scene<'_>,
    (y, x): (usize, usize),
    position: (f64, f64),
) -> Option<(f64, f64)> {
    let place = Place::at(scene, y as f64, x as f64)?;
    let h = place.half_width;
    let there = |dy: isize, dx: isize| scene.difference_at(y as isize + dy, x as isize + dx);
    let difference = Kernel::from_fn(h, |dy, dx| there(dy, dx).unwrap_or(0.0));
    // A hot pixel is near the peak of its score.
    let near = (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)));
    let brightness = |at: &(isize, isize)| difference.at(at.0, at.1).abs();
    let brightest = near.max_by(|a, b| brightness(a).total_cmp(&brightness(b)))?;
    let pixel = Kernel::from_fn(h, |dy, dx| f64::from(u8::from((dy, dx) == brightest)));
    let around = scene.reference_around(y, x, h + 1 + place.kernel.half_width());
    let model = convolution(&around, &place.kernel, h + 1);
    let slope = |up: (isize, isize)| {
        Kernel::from_fn(h, |dy, dx| {
            0.5 * (model.at(dy + up.0, dx + up.1) - model.at(dy - up.0, dx - up.1))
        })
    };
    let point = place.point(position.0 - y as f64, position.1 - x as f64);
    let templates = [
        point,
        place.template(&pixel),
        place.template(&slope((1, 0))),
        place.template(&slope((0, 1))),
    ]
    .map(|Template { shape, weights }| {
        let known = |kernel: &Kernel| masked(kernel, |dy, dx| there(dy, dx).is_some());
        Template { shape: known(&shape), weights: known(&weights) }
    });
    let explained = |which: &[usize]| {
        let data: Vec<f64> =
            which.iter().map(|i| dot(&templates[*i].weights, &difference)).collect();
        let product = |i: &usize, j: &usize| dot(&templates[*i].weights, &templates[*j].shape);
        let normal: Vec<Vec<f64>> =
            which.iter().map(|i| which.iter().map(|j| product(i, j)).collect()).collect();
        let inverse = inverse(&normal)?;
        let fitted =
            inverse.iter().map(|row| row.iter().zip(&data).map(|(a, b)| a * b).sum::<f64>());
        Some(fitted.zip(&data).map(|(x, d)| x * d).sum::<f64>())
    };
    let point = explained(&[0])?;
    // No light to move explains nothing.
    let moved = explained(&[2, 3]).unwrap_or(0.0);
    Some((explained(&[1])? - point, moved - point))
}
