//! Light curves: the flux at fixed places of the sky in all frames.
//!
//! In a frame whose photometric scale is P, a source of flux F (in units of the reference) leaves f = P (F − F_ref) in the difference, so that F = F_ref + f/P. F_ref and f share
//! the noise of the reference: Var F = σ_ref² + Var(f/P) + 2 Cov(F_ref, f)/P, where the last term is negative. F_ref is the same for all frames but those that the reference was made of: each
//! of these was subtracted from the mean of the others, and has the F_ref of that.
//!
//! A scale that is wrong by a factor makes F wrong by the same factor, for all stars of the frame (f = P F − P′F_ref gives F′ = F P/P′): the frame's zero point, which is the
//! median of F/F_ref of stars that do not vary (compare Bramich & Freudling 2012, MNRAS 424, 1584).

use std::path::Path;

use anyhow::{Context, Result};
use dia_core::robust;
use dia_photometry::{Flags, ForcedFlux, ForcedOptions, forced};

use super::args::Corrections;
use super::frame::{Place, difference_of, level};
use super::record::{FrameResult, Record};
use super::sources::{Kind, Source};
use crate::crew::Crew;
use crate::notice::Level;
use crate::photometry::read_scenery;

/// What makes a point of a light curve useless.
const SPOILT: Flags = Flags::NOT_FINITE
    .union(Flags::OUTSIDE)
    .union(Flags::MASKED)
    .union(Flags::NO_COVERAGE)
    .union(Flags::PARTLY_MASKED)
    .union(Flags::SATURATED_NEAR)
    .union(Flags::REFERENCE_BAD);

/// A star takes part in the zero points from this S/N on in a frame.
const LEAST_STRENGTH: f64 = 10.0;

/// Fewest stars that tell a zero point.
const FEWEST_STARS: usize = 5;

/// A frame with its result.
pub(super) struct Epoch<'a> {
    pub(super) record: &'a Record,
    pub(super) result: &'a FrameResult,
}

impl Epoch<'_> {
    /// Whether its verdict allows its use.
    pub(super) fn is_good(&self) -> bool {
        level(&self.result.verdict) < Level::Fail
    }
}

/// The light curves of all sources.
pub(super) struct Curves {
    /// For each source.
    pub(super) all: Vec<Curve>,
    /// For each epoch; none where too few stars tell.
    pub(super) zero_points: Vec<Option<ZeroPoint>>,
    /// √(χ²/dof) of the stars that do not vary, in the median.
    pub(super) error_factor: Option<f64>,
}

/// The zero point of a frame: the median of F/F_ref.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ZeroPoint {
    pub(super) value: f64,
    pub(super) sigma: f64,
    pub(super) stars: usize,
}

/// That of one source.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// F_ref and its standard deviation, which is common to all epochs, in the reference's unit.
    pub(super) reference: (f64, f64),
    /// For each epoch.
    pub(super) points: Vec<Point>,
    /// Whether the zero points rest on it.
    pub(super) constant: bool,
}

/// One point.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) forced: ForcedFlux,
    /// F and its standard deviation in the reference's unit.
    pub(super) flux: f64,
    pub(super) sigma: f64,
    /// Whether flags and verdict allow its use.
    pub(super) usable: bool,
}

/// What a light curve is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Statistics {
    pub(super) points: usize,
    /// Weighted mean.
    pub(super) mean: f64,
    /// Standard deviation about it, and what the errors let expect (their root mean square).
    pub(super) rms: f64,
    pub(super) expected: f64,
    pub(super) chi2: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Curve {
    /// Of the usable points, two at least.
    pub(super) fn statistics(&self) -> Option<Statistics> {
        let points: Vec<(f64, f64)> =
            self.points.iter().filter(|p| p.usable).map(|p| (p.flux, p.sigma)).collect();
        let n = points.len();
        if n < 2 {
            return None;
        }
        let weight: f64 = points.iter().map(|(_, s)| s.powi(-2)).sum();
        let mean = points.iter().map(|(f, s)| f * s.powi(-2)).sum::<f64>() / weight;
        let chi2 = points.iter().map(|(f, s)| ((f - mean) / s).powi(2)).sum();
        let squares: f64 = points.iter().map(|(f, _)| (f - mean).powi(2)).sum();
        let expected = points.iter().map(|(_, s)| s * s).sum::<f64>() / n as f64;
        Some(Statistics {
            points: n,
            mean,
            rms: (squares / (n as f64 - 1.0)).sqrt(),
            expected: expected.sqrt(),
            chi2,
            least: points.iter().map(|(f, _)| *f).fold(f64::INFINITY, f64::min),
            most: points.iter().map(|(f, _)| *f).fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// Measures the sources in all epochs. `shape` is that of the reference (rows, columns).
///
/// # Errors
/// If the difference of an epoch cannot be read.
pub(super) fn measured(
    night: &Path,
    epochs: &[Epoch<'_>],
    sources: &[Source],
    shape: (usize, usize),
    crew: Crew,
) -> Result<Curves> {
    let rows = crew.each(epochs, |epoch| {
        let path = difference_of(night, &epoch.record.id);
        let scenery = read_scenery(&path).with_context(|| {
            format!(
                "{}: its light curves cannot be measured; dia night --force makes it anew",
                epoch.record.id
            )
        })?;
        let place = Place::recorded(epoch.result, shape)?;
        let positions: Vec<(f64, f64)> =
            sources.iter().map(|source| place.on_grid(source.x, source.y)).collect();
        let options = ForcedOptions { in_reference: true, ..Default::default() };
        Ok(forced(&scenery.scene(), &positions, &options)?)
    })?;
    let rows = rows.into_iter().collect::<Result<Vec<_>>>()?;
    let mut curves: Vec<Curve> = (0..sources.len())
        .map(|s| curve(epochs, rows.iter().map(|row: &Vec<ForcedFlux>| row[s].clone())))
        .collect();
    let stars: Vec<bool> = sources.iter().map(|source| source.kind == Kind::Star).collect();
    let zero_points = zero_points(&mut curves, &stars, epochs.len());
    let error_factor = error_factor(&curves);
    Ok(Curves { all: curves, zero_points, error_factor })
}

fn curve(epochs: &[Epoch<'_>], rows: impl Iterator<Item = ForcedFlux>) -> Curve {
    let rows: Vec<ForcedFlux> = rows.collect();
    let known = rows.iter().map(|row| row.reference_flux).filter(|flux| flux.value.is_finite());
    let middle = |mut values: Vec<f64>| robust::median(&mut values).unwrap_or(f64::NAN);
    let reference = (
        middle(known.clone().map(|flux| flux.value).collect()),
        middle(known.map(|flux| flux.sigma).collect()),
    );
    let point = |(epoch, forced): (&Epoch<'_>, ForcedFlux)| {
        let (change, own) = (forced.flux_in_reference, forced.reference_flux);
        // A frame that is in the reference was subtracted from the mean of the others.
        let own = if own.value.is_finite() { (own.value, own.sigma) } else { reference };
        let shared = 2.0 * forced.reference_covariance / forced.scale.value;
        let variance = own.1.powi(2) + change.sigma.powi(2) + shared;
        let (flux, sigma) = (own.0 + change.value, variance.sqrt());
        let known = flux.is_finite() && sigma > 0.0;
        let usable = known && epoch.is_good() && !forced.flags.intersects(SPOILT);
        Point { forced, flux, sigma, usable }
    };
    let points = epochs.iter().zip(rows).map(point).collect();
    Curve { reference, points, constant: false }
}

/// Finds the zero points by the stars that do not vary, and marks these.
fn zero_points(curves: &mut [Curve], stars: &[bool], epochs: usize) -> Vec<Option<ZeroPoint>> {
    for (curve, star) in curves.iter_mut().zip(stars) {
        let usable = curve.points.iter().filter(|point| point.usable).count();
        curve.constant = *star && curve.reference.0 > 0.0 && 2 * usable > epochs;
    }
    let mut found = vec![None; epochs];
    for _ in 0..4 {
        for (e, zero_point) in found.iter_mut().enumerate() {
            let ratio = |curve: &Curve| {
                let point = &curve.points[e];
                let strong = point.flux > LEAST_STRENGTH * point.sigma;
                (curve.constant && point.usable && strong).then(|| point.flux / curve.reference.0)
            };
            let ratios: Vec<f64> = curves.iter().filter_map(ratio).collect();
            *zero_point = robust::median_and_scatter(ratios.iter().copied())
                .filter(|_| ratios.len() >= FEWEST_STARS)
                .map(|(value, scatter)| ZeroPoint {
                    value,
                    // The median of n Gaussian values has 1.2533 times the error of their mean.
                    sigma: 1.2533 * scatter / (ratios.len() as f64).sqrt(),
                    stars: ratios.len(),
                });
        }
        // Those that vary by much more than the others do are no stars to rely on.
        let excess: Vec<Option<f64>> = curves
            .iter()
            .map(|curve| {
                let corrected = corrected(curve, &found, None);
                let statistics = corrected.statistics().filter(|_| curve.constant)?;
                Some(statistics.chi2 / (statistics.points as f64 - 1.0))
            })
            .collect();
        let mut values: Vec<f64> = excess.iter().flatten().copied().collect();
        let Some(usual) = robust::median(&mut values) else { break };
        for (curve, excess) in curves.iter_mut().zip(&excess) {
            curve.constant &= excess.is_some_and(|excess| excess <= 3.0 * usual.max(1.0));
        }
    }
    found
}

fn error_factor(curves: &[Curve]) -> Option<f64> {
    let of = |curve: &Curve| {
        let statistics = curve.statistics()?;
        Some((statistics.chi2 / (statistics.points as f64 - 1.0)).sqrt())
    };
    let mut factors: Vec<f64> =
        curves.iter().filter(|curve| curve.constant).filter_map(of).collect();
    robust::median(&mut factors)
}

/// A curve with its fluxes over the zero points, where these are known, and its errors times a factor.
fn corrected(curve: &Curve, zero_points: &[Option<ZeroPoint>], factor: Option<f64>) -> Curve {
    let mut curve = curve.clone();
    let factor = factor.unwrap_or(1.0).max(1.0);
    for (point, zero_point) in curve.points.iter_mut().zip(zero_points) {
        let scale = zero_point.map_or(1.0, |zero_point| zero_point.value);
        point.flux /= scale;
        point.sigma *= factor / scale;
    }
    curve
}

impl Curves {
    /// What errors are multiplied by, if that is asked for.
    pub(super) fn factor(&self, corrections: Corrections) -> Option<f64> {
        self.error_factor.filter(|_| corrections.rescale_errors)
    }

    /// With what is asked for.
    pub(super) fn with(&self, corrections: Corrections) -> Vec<Curve> {
        let none = vec![None; self.zero_points.len()];
        let zero_points = if corrections.apply_zero_points { &self.zero_points } else { &none };
        let factor = self.factor(corrections);
        self.all.iter().map(|curve| corrected(curve, zero_points, factor)).collect()
    }
}

#[cfg(test)]
mod tests;
