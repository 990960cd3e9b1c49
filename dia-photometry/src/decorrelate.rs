//! The decorrelated difference: white noise, for programs that know nothing of covariances.

use dia_core::{Image, Kernel};

use crate::filter::{Filter, whitening_kernel};
use crate::spectrum::convolution;
use crate::tiles::{Tile, map};
use crate::{PhotometryError, Scene};

/// D′ = ψ ⊗ D on the difference's grid.
#[derive(Clone, Debug)]
pub struct Decorrelated {
    /// D′ in ADU, with the fluxes of D; NaN where D is.
    pub difference: Image<f32>,
    /// Its variance in ADU²: V_n ⊗ ψ² + V_r ⊗ (K ⊗ ψ)².
    pub variance: Image<f32>,
}

/// Whitens the difference tile by tile with the kernel at that place (DMTN-021 eq. 1; DMTN-179).
///
/// Missing pixels count as zero, so D′ beside them has less light; they are named by the mask.
///
/// # Errors
/// That of [`Scene::validate`].
pub fn decorrelate(scene: &Scene<'_>) -> Result<Decorrelated, PhotometryError> {
    scene.validate()?;
    let (height, width) = scene.difference.shape();
    let of_tile = |tile: Tile| {
        let (cy, cx) = tile.centre();
        let sky = scene.sky_variance(cy, cx)?;
        let kernel = scene.kernel_at(cy, cx);
        let filter = Filter::new(whitening_kernel(&kernel, sky), &kernel);
        let d = tile.correlate(&filter.weights, |y, x| scene.difference_at(y, x).unwrap_or(0.0));
        let target =
            tile.correlate(&filter.weights.squared(), |y, x| scene.target_variance_at(y, x));
        let through = filter.reference_weights.squared();
        let reference = tile.correlate(&through, |y, x| scene.reference_variance_at(y, x));
        let variance: Vec<f64> = target.iter().zip(reference).map(|(a, b)| a + b).collect();
        Some((d, variance))
    };
    let mut difference = Image::filled(height, width, f32::NAN);
    let mut variance = difference.clone();
    for (tile, result) in map(height, width, of_tile) {
        let Some((d, v)) = result else { continue };
        for i in 0..d.len() {
            let place = tile.place(i, width);
            if scene.difference.pixels()[place].is_finite() {
                difference.pixels_mut()[place] = d[i] as f32;
                variance.pixels_mut()[place] = v[i] as f32;
            }
        }
    }
    Ok(Decorrelated { difference, variance })
}

/// φ = P_n ⊗ ψ, the PSF of the decorrelated difference at (y, x), of unit sum but for its cut wings. `None` where no pixel near has a difference.
pub fn decorrelated_psf(scene: &Scene<'_>, y: f64, x: f64) -> Option<Kernel> {
    let kernel = scene.kernel_at(y, x);
    let psi = whitening_kernel(&kernel, scene.sky_variance(y, x)?);
    let psf = scene.psf_at(y, x, (0.0, 0.0))?;
    Some(convolution(&psf, &psi, psf.half_width()))
}

/// The covariance between pixels at (dy, dx) over the variance, for normalised pixels z = D/σ below `clip`: the mean of z(p) z(p + lag) over that of z².
///
/// Pixels for which `used` is false are left out. NaN if none is left.
pub fn lag_correlation(
    image: &Image<f32>,
    variance: &Image<f32>,
    lag: (usize, usize),
    clip: f64,
    used: impl Fn(usize, usize) -> bool,
) -> f64 {
    let (height, width) = image.view().shape();
    let z = |y: usize, x: usize| {
        let z = f64::from(image.view().at(y, x)) / f64::from(variance.view().at(y, x)).sqrt();
        (z.abs() < clip && used(y, x)).then_some(z)
    };
    let (mut products, mut squares) = (0.0, 0.0);
    for y in 0..height.saturating_sub(lag.0) {
        for x in 0..width.saturating_sub(lag.1) {
            if let (Some(a), Some(b)) = (z(y, x), z(y + lag.0, x + lag.1)) {
                products += a * b;
                squares += 0.5 * (a * a + b * b);
            }
        }
    }
    products / squares
}
