//! Values that stand for "no data".

use super::sample::{Distribution, neighbours, runs, sorted_values};
use crate::{ImageView, Mask, MaskPlanes, Pixel};

/// A value is implausibly low this many scatters below the median.
const LOW: f64 = 10.0;

/// A value this many scatters from the median is no measurement, on either side: the range of a detector is some 10⁴ scatters, that of a deep stack 10⁶ …
const ABSURD: f64 = 1e8;

/// … unless other values lie between, each at most this many times as far off as the one before: the stars of a model without noise fade out into its sky.
const GAP: f64 = 100.0;

/// An implausibly low value is a sentinel if this many pixels have it, and this many times more than have each of its neighbours.
const REPEATED: usize = 3;
const PROMINENT: usize = 5;

/// A repeated value amid the others can be told from them only if none of those has more than this part of the pixels.
const COARSE: f64 = 0.1;

/// A repeated value of more than this part of the image is none: it may be where a pipeline clips, say at zero. Where it forms areas, these are found as such.
const SCATTERED: f64 = 0.05;

/// A value that means that a pixel has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sentinel {
    /// The value, in the unit of the image.
    pub value: f64,
    /// How many pixels have exactly this value.
    pub pixels: usize,
}

/// Finds values that stand for "no data", and marks their pixels as `NO_DATA`.
///
/// Such a value lies far below all others and repeats exactly; or it lies among the others, which are all different, and repeats (0 in an image
/// whose sky is subtracted); or it lies so far off that no detector could measure it. Returned are the values, the lowest first. Values that
/// repeat at the upper end are those of saturated pixels: [`pile_up()`](super::pile_up()) finds them. Pixels that are not finite need no finder and are passed over.
///
/// ```
/// use dia_core::defects::{Sentinel, sentinels};
/// use dia_core::{Image, Mask, MaskPlanes};
///
/// // A sky of 400 ADU, and the lower right corner without data.
/// let image = Image::from_fn(64, 64, |y, x| {
///     if x + y > 110 { -999.0 } else { 400.0 + ((y * 37 + x * 101) % 173) as f32 / 10.0 }
/// });
/// let mut mask = Mask::good(64, 64);
/// assert_eq!(sentinels(image.view(), &mut mask), [Sentinel { value: -999.0, pixels: 136 }]);
/// assert_eq!(mask.count(MaskPlanes::NO_DATA), 136);
/// ```
///
/// # Panics
/// If image and mask differ in shape.
pub fn sentinels<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask) -> Vec<Sentinel> {
    assert_eq!(image.shape(), (mask.height(), mask.width()), "image and mask share a grid");
    let Some(distribution) = Distribution::new(image, mask) else { return Vec::new() };
    let Distribution { median, scatter, coarseness, ref spikes, .. } = distribution;
    let low = median - LOW * scatter;
    let distance = |value: f64| (value - median).abs();
    let is_far = |value: f64| distance(value) > ABSURD * scatter;
    let mut outlying = sorted_values(image, mask, |value| value < low || is_far(value));
    let far: Vec<f64> = outlying.iter().copied().filter(|v| is_far(*v)).map(distance).collect();
    let edge = edge(image, mask, far, distance);
    let absurd = |value: f64| distance(value) > edge;
    outlying.retain(|value| *value < low || absurd(*value));
    let outlying = runs(&outlying);
    let repeated = |i: usize| {
        let count = outlying[i].count;
        count >= REPEATED && count >= PROMINENT * neighbours(&outlying, i, LOW * scatter)
    };
    let mut found: Vec<Sentinel> = (0..outlying.len())
        .filter(|&i| absurd(outlying[i].value) || repeated(i))
        .map(|i| Sentinel { value: outlying[i].value, pixels: outlying[i].count })
        .collect();
    if coarseness < COARSE {
        let among = |value: &&f64| **value >= low && **value < median + LOW * scatter;
        let count = |value: &f64| {
            let pixels = sorted_values(image, mask, |v| v == *value).len();
            Sentinel { value: *value, pixels }
        };
        let most = SCATTERED * image.pixels().len() as f64;
        let candidates = spikes.iter().filter(among).map(count);
        found.extend(candidates.filter(|sentinel| (sentinel.pixels as f64) < most));
    }
    found.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
    if !found.is_empty() {
        let is_found = |value: f64| found.binary_search_by(|s| s.value.total_cmp(&value)).is_ok();
        mask.merge(|i| {
            let value = image.pixels()[i].widen();
            if is_found(value + 0.0) { MaskPlanes::NO_DATA } else { MaskPlanes::empty() }
        });
    }
    found
}

/// How far from the median measurements reach, where some values are `far` from it: beyond the first wide gap after the others, nothing is one.
fn edge<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    mut far: Vec<f64>,
    distance: impl Fn(f64) -> f64,
) -> f64 {
    if far.is_empty() {
        return f64::INFINITY;
    }
    far.sort_unstable_by(f64::total_cmp);
    let near = image.pixels().iter().zip(mask.planes());
    let near = near.filter(|(value, planes)| value.is_finite() && planes.is_empty());
    let near = near.map(|(value, _)| distance(value.widen())).filter(|d| *d < far[0]);
    let mut edge = near.fold(0.0, f64::max);
    for next in far {
        if next > GAP * edge {
            break;
        }
        edge = next;
    }
    edge
}
