//! The PSF of the reference, from its own stars.

use dia_core::small_matrix::inverse;
use dia_core::stars::{Star, find};
use dia_core::{
    Image, ImageView, Kernel, LocalSky, Mask, MaskPlanes, Pixel, Polynomial2d, robust, seeing,
};
use rayon::prelude::*;

use crate::PhotometryError;
use crate::extended::are_points;
use crate::moffat::Moffat;
use crate::offsets::{combined, dot, masked, offsets};
use crate::spectrum::{gradient, shifted};
use crate::star_stack::{Stamp, polynomials, scaled_to_core, stack, within};

/// How a PSF is made of stars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PsfOptions {
    /// Half-width of the PSF in pixels, where its wings end; `None` for four times the stars' FWHM, or three or two where stars are too crowded for that.
    pub half_width: Option<usize>,
    /// The brightest so many stars are looked at.
    pub most_stars: usize,
    /// Fewest stars for a PSF.
    pub fewest_stars: usize,
    /// Largest degree of the polynomials of position that each pixel follows; lower where there are fewer than [`stars_per_term`](Self::stars_per_term).
    pub degree: usize,
    /// Stars per term of those polynomials.
    pub stars_per_term: usize,
    /// Part of a star's light that a near neighbour may have.
    pub crowding: f64,
}

impl Default for PsfOptions {
    /// 300 stars, 5 at least, degree 1 from 60 stars on, neighbours of half of a star's light.
    fn default() -> Self {
        Self {
            half_width: None,
            most_stars: 300,
            fewest_stars: 5,
            degree: 1,
            stars_per_term: 20,
            crowding: 0.5,
        }
    }
}

/// A PSF on pixels that varies with the place.
#[derive(Clone, Debug)]
pub struct ReferencePsf {
    /// `None` for a constant one.
    variation: Option<Polynomial2d>,
    /// One for each polynomial; the first is the mean PSF, the others sum up to zero.
    terms: Vec<Kernel>,
    /// Stars that it is made of; 0 if it was given.
    pub stars: usize,
    /// Stars that were left out because they did not look like the others.
    pub rejected: usize,
    /// FWHM of the mean PSF in pixels, the mean over rows and columns.
    pub fwhm: f64,
    /// 1 − b/a of the second moments within two FWHM.
    pub ellipticity: f64,
    /// What remains of a star less its PSF: the root mean square over its core, in parts of the central pixel, median of the stars; 0 if it was given.
    pub residual: f64,
}

impl ReferencePsf {
    /// One that is given and the same everywhere, scaled to unit sum. Its centre is taken to be that of its middle pixel.
    ///
    /// # Errors
    /// [`PhotometryError::Psf`] if its sum is not positive and finite.
    pub fn constant(psf: &Kernel) -> Result<Self, PhotometryError> {
        let sum = psf.photometric_scale();
        if !(sum.is_finite() && sum > 0.0) {
            return Err(PhotometryError::Psf { sum });
        }
        let psf = Kernel::from_fn(psf.half_width(), |dy, dx| psf.at(dy, dx) / sum);
        Ok(Self::of_terms(None, vec![psf]))
    }

    /// As [`constant`](Self::constant), from an image of odd sides with the star in its middle.
    ///
    /// # Errors
    /// [`PhotometryError::Psf`] if its sum is not positive and finite.
    pub fn of_image(image: &Image<f64>) -> Result<Self, PhotometryError> {
        let (height, width) = image.view().shape();
        let (cy, cx) = ((height / 2) as isize, (width / 2) as isize);
        Self::constant(&Kernel::from_fn(height.max(width) / 2, |dy, dx| {
            let (y, x) = (cy + dy, cx + dx);
            let inside = y >= 0 && x >= 0 && (y as usize) < height && (x as usize) < width;
            if inside { image.view().at(y as usize, x as usize) } else { 0.0 }
        }))
    }

    /// One that varies by Legendre polynomials of the place on images of `height` × `width` pixels, one term for each: the mean PSF, of unit sum with what lies beyond
    /// its half-width, and deviations without flux. It is taken as it is.
    ///
    /// # Errors
    /// [`PhotometryError::Terms`] if there are not as many terms of one size as polynomials of some degree.
    pub fn of_legendre_terms(
        terms: Vec<Kernel>,
        height: usize,
        width: usize,
    ) -> Result<Self, PhotometryError> {
        let count = terms.len();
        let one_size = terms.windows(2).all(|pair| pair[0].half_width() == pair[1].half_width());
        let degree = (0..count).find(|degree| Polynomial2d::terms(*degree) == count);
        let degree = degree.filter(|_| one_size).ok_or(PhotometryError::Terms { count })?;
        Ok(Self::of_terms(Some(Polynomial2d::new(degree, height, width)), terms))
    }

    /// The mean PSF and its deviations, as [`of_legendre_terms`](Self::of_legendre_terms) takes them.
    pub fn terms(&self) -> &[Kernel] {
        &self.terms
    }

    fn of_terms(variation: Option<Polynomial2d>, terms: Vec<Kernel>) -> Self {
        let fwhm = half_maximum(&terms[0]);
        let ellipticity = ellipticity(&terms[0], 2.0 * fwhm);
        Self { variation, terms, stars: 0, rejected: 0, fwhm, ellipticity, residual: 0.0 }
    }

    /// The PSF at row `y` and column `x`, of unit sum with what lies beyond its half-width.
    pub fn at(&self, y: usize, x: usize) -> Kernel {
        let Some(variation) = &self.variation else { return self.terms[0].clone() };
        let mut values = vec![0.0; self.terms.len()];
        variation.evaluate(y, x, &mut values);
        combined(&values, &self.terms)
    }

    /// The mean PSF, of unit sum with what lies beyond its half-width.
    pub fn mean(&self) -> &Kernel {
        &self.terms[0]
    }

    /// Half-width in pixels.
    pub fn half_width(&self) -> usize {
        self.terms[0].half_width()
    }

    /// Degree of the polynomials of position.
    pub fn degree(&self) -> usize {
        self.variation.as_ref().map_or(0, Polynomial2d::degree)
    }
}

/// Clipping rounds of stars and pixels, each with better centres.
const ROUNDS: usize = 4;

/// Radius of the core in FWHM, in which stars are centred and compared.
const CORE: f64 = 1.25;

/// Stacks the brightest unmasked stars of an image that have no comparable neighbour near, each moved to the middle of a pixel by band-limited interpolation and scaled to unit flux.
///
/// What is wider than stars, a galaxy, is left out. Each pixel of the PSF is the mean of the stars' weighted with their fluxes, without those that are 4 robust σ off, or a polynomial of position. Stars
/// whose residuals are 4 robust σ larger than the others' are left out. Centres are fitted with the gradient of the PSF in each round. Beyond two FWHM, where
/// the sum of the pixels would be noise, the PSF is a Moffat profile that is fitted to all of it; its sum, with what lies beyond the half-width, is one.
///
/// # Errors
/// [`PhotometryError::Stars`] if too few stars are usable.
pub fn reference_psf<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    options: &PsfOptions,
) -> Result<ReferencePsf, PhotometryError> {
    let found = find(image, mask, options.most_stars);
    let needed = options.fewest_stars.max(1);
    let too_few = |usable| PhotometryError::Stars { found: found.len(), usable, needed };
    let fwhm = seeing::fwhm_of_stars(image, mask, &found, 1);
    let sky = LocalSky::of(image, mask, MaskPlanes::all());
    let (Some(fwhm), Some(sky)) = (fwhm, sky) else { return Err(too_few(0)) };
    let half_widths = match options.half_width {
        Some(half_width) => vec![half_width],
        None => [4.0, 3.0, 2.0].map(|fwhms| (fwhms * fwhm).ceil() as usize).to_vec(),
    };
    let isolated = |half_width: &usize| {
        isolated(&found, mask, *half_width, NEIGHBOURS * fwhm, options.crowding)
    };
    let mut usable = 0;
    for half_width in &half_widths {
        let stars = isolated(half_width);
        usable = usable.max(stars.len());
        if stars.len() < needed {
            continue;
        }
        let light = |star: &Star| {
            let (cy, cx) = (star.y.round() as isize, star.x.round() as isize);
            Kernel::from_fn(half_width + MARGIN, |dy, dx| {
                let (y, x) = ((cy + dy) as usize, (cx + dx) as usize);
                image.at(y, x).widen() - sky.at(y, x)
            })
        };
        let cut: Vec<Kernel> = stars.iter().map(light).collect();
        let centres: Vec<(f64, f64)> =
            stars.iter().map(|s| (s.y - s.y.round(), s.x - s.x.round())).collect();
        let points = are_points(&cut, &centres, fwhm);
        let extended = points.iter().filter(|point| !**point).count();
        let (stars, cut): (Vec<Star>, Vec<Kernel>) = stars
            .into_iter()
            .zip(cut)
            .zip(points)
            .filter(|(_, point)| *point)
            .take(USED)
            .map(|(s, _)| s)
            .unzip();
        if stars.len() < needed {
            continue;
        }
        let degree = (0..=options.degree)
            .rev()
            .find(|degree| stars.len() >= options.stars_per_term * Polynomial2d::terms(*degree))
            .unwrap_or(0);
        let variation = Polynomial2d::new(degree, image.height(), image.width());
        let core = (CORE * fwhm).max(2.0);
        match stacked(&stars, &cut, variation, *half_width, core, needed) {
            Ok(psf) => return Ok(ReferencePsf { rejected: psf.rejected + extended, ..psf }),
            Err(kept) => usable = usable.max(kept),
        }
    }
    Err(too_few(usable.min(needed - 1)))
}

/// Pixels around the PSF for the interpolation.
const MARGIN: usize = 2;

/// Radius in FWHM within which a star has no comparable neighbour.
///
/// Others may lie anywhere: where there are many, they are as dense near a star as far from it, and what all of them add is a level, which is fitted. Stars that seem to have none are mostly faint,
/// with neighbours that are not seen.
const NEIGHBOURS: f64 = 2.5;

/// The brightest so many make the PSF: fainter ones add their neighbours' light and little else.
const USED: usize = 60;

/// The stars whose pixels are all inside and good, and without a bright neighbour within `near` pixels.
fn isolated(found: &[Star], mask: &Mask, half_width: usize, near: f64, crowding: f64) -> Vec<Star> {
    let reach = half_width + MARGIN;
    let usable = |star: &&Star| {
        let (y, x) = (star.y.round() as usize, star.x.round() as usize);
        let inside =
            y >= reach && x >= reach && y + reach < mask.height() && x + reach < mask.width();
        let is_near = |other: &Star| {
            let distance = (other.x - star.x).hypot(other.y - star.y);
            distance > 0.0 && distance < near && other.flux > crowding * star.flux
        };
        inside
            && (y - reach..=y + reach)
                .all(|y| (x - reach..=x + reach).all(|x| mask.at(y, x).is_empty()))
            && !found.iter().any(is_near)
    };
    found.iter().filter(usable).copied().collect()
}

/// The PSF of stars cut out of their image, or how many are usable if too few.
fn stacked(
    stars: &[Star],
    cut: &[Kernel],
    variation: Polynomial2d,
    half_width: usize,
    core: f64,
    needed: usize,
) -> Result<ReferencePsf, usize> {
    let mut centres: Vec<(f64, f64)> =
        stars.iter().map(|s| (s.y - s.y.round(), s.x - s.x.round())).collect();
    let mut keep = vec![true; stars.len()];
    let (mut terms, mut residuals) = (Vec::<Kernel>::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stamps: Vec<Stamp> = (0..stars.len())
            .into_par_iter()
            .map(|i| {
                let moved = shifted(&cut[i], -centres[i].0, -centres[i].1, half_width);
                Stamp::new(stars[i], &moved, core)
            })
            .collect();
        let kept: Vec<&Stamp> = stamps
            .iter()
            .zip(&keep)
            .filter(|(stamp, keep)| **keep && stamp.flux > 0.0)
            .map(|(s, _)| s)
            .collect();
        if kept.len() < needed {
            return Err(kept.len());
        }
        terms = stack(&kept, &variation);
        let slopes = gradient(&terms[0]).map(|slope| masked(&slope, within(core)));
        residuals.clear();
        for (stamp, centre) in stamps.iter().zip(&mut centres) {
            let psf = scaled_to_core(&terms, &polynomials(&variation, &stamp.star), core);
            let rest = Kernel::from_fn(psf.half_width(), |dy, dx| {
                if within(core)(dy, dx) { stamp.pixels.at(dy, dx) - psf.at(dy, dx) } else { 0.0 }
            });
            // P(x − δ) ≈ P − δ·∇P, within the core where the star is bright.
            let [sy, sx] = &slopes;
            let normal = vec![vec![dot(sy, sy), dot(sy, sx)], vec![dot(sy, sx), dot(sx, sx)]];
            if let Some(inverse) = inverse(&normal) {
                let (a, b) = (-dot(sy, &rest), -dot(sx, &rest));
                centre.0 += (inverse[0][0] * a + inverse[0][1] * b).clamp(-0.5, 0.5);
                centre.1 += (inverse[1][0] * a + inverse[1][1] * b).clamp(-0.5, 0.5);
            }
            let pixels = offsets(&rest).filter(|(dy, dx)| within(core)(*dy, *dx)).count() as f64;
            residuals.push((dot(&rest, &rest) / pixels).sqrt() / psf.centre());
        }
        if let Some((middle, scatter)) = robust::median_and_scatter(residuals.iter().copied()) {
            let limit = (middle + 4.0 * scatter).max(2.0 * middle);
            keep = residuals
                .iter()
                .zip(&stamps)
                .map(|(r, stamp)| *r <= limit && stamp.flux > 0.0)
                .collect();
        }
    }
    let mut kept: Vec<f64> =
        residuals.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(r, _)| *r).collect();
    let used = kept.len();
    let residual = robust::median(&mut kept).unwrap_or(f64::NAN);
    let (stars, rejected) = (used, stars.len() - used);
    with_smooth_wings(&mut terms, core / CORE);
    Ok(ReferencePsf { stars, rejected, residual, ..ReferencePsf::of_terms(Some(variation), terms) })
}

/// Radii in FWHM within which the stack of the stars counts, and beyond which nothing of it does but what is in its smooth profile.
const STACKED: (f64, f64) = (1.25, 2.25);

/// That out to which the sum of the PSF is one, in FWHM.
const TOTAL: f64 = 8.0;

/// Replaces the wings by those of a fitted profile, and sets the sum of the mean PSF with all of its wings to one. Where none can be fitted, all stays.
fn with_smooth_wings(terms: &mut [Kernel], fwhm: f64) {
    let half_width = terms[0].half_width();
    let corner = |dy: isize, dx: isize| !within(half_width as f64)(dy, dx);
    let outer = offsets(&terms[0]).filter(|(dy, dx)| !within(STACKED.1 * fwhm)(*dy, *dx));
    let outer = outer.filter(|(dy, dx)| !corner(*dy, *dx)).map(|(dy, dx)| terms[0].at(dy, dx));
    let Some((_, noise)) = robust::median_and_scatter(outer) else { return };
    let Some(profile) = Moffat::fitted(&terms[0], fwhm, noise) else { return };
    let stacked = |dy: isize, dx: isize| {
        let radius = (dy as f64).hypot(dx as f64) / fwhm;
        ((STACKED.1 - radius) / (STACKED.1 - STACKED.0)).clamp(0.0, 1.0)
    };
    let psf = Kernel::from_fn(half_width, |dy, dx| {
        let smooth = profile.at(dy, dx);
        smooth + stacked(dy, dx) * (terms[0].at(dy, dx) - profile.sky() - smooth)
    });
    let farthest = ((TOTAL * fwhm).ceil() as usize).max(half_width);
    let total = psf.photometric_scale() + profile.beyond(half_width, farthest);
    if !(total.is_finite() && total > 0.0) {
        return;
    }
    terms[0] = combined(&[1.0 / total], &[psf]);
    // Deviations from the mean have no wings; they do not change the flux.
    let mean = terms[0].clone();
    for term in &mut terms[1..] {
        let cut = Kernel::from_fn(half_width, |dy, dx| stacked(dy, dx) * term.at(dy, dx) / total);
        let flux = cut.photometric_scale() / mean.photometric_scale();
        *term = combined(&[1.0, -flux], &[cut, mean.clone()]);
    }
}

/// Twice the mean distance along rows and columns at which a PSF has fallen to half of its middle pixel; its logarithm is taken for linear in r² between pixels, as that
/// of a Gaussian is. NaN where it has not fallen so far.
fn half_maximum(psf: &Kernel) -> f64 {
    let peak = psf.centre();
    let directions = [(0_isize, 1_isize), (0, -1), (1, 0), (-1, 0)];
    let reached = directions.map(|(dy, dx)| {
        let at = |r: usize| psf.at(r as isize * dy, r as isize * dx) / peak;
        let r = (1..=psf.half_width()).find(|r| at(*r) <= 0.5)?;
        let (inner, outer) = (at(r - 1).ln(), at(r).max(1e-12).ln());
        let part = (inner - 0.5_f64.ln()) / (inner - outer);
        let (inner, outer) = ((r - 1).pow(2) as f64, r.pow(2) as f64);
        Some((inner + part * (outer - inner)).sqrt())
    });
    reached.iter().map(|r| r.map_or(f64::NAN, |r| 2.0 * r / 4.0)).sum()
}

/// 1 − b/a of the second moments within a radius.
fn ellipticity(psf: &Kernel, radius: f64) -> f64 {
    let [mut sum, mut yy, mut xx, mut xy] = [0.0; 4];
    for (dy, dx) in offsets(psf).filter(|(dy, dx)| within(radius)(*dy, *dx)) {
        let (p, y, x) = (psf.at(dy, dx), dy as f64, dx as f64);
        sum += p;
        yy += p * y * y;
        xx += p * x * x;
        xy += p * x * y;
    }
    let half = (0.25 * (yy - xx).powi(2) + xy * xy).sqrt() / sum;
    let mean = 0.5 * (yy + xx) / sum;
    1.0 - ((mean - half).max(0.0) / (mean + half)).sqrt()
}
