//! Detections: what changed, where, and what speaks against it.

use dia_core::Image;
use rayon::prelude::*;

use crate::alternatives::alternatives;
use crate::components::{Component, components};
use crate::{Flags, ForcedFlux, ForcedOptions, PhotometryError, Scene, Score, forced};

/// What counts as a detection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectOptions {
    /// Least |S_corr|, in σ.
    pub threshold: f64,
    /// Significant pixels within this many pixels of each other are one detection, of both signs.
    pub reach: usize,
    /// Length over width above which a detection is a trail.
    pub elongation: f64,
    /// By how much twice the log-likelihood has to prefer another explanation before it is flagged.
    pub likelihood_margin: f64,
}

impl Default for DetectOptions {
    /// 5 σ, within 2 pixels, twice as long as wide, 25 (5 σ).
    fn default() -> Self {
        Self { threshold: 5.0, reach: 2, elongation: 2.0, likelihood_margin: 25.0 }
    }
}

/// One detection.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Flux at the refined position, with all of its errors and flags; the flags of the detection are among them.
    pub source: ForcedFlux,
    /// S_corr at its peak, negative where the target is fainter.
    pub significance: f64,
    /// Column and row of the peak.
    pub peak: (usize, usize),
    /// Significant pixels.
    pub pixels: usize,
    /// Whether significant pixels of both signs hang together.
    pub both_signs: bool,
    /// Length over width of the significant pixels, weighted with |S_corr|; 1 for a single one.
    pub elongation: f64,
    /// Twice the log-likelihood ratio of one bright pixel against a point source.
    pub sharpness: f64,
    /// Twice the log-likelihood ratio of a moved K ⊗ R against a point source.
    pub dipole: f64,
}

/// Finds what is significant in the score, both signs, and measures it; the strongest first. Flags never delete.
///
/// # Errors
/// [`PhotometryError::Threshold`] if the threshold is no positive number; those of [`Scene::validate`].
pub fn detect(
    scene: &Scene<'_>,
    score: &Score,
    options: &DetectOptions,
) -> Result<Vec<Detection>, PhotometryError> {
    let threshold = options.threshold;
    if !(threshold.is_finite() && threshold > 0.0) {
        return Err(PhotometryError::Threshold { value: threshold });
    }
    scene.validate()?;
    let significance = &score.significance;
    let found = components(significance, threshold as f32, options.reach);
    let width = significance.width();
    let peak = |component: &Component| {
        let value = |i: &usize| significance.pixels()[*i].abs();
        component.pixels.iter().copied().max_by(|a, b| value(a).total_cmp(&value(b)))
    };
    let peaks: Vec<usize> = found.iter().filter_map(peak).collect();
    let positions: Vec<(f64, f64)> =
        peaks.iter().map(|i| interpolated(significance, i % width, i / width)).collect();
    let forced_options = ForcedOptions { refine: true, ..Default::default() };
    let sources = forced(scene, &positions, &forced_options)?;
    let mut detections: Vec<Detection> = found
        .par_iter()
        .zip(&peaks)
        .zip(sources)
        .map(|((component, peak), source)| {
            describe(scene, significance, component, *peak, source, options)
        })
        .collect();
    detections.sort_by(|a, b| b.significance.abs().total_cmp(&a.significance.abs()));
    Ok(detections)
}

/// The top (x, y) of the parabolas through a peak and its neighbours in both axes; the peak itself where a neighbour is missing.
fn interpolated(significance: &Image<f32>, x: usize, y: usize) -> (f64, f64) {
    let (height, width) = significance.view().shape();
    let at = |y: usize, x: usize| f64::from(significance.view().at(y, x));
    let top = |before: f64, middle: f64, after: f64| {
        let curvature = before - 2.0 * middle + after;
        let moved = 0.5 * (before - after) / curvature;
        if moved.abs() <= 0.5 { moved } else { 0.0 }
    };
    if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
        return (x as f64, y as f64);
    }
    let middle = at(y, x);
    let dx = top(at(y, x - 1), middle, at(y, x + 1));
    let dy = top(at(y - 1, x), middle, at(y + 1, x));
    (x as f64 + dx, y as f64 + dy)
}

fn describe(
    scene: &Scene<'_>,
    significance: &Image<f32>,
    component: &Component,
    peak: usize,
    mut source: ForcedFlux,
    options: &DetectOptions,
) -> Detection {
    let width = significance.width();
    let (y, x) = (peak / width, peak % width);
    let value = |i: usize| f64::from(significance.pixels()[i]);
    let positive = component.pixels.iter().any(|i| value(*i) > 0.0);
    let negative = component.pixels.iter().any(|i| value(*i) < 0.0);
    let strength = value(peak);
    let elongation =
        elongation(
            component,
            width,
            |i| if value(i) * strength > 0.0 { value(i).abs() } else { 0.0 },
        );
    let position = (source.y, source.x);
    let (sharpness, dipole) = alternatives(scene, (y, x), position).unwrap_or((f64::NAN, f64::NAN));
    let margin = options.likelihood_margin;
    source.flags.set(Flags::SHARP, sharpness > margin);
    source.flags.set(Flags::DIPOLE, dipole > margin || positive && negative);
    source.flags.set(Flags::TRAIL, elongation > options.elongation);
    // What a bright star leaves is some per cent of it.
    let scale = source.scale.value;
    let bright = source.reference_flux.value * scale > 20.0 * source.flux.value.abs();
    source.flags.set(Flags::NEAR_BRIGHT, bright);
    Detection {
        source,
        significance: strength,
        peak: (x, y),
        pixels: component.pixels.len(),
        both_signs: positive && negative,
        elongation,
        sharpness,
        dipole,
    }
}

/// √ of the ratio of the principal second moments; a pixel has 1/12 of its own.
fn elongation(component: &Component, width: usize, weight: impl Fn(usize) -> f64) -> f64 {
    let [mut sum, mut sy, mut sx, mut syy, mut sxx, mut sxy] = [0.0; 6];
    for i in &component.pixels {
        let (w, y, x) = (weight(*i), (i / width) as f64, (i % width) as f64);
        sum += w;
        sy += w * y;
        sx += w * x;
        syy += w * y * y;
        sxx += w * x * x;
        sxy += w * x * y;
    }
    let (my, mx) = (sy / sum, sx / sum);
    let (yy, xx) = (syy / sum - my * my + 1.0 / 12.0, sxx / sum - mx * mx + 1.0 / 12.0);
    let xy = sxy / sum - mx * my;
    let half = (0.25 * (yy - xx).powi(2) + xy * xy).sqrt();
    let mean = 0.5 * (yy + xx);
    ((mean + half) / (mean - half).max(1.0 / 12.0)).sqrt()
}
