//! `dia demo`: a simulated pair, subtracted, against the truth.

use std::path::Path;

use anyhow::{Context, Result};
use bytesize::ByteSize;
use dia_core::simulate::{Event, EventKind, SimulatedPair, simulate};
use dia_core::{Image, Pixel};
use dia_photometry::{Detection, Flags};
use dia_solvers::Covariance;

use crate::args::{DemoArgs, NoiseArgs};
use crate::backend::Precision;
use crate::figure::{self, Colour, CutOut, MOST_CUT_OUTS, Marker};
use crate::fits::FitsSpec;
use crate::photometry::{MeasureRequest, Measured, Plane};
use crate::request::{Convolve, SubtractRequest};
use crate::simulate::{Files, options, write};
use crate::subtract::{Done, Drawings, Job, set_threads};
use crate::table::Positions;
use crate::terminal::say;

/// Significance of a detection.
const THRESHOLD: f64 = 5.0;

/// Runs the command.
pub(crate) fn run(args: &DemoArgs, command_line: &[String]) -> Result<()> {
    set_threads(&args.run)?;
    let options = options(&args.simulation);
    let pair = simulate(&options)?;
    let files = Files::within(&args.output);
    write(&pair, &files, &args.output)?;
    let say = |text: String| if args.run.quiet { Ok(()) } else { say(text) };
    say(format!(
        "simulated {} × {} pixels: {} stars, seeing {} → {} px, photometric scale {}, offset ({}, {}) px; {}",
        options.height,
        options.width,
        pair.truth.stars.len(),
        options.reference_fwhm,
        options.target_fwhm,
        options.scale,
        options.shift_x,
        options.shift_y,
        files.truth.display()
    ))?;

    let [output, report, html, figure, cut_outs, sources] = [
        "difference.fits",
        "report.json",
        "report.html",
        "figure.png",
        "events.png",
        "sources.ecsv",
    ]
    .map(|name| args.output.join(name));
    let markers: Vec<Marker> = pair
        .truth
        .events
        .iter()
        .map(|event| Marker {
            x: event.x,
            y: event.y,
            radius: 1.5 * options.target_fwhm,
            colour: match event.kind {
                EventKind::Transient => Colour::Primary,
                EventKind::Variable => Colour::Secondary,
            },
        })
        .collect();
    let bytes = |size: ByteSize| size.as_u64();
    let mut request = SubtractRequest {
        convolve: Convolve::Reference,
        backend: args.run.backend.clone(),
        max_memory: args.run.max_memory.map(bytes),
        max_device_memory: args.run.max_device_memory.map(bytes),
        ..SubtractRequest::default()
    };
    request.fit.covariance = Some(Covariance::Sampled);
    let places = pair.truth.events.iter().map(|event| (event.x, event.y)).collect();
    let measure = MeasureRequest {
        threshold: Some(THRESHOLD),
        positions: Some(Positions::Pixels(places)),
        planes: vec![Plane::Score],
        ..Default::default()
    };
    let done = Job {
        reference: &FitsSpec::parse(&files.reference)?,
        target: &FitsSpec::parse(&files.target)?,
        output: &output,
        report: Some(&report),
        drawings: Drawings { figure: Some(&figure), html: Some(&html), ..Default::default() },
        markers: &markers,
        request: &request,
        measure: &measure,
        positions: None,
        tables: [Some(&sources), None],
        precision: Precision::F32,
        noise: &NoiseArgs::default(),
        run: &args.run,
        command_line,
    }
    .run()?;
    let measured = done.measured.as_ref().context("nothing was measured")?;
    say(against_truth(&pair, &done, measured))?;
    draw_events(&cut_outs, &pair, &done, measured)?;
    let written =
        [&report, &html, &figure, &cut_outs, &sources].map(|path| path.display().to_string());
    say(format!("wrote {}", written.join(", ")))?;
    Ok(())
}

/// The strongest events that were found, cut out of target, model, difference and score.
fn draw_events(path: &Path, pair: &SimulatedPair, done: &Done, measured: &Measured) -> Result<()> {
    let found = measured.detections.as_deref().unwrap_or_default();
    let reach = pair.truth.options.target_fwhm;
    let place = |event: &Event| {
        let detection = found.iter().find(|d| distance(d, event.x, event.y) <= reach)?;
        let title = format!(
            "{} at x {:.0}, y {:.0}, S/N {:.1}",
            name(event),
            event.x,
            event.y,
            detection.significance
        );
        Some((detection.significance.abs(), CutOut { title, x: event.x, y: event.y }))
    };
    let mut places: Vec<(f64, CutOut)> = pair.truth.events.iter().filter_map(place).collect();
    places.sort_by(|a, b| b.0.total_cmp(&a.0));
    let places: Vec<CutOut> =
        places.into_iter().take(MOST_CUT_OUTS).map(|(_, place)| place).collect();
    let score = measured.score.as_ref().context("no score was made")?;
    let images = [&done.target, &done.difference.difference, score];
    figure::cut_outs(path, "Events that were found", images, &done.difference.model, &places)
}

fn name(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Transient => "transient",
        EventKind::Variable => "variable",
    }
}

/// What was found, beside what was put in.
fn against_truth(pair: &SimulatedPair, done: &Done, measured: &Measured) -> String {
    let (difference, truth) = (&done.difference, &pair.truth);
    let found = measured.detections.as_deref().unwrap_or_default();
    let reach = truth.options.target_fwhm;
    let near = |event: &Event| found.iter().any(|d| distance(d, event.x, event.y) <= reach);
    let mut lines = vec![format!(
        "photometric scale: true {}, found {:.5} ± {:.5}; model error ‖(M − M_true)/σ‖_rms = {:.3}",
        truth.options.scale,
        difference.photometric_scale.value,
        difference.photometric_scale.sigma,
        model_error(pair, &difference.model),
    )];
    lines.push(format!(
        "{:<10} {:>7} {:>7} {:>12} {:>22} {:>7}  found at {THRESHOLD} σ",
        "event", "x", "y", "true ΔF/ADU", "measured ΔF/ADU", "S/N"
    ));
    let fluxes = measured.fluxes.as_deref().unwrap_or_default();
    for (event, forced) in truth.events.iter().zip(fluxes) {
        let flux = forced.flux;
        let (shown, signal_to_noise) = if flux.value.is_finite() {
            let shown = format!("{:.0} ± {:.0}", flux.value, flux.sigma);
            (shown, format!("{:.1}", flux.value / flux.sigma))
        } else {
            ("masked".to_owned(), String::new())
        };
        let verdict = match (near(event), event.masked) {
            (true, _) => "yes",
            (false, true) => "no (beside masked pixels)",
            (false, false) => "no",
        };
        lines.push(format!(
            "{:<10} {:>7.1} {:>7.1} {:>12.0} {shown:>22} {signal_to_noise:>7}  {verdict}",
            name(event),
            event.x,
            event.y,
            event.flux_change
        ));
    }
    let unexplained = found.iter().filter(|detection| {
        let event = truth.events.iter().any(|e| distance(detection, e.x, e.y) <= reach);
        let cosmic_ray =
            truth.cosmic_rays.iter().any(|c| distance(detection, c.x as f64, c.y as f64) <= reach);
        !event && !cosmic_ray
    });
    let flagged = unexplained.clone().filter(|d| !(d.source.flags - Flags::VARIABLE).is_empty());
    let events_found = truth.events.iter().filter(|e| near(e)).count();
    lines.push(format!(
        "{events_found} of {} events found; {} detections in all, {} of them neither an event nor a cosmic ray, {} of those flagged",
        truth.events.len(),
        found.len(),
        unexplained.count(),
        flagged.count(),
    ));
    lines.join("\n")
}

fn distance(detection: &Detection, x: f64, y: f64) -> f64 {
    (detection.source.x - x).hypot(detection.source.y - y)
}

/// The rms of (M − M_true)/σ over the pixels that have a model.
fn model_error(pair: &SimulatedPair, model: &Image<f32>) -> f64 {
    let truth = pair.target_noiseless.pixels().iter().zip(pair.target_variance.pixels());
    let errors = model.pixels().iter().zip(truth).filter(|(m, _)| m.is_finite());
    let squares: Vec<f64> = errors.map(|(m, (t, v))| (m.widen() - t).powi(2) / v).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}
