//! The PSF of the reference, from its own stars.

use dia_core::stars::{Star, find};
use dia_core::{Image, ImageView, Kernel, LocalSky, Mask, MaskPlanes, Pixel, Polynomial2d, robust};
use rayon::prelude::*;

use crate::PhotometryError;
use crate::linear::{dot, inverse, offsets};
use crate::spectrum::{gradient, shifted};

/// How a PSF is made of stars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PsfOptions {
    /// Half-width of the PSF in pixels; its wings end there.
    pub half_width: usize,
    /// The brightest so many stars are looked at.
    pub most_stars: usize,
    /// Fewest stars for a PSF.
    pub fewest_stars: usize,
    /// Largest degree of the polynomials of position that each pixel follows; lower where there are fewer than [`stars_per_term`](Self::stars_per_term).
    pub degree: usize,
    /// Stars per term of those polynomials.
    pub stars_per_term: usize,
    /// Part of a star's light that a neighbour within the half-width may have.
    pub crowding: f64,
}

impl Default for PsfOptions {
    /// 12 pixels, 300 stars, 5 at least, a constant PSF, 15 stars per term, neighbours of a tenth.
    fn default() -> Self {
        Self {
            half_width: 12,
            most_stars: 300,
            fewest_stars: 5,
            degree: 0,
            stars_per_term: 15,
            crowding: 0.1,
        }
    }
}

/// A PSF on pixels that varies with the place.
#[derive(Clone, Debug)]
pub struct ReferencePsf {
    variation: Polynomial2d,
    /// One for each polynomial; the first is the mean PSF, of unit sum, the others sum up to zero.
    terms: Vec<Kernel>,
    /// Stars that it is made of.
    pub stars: usize,
    /// Stars that were left out because they did not look like the others.
    pub rejected: usize,
    /// FWHM of the Gaussian with the effective area of the mean PSF, 1/ΣP² = 4πσ², in pixels.
    pub fwhm: f64,
    /// 1 − b/a of the second moments within two FWHM.
    pub ellipticity: f64,
    /// What remains of a star less its PSF: the robust σ of pixels within one FWHM, in parts of the central pixel, median of the stars.
    pub residual: f64,
}

impl ReferencePsf {
    /// The PSF at row `y` and column `x`, of unit sum.
    pub fn at(&self, y: usize, x: usize) -> Kernel {
        let mut values = vec![0.0; self.terms.len()];
        self.variation.evaluate(y, x, &mut values);
        mixed(&self.terms, &values)
    }

    /// The mean PSF, of unit sum.
    pub fn mean(&self) -> &Kernel {
        &self.terms[0]
    }

    /// Degree of the polynomials of position.
    pub fn degree(&self) -> usize {
        self.variation.degree()
    }
}

/// A star moved to the middle of a pixel, of unit flux.
struct Stamp {
    star: Star,
    pixels: Kernel,
    flux: f64,
}

/// Clipping rounds of stars and pixels, each with better centres.
const ROUNDS: usize = 4;

/// Stacks the isolated, unmasked stars of an image, each moved to the middle of a pixel by band-limited interpolation and scaled to unit flux.
///
/// Each pixel of the PSF is the mean of the stars' weighted with their fluxes, without those that are 4 robust σ off, or a polynomial of position. Stars
/// whose residuals are 4 robust σ larger than the others' are left out. Centres are fitted with the gradient of the PSF in each round. The local sky, and the median
/// of the outermost ring of a star's pixels, are taken for zero: wings beyond the half-width are lost.
///
/// # Errors
/// [`PhotometryError::Stars`] if too few stars are usable.
pub fn reference_psf<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    options: &PsfOptions,
) -> Result<ReferencePsf, PhotometryError> {
    let found = find(image, mask, options.most_stars);
    let (height, width) = image.shape();
    let too_few = |usable| PhotometryError::Stars {
        found: found.len(),
        usable,
        needed: options.fewest_stars,
    };
    let Some(sky) = LocalSky::of(image, mask, MaskPlanes::all()) else { return Err(too_few(0)) };
    // A margin for the interpolation around the PSF.
    let reach = options.half_width + 2;
    let usable = |star: &&Star| {
        let (y, x) = (star.y.round() as usize, star.x.round() as usize);
        let inside = y >= reach && x >= reach && y + reach < height && x + reach < width;
        let near = |other: &Star| {
            let distance = (other.x - star.x).hypot(other.y - star.y);
            distance > 0.0
                && distance < 1.4 * options.half_width as f64
                && other.flux > options.crowding * star.flux
        };
        inside
            && (y - reach..=y + reach)
                .all(|y| (x - reach..=x + reach).all(|x| mask.at(y, x).is_empty()))
            && !found.iter().any(near)
    };
    let stars: Vec<Star> = found.iter().filter(usable).copied().collect();
    if stars.len() < options.fewest_stars.max(1) {
        return Err(too_few(stars.len()));
    }
    let light = |star: &Star| {
        let (cy, cx) = (star.y.round() as isize, star.x.round() as isize);
        Kernel::from_fn(reach, |dy, dx| {
            let (y, x) = ((cy + dy) as usize, (cx + dx) as usize);
            image.at(y, x).widen() - sky.at(y, x)
        })
    };
    let cut: Vec<Kernel> = stars.iter().map(light).collect();
    let degree = (0..=options.degree)
        .rev()
        .find(|degree| stars.len() >= options.stars_per_term * Polynomial2d::terms(*degree))
        .unwrap_or(0);
    let variation = Polynomial2d::new(degree, height, width);
    let mut centres: Vec<(f64, f64)> =
        stars.iter().map(|s| (s.y - s.y.round(), s.x - s.x.round())).collect();
    let mut keep = vec![true; stars.len()];
    let (mut terms, mut residuals) = (Vec::<Kernel>::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stamps: Vec<Stamp> = (0..stars.len())
            .into_par_iter()
            .map(|i| {
                let moved = shifted(&cut[i], -centres[i].0, -centres[i].1, options.half_width);
                normalised(stars[i], &moved)
            })
            .collect();
        let kept: Vec<&Stamp> = stamps
            .iter()
            .zip(&keep)
            .filter(|(stamp, keep)| **keep && stamp.flux > 0.0)
            .map(|(s, _)| s)
            .collect();
        if kept.len() < options.fewest_stars.max(1) {
            return Err(too_few(kept.len()));
        }
        terms = stack(&kept, &variation);
        let slopes = gradient(&terms[0]);
        residuals.clear();
        for (stamp, centre) in stamps.iter().zip(&mut centres) {
            let psf = at_star(&terms, &variation, &stamp.star);
            let rest = Kernel::from_fn(psf.half_width(), |dy, dx| {
                stamp.pixels.at(dy, dx) - psf.at(dy, dx)
            });
            // P(x − δ) ≈ P − δ·∇P, within the core where the star is bright.
            let core =
                |kernel: &Kernel| crate::linear::masked(kernel, |dy, dx| dy * dy + dx * dx <= 16);
            let [sy, sx] = [core(&slopes[0]), core(&slopes[1])];
            let normal =
                vec![vec![dot(&sy, &sy), dot(&sy, &sx)], vec![dot(&sy, &sx), dot(&sx, &sx)]];
            if let Some(inverse) = inverse(&normal) {
                let (a, b) = (-dot(&sy, &rest), -dot(&sx, &rest));
                centre.0 += (inverse[0][0] * a + inverse[0][1] * b).clamp(-0.5, 0.5);
                centre.1 += (inverse[1][0] * a + inverse[1][1] * b).clamp(-0.5, 0.5);
            }
            let rest = core(&rest);
            residuals.push((dot(&rest, &rest) / 49.0).sqrt() / psf.centre());
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
    let used = keep.iter().filter(|keep| **keep).count();
    let mut kept: Vec<f64> =
        residuals.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(r, _)| *r).collect();
    let area = 1.0 / dot(&terms[0], &terms[0]);
    let fwhm = (8.0 * 2.0_f64.ln()).sqrt() * (area / (4.0 * std::f64::consts::PI)).sqrt();
    Ok(ReferencePsf {
        ellipticity: ellipticity(&terms[0], 2.0 * fwhm),
        variation,
        terms,
        stars: used,
        rejected: stars.len() - used,
        fwhm,
        residual: robust::median(&mut kept).unwrap_or(f64::NAN),
    })
}

/// The pixels less the median of their outermost ring, over their sum.
fn normalised(star: Star, pixels: &Kernel) -> Stamp {
    let h = pixels.half_width() as isize;
    let mut ring: Vec<f64> = offsets(pixels)
        .filter(|(dy, dx)| dy * dy + dx * dx > (h - 1) * (h - 1) && dy * dy + dx * dx <= h * h + h)
        .map(|(dy, dx)| pixels.at(dy, dx))
        .collect();
    let level = robust::median(&mut ring).unwrap_or(0.0);
    let within = |dy: isize, dx: isize| dy * dy + dx * dx <= h * h + h;
    let light = |dy, dx| if within(dy, dx) { pixels.at(dy, dx) - level } else { 0.0 };
    let flux: f64 = offsets(pixels).map(|(dy, dx)| light(dy, dx)).sum();
    // Neighbours in the wings would make the star too bright: its core says how bright it is, and the PSF's sum is set to one afterwards.
    let core: f64 = offsets(pixels)
        .filter(|(dy, dx)| dy * dy + dx * dx <= 16)
        .map(|(dy, dx)| light(dy, dx))
        .sum();
    let pixels = Kernel::from_fn(h as usize, |dy, dx| light(dy, dx) / core);
    Stamp { star, pixels, flux: flux.min(2.0 * core) }
}

/// Pixel by pixel, the coefficients of the polynomials of position.
fn stack(stamps: &[&Stamp], variation: &Polynomial2d) -> Vec<Kernel> {
    let n = variation.len();
    let rows: Vec<Vec<f64>> =
        stamps.iter().map(|stamp| polynomials(variation, &stamp.star)).collect();
    // The noise of the sky in a star of unit flux falls with its flux; no star may be all of it.
    let brightest = stamps.iter().map(|stamp| stamp.flux).fold(0.0, f64::max);
    let weights: Vec<f64> =
        stamps.iter().map(|s| (s.flux / brightest).powi(2).clamp(1e-4, 0.1)).collect();
    let half_width = stamps[0].pixels.half_width();
    let mut terms = vec![Kernel::zero(half_width); n];
    for place in 0..terms[0].pixels().len() {
        let value = |i: usize| stamps[i].pixels.pixels()[place];
        let mut used = vec![true; stamps.len()];
        let mut coefficients = vec![0.0; n];
        let residual = |coefficients: &[f64], i: usize| {
            value(i) - rows[i].iter().zip(coefficients).map(|(t, c)| t * c).sum::<f64>()
        };
        // First around the median, so that a bright neighbour in one star pulls nothing.
        let mut all: Vec<f64> = (0..stamps.len()).map(value).collect();
        coefficients[0] = robust::median(&mut all).unwrap_or(0.0);
        for _ in 0..3 {
            let scaled = |i: usize, r: f64| r * weights[i].sqrt();
            let rest: Vec<f64> =
                (0..stamps.len()).map(|i| scaled(i, residual(&coefficients, i))).collect();
            let Some((_, scatter)) = robust::median_and_scatter(rest.iter().copied()) else {
                break;
            };
            used.iter_mut()
                .zip(&rest)
                .for_each(|(used, r)| *used = r.abs() <= 4.0 * scatter || scatter == 0.0);
            let mut normal = vec![vec![0.0; n]; n];
            let mut right = vec![0.0; n];
            for i in (0..stamps.len()).filter(|i| used[*i]) {
                for (s, a) in rows[i].iter().enumerate() {
                    right[s] += weights[i] * a * value(i);
                    normal[s]
                        .iter_mut()
                        .zip(&rows[i])
                        .for_each(|(sum, b)| *sum += weights[i] * a * b);
                }
            }
            let Some(inverse) = inverse(&normal) else { break };
            for (c, row) in coefficients.iter_mut().zip(&inverse) {
                *c = row.iter().zip(&right).map(|(a, b)| a * b).sum();
            }
        }
        for (term, c) in terms.iter_mut().zip(&coefficients) {
            term.pixels_mut()[place] = *c;
        }
    }
    // Unit sum everywhere: the mean over its own, the others without the part of it that they hold.
    let sum = terms[0].photometric_scale();
    terms[0].pixels_mut().iter_mut().for_each(|p| *p /= sum);
    let mean = terms[0].clone();
    for term in &mut terms[1..] {
        term.pixels_mut().iter_mut().for_each(|p| *p /= sum);
        let part = term.photometric_scale();
        term.pixels_mut().iter_mut().zip(mean.pixels()).for_each(|(p, m)| *p -= part * m);
    }
    terms
}

fn polynomials(variation: &Polynomial2d, star: &Star) -> Vec<f64> {
    let mut values = vec![0.0; variation.len()];
    variation.evaluate(star.y.round() as usize, star.x.round() as usize, &mut values);
    values
}

/// The PSF at a star, scaled as its stamp is: to a core of one.
fn at_star(terms: &[Kernel], variation: &Polynomial2d, star: &Star) -> Kernel {
    let mut psf = mixed(terms, &polynomials(variation, star));
    let core: f64 = offsets(&psf)
        .filter(|(dy, dx)| dy * dy + dx * dx <= 16)
        .map(|(dy, dx)| psf.at(dy, dx))
        .sum();
    psf.pixels_mut().iter_mut().for_each(|p| *p /= core);
    psf
}

fn mixed(terms: &[Kernel], values: &[f64]) -> Kernel {
    Kernel::from_fn(terms[0].half_width(), |dy, dx| {
        terms.iter().zip(values).map(|(term, value)| value * term.at(dy, dx)).sum()
    })
}

/// 1 − b/a of the second moments within a radius.
fn ellipticity(psf: &Kernel, radius: f64) -> f64 {
    let [mut sum, mut yy, mut xx, mut xy] = [0.0; 4];
    for (dy, dx) in offsets(psf) {
        let (y, x) = (dy as f64, dx as f64);
        if y.hypot(x) <= radius {
            let p = psf.at(dy, dx);
            sum += p;
            yy += p * y * y;
            xx += p * x * x;
            xy += p * x * y;
        }
    }
    let half = (0.25 * (yy - xx).powi(2) + xy * xy).sqrt() / sum;
    let mean = 0.5 * (yy + xx) / sum;
    1.0 - ((mean - half).max(0.0) / (mean + half)).sqrt()
}

/// A PSF that is given as an image of odd sides, scaled to unit sum.
///
/// # Errors
/// [`PhotometryError::Psf`] if its sum is not positive and finite.
pub fn psf_of_image(image: &Image<f64>) -> Result<Kernel, PhotometryError> {
    let sum: f64 = image.pixels().iter().sum();
    if !(sum.is_finite() && sum > 0.0) {
        return Err(PhotometryError::Psf { sum });
    }
    let (height, width) = image.view().shape();
    let (cy, cx) = ((height / 2) as isize, (width / 2) as isize);
    Ok(Kernel::from_fn(height.max(width) / 2, |dy, dx| {
        let (y, x) = (cy + dy, cx + dx);
        let inside = y >= 0 && x >= 0 && (y as usize) < height && (x as usize) < width;
        if inside { image.view().at(y as usize, x as usize) / sum } else { 0.0 }
    }))
}
