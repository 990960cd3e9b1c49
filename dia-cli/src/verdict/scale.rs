//! Whether the photometric scale is that of the stars.

use dia_core::stars::Star;
use dia_core::{MaskPlanes, robust};
use dia_solvers::Estimate;

use super::points::{Measured, Scatter, fit};
use super::ring::{Both, Levels, levels};
use super::{Evidence, pixels_around};
use crate::notice::{Level, Notice};

/// P of fewer σ than this is none.
const LEAST_SCALE: f64 = 5.0;

/// A relative σ of P above which it serves no photometry: aperture photometry of a few stars reaches it.
const POOR: f64 = 0.05;

/// Relative difference of P from the ratio of the stars' fluxes that is doubtful, and that is wrong: apertures know it to some percent.
const FLUX_WARN: f64 = 0.04;
const FLUX_FAIL: f64 = 0.1;

/// Radius of apertures in FWHM of the broader image, and the smallest in pixels.
const APERTURE: f64 = 1.5;
const SMALLEST: f64 = 3.0;

/// Relative change of the flux ratio over the stars of the image that a good flat field makes.
const GRADIENT: f64 = 0.03;

/// What lies outside of apertures changes with the width of stars: by this part of what the share of light in the inner half of the radius does, which is 0.02 for Gaussian profiles,
/// and 0.32 for Moffat ones of β = 3.5.
const LOST: f64 = 0.35;

/// Stars that are measured, and the fewest that tell; and those that tell of the field.
const STARS: usize = 60;
const FEWEST: usize = 5;
const MANY_STARS: usize = 300;

/// Pixels that tell the noise of the sky.
const SAMPLE: usize = 1 << 14;

/// Stars for each function of the place, as many as would tell as much if all had the same weight.
const PER_FUNCTION: usize = 3;

/// Neighbours and the shapes of stars change flux ratios in apertures by a percent, and some stars vary.
const SCATTER: Scatter = Scatter { least: 0.01, far: 2.4 };

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

/// Compares the ratios of the stars' fluxes with P and with one another over the field.
///
/// Apertures are as large in both images, by the broader one: beyond the widths of both, their profiles hold the same part of the light outside, whatever the kernel is between them; and
/// neighbours have as much light in either.
fn fluxes<T: dia_core::Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let Some([r, t]) = evidence.seeing else { return Vec::new() };
    let radius = (APERTURE * r.max(t)).max(SMALLEST);
    // Where there is no difference, as at the border, noise is that of the sky.
    let variance = evidence.difference.variance.pixels();
    let stride = (variance.len() / SAMPLE) | 1;
    let known = variance.iter().step_by(stride).map(|v| v.widen()).filter(|v| v.is_finite());
    let Some(sky) = robust::median(&mut known.collect::<Vec<_>>()) else { return Vec::new() };
    let stars = evidence.stars.iter().take(MANY_STARS);
    let ratios: Vec<(&Star, Ratio)> =
        stars.filter_map(|star| Some((star, ratio(evidence, star, radius, sky)?))).collect();
    let near: Vec<f64> = ratios.iter().take(STARS).map(|(_, ratio)| ratio.flux.value).collect();
    let found = [scale_of_apertures(evidence, &near), transparency(evidence, &ratios)];
    found.into_iter().flatten().collect()
}

/// Logarithms of ratios of the target to the reference, with variances by the noise of the difference.
struct Ratio {
    /// Of a star's flux.
    flux: Measured,
    /// Of the share of it that lies within half of the radius.
    concentration: Measured,
}

/// `None` at the border, where a pixel is masked, and where no sky is around; `sky` is the variance where none is known.
fn ratio<T: dia_core::Pixel>(
    evidence: &Evidence<'_, T>,
    star: &Star,
    radius: f64,
    sky: f64,
) -> Option<Ratio> {
    let [(reference, r_mask), (target, t_mask)] = evidence.images;
    let variances = evidence.difference.variance.view();
    let (mut all, mut inner, mut ring) = (Light::default(), Light::default(), Vec::new());
    for (y, x, distance) in pixels_around(star, 2.0 * radius, variances.shape())? {
        let is_good = r_mask.at(y, x).is_empty() && t_mask.at(y, x).is_empty();
        let values = [reference, target].map(|image| image.view().at(y, x).widen());
        let known = Some(variances.at(y, x).widen()).filter(|v| v.is_finite());
        let variance = known.unwrap_or(sky);
        if distance <= radius {
            if !is_good {
                return None;
            }
            all.add(values, variance);
            if distance <= 0.5 * radius {
                inner.add(values, variance);
            }
        } else if distance > 1.4 * radius && is_good {
            ring.push(Both { values, sigma: variance.sqrt() });
        }
    }
    let sky = levels(&ring, [evidence.difference.photometric_scale.value, 1.0])?;
    let (flux, inner) = (all.ratio(sky)?, inner.ratio(sky)?);
    let concentration = Measured { value: inner.value - flux.value, variance: inner.variance };
    Some(Ratio { flux, concentration })
}

/// Sums over a part of a star in both images.
#[derive(Default)]
struct Light {
    values: [f64; 2],
    variance: f64,
    pixels: f64,
}

impl Light {
    fn add(&mut self, values: [f64; 2], variance: f64) {
        self.values = [self.values[0] + values[0], self.values[1] + values[1]];
        self.variance += variance;
        self.pixels += 1.0;
    }

    /// The logarithm of the ratio of what is above the sky.
    fn ratio(&self, sky: Levels) -> Option<Measured> {
        let [r, t] =
            [0, 1].map(|image: usize| self.values[image] - self.pixels * sky.values[image]);
        let variance = (self.variance + self.pixels.powi(2) * sky.variance) / (t * t);
        (r > 0.0 && t > 0.0).then(|| Measured { value: (t / r).ln(), variance })
    }
}

/// By how much the flux ratio changes between the stars of a field, as a polynomial of the place has it.
struct Change {
    range: f64,
    error: f64,
    limit: f64,
    degree: usize,
}

/// The change by a polynomial of a degree, of which only what lies at stars counts; `None` if there are too few.
fn change<T: dia_core::Pixel>(
    evidence: &Evidence<'_, T>,
    measured: &[(&Star, Ratio)],
    degree: usize,
) -> Option<Change> {
    let (height, width) = evidence.images[1].0.view().shape();
    let place = |star: &Star| [star.x / width as f64 - 0.5, star.y / height as f64 - 0.5];
    let functions: Vec<Vec<f64>> =
        measured.iter().map(|(star, _)| terms(place(star), degree)).collect();
    let points = |of: fn(&Ratio) -> Measured| -> Vec<Measured> {
        measured.iter().map(|(_, ratio)| of(ratio)).collect()
    };
    let points_of_flux = points(|ratio| ratio.flux);
    let found = fit(&functions, &points_of_flux, SCATTER)?;
    // Of few stars, the scatter itself is not known.
    if found.effective < (PER_FUNCTION * functions[0].len()) as f64 {
        return None;
    }
    let (low, high) = found.extremes()?;
    let (range, error) = found.difference(high, low);
    let widths = fit(&functions, &points(|ratio| ratio.concentration), SCATTER)?;
    let (narrower, _) = widths.difference(high, low);
    let limit = GRADIENT + LOST * narrower.abs();
    // The range is the largest difference of all, which noise makes larger the more functions there are: χ² of 2 or 3 degrees of freedom is beyond 16 or 25 once in 3000 or 60 000 fields.
    let noise = (degree + 3) as f64 * error;
    Some(Change { range, error, limit: limit.hypot(noise), degree })
}

/// Whether the flux ratio changes over the field, by a plane or by what vignetting adds to it.
fn transparency<T: dia_core::Pixel>(
    evidence: &Evidence<'_, T>,
    measured: &[(&Star, Ratio)],
) -> Option<Notice> {
    if evidence.difference.design.scale_degree() > 0 {
        return None;
    }
    let beyond = |change: &Change| change.range - change.limit;
    let changes = [1, 2].into_iter().filter_map(|degree| change(evidence, measured, degree));
    let most = changes.max_by(|a, b| beyond(a).total_cmp(&beyond(b)))?;
    let Change { range, error, limit, degree } = most;
    (range > limit).then(|| {
        let text = format!(
            "the stars' flux ratio changes by {:.0} ± {:.0} % over the image: clouds or flat fields differ between the images, and one photometric scale does not hold for all of it; give \
             --scale-degree {degree}",
            100.0 * range,
            100.0 * error
        );
        Notice::new(Level::Warn, "transparency", text).measured(range, limit)
    })
}

/// 1, x, y and, for a degree of two, x² + y²: most flat fields are wrong around the middle, and a full surface needs more stars than most images have.
fn terms([x, y]: [f64; 2], degree: usize) -> Vec<f64> {
    let mut all = vec![1.0, x, y];
    if degree > 1 {
        all.push(x * x + y * y);
    }
    all
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
