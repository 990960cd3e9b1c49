//! Stars of known flux, put where nothing is, to see what becomes of them.

use dia_core::Image;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{PhotometryError, Scene, Score, displacement};

/// Which stars are injected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InjectOptions {
    /// How many; fewer where there is no room.
    pub count: usize,
    /// (Least, largest) flux over its σ by the score, distributed evenly in the logarithm.
    pub signal_to_noise: (f64, f64),
    /// Seed of positions and fluxes.
    pub seed: u64,
    /// Least distance from another injected star in pixels.
    pub separation: f64,
}

impl Default for InjectOptions {
    /// 200 stars from 2 to 50 σ, 16 pixels from each other.
    fn default() -> Self {
        Self { count: 200, signal_to_noise: (2.0, 50.0), seed: 1, separation: 16.0 }
    }
}

/// A star that was injected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Injected {
    /// Column of its centre in pixels.
    pub x: f64,
    /// Row of its centre.
    pub y: f64,
    /// Flux in target ADU.
    pub flux: f64,
    /// Flux over σ_α at its pixel.
    pub signal_to_noise: f64,
}

/// Draws places, with even probability over the pixels that have a full score and no source of the reference, and fluxes. The score's value there
/// is not looked at: that would choose the noise.
///
/// # Errors
/// Those of [`Scene::validate`].
pub fn draw(
    scene: &Scene<'_>,
    score: &Score,
    options: &InjectOptions,
) -> Result<Vec<Injected>, PhotometryError> {
    scene.validate()?;
    let (height, width) = scene.difference.shape();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(options.seed);
    let (low, high) = options.signal_to_noise;
    let mut stars: Vec<Injected> = Vec::new();
    // Room for most of them is found at once; in a crowded field some tries are in vain.
    for _ in 0..200 * options.count {
        if stars.len() == options.count {
            break;
        }
        let x = random.random::<f64>() * (width - 1) as f64;
        let y = random.random::<f64>() * (height - 1) as f64;
        let signal_to_noise = (low.ln() + random.random::<f64>() * (high / low).ln()).exp();
        let (py, px) = scene.nearest(y, x);
        let sigma = f64::from(score.flux_error.view().at(py, px));
        let near = |star: &Injected| (star.x - x).hypot(star.y - y) < options.separation;
        let covered = f64::from(score.coverage.view().at(py, px)) > 0.999;
        if !sigma.is_finite() || !covered || stars.iter().any(near) || !is_empty(scene, py, px) {
            continue;
        }
        stars.push(Injected { x, y, flux: signal_to_noise * sigma, signal_to_noise });
    }
    Ok(stars)
}

/// Whether the reference holds no light here: the mean over 7 × 7 pixels is below two of its own σ and, for a reference without noise, a tenth of the
/// target's σ per pixel.
fn is_empty(scene: &Scene<'_>, y: usize, x: usize) -> bool {
    let (cy, cx) = displacement(scene.reference_psf.mean(), &scene.kernel_at(y as f64, x as f64));
    let (ry, rx) = (y as isize - cy.round() as isize, x as isize - cx.round() as isize);
    let square = (-3..=3).flat_map(|dy| (-3..=3).map(move |dx| (ry + dy, rx + dx)));
    let (mut light, mut variance, mut target) = (0.0, 0.0, 0.0);
    for (py, px) in square {
        light += scene.reference_at(py, px);
        variance += scene.reference_variance_at(py, px);
        target += scene.target_variance_at(py, px);
    }
    light < 2.0 * variance.sqrt() + 4.9 * (target / 49.0).sqrt()
}

/// Adds the stars with the target's PSF at their places to an image of the scene's shape: the difference, or the target, which then is fitted again.
///
/// They come without photon noise of their own, so that the variance planes stay true.
pub fn add(scene: &Scene<'_>, image: &mut Image<f32>, stars: &[Injected]) {
    assert_eq!(image.view().shape(), scene.difference.shape(), "image and scene share a grid");
    let (height, width) = image.view().shape();
    for star in stars {
        let (py, px) = scene.nearest(star.y, star.x);
        let offset = (star.y - py as f64, star.x - px as f64);
        let Some(psf) = scene.psf_at(star.y, star.x, offset) else { continue };
        let h = psf.half_width();
        for (dy, line) in psf.pixels().chunks(psf.side()).enumerate() {
            for (dx, p) in line.iter().enumerate() {
                let (y, x) = ((py + dy).wrapping_sub(h), (px + dx).wrapping_sub(h));
                if y < height && x < width {
                    image.row_mut(y)[x] += (star.flux * p) as f32;
                }
            }
        }
    }
}
