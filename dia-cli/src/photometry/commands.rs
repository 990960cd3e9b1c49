//! `dia detect` and `dia photometry`: measurements on a difference that was written before.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use dia_photometry::Detection;

use super::read_scenery;
use super::{DetectArgs, MeasureRequest, Measured, PhotometryCommandArgs, detections, fluxes};
use crate::output;
use crate::table::{Format, read_positions};
use crate::terminal::say;

/// `dia detect`.
pub(crate) fn run_detect(args: &DetectArgs) -> Result<ExitCode> {
    check_places(&[&args.difference], args.sources.as_deref())?;
    let request = MeasureRequest { threshold: Some(args.threshold), ..Default::default() };
    let measured = args.running.run(|| request.on(&read_scenery(&args.difference)?))?;
    let found = measured.detections.as_deref().unwrap_or_default();
    if let Some(path) = &args.sources {
        detections(found, &measured).write(path)?;
    } else if !args.running.quiet {
        list(found)?;
    }
    summarise(&measured, args.running.quiet)
}

/// `dia photometry`.
pub(crate) fn run_photometry(args: &PhotometryCommandArgs) -> Result<ExitCode> {
    check_places(&[&args.difference, &args.at], Some(&args.output))?;
    let request = MeasureRequest {
        positions: Some(read_positions(&args.at)?),
        apertures: super::args::checked_apertures(&args.apertures)?,
        ..Default::default()
    };
    let measured = args.running.run(|| request.on(&read_scenery(&args.difference)?))?;
    let rows = measured.fluxes.as_deref().unwrap_or_default();
    fluxes(rows, &args.apertures, &measured).write(&args.output)?;
    summarise(&measured, args.running.quiet)
}

fn summarise(measured: &Measured, quiet: bool) -> Result<ExitCode> {
    if !quiet {
        say(measured.summary())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds before anything is computed what would keep the table from being written.
fn check_places(inputs: &[&Path], table: Option<&Path>) -> Result<()> {
    let Some(table) = table else { return Ok(()) };
    let _ = Format::of(table)?;
    output::check_place("table", table)?;
    let place = output::place(table);
    ensure!(
        inputs.iter().all(|input| output::place(input) != place),
        "the table would be written over {}, which is another file of this command; give another path",
        table.display()
    );
    Ok(())
}

/// The detections in lines for people.
fn list(found: &[Detection]) -> Result<()> {
    say(format!("{:>9} {:>9} {:>12} {:>10} {:>8}  flags", "x", "y", "flux", "± flux", "S/N"))?;
    for detection in found {
        let source = &detection.source;
        let flags: Vec<&str> = source.flags.iter_names().map(|(name, _)| name).collect();
        say(format!(
            "{:>9.2} {:>9.2} {:>12.1} {:>10.1} {:>8.1}  {}",
            source.x,
            source.y,
            source.flux.value,
            source.flux.sigma,
            detection.significance,
            flags.join(" ")
        ))?;
    }
    Ok(())
}
