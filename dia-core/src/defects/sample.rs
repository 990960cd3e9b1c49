//! What the values of an image are like: a sorted regular sample of its good pixels.

use rayon::prelude::*;

use crate::robust::median_and_scatter;
use crate::{ImageView, Mask, Pixel};

/// Pixels of the sample.
const SAMPLE: usize = 1 << 16;

/// Pixels of one task.
const CHUNK: usize = 1 << 16;

/// A run is a spike if it has this many times the pixels of each of its neighbours.
const SPIKE: usize = 10;

/// Neighbouring runs on each side that a spike is compared with.
const NEIGHBOURS: usize = 4;

/// Fewer pixels than this in the sample make no spike.
const FEWEST: usize = 8;

/// An image of more spikes than this repeats itself: it is a model without noise.
const MOST_SPIKES: usize = 8;

/// One value, and how many pixels have exactly that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) value: f64,
    pub(super) count: usize,
}

/// The runs of equal values in sorted `values`.
pub(super) fn runs(values: &[f64]) -> Vec<Run> {
    values.chunk_by(|a, b| a == b).map(|run| Run { value: run[0], count: run.len() }).collect()
}

/// The second largest number of pixels that one of the runs around run `i` has, within `reach` of its value: the largest may be that of another spike.
pub(super) fn neighbours(runs: &[Run], i: usize, reach: f64) -> usize {
    let (first, last) = (i.saturating_sub(NEIGHBOURS), (i + NEIGHBOURS + 1).min(runs.len()));
    let others = runs[first..i].iter().chain(&runs[i + 1..last]);
    let near = others.filter(|run| (run.value - runs[i].value).abs() <= reach);
    near.fold([0, 0], |[most, second], run| {
        if run.count > most { [run.count, most] } else { [most, second.max(run.count)] }
    })[1]
}

/// The distribution of the good pixels of an image, without the values that stand out of it by their number.
pub(super) struct Distribution {
    pub(super) median: f64,
    /// 1.4826 MAD, and at least the spacing of values.
    pub(super) scatter: f64,
    /// The spacing of the values around the median.
    pub(super) step: f64,
    /// The largest part of the pixels that has one value: how coarse the values are.
    pub(super) coarseness: f64,
    /// Values that far more pixels have than each of their neighbours.
    pub(super) spikes: Vec<f64>,
}

impl Distribution {
    /// That of the finite pixels without any plane; `None` if there are fewer than a few, or it is none of measured values.
    pub(super) fn new<T: Pixel>(image: ImageView<'_, T>, mask: &Mask) -> Option<Self> {
        let (pixels, planes) = (image.pixels(), mask.planes());
        // An odd step meets every column of an image of even width.
        let step = (pixels.len() / SAMPLE) | 1;
        let values: Vec<f64> = (0..pixels.len())
            .step_by(step)
            .filter(|&i| planes[i].is_empty() && pixels[i].is_finite())
            .map(|i| pixels[i].widen())
            .collect();
        let values = sorted(values);
        let runs = runs(&values);
        let around = |i: usize| neighbours(&runs, i, f64::INFINITY);
        let is_spike = |i: usize| {
            let count = runs[i].count;
            count >= FEWEST && count >= SPIKE * around(i) && runs.len() > 1
        };
        let (spikes, rest): (Vec<usize>, Vec<usize>) = (0..runs.len()).partition(|&i| is_spike(i));
        let rest: Vec<Run> = rest.into_iter().map(|i| runs[i]).collect();
        let total: usize = rest.iter().map(|run| run.count).sum();
        if total < FEWEST || spikes.len() > MOST_SPIKES {
            return None;
        }
        let repeated = rest.iter().flat_map(|run| std::iter::repeat_n(run.value, run.count));
        let (median, scatter) = median_and_scatter(repeated)?;
        let step = spacing(&rest, total);
        let largest = rest.iter().map(|run| run.count).max()?;
        Some(Self {
            median,
            scatter: scatter.max(step),
            step,
            coarseness: largest as f64 / total as f64,
            spikes: spikes.into_iter().map(|i| runs[i].value).collect(),
        })
    }
}

/// The mean spacing of the values of the middle half, and of one more on each side.
fn spacing(runs: &[Run], total: usize) -> f64 {
    let at = |quantile: usize| {
        let mut below = 0;
        runs.iter()
            .position(|run| {
                below += run.count;
                4 * below >= quantile * total
            })
            .unwrap_or(runs.len() - 1)
    };
    let (first, last) = (at(1).saturating_sub(1), (at(3) + 1).min(runs.len() - 1));
    if first == last {
        return 0.0;
    }
    (runs[last].value - runs[first].value) / (last - first) as f64
}

/// The values in the order of [`f64::total_cmp`], sorted as the integers that are ordered alike, which is faster.
fn sorted(values: Vec<f64>) -> Vec<f64> {
    // Its own inverse.
    let ordered = |bits: i64| bits ^ ((bits >> 63) as u64 >> 1) as i64;
    let mut keys: Vec<i64> = values.into_iter().map(|v| ordered(v.to_bits() as i64)).collect();
    keys.par_sort_unstable();
    keys.into_iter().map(|key| f64::from_bits(ordered(key) as u64)).collect()
}

/// The good finite pixels whose value is `wanted`, sorted.
pub(super) fn sorted_values<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    wanted: impl Fn(f64) -> bool + Sync,
) -> Vec<f64> {
    let pixels = image.pixels().par_chunks(CHUNK).zip(mask.planes().par_chunks(CHUNK));
    let values: Vec<f64> = pixels
        .flat_map_iter(|(pixels, planes)| {
            let good = pixels.iter().zip(planes).map(|(value, planes)| (value.widen(), planes));
            good.filter(|(value, planes)| wanted(*value) && value.is_finite() && planes.is_empty())
                .map(|(value, _)| value)
                .collect::<Vec<_>>()
        })
        .collect();
    sorted(values)
}
