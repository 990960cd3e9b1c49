//! The seeing of an image, from the image alone.
//!
//! No catalogue is needed and none is made: a few dozen of the brightest stars that stand alone say how wide a star
//! is. Each step guards against something that would spoil a plain mean:
//!
//! 1. The sky is that of the good pixels from place to place, and the noise their scatter about it (1.4826 MAD).
//! 2. Candidates are local maxima of 5 × 5 pixels well above the noise, without a masked pixel around them and
//!    without a plateau of equal values, which is saturation.
//! 3. A first width is where the row and the column through the maximum fall to half of it; the smaller of the two,
//!    for the track of a cosmic ray is narrow in at least one of them.
//! 4. Stars share one width and blends are wider by various amounts, so the densest place of the first widths is a
//!    first estimate; what is much sharper is a cosmic ray.
//! 5. Around each star that stands alone on that scale, the logarithm of the values above the local background is
//!    fitted by ln v = c + gᵀd − dᵀA d, which is exact for a Gaussian. The width is 2 √(ln 2) det(A)^−¼, the
//!    geometric mean of those along both axes.
//! 6. The result is the median of those widths near their densest place.
//! 7. The wings are those of the Moffat profile that fits these stars out to three widths.

mod shape;
mod wings;

use std::f64::consts::LN_2;

use rayon::prelude::*;

use crate::robust::{median, median_and_scatter};
use crate::seeing::shape::Shape;
use crate::stars::{Star, falls_off};
use crate::{ImageView, LocalSky, Mask, MaskPlanes, Pixel};

/// How wide the stars of an image are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seeing {
    /// Full width at half maximum in pixels, of the profile before its integration over pixels.
    pub fwhm: f64,
    /// Covariance of the Gaussian of these stars: along the columns, of both, and along the rows, in square pixels.
    pub covariance: [f64; 3],
    /// Number of stars that it was measured on.
    pub stars: usize,
    /// How much light is in the wings, if these stars tell.
    pub wings: Option<Wings>,
}

pub use wings::Wings;

/// Pixels of these planes say nothing about a star.
const UNUSABLE: MaskPlanes = MaskPlanes::NO_DATA
    .union(MaskPlanes::SATURATED)
    .union(MaskPlanes::BAD)
    .union(MaskPlanes::COSMIC_RAY)
    .union(MaskPlanes::USER);

/// Those of them that spoil no other pixel, whatever else is said of theirs.
const SINGLE: MaskPlanes = MaskPlanes::BAD.union(MaskPlanes::COSMIC_RAY);

/// Nor does any unusable pixel but a saturated one that has at most this many of them in its 3 × 3.
const LONELY: usize = 2;

/// No other unusable pixel may be nearer to a star than this, in pixels: light may bleed from a saturated one.
const CLEAR_RADIUS: usize = 10;

/// Height of a candidate above the sky, in units of the scatter of the pixels.
const THRESHOLD: f64 = 6.0;

/// Stars above this many scatters are preferred: noise widens those that are fainter.
const BRIGHT: f64 = 12.0;

/// Fewer bright stars than this are joined by fainter ones.
const ENOUGH_BRIGHT: usize = 8;

/// Candidates that are looked at, the brightest ones first.
const CANDIDATES: usize = 10_000;

/// Candidates whose first width is taken.
const FIRST_WIDTHS: usize = 300;

/// Stars that the result is taken from.
const BEST_STARS: usize = 60;

/// Fewer stars than this say nothing.
const FEWEST_STARS: usize = 3;

/// No telescope's stars are as sharp as this, in pixels; a single bright pixel has a first width of 1.
const SHARPEST: f64 = 1.15;

/// What the integration over pixels of variance 1/12 adds to the square of the width: 8 ln 2 / 12, in square pixels.
const PIXEL_WIDTH_SQUARED: f64 = 8.0 * LN_2 / 12.0;

/// Pixels of the regular sample from which sky and noise are taken.
const SKY_SAMPLE: usize = 1 << 16;

/// Measures the full width at half maximum of the stars of an image.
///
/// Pixels with the planes `NO_DATA`, `SATURATED`, `BAD`, `COSMIC_RAY` or `USER` are not used, nor are stars within 10
/// px of one (2 px of `BAD` and `COSMIC_RAY`). Saturated stars should be masked; those that are not are recognised only by their flat top. Widths from
/// about 1.5 to 15 px are measured: exactly for Gaussian stars, 2 % too wide for a Moffat profile of β = 3, and 6 %
/// at 2 px, where a star has few pixels. The result depends on the pixels alone, not on the number of threads.
///
/// `None` means that the width is not known: fewer than three usable stars stand out of the noise, because the image
/// is empty or nearly so, shorter than 21 px, or masked all over.
///
/// ```
/// use dia_core::{Image, Mask, seeing};
///
/// // Nine Gaussian stars of σ = 2 px on a sky of 100 ADU with some texture.
/// let image = Image::from_fn(120, 120, |y, x| {
///     let distance = |i: usize| (i % 40) as f64 - 20.0;
///     let r2 = distance(y).powi(2) + distance(x).powi(2);
///     100.0 + ((7 * x + 13 * y) % 5) as f64 + 5000.0 * (-r2 / 8.0_f64).exp()
/// });
/// let seeing = seeing::measure(image.view(), &Mask::good(120, 120)).unwrap();
/// assert!((seeing.fwhm - 2.3548 * 2.0).abs() < 0.05);
/// assert_eq!(seeing.stars, 9);
/// ```
///
/// # Panics
/// If image and mask differ in shape.
pub fn measure<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> Option<Seeing> {
    let field = Field::new(image, mask)?;
    Some(field.seeing(&field.shapes(field.candidates(), FEWEST_STARS)?))
}

/// The width that [`measure`] finds, without the wings.
///
/// # Panics
/// If image and mask differ in shape.
pub fn fwhm<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> Option<f64> {
    let field = Field::new(image, mask)?;
    Some(field.shapes(field.candidates(), FEWEST_STARS)?.fwhm())
}

/// As [`measure`], on maxima that lie within 3 pixels of known stars, of which `fewest` are enough: what is sharp or wide elsewhere, a hot pixel or a satellite's trail, is not
/// taken for a star.
///
/// # Panics
/// If image and mask differ in shape.
pub fn measure_stars<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    stars: &[Star],
    fewest: usize,
) -> Option<Seeing> {
    let field = Field::new(image, mask)?;
    Some(field.seeing(&field.shapes(field.candidates_near(stars), fewest.max(1))?))
}

/// The width that [`measure_stars`] finds, without the wings.
///
/// # Panics
/// If image and mask differ in shape.
pub fn fwhm_of_stars<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    stars: &[Star],
    fewest: usize,
) -> Option<f64> {
    let field = Field::new(image, mask)?;
    Some(field.shapes(field.candidates_near(stars), fewest.max(1))?.fwhm())
}

/// Distance in pixels of a maximum from the star that it is.
const NEAR_STAR: f64 = 3.0;

/// The highest peaks first, and of very many no others.
fn highest(mut peaks: Vec<Peak>) -> Vec<Peak> {
    let brighter =
        |a: &Peak, b: &Peak| b.height.total_cmp(&a.height).then((a.y, a.x).cmp(&(b.y, b.x)));
    if peaks.len() > CANDIDATES {
        peaks.select_nth_unstable_by(CANDIDATES, brighter);
        peaks.truncate(CANDIDATES);
    }
    peaks.sort_unstable_by(brighter);
    peaks
}

/// A local maximum.
#[derive(Clone, Copy, Debug)]
struct Peak {
    y: usize,
    x: usize,
    /// Above the sky, in ADU.
    height: f64,
}

/// Widths at half maximum along the row and the column of a maximum, in pixels.
#[derive(Clone, Copy, Debug)]
struct FirstWidth {
    /// The smaller one.
    short: f64,
    /// The larger one.
    long: f64,
}

/// The typical shape of stars, pixels included, and those that it is taken from.
struct Shapes {
    covariance: [f64; 3],
    /// The full width at half maximum in pixels.
    width: f64,
    all: Vec<Shape>,
}

impl Shapes {
    /// As in [`Seeing`].
    fn fwhm(&self) -> f64 {
        (self.width * self.width - PIXEL_WIDTH_SQUARED).max(0.0).sqrt()
    }
}

/// An image and what is around its stars.
struct Field<'a, T> {
    image: ImageView<'a, T>,
    mask: &'a Mask,
    sky: LocalSky,
    scatter: f64,
}

impl<'a, T: Pixel> Field<'a, T> {
    fn new(image: ImageView<'a, T>, mask: &'a Mask) -> Option<Self> {
        assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
        let (planes, width) = (mask.planes(), image.width());
        let sky = LocalSky::of(image, mask, UNUSABLE)?;
        // An odd step meets every column of an image of even width.
        let step = (planes.len() / SKY_SAMPLE) | 1;
        let sample = (0..planes.len())
            .step_by(step)
            .filter(|&i| !planes[i].intersects(UNUSABLE))
            .map(|i| image.pixels()[i].widen() - sky.at(i / width, i % width));
        let (_, scatter) = median_and_scatter(sample)?;
        Some(Self { image, mask, sky, scatter })
    }

    /// The shapes of the stars among these maxima, the highest of which come first, if there are at least `fewest`.
    fn shapes(&self, candidates: Vec<Peak>, fewest: usize) -> Option<Shapes> {
        let first: Vec<(Peak, FirstWidth)> = candidates
            .into_iter()
            .filter(|peak| self.is_clear(peak) && self.is_round(peak))
            .take(FIRST_WIDTHS)
            .filter_map(|peak| Some((peak, self.first_width(&peak)?)))
            .filter(|(_, width)| width.short > SHARPEST)
            .collect();
        let short = densest(first.iter().map(|(_, width)| width.short).collect())?;
        let long = densest(first.iter().map(|(_, width)| width.long).collect())?;
        let mut stars: Vec<Peak> = first
            .into_iter()
            .filter(|(_, width)| width.short > 0.65 * short)
            .map(|(peak, _)| peak)
            .collect();

        // The highest come first.
        let bright = stars.partition_point(|peak| peak.height > BRIGHT * self.scatter);
        stars.truncate(bright.max(ENOUGH_BRIGHT));

        let mut typical = (short * long).sqrt();
        let (mut found, mut shapes) = (None, Vec::new());
        // The second round chooses its pixels by the result of the first.
        for _ in 0..2 {
            let (mut alone, mut others) = (Vec::new(), Vec::new());
            for peak in &stars {
                if let Some((shape, isolated)) = self.fitted_shape(peak, typical, typical.max(long))
                {
                    if isolated { &mut alone } else { &mut others }.push(shape);
                    if alone.len() == BEST_STARS {
                        break;
                    }
                }
            }
            // A field without lonely stars is measured on the others, whose densest place is not far off.
            shapes = if alone.len() < fewest { others } else { alone };
            let centre = densest(shapes.iter().map(|shape| shape.width).collect())?;
            shapes.retain(|shape| (0.8..=1.25).contains(&(shape.width / centre)));
            let of = |value: &dyn Fn(&Shape) -> f64| {
                median(&mut shapes.iter().map(value).collect::<Vec<_>>())
            };
            typical = of(&|shape| shape.width)?;
            let covariance =
                [of(&|s| s.covariance[0])?, of(&|s| s.covariance[1])?, of(&|s| s.covariance[2])?];
            found = (shapes.len() >= fewest).then_some(covariance);
        }
        Some(Shapes { covariance: found?, width: typical, all: shapes })
    }

    /// The seeing that shapes tell.
    fn seeing(&self, shapes: &Shapes) -> Seeing {
        let wings = wings::measure(self, &shapes.all, shapes.covariance);
        // That of a pixel is 1/12.
        let [xx, xy, yy] = shapes.covariance;
        let covariance = [xx - 1.0 / 12.0, xy, yy - 1.0 / 12.0];
        Seeing { fwhm: shapes.fwhm(), covariance, stars: shapes.all.len(), wings }
    }

    fn at(&self, y: usize, x: usize) -> f64 {
        self.image.at(y, x).widen() - self.sky.at(y, x)
    }

    /// Local maxima above the threshold, the highest first.
    fn candidates(&self) -> Vec<Peak> {
        let (height, width) = self.image.shape();
        let border = CLEAR_RADIUS;
        let peaks = (border..height.saturating_sub(border))
            .into_par_iter()
            .flat_map_iter(|y| {
                let (row, sky) = (self.image.row(y), self.sky.row(y));
                (border..width.saturating_sub(border)).filter_map(move |x| {
                    // Few pixels are higher than their neighbours, and what the sky is there takes longer to find.
                    if !(row[x] > row[x - 1] && row[x] > row[x + 1]) {
                        return None;
                    }
                    self.peak(y, x, row[x].widen() - sky(x))
                })
            })
            .collect();
        highest(peaks)
    }

    /// Those within [`NEAR_STAR`] of one of these stars.
    fn candidates_near(&self, stars: &[Star]) -> Vec<Peak> {
        let (height, width) = self.image.shape();
        let border = CLEAR_RADIUS as f64;
        let inside = |centre: f64, size: usize| {
            let last = size as f64 - border - 1.0;
            let (from, to) =
                ((centre - NEAR_STAR).ceil().max(border), (centre + NEAR_STAR).min(last));
            // Empty where the first comes after the last.
            from as usize..(to + 1.0).max(from).floor() as usize
        };
        let of_star = |star: &Star| {
            let (y, x) = (star.y, star.x);
            let places =
                inside(y, height).flat_map(move |py| inside(x, width).map(move |px| (py, px)));
            places
                .filter(|(py, px)| (*py as f64 - y).hypot(*px as f64 - x) <= NEAR_STAR)
                .filter_map(|(y, x)| self.peak(y, x, self.at(y, x)))
                .collect::<Vec<_>>()
        };
        let mut peaks = highest(stars.iter().flat_map(of_star).collect());
        peaks.dedup_by_key(|peak| (peak.y, peak.x));
        peaks
    }

    /// The local maximum of a height above the sky, if it is one above the threshold.
    fn peak(&self, y: usize, x: usize, height: f64) -> Option<Peak> {
        let is_peak = height > THRESHOLD * self.scatter && self.is_maximum(y, x);
        is_peak.then_some(Peak { y, x, height })
    }

    /// Whether no pixel of the square of `radius` around this one is `bad`, of those that are unusable.
    fn is_free(
        &self,
        (y, x): (usize, usize),
        radius: usize,
        bad: impl Fn(usize, usize) -> bool,
    ) -> bool {
        (y - radius..=y + radius).all(|row| {
            let planes = &self.mask.row(row)[x - radius..=x + radius];
            let mut around = planes.iter().zip(x - radius..);
            !around.any(|(planes, x)| planes.intersects(UNUSABLE) && bad(row, x))
        })
    }

    /// Whether no other pixel of the 5 × 5 around this one is as high, and all of them are usable.
    fn is_maximum(&self, y: usize, x: usize) -> bool {
        let value = self.image.at(y, x);
        value.is_finite()
            && (y - 2..=y + 2).all(|row| {
                let others = &self.image.row(row)[x - 2..=x + 2];
                others.iter().enumerate().all(|(i, &v)| v < value || (row, i) == (y, 2))
            })
            && self.is_free((y, x), 2, |_, _| true)
    }

    /// Whether nothing around a maximum spoils it.
    fn is_clear(&self, peak: &Peak) -> bool {
        self.is_free((peak.y, peak.x), CLEAR_RADIUS, |y, x| self.spoils_others(y, x))
    }

    /// Whether an unusable pixel may have spoilt others: a saturated one, and one in the midst of unusable ones, as the core of a saturated star may be marked.
    fn spoils_others(&self, y: usize, x: usize) -> bool {
        let planes = self.mask.at(y, x);
        let among_others = || {
            let rows = y.saturating_sub(1)..(y + 2).min(self.mask.height());
            let columns = x.saturating_sub(1)..(x + 2).min(self.mask.width());
            let around = rows.flat_map(|y| &self.mask.row(y)[columns.clone()]);
            around.filter(|planes| planes.intersects(UNUSABLE)).count() > LONELY
        };
        !planes.intersects(SINGLE) && (planes.intersects(MaskPlanes::SATURATED) || among_others())
    }

    /// Whether the light falls off in all directions, and not along an edge or a trail.
    fn is_round(&self, peak: &Peak) -> bool {
        // Nothing where no pixel is usable.
        let mean = |y: usize, x: usize| {
            let around = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (y, x)));
            let usable = around.filter(|(y, x)| !self.mask.at(*y, *x).intersects(UNUSABLE));
            let (sum, count) =
                usable.fold((0.0, 0.0), |(sum, n), (y, x)| (sum + self.at(y, x), n + 1.0));
            if count > 0.0 { (sum / count) as f32 } else { 0.0 }
        };
        falls_off(mean, peak.y, peak.x)
    }

    /// The widths at half maximum of the row and the column through a maximum.
    fn first_width(&self, peak: &Peak) -> Option<FirstWidth> {
        let half = 0.5 * peak.height;
        let crossing = |dy: isize, dx: isize| {
            let mut inner = peak.height;
            for step in 1.. {
                let y = peak.y.checked_add_signed(step * dy)?;
                let x = peak.x.checked_add_signed(step * dx)?;
                if y >= self.image.height() || x >= self.image.width() {
                    return None;
                }
                if self.mask.at(y, x).intersects(UNUSABLE) {
                    return None;
                }
                let outer = self.at(y, x);
                if outer < half {
                    return Some(step as f64 - (half - outer) / (inner - outer));
                }
                inner = outer;
            }
            None
        };
        let row = crossing(0, -1)? + crossing(0, 1)?;
        let column = crossing(-1, 0)? + crossing(1, 0)?;
        Some(FirstWidth { short: row.min(column), long: row.max(column) })
    }
}

/// The middle of the shortest interval that holds half of the values (the shorth's; Andrews et al. 1972).
///
/// Unlike the median it stays with the sharp edge of the many when up to half of the values trail off to one side.
fn densest(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len().div_ceil(2);
    let shortest = values
        .windows(half.max(1))
        .min_by(|a, b| (a[a.len() - 1] - a[0]).total_cmp(&(b[b.len() - 1] - b[0])))?;
    median(&mut shortest.to_vec())
}

#[cfg(test)]
mod tests;
