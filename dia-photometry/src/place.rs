//! What all weights around one place share: the kernel there, the spectrum of the noise, and the PSF.

use dia_core::Kernel;
use rustfft::num_complex::Complex64;

use crate::Scene;
use crate::filter::{SkyVariance, noise_power};
use crate::offsets::{cut, dot, reach};
use crate::peaks::Curvature;
use crate::spectrum::Grid;
use crate::target_psf::windowed_centre;

/// The part of the optimal information on a flux, Σ w P, that may lie beyond the weights: σ grows by half of it.
const LOST_INFORMATION: f64 = 1e-4;

/// K, σ_n² + σ_r² |K̂|² and P_n of one place.
pub(crate) struct Place {
    pub(crate) kernel: Kernel,
    /// P_r there.
    pub(crate) reference_psf: Kernel,
    /// Where K puts a star of the reference, as (dy, dx) in pixels.
    pub(crate) displacement: (f64, f64),
    /// Half-width of templates and weights.
    pub(crate) half_width: usize,
    grid: Grid,
    power: Vec<f64>,
    /// P̂_n, centred.
    psf: Vec<Complex64>,
}

/// What is looked for, and the weights that find it best in the sky's noise: C⁻¹ t.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) shape: Kernel,
    pub(crate) weights: Kernel,
}

impl Place {
    /// At (y, x) of a scene; `None` where no pixel near it has a difference.
    pub(crate) fn at(scene: &Scene<'_>, y: f64, x: f64) -> Option<Self> {
        let sky = scene.sky_variance(y, x)?;
        let (py, px) = scene.nearest(y, x);
        Some(Self::new(scene.reference_psf.at(py, px), scene.kernel_at(y, x), sky))
    }

    pub(crate) fn new(reference_psf: Kernel, kernel: Kernel, sky: SkyVariance) -> Self {
        let widest = reference_psf.half_width() + kernel.half_width();
        let grid = Grid::holding(widest);
        let scale = kernel.photometric_scale();
        let [mut psf, of_kernel] = grid.transforms([&reference_psf, &kernel]);
        psf.iter_mut().zip(&of_kernel).for_each(|(p, k)| *p *= k / scale);
        let displacement = windowed_centre(&grid.kernel(psf.clone(), widest));
        grid.shift(&mut psf, -displacement.0, -displacement.1);
        let power = noise_power(&of_kernel, sky);
        let half_width = widest;
        let mut place = Self { kernel, reference_psf, displacement, half_width, grid, power, psf };
        let Template { shape, weights } = place.point(0.0, 0.0);
        let light = Kernel::from_fn(widest, |dy, dx| shape.at(dy, dx) * weights.at(dy, dx));
        // One more for a star between pixels.
        place.half_width = (reach(&light, LOST_INFORMATION) + 1).min(widest);
        place
    }

    /// P_n with its centre at (dy, dx) pixels.
    pub(crate) fn point(&self, dy: f64, dx: f64) -> Template {
        let mut spectrum = self.psf.clone();
        self.grid.shift(&mut spectrum, dy, dx);
        self.of_spectrum(spectrum)
    }

    /// (−∂P_n/∂y, −∂P_n/∂x) at (dy, dx): what a star gains that moves up a row, or a column.
    pub(crate) fn slopes(&self, dy: f64, dx: f64) -> [Template; 2] {
        let mut spectrum = self.psf.clone();
        self.grid.shift(&mut spectrum, dy, dx);
        let along = |pick: fn((f64, f64)) -> f64| {
            let times_ik = |(value, k)| value * Complex64::new(0.0, -pick(k));
            self.of_spectrum(
                spectrum.iter().zip(self.grid.frequencies()).map(times_ik).collect::<Vec<_>>(),
            )
        };
        [along(|k| k.0), along(|k| k.1)]
    }

    /// A given shape, of no larger half-width than the weights.
    pub(crate) fn template(&self, shape: &Kernel) -> Template {
        self.of_spectrum(self.grid.transform(shape))
    }

    /// P_n at (dy, dx) out to where P_r and K end, for what is not weighted: (2h + 1)² pixels of all its light.
    pub(crate) fn whole_psf(&self, dy: f64, dx: f64) -> Kernel {
        let mut spectrum = self.psf.clone();
        self.grid.shift(&mut spectrum, dy, dx);
        self.grid.kernel(spectrum, self.reference_psf.half_width() + self.kernel.half_width())
    }

    /// FWHM in pixels of the Gaussian with the effective area of P_n, 1/ΣP² = 4πσ².
    pub(crate) fn fwhm(&self) -> f64 {
        let psf = cut(&self.whole_psf(0.0, 0.0), self.half_width);
        let sigma2 = 1.0 / (4.0 * std::f64::consts::PI * dot(&psf, &psf));
        (8.0 * std::f64::consts::LN_2 * sigma2).sqrt()
    }

    /// ŵ = t̂ / (σ_n² + σ_r² |K̂|²) (Kaiser 2004; DMTN-179). The denominator is never zero.
    fn of_spectrum(&self, spectrum: Vec<Complex64>) -> Template {
        let whitened: Vec<Complex64> =
            spectrum.iter().zip(&self.power).map(|(t, power)| t / power).collect();
        let [shape, weights] = self.grid.kernels(spectrum, &whitened, self.half_width);
        Template { shape, weights }
    }

    /// Λ = Σ k kᵀ S(k) / Σ S(k) of the spectrum S = |P̂_n|²/(σ_n² + σ_r² |K̂|²) of the score.
    pub(crate) fn peak_curvature(&self) -> Curvature {
        let [mut sum, mut yy, mut xx, mut yx] = [0.0; 4];
        for ((p, power), (ky, kx)) in self.psf.iter().zip(&self.power).zip(self.grid.frequencies())
        {
            let s = p.norm_sqr() / power;
            sum += s;
            yy += ky * ky * s;
            xx += kx * kx * s;
            yx += ky * kx * s;
        }
        Curvature { yy: yy / sum, xx: xx / sum, yx: yx / sum }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Template};
    use crate::filter::{Filter, SkyVariance};
    use crate::offsets::dot;
    use dia_core::Kernel;

    const SKY: SkyVariance = SkyVariance { target: 4.0, reference: 9.0 };

    fn delta() -> Kernel {
        Kernel::from_fn(1, |dy, dx| if (dy, dx) == (0, 0) { 1.0 } else { 0.0 })
    }

    #[test]
    fn the_optimal_weight_has_the_variance_that_theory_gives() {
        let kernel = Kernel::gaussian(9, 1.5);
        let place = Place::new(Kernel::gaussian(12, 1.6), kernel.clone(), SKY);
        let point = place.point(0.3, -0.2);
        let f = dot(&point.weights, &point.shape);
        // wᵀ C w = P C⁻¹ P = F for the optimal weight; cutting it loses 1e-4 of the information.
        assert!((Filter::new(point.weights, &kernel).variance(SKY) / f - 1.0).abs() < 1e-3);
    }

    #[test]
    fn weights_of_white_noise_are_the_psf() {
        let place = Place::new(Kernel::gaussian(12, 1.6), delta(), SKY);
        let point = place.point(0.0, 0.0);
        // Target and reference of one PSF: the noise is white, of 4 + 9.
        let same = point.weights.pixels().iter().zip(point.shape.pixels());
        assert!(same.clone().all(|(w, p)| (13.0 * w - p).abs() < 1e-15));
        // e^(−r²/σ²) beyond a half-width of r is below 1e-4 from 1.6 · √(ln 1e4) = 4.9 pixels on.
        assert!((5..=7).contains(&place.half_width), "{}", place.half_width);
        // 2.355 · 1.6, and 4πσ² is right for a sampled Gaussian to e^(−4π²σ²).
        assert!((place.fwhm() - 3.767_7).abs() < 1e-3, "{}", place.fwhm());
    }

    #[test]
    fn weights_follow_the_unit_of_the_pixels() {
        let kernel = Kernel::gaussian(4, 0.8);
        let at = |unit: f64| {
            let sky = SkyVariance {
                target: SKY.target * unit * unit,
                reference: SKY.reference * unit * unit,
            };
            let place = Place::new(Kernel::gaussian(12, 1.6), kernel.clone(), sky);
            let Template { shape, weights } = place.point(0.3, -0.2);
            let filter = Filter::new(weights, &kernel);
            let scaled = |weights: &Kernel| {
                weights.pixels().iter().map(|w| w * unit * unit).collect::<Vec<f64>>()
            };
            (shape, scaled(&filter.weights), scaled(&filter.reference_weights))
        };
        // Of photons, of W/m², of electrons of a stack: powers of two are exact.
        for power in [-60, -20, 30] {
            assert_eq!(at(2_f64.powi(power)), at(1.0));
        }
    }

    #[test]
    fn peaks_of_smoothed_white_noise_are_as_wide_as_the_gaussian() {
        // White noise through a Gaussian of σ has the autocorrelation e^(−r²/4σ²): Λ = 1/(2σ²) in both directions.
        let place = Place::new(Kernel::gaussian(16, 1.8), delta(), SKY);
        let curvature = place.peak_curvature();
        for lambda in [curvature.yy, curvature.xx] {
            assert!((lambda * 2.0 * 1.8 * 1.8 - 1.0).abs() < 1e-6);
        }
        assert!(curvature.yx.abs() < 1e-9);
    }
}
