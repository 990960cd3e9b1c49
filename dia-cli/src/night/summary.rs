//! What a night comes to in a few numbers.

use dia_core::robust;
use serde::Serialize;

use super::curves::{Curve, Epoch};
use super::frame::level;
use super::record::Record;
use super::sources::{Kind, Source};
use crate::notice::Level;

/// S/N per frame below which a star is faint.
const FAINT: f64 = 50.0;

/// Counts and figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) frames: usize,
    pub(super) passed: usize,
    pub(super) warned: usize,
    /// Differences whose verdict is FAIL.
    pub(super) failed_verdicts: usize,
    pub(super) without_difference: usize,
    pub(super) sources: usize,
    /// Those that no flag speaks against in at least one frame.
    pub(super) clean_sources: usize,
    pub(super) constant_stars: usize,
    /// Median of rms over expected rms of constant stars below S/N 50.
    pub(super) scatter_over_expected: Option<f64>,
    /// Median scatter of the brightest tenth of the constant stars.
    pub(super) bright_floor_mmag: Option<f64>,
    /// √(χ²/dof) of constant stars, in the median.
    pub(super) error_factor: Option<f64>,
}

impl Summary {
    pub(super) fn of(
        records: &[Record],
        epochs: &[Epoch<'_>],
        sources: &[Source],
        curves: &[Curve],
        error_factor: Option<f64>,
    ) -> Self {
        let of_level = |wanted: Level| {
            epochs.iter().filter(|epoch| level(&epoch.result.verdict) == wanted).count()
        };
        let found = || sources.iter().filter(|source| source.kind == Kind::Found);
        let mut stars: Vec<_> = curves
            .iter()
            .filter(|curve| curve.constant)
            .filter_map(Curve::statistics)
            .filter(|statistics| statistics.mean > 0.0)
            .collect();
        let mut faint: Vec<f64> = stars
            .iter()
            .filter(|s| s.mean < FAINT * s.expected)
            .map(|s| s.rms / s.expected)
            .collect();
        stars.sort_by(|a, b| b.mean.total_cmp(&a.mean));
        // A magnitude is 2.5 log₁₀.
        let milli = 2500.0 / std::f64::consts::LN_10;
        let mut bright: Vec<f64> =
            stars.iter().take(stars.len().div_ceil(10)).map(|s| milli * s.rms / s.mean).collect();
        Self {
            frames: records.len(),
            passed: of_level(Level::Pass),
            warned: of_level(Level::Warn),
            failed_verdicts: of_level(Level::Fail),
            without_difference: records.len() - epochs.len(),
            sources: found().count(),
            clean_sources: found().filter(|source| source.clean > 0).count(),
            constant_stars: stars.len(),
            scatter_over_expected: robust::median(&mut faint),
            bright_floor_mmag: robust::median(&mut bright),
            error_factor,
        }
    }
}
