//! Whether one kernel suits bright and faint stars.

use dia_core::stars::Star;
use dia_core::{MaskPlanes, Pixel};

use super::points::{Measured, Scatter, fit};
use super::ring::{Both, Levels, levels};
use super::{Evidence, pixels_around};
use crate::notice::{Level, Notice};

/// By how much more of its core's light a bright star may leave than a faint one.
const LINEAR: f64 = 0.015;

/// And by how many σ.
const SIGNIFICANT: f64 = 4.0;

/// What a star's share scatters by beyond noise: a tenth of a percent is that of no image.
const LEAST: f64 = 1e-3;

/// Stars vary: those so many σ off count half.
const FAR: f64 = 2.4;

/// Stars that are measured, the brightest ones, and the fewest that tell.
const STARS: usize = 300;
const FEWEST: usize = 5;

/// σ of the core's share of the faintest stars: of those that are near the limit of detection, the ones that noise made brighter were found.
const FAINTEST: f64 = 0.1;

/// A star that the model does not have has this part of it: as if it were fifty times brighter than before.
const LEAST_MODEL: f64 = 0.02;

/// Radii of core and ring, and those of the sky around, in FWHM.
const CORE: f64 = 0.5;
const RING: f64 = 1.5;
const SKY: [f64; 2] = [2.0, 3.0];

/// What a star of the target leaves in the difference.
struct Left {
    flux: f64,
    /// The part of the core's light that is left.
    core: Measured,
    /// That less the part of the ring around it, unless one of its pixels is missing.
    shape: Option<Measured>,
}

/// Compares what bright and faint stars leave in the difference.
///
/// Where one of the images is not linear, the cores of its bright stars are too low or too high, and those of faint ones the other way, for the scale is a mean of all. A kernel that does not suit the
/// stars leaves the same of all of them. Two lines are fitted by errors that hold what stars scatter beyond noise. One is that of the core's share over the logarithm of the flux, on which far stars
/// count less, since stars vary. The other is that of the shape over the flux: a star that varies leaves its own profile, as large a part of the core as of the ring, so that one bright star is enough.
pub(super) fn judge<T: Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let Some([_, fwhm]) = evidence.seeing else { return Vec::new() };
    let stars = evidence.stars.iter().take(STARS);
    let left: Vec<Left> = stars.filter_map(|star| left(evidence, star, fwhm.max(2.0))).collect();
    let is_known = |star: &&Left| star.core.variance < FAINTEST * FAINTEST;
    let by_core: Vec<(f64, Measured)> =
        left.iter().filter(is_known).map(|s| (s.flux.ln(), s.core)).collect();
    let by_shape: Vec<(f64, Measured)> =
        left.iter().filter_map(|s| Some((s.flux, s.shape?))).collect();
    // From the middle of the fainter to that of the brighter quarter; and for the brightest.
    let range = {
        let mut sorted: Vec<f64> = by_core.iter().map(|(x, _)| *x).collect();
        sorted.sort_by(f64::total_cmp);
        let eighth = sorted.len() / 8;
        sorted.get(sorted.len().wrapping_sub(1 + eighth)).map_or(0.0, |high| high - sorted[eighth])
    };
    let brightest = by_shape.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    let lines = [(line(&by_core, FAR), range), (line(&by_shape, f64::INFINITY), brightest)];
    let differences = lines.into_iter().filter_map(|(line, range)| {
        let (slope, error) = line?;
        Some((slope * range, error * range))
    });
    let limit = |error: f64| LINEAR.max(SIGNIFICANT * error);
    let beyond = |(off, error): &(f64, f64)| off.abs() > limit(*error);
    let most =
        differences.filter(beyond).max_by(|a, b| (a.0 / a.1).abs().total_cmp(&(b.0 / b.1).abs()));
    let Some((off, error)) = most else { return Vec::new() };
    let text = format!(
        "bright stars leave {:+.1} ± {:.1} % more of the light of their cores than faint ones: one of the images is not linear (saturation, a stretch, a wrong pedestal), and no photometric scale \
         is that of all stars; give linear images, or the level from which they are not as --target-saturation and --reference-saturation",
        100.0 * off,
        100.0 * error
    );
    vec![Notice::new(Level::Warn, "nonlinear", text).measured(off.abs(), limit(error))]
}

/// Sums over a part of a star.
#[derive(Default)]
struct Part {
    light: f64,
    difference: f64,
    variance: f64,
    pixels: f64,
}

impl Part {
    /// The part of the light above the sky that is left above the sky of the difference.
    fn share(&self, sky: Levels) -> Option<Measured> {
        let [light, left] = sky.values;
        let flux = self.light - light * self.pixels;
        let value = (self.difference - left * self.pixels) / flux;
        // Where light is more than the model has, so are its photons: at the most, by as much.
        let more = (1.0 - value).clamp(LEAST_MODEL, 1.0).recip();
        let variance = (more * self.variance + self.pixels.powi(2) * sky.variance) / (flux * flux);
        (flux > 0.0 && value.is_finite()).then_some(Measured { value, variance })
    }
}

/// `None` at the border, where a pixel of the core is missing, and where something beside the star has changed.
fn left<T: Pixel>(evidence: &Evidence<'_, T>, star: &Star, fwhm: f64) -> Option<Left> {
    let (image, mask) = evidence.images[1];
    let (difference, variance) =
        (evidence.difference.difference.view(), evidence.difference.variance.view());
    let [mut core, mut ring] = [Part::default(), Part::default()];
    let (mut sky, mut variable) = (Vec::new(), [false, false]);
    for (y, x, distance) in pixels_around(star, SKY[1] * fwhm, image.view().shape())? {
        let [light, left, variance] =
            [image.view(), difference, variance].map(|plane| plane.at(y, x).widen());
        let distance = distance / fwhm;
        if distance <= RING {
            let part = if distance <= CORE { &mut core } else { &mut ring };
            part.light += light;
            part.difference += left;
            part.variance += variance;
            part.pixels += 1.0;
            variable[usize::from(distance > CORE)] |=
                evidence.difference.mask.at(y, x).contains(MaskPlanes::VARIABLE);
        } else if distance >= SKY[0] && mask.at(y, x).is_empty() && left.is_finite() {
            sky.push(Both { values: [light, left], sigma: variance.sqrt() });
        }
    }
    if variable == [false, true] {
        return None;
    }
    let sky = levels(&sky, [1.0, 1.0])?;
    let flux = core.light + ring.light - sky.values[0] * (core.pixels + ring.pixels);
    let core = core.share(sky)?;
    let shape = ring.share(sky).map(|ring| Measured {
        value: core.value - ring.value,
        variance: core.variance + ring.variance,
    });
    (flux > 0.0).then_some(Left { flux, core, shape })
}

/// The slope of a straight line through shares, and its error; those beyond `far` σ count less.
fn line(stars: &[(f64, Measured)], far: f64) -> Option<(f64, f64)> {
    if stars.len() < FEWEST {
        return None;
    }
    let functions: Vec<Vec<f64>> = stars.iter().map(|(x, _)| vec![1.0, *x]).collect();
    let shares: Vec<Measured> = stars.iter().map(|(_, share)| *share).collect();
    let order = |i: &usize, j: &usize| stars[*i].0.total_cmp(&stars[*j].0);
    let (low, high) = ((0..stars.len()).min_by(order)?, (0..stars.len()).max_by(order)?);
    let (off, error) =
        fit(&functions, &shares, Scatter { least: LEAST, far })?.difference(high, low);
    let apart = stars[high].0 - stars[low].0;
    (error > 0.0).then_some((off / apart, error / apart))
}
