//! One PSF of many stars, pixel by pixel.

use dia_core::small_matrix::inverse;
use dia_core::stars::Star;
use dia_core::{Kernel, Polynomial2d, robust};

use crate::offsets::{combined, offsets};

/// A star moved to the middle of a pixel, its core of unit flux.
pub(crate) struct Stamp {
    pub(crate) star: Star,
    pub(crate) pixels: Kernel,
    pub(crate) flux: f64,
}

impl Stamp {
    /// The pixels on a disc, less the median of the disc's outermost ring, over the sum of those within `core` pixels.
    pub(crate) fn new(star: Star, pixels: &Kernel, core: f64) -> Self {
        let h = pixels.half_width() as isize;
        let distance2 = |(dy, dx): (isize, isize)| dy * dy + dx * dx;
        let (inner, outer) = ((h - 1) * (h - 1), h * h + h);
        let mut ring: Vec<f64> = offsets(pixels)
            .filter(|at| distance2(*at) > inner && distance2(*at) <= outer)
            .map(|(dy, dx)| pixels.at(dy, dx))
            .collect();
        let level = robust::median(&mut ring).unwrap_or(0.0);
        let light =
            |dy, dx| if distance2((dy, dx)) <= outer { pixels.at(dy, dx) - level } else { 0.0 };
        let sum = |of: &dyn Fn(isize, isize) -> bool| -> f64 {
            offsets(pixels).filter(|(y, x)| of(*y, *x)).map(|(y, x)| light(y, x)).sum()
        };
        // Neighbours in the wings would make the star too bright: its core says how bright it is, and the PSF's sum is set to one afterwards.
        let (flux, core) = (sum(&|_, _| true), sum(&within(core)));
        let pixels = Kernel::from_fn(h as usize, |dy, dx| light(dy, dx) / core);
        Self { star, pixels, flux: flux.min(2.0 * core) }
    }
}

/// Whether an offset lies within a radius.
pub(crate) fn within(radius: f64) -> impl Fn(isize, isize) -> bool {
    move |dy, dx| ((dy * dy + dx * dx) as f64) <= radius * radius
}

/// Pixel by pixel, the coefficients of the polynomials of position.
pub(crate) fn stack(stamps: &[&Stamp], variation: &Polynomial2d) -> Vec<Kernel> {
    let n = variation.len();
    let rows: Vec<Vec<f64>> =
        stamps.iter().map(|stamp| polynomials(variation, &stamp.star)).collect();
    // The noise of the sky in a star of unit flux falls with its flux; no star may be all of it.
    let brightest = stamps.iter().map(|stamp| stamp.flux).fold(0.0, f64::max);
    let weights: Vec<f64> =
        stamps.iter().map(|s| (s.flux / brightest).powi(2).clamp(1e-4, 0.1)).collect();
    let half_width = stamps[0].pixels.half_width();
    let mut terms = vec![Kernel::zero(half_width); n];
    for place in 0..terms[0].pixels().len() {
        let value = |i: usize| stamps[i].pixels.pixels()[place];
        let mut used = vec![true; stamps.len()];
        let mut coefficients = vec![0.0; n];
        let residual = |coefficients: &[f64], i: usize| {
            value(i) - rows[i].iter().zip(coefficients).map(|(t, c)| t * c).sum::<f64>()
        };
        // First around the median, so that a bright neighbour in one star pulls nothing; with weights, for in a crowded field all faint stars stand on others.
        let mut all: Vec<(f64, f64)> = (0..stamps.len()).map(|i| (value(i), weights[i])).collect();
        coefficients[0] = weighted_median(&mut all);
        for _ in 0..3 {
            let scaled = |i: usize, r: f64| r * weights[i].sqrt();
            let rest: Vec<f64> =
                (0..stamps.len()).map(|i| scaled(i, residual(&coefficients, i))).collect();
            let Some((_, scatter)) = robust::median_and_scatter(rest.iter().copied()) else {
                break;
            };
            used.iter_mut()
                .zip(&rest)
                .for_each(|(used, r)| *used = r.abs() <= 4.0 * scatter || scatter == 0.0);
            let mut normal = vec![vec![0.0; n]; n];
            let mut right = vec![0.0; n];
            for i in (0..stamps.len()).filter(|i| used[*i]) {
                for (s, a) in rows[i].iter().enumerate() {
                    right[s] += weights[i] * a * value(i);
                    normal[s]
                        .iter_mut()
                        .zip(&rows[i])
                        .for_each(|(sum, b)| *sum += weights[i] * a * b);
                }
            }
            let Some(inverse) = inverse(&normal) else { break };
            for (c, row) in coefficients.iter_mut().zip(&inverse) {
                *c = row.iter().zip(&right).map(|(a, b)| a * b).sum();
            }
        }
        for (term, c) in terms.iter_mut().zip(&coefficients) {
            term.pixels_mut()[place] = *c;
        }
    }
    // Unit sum everywhere: the mean over its own, the others without the part of it that they hold.
    let sum = terms[0].photometric_scale();
    terms[0].pixels_mut().iter_mut().for_each(|p| *p /= sum);
    let mean = terms[0].clone();
    for term in &mut terms[1..] {
        term.pixels_mut().iter_mut().for_each(|p| *p /= sum);
        let part = term.photometric_scale();
        term.pixels_mut().iter_mut().zip(mean.pixels()).for_each(|(p, m)| *p -= part * m);
    }
    terms
}

/// The value on either side of which lies half of the weight.
fn weighted_median(values: &mut [(f64, f64)]) -> f64 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = 0.5 * values.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut passed = 0.0;
    let at = values.iter().find(|(_, weight)| {
        passed += weight;
        passed >= half
    });
    at.map_or(0.0, |(value, _)| *value)
}

/// The polynomials of position at a star.
pub(crate) fn polynomials(variation: &Polynomial2d, star: &Star) -> Vec<f64> {
    let mut values = vec![0.0; variation.len()];
    variation.evaluate(star.y.round() as usize, star.x.round() as usize, &mut values);
    values
}

/// The PSF of given values of the polynomials, scaled as the stamps are: to a core of one.
pub(crate) fn scaled_to_core(terms: &[Kernel], values: &[f64], core: f64) -> Kernel {
    let mut psf = combined(values, terms);
    let sum: f64 =
        offsets(&psf).filter(|(y, x)| within(core)(*y, *x)).map(|(y, x)| psf.at(y, x)).sum();
    psf.pixels_mut().iter_mut().for_each(|p| *p /= sum);
    psf
}
