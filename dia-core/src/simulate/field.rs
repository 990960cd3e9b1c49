//! What is in the sky and what hits the detector: stars, variables, transients, cosmic rays, dead columns.

use std::f64::consts::PI;

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::SimulationOptions;
use super::profile::pixels_within;
use super::random::{Purpose, below, between, between_logarithmic, generator};
use crate::Mask;

/// A star that does not change. Both places and fluxes are exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Star {
    /// Column in the target; subtract [`SimulationOptions::shift_x`] for the reference.
    pub x: f64,
    /// Row in the target; subtract [`SimulationOptions::shift_y`] for the reference.
    pub y: f64,
    /// Flux in reference ADU.
    pub flux_reference: f64,
    /// Flux in target ADU, P times that in the reference; without the variability.
    pub flux_target: f64,
}

/// Why the target differs from the reference at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A star of both images with another flux in the target.
    Variable,
    /// A star that only the target has.
    Transient,
}

/// A true change between reference and target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What changed.
    pub kind: EventKind,
    /// Column in the target.
    pub x: f64,
    /// Row in the target.
    pub y: f64,
    /// ΔF: flux in the target minus P times the flux in the reference, in target ADU.
    pub flux_change: f64,
    /// |ΔF| √(Σ_p ψ²/σ²), the signal-to-noise ratio of a matched filter on the difference from M_true, with σ² the
    /// target's variance at M_true; the reference's own noise would lower it a little.
    pub signal_to_noise: f64,
    /// Whether a masked pixel of either image lies within one width (FWHM) of it: it may then be impossible to find.
    pub masked: bool,
}

/// A pixel hit by a cosmic ray.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CosmicRayPixel {
    /// Row of the target.
    pub y: usize,
    /// Column of the target.
    pub x: usize,
    /// What was added to the pixel, in ADU (before saturation).
    pub value: f64,
}

/// Stars are drawn up to this far outside the image, in pixels.
pub(super) const MARGIN: f64 = 48.0;

/// The longest track of a cosmic ray in pixels.
pub(super) const LONGEST_TRACK: f64 = 8.0;

pub(super) fn draw_stars(options: &SimulationOptions) -> Vec<Star> {
    let mut rng = generator(options.seed, Purpose::Stars, 0);
    let extent = |pixels: usize| (-0.5 - MARGIN, pixels as f64 - 0.5 + MARGIN);
    let (columns, rows) = (extent(options.width), extent(options.height));
    let area = (columns.1 - columns.0) * (rows.1 - rows.0);
    let count = (options.density * area / 1e4).round() as usize;
    // N(> F) ∝ F^−s: (F_max^−s, F_min^−s) holds F^−s evenly.
    let slope = options.flux_slope;
    let powers = (options.flux_max.powf(-slope), options.flux_min.powf(-slope));
    (0..count)
        .map(|_| {
            let x = between(&mut rng, columns);
            let y = between(&mut rng, rows);
            let flux_target = between(&mut rng, powers)
                .powf(-1.0 / slope)
                .clamp(options.flux_min, options.flux_max);
            Star { x, y, flux_reference: flux_target / options.scale, flux_target }
        })
        .collect()
}

/// Columns and rows that are a margin away from the image's borders.
pub(super) fn inner(options: &SimulationOptions) -> ((f64, f64), (f64, f64)) {
    let extent = |pixels: usize| (options.event_margin, (pixels - 1) as f64 - options.event_margin);
    (extent(options.width), extent(options.height))
}

/// `sensitivity(x, y)` is the signal-to-noise ratio of 1 ADU of flux in a star there.
pub(super) fn draw_variables(
    options: &SimulationOptions,
    stars: &[Star],
    sensitivity: impl Fn(f64, f64) -> f64,
) -> Vec<Event> {
    let mut rng = generator(options.seed, Purpose::Variables, 0);
    let (columns, rows) = inner(options);
    let contains = |range: (f64, f64), x: f64| range.0 <= x && x <= range.1;
    let mut candidates: Vec<&Star> =
        stars.iter().filter(|star| contains(columns, star.x) && contains(rows, star.y)).collect();
    // The brightest one is never among the others: they must not depend on whether it varies.
    let brightest = (0..candidates.len())
        .max_by(|&i, &j| candidates[i].flux_target.total_cmp(&candidates[j].flux_target))
        .map(|i| candidates.swap_remove(i));
    let event = |star: &Star, relative_change: f64| {
        let flux_change = relative_change * star.flux_target;
        let signal_to_noise = flux_change.abs() * sensitivity(star.x, star.y);
        let (x, y, kind) = (star.x, star.y, EventKind::Variable);
        Event { kind, x, y, flux_change, signal_to_noise, masked: false }
    };
    let sign = |rng: &mut Xoshiro256PlusPlus| if rng.random::<bool>() { 1.0 } else { -1.0 };
    let mut events = Vec::new();
    // Its sign is drawn in any case, so that the others find the generator in the same state.
    let change = sign(&mut rng) * options.variable_amplitude.1;
    events.extend(brightest.filter(|_| options.brightest_varies).map(|star| event(star, change)));
    for _ in 0..options.variables.min(candidates.len()) {
        let star = candidates.swap_remove(below(&mut rng, candidates.len()));
        let amplitude = between(&mut rng, options.variable_amplitude);
        events.push(event(star, sign(&mut rng) * amplitude));
    }
    events
}

/// Transients keep two widths away from stars that are brighter, and four from each other.
pub(super) fn draw_transients(
    options: &SimulationOptions,
    stars: &[Star],
    sensitivity: impl Fn(f64, f64) -> f64,
) -> Vec<Event> {
    const TRIES: usize = 200;
    let (columns, rows) = inner(options);
    let mut events: Vec<Event> = Vec::new();
    for index in 0..options.transients {
        let mut rng = generator(options.seed, Purpose::Transients, index);
        let ratio = between_logarithmic(&mut rng, options.transient_signal_to_noise);
        let mut best: Option<(f64, f64, f64, f64)> = None;
        for _ in 0..TRIES {
            let (x, y) = (between(&mut rng, columns), between(&mut rng, rows));
            let flux = ratio / sensitivity(x, y);
            // Distance from what forbids a place, in units of the distance that must be kept.
            let fwhm = options.target_profile(x, y).fwhm;
            let brighter = stars.iter().filter(|star| star.flux_target > flux);
            let room = brighter
                .map(|star| (star.x - x).hypot(star.y - y) / (2.0 * fwhm))
                .chain(events.iter().map(|other| (other.x - x).hypot(other.y - y) / (4.0 * fwhm)))
                .fold(f64::INFINITY, f64::min);
            if best.is_none_or(|(best_room, ..)| room > best_room) {
                best = Some((room, x, y, flux));
            }
            if room >= 1.0 {
                break;
            }
        }
        // In a field without any such place, the loneliest one that was tried.
        events.extend(best.map(|(_, x, y, flux_change)| Event {
            kind: EventKind::Transient,
            x,
            y,
            flux_change,
            signal_to_noise: ratio,
            masked: false,
        }));
    }
    events
}

/// Straight tracks of 1 to 8 px of random place and direction, with a random charge in each pixel.
pub(super) fn draw_cosmic_rays(options: &SimulationOptions) -> Vec<CosmicRayPixel> {
    let mut hits: Vec<CosmicRayPixel> = Vec::new();
    for index in 0..options.cosmic_rays {
        let mut rng = generator(options.seed, Purpose::CosmicRays, index);
        let start_x = below(&mut rng, options.width) as f64;
        let start_y = below(&mut rng, options.height) as f64;
        let angle = between(&mut rng, (0.0, 2.0 * PI));
        let length = 1 + below(&mut rng, LONGEST_TRACK as usize);
        // One pixel per step along the longer axis.
        let (sine, cosine) = angle.sin_cos();
        let longer = sine.abs().max(cosine.abs());
        for step in 0..length {
            let value = between_logarithmic(&mut rng, options.cosmic_ray_charge) / options.gain;
            let x = (start_x + step as f64 * cosine / longer).round();
            let y = (start_y + step as f64 * sine / longer).round();
            let inside = |x: f64, pixels: usize| (0.0..pixels as f64).contains(&x);
            if inside(x, options.width) && inside(y, options.height) {
                hits.push(CosmicRayPixel { y: y as usize, x: x as usize, value });
            }
        }
    }
    hits
}

pub(super) fn draw_bad_columns(options: &SimulationOptions) -> Vec<usize> {
    let mut rng = generator(options.seed, Purpose::BadColumns, 0);
    let mut columns: Vec<usize> = (0..options.width).collect();
    let mut bad: Vec<usize> = (0..options.bad_columns)
        .map(|_| columns.swap_remove(below(&mut rng, columns.len())))
        .collect();
    bad.sort_unstable();
    bad
}

/// Whether a masked pixel lies within `radius` of x and y.
pub(super) fn touches_mask(mask: &Mask, x: f64, y: f64, radius: f64) -> bool {
    pixels_within(y, radius, mask.height()).any(|row| {
        let reach = (radius * radius - (row as f64 - y).powi(2)).max(0.0).sqrt();
        pixels_within(x, reach, mask.width()).any(|column| !mask.at(row, column).is_empty())
    })
}
