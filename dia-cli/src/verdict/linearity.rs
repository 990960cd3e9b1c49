//! Whether one kernel suits bright and faint stars.

use dia_core::Pixel;
use dia_core::robust::{median, median_and_scatter};
use dia_core::stars::Star;

use super::{Evidence, pixels_around};
use crate::notice::{Level, Notice};

/// By how much more of its core's light a bright star may leave than a faint one.
const LINEAR: f64 = 0.015;

/// And by how many σ.
const SIGNIFICANT: f64 = 4.0;

/// Stars that are measured, the brightest ones, and the fewest that tell.
const STARS: usize = 300;
const FEWEST: usize = 5;

/// Radii of core and ring, and those of the sky around, in FWHM.
const CORE: f64 = 0.5;
const RING: f64 = 1.5;
const SKY: [f64; 2] = [2.0, 3.0];

/// What a star of the target leaves in the difference.
struct Left {
    flux: f64,
    /// The part of the core's light that is left.
    core: Share,
    /// That less the part of the ring around it, unless one of its pixels is missing.
    shape: Option<Share>,
}

/// A part of some light, with the variance by the noise of the pixels.
#[derive(Clone, Copy)]
struct Share {
    value: f64,
    variance: f64,
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
    let by_core: Vec<(f64, Share)> = left.iter().map(|s| (s.flux.ln(), s.core)).collect();
    let by_shape: Vec<(f64, Share)> =
        left.iter().filter_map(|s| Some((s.flux, s.shape?))).collect();
    // From the middle of the fainter to that of the brighter quarter; and for the brightest.
    let range = {
        let mut sorted: Vec<f64> = by_core.iter().map(|(x, _)| *x).collect();
        sorted.sort_by(f64::total_cmp);
        let eighth = sorted.len() / 8;
        sorted.get(sorted.len().wrapping_sub(1 + eighth)).map_or(0.0, |high| high - sorted[eighth])
    };
    let brightest = by_shape.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    let lines = [(line(&by_core, 2.0), range), (line(&by_shape, f64::INFINITY), brightest)];
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
    /// The part of the light above a sky that is left.
    fn share(&self, sky: f64) -> Option<Share> {
        let flux = self.light - sky * self.pixels;
        let (value, variance) = (self.difference / flux, self.variance / (flux * flux));
        (flux > 0.0 && value.is_finite()).then_some(Share { value, variance })
    }
}

/// `None` at the border, and where a pixel of the core is missing.
fn left<T: Pixel>(evidence: &Evidence<'_, T>, star: &Star, fwhm: f64) -> Option<Left> {
    let (image, mask) = evidence.images[1];
    let (difference, variance) =
        (evidence.difference.difference.view(), evidence.difference.variance.view());
    let [mut core, mut ring] = [Part::default(), Part::default()];
    let mut sky = Vec::new();
    for (y, x, distance) in pixels_around(star, SKY[1] * fwhm, image.view().shape())? {
        let (distance, value) = (distance / fwhm, image.view().at(y, x).widen());
        if distance <= RING {
            let part = if distance <= CORE { &mut core } else { &mut ring };
            part.light += value;
            part.difference += difference.at(y, x).widen();
            part.variance += variance.at(y, x).widen();
            part.pixels += 1.0;
        } else if (SKY[0]..SKY[1]).contains(&distance) && mask.at(y, x).is_empty() {
            sky.push(value);
        }
    }
    let sky = median(&mut sky)?;
    let flux = core.light + ring.light - sky * (core.pixels + ring.pixels);
    let core = core.share(sky)?;
    let shape = ring.share(sky).map(|ring| Share {
        value: core.value - ring.value,
        variance: core.variance + ring.variance,
    });
    (flux > 0.0).then_some(Left { flux, core, shape })
}

/// The slope of a straight line through shares, and its error; those beyond `far` σ count less.
fn line(stars: &[(f64, Share)], far: f64) -> Option<(f64, f64)> {
    if stars.len() < FEWEST {
        return None;
    }
    let (mut slope, mut level, mut error) = (0.0, 0.0, f64::NAN);
    for _ in 0..10 {
        let pull = |(x, share): &(f64, Share), floor: f64| {
            (share.value - level - slope * x) / (share.variance + floor * floor).sqrt()
        };
        // By which stars scatter beyond noise: with it, the pulls have a scatter of one. A tenth of a percent is that of no image.
        let (mut floor, mut above) = (1e-3, 1.0);
        for _ in 0..20 {
            let middle = 0.5 * (floor + above);
            let (_, scatter) = median_and_scatter(stars.iter().map(|star| pull(star, middle)))?;
            *(if scatter > 1.0 { &mut floor } else { &mut above }) = middle;
        }
        let weight = |star: &(f64, Share)| {
            let fewer = (pull(star, floor).abs() / far).max(1.0);
            ((star.1.variance + floor * floor) * fewer).recip()
        };
        let sum = |of: &dyn Fn(&(f64, Share)) -> f64| -> f64 {
            stars.iter().map(|star| weight(star) * of(star)).sum()
        };
        let all = sum(&|_| 1.0);
        let (x, y) = (sum(&|star| star.0) / all, sum(&|star| star.1.value) / all);
        let spread = sum(&|star| (star.0 - x).powi(2));
        (slope, error) =
            (sum(&|star| (star.0 - x) * (star.1.value - y)) / spread, spread.sqrt().recip());
        level = y - slope * x;
    }
    (slope.is_finite() && error.is_finite()).then_some((slope, error))
}
