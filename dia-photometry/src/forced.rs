//! Forced photometry: the flux at a given place, with an error that holds for any weight.

use std::collections::HashSet;

use dia_core::{Kernel, MaskPlanes};
use rayon::prelude::*;

use crate::filter::whitened_twice;
use crate::linear::{LinearSum, dot, inverse, masked, offsets};
use crate::spectrum::{gradient, shifted};
use crate::{Flags, PhotometryError, Scene, displacement};

/// What is measured at each position.
#[derive(Clone, Debug, PartialEq)]
pub struct ForcedOptions {
    /// Radii of apertures in pixels.
    pub apertures: Vec<f64>,
    /// Whether the position is fitted along with the flux; the flux then is that at the refined position.
    pub refine: bool,
    /// Upper limits are the flux, or zero where it is negative, and this many σ.
    pub limit_sigmas: f64,
}

impl Default for ForcedOptions {
    /// Fixed positions, no apertures, limits of 3 σ.
    fn default() -> Self {
        Self { apertures: Vec::new(), refine: false, limit_sigmas: 3.0 }
    }
}

/// A value and its standard deviation, in the same unit; both NaN where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The value.
    pub value: f64,
    /// σ.
    pub sigma: f64,
}

impl Measured {
    const NONE: Self = Self { value: f64::NAN, sigma: f64::NAN };
}

/// One row of forced photometry; numbers that do not exist are NaN, and the flags say why.
#[derive(Clone, Debug, PartialEq)]
pub struct ForcedFlux {
    /// Column of the position in pixels, refined if that was asked for.
    pub x: f64,
    /// Row of the position.
    pub y: f64,
    /// (σ_x², σ_y², Cov(x, y)) of a refined position in pixels².
    pub position_covariance: Option<[f64; 3]>,
    /// PSF flux of the difference in target ADU.
    pub flux: Measured,
    /// Total flux by each aperture, scaled by the part of the PSF that lies in it, in target ADU.
    pub apertures: Vec<Measured>,
    /// PSF flux of the reference at the same place of the sky, in reference ADU.
    pub reference_flux: Measured,
    /// Covariance of `flux` and `reference_flux`: they share the reference's noise, so it is negative.
    pub reference_covariance: f64,
    /// P, target ADU per reference ADU.
    pub scale: Measured,
    /// f/P in reference ADU, σ_P included.
    pub flux_in_reference: Measured,
    /// The upper limit of the flux in target ADU.
    pub upper_limit: f64,
    /// Σ (D − f P_n)²/V_D over the pixels within 1.5 FWHM, each by its own variance; neighbours correlate.
    pub chi2: f64,
    /// Pixels in that sum less what was fitted.
    pub degrees_of_freedom: usize,
    /// The part of the weight on pixels with a difference, 0 to 1.
    pub coverage: f64,
    /// What is special.
    pub flags: Flags,
}

/// PSF fluxes of the difference at `positions` (x, y) in pixels, 0 in the middle of the first: one row each, in their order.
///
/// f = wᵀD with w = C⁻¹P/(PᵀC⁻¹P) of the sky's noise at that place, of variance σ_f² = Σ w² V_n + Σ (𝒦ᵀw)² V_r + the fit's term: exact for the weight
/// that was used, whatever it is, sources and masks included. No position is searched for, so no flux is biased by the search.
///
/// # Errors
/// That of [`Scene::validate`]. A position that cannot be measured is a row with flags.
pub fn forced(
    scene: &Scene<'_>,
    positions: &[(f64, f64)],
    options: &ForcedOptions,
) -> Result<Vec<ForcedFlux>, PhotometryError> {
    scene.validate()?;
    let mut rows: Vec<ForcedFlux> =
        positions.par_iter().map(|(x, y)| measure(scene, *x, *y, options)).collect();
    let mut seen = HashSet::new();
    for (row, (x, y)) in rows.iter_mut().zip(positions) {
        // −0 is 0.
        if !seen.insert(((x + 0.0).to_bits(), (y + 0.0).to_bits())) {
            row.flags |= Flags::DUPLICATE;
        }
    }
    Ok(rows)
}

fn without_flux(x: f64, y: f64, apertures: usize, flags: Flags) -> ForcedFlux {
    ForcedFlux {
        x,
        y,
        position_covariance: None,
        flux: Measured::NONE,
        apertures: vec![Measured::NONE; apertures],
        reference_flux: Measured::NONE,
        reference_covariance: f64::NAN,
        scale: Measured::NONE,
        flux_in_reference: Measured::NONE,
        upper_limit: f64::NAN,
        chi2: f64::NAN,
        degrees_of_freedom: 0,
        coverage: 0.0,
        flags,
    }
}

fn measure(scene: &Scene<'_>, x: f64, y: f64, options: &ForcedOptions) -> ForcedFlux {
    let nothing = |flags| without_flux(x, y, options.apertures.len(), flags);
    if !(x.is_finite() && y.is_finite()) {
        return nothing(Flags::NOT_FINITE);
    }
    let (height, width) = scene.difference.shape();
    let inside = |v: f64, n: usize| v >= -0.5 && v < n as f64 - 0.5;
    if !(inside(x, width) && inside(y, height)) {
        return nothing(Flags::OUTSIDE);
    }
    let Some(sky) = scene.sky_variance(y, x) else {
        return nothing(Flags::NO_COVERAGE | Flags::MASKED);
    };
    let kernel = scene.kernel_at(y, x);
    let centred = scene.psf(&kernel, 0.0, 0.0);
    let half_width = centred.half_width();
    let fit_at = |fy: f64, fx: f64, moving: bool| {
        let (py, px) = scene.nearest(fy, fx);
        let psf = shifted(&centred, fy - py as f64, fx - px as f64, half_width);
        let there = |dy: isize, dx: isize| {
            scene.difference_at(py as isize + dy, px as isize + dx).is_some()
        };
        let mut templates = vec![psf];
        if moving {
            templates.extend(gradient(&templates[0]).map(negative));
        }
        let all: Vec<&Kernel> = templates.iter().collect();
        let optimal = whitened_twice(&all, &kernel, sky, half_width);
        let coverage = {
            let part = dot(&masked(&optimal[0], there), &templates[0]);
            part / dot(&optimal[0], &templates[0])
        };
        let weights: Vec<Kernel> = optimal.iter().map(|w| masked(w, there)).collect();
        let normal: Vec<Vec<f64>> =
            weights.iter().map(|w| templates.iter().map(|t| dot(w, t)).collect()).collect();
        let sums = inverse(&normal).map(|inverse| {
            let of_row = |row: &Vec<f64>| {
                let weights = combined(row, &weights);
                LinearSum::new(scene, py, px, weights, &kernel)
            };
            inverse.iter().map(of_row).collect::<Vec<_>>()
        });
        (py, px, templates.swap_remove(0), coverage, sums)
    };

    let mut row = nothing(Flags::empty());
    if options.refine {
        refine(scene, &mut row, &fit_at);
    }
    let (py, px, psf, coverage, sums) = fit_at(row.y, row.x, false);
    row.coverage = coverage;
    row.flags |= surroundings(scene, py, px, &psf);
    if coverage.is_nan() || coverage < 0.5 {
        row.flags |= Flags::NO_COVERAGE;
        return row;
    }
    if coverage < 0.9 {
        row.flags |= Flags::PARTLY_MASKED;
    }
    let Some(sum) = sums.and_then(|sums| sums.into_iter().next()) else {
        row.flags |= Flags::NO_COVERAGE;
        return row;
    };
    let measured = |sum: &LinearSum| Measured {
        value: sum.value(scene),
        sigma: sum.covariance(scene, sum).max(0.0).sqrt(),
    };
    row.flux = measured(&sum);
    row.upper_limit = row.flux.value.max(0.0) + options.limit_sigmas * row.flux.sigma;
    for (radius, flux) in options.apertures.iter().zip(&mut row.apertures) {
        let (fy, fx) = (row.y - py as f64, row.x - px as f64);
        let there = |dy: isize, dx: isize| {
            scene.difference_at(py as isize + dy, px as isize + dx).is_some()
        };
        // A pixel at the rim counts by how far its centre is inside.
        let disc = Kernel::from_fn(half_width, |dy, dx| {
            let distance = (dy as f64 - fy).hypot(dx as f64 - fx);
            (radius - distance + 0.5).clamp(0.0, 1.0)
        });
        let disc = masked(&disc, there);
        let part = dot(&disc, &psf);
        if part > 0.0 && *radius <= half_width as f64 {
            let weights = combined(&[1.0 / part], &[disc]);
            *flux = measured(&LinearSum::new(scene, py, px, weights, &kernel));
        }
    }
    scale_and_reference(scene, &mut row, &kernel, &sum);
    (row.chi2, row.degrees_of_freedom) = chi2(scene, (py, px), &psf, &kernel, row.flux.value);
    row.degrees_of_freedom =
        row.degrees_of_freedom.saturating_sub(if options.refine { 3 } else { 1 });
    row
}

type FitAt<'f> = dyn Fn(f64, f64, bool) -> (usize, usize, Kernel, f64, Option<Vec<LinearSum>>) + 'f;

/// Flux and position together by Gauss–Newton: D ≈ f P_n − f δ·∇P_n.
fn refine(scene: &Scene<'_>, row: &mut ForcedFlux, fit_at: &FitAt<'_>) {
    let (start_y, start_x) = (row.y, row.x);
    let (mut y, mut x) = (start_y, start_x);
    for _ in 0..10 {
        let (.., coverage, Some(sums)) = fit_at(y, x, true) else { break };
        let flux = sums[0].value(scene);
        if coverage.is_nan() || coverage < 0.5 || flux == 0.0 {
            break;
        }
        let (dy, dx) = (sums[1].value(scene) / flux, sums[2].value(scene) / flux);
        let moved = (y + dy - start_y).hypot(x + dx - start_x);
        if moved.is_nan() || moved > 1.0 {
            break;
        }
        (y, x) = (y + dy, x + dx);
        if dy.hypot(dx) < 1e-3 {
            let of = |a: usize, b: usize| sums[a].covariance(scene, &sums[b]) / (flux * flux);
            row.position_covariance = Some([of(2, 2), of(1, 1), of(1, 2)]);
            (row.y, row.x) = (y, x);
            return;
        }
    }
    row.flags |= Flags::POSITION;
}

/// Scale, flux in units of the reference, and the reference's own flux.
fn scale_and_reference(scene: &Scene<'_>, row: &mut ForcedFlux, kernel: &Kernel, sum: &LinearSum) {
    let (py, px) = scene.nearest(row.y, row.x);
    let scale = kernel.photometric_scale();
    let sigma_scale = scene.covariance.map_or(0.0, |covariance| {
        let c = scene.design.photometric_scale_functional_at(py, px);
        covariance.product(&c, &c).max(0.0).sqrt()
    });
    row.scale = Measured { value: scale, sigma: sigma_scale };
    let value = row.flux.value / scale;
    row.flux_in_reference =
        Measured { value, sigma: row.flux.sigma.hypot(value * sigma_scale) / scale.abs() };

    // Where the star is in the reference: the kernel displaces it.
    let (cy, cx) = displacement(scene.reference_psf, kernel);
    let (ry, rx) = (row.y - cy, row.x - cx);
    let (qy, qx) = scene.nearest(ry, rx);
    let psf = shifted(
        scene.reference_psf,
        ry - qy as f64,
        rx - qx as f64,
        scene.reference_psf.half_width(),
    );
    let power = dot(&psf, &psf);
    let weights = combined(&[1.0 / power], &[psf]);
    let (mut flux, mut variance) = (0.0, 0.0);
    for ((dy, dx), w) in offsets(&weights).zip(weights.pixels()) {
        let (y, x) = (qy as isize + dy, qx as isize + dx);
        flux += w * scene.reference_at(y, x);
        variance += w * w * scene.reference_variance_at(y, x);
    }
    row.reference_flux = Measured { value: flux, sigma: variance.sqrt() };
    row.reference_covariance = sum.reference_covariance(scene, qy, qx, &weights);
    if flux < -5.0 * variance.sqrt() {
        row.flags |= Flags::REFERENCE_HOLE;
    }
}

/// What the mask says within the PSF.
pub(crate) fn surroundings(scene: &Scene<'_>, y: usize, x: usize, psf: &Kernel) -> Flags {
    let (height, width) = scene.difference.shape();
    let mut flags = Flags::empty();
    if scene.difference_at(y as isize, x as isize).is_none() {
        flags |= Flags::MASKED;
    }
    if scene.mask.at(y, x).contains(MaskPlanes::VARIABLE) {
        flags |= Flags::VARIABLE;
    }
    let peak = psf.centre();
    for ((dy, dx), p) in offsets(psf).zip(psf.pixels()) {
        // Pixels of more than a hundredth of the peak.
        if *p < 0.01 * peak {
            continue;
        }
        let (py, px) = (y as isize + dy, x as isize + dx);
        if py < 0 || px < 0 || py as usize >= height || px as usize >= width {
            flags |= Flags::EDGE;
            continue;
        }
        let planes = scene.mask.at(py as usize, px as usize);
        let pairs = [
            (MaskPlanes::EDGE, Flags::EDGE),
            (MaskPlanes::SATURATED, Flags::SATURATED_NEAR),
            (MaskPlanes::REFERENCE_BAD, Flags::REFERENCE_BAD),
        ];
        for (plane, flag) in pairs {
            flags.set(flag, flags.contains(flag) || planes.contains(plane));
        }
    }
    flags
}

fn chi2(
    scene: &Scene<'_>,
    (y, x): (usize, usize),
    psf: &Kernel,
    kernel: &Kernel,
    flux: f64,
) -> (f64, usize) {
    // The FWHM of a Gaussian with the PSF's effective area, 4πσ² = 1/ΣP².
    let sigma = (1.0 / (4.0 * std::f64::consts::PI * dot(psf, psf))).sqrt();
    let radius = 1.5 * 2.355 * sigma;
    let squares = kernel.squared();
    let (mut sum, mut count) = (0.0, 0);
    for ((dy, dx), p) in offsets(psf).zip(psf.pixels()) {
        let (py, px) = (y as isize + dy, x as isize + dx);
        let Some(d) =
            scene.difference_at(py, px).filter(|_| (dy as f64).hypot(dx as f64) <= radius)
        else {
            continue;
        };
        let through = |((ky, kx), k2): ((isize, isize), &f64)| {
            k2 * scene.reference_variance_at(py - ky, px - kx)
        };
        let reference: f64 = offsets(&squares).zip(squares.pixels()).map(through).sum();
        let variance = scene.target_variance_at(py, px) + reference;
        if variance > 0.0 {
            sum += (d - flux * p).powi(2) / variance;
            count += 1;
        }
    }
    (sum, count)
}

/// Σ_i c_i w_i.
fn combined(coefficients: &[f64], kernels: &[Kernel]) -> Kernel {
    Kernel::from_fn(kernels[0].half_width(), |dy, dx| {
        coefficients.iter().zip(kernels).map(|(c, kernel)| c * kernel.at(dy, dx)).sum()
    })
}

fn negative(kernel: Kernel) -> Kernel {
    combined(&[-1.0], &[kernel])
}
