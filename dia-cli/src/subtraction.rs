//! A subtraction from two images in memory to planes, solution and report: what the command and every other program share.

mod model;
mod pair;
mod reported;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use dia_core::{DesignMatrix, Image};
use dia_fft::{FftDesignMatrix, Plan};
use dia_solvers::{Difference, FitOptions, Prepared, Progress, difference, fit};

use crate::Error;
use crate::align::{Aligned, Shift, align};
use crate::direction::turned_back;
use crate::input::{Input, Real};
use crate::kernel_basis::BasisRecipe;
use crate::memory::{device, plan};
use crate::reference::lineage::{Shared, exposure_in, leave_out};
use crate::report::{Report, Timings};
use crate::request::SubtractRequest;
use crate::shared_noise;
use crate::subtraction::pair::Pair;
use crate::subtraction::reported::Done;

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
    Ok(align_and_subtract(reference, target, request, tell)?)
}

fn align_and_subtract<T: Real>(
    mut reference: Input<T>,
    target: Input<T>,
    request: &SubtractRequest,
    tell: &mut dyn FnMut(Event),
) -> Result<Subtraction<T>> {
    let mut clock = Clock::new();
    let member = exposure_in(&reference.header, &target);
    // From a star's place in the reference to that in the target.
    let back = |shared: Shared| Shift { dx: -shared.moved.dx, dy: -shared.moved.dy };
    let known = member.as_ref().and_then(|member| member.shared).map(back);
    let aligned = align(&mut reference, &target, request, known)?;
    let Aligned { turn, shift, report: alignment, .. } = &aligned;
    let as_it_was = turn.is_none() && alignment.decision != "warp" && known == Some(*shift);
    leave_out(&mut reference, &target, member.as_ref(), as_it_was, request)?;
    reference.notices.extend(shared_noise::judge(&reference, &target));
    clock.timings.align = clock.lap();

    let pair = Pair::new(&reference, &target, &aligned.stars, request)?;
    let (height, width) = target.image.view().shape();
    let device = device::<T>(request, height, width)?;
    let (design, basis) = model::choose(&pair, device.as_ref(), request)?;
    let subtracting = || pair.subtracting();
    let options = &pair.options;
    let needs_variance = options.needs_reference_variance();
    let (convolved, fitted_to) = (pair.convolved.exposure(), pair.fitted_to.exposure());
    let mut prepared =
        Prepared::new(&convolved, &fitted_to, design, needs_variance).with_context(subtracting)?;
    let fitted = if let Some(context) = &device {
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
        fit_and_subtract(&mut prepared, &a, variance, options, &mut clock, tell)
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
        fit_and_subtract(&mut prepared, &a, variance, options, &mut clock, tell)
    };
    let fitted = fitted.with_context(subtracting)?;

    let difference =
        if pair.convolves_target { turned_back(fitted, &reference, &target) } else { fitted };
    let backend = device
        .as_ref()
        .map_or("cpu".into(), |context| format!("vulkan: {}", context.device().name));
    let (aligned, on_device) = (&aligned, device.is_some());
    let own_photon = prepared.own_photon();
    let done = Done {
        request,
        aligned,
        pair: &pair,
        basis,
        difference: &difference,
        own_photon,
        backend,
        on_device,
    };
    let report = done.report([&reference, &target], clock);
    Ok(Subtraction { difference, report, reference, target, basis })
}

/// The fit and the difference, with the operators of one back end.
fn fit_and_subtract<A: DesignMatrix>(
    prepared: &mut Prepared<'_, A::Pixel>,
    a: &A,
    variance: Option<A>,
    options: &FitOptions,
    clock: &mut Clock,
    tell: &mut dyn FnMut(Event),
) -> Result<Difference<A::Pixel>> {
    clock.timings.prepare = clock.lap();
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
    clock.timings.fit = clock.lap();
    drop(variance);
    let difference = difference(prepared, a, fit)?;
    clock.timings.apply = clock.lap();
    Ok(difference)
}

/// Wall-clock time of the stages.
struct Clock {
    start: Instant,
    last: Instant,
    timings: Timings,
}

impl Clock {
    fn new() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, timings: Timings::default() }
    }

    /// Seconds since the last call.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.last).as_secs_f64();
        self.last = now;
        seconds
    }

    /// All stages, with what passed since the first one began.
    fn stop(mut self) -> Timings {
        self.timings.total = self.start.elapsed().as_secs_f64();
        self.timings
    }
}
