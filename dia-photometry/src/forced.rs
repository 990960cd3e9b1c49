//! Forced photometry: the flux at a given place, with an error that holds for any weight.

use std::collections::HashSet;

use dia_core::Kernel;
use dia_core::small_matrix::inverse;
use rayon::prelude::*;

use crate::linear::LinearSum;
use crate::offsets::{combined, dot, masked, offsets};
use crate::place::{Place, Template};
use crate::reference_flux::reference_flux;
use crate::surroundings::surroundings;
use crate::tiles::Tile;
use crate::{Flags, PhotometryError, Scene};

/// What is measured at each position.
#[derive(Clone, Debug, PartialEq)]
pub struct ForcedOptions {
    /// Radii of apertures in pixels.
    pub apertures: Vec<f64>,
    /// Whether the position is fitted along with the flux; the flux then is that at the refined position.
    pub refine: bool,
    /// Whether positions are those of the reference, on the target's grid: the kernel tells where in the target they are, and rows have those places.
    pub in_reference: bool,
    /// Upper limits are the flux, or zero where it is negative, and this many σ.
    pub limit_sigmas: f64,
}

impl Default for ForcedOptions {
    /// Fixed positions, no apertures, limits of 3 σ.
    fn default() -> Self {
        Self { apertures: Vec::new(), refine: false, in_reference: false, limit_sigmas: 3.0 }
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
    let (height, width) = scene.difference.shape();
    let in_the_middle = ScaleError::at(scene, (height / 2, width / 2), None);
    let mut rows: Vec<ForcedFlux> = positions
        .par_iter()
        .map(|(x, y)| measure(scene, *x, *y, options, &in_the_middle))
        .collect();
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

/// The best linear estimate at a trial position.
struct Trial {
    /// The pixel that the weights are around.
    pixel: (usize, usize),
    psf: Kernel,
    /// The part of the weight on pixels with a difference.
    coverage: f64,
    /// Weights of f, and where it is wanted of f δ_y and f δ_x; `None` if the pixels that are left cannot tell them.
    weights: Option<Vec<Kernel>>,
}

/// The weights at (y, x): rows of (TᵀC⁻¹T)⁻¹TᵀC⁻¹ for the templates P and, if `moving`, −∂P/∂y and −∂P/∂x. Those that lie on missing
/// pixels are zero, and TᵀC⁻¹T is over the rest: without bias whatever is missing.
fn trial(scene: &Scene<'_>, place: &Place, (y, x): (f64, f64), moving: bool) -> Trial {
    let (py, px) = scene.nearest(y, x);
    let (dy, dx) = (y - py as f64, x - px as f64);
    let there =
        |dy: isize, dx: isize| scene.difference_at(py as isize + dy, px as isize + dx).is_some();
    let mut templates = vec![place.point(dy, dx)];
    if moving {
        templates.extend(place.slopes(dy, dx));
    }
    let known: Vec<Kernel> = templates.iter().map(|t| masked(&t.weights, there)).collect();
    let Template { shape: psf, weights: all } = &templates[0];
    let coverage = dot(&known[0], psf) / dot(all, psf);
    let normal: Vec<Vec<f64>> =
        known.iter().map(|w| templates.iter().map(|t| dot(w, &t.shape)).collect()).collect();
    let weights =
        inverse(&normal).map(|inverse| inverse.iter().map(|row| combined(row, &known)).collect());
    Trial { pixel: (py, px), psf: psf.clone(), coverage, weights }
}

/// The least part of the weight that has to lie on pixels with a difference.
const LEAST_COVERAGE: f64 = 0.5;

/// σ_P = (cᵀH⁻¹c)^½ with the functional c of P.
struct ScaleError {
    functional: Vec<f64>,
    sigma: f64,
}

impl ScaleError {
    /// At a pixel; that of `other` where P is the same function of the parameters, which it is everywhere unless it varies.
    fn at(scene: &Scene<'_>, (y, x): (usize, usize), other: Option<&Self>) -> Self {
        let functional = scene.design.photometric_scale_functional_at(y, x);
        let known = other.filter(|other| other.functional == functional).map(|other| other.sigma);
        let product = || {
            scene.covariance.map_or(0.0, |covariance| {
                covariance.product(&functional, &functional).max(0.0).sqrt()
            })
        };
        let sigma = known.unwrap_or_else(product);
        Self { functional, sigma }
    }
}

fn measure(
    scene: &Scene<'_>,
    x: f64,
    y: f64,
    options: &ForcedOptions,
    in_the_middle: &ScaleError,
) -> ForcedFlux {
    let nothing = |flags| without_flux(x, y, options.apertures.len(), flags);
    if !(x.is_finite() && y.is_finite()) {
        return nothing(Flags::NOT_FINITE);
    }
    let (height, width) = scene.difference.shape();
    let inside = |v: f64, n: usize| v >= -0.5 && v < n as f64 - 0.5;
    if !(inside(x, width) && inside(y, height)) {
        return nothing(Flags::OUTSIDE);
    }
    let Some(place) = Place::at(scene, y, x) else {
        return nothing(Flags::NO_COVERAGE | Flags::MASKED);
    };
    let mut row = nothing(Flags::empty());
    if options.in_reference {
        (row.y, row.x) = (y + place.displacement.0, x + place.displacement.1);
        if !(inside(row.x, width) && inside(row.y, height)) {
            row.flags |= Flags::OUTSIDE;
            return row;
        }
    }
    if options.refine {
        refine(scene, &place, &mut row);
    }
    let Trial { pixel, psf, coverage, weights } = trial(scene, &place, (row.y, row.x), false);
    row.coverage = coverage;
    row.flags |= surroundings(scene, pixel, &psf);
    let weights = weights.and_then(|weights| weights.into_iter().next());
    let Some(weights) = weights.filter(|_| coverage >= LEAST_COVERAGE) else {
        row.flags |= Flags::NO_COVERAGE;
        return row;
    };
    let offset = (row.y - pixel.0 as f64, row.x - pixel.1 as f64);
    let sum = LinearSum::new(scene, pixel, weights, &place).of_point(scene, &place, offset, &psf);
    row.flags.set(Flags::PARTLY_MASKED, coverage < 0.9);
    row.flux.value = sum.value(scene);
    row.flux.sigma = sum.variance(scene, row.flux.value, &psf).sqrt();
    row.upper_limit = row.flux.value.max(0.0) + options.limit_sigmas * row.flux.sigma;
    for (radius, flux) in options.apertures.iter().zip(&mut row.apertures) {
        *flux = aperture(scene, &place, (row.y, row.x), *radius, row.flux.value);
    }
    let scale = place.kernel.photometric_scale();
    let sigma_scale = ScaleError::at(scene, pixel, Some(in_the_middle)).sigma;
    row.scale = Measured { value: scale, sigma: sigma_scale };
    let value = row.flux.value / scale;
    row.flux_in_reference =
        Measured { value, sigma: row.flux.sigma.hypot(value * sigma_scale) / scale.abs() };
    if let Some((flux, covariance)) = reference_flux(scene, &place, (row.y, row.x), &sum) {
        row.flags.set(Flags::REFERENCE_HOLE, flux.value < -5.0 * flux.sigma);
        (row.reference_flux, row.reference_covariance) = (flux, covariance);
    } else {
        row.flags |= Flags::REFERENCE_BAD;
    }
    let (chi2, pixels) = chi2(scene, &place, pixel, &psf, row.flux.value);
    let fitted = if row.position_covariance.is_some() { 3 } else { 1 };
    (row.chi2, row.degrees_of_freedom) = (chi2, pixels.saturating_sub(fitted));
    row
}

/// Flux and position together by Gauss–Newton: D ≈ f P_n − f δ·∇P_n.
fn refine(scene: &Scene<'_>, place: &Place, row: &mut ForcedFlux) {
    /// Farthest from the start, in pixels.
    const FARTHEST: f64 = 1.5;
    let start = (row.y, row.x);
    let (mut y, mut x) = start;
    for _ in 0..20 {
        let Trial { pixel, psf, coverage, weights: Some(weights) } =
            trial(scene, place, (y, x), true)
        else {
            break;
        };
        let of = |weights: &Kernel| {
            let term = |((dy, dx), w): ((isize, isize), &f64)| {
                let d = scene.difference_at(pixel.0 as isize + dy, pixel.1 as isize + dx);
                w * d.unwrap_or(0.0)
            };
            offsets(weights).zip(weights.pixels()).map(term).sum::<f64>()
        };
        let flux = of(&weights[0]);
        if coverage.is_nan() || coverage < LEAST_COVERAGE || flux == 0.0 {
            break;
        }
        // A step beyond half a pixel is more than the first order knows.
        let step = |weights: &Kernel| (of(weights) / flux).clamp(-0.5, 0.5);
        let (dy, dx) = (step(&weights[1]), step(&weights[2]));
        let moved = (y + dy - start.0).hypot(x + dx - start.1);
        if moved.is_nan() || moved > FARTHEST {
            break;
        }
        (y, x) = (y + dy, x + dx);
        if dy.hypot(dx) < 1e-3 {
            let sum = |weights: &Kernel| LinearSum::new(scene, pixel, weights.clone(), place);
            let [up, right] = [sum(&weights[1]), sum(&weights[2])];
            let of =
                |a: &LinearSum, b: &LinearSum| a.covariance(scene, b, (flux, &psf)) / (flux * flux);
            let covariance = [of(&right, &right), of(&up, &up), of(&up, &right)];
            // What the fit is said to have taken away may be too much.
            if covariance[0] > 0.0 && covariance[1] > 0.0 {
                row.position_covariance = Some(covariance);
                (row.y, row.x) = (y, x);
                return;
            }
            break;
        }
    }
    row.flags |= Flags::POSITION;
}

/// The flux within a radius in pixels over the part of the PSF that lies there, on the pixels with a difference. `flux` is that of the PSF, for its photons.
fn aperture(
    scene: &Scene<'_>,
    place: &Place,
    (y, x): (f64, f64),
    radius: f64,
    flux: f64,
) -> Measured {
    let (py, px) = scene.nearest(y, x);
    let (fy, fx) = (y - py as f64, x - px as f64);
    let whole = place.whole_psf(fy, fx);
    let half_width = (radius + 1.5).ceil() as usize;
    if radius.is_nan() || radius <= 0.0 || half_width > whole.half_width() {
        return Measured::NONE;
    }
    let psf = crate::offsets::cut(&whole, half_width);
    // A pixel at the rim counts by how far its centre is inside.
    let disc = Kernel::from_fn(half_width, |dy, dx| {
        let there = scene.difference_at(py as isize + dy, px as isize + dx).is_some();
        let distance = (dy as f64 - fy).hypot(dx as f64 - fx);
        if there { (radius - distance + 0.5).clamp(0.0, 1.0) } else { 0.0 }
    });
    let part = dot(&disc, &psf);
    // Less than a tenth of the light tells nothing.
    if part.is_nan() || part < 0.1 {
        return Measured::NONE;
    }
    let weights = combined(&[1.0 / part], &[disc]);
    let sum =
        LinearSum::new(scene, (py, px), weights, place).of_point(scene, place, (fy, fx), &psf);
    Measured { value: sum.value(scene), sigma: sum.variance(scene, flux, &psf).sqrt() }
}

/// Σ (D − f P)²/V_D over the pixels within 1.5 FWHM, and their number.
fn chi2(
    scene: &Scene<'_>,
    place: &Place,
    (y, x): (usize, usize),
    psf: &Kernel,
    flux: f64,
) -> (f64, usize) {
    let radius = 1.5 * place.fwhm();
    // The kernel's wings spread a percent of the light over thousands of pixels: 10⁻⁵ of the variance.
    let squares = crate::offsets::cut(&place.kernel, scene.design.inner_half_width()).squared();
    // The pixels of the image around that one.
    let reach = (radius as usize).min(psf.half_width());
    let (height, width) = scene.difference.shape();
    let range = |at: usize, size: usize| at.saturating_sub(reach)..(at + reach + 1).min(size);
    let (ys, xs) = (range(y, height), range(x, width));
    let tile = Tile { y: ys.start, x: xs.start, height: ys.len(), width: xs.len() };
    // (K² ⊗ V_r)(p) = Σ K²(−u) V_r(p + u).
    let turned = Kernel::from_fn(squares.half_width(), |dy, dx| squares.at(-dy, -dx));
    let through = tile.correlate(&turned, |y, x| scene.reference_variance_at(y, x));
    let (mut sum, mut count) = (0.0, 0);
    for (i, reference) in through.into_iter().enumerate() {
        let (py, px) = tile.pixel(i);
        let (dy, dx) = (py - y as isize, px - x as isize);
        if (dy as f64).hypot(dx as f64) > radius {
            continue;
        }
        let Some(d) = scene.difference_at(py, px) else { continue };
        let (own, p) = (scene.target_variance_at(py, px), psf.at(dy, dx));
        let variance = (own + flux * scene.photon * p).max(0.1 * own) + reference;
        if variance > 0.0 {
            sum += (d - flux * p).powi(2) / variance;
            count += 1;
        }
    }
    (sum, count)
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, Kernel, KernelBasis};

    use super::{ForcedOptions, forced};
    use crate::scene::tests::Fixture;

    #[test]
    fn places_of_the_reference_are_measured_where_the_kernel_moves_them() {
        let mut fixture = Fixture::empty(60, 60);
        // Two thirds of the light one column on: a star moves by nearly that.
        let design = Design::new(60, 60, KernelBasis::delta(1), None).unwrap();
        let kernel = Kernel::from_fn(1, |dy, dx| match (dy, dx) {
            (0, 0) => 0.5,
            (0, 1) => 1.0,
            _ => 0.0,
        });
        fixture.parameters = kernel.pixels().to_vec();
        fixture.design = design;
        fixture.add_star(30.0, 20.0 + 2.0 / 3.0, 5000.0);
        let scene = fixture.scene();
        let there = ForcedOptions { in_reference: true, ..Default::default() };
        let row = &forced(&scene, &[(20.0, 30.0)], &there).unwrap()[0];
        assert!((row.x - 20.0 - 2.0 / 3.0).abs() < 0.02 && (row.y - 30.0).abs() < 1e-9, "{row:?}");
        let at_target = &forced(&scene, &[(row.x, row.y)], &ForcedOptions::default()).unwrap()[0];
        assert!((row.flux.value / at_target.flux.value - 1.0).abs() < 1e-3);
        assert!((row.scale.value - 1.5).abs() < 1e-12);
        // The place is inside, and where its star went is not.
        let outside = &forced(&scene, &[(59.2, 30.0)], &there).unwrap()[0];
        assert!(outside.flux.value.is_nan() && outside.flags.contains(crate::Flags::OUTSIDE));
    }
}
