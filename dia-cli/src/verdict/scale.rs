//! Whether the photometric scale is that of the stars.

use dia_core::stars::Star;
use dia_core::{Image, Mask, MaskPlanes, robust};
use dia_solvers::Estimate;

use super::{Evidence, pixels_around};
use crate::notice::{Level, Notice};

/// P of fewer σ than this is none.
const LEAST_SCALE: f64 = 5.0;

/// A relative σ of P above which it serves no photometry: aperture photometry of a few stars reaches it.
const POOR: f64 = 0.05;

/// Relative difference of P from the ratio of the stars' fluxes that is doubtful, and that is wrong: apertures know it to some percent.
const FLUX_WARN: f64 = 0.04;
const FLUX_FAIL: f64 = 0.1;

/// Relative change of the flux ratio from the middle of the image to its edge: a flat field or a point-spread function that changes makes less.
const GRADIENT: f64 = 0.03;

/// Stars that are measured, and the fewest that tell.
const STARS: usize = 60;
const FEWEST: usize = 5;

/// A relative change that all stars share: the limit of what was measured on right fields is in ACCURACY.md.
const COMMON: f64 = 0.008;

/// Scatter of the stars' relative changes beyond noise, above which they have no common scale.
const FLOOR: f64 = 0.05;

/// Share of the bright stars that lie in variable sources.
const MOST: f64 = 0.5;
const MANY: f64 = 0.25;

pub(super) fn judge<T: dia_core::Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let scale = evidence.difference.photometric_scale;
    let found = [significance(scale), bright_variables(evidence)];
    let found = found.into_iter().flatten();
    found.chain(fluxes(evidence)).chain(changes(evidence)).collect()
}

fn significance(scale: Estimate) -> Option<Notice> {
    let Estimate { value, sigma } = scale;
    if sigma.is_nan() || sigma <= 0.0 {
        let text = format!(
            "the error of the photometric scale {value:.4} came out as {sigma}: noise, mask or kernel make no sense together; check gain and read noise, or give --lambda 1"
        );
        return Some(Notice::new(Level::Fail, "scale", text).measured(sigma, 0.0));
    }
    if value.is_nan() || value < LEAST_SCALE * sigma {
        let text = format!(
            "the photometric scale {value:.4} ± {sigma:.4} cannot be told from zero: no star of the reference was found in the target; is it the same field?"
        );
        let notice = Notice::new(Level::Fail, "scale", text);
        return Some(notice.measured(value / sigma, LEAST_SCALE));
    }
    (sigma > POOR * value).then(|| {
        let text = format!(
            "the photometric scale {value:.4} ± {sigma:.4} is hardly known: the stars are too few or too faint; give a smaller --half-width or --kernel-degree 0"
        );
        Notice::new(Level::Warn, "scale", text).measured(sigma / value, POOR)
    })
}

/// What the search for variable sources tells of all stars: a change that they share, and a scatter that neither noise nor single variables explain.
fn changes<T>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let Some(found) = &evidence.difference.variables else { return Vec::new() };
    let mut notices = Vec::new();
    let (common, floor) = (found.common_change, found.error_floor);
    let limit = COMMON + 4.0 * found.common_change_error;
    if common.abs() > limit {
        let text = format!(
            "the stars' residuals are {:+.1} % of their light in the median: the kernel gives not all of it; check noise, saturation and the subtraction of the sky",
            100.0 * common
        );
        notices.push(Notice::new(Level::Warn, "common-change", text).measured(common.abs(), limit));
    }
    if floor > FLOOR {
        let text = format!(
            "the stars' brightness changes by {:.1} % beyond noise from star to star: flat field, clouds or detector differ between the images; try --scale-degree 1",
            100.0 * floor
        );
        notices.push(Notice::new(Level::Warn, "error-floor", text).measured(floor, FLOOR));
    }
    notices
}

/// Whether the bright stars were left out as variable.
fn bright_variables<T>(evidence: &Evidence<'_, T>) -> Option<Notice> {
    let mask = &evidence.difference.mask;
    let bright: Vec<_> = evidence.stars.iter().take(STARS).collect();
    let count = bright.len();
    let is_variable = |x: f64, y: f64| {
        let (x, y) = (x.round() as usize, y.round() as usize);
        y < mask.height() && x < mask.width() && mask.at(y, x).contains(MaskPlanes::VARIABLE)
    };
    let variable = bright.iter().filter(|star| is_variable(star.x, star.y)).count();
    let share = variable as f64 / count.max(1) as f64;
    if count < FEWEST || share <= MANY {
        return None;
    }
    let level = if share > MOST { Level::Fail } else { Level::Warn };
    let text = format!(
        "{variable} of the {count} brightest stars were taken for variable: rather the images differ otherwise (saturation, nonlinearity, alignment, noise)"
    );
    Some(Notice::new(level, "bright-variables", text).measured(share, MANY))
}

/// Compares the ratios of the stars' fluxes, in apertures of 1.5 times the FWHM of each image, with P and with one another over the field.
fn fluxes<T: dia_core::Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let Some(seeing) = evidence.seeing else { return Vec::new() };
    // Stars of one profile have the same part of their light within.
    let [r, t] = seeing.map(|fwhm| (1.5 * fwhm).max(2.0));
    let [reference, target] = evidence.images;
    let measured = evidence.stars.iter().take(STARS).filter_map(|star| {
        let r = aperture_flux(reference.0, reference.1, star, r)?;
        let t = aperture_flux(target.0, target.1, star, t)?;
        (r > 0.0 && t > 0.0).then(|| (star, (t / r).ln()))
    });
    let measured: Vec<(&Star, f64)> = measured.collect();
    let ratios: Vec<f64> = measured.iter().map(|(_, ratio)| *ratio).collect();
    let found = [scale_of_apertures(evidence, &ratios), transparency(evidence, &measured)];
    found.into_iter().flatten().collect()
}

/// Whether the flux ratio changes along rows or columns: by Theil & Sen's slope, the median of those between all pairs of stars.
fn transparency<T: dia_core::Pixel>(
    evidence: &Evidence<'_, T>,
    measured: &[(&Star, f64)],
) -> Option<Notice> {
    if measured.len() < 2 * FEWEST || evidence.difference.design.scale_degree() > 0 {
        return None;
    }
    let (height, width) = evidence.images[1].0.view().shape();
    let along = |place: fn(&Star) -> f64, half: f64| {
        let pairs = measured.iter().enumerate().flat_map(|(i, a)| {
            let apart = move |b: &&(&Star, f64)| (place(b.0) - place(a.0)).abs() > 0.5 * half;
            measured[..i]
                .iter()
                .filter(apart)
                .map(move |b| half * (b.1 - a.1) / (place(b.0) - place(a.0)))
        });
        let slope = robust::median(&mut pairs.collect::<Vec<f64>>())?;
        let left = measured.iter().map(|(star, ratio)| ratio - slope * place(star) / half);
        let (_, scatter) = robust::median_and_scatter(left)?;
        // Places that are spread evenly have a variance of a third of the half side's square.
        Some((slope, scatter * (3.0 / measured.len() as f64).sqrt()))
    };
    let slopes =
        [along(|star| star.x, 0.5 * width as f64), along(|star| star.y, 0.5 * height as f64)];
    let (slope, error) =
        slopes.into_iter().flatten().max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
    let limit = GRADIENT + 4.0 * error;
    (slope.abs() > limit).then(|| {
        let text = format!(
            "the stars' flux ratio changes by {:.0} ± {:.0} % from the middle of the image to its edge: clouds or flat fields differ between the images, and one photometric scale does not hold for \
             all of it; give --scale-degree 1",
            100.0 * slope.abs(),
            100.0 * error
        );
        Notice::new(Level::Warn, "transparency", text).measured(slope.abs(), limit)
    })
}

/// The median of logarithms of flux ratios, and its error; `None` of few stars.
fn middle(ratios: &[f64]) -> Option<(f64, f64)> {
    if ratios.len() < FEWEST {
        return None;
    }
    let (middle, scatter) = robust::median_and_scatter(ratios.iter().copied())?;
    Some((middle, 1.25 * scatter / (ratios.len() as f64).sqrt()))
}

fn scale_of_apertures<T>(evidence: &Evidence<'_, T>, ratios: &[f64]) -> Option<Notice> {
    let scale = evidence.difference.photometric_scale.value;
    let (middle, error) = middle(ratios)?;
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
    Some(Notice::new(level, "flux-ratio", text).measured(off, FLUX_WARN + 4.0 * error))
}

/// Light within a radius above the median of a ring around it; `None` at the border and where a pixel is masked.
fn aperture_flux<T: dia_core::Pixel>(
    image: &Image<T>,
    mask: &Mask,
    star: &Star,
    radius: f64,
) -> Option<f64> {
    let reach = 2.0 * radius;
    let (mut sum, mut count, mut ring) = (0.0, 0.0, Vec::new());
    for (y, x, distance) in pixels_around(star, reach, image.view().shape())? {
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
    Some(sum - count * robust::median(&mut ring)?)
}
