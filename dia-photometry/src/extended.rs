//! Galaxies among the stars that a PSF is made of.

use dia_core::Kernel;
use dia_core::robust;

use crate::offsets::offsets;

/// A source whose concentration is below this part of the stars' is extended: a PSF that varies by a sixth over the field stays above.
const LEAST_CONCENTRATION: f64 = 0.85;

/// And by this many σ of its noise.
const SIGNIFICANT: f64 = 2.0;

/// Which of the sources are points. `cut` are their pixels without sky, `centres` their places (dy, dx) within the middle pixel, `fwhm` is that of most of them.
///
/// The concentration is the light under a Gaussian of this width over that under one of twice the width, at the centre of the source, so that it hardly depends on where the pixels lie. Nothing is more
/// concentrated than a star: the upper half of all sources are stars where no more than half are galaxies, and the median of that half is what stars have, a little more by noise.
pub(crate) fn are_points(cut: &[Kernel], centres: &[(f64, f64)], fwhm: f64) -> Vec<bool> {
    let measured: Vec<(f64, f64)> = cut
        .iter()
        .zip(centres)
        .map(|(pixels, centre)| concentration(pixels, *centre, fwhm))
        .collect();
    let mut known: Vec<f64> = measured.iter().map(|(c, _)| *c).filter(|c| c.is_finite()).collect();
    known.sort_by(f64::total_cmp);
    let upper = known.len() / 2;
    let Some(stars) = robust::median(&mut known[upper..]) else { return vec![false; cut.len()] };
    measured
        .iter()
        .map(|(c, error)| *c > LEAST_CONCENTRATION * stars - SIGNIFICANT * error)
        .collect()
}

/// The concentration of a source, and its error by the noise of the sky.
fn concentration(pixels: &Kernel, (cy, cx): (f64, f64), fwhm: f64) -> (f64, f64) {
    let inner = fwhm / (8.0 * std::f64::consts::LN_2).sqrt();
    let (mut narrow, mut wide, mut squares) = (0.0, 0.0, 0.0);
    let mut rim = Vec::new();
    let h = pixels.half_width() as isize;
    for ((dy, dx), value) in offsets(pixels).zip(pixels.pixels()) {
        let r2 = ((dy as f64 - cy).powi(2) + (dx as f64 - cx).powi(2)) / (inner * inner);
        let weight = (-0.5 * r2).exp();
        narrow += weight * value;
        wide += (-0.125 * r2).exp() * value;
        squares += weight * weight;
        if dy.abs() == h || dx.abs() == h {
            rim.push(*value);
        }
    }
    let noise = robust::median_and_scatter(rim.into_iter()).map_or(0.0, |(_, scatter)| scatter);
    (narrow / wide, noise * squares.sqrt() / wide)
}

#[cfg(test)]
mod tests {
    use dia_core::Kernel;

    use super::are_points;

    #[test]
    fn what_is_wider_than_the_narrow_half_is_no_star() {
        let gaussian = |sigma: f64, cy: f64, cx: f64| {
            Kernel::from_fn(12, |dy, dx| {
                let r2 = (dy as f64 - cy).powi(2) + (dx as f64 - cx).powi(2);
                (-0.5 * r2 / (sigma * sigma)).exp()
            })
        };
        let centres: Vec<(f64, f64)> =
            (0..10).map(|i| (0.1 * f64::from(i) - 0.45, 0.3 - 0.07 * f64::from(i))).collect();
        let is_galaxy = |i: usize| i % 5 > 2;
        let cut: Vec<Kernel> = centres
            .iter()
            .enumerate()
            .map(|(i, (cy, cx))| gaussian(if is_galaxy(i) { 1.5 } else { 1.1 }, *cy, *cx))
            .collect();
        let found = are_points(&cut, &centres, 2.59);
        assert!(found.iter().enumerate().all(|(i, point)| *point != is_galaxy(i)), "{found:?}");
    }
}
