//! `dia subtract`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use dia_core::defects::sky_noise;
use dia_core::stars::Star;
use dia_core::{
    Design, DesignMatrix, GaussianTerm, Image, ImageView, Kernel, KernelBasis, KernelShape,
    KernelSupport, MaskPlanes, seeing,
};
use dia_fft::{FftDesignMatrix, Plan};
use dia_solvers::{
    Difference, FitOptions, KernelExtent, Lambda, NoiseScale, Prepared, Progress, ReferenceNoise,
    VariableSourceOptions, automatic_degree, best_half_width, difference, fit, nested_kernels,
};
use dia_vulkan::{ContextOptions, VulkanContext};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::align::{Aligned, align};
use crate::args::{
    BasisArg, FailOn, HalfWidth, KernelDegree, KernelShapeArg, ModelArgs, NoiseArgs, NoiseScaleArg,
    Precision, ReferenceNoiseArg, RunArgs, SubtractArgs, Switch, name_of,
};
use crate::command;
use crate::direction::{convolves_target, turned_back};
use crate::figure::{self, Marker};
use crate::fits::FitsSpec;
use crate::input::{Input, Options, Real, Role, shown};
use crate::notice::{Level, Verdict};
use crate::output::{self, Described};
use crate::report::{
    Background, Centroid, KernelReport, OffsetReport, Pixels, Regularisation, Report, Residuals,
    SCHEMA, Seeing, SolverReport, Timings, Variables, write_json,
};
use crate::terminal::{say, with_sigma};
use crate::verdict::{Evidence, judge};

/// Image-sized arrays of pixels at the peak of a subtraction, beside the spectra: reference, target; the reference without
/// sky, its variance; data, two parts of the noise, weights.
const IMAGES: usize = 8;

/// Image-sized masks at that time.
const MASKS: usize = 4;

/// Exit code of a result that was written and whose verdict says not to use it.
const NOT_TO_BE_USED: u8 = 3;

/// Runs the command.
pub(crate) fn run(args: &SubtractArgs, command_line: &[String]) -> Result<ExitCode> {
    let job = Job {
        reference: &args.reference,
        target: &args.target,
        output: &args.output,
        report: args.report.as_deref(),
        figure: args.figure.as_deref(),
        markers: &[],
        model: &args.model,
        noise: &args.noise,
        run: &args.run,
        command_line,
    };
    set_threads(&args.run)?;
    let level = job.run()?.report.verdict.level;
    let refused = match args.fail_on {
        FailOn::Warn => level >= Level::Warn,
        FailOn::Fail => level >= Level::Fail,
        FailOn::Never => false,
    };
    Ok(if refused { ExitCode::from(NOT_TO_BE_USED) } else { ExitCode::SUCCESS })
}

/// Makes the global thread pool.
pub(crate) fn set_threads(run: &RunArgs) -> Result<()> {
    let threads = run.threads.map_or(0, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot start the threads; give a smaller --threads")
}

/// One subtraction, from files to files.
pub(crate) struct Job<'a> {
    pub(crate) reference: &'a FitsSpec,
    pub(crate) target: &'a FitsSpec,
    pub(crate) output: &'a Path,
    pub(crate) report: Option<&'a Path>,
    pub(crate) figure: Option<&'a Path>,
    /// What to mark in the figure.
    pub(crate) markers: &'a [Marker],
    pub(crate) model: &'a ModelArgs,
    pub(crate) noise: &'a NoiseArgs,
    pub(crate) run: &'a RunArgs,
    pub(crate) command_line: &'a [String],
}

/// The difference in single precision, for what comes after.
pub(crate) struct Done {
    pub(crate) difference: Difference<f32>,
    pub(crate) report: Report,
}

impl Job<'_> {
    /// Reads, fits, subtracts and writes.
    pub(crate) fn run(&self) -> Result<Done> {
        match self.model.precision {
            Precision::F32 => self.run_in::<f32>(),
            Precision::F64 => self.run_in::<f64>(),
        }
    }

    fn run_in<T: Real>(&self) -> Result<Done> {
        let start = Instant::now();
        self.check_outputs()?;
        let mut timings = Timings::default();
        let mut clock = Clock(start);
        let read = |spec, role| Input::<T>::read(spec, &Options::new(self.noise, role));
        let (reference, target) = rayon::join(
            || read(self.reference, Role::Reference),
            || read(self.target, Role::Target),
        );
        let (mut reference, target) = (reference?, target?);
        if self.run.verbose {
            eprintln!("reference {}", reference.taken.summary());
            eprintln!("target    {}", target.taken.summary());
        }
        timings.read = clock.lap();

        let Aligned { turn, shift, stars } = align(&mut reference, &target, self.model.align)?;
        let measured = rayon::join(|| measure(&reference, &stars), || measure(&target, &stars));
        let seeing = measured
            .0
            .zip(measured.1)
            .map(|(r, t)| Seeing { reference_fwhm: r.fwhm, target_fwhm: t.fwhm });
        let unmeasured = if measured.0.is_none() { &reference.taken } else { &target.taken };
        let (convolves_target, why) = convolves_target(self.model, measured.0, measured.1)?;
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
        let degree = usize::from(self.model.background_degree);
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
        let options = self.fit_options(fitted_fwhm.filter(|_| seeing.is_some()).map(|s| s.fwhm));
        let (reference_exposure, target_exposure) = (convolved.exposure(), fitted_to.exposure());
        let device = self.device::<T>(height, width)?;
        if let HalfWidth::Best(criterion) = self.model.half_width {
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
        let scale_degree = usize::from(self.model.scale_degree);
        let designed = |kernel_degree: usize| {
            let basis = self.basis(&extent, scale_degree != kernel_degree);
            Design::new(height, width, basis, Some(degree))
                .and_then(|design| design.with_variation(scale_degree, kernel_degree))
                .map(|design| design.with_border(extent.inner))
                .with_context(subtracting)
        };
        let design = match self.model.kernel_degree {
            KernelDegree::Given(kernel_degree) => designed(kernel_degree)?,
            KernelDegree::Auto => automatic_degree(designed)?,
        };
        let kernel_degree = design.kernel_degree();
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
                    .with_context(|| self.run.backend.refused_by(&context.device().name))
            };
            let a = operator(prepared.shared_reference(), prepared.design().clone())?;
            let on_host = T::part_on_host(&a);
            if on_host > 0.0 && !self.run.quiet {
                eprintln!(
                    "note: {} has no room for {:.0} % of the rows, which stay in the host's memory: the fit is slower",
                    context.device().name,
                    100.0 * on_host
                );
            }
            let variance = prepared
                .shared_reference_variance()
                .map(|variance| operator(variance, prepared.design().of_variance()))
                .transpose()?;
            self.fitted(&mut prepared, &a, variance, &options, &mut laps)
        } else {
            let plan = self.plan::<T>(prepared.design())?;
            let operator = FftDesignMatrix::with_plan;
            let a = operator(prepared.shared_reference(), prepared.design().clone(), plan)?;
            // It is used a few times only: as often as its spectra would have to be read again.
            let plan = Plan { store_spectra: false, ..plan };
            let variance = prepared
                .shared_reference_variance()
                .map(|variance| operator(variance, prepared.design().of_variance(), plan))
                .transpose()?;
            self.fitted(&mut prepared, &a, variance, &options, &mut laps)
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
        let mut report = Report {
            verdict: Verdict::of(&notices),
            notices,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: self.command_line.join(" "),
            output: self.output.display().to_string(),
            photometric_scale: difference.photometric_scale.into(),
            background: Background {
                degree,
                coefficients: difference.background.iter().map(|b| (*b).into()).collect(),
                reference_sky: difference.reference_sky,
            },
            offset: OffsetReport { turned: turn.map(|turn| turn.code), dx: shift.dx, dy: shift.dy },
            seeing,
            half_width: extent.half_width,
            half_width_by: self.model.half_width.to_string(),
            kernel: KernelReport {
                basis: name_of(&self.model.basis),
                shape: name_of(&self.model.kernel_shape),
                coefficients: prepared.design().kernel_ncols(),
                core: (self.model.basis == BasisArg::Mixed).then_some(extent.core),
                inner: extent.inner,
                degree: kernel_degree,
                scale_degree: self.model.scale_degree.into(),
                scale_coefficients,
                centroid,
                convolves: if convolves_target { "target" } else { "reference" },
            },
            loss: name_of(&self.model.loss),
            reference_noise: name_of(&self.model.reference_noise),
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
            precision: name_of(&self.model.precision),
            threads: rayon::current_num_threads(),
            reference: reference.taken.clone(),
            target: target.taken.clone(),
        };
        output::write(
            self.output,
            &Described {
                difference: &difference,
                target_header: &target.header,
                report: &report,
                history: command::reproducible(self.command_line),
            },
        )?;
        report.timings_s.write = clock.lap();
        report.timings_s.total = start.elapsed().as_secs_f64();
        let done = Done { difference: difference.map_pixels(narrow_pixel), report };
        if let Some(path) = self.figure {
            let heading = heading(&done.report);
            let images = [reference.image.map(narrow_pixel), target.image.map(narrow_pixel)];
            figure::subtraction(path, &heading, &images, &done.difference, self.markers)?;
        }
        if let Some(path) = self.report {
            write_json(path, &done.report)?;
        }
        if !self.run.quiet {
            for notice in &done.report.notices {
                let kind = if notice.level == Level::Pass { "note" } else { "warning" };
                eprintln!("{kind}: {}", notice.text);
            }
            say(summary(&done.report))?;
        }
        Ok(done)
    }

    /// The fit and the difference, with the operators of one back end.
    fn fitted<A: DesignMatrix>(
        &self,
        prepared: &mut Prepared<'_, A::Pixel>,
        a: &A,
        variance: Option<A>,
        options: &FitOptions,
        (clock, timings): &mut (&mut Clock, &mut Timings),
    ) -> Result<Difference<A::Pixel>> {
        timings.prepare = clock.lap();
        let mut bar = FitProgress::new(self.run);
        let fit = fit(prepared, a, variance.as_ref(), options, &mut |p| bar.pass(p))?;
        bar.finish();
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

    /// Finds before the fit what would keep its results from being written.
    fn check_outputs(&self) -> Result<()> {
        let outputs =
            [("difference", Some(self.output)), ("report", self.report), ("figure", self.figure)];
        let outputs = outputs.iter().filter_map(|(what, path)| Some((*what, (*path)?)));
        let noise = self.noise;
        let planes = [
            &noise.reference_variance,
            &noise.target_variance,
            &noise.reference_sigma,
            &noise.target_sigma,
            &noise.reference_weight,
            &noise.target_weight,
            &noise.reference_mask,
            &noise.target_mask,
        ];
        let inputs = [self.reference, self.target].into_iter().chain(planes.into_iter().flatten());
        let mut taken: Vec<_> = inputs.map(|spec| output::place(&spec.path)).collect();
        for (what, path) in outputs {
            output::check_place(what, path)?;
            let place = output::place(path);
            // What is no regular file, /dev/null say, may take everything.
            if place.metadata().map_or(true, |metadata| metadata.is_file()) {
                ensure!(
                    !taken.contains(&place),
                    "the {what} would be written over {}, which is another file of this command; give another path",
                    path.display()
                );
                taken.push(place);
            }
        }
        Ok(())
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
        if let HalfWidth::Pixels(half_width) = self.model.half_width {
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
        let with_wings = self.model.half_width == HalfWidth::Auto
            && self.model.basis == BasisArg::Mixed
            && self.model.kernel_shape == KernelShapeArg::Circle;
        let without = || KernelExtent::of_half_width(extent.inner, Some(fwhm));
        Ok(if with_wings { extent } else { without() })
    }

    /// The device that computes, if one does, with the memory that it may take.
    fn device<T: Real>(&self, height: usize, width: usize) -> Result<Option<Arc<VulkanContext>>> {
        let planes = planes::<T>(height, width);
        let (run, bytes) = (self.run, |size: ByteSize| size.as_u64());
        let options = ContextOptions {
            memory_limit_bytes: run.max_device_memory.map(bytes),
            host_limit_bytes: run.max_memory.map(|limit| bytes(limit).saturating_sub(planes)),
            ..Default::default()
        };
        let device = run.backend.open(self.model.precision, options)?;
        if let (Some(_), Some(limit)) = (&device, run.max_memory) {
            ensure!(ByteSize(planes) <= limit, too_large(height, width, ByteSize(planes), limit));
        }
        Ok(device)
    }

    /// The fastest way to multiply that leaves the process within its memory.
    fn plan<T: Real>(&self, design: &Design) -> Result<Plan> {
        let plan = Plan::fastest(design)?;
        let Some(limit) = self.run.max_memory else { return Ok(plan) };
        let (height, width) = (design.height(), design.width());
        let bytes =
            |plan: Plan| ByteSize(planes::<T>(height, width) + plan.bytes::<T>(design) as u64);
        let slower = Plan { store_spectra: false, ..plan };
        let fits = [plan, slower].into_iter().find(|plan| bytes(*plan) <= limit);
        fits.with_context(|| too_large(height, width, bytes(slower), limit))
    }

    fn support(&self, half_width: usize) -> KernelSupport {
        let shape = match self.model.kernel_shape {
            KernelShapeArg::Square => KernelShape::Square,
            KernelShapeArg::Circle => KernelShape::Circle,
        };
        KernelSupport::new(half_width, shape)
    }

    /// Scale and shape of different degrees need a basis in which one function carries all flux.
    fn basis(&self, extent: &KernelExtent, conserve_flux: bool) -> KernelBasis {
        let support = self.support(extent.half_width);
        match self.model.basis {
            BasisArg::Mixed => extent.basis(support.shape(), conserve_flux),
            BasisArg::Delta if conserve_flux => KernelBasis::FluxConservingDelta(support),
            BasisArg::Delta => KernelBasis::Delta(support),
            BasisArg::Gauss => KernelBasis::gaussian_polynomials(
                extent.half_width,
                support.shape(),
                &GaussianTerm::HOTPANTS,
            ),
        }
    }

    fn fit_options(&self, target_fwhm: Option<f64>) -> FitOptions {
        let model = self.model;
        FitOptions {
            loss: model.loss.loss(),
            clipping: model.loss.clipping(),
            reference_noise: match model.reference_noise {
                ReferenceNoiseArg::Correct => ReferenceNoise::Correct,
                ReferenceNoiseArg::Weight => ReferenceNoise::Weight,
                ReferenceNoiseArg::Ignore => ReferenceNoise::Ignore,
            },
            lambda: model.lambda.0,
            variable_sources: (model.mask_variables == Switch::On)
                .then(VariableSourceOptions::default),
            target_fwhm,
            noise_scale: match model.noise_scale {
                NoiseScaleArg::Given => NoiseScale::Given,
                NoiseScaleArg::Estimated => NoiseScale::Estimated,
            },
            reference_contains_target: model.reference_contains_target,
            model_variance: model.model_variance == Switch::On,
            solver: model.solver.solver(),
            tolerance: model.tolerance,
            ..FitOptions::default()
        }
    }
}

/// What planes of pixels and masks take at the peak, in bytes.
fn planes<T>(height: usize, width: usize) -> u64 {
    (height * width * (IMAGES * size_of::<T>() + MASKS * size_of::<MaskPlanes>())) as u64
}

fn too_large(height: usize, width: usize, bytes: ByteSize, limit: ByteSize) -> String {
    format!(
        "images of {height} × {width} pixels take about {bytes}, more than the limit of {limit}; give a larger --max-memory or cut the images"
    )
}

/// The seeing of the stars that both images have, or where none is known or usable, of what stands out.
fn measure<T: Real>(input: &Input<T>, stars: &[Star]) -> Option<seeing::Seeing> {
    let (image, mask) = (input.image.view(), input.unusable());
    seeing::measure_stars(image, &mask, stars, 3)
        .or_else(|| seeing::measure(image, &mask))
        .or_else(|| seeing::measure_stars(image, &mask, stars, 1))
}

fn narrow_pixel<T: Real>(value: T) -> f32 {
    value.widen() as f32
}

fn heading(report: &Report) -> String {
    format!(
        "dia {} · P = {} · χ²/dof = {:.3} · robust σ(D/σ) = {:.3} · {} × {} kernel",
        report.version,
        with_sigma(report.photometric_scale.value, report.photometric_scale.sigma),
        report.residuals.chi2_dof,
        report.residuals.robust_std,
        2 * report.half_width + 1,
        2 * report.half_width + 1,
    )
}

fn summary(report: &Report) -> String {
    let Report { photometric_scale: scale, background, residuals, pixels, solver, .. } = report;
    let variables = match &report.variables {
        Some(found) => {
            let text = format!(
                "{} variable sources left out of the fit ({:.2} % of the pixels)",
                found.sources.len(),
                100.0 * found.fraction
            );
            match found.left_out {
                0 => text,
                kept => format!("{text}, {kept} more kept for want of pixels: the fit is doubtful"),
            }
        }
        None => "variable sources not looked for".to_owned(),
    };
    let sky = background.coefficients.first().map_or(String::new(), |b| {
        format!(", background {} {}", with_sigma(b.value, b.sigma), shown(&report.target.unit))
    });
    format!(
        "photometric scale {}{sky}, offset dx {} dy {}, half-width {}\n\
         λ {:.3}; {variables}\n\
         residuals: mean {:+.4}, variance {:.4}, robust std {:.4}, χ²/dof {:.4}; {} pixels used, {} masked\n\
         {} ({}), {}: {} passes, {} iterations, {} products, {:.4} σ from the minimum; {:.3} s in all, fit {:.3} s, {} threads\n\
         wrote {}",
        with_sigma(scale.value, scale.sigma),
        report.offset.dx,
        report.offset.dy,
        report.half_width,
        report.regularisation.lambda,
        residuals.mfb,
        residuals.mfv,
        residuals.robust_std,
        residuals.chi2_dof,
        pixels.used,
        pixels.masked,
        solver.name,
        solver.preconditioner,
        solver.stop,
        solver.passes,
        solver.iterations,
        solver.products,
        solver.optimality,
        report.timings_s.total,
        report.timings_s.fit,
        report.threads,
        report.output,
    )
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

/// A spinner with the distance from the minimum; nothing unless the terminal shows it.
struct FitProgress {
    bar: ProgressBar,
    verbose: bool,
}

impl FitProgress {
    fn new(run: &RunArgs) -> Self {
        let hidden = run.quiet || run.verbose || !std::io::stderr().is_terminal();
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, verbose: run.verbose }
    }

    fn pass(&mut self, progress: Progress) {
        let Progress { pass, optimality } = progress;
        let text = format!("fitting: pass {pass}, {optimality:.3} σ from the minimum");
        if self.verbose {
            eprintln!("{text}");
        } else {
            self.bar.set_message(text);
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The share of the variance of R ⊗ K − I that the first has, in the sky; 0 where the noise of the sky cannot be told.
fn convolved_noise<T: Real>(convolved: &Input<T>, fitted: &Input<T>, kernel: &Kernel) -> f64 {
    let variance = |input: &Input<T>| {
        let found = sky_noise(input.image.view(), &input.unusable(), &input.exposure().noise);
        found.map(|sky| sky.sigma * sky.sigma)
    };
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
