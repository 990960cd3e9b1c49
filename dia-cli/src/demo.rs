//! `dia demo`: a simulated pair, subtracted, against the truth.

use anyhow::Result;
use bytesize::ByteSize;
use dia_core::simulate::{Event, EventKind, SimulatedPair, simulate};
use dia_core::{Image, Pixel};

use crate::args::{DemoArgs, NoiseArgs};
use crate::backend::Precision;
use crate::figure::{Colour, Marker};
use crate::fits::FitsSpec;
use crate::matched_filter::{PointSpread, Source, detect, measure};
use crate::photometry::MeasureRequest;
use crate::request::SubtractRequest;
use crate::simulate::{Files, options, write};
use crate::subtract::{Done, Job, set_threads};
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

    let (output, report, figure) = (
        args.output.join("difference.fits"),
        args.output.join("report.json"),
        args.output.join("figure.png"),
    );
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
    let request = SubtractRequest {
        backend: args.run.backend.clone(),
        max_memory: args.run.max_memory.map(bytes),
        max_device_memory: args.run.max_device_memory.map(bytes),
        ..SubtractRequest::default()
    };
    let done = Job {
        reference: &FitsSpec::parse(&files.reference)?,
        target: &FitsSpec::parse(&files.target)?,
        output: &output,
        report: Some(&report),
        figure: Some(&figure),
        markers: &markers,
        request: &request,
        measure: &MeasureRequest::default(),
        positions: None,
        tables: [None; 2],
        precision: Precision::F32,
        noise: &NoiseArgs::default(),
        run: &args.run,
        command_line,
    }
    .run()?;
    say(against_truth(&pair, &done))?;
    say(format!("wrote {}, {}", report.display(), figure.display()))?;
    Ok(())
}

/// What was found, beside what was put in.
fn against_truth(pair: &SimulatedPair, done: &Done) -> String {
    let (difference, truth) = (&done.difference, &pair.truth);
    let psf = PointSpread { psf: truth.options.psf, fwhm: truth.options.target_fwhm };
    let found = detect(&difference.difference, &difference.variance, psf, THRESHOLD);
    let near = |event: &Event| {
        found.iter().any(|source| distance(source, event.x, event.y) <= truth.options.target_fwhm)
    };
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
    for event in &truth.events {
        let kind = match event.kind {
            EventKind::Transient => "transient",
            EventKind::Variable => "variable",
        };
        let measured = measure(&difference.difference, &difference.variance, psf, event.x, event.y);
        let (flux, signal_to_noise) =
            measured.map_or(("masked".to_string(), String::new()), |source| {
                let flux = format!("{:.0} ± {:.0}", source.flux, source.sigma);
                (flux, format!("{:.1}", source.signal_to_noise()))
            });
        let verdict = match (near(event), event.masked) {
            (true, _) => "yes",
            (false, true) => "no (beside masked pixels)",
            (false, false) => "no",
        };
        lines.push(format!(
            "{kind:<10} {:>7.1} {:>7.1} {:>12.0} {flux:>22} {signal_to_noise:>7}  {verdict}",
            event.x, event.y, event.flux_change
        ));
    }
    let unexplained = found.iter().filter(|source| {
        let reach = truth.options.target_fwhm;
        let event = truth.events.iter().any(|e| distance(source, e.x, e.y) <= reach);
        let cosmic_ray =
            truth.cosmic_rays.iter().any(|c| distance(source, c.x as f64, c.y as f64) <= reach);
        !event && !cosmic_ray
    });
    let events_found = truth.events.iter().filter(|e| near(e)).count();
    lines.push(format!(
        "{events_found} of {} events found; {} detections in all, {} of them neither an event nor a cosmic ray",
        truth.events.len(),
        found.len(),
        unexplained.count(),
    ));
    lines.join("\n")
}

fn distance(source: &Source, x: f64, y: f64) -> f64 {
    (source.x - x).hypot(source.y - y)
}

/// The rms of (M − M_true)/σ over the pixels that have a model.
fn model_error(pair: &SimulatedPair, model: &Image<f32>) -> f64 {
    let truth = pair.target_noiseless.pixels().iter().zip(pair.target_variance.pixels());
    let errors = model.pixels().iter().zip(truth).filter(|(m, _)| m.is_finite());
    let squares: Vec<f64> = errors.map(|(m, (t, v))| (m.widen() - t).powi(2) / v).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}
