//! What a finished subtraction says against itself.

use dia_core::stars::Star;
use dia_core::{Image, Mask, robust};
use dia_solvers::Difference;

use crate::notice::{Level, Notice};

/// Outside of these factors of one, the residuals' robust scatter is not that of the noise; on fields that are right it is 0.95 to 1.12.
const SCATTER_WARN: f64 = 1.25;
const SCATTER_FAIL: f64 = 2.0;

/// P of fewer σ than this is none.
const LEAST_SCALE: f64 = 5.0;

/// A share of |K| in its outermost ring that a kernel with room does not have; wings of Moffat profiles hold half a percent there.
const BORDER: f64 = 0.05;

/// Share of the pixels within variable sources.
const VARIABLE: f64 = 0.1;

/// Share of the pixels that take part.
const USED: f64 = 0.3;

/// The reasons for doubt, from the result alone.
pub(crate) fn judge<T: dia_core::Pixel>(difference: &Difference<T>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut say = |level, code, text: String| notices.push(Notice::new(level, code, text));
    let scale = difference.photometric_scale;
    if scale.value < LEAST_SCALE * scale.sigma {
        let text = format!(
            "the photometric scale {:.4} ± {:.4} cannot be told from zero: no star of the reference was found in the target; is it the same field?",
            scale.value, scale.sigma
        );
        say(Level::Fail, "scale", text);
    }
    let std = difference.residuals.robust_std;
    let factor = std.max(std.recip());
    if factor.is_nan() || factor > SCATTER_WARN {
        let level = if factor <= SCATTER_FAIL { Level::Warn } else { Level::Fail };
        let text = format!(
            "the residuals scatter by {std:.3} times the noise that is said of the images; check gain, read noise and variance, or give --noise-scale estimated"
        );
        say(level, "residuals", text);
    }
    if difference.noise_correction > 0.0 && difference.noise_correction < 1.0 {
        let text = format!(
            "the reference has less noise than is said of it: only {:.0} % of its bias could be taken out; check its gain and variance (a stack has a gain for each exposure in it)",
            100.0 * difference.noise_correction
        );
        say(Level::Warn, "reference-noise", text);
    }
    let border = share_at_the_border(difference);
    if border > BORDER {
        let text = format!(
            "the kernel has {:.0} % of its weight in its outermost ring: it wants more room; give a larger --half-width, or check the alignment",
            100.0 * border
        );
        say(Level::Warn, "kernel-border", text);
    }
    if let Some(variables) = &difference.variables {
        let masked = variables.masked.iter().filter(|masked| **masked).count() as f64;
        let share = masked / variables.masked.len().max(1) as f64;
        if share > VARIABLE {
            let text = format!(
                "{:.0} % of the pixels lie within sources that were taken for variable: something else than stars differs between the images",
                100.0 * share
            );
            say(Level::Warn, "variables", text);
        }
    }
    let all = difference.mask.planes().len() as f64;
    let used = difference.residuals.used as f64 / all;
    if used < USED {
        let text = format!(
            "only {:.0} % of the pixels take part; check masks and saturation",
            100.0 * used
        );
        say(Level::Warn, "masked", text);
    }
    notices
}

/// Relative difference of P from the ratio of the stars' fluxes that is doubtful, and that is wrong: apertures know it to some percent.
const FLUX_WARN: f64 = 0.1;
const FLUX_FAIL: f64 = 0.3;

/// Stars that are measured, and the fewest that tell.
const STARS: usize = 60;
const FEWEST: usize = 5;

/// Compares P with the ratio of the fluxes of the stars that both images have, in apertures of 1.5 times the wider FWHM.
pub(crate) fn compare_fluxes<T: dia_core::Pixel>(
    [reference, target]: [(&Image<T>, &Mask); 2],
    stars: &[Star],
    fwhm: f64,
    scale: f64,
) -> Option<Notice> {
    let radius = (1.5 * fwhm).max(2.0);
    let ratios = stars.iter().take(STARS).filter_map(|star| {
        let [r, t] =
            [reference, target].map(|(image, mask)| aperture_flux(image, mask, star, radius));
        let (r, t) = (r?, t?);
        (r > 0.0 && t > 0.0).then(|| (t / r).ln())
    });
    let ratios: Vec<f64> = ratios.collect();
    if ratios.len() < FEWEST {
        return None;
    }
    let (middle, scatter) = robust::median_and_scatter(ratios.iter().copied())?;
    let error = 1.25 * scatter / (ratios.len() as f64).sqrt();

    let off = if scale > 0.0 { (scale.ln() - middle).abs() } else { f64::INFINITY };
    if off < FLUX_WARN + 4.0 * error {
        return None;
    }
    let level = if off < FLUX_FAIL + 4.0 * error { Level::Warn } else { Level::Fail };
    let text = format!(
        "the photometric scale {scale:.4} is not that of the stars' fluxes in apertures, {:.4} ± {:.4}: something that follows no convolution rules the fit; mask it \
         (--target-mask), or check noise and alignment",
        middle.exp(),
        middle.exp() * error
    );
    Some(Notice::new(level, "flux-ratio", text))
}

/// Light within a radius above the median of a ring around it; `None` at the border and where a pixel is masked.
fn aperture_flux<T: dia_core::Pixel>(
    image: &Image<T>,
    mask: &Mask,
    star: &Star,
    radius: f64,
) -> Option<f64> {
    let (height, width) = image.view().shape();
    let reach = 2.0 * radius;
    let inside = star.x >= reach
        && star.y >= reach
        && star.x + reach < width as f64 - 1.0
        && star.y + reach < height as f64 - 1.0;
    if !inside {
        return None;
    }
    let (mut sum, mut count, mut ring) = (0.0, 0.0, Vec::new());
    for y in (star.y - reach).ceil() as usize..=(star.y + reach) as usize {
        for x in (star.x - reach).ceil() as usize..=(star.x + reach) as usize {
            let distance = (x as f64 - star.x).hypot(y as f64 - star.y);
            let good = mask.at(y, x).is_empty();
            let value = image.view().at(y, x).widen();
            if distance <= radius {
                if !good {
                    return None;
                }
                sum += value;
                count += 1.0;
            } else if distance <= reach && distance > 1.4 * radius && good {
                ring.push(value);
            }
        }
    }
    Some(sum - count * robust::median(&mut ring)?)
}

/// Σ|K| over the outermost ring of the support, relative to all; over the wings as well where it has such.
fn share_at_the_border<T>(difference: &Difference<T>) -> f64 {
    let kernel = &difference.kernel;
    let (h, side) = (kernel.half_width() as f64, 2 * kernel.half_width() + 1);
    let inner = difference.design.valid().y as f64;
    let (mut ring, mut all) = (0.0, 0.0);
    for (i, k) in kernel.pixels().iter().enumerate() {
        let (dy, dx) = ((i / side) as f64 - h, (i % side) as f64 - h);
        all += k.abs();
        if dy.hypot(dx) > inner - 1.0 {
            ring += k.abs();
        }
    }
    if all > 0.0 { ring / all } else { 0.0 }
}
