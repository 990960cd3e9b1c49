//! The level at which values are clipped, from the pixels that pile up there.

use super::sample::{Distribution, runs, sorted_values};
use crate::{ImageView, Mask, Pixel};

/// A pile-up lies at least this many scatters above the median, and this many steps between neighbouring values.
const HIGH: f64 = 10.0;
const STEPS: f64 = 200.0;

/// Values are looked at down to this part of the highest one, above the median.
const DOWN_TO: f64 = 0.5;

/// Fewer pixels of one value than this are no pile-up.
const FEWEST: usize = 5;

/// A pile-up has this many times the pixels of all lower values within `BELOW` of its height, and of the usual high value: in a model without noise, all values
/// repeat.
const PROMINENT: usize = 3;
const BELOW: f64 = 0.05;

/// Where the values of an image are clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PileUp {
    /// The value at and above which pixels are saturated, in the unit of the image.
    pub level: f64,
    /// How many pixels have exactly this value.
    pub pixels: usize,
}

/// Finds the lowest high value at which pixels pile up: the converter's largest number, or the full well of the detector.
///
/// The profile of a star makes about as many pixels just below its peak as a little further down, and no two alike. Where light is clipped, all
/// pixels that would be brighter have one value, and few others come near it. Pixels at or above `known`, the level that is believed to be that of saturation, are passed over.
///
/// ```
/// use dia_core::defects::{PileUp, pile_up};
/// use dia_core::{Image, Mask};
///
/// // A star whose core would reach 90 000 ADU.
/// let image = Image::from_fn(64, 64, |y, x| {
///     let r2 = (y as f64 - 30.0).powi(2) + (x as f64 - 33.0).powi(2);
///     let sky = 400.0 + 9.0 * ((y * 37 + x * 101) as f64).sin();
///     (sky + 90_000.0 * (-r2 / 18.0).exp()).min(65_535.0)
/// });
/// let found = pile_up(image.view(), &Mask::good(64, 64), None).unwrap();
/// assert_eq!(found, PileUp { level: 65_535.0, pixels: 21 });
/// assert_eq!(pile_up(image.view(), &Mask::good(64, 64), Some(60_000.0)), None);
/// ```
///
/// # Panics
/// If image and mask differ in shape.
pub fn pile_up<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    known: Option<f64>,
) -> Option<PileUp> {
    assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
    let Distribution { median, scatter, step, .. } = Distribution::new(image, mask)?;
    if scatter == 0.0 {
        return None;
    }
    let known = known.unwrap_or(f64::INFINITY);
    let least = median + (HIGH * scatter).max(STEPS * step);
    let high = sorted_values(image, mask, |value| value >= least && value < known);
    let top = *high.last()?;
    let of_all = runs(&high);
    if 2 * of_all.iter().filter(|run| run.count >= FEWEST).count() > of_all.len() {
        // Sources that are copies of each other.
        return None;
    }
    let lowest = median + DOWN_TO * (top - median);
    let high = &high[high.partition_point(|value| *value < lowest)..];
    let runs = runs(high);
    let mut counts: Vec<usize> = runs.iter().map(|run| run.count).collect();
    counts.sort_unstable();
    let usual = if counts.len() > 1 { counts[(counts.len() - 1) / 2] } else { 0 };
    runs.into_iter()
        .filter(|run| run.count >= FEWEST.max(PROMINENT * usual))
        .find(|run| {
            let from = run.value - BELOW * (run.value - median);
            let at = |value: f64| high.partition_point(|v| *v < value);
            from >= lowest && run.count >= PROMINENT * (at(run.value) - at(from))
        })
        .map(|run| PileUp { level: run.value, pixels: run.count })
}
