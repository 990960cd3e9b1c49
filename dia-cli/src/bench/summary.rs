//! From the measurements of many pairs to one line of a table.

use dia_core::robust::{median, median_and_scatter};
use serde::Serialize;

/// What one method made of one pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    /// P; truly 1.
    pub(crate) photometric_scale: f64,
    /// Fitted background minus true sky, in ADU.
    pub(crate) background_error: f64,
    /// Mean (M − I_noiseless)² over the fitted pixels, in ADU².
    pub(crate) mse: f64,
    /// Mean (I − M)², in ADU².
    pub(crate) mean_d2: f64,
    /// Mean fit bias: mean of (I − M)/σ, σ the true noise of the target.
    pub(crate) mfb: f64,
    /// Mean fit variance: variance of (I − M)/σ.
    pub(crate) mfv: f64,
    /// F/σ_min of the brightest star in the difference; truly 0.
    pub(crate) flux: f64,
}

/// What one method made of all pairs of a regime: medians, but for MPB and MPV.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) photometric_scale: f64,
    pub(crate) background_error: f64,
    pub(crate) mse: f64,
    pub(crate) mean_d2: f64,
    pub(crate) mfb: f64,
    pub(crate) mfv: f64,
    /// Mean photometric bias: mean of F/σ_min within 5 robust σ of its median.
    pub(crate) mpb: f64,
    /// Standard error of `mpb`; null for a single pair.
    pub(crate) mpb_error: Option<f64>,
    /// Mean photometric variance: variance of the same; null for a single pair.
    pub(crate) mpv: Option<f64>,
}

impl Summary {
    /// `None` without measurements.
    pub(crate) fn of(measurements: &[Measurement]) -> Option<Self> {
        let median_of = |value: fn(&Measurement) -> f64| {
            median(&mut measurements.iter().map(value).collect::<Vec<f64>>())
        };
        let (mpb, mpv, kept) = clipped_moments(measurements.iter().map(|m| m.flux))?;
        Some(Self {
            photometric_scale: median_of(|m| m.photometric_scale)?,
            background_error: median_of(|m| m.background_error)?,
            mse: median_of(|m| m.mse)?,
            mean_d2: median_of(|m| m.mean_d2)?,
            mfb: median_of(|m| m.mfb)?,
            mfv: median_of(|m| m.mfv)?,
            mpb,
            mpb_error: mpv.map(|variance| (variance / kept as f64).sqrt()),
            mpv,
        })
    }
}

/// Mean, variance and number of the values within 5 robust σ (median absolute deviation) of their median.
fn clipped_moments(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, Option<f64>, usize)> {
    let (centre, scatter) = median_and_scatter(values.clone())?;
    let kept: Vec<f64> = values.filter(|value| (value - centre).abs() <= 5.0 * scatter).collect();
    let count = kept.len() as f64;
    let mean = kept.iter().sum::<f64>() / count;
    let squares: f64 = kept.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (kept.len() > 1).then(|| squares / (count - 1.0)), kept.len()))
}

#[cfg(test)]
mod tests {
    use super::clipped_moments;

    #[test]
    fn moments_are_those_of_the_values_within_five_sigma() {
        let values = [-1.0, 0.0, 1.0, 2.0, -2.0, 1e6];
        // Median 0.5, deviations 1.5, 0.5, 0.5, 1.5, 2.5, 1e6: scatter 2.2.
        assert_eq!(clipped_moments(values.into_iter()), Some((0.0, Some(2.5), 5)));
        assert_eq!(clipped_moments([3.0].into_iter()), Some((3.0, None, 1)));
        assert_eq!(clipped_moments(std::iter::empty()), None);
    }
}
