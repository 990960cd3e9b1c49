//! Whether what is left is the noise.

use dia_core::simd::widest;
use dia_core::{Kernel, Mask, Pixel, robust};
use dia_solvers::Difference;
use rayon::prelude::*;

use super::Evidence;
use crate::notice::{Level, Notice};

/// Outside of these factors of one, the residuals' robust scatter is not that of the noise; on fields that are right it is 0.95 to 1.12.
const SCATTER_WARN: f64 = 1.25;
const SCATTER_FAIL: f64 = 2.0;

/// Correlation of neighbouring residuals beyond that of the reference's noise. Bilinear interpolation by a third of a pixel leaves 0.4.
const CORRELATION: f64 = 0.15;

/// Pixels that the correlation is taken of, in whole rows.
const CORRELATED: usize = 1 << 18;

/// Side of the blocks whose medians are looked at, in pixels; wider than stars.
const BLOCK: usize = 16;

/// Median of a block's normalised residuals that no noise has: its error is 1.25/16 = 0.08, and twice that where the residuals of neighbours are correlated.
const MEDIAN: f64 = 0.6;

/// Scatter of the blocks' medians, relative to that of the noise: 0.9 to 1.2 on simulated fields, 1.4 to 2 where the sky has structure that a polynomial does not follow.
const STRUCTURE: f64 = 2.0;

/// Share of the blocks that have such medians: on right fields, those beside the brightest stars.
const PATCHES: f64 = 0.03;

/// Residuals above this many σ are stars or events, and no noise.
const NOISE: f64 = 3.0;

/// What the cores of bright stars leave of their light (rms) beyond noise.
const BRIGHT: f64 = 0.05;

/// Bright stars that are looked at, and the fewest that tell.
const STARS: usize = 60;
const FEWEST: usize = 5;

pub(super) fn judge<T: Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let found = [
        scatter(evidence),
        correlation(evidence),
        sky(evidence),
        bright(evidence),
        reference_noise(evidence),
    ];
    found.into_iter().flatten().collect()
}

fn scatter<T>(evidence: &Evidence<'_, T>) -> Option<Notice> {
    let std = evidence.difference.residuals.robust_std;
    let factor = std.max(std.recip());
    if factor <= SCATTER_WARN {
        return None;
    }
    let level = if factor <= SCATTER_FAIL { Level::Warn } else { Level::Fail };
    let text = format!(
        "the residuals scatter by {std:.3} times the noise that is said of the images; check gain, read noise and variance, or give --noise-scale estimated"
    );
    Some(Notice::new(level, "residuals", text).measured(std, SCATTER_WARN))
}

/// Of the residuals of pixels that are neighbours in a row or a column, against that which the convolved noise of one image has.
fn correlation<T: Pixel>(evidence: &Evidence<'_, T>) -> Option<Notice> {
    let difference = evidence.difference;
    let (height, width) = difference.difference.view().shape();
    // NaN where there is none.
    let z = |y: usize| -> Vec<f64> {
        let values = difference.difference.view().row(y).iter().zip(difference.mask.row(y));
        let values = values.zip(difference.variance.view().row(y));
        let z = values.map(|((d, planes), variance)| {
            let z = d.widen() / variance.widen().sqrt();
            if planes.is_empty() && z.abs() < NOISE { z } else { f64::NAN }
        });
        z.collect()
    };
    // Σ z² and the sums of the products along rows and columns, with their numbers.
    let of_row = |y: usize| {
        let (here, below) = (z(y), z(y + 1));
        let sum = |others: &[f64]| {
            let products = here[..width - 1].iter().zip(others).map(|(z, other)| z * other);
            let known = products.filter(|product| !product.is_nan());
            known.fold([0.0, 0.0], |[sum, count], product| [sum + product, count + 1.0])
        };
        [sum(&here), sum(&here[1..]), sum(&below)]
    };
    let step = (height * width / CORRELATED) | 1;
    let rows: Vec<[[f64; 2]; 3]> =
        (0..height - 1).into_par_iter().step_by(step).map(of_row).collect();
    let mut sums = [[0.0, 0.0]; 3];
    for row in &rows {
        for (sum, of_row) in sums.iter_mut().zip(row) {
            *sum = [sum[0] + of_row[0], sum[1] + of_row[1]];
        }
    }
    let [squares, products @ ..] = sums;
    let variance = squares[0] / squares[1];
    let expected = neighbours(&difference.kernel).map(|rho| evidence.convolved_noise * rho);
    let (mut value, mut error) = (0.0_f64, 0.0_f64);
    for (sum, expected) in products.iter().zip(expected) {
        value = value.max((sum[0] / sum[1] / variance - expected).abs());
        error = error.max(sum[1].powf(-0.5));
    }
    let limit = CORRELATION + 4.0 * error;
    (value > limit).then(|| {
        let text = format!(
            "neighbouring residuals are correlated by {value:.2} beyond what convolution gives: the images were resampled, or their skies differ from pixel to pixel; \
             errors are larger than is said"
        );
        Notice::new(Level::Warn, "correlated", text).measured(value, limit)
    })
}

/// Parts of the sky that do not follow the model: ghosts, gradients steeper than the background, steps between amplifiers.
fn sky<T: Pixel>(evidence: &Evidence<'_, T>) -> Option<Notice> {
    let medians = block_medians(evidence.difference);
    let off = medians.iter().filter(|median| median.abs() > MEDIAN).count();
    let share = off as f64 / medians.len() as f64;
    // A median of n independent values has 1.25/√n of their scatter; of noise that K was applied to, sums have (ΣK)²/ΣK² times the variance.
    let kernel = &evidence.difference.kernel;
    let squares: f64 = kernel.pixels().iter().map(|k| k * k).sum();
    let convolved = evidence.convolved_noise;
    let excess = 1.0 - convolved + convolved * kernel.photometric_scale().powi(2) / squares;
    let (_, scatter) = robust::median_and_scatter(medians.into_iter())?;
    let structure = scatter * BLOCK as f64 / (1.25 * excess.sqrt());
    if share > PATCHES {
        let text = format!(
            "in {:.0} % of the field the sky does not follow the model: a ghost, light, clouds or a step between amplifiers is in one of the images; \
             mask it (--target-mask), or give a larger --background-degree",
            100.0 * share
        );
        return Some(Notice::new(Level::Warn, "patches", text).measured(share, PATCHES));
    }
    (structure > STRUCTURE).then(|| {
        let text = format!(
            "the sky of the difference has structure, {structure:.1} times that of its noise, which the kernel may have tried to follow: gradients, steps between amplifiers or a poor flat \
             field; compare --background-degree, or mask it (--target-mask)"
        );
        Notice::new(Level::Warn, "sky-structure", text).measured(structure, STRUCTURE)
    })
}

/// Medians of the normalised residuals of blocks, of which at least half takes part.
fn block_medians<T: Pixel>(of: &Difference<T>) -> Vec<f64> {
    let Difference { difference, variance, mask, .. } = of;
    let of_block = |y: usize, x: usize| {
        let columns = x..(x + BLOCK).min(mask.width());
        let mut block = Vec::with_capacity(BLOCK * BLOCK);
        for y in y..(y + BLOCK).min(mask.height()) {
            let mut z = [0.0; BLOCK];
            let values = difference.view().row(y)[columns.clone()].iter();
            let values = values.zip(&variance.view().row(y)[columns.clone()]);
            // Of all, for vectors; those of masked pixels are not used.
            widest(
                #[inline(always)]
                || {
                    for (z, (d, v)) in z.iter_mut().zip(values) {
                        *z = d.widen() / v.widen().sqrt();
                    }
                },
            );
            let planes = mask.row(y)[columns.clone()].iter();
            block.extend(
                z.iter().zip(planes).filter(|(_, planes)| planes.is_empty()).map(|(z, _)| z),
            );
        }
        if 2 * block.len() < BLOCK * BLOCK { None } else { robust::median(&mut block) }
    };
    let rows = (0..mask.height().div_ceil(BLOCK)).into_par_iter();
    let columns = || (0..mask.width()).step_by(BLOCK);
    rows.flat_map_iter(|row| columns().filter_map(move |x| of_block(row * BLOCK, x))).collect()
}

/// Correlation of noise that K was applied to at a distance of one column, and of one row.
fn neighbours(kernel: &Kernel) -> [f64; 2] {
    let h = kernel.half_width() as isize;
    let (mut along, mut across, mut all) = (0.0, 0.0, 0.0);
    for dy in -h..=h {
        for dx in -h..=h {
            let k = kernel.at(dy, dx);
            all += k * k;
            along += if dx < h { k * kernel.at(dy, dx + 1) } else { 0.0 };
            across += if dy < h { k * kernel.at(dy + 1, dx) } else { 0.0 };
        }
    }
    if all > 0.0 { [along / all, across / all] } else { [0.0; 2] }
}

/// What is left in the cores of the bright stars, relative to their light: the median over stars of √(Σ(D² − σ²)/ΣM²), M without sky, less three times the error
/// √(2 Σσ⁴) of the sum.
fn bright<T: Pixel>(evidence: &Evidence<'_, T>) -> Option<Notice> {
    let difference = evidence.difference;
    let [r, t] = evidence.seeing?;
    let radius = r.max(t).max(1.0);
    let sky = robust::median(&mut sample(&difference.mask, |y, x| {
        difference.model.view().at(y, x).widen()
    }))?;
    let mut left: Vec<f64> = Vec::new();
    for star in evidence.stars.iter().take(STARS) {
        let (mut squares, mut noise, mut light) = (0.0, 0.0, 0.0);
        let rows = (star.y - radius).max(0.0).ceil() as usize..=(star.y + radius) as usize;
        for y in rows.filter(|y| *y < difference.mask.height()) {
            let columns = (star.x - radius).max(0.0).ceil() as usize..=(star.x + radius) as usize;
            for x in columns.filter(|x| *x < difference.mask.width()) {
                if difference.mask.at(y, x).is_empty() {
                    let [d, v, m] =
                        [&difference.difference, &difference.variance, &difference.model]
                            .map(|image| image.view().at(y, x).widen());
                    squares += d * d - v;
                    noise += 2.0 * v * v;
                    light += (m - sky).powi(2);
                }
            }
        }
        if light > 0.0 {
            left.push(((squares - 3.0 * noise.sqrt()).max(0.0) / light).sqrt());
        }
    }
    if left.len() < FEWEST {
        return None;
    }
    let value = robust::median(&mut left)?;
    (value > BRIGHT).then(|| {
        let text = format!(
            "the bright stars leave {:.0} % of their light as residuals beyond noise: kernel or model do not follow them; check alignment, saturation and --kernel-degree",
            100.0 * value
        );
        Notice::new(Level::Warn, "bright-stars", text).measured(value, BRIGHT)
    })
}

/// About a hundred thousand values of good pixels.
fn sample(mask: &Mask, value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let all = mask.planes().len();
    let stride = (all / 100_000) | 1;
    let places = (0..all).step_by(stride).map(|i| (i / mask.width(), i % mask.width()));
    places.filter(|(y, x)| mask.at(*y, *x).is_empty()).map(|(y, x)| value(y, x)).collect()
}

fn reference_noise<T>(evidence: &Evidence<'_, T>) -> Option<Notice> {
    let correction = evidence.difference.noise_correction;
    (correction > 0.0 && correction < 1.0).then(|| {
        let text = format!(
            "the reference has less noise than is said of it: only {:.0} % of its bias could be taken out; check its gain and variance (a stack has a gain for each exposure in it)",
            100.0 * correction
        );
        Notice::new(Level::Warn, "reference-noise", text).measured(correction, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use dia_core::Kernel;

    use super::neighbours;

    #[test]
    fn convolved_noise_is_correlated_by_the_autocorrelation_of_the_kernel() {
        // A Gaussian's is a Gaussian of √2 times its σ: exp(−1/(4σ²)).
        let [along, across] = neighbours(&Kernel::gaussian(9, 1.5));
        assert!((along - (-1.0_f64 / 9.0).exp()).abs() < 1e-3 && (along - across).abs() < 1e-12);
        assert_eq!(
            neighbours(&Kernel::from_fn(2, |dy, dx| f64::from(dy == 0 && dx == 0))),
            [0.0; 2]
        );
    }
}
