//! `dia subtract`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dia_core::Image;
use dia_photometry::Detection;
use dia_solvers::{Covariance, Difference, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{FailOn, NoiseArgs, RunArgs, SubtractArgs};
use crate::backend::Precision;
use crate::command;
use crate::figure::{self, CutOut, MOST_CUT_OUTS, Marker};
use crate::fits::FitsSpec;
use crate::input::{Input, Real, Role, shown};
use crate::notice::Level;
use crate::output::{self, Described};
use crate::page;
use crate::photometry::{self, MeasureRequest, Measured, Scenery};
use crate::report::{Report, write_json};
use crate::request::{Convolve, SubtractRequest};
use crate::subtraction::{Event, Subtraction, subtract};
use crate::table::Format;
use crate::terminal::{say, with_sigma};

/// Exit code of a result that was written and whose verdict says not to use it.
const NOT_TO_BE_USED: u8 = 3;

/// Runs the command.
pub(crate) fn run(args: &SubtractArgs, command_line: &[String]) -> Result<ExitCode> {
    let measure = args.photometry.request()?;
    let mut request = args.model.request(&args.run);
    if !measure.is_empty() {
        ensure!(
            request.convolve != Convolve::Target,
            "sources are measured where the reference is convolved; give --convolve reference, or leave out --sources, --at and --planes"
        );
        request.fit.covariance = Some(Covariance::Sampled);
    }
    let job = Job {
        reference: &args.reference,
        target: &args.target,
        output: &args.output,
        report: args.report.as_deref(),
        drawings: Drawings {
            figure: args.figure.as_deref(),
            html: args.html.as_deref(),
            sources: args.photometry.sources_figure.as_deref(),
            injection: args.photometry.inject_figure.as_deref(),
        },
        markers: &[],
        request: &request,
        measure: &measure,
        positions: args.photometry.at.as_deref(),
        tables: [args.photometry.sources.as_deref(), args.photometry.photometry.as_deref()],
        precision: args.model.precision,
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

/// Where what is to be looked at is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drawings<'a> {
    pub(crate) figure: Option<&'a Path>,
    pub(crate) html: Option<&'a Path>,
    /// The strongest detections.
    pub(crate) sources: Option<&'a Path>,
    /// What became of injected stars.
    pub(crate) injection: Option<&'a Path>,
}

/// One subtraction, from files to files.
pub(crate) struct Job<'a> {
    pub(crate) reference: &'a FitsSpec,
    pub(crate) target: &'a FitsSpec,
    pub(crate) output: &'a Path,
    pub(crate) report: Option<&'a Path>,
    pub(crate) drawings: Drawings<'a>,
    /// What to mark in the figure.
    pub(crate) markers: &'a [Marker],
    pub(crate) request: &'a SubtractRequest,
    /// What is measured on the difference.
    pub(crate) measure: &'a MeasureRequest,
    /// The table of positions.
    pub(crate) positions: Option<&'a Path>,
    /// Where detections and forced fluxes are written.
    pub(crate) tables: [Option<&'a Path>; 2],
    pub(crate) precision: Precision,
    pub(crate) noise: &'a NoiseArgs,
    pub(crate) run: &'a RunArgs,
    pub(crate) command_line: &'a [String],
}

/// The difference in single precision, for what comes after.
pub(crate) struct Done {
    pub(crate) difference: Difference<f32>,
    pub(crate) report: Report,
    /// What was measured, if anything was asked for.
    pub(crate) measured: Option<Measured>,
    /// The target's pixels.
    pub(crate) target: Image<f32>,
}

impl Job<'_> {
    /// Reads, fits, subtracts and writes.
    pub(crate) fn run(&self) -> Result<Done> {
        // On a thread of the pool from the beginning: handing over each parallel part to it would take longer than many of them.
        rayon::scope(|_| match self.precision {
            Precision::F32 => self.run_in::<f32>(),
            Precision::F64 => self.run_in::<f64>(),
        })
    }

    fn run_in<T: Real>(&self) -> Result<Done> {
        let start = Instant::now();
        self.check_outputs()?;
        let read = |spec, role| Input::<T>::read(spec, role, &self.noise.of(role));
        let (reference, target) = rayon::join(
            || read(self.reference, Role::Reference),
            || read(self.target, Role::Target),
        );
        let (reference, target) = (reference?, target?);
        if self.run.verbose {
            eprintln!("reference {}", reference.taken.summary());
            eprintln!("target    {}", target.taken.summary());
        }
        let seconds_to_read = start.elapsed().as_secs_f64();

        let mut progress = FitProgress::new(self.run);
        // Aligning moves the reference.
        let originals =
            self.measure.inject.map(|inject| (inject, (reference.clone(), target.clone())));
        let mut subtraction =
            subtract(reference, target, self.request, &mut |event| progress.tell(event))?;
        let measuring = Instant::now();
        let measured = if self.measure.is_empty() {
            None
        } else {
            let psf = self.measure.psf.as_ref();
            let scenery = Scenery::of(&subtraction, psf)?;
            let mut measured = self.measure.on(&scenery)?;
            if let Some((inject, pair)) = originals {
                let injection = inject.run(&scenery, &pair, self.request, psf)?;
                measured.report.injection = Some(injection.report());
                measured.injection = Some(injection);
            }
            let [sources, photometry] =
                self.tables.map(|path| path.map(|path| path.display().to_string()));
            measured.report.sources_file = sources;
            measured.report.photometry_file = photometry;
            subtraction.report.photometry = Some(measured.report.clone());
            subtraction.report.timings_s.photometry = measuring.elapsed().as_secs_f64();
            Some(measured)
        };
        let writing = Instant::now();
        let report = &mut subtraction.report;
        report.command = self.command_line.join(" ");
        report.output = self.output.display().to_string();
        report.timings_s.read = seconds_to_read;
        output::write(
            self.output,
            &Described {
                difference: &subtraction.difference,
                target_header: &subtraction.target.header,
                report: &subtraction.report,
                planes: measured.as_ref().map_or(&[], |measured| &measured.planes),
                history: command::reproducible(self.command_line),
            },
        )?;
        if let Some(measured) = &measured {
            self.write_tables(measured)?;
        }
        let Subtraction { difference, mut report, reference, target, .. } = subtraction;
        report.timings_s.write = writing.elapsed().as_secs_f64();
        report.timings_s.total = start.elapsed().as_secs_f64();
        let difference = difference.map_pixels(narrow_pixel);
        let done = Done { difference, report, measured, target: target.image.map(narrow_pixel) };
        self.draw(&done, &reference.image)?;
        if let Some(path) = self.report {
            write_json(path, &done.report)?;
        }
        if !self.run.quiet {
            for notice in &done.report.notices {
                let kind = if notice.level == Level::Pass { "note" } else { "warning" };
                eprintln!("{kind}: {}", notice.text);
            }
            say(summary(&done.report))?;
            if let Some(measured) = &done.measured {
                say(measured.summary())?;
            }
        }
        Ok(done)
    }

    /// Writes what is to be looked at; `reference` is on the target's grid.
    fn draw<T: Real>(&self, done: &Done, reference: &Image<T>) -> Result<()> {
        let Drawings { figure, html, sources, injection } = self.drawings;
        if figure.is_some() || html.is_some() {
            let reference = reference.map(narrow_pixel);
            if let Some(path) = figure {
                let (heading, images) = (heading(&done.report), [&reference, &done.target]);
                figure::subtraction(path, &heading, images, &done.difference, self.markers)?;
            }
            if let Some(path) = html {
                page::pair::write(path, done, &reference)?;
            }
        }
        let Some(measured) = &done.measured else { return Ok(()) };
        if let Some(path) = sources {
            draw_sources(path, done, measured)?;
        }
        if let (Some(path), Some(stars)) = (injection, &measured.injection) {
            photometry::write_injection(path, stars)?;
        }
        Ok(())
    }

    fn write_tables(&self, measured: &Measured) -> Result<()> {
        let [sources, photometry] = self.tables;
        if let (Some(path), Some(found)) = (sources, &measured.detections) {
            photometry::detections(found, measured).write(path)?;
        }
        if let (Some(path), Some(rows)) = (photometry, &measured.fluxes) {
            photometry::fluxes(rows, &self.measure.apertures, measured).write(path)?;
        }
        Ok(())
    }

    /// Finds before the fit what would keep its results from being written.
    fn check_outputs(&self) -> Result<()> {
        let [sources, photometry] = self.tables;
        for path in self.tables.into_iter().flatten() {
            let _ = Format::of(path)?;
        }
        let outputs = [
            ("difference", Some(self.output)),
            ("report", self.report),
            ("figure", self.drawings.figure),
            ("page", self.drawings.html),
            ("figure of sources", self.drawings.sources),
            ("figure of injected stars", self.drawings.injection),
            ("table of sources", sources),
            ("table of fluxes", photometry),
        ];
        let outputs = outputs.iter().filter_map(|(what, path)| Some((*what, (*path)?)));
        let inputs = [self.reference, self.target].into_iter().chain(self.noise.planes());
        let inputs = inputs.chain(&self.measure.psf).map(|spec| spec.path.as_path());
        output::check_places(outputs, inputs.chain(self.positions))
    }
}

/// Cuts out the strongest detections.
fn draw_sources(path: &Path, done: &Done, measured: &Measured) -> Result<()> {
    let found = measured.detections.as_deref().unwrap_or_default();
    let strongest = &found[..found.len().min(MOST_CUT_OUTS)];
    let place = |detection: &Detection| {
        let (x, y) = (detection.source.x, detection.source.y);
        let title = format!("x {x:.1}, y {y:.1}, S/N {:.1}", detection.significance);
        CutOut { title, x, y }
    };
    let places: Vec<CutOut> = strongest.iter().map(place).collect();
    let score = measured.score.as_ref().context("no score was made")?;
    let images = [&done.target, &done.difference.difference, score];
    let heading = match (places.len(), found.len()) {
        (0, _) => "Nothing was detected".to_owned(),
        (shown, all) => format!("The strongest {shown} of {all} detections"),
    };
    figure::cut_outs(path, &heading, images, &done.difference.model, &places)
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

/// A spinner with the distance from the minimum, from the first pass on; nothing unless the terminal shows it.
struct FitProgress<'a> {
    bar: Option<ProgressBar>,
    run: &'a RunArgs,
}

impl<'a> FitProgress<'a> {
    fn new(run: &'a RunArgs) -> Self {
        Self { bar: None, run }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Pass(Progress { pass, optimality }) => {
                let text = format!("fitting: pass {pass}, {optimality:.3} σ from the minimum");
                if self.run.verbose {
                    eprintln!("{text}");
                } else if !self.run.quiet && std::io::stderr().is_terminal() {
                    self.bar.get_or_insert_with(spinner).set_message(text);
                }
            }
            Event::Fitted => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::RowsOnHost { device, part } => {
                if !self.run.quiet {
                    eprintln!(
                        "note: {device} has no room for {:.0} % of the rows, which stay in the host's memory: the fit is slower",
                        100.0 * part
                    );
                }
            }
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
