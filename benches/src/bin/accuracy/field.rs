//! Simulated fields, how they are fitted, and how far from the truth that is.

use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{
    CcdNoise, Design, Image, KernelBasis, KernelShape, KernelSupport, Mask, NoiseModel,
};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    Criterion, Difference, Exposure, FitOptions, KernelExtent, LEAST_BACKGROUND, Preconditioning,
    SubtractError, Variation, best_half_width, nested_kernels, subtract, with_largest_background,
};

use crate::Result;

/// The default night without anything that changes or is broken.
pub(crate) fn quiet(side: usize) -> SimulationOptions {
    SimulationOptions {
        height: side,
        width: side,
        variables: 0,
        transients: 0,
        cosmic_rays: 0,
        bad_columns: 0,
        ..Default::default()
    }
}

/// The basis of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Basis {
    /// That of `dia subtract`, see [`KernelExtent`].
    Mixed,
    /// The same on the circle that a criterion finds best, up to that one.
    Best(Criterion),
    /// Every pixel of a square of this half-width.
    Delta(usize),
}

/// The model and how it is fitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) basis: Basis,
    pub(crate) scale_degree: usize,
    pub(crate) kernel_degree: usize,
    pub(crate) background_degree: usize,
    pub(crate) options: FitOptions,
}

impl Default for Model {
    /// That of `dia subtract`.
    fn default() -> Self {
        let options = FitOptions {
            variation: Variation::Tested,
            least_background: Some(LEAST_BACKGROUND),
            ..FitOptions::DEFAULT
        };
        Self { kernel_degree: 2, background_degree: 2, options, ..Self::CONSTANT }
    }
}

impl Model {
    /// A kernel that does not vary.
    pub(crate) const CONSTANT: Self = Self {
        basis: Basis::Mixed,
        scale_degree: 0,
        kernel_degree: 0,
        background_degree: 1,
        options: FitOptions::DEFAULT,
    };

    /// The design, and the half-width of the best kernel where one was asked for.
    pub(crate) fn design(&self, field: &SimulationOptions, best: Option<usize>) -> Result<Design> {
        let conserve_flux = self.scale_degree != self.kernel_degree;
        let fwhm = field.reference_fwhm.max(field.target_fwhm);
        let extent = match best {
            Some(half_width) => KernelExtent::of_half_width(half_width, Some(fwhm)),
            None => extent(field),
        };
        let basis = match self.basis {
            Basis::Mixed | Basis::Best(_) => extent.basis(KernelShape::Circle, conserve_flux),
            Basis::Delta(h) if conserve_flux => {
                KernelBasis::FluxConservingDelta(KernelSupport::new(h, KernelShape::Square))
            }
            Basis::Delta(h) => KernelBasis::delta(h),
        };
        let design = Design::new(field.height, field.width, basis, Some(self.background_degree))?;
        let design = design.with_variation(self.scale_degree, self.kernel_degree)?;
        let design = match self.basis {
            Basis::Mixed | Basis::Best(_) => design.with_border(extent.inner),
            Basis::Delta(_) => design,
        };
        Ok(match self.options.least_background {
            Some(_) => with_largest_background(design),
            None => design,
        })
    }
}

/// How far the kernel of half-width `auto` reaches.
fn extent(field: &SimulationOptions) -> KernelExtent {
    let fwhm = field.reference_fwhm.max(field.target_fwhm);
    KernelExtent::of_seeing(fwhm, field.height, field.width)
}

/// Of a star nearer to the border than this, in pixels, much is lost.
const MARGIN: f64 = 15.0;

/// A simulated pair in single precision.
pub(crate) struct Field {
    pair: SimulatedPair,
    reference: Image<f32>,
    target: Image<f32>,
}

/// What a fit found, against the truth.
#[derive(Debug)]
pub(crate) struct Trial {
    /// P / P_true, and its σ.
    pub(crate) scale: f64,
    pub(crate) sigma: f64,
    /// ‖(M − M_true)/σ‖_rms over the usable pixels.
    pub(crate) error: f64,
    /// How much of the stars' light is found: the slope of M − B against M_true without sky, weighted by 1/σ².
    pub(crate) slope: f64,
    pub(crate) lambda: f64,
    pub(crate) passes: usize,
    pub(crate) products: usize,
    pub(crate) preconditioning: Preconditioning,
}

impl Field {
    pub(crate) fn new(options: &SimulationOptions) -> Result<Self> {
        let pair = simulate(options)?;
        let (reference, target) = (pair.reference.map(|v| v as f32), pair.target.map(|v| v as f32));
        Ok(Self { pair, reference, target })
    }

    /// How many stars stand away from the border.
    pub(crate) fn stars(&self) -> usize {
        let SimulationOptions { height, width, .. } = self.pair.truth.options;
        let within = |place: f64, size: usize| (MARGIN..size as f64 - MARGIN).contains(&place);
        let stars = self.pair.truth.stars.iter();
        stars.filter(|star| within(star.y, height) && within(star.x, width)).count()
    }

    /// Fits and compares; an error also where the fit has not converged.
    pub(crate) fn fit(&self, model: &Model) -> Result<Trial> {
        let truth = &self.pair.truth.options;
        let best = match model.basis {
            Basis::Best(criterion) => Some(self.best_half_width(criterion)?),
            Basis::Mixed | Basis::Delta(_) => None,
        };
        let design = model.design(truth, best)?;
        let options = FitOptions { target_fwhm: Some(truth.target_fwhm), ..model.options };
        let (reference, target) = self.exposures();
        let operator = FftDesignMatrix::new;
        let difference = subtract(&reference, &target, design, operator, &options, &mut |_| ())?;
        let outcome = difference.outcome;
        if !outcome.stop.converged() {
            return Err(format!("{} at {:.3} σ", outcome.stop, outcome.optimality).into());
        }
        Ok(Trial {
            scale: difference.photometric_scale.value / truth.scale,
            sigma: difference.photometric_scale.sigma / truth.scale,
            error: self.model_error(&difference),
            slope: self.slope(&difference),
            lambda: difference.lambda,
            passes: outcome.passes,
            products: outcome.products,
            preconditioning: outcome.preconditioning,
        })
    }

    fn exposures(&self) -> (Exposure<'_, f32>, Exposure<'_, f32>) {
        let (pair, truth) = (&self.pair, &self.pair.truth.options);
        let exposure = |image, mask, noise| exposure(image, mask, noise, truth.saturation);
        (
            exposure(&self.reference, &pair.reference_mask, truth.reference_noise()),
            exposure(&self.target, &pair.target_mask, truth.target_noise()),
        )
    }

    /// By one fit of free pixels on the widest support.
    fn best_half_width(&self, criterion: Criterion) -> Result<usize> {
        let (reference, target) = self.exposures();
        let widest = extent(&self.pair.truth.options).inner;
        let widest = KernelSupport::new(widest, KernelShape::Circle);
        let (operator, options) = (FftDesignMatrix::new, FitOptions::plain());
        let kernels = nested_kernels(&reference, &target, widest, 1, operator, &options)?;
        Ok(best_half_width(&kernels, criterion).ok_or("no kernels to choose from")?)
    }

    fn usable(difference: &Difference<f32>) -> impl Iterator<Item = usize> {
        let pixels = difference.difference.pixels().iter().enumerate();
        pixels.filter(|(_, d)| d.is_finite()).map(|(i, _)| i)
    }

    fn model_error(&self, difference: &Difference<f32>) -> f64 {
        let (truth, variance) =
            (self.pair.target_noiseless.pixels(), self.pair.target_variance.pixels());
        let model = difference.model.pixels();
        let squares = Self::usable(difference)
            .map(|i| (f64::from(model[i]) - truth[i]).powi(2) / variance[i]);
        let (sum, count) = squares.fold((0.0, 0.0), |(sum, count), z| (sum + z, count + 1.0));
        (sum / count).sqrt()
    }

    fn slope(&self, difference: &Difference<f32>) -> f64 {
        let options = &self.pair.truth.options;
        let (truth, variance) =
            (self.pair.target_noiseless.pixels(), self.pair.target_variance.pixels());
        let points = Self::usable(difference).map(|i| {
            let (row, column) = (i / options.width, i % options.width);
            let background = difference.design.background_at(&difference.parameters, row, column);
            let x = truth[i] - sky(options, row, column);
            (variance[i].recip(), x, f64::from(difference.model.pixels()[i]) - background)
        });
        // Σ w, Σ w x, Σ w y, Σ w x², Σ w x y.
        let [w, x, y, xx, xy] = points.fold([0.0; 5], |sums, (w, x, y)| {
            let terms = [w, w * x, w * y, w * x * x, w * x * y];
            std::array::from_fn(|k| sums[k] + terms[k])
        });
        (w * xy - x * y) / (w * xx - x * x)
    }
}

pub(crate) fn exposure<'a>(
    image: &'a Image<f32>,
    mask: &'a Mask,
    noise: CcdNoise,
    saturation: Option<f64>,
) -> Exposure<'a, f32> {
    Exposure {
        image: image.view(),
        mask: Some(mask),
        noise: NoiseModel::Ccd(noise, None),
        saturation,
    }
}

/// The target's sky.
fn sky(options: &SimulationOptions, row: usize, column: usize) -> f64 {
    let scaled = |x: usize, pixels: usize| 2.0 * x as f64 / (pixels - 1) as f64 - 1.0;
    let (u, v) = (scaled(column, options.width), scaled(row, options.height));
    options.target_sky
        + 0.5 * (options.sky_gradient_x * u + options.sky_gradient_y * v)
        + 0.5 * options.sky_curvature * (u * u + v * v)
}

/// Whether a fit failed because the reference's noise leaves nothing to determine the kernel.
pub(crate) fn undetermined(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(SubtractError::Undetermined))
}
