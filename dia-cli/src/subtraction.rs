//! A subtraction from two images in memory to planes, solution and report: what the command and every other program share.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use dia_core::stars::Star;
use dia_core::{
    Design, DesignMatrix, Image, ImageView, Kernel, KernelShape, KernelSupport, MaskPlanes, seeing,
};
use dia_fft::{FftDesignMatrix, Plan};
use dia_solvers::{
    Difference, FitOptions, KernelExtent, Lambda, Prepared, Progress, Variation, automatic_degree,
    best_half_width, difference, fit, nested_kernels,
};

use crate::Error;
use crate::align::{Aligned, Shift, align};
use crate::direction::{convolves_target, turned_back};
use crate::input::{Input, Real};
use crate::kernel_basis::{BasisRecipe, shape_name};
use crate::memory::{device, plan};
use crate::notice::Verdict;
use crate::reference::lineage::{Shared, exposure_in, sharing_noise};
use crate::report::{
    Background, Centroid, KernelReport, OffsetReport, Pixels, Regularisation, Report, Residuals,
    SCHEMA, Seeing, SolverReport, Timings, Variables, loss_name, reference_noise_name,
};
use crate::request::{Basis, HalfWidth, KernelDegree, SubtractRequest};
use crate::verdict::{Evidence, judge};

/// What is told of a subtraction while it runs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A pass of the fit has begun.
    Pass(Progress),
    /// The fit has ended, well or not.
    Fitted,
    /// The device has no room for a part of the rows, which stay in the host's memory: the fit is slower.
    RowsOnHost {
        /// The name of the device.
        device: String,
        /// The part of the rows, from 0 to 1.
        part: f64,
    },
}

/// A finished subtraction.
#[derive(Debug)]
#[must_use]
pub struct Subtraction<T> {
    /// Difference, variance, mask, model, kernel and the rest of the solution, on the target's grid.
    pub difference: Difference<T>,
    /// What was done and found, with the verdict.
    pub report: Report,
    /// The reference on the target's grid.
    pub(crate) reference: Input<T>,
    pub(crate) target: Input<T>,
    /// What the kernel's basis was made of.
    pub(crate) basis: BasisRecipe,
}

/// Aligns the reference with the target, fits kernel and background, subtracts, and judges the result.
///
/// `tell` hears of what happens meanwhile. A result is returned whatever its verdict is: see [`Report::level`].
///
/// # Errors
/// If the images cannot be aligned, are one and the same, or do not determine the model; if the fit does not reach its
/// minimum; if memory or device do not suffice. Remedies are named as options of `dia subtract`, `--half-width` for
/// [`SubtractRequest::half_width`].
///
/// # Examples
/// ```
/// use dia_cli::{Input, Level, Role, SubtractRequest, subtract};
/// use dia_core::NoiseModel;
/// use dia_core::simulate::{SimulationOptions, simulate};
/// use dia_solvers::Exposure;
///
/// let options = SimulationOptions { height: 200, width: 200, event_margin: 40.0, ..Default::default() };
/// let pair = simulate(&options)?;
/// let reference = Exposure {
///     image: pair.reference.view(),
///     mask: Some(&pair.reference_mask),
///     noise: NoiseModel::Ccd(options.reference_noise(), None),
///     saturation: options.saturation,
/// };
/// let target = Exposure {
///     image: pair.target.view(),
///     mask: Some(&pair.target_mask),
///     noise: NoiseModel::Ccd(options.target_noise(), None),
///     saturation: options.saturation,
/// };
/// let subtraction = subtract(
///     Input::of_exposure("reference", Role::Reference, &reference)?,
///     Input::of_exposure("target", Role::Target, &target)?,
///     &SubtractRequest::default(),
///     &mut |_| (),
/// )?;
/// let scale = subtraction.difference.photometric_scale;
/// assert!((scale.value - options.scale).abs() < 5.0 * scale.sigma);
/// assert!(subtraction.report.level() < Level::Fail);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn subtract<T: Real>(
    reference: Input<T>,
    target: Input<T>,
    request: &SubtractRequest,
    tell: &mut dyn FnMut(Event),
) -> Result<Subtraction<T>, Error> {
    T::subtract(reference, target, request, tell)
}

/// [`subtract`] of one type of pixels.
pub(crate) fn run<T: Real>(
    reference: Input<T>,
    target: Input<T>,
    request: &SubtractRequest,
    tell: &mut dyn FnMut(Event),
) -> Result<Subtraction<T>, Error> {
    Ok(Job { request }.run(reference, target, tell)?)
}

struct Job<'a> {
    request: &'a SubtractRequest,
}

impl Job<'_> {
    fn run<T: Real>(
        &self,
        mut reference: Input<T>,
        target: Input<T>,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Subtraction<T>> {
        let start = Instant::now();
        let mut timings = Timings::default();
        let mut clock = Clock(start);
        let member = exposure_in(&reference.header, &target);
        // From a star's place in the reference to that in the target.
        let back = |shared: Shared| Shift { dx: -shared.moved.dx, dy: -shared.moved.dy };
        let known = member.as_ref().and_then(|member| member.shared).map(back);
        let Aligned { turn, shift, stars, report: alignment } =
            align(&mut reference, &target, self.request, known)?;
        let as_it_was = turn.is_none() && alignment.decision != "warp" && known == Some(shift);
        let request =
            &sharing_noise(self.request, &mut reference, &target, member.as_ref(), as_it_was);
        timings.align = clock.lap();
        let measured = rayon::join(|| measure(&reference, &stars), || measure(&target, &stars));
        let seeing = measured
            .0
            .zip(measured.1)
            .map(|(r, t)| Seeing { reference_fwhm: r.fwhm, target_fwhm: t.fwhm });
        let unmeasured = if measured.0.is_none() { &reference.taken } else { &target.taken };
        let (convolves_target, why) = convolves_target(request, measured.0, measured.1)?;
        let mut extent = self.extent(&target, seeing, &unmeasured.image)?;
        let (height, width) = target.image.view().shape();
        let subtracting = || {
            let places = if convolves_target {
                " (the target is convolved: below, it stands in the place of the reference)"
            } else {
                ""
            };
            format!("cannot subtract {} from {}{places}", reference.taken.image, target.taken.image)
        };
        let degree = request.background_degree;
        ensure!(
            !same_pixels(&reference, &target),
            "{} and {} are the same image, pixel by pixel: there is no difference to find; give the target of another exposure",
            reference.taken.image,
            target.taken.image
        );
        // The image that is convolved, and the one that it is fitted to.
        let (convolved, fitted_to) =
            if convolves_target { (&target, &reference) } else { (&reference, &target) };
        let fitted_fwhm = if convolves_target { measured.0 } else { measured.1 };
        let target_fwhm = fitted_fwhm.filter(|_| seeing.is_some()).map(|s| s.fwhm);
        let reference_seeing = if convolves_target { measured.1 } else { measured.0 };
        // What nobody asked for is fitted where it is seen.
        let is_open = request.kernel_degree == KernelDegree::Auto && request.scale_degree == 0;
        let variation = if is_open { Variation::Tested } else { Variation::AsDesigned };
        let options = FitOptions { target_fwhm, reference_seeing, variation, ..request.fit };
        let (reference_exposure, target_exposure) = (convolved.exposure(), fitted_to.exposure());
        let device = device::<T>(request, height, width)?;
        if let HalfWidth::Best(criterion) = request.half_width {
            let (r, t) = (&reference_exposure, &target_exposure);
            let support = self.support(extent.half_width);
            let kernels = match &device {
                Some(context) => {
                    let operator =
                        |image: ImageView<'_, T>, design| T::operator(context, image, design);
                    nested_kernels(r, t, support, degree, operator, &options)
                }
                None => nested_kernels(r, t, support, degree, FftDesignMatrix::new, &options),
            };
            let kernels = kernels
                .with_context(subtracting)
                .context("the best half-width cannot be found; give --half-width N")?;
            let half_width =
                best_half_width(&kernels, criterion).context("no half-widths to choose from")?;
            extent = KernelExtent::of_half_width(half_width, seeing.map(Seeing::widest));
        }
        let scale_degree = request.scale_degree;
        let recipe = |kernel_degree: usize| BasisRecipe {
            basis: request.basis,
            shape: request.kernel_shape,
            extent,
            conserve_flux: scale_degree != kernel_degree,
        };
        let designed = |kernel_degree: usize| {
            Design::new(height, width, recipe(kernel_degree).make(), Some(degree))
                .and_then(|design| design.with_variation(scale_degree, kernel_degree))
                .map(|design| design.with_border(extent.inner))
                .with_context(subtracting)
        };
        let design = match request.kernel_degree {
            KernelDegree::Given(kernel_degree) => designed(kernel_degree)?,
            KernelDegree::Auto => automatic_degree(designed)?,
        };
        let basis = recipe(design.kernel_degree());
        let needs_variance = options.needs_reference_variance();
        let mut prepared =
            Prepared::new(&reference_exposure, &target_exposure, design, needs_variance)
                .with_context(subtracting)?;
        let backend = device
            .as_ref()
            .map_or("cpu".into(), |context| format!("vulkan: {}", context.device().name));
        let mut laps = (&mut clock, &mut timings);
        let difference = if let Some(context) = &device {
            let operator = |image: &Image<T>, design| {
                T::operator(context, image.view(), design)
                    .with_context(|| request.backend.refused_by(&context.device().name))
            };
            let a = operator(prepared.shared_reference(), prepared.design().clone())?;
            let on_host = T::part_on_host(&a);
            if on_host > 0.0 {
                let device = context.device().name.clone();
                tell(Event::RowsOnHost { device, part: on_host });
            }
            let variance = prepared
                .shared_reference_variance()
                .map(|variance| operator(variance, prepared.design().of_variance()))
                .transpose()?;
            fit_and_subtract(&mut prepared, &a, variance, &options, &mut laps, tell)
        } else {
            let plan = plan::<T>(request, prepared.design())?;
            let operator = FftDesignMatrix::with_plan;
            let a = operator(prepared.shared_reference(), prepared.design().clone(), plan)?;
            // It is used a few times only: as often as its spectra would have to be read again.
            let plan = Plan { store_spectra: false, ..plan };
            let variance = prepared
                .shared_reference_variance()
                .map(|variance| operator(variance, prepared.design().of_variance(), plan))
                .transpose()?;
            fit_and_subtract(&mut prepared, &a, variance, &options, &mut laps, tell)
        };
        let fitted = difference.with_context(subtracting)?;
        let sign = if convolves_target { -1.0 } else { 1.0 };
        let centroid = {
            let (dy, dx) = fitted.kernel.centroid();
            Centroid { dx: sign * dx, dy: sign * dy }
        };
        let scales = fitted.design.kernels(&fitted.parameters);
        let scale_coefficients = scales.iter().map(Kernel::photometric_scale).collect();
        let convolved_noise = convolved_noise(convolved, fitted_to, &fitted.kernel);
        let difference =
            if convolves_target { turned_back(fitted, &reference, &target) } else { fitted };

        let mut notices = [reference.notices.clone(), target.notices.clone()].concat();
        notices.extend(why);
        let masks = [reference.unusable(), target.unusable()];
        notices.extend(judge(&Evidence {
            difference: &difference,
            images: [(&reference.image, &masks[0]), (&target.image, &masks[1])],
            stars: &stars,
            seeing: seeing.map(|s| [s.reference_fwhm, s.target_fwhm]),
            convolved_noise,
        }));
        timings.total = start.elapsed().as_secs_f64();
        let report = Report {
            verdict: Verdict::of(&notices),
            notices,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: String::new(),
            output: String::new(),
            photometric_scale: difference.photometric_scale.into(),
            background: Background {
                degree,
                coefficients: difference.background.iter().map(|b| (*b).into()).collect(),
                reference_sky: difference.reference_sky,
            },
            offset: OffsetReport { turned: turn.map(|turn| turn.code), dx: shift.dx, dy: shift.dy },
            alignment,
            seeing,
            half_width: extent.half_width,
            half_width_by: request.half_width.to_string(),
            kernel: KernelReport {
                basis: request.basis.name().into(),
                shape: shape_name(request.kernel_shape).into(),
                coefficients: difference.design.kernel_ncols(),
                core: (request.basis == Basis::Mixed).then_some(extent.core),
                inner: extent.inner,
                degree: difference.design.kernel_degree(),
                scale_degree: difference.design.scale_degree(),
                variation_test: difference.variation_test.map(Into::into),
                scale_coefficients,
                centroid,
                convolves: if convolves_target { "target" } else { "reference" },
            },
            loss: loss_name(&options).into(),
            reference_noise: reference_noise_name(options.reference_noise).into(),
            regularisation: Regularisation {
                lambda: difference.lambda,
                lambda_variation: difference.lambda_variation,
                noise_correction: difference.noise_correction,
                chosen: options.lambda == Lambda::Auto,
            },
            noise_scale: difference.noise_scale,
            variables: difference.variables.as_ref().map(|v| Variables::of(v, extent.inner)),
            solver: SolverReport {
                name: options.solver.name(),
                preconditioner: difference.outcome.preconditioning.name(),
                stop: difference.outcome.stop.name(),
                passes: difference.outcome.passes,
                iterations: difference.outcome.iterations,
                products: difference.outcome.products,
                optimality: difference.outcome.optimality,
                tolerance: options.tolerance,
            },
            residuals: Residuals {
                mfb: difference.residuals.mfb,
                mfv: difference.residuals.mfv,
                robust_std: difference.residuals.robust_std,
                chi2_dof: difference.residuals.chi2_dof,
                outliers: difference.residuals.outliers,
            },
            photometry: None,
            pixels: Pixels {
                used: difference.residuals.used,
                masked: height * width - difference.residuals.used,
                planes: MaskPlanes::all()
                    .iter_names()
                    .map(|(name, plane)| (name.to_lowercase(), difference.mask.count(plane)))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
            },
            timings_s: timings,
            backend,
            traffic: device.is_some().then(|| difference.outcome.traffic.into()),
            precision: T::PRECISION.name().into(),
            threads: rayon::current_num_threads(),
            reference: reference.taken.clone(),
            target: target.taken.clone(),
        };
        Ok(Subtraction { difference, report, reference, target, basis })
    }

    /// How far the kernel reaches: as asked for, or by the seeing.
    fn extent<T: Real>(
        &self,
        target: &Input<T>,
        seeing: Option<Seeing>,
        unmeasured: &str,
    ) -> Result<KernelExtent> {
        let (height, width) = target.image.view().shape();
        let fwhm = seeing.map(Seeing::widest);
        if let HalfWidth::Pixels(half_width) = self.request.half_width {
            // Before a kernel of that size is made.
            ensure!(
                half_width < height.min(width).div_ceil(2),
                "a kernel of half-width {half_width} leaves no valid pixel in {}, an image of {height} × {width} pixels \
                 (rows × columns); choose a smaller --half-width",
                target.taken.image
            );
            return Ok(KernelExtent::of_half_width(half_width, fwhm));
        }
        let fwhm = fwhm.with_context(|| {
            format!(
                "the seeing of {unmeasured} cannot be measured: too few usable stars; give --half-width N, about \
                 2.5 times the wider FWHM of both images' stars in pixels"
            )
        })?;
        let extent = KernelExtent::of_seeing(fwhm, height, width);
        let with_wings = self.request.half_width == HalfWidth::Auto
            && self.request.basis == Basis::Mixed
            && self.request.kernel_shape == KernelShape::Circle;
        let without = || KernelExtent::of_half_width(extent.inner, Some(fwhm));
        Ok(if with_wings { extent } else { without() })
    }

    fn support(&self, half_width: usize) -> KernelSupport {
        KernelSupport::new(half_width, self.request.kernel_shape)
    }
}

/// The fit and the difference, with the operators of one back end.
fn fit_and_subtract<A: DesignMatrix>(
    prepared: &mut Prepared<'_, A::Pixel>,
    a: &A,
    variance: Option<A>,
    options: &FitOptions,
    (clock, timings): &mut (&mut Clock, &mut Timings),
    tell: &mut dyn FnMut(Event),
) -> Result<Difference<A::Pixel>> {
    timings.prepare = clock.lap();
    let fit = fit(prepared, a, variance.as_ref(), options, &mut |p| tell(Event::Pass(p)));
    tell(Event::Fitted);
    let fit = fit?;
    if !fit.outcome.stop.converged() {
        bail!(
            "the fit ended ({}) after {} passes at {:.3} σ from the minimum, asked for was {} σ; \
             choose a smaller half-width, a larger --tolerance or --solver cholesky",
            fit.outcome.stop,
            fit.outcome.passes,
            fit.outcome.optimality,
            options.tolerance
        );
    }
    timings.fit = clock.lap();
    drop(variance);
    let difference = difference(prepared, a, fit)?;
    timings.apply = clock.lap();
    Ok(difference)
}

/// The seeing of the stars that both images have, or where none is known or usable, of what stands out.
fn measure<T: Real>(input: &Input<T>, stars: &[Star]) -> Option<seeing::Seeing> {
    let (image, mask) = (input.image.view(), input.unusable());
    seeing::measure_stars(image, &mask, stars, 3)
        .or_else(|| seeing::measure(image, &mask))
        .or_else(|| seeing::measure_stars(image, &mask, stars, 1))
}

/// Wall-clock time since the last call.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.0).as_secs_f64();
        self.0 = now;
        seconds
    }
}

/// The share of the variance of R ⊗ K − I that the first has, in the sky; 0 where the noise of the sky cannot be told.
fn convolved_noise<T: Real>(convolved: &Input<T>, fitted: &Input<T>, kernel: &Kernel) -> f64 {
    let variance = |input: &Input<T>| input.sky.map(|sky| sky.sigma * sky.sigma);
    let Some((r, t)) = variance(convolved).zip(variance(fitted)) else { return 0.0 };
    let squares = kernel.pixels().iter().map(|k| k * k).sum::<f64>();
    r * squares / (r * squares + t)
}

/// Whether two images are one: no two exposures have the same noise.
fn same_pixels<T: Real>(reference: &Input<T>, target: &Input<T>) -> bool {
    let (reference, target) = (reference.image.pixels(), target.image.pixels());
    let known = reference.iter().zip(target).filter(|(r, t)| r.is_finite() && t.is_finite());
    let (mut equal, mut all) = (0_usize, 0_usize);
    known.for_each(|(r, t)| {
        all += 1;
        equal += usize::from(r == t);
    });
    all > 0 && equal as f64 > 0.99 * all as f64
}
