//! A difference of known kernel and known noise, drawn as often as one likes.

use dia_core::{Design, Image, Kernel, KernelBasis, Mask};
use dia_photometry::{ReferencePsf, Scene};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Half-width of the kernel.
const KERNEL: usize = 6;

/// σ of the reference's PSF, and of the target's: √(1.2² + 1.5²).
pub(crate) const REFERENCE_SIGMA: f64 = 1.2;
pub(crate) const TARGET_SIGMA: f64 = 1.920_937_3;

/// The planes of a scene without sources.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) difference: Image<f32>,
    pub(crate) target_variance: Image<f32>,
    pub(crate) reference_variance: Image<f32>,
    pub(crate) reference: Image<f32>,
    pub(crate) mask: Mask,
    pub(crate) design: Design,
    pub(crate) parameters: Vec<f64>,
    pub(crate) psf: ReferencePsf,
}

impl Field {
    /// A kernel of σ = 1.5 pixels and a scale of 0.8, displaced by (0.2, −0.3) pixels; σ_n² = 100 and `sigma_ratio` times that noise in the reference, both more by up to
    /// half towards the right edge. The difference is zero.
    pub(crate) fn new(height: usize, width: usize, sigma_ratio: f64) -> Self {
        let kernel = Kernel::from_fn(KERNEL, |dy, dx| {
            let (y, x) = (dy as f64 - 0.2, dx as f64 + 0.3);
            (-0.5 * (y * y + x * x) / 2.25).exp()
        });
        let sum = kernel.photometric_scale();
        let parameters = kernel.pixels().iter().map(|k| 0.8 * k / sum).collect();
        let design = Design::new(height, width, KernelBasis::delta(KERNEL), None);
        let slope = |x: usize| 1.0 + 0.5 * x as f64 / width as f64;
        let reference = 100.0 * sigma_ratio * sigma_ratio;
        Self {
            difference: Image::filled(height, width, 0.0),
            target_variance: Image::from_fn(height, width, |_, x| (100.0 * slope(x)) as f32),
            reference_variance: Image::from_fn(height, width, |_, x| (reference * slope(x)) as f32),
            reference: Image::filled(height, width, 0.0),
            mask: Mask::good(height, width),
            design: design.expect("the kernel is smaller than the image"),
            parameters,
            psf: ReferencePsf::constant(&Kernel::gaussian(9, REFERENCE_SIGMA))
                .expect("a Gaussian has light"),
        }
    }

    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene {
            difference: self.difference.view(),
            target_variance: self.target_variance.view(),
            reference_variance: self.reference_variance.view(),
            reference: self.reference.view(),
            mask: &self.mask,
            design: &self.design,
            parameters: &self.parameters,
            reference_psf: &self.psf,
            photon: 0.0,
            covariance: None,
        }
    }

    /// The same with D = n − K ⊗ r of noise that is drawn; the reference continues beyond the edges.
    pub(crate) fn with_noise(&self, seed: u64) -> Self {
        let (height, width) = self.difference.view().shape();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let reference = self.wide_reference(&mut random);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let h = KERNEL;
        let kernel = self.design.kernel(&self.parameters);
        let mut field = self.clone();
        for y in 0..height {
            for x in 0..width {
                // R(p − u) lies at p + h − u of the larger image.
                let mut sum = f64::from(self.difference.view().at(y, x));
                for (uy, row) in kernel.pixels().chunks(2 * h + 1).enumerate() {
                    let pixels = &reference.view().row(y + 2 * h - uy)[x..=x + 2 * h];
                    sum -= row.iter().rev().zip(pixels).map(|(k, r)| k * r).sum::<f64>();
                }
                sum += normal() * f64::from(self.target_variance.view().at(y, x)).sqrt();
                field.difference.row_mut(y)[x] = sum as f32;
            }
        }
        field
    }

    /// r of the same draw, on the image.
    pub(crate) fn reference_noise(&self, seed: u64) -> Image<f32> {
        let (height, width) = self.difference.view().shape();
        let wide = self.wide_reference(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        Image::from_fn(height, width, |y, x| wide.view().at(y + KERNEL, x + KERNEL) as f32)
    }

    /// r with the kernel's half-width more on every side.
    fn wide_reference(&self, random: &mut Xoshiro256PlusPlus) -> Image<f64> {
        let (height, width) = self.difference.view().shape();
        let h = KERNEL;
        Image::from_fn(height + 2 * h, width + 2 * h, |y, x| {
            let (y, x) = (y.saturating_sub(h).min(height - 1), x.saturating_sub(h).min(width - 1));
            let normal: f64 = StandardNormal.sample(random);
            normal * f64::from(self.reference_variance.view().at(y, x)).sqrt()
        })
    }

    /// Adds stars (y, x, flux) of the target's PSF.
    pub(crate) fn with_stars(mut self, stars: &[(f64, f64, f64)]) -> Self {
        let sigma2 = TARGET_SIGMA * TARGET_SIGMA;
        let (height, width) = self.difference.view().shape();
        for (y, x, flux) in stars {
            for py in 0..height {
                for px in 0..width {
                    let r2 = (py as f64 - y).powi(2) + (px as f64 - x).powi(2);
                    if r2 < 400.0 {
                        let star =
                            flux * (-0.5 * r2 / sigma2).exp() / (std::f64::consts::TAU * sigma2);
                        self.difference.row_mut(py)[px] += star as f32;
                    }
                }
            }
        }
        self
    }
}

/// Mean and standard deviation.
pub(crate) fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt())
}
