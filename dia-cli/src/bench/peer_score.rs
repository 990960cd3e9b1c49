//! How good a difference image is, by the truth of the simulation.

use dia_core::robust::median;
use dia_core::simulate::{EventKind, SimulatedPair};
use dia_core::{Image, KernelShape, KernelSupport};
use serde::Serialize;

use crate::matched_filter::{PointSpread, measure};

/// Over the pixels that are good in both images, lie a half-width inside, and are far from everything that changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Score {
    /// Slope of the model M = I − D on the true one, minus 1: the relative error of the photometric scale.
    pub(crate) scale_error: f64,
    /// Mean of D/σ, σ the true noise of the target.
    pub(crate) mfb: f64,
    /// Variance of D/σ.
    pub(crate) mfv: f64,
    /// The rms of (M − M_true)/σ.
    pub(crate) model_error: f64,
    /// Measured over true flux of the transients, weighted by their significance; null without any that is not masked.
    pub(crate) transient_recovery: Option<f64>,
    /// Pixels that count.
    pub(crate) pixels: f64,
}

/// Widths (FWHM) from an event or a cosmic ray within which pixels do not count.
const CLEARANCE: f64 = 3.0;

/// Values that stand for no value: HOTPANTS fills with 1e-30.
const FILL: f32 = 1e-20;

/// Scores a difference in ADU of the target.
pub(crate) fn score(pair: &SimulatedPair, difference: &Image<f32>, half_width: usize) -> Score {
    let options = &pair.truth.options;
    let (height, width) = pair.target.view().shape();
    let support = KernelSupport::new(half_width, KernelShape::Square);
    let touched = pair.reference_mask.touched_by(&support);
    let clear = clear_pixels(pair);
    let known = difference.map(|d| if d.abs() < FILL { f32::NAN } else { d });
    let inside = |i: usize, length: usize| (half_width..length - half_width).contains(&i);
    let counts = |i: usize| {
        inside(i / width, height)
            && inside(i % width, width)
            && pair.target_mask.planes()[i].is_empty()
            && !touched[i]
            && clear[i]
            && known.pixels()[i].is_finite()
    };
    let indices: Vec<usize> = (0..height * width).filter(|i| counts(*i)).collect();
    let count = indices.len() as f64;
    // D/σ, M/σ, M_true/σ and 1/σ.
    let normalised = || {
        indices.iter().map(|&i| {
            let w = pair.target_variance.pixels()[i].sqrt().recip();
            let d = f64::from(known.pixels()[i]);
            [d * w, (pair.target.pixels()[i] - d) * w, pair.target_noiseless.pixels()[i] * w, w]
        })
    };
    let mfb = normalised().map(|[z, ..]| z).sum::<f64>() / count;
    let mfv = normalised().map(|[z, ..]| (z - mfb).powi(2)).sum::<f64>() / (count - 1.0);
    let model_error =
        (normalised().map(|[_, m, t, _]| (m - t).powi(2)).sum::<f64>() / count).sqrt();
    // Weighted least squares of M on M_true and a constant; the constant drops out with the weighted means.
    let weight: f64 = normalised().map(|[.., w]| w * w).sum();
    let mean = |k: usize| normalised().map(|v| v[k] * v[3]).sum::<f64>() / weight;
    let (mean_model, mean_truth) = (mean(1), mean(2));
    let (mut cross, mut square) = (0.0, 0.0);
    for [_, m, t, w] in normalised() {
        cross += (m - mean_model * w) * (t - mean_truth * w);
        square += (t - mean_truth * w).powi(2);
    }
    let variance = pair.target_variance.map(|v| v as f32);
    let psf = PointSpread { psf: options.psf, fwhm: options.target_fwhm };
    let (mut found, mut truth) = (0.0, 0.0);
    for event in pair.truth.events.iter().filter(|e| e.kind == EventKind::Transient && !e.masked) {
        if let Some(source) = measure(&known, &variance, psf, event.x, event.y) {
            let weight = source.sigma.powi(-2);
            found += weight * source.flux * event.flux_change;
            truth += weight * event.flux_change.powi(2);
        }
    }
    Score {
        scale_error: cross / square - 1.0,
        mfb,
        mfv,
        model_error,
        transient_recovery: (truth > 0.0).then(|| found / truth),
        pixels: count,
    }
}

/// The pixels that are not near an event or a cosmic ray.
fn clear_pixels(pair: &SimulatedPair) -> Vec<bool> {
    let (height, width) = pair.target.view().shape();
    let radius = CLEARANCE * pair.truth.options.target_fwhm;
    let mut clear = vec![true; height * width];
    let events = pair.truth.events.iter().map(|e| (e.x, e.y));
    let rays = pair.truth.cosmic_rays.iter().map(|c| (c.x as f64, c.y as f64));
    for (x, y) in events.chain(rays) {
        let range = |centre: f64, length: usize| {
            let first = (centre - radius).max(0.0) as usize;
            first.min(length)..((centre + radius).max(0.0) as usize + 1).min(length)
        };
        for py in range(y, height) {
            for px in range(x, width) {
                if (px as f64 - x).hypot(py as f64 - y) <= radius {
                    clear[py * width + px] = false;
                }
            }
        }
    }
    clear
}

impl Score {
    /// The median of each number; `None` without scores.
    pub(crate) fn median_of(scores: &[Self]) -> Option<Self> {
        let of = |value: &dyn Fn(&Self) -> Option<f64>| {
            median(&mut scores.iter().filter_map(value).collect::<Vec<f64>>())
        };
        Some(Self {
            scale_error: of(&|s| Some(s.scale_error))?,
            mfb: of(&|s| Some(s.mfb))?,
            mfv: of(&|s| Some(s.mfv))?,
            model_error: of(&|s| Some(s.model_error))?,
            transient_recovery: of(&|s| s.transient_recovery),
            pixels: of(&|s| Some(s.pixels))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use dia_core::simulate::{SimulationOptions, simulate};

    use super::{FILL, score};

    #[test]
    fn the_true_difference_scores_perfectly_and_a_wrong_scale_shows() {
        let options = SimulationOptions {
            height: 300,
            width: 300,
            transients: 10,
            ..SimulationOptions::default()
        };
        let pair = simulate(&options).unwrap();
        let difference = |scale: f64| {
            let pixels = pair.target.pixels().iter().zip(pair.target_noiseless.pixels());
            let values = pixels.map(|(i, m)| (i - scale * m) as f32).collect();
            dia_core::Image::from_vec(300, 300, values).unwrap()
        };
        let perfect = score(&pair, &difference(1.0), 9);
        // D is noise alone: of σ = 1, over N > 30 000 pixels. Rounding to f32 is below 1e-3 σ.
        assert!(perfect.pixels > 3e4, "{perfect:?}");
        assert!(perfect.scale_error.abs() < 1e-6 && perfect.model_error < 1e-3, "{perfect:?}");
        assert!(perfect.mfb.abs() < 5.0 / perfect.pixels.sqrt(), "{perfect:?}");
        assert!((perfect.mfv - 1.0).abs() < 5.0 * (2.0 / perfect.pixels).sqrt(), "{perfect:?}");
        // Ten transients of S/N ≥ 8: together better than 4 %; the filter's circular profile for stars of 5 % ellipticity costs less.
        assert!((perfect.transient_recovery.unwrap() - 1.0).abs() < 0.15, "{perfect:?}");
        let wrong = score(&pair, &difference(1.02), 9);
        assert!((wrong.scale_error - 0.02).abs() < 1e-6, "{wrong:?}");

        // Pixels of a fill value do not count.
        let mut filled = difference(1.0);
        filled.pixels_mut()[..150 * 300].fill(FILL / 10.0);
        assert!(score(&pair, &filled, 9).pixels < 0.6 * perfect.pixels);
    }
}
