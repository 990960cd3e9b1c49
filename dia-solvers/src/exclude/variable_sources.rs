//! Sources that changed between reference and target: the pixels that a kernel fit must not see.
//!
//! The light of a bright variable star spoils the fit of every kernel pixel, whatever the loss: its core is an outlier, but its faint wings, all of
//! one sign, are not, and pull the photometric scale along. So its whole footprint has to go. Significance alone cannot tell which sources are
//! variable, for on real images every bright star leaves residuals far beyond photon noise. But they have a common size, relative to the star's flux:
//! a variable is an outlier of this ensemble.
//!
//! 1. Around every pixel, the fluxes D of the residual and F of the model in an aperture as wide as the seeing, and the noise n of D. A PSF that is
//!    matched imperfectly leaves rings and dipoles, which have little net flux.
//! 2. The relative changes D/F of the field's sources (maxima of F above 20 n) have a median c, which a bad photometric scale shifts for all of them
//!    alike, and a scatter beyond their noise: the *error floor* f. Faint pixels tell by which factor s the noise of D exceeds the expected one.
//! 3. A pixel has changed if |D − cF| > t √(s²n² + f²F′²), F′ the largest F within one FWHM, so that a star's flank is judged by its centre. Where
//!    there is no star in the reference, this is the matched filter for transients.
//! 4. Of each group of such pixels the most significant one is a source, unless a single image pixel is more significant than the whole aperture:
//!    that is a cosmic ray, and the loss can deal with it.
//! 5. The footprint is a disc out to where the wings of a Moffat star of this change of flux fall to a tenth of the noise of the sky. It depends on
//!    no threshold along its edge, and cannot leak along structured residuals in a crowded field.
//!
//! The idea of an error floor proportional to flux is that of photometric pipelines; the profile is that of Moffat (1969, A&A 3, 455).

use dia_core::Pixel;
use dia_core::robust::{MAD_TO_SIGMA, median, median_and_scatter};
use dia_core::simd::widest;
use rayon::prelude::*;

use crate::exclude::apertures::{Apertures, SIGMA_PER_FWHM};

/// A source belongs to the ensemble from this F/n on, where its relative change has a noise of 5 %.
const LEAST_SIGNAL: f64 = 20.0;
/// The median of the relative changes means something from this number of sources on,
const SOURCES_FOR_MEDIAN: usize = 3;
/// and their scatter from this number on.
const SOURCES_FOR_SCATTER: usize = 10;
/// Error floor of a field with fewer sources: well above the 0.002 to 0.012 that were measured on 41 pairs of a crowded bulge field.
const UNKNOWN_FLOOR: f64 = 0.03;
/// Flat fields are hardly better than this, and a change of a star by t times as little moves no scale.
const LEAST_FLOOR: f64 = 0.002;
/// Pixels among which typical values are looked for; their medians are good to half a percent.
const SAMPLE: usize = 100_000;
/// Moffat's β, of wings r^−2β. Turbulence alone has 4.8 (Trujillo et al. 2001, MNRAS 328, 977), but telescopes add to the wings.
const BETA: f64 = 3.0;
/// The footprint ends where D falls to this part of the sky's σ. With 0.3, 0.002 of a scale of 0.79 was still missing beside a star of 400 σ, with
/// 0.1 nothing (0.0001), in simulated fields of 512² pixels.
const WING: f64 = 0.1;

/// What counts as a variable source, and how much of the field may be masked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariableSourceOptions {
    /// t, in σ of noise and error floor together. Default 6: with it, no constant star and no cosmic ray was taken for a source in 45 simulated
    /// fields of 30 to 200 stars per 100² pixels, and 561 of 569 events above 8 σ were found. With 5, four of 42 real pairs
    /// did not settle within five refits instead of one, and the median of what they masked rose from 0.015 to 0.021.
    pub threshold: f64,
    /// Largest fraction of the unmasked pixels to be masked, the most significant sources first. Default 0.1: 41 pairs of a crowded field
    /// needed 0.003 to 0.055, half of them less than 0.015; a fit that needs more is wrong in some other way.
    pub max_fraction: f64,
}

impl VariableSourceOptions {
    /// 6 σ, and at most a tenth of the pixels.
    pub const DEFAULT: Self = Self { threshold: 6.0, max_fraction: 0.1 };
}

impl Default for VariableSourceOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A source that changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariableSource {
    /// Column of the valid region.
    pub x: usize,
    /// Row of the valid region.
    pub y: usize,
    /// Change of its flux D − cF in ADU, as a Gaussian aperture sees it.
    pub change: f64,
    /// Flux F of the model in ADU, as the same aperture sees it.
    pub flux: f64,
    /// |D − cF| in σ of noise and error floor.
    pub significance: f64,
    /// Radius of its footprint in pixels.
    pub radius: f64,
}

/// Footprints of the sources that changed, and what the field told about its errors.
#[derive(Clone, Debug, PartialEq)]
pub struct VariableSources {
    /// Pixels in footprints, of those that were not masked before; row after row.
    pub masked: Vec<bool>,
    /// The part of the unmasked pixels that they are.
    pub fraction: f64,
    /// The masked sources, the most significant first. One inside the footprint of a more significant one is not told apart from it.
    pub sources: Vec<VariableSource>,
    /// Significant sources that were not masked, lest [`max_fraction`](VariableSourceOptions::max_fraction) be exceeded.
    pub left_out: usize,
    /// c, the median relative change of all sources of the field. Far from 0, the fit is wrong for all stars alike, in scale or width.
    pub common_change: f64,
    /// Its σ, by the scatter of the sources' changes; 0 where they are too few for a common one.
    pub common_change_error: f64,
    /// f, the scatter of relative changes beyond noise.
    pub error_floor: f64,
    /// s ≥ 1, by which the noise in apertures exceeds what the variance tells.
    pub noise_excess: f64,
}

/// Finds sources whose flux changed.
///
/// `residual` is I − M and `flux` the stars' part of M, M minus background, in ADU; `variance` is σ² of the residual in ADU², and infinite, NaN or
/// not positive where a pixel is masked, whose other values do not matter. All are rows of `width` pixels. `fwhm` is the seeing of the target in
/// pixels.
///
/// A fit that was repeated without the sources should be judged with the variance that masks only what was masked before: sources are found anew
/// every time, and those that a bad first fit brought about vanish. Of 45 simulated fields and 42 real pairs, 81 had the same pixels masked again
/// after one to three refits, and four after four. In one a source at the threshold came and went, in one the edge of a footprint: end after a few
/// refits.
///
/// On one core (AVX-512) 1024² pixels of `f32` take 31 to 36 ms at a FWHM of 5 pixels.
///
/// # Panics
/// If the slices differ in length, that is not a multiple of `width`, or `fwhm` is not positive and finite.
pub fn variable_sources<T: Pixel>(
    residual: &[T],
    variance: &[T],
    flux: &[T],
    width: usize,
    fwhm: f64,
    options: &VariableSourceOptions,
) -> VariableSources {
    let [mut residual, mut variance, mut flux] = [residual, variance, flux].map(<[T]>::to_vec);
    variable_sources_in_place([&mut residual, &mut variance, &mut flux], width, fwhm, options)
}

/// As [`variable_sources`]; sets residual, variance and flux to zero where a pixel is masked.
pub(crate) fn variable_sources_in_place<T: Pixel>(
    [residual, variance, flux]: [&mut [T]; 3],
    width: usize,
    fwhm: f64,
    options: &VariableSourceOptions,
) -> VariableSources {
    assert!(residual.len() == variance.len() && residual.len() == flux.len(), "one field");
    assert!(width > 0 && residual.len().is_multiple_of(width), "rows of one width");
    assert!(fwhm > 0.0 && fwhm.is_finite(), "a seeing");
    let mut used = vec![false; residual.len()];
    let rows = residual.par_chunks_mut(width).zip(variance.par_chunks_mut(width));
    let rows = rows.zip(flux.par_chunks_mut(width)).zip(used.par_chunks_mut(width));
    rows.for_each(|(((residual, variance), flux), used)| {
        widest(
            #[inline(always)]
            || {
                let pixels = residual.iter_mut().zip(variance).zip(flux).zip(used);
                for (((r, v), f), used) in pixels {
                    *used = r.is_finite() & v.is_finite() & (*v > T::zero()) & f.is_finite();
                    let kept = |value: T| if *used { value } else { T::zero() };
                    (*r, *v, *f) = (kept(*r), kept(*v), kept(*f));
                }
            },
        );
    });
    let field = Field { width, height: residual.len() / width, fwhm };
    let apertures = Apertures::new([&*residual, &*flux, &*variance], &used, width, fwhm);
    let errors = Errors::of(&apertures, field);
    let sharpest = |i: usize| {
        let around = field.around(i, (0.5 * fwhm).round() as usize).filter(|&j| used[j]);
        let excess = |j: usize| residual[j].widen() - errors.common_change * flux[j].widen();
        around.map(|j| excess(j).abs() / variance[j].widen().sqrt()).fold(0.0, f64::max)
    };
    let mut peaks = peaks(&apertures, &errors, field, options.threshold);
    peaks.retain(|&(i, _)| {
        sharpest(i) <= errors.change(&apertures, i).abs() / apertures.noise[i].widen()
    });
    peaks.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));

    let mut found = VariableSources {
        masked: vec![false; used.len()],
        fraction: 0.0,
        sources: Vec::new(),
        left_out: 0,
        common_change: errors.common_change,
        common_change_error: errors.common_change_error,
        error_floor: errors.floor,
        noise_excess: errors.noise_excess,
    };
    let unmasked = used.iter().filter(|used| **used).count();
    let mut budget = (options.max_fraction * unmasked as f64) as usize;
    let allowed = budget;
    for (i, significance) in peaks {
        if found.masked[i] {
            continue;
        }
        let change = errors.change(&apertures, i);
        let radius = field.footprint(change.abs() / errors.sky_noise);
        let disc: Vec<usize> =
            field.disc(i, radius).filter(|&j| used[j] && !found.masked[j]).collect();
        if found.left_out > 0 || disc.len() > budget {
            found.left_out += 1;
            continue;
        }
        budget -= disc.len();
        for j in disc {
            found.masked[j] = true;
        }
        let (x, y, flux) = (i % width, i / width, apertures.flux[i].widen());
        found.sources.push(VariableSource { x, y, change, flux, significance, radius });
    }
    found.fraction = (allowed - budget) as f64 / unmasked.max(1) as f64;
    found
}

/// Errors of relative fluxes that all sources of a field share.
#[derive(Clone, Copy, Debug)]
struct Errors {
    /// c and its σ.
    common_change: f64,
    common_change_error: f64,
    /// f.
    floor: f64,
    /// s.
    noise_excess: f64,
    /// The median of n in ADU: the noise of the sky, unless stars are everywhere.
    sky_noise: f64,
}

impl Errors {
    /// From the maxima of F, and from the fainter half of all pixels.
    fn of<T: Pixel>(apertures: &Apertures<T>, field: Field) -> Self {
        let signal = |i: usize| apertures.flux[i].widen() / apertures.noise[i].widen();
        let relative = |i: usize| apertures.change[i].widen() / apertures.flux[i].widen();
        let mut sources = apertures.places(|_, flux, noise| flux / noise > LEAST_SIGNAL);
        sources.retain(|&i| field.is_largest_around(&apertures.flux, i));
        let changes: Vec<f64> = sources.iter().map(|&i| relative(i)).collect();
        let (common_change, scatter) = median_and_scatter(changes.iter().copied())
            .filter(|_| changes.len() >= SOURCES_FOR_MEDIAN)
            .unwrap_or_default();
        // The median of Gaussian numbers scatters by √(π/2) times as much as their mean.
        let common_change_error =
            (0.5 * std::f64::consts::PI / changes.len().max(1) as f64).sqrt() * scatter;

        // An odd stride visits all columns of images of the usual widths.
        let sample = (0..apertures.noise.len()).step_by((apertures.noise.len() / SAMPLE) | 1);
        let sample: Vec<usize> = sample.filter(|&i| apertures.noise[i].is_finite()).collect();
        let of_sample = |value: &dyn Fn(usize) -> f64| {
            median(&mut sample.iter().map(|&i| value(i)).collect::<Vec<_>>())
        };
        let sky_noise = of_sample(&|i| apertures.noise[i].widen()).unwrap_or(1.0);
        let faint = of_sample(&signal).unwrap_or(0.0);
        let mut errors =
            Self { common_change, common_change_error, floor: 0.0, noise_excess: 1.0, sky_noise };
        let faint = sample.iter().copied().filter(|&i| signal(i) <= faint);
        let mut deviations: Vec<f64> =
            faint.map(|i| errors.change(apertures, i).abs() / apertures.noise[i].widen()).collect();
        errors.noise_excess = median(&mut deviations).map_or(1.0, |d| (MAD_TO_SIGMA * d).max(1.0));

        errors.floor = if sources.len() < SOURCES_FOR_SCATTER {
            UNKNOWN_FLOOR
        } else {
            // The noise of the fainter half hides the floor.
            sources.sort_by(|&a, &b| signal(b).total_cmp(&signal(a)).then(a.cmp(&b)));
            sources.truncate(sources.len() / 2);
            let deviations = sources
                .iter()
                .map(|&i| ((relative(i) - common_change).abs(), errors.noise_excess / signal(i)));
            scatter_beyond_noise(&deviations.collect::<Vec<_>>()).max(LEAST_FLOOR)
        };
        errors
    }

    /// D − cF in ADU.
    fn change<T: Pixel>(&self, apertures: &Apertures<T>, i: usize) -> f64 {
        apertures.change[i].widen() - self.common_change * apertures.flux[i].widen()
    }
}

/// The f with which the deviations d of noise n have the scatter 1 in units of √(n² + f²), to a thousandth of the largest; 0 if noise is enough.
fn scatter_beyond_noise(deviations: &[(f64, f64)]) -> f64 {
    let too_small = |f: f64| {
        let mut normalised: Vec<f64> = deviations.iter().map(|(d, n)| d / n.hypot(f)).collect();
        median(&mut normalised).is_some_and(|d| MAD_TO_SIGMA * d > 1.0)
    };
    if !too_small(0.0) {
        return 0.0;
    }
    // With the scatter of d itself no noise is left.
    let mut all: Vec<f64> = deviations.iter().map(|(d, _)| *d).collect();
    let (mut low, mut high) = (0.0, median(&mut all).map_or(0.0, |d| MAD_TO_SIGMA * d));
    for _ in 0..10 {
        let middle = f64::midpoint(low, high);
        if too_small(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Pixels of changed flux that are the most significant ones within one FWHM, and their significance.
fn peaks<T: Pixel>(
    apertures: &Apertures<T>,
    errors: &Errors,
    field: Field,
    threshold: f64,
) -> Vec<(usize, f64)> {
    // The floor only adds to the noise: most pixels need not look for the star that they belong to.
    let candidates = apertures.places(|change, flux, noise| {
        (change - errors.common_change * flux).abs() > threshold * (errors.noise_excess * noise)
    });
    let significance = |&i: &usize| {
        let change = errors.change(apertures, i).abs();
        let noise = errors.noise_excess * apertures.noise[i].widen();
        let flux =
            field.around(i, field.reach()).map(|j| apertures.flux[j]).fold(T::zero(), T::max);
        let significance = change / noise.hypot(errors.floor * flux.widen());
        (significance > threshold).then_some((i, significance))
    };
    let mut changed: Vec<(usize, f64)> = candidates.par_iter().filter_map(significance).collect();
    let mut significances = vec![T::zero(); apertures.noise.len()];
    for (i, significance) in &changed {
        significances[*i] = T::narrow(*significance);
    }
    changed.retain(|(i, _)| field.is_largest_around(&significances, *i));
    changed.iter().map(|(i, _)| (*i, significances[*i].widen())).collect()
}

/// The pixels of the field.
#[derive(Clone, Copy, Debug)]
struct Field {
    width: usize,
    height: usize,
    /// Seeing in pixels.
    fwhm: f64,
}

impl Field {
    /// One FWHM in whole pixels: what is nearer belongs together.
    fn reach(self) -> usize {
        self.fwhm.round().max(1.0) as usize
    }

    /// Pixels of the square of 2 `reach` + 1 around pixel `i`, as far as it is in the field.
    fn around(self, i: usize, reach: usize) -> impl Iterator<Item = usize> {
        let (x, y) = (i % self.width, i / self.width);
        let columns = x.saturating_sub(reach)..(x + reach + 1).min(self.width);
        let rows = y.saturating_sub(reach)..(y + reach + 1).min(self.height);
        rows.flat_map(move |y| columns.clone().map(move |x| y * self.width + x))
    }

    /// Pixels of the field within `radius` of pixel `i`.
    fn disc(self, i: usize, radius: f64) -> impl Iterator<Item = usize> {
        let distance2 = move |j: usize| {
            (j % self.width).abs_diff(i % self.width).pow(2)
                + (j / self.width).abs_diff(i / self.width).pow(2)
        };
        let square = self.around(i, radius.ceil() as usize);
        square.filter(move |&j| distance2(j) as f64 <= radius * radius)
    }

    /// Whether no value within one FWHM exceeds that at `i`.
    fn is_largest_around<T: Pixel>(self, values: &[T], i: usize) -> bool {
        // The nearest neighbours spare most pixels the whole square.
        self.around(i, 1).chain(self.around(i, self.reach())).all(|j| values[j] <= values[i])
    }

    /// Radius of the disc in which a star whose flux changed by `signal` times the sky's noise in an aperture is seen: r of
    /// ΔF (β − 1)/(πα²) (r/α)^−2β = `WING` σ, where the aperture of Gaussian σ_g has a noise of 2√π σ_g σ; one FWHM at least.
    fn footprint(self, signal: f64) -> f64 {
        let alpha = 0.5 * self.fwhm / (2.0_f64.powf(1.0 / BETA) - 1.0).sqrt();
        let aperture = 2.0 * std::f64::consts::PI.sqrt() * SIGMA_PER_FWHM * self.fwhm;
        let centre = signal * aperture * (BETA - 1.0) / (std::f64::consts::PI * alpha.powi(2));
        (alpha * (centre / WING).powf(0.5 / BETA)).max(self.fwhm)
    }
}

#[cfg(test)]
mod tests;
