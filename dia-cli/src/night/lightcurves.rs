//! `dia lightcurves`: further places, on what a night has left, without a new fit.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use super::args::LightCurvesArgs;
use super::curves::{Curves, Epoch, ZeroPoint, measured};
use super::frame::folder_of;
use super::record::Record;
use super::season::NightRecord;
use super::sources::{Kind, Source};
use super::tables;
use crate::crew::Crew;
use crate::fits::FitsSpec;
use crate::output;
use crate::planes::joined_header;
use crate::sky::Sky;
use crate::table::{Format, Positions, read_positions};
use crate::terminal::say;

/// Runs the command.
pub(crate) fn run(args: &LightCurvesArgs) -> Result<ExitCode> {
    let _ = Format::of(&args.output)?;
    output::check_place("table", &args.output)?;
    ensure!(
        output::place(&args.output) != output::place(&args.at),
        "the table would be written over {}, which holds the positions; give another path",
        args.at.display()
    );
    let positions = read_positions(&args.at)?;
    let path = args.folder.join("night.json");
    let reading =
        || format!("cannot read {}; give a folder in which dia night has finished", path.display());
    let bytes = fs::read(&path).with_context(reading)?;
    let night: NightRecord = serde_json::from_slice(&bytes).with_context(reading)?;
    let records = night
        .frames
        .iter()
        .map(|line| {
            Record::read(&folder_of(&args.folder, &line.id)).with_context(|| {
                format!("{}: its done.json is not there; run dia night again", line.id)
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let (mut epochs, mut zero_points) = (Vec::new(), Vec::new());
    for (record, line) in records.iter().zip(&night.frames) {
        let Some(result) = record.result() else { continue };
        epochs.push(Epoch { record, result });
        zero_points.push(line.zero_point.map(|(value, sigma, stars)| ZeroPoint {
            value,
            sigma,
            stars,
        }));
    }
    let pixels = match &positions {
        Positions::Pixels(pixels) => pixels.clone(),
        Positions::Sky(_) => {
            let sky = sky_of(&night.reference)?;
            positions.in_pixels(Some(&sky)).unwrap_or_default()
        }
    };
    let sources: Vec<Source> =
        pixels.into_iter().map(|(x, y)| Source::at(Kind::Given, x, y)).collect();
    let crew = Crew::of(args.threads, None, epochs.len(), (0, None));
    let found = measured(&args.folder, &epochs, &sources, night.reference_shape, crew)?;
    // Zero points and factor are those of the stars of the night.
    let found = Curves { zero_points, error_factor: night.error_factor, ..found };
    let curves = found.with(args.corrections);
    let origin = tables::Origin {
        reference: &night.reference,
        unit: &night.reference_unit,
        sky: None,
        zero_points_applied: args.corrections.apply_zero_points,
        error_factor: found.factor(args.corrections),
    };
    tables::light_curves(&epochs, &curves, &found.zero_points, &origin).write(&args.output)?;
    if !args.quiet {
        let text = format!(
            "wrote {}: {} places in {} frames",
            args.output.display(),
            sources.len(),
            epochs.len()
        );
        say(text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The world coordinates of the reference, by its name.
fn sky_of(reference: &str) -> Result<Sky> {
    let reading = || {
        format!(
            "positions are given as ra and dec, and the header of the reference {reference} is needed for them; give pixels of the reference, columns x and y"
        )
    };
    let (file, index) =
        FitsSpec::parse(reference).and_then(|spec| spec.open_selected()).with_context(reading)?;
    let header = joined_header(&file, index).with_context(reading)?;
    match Sky::of(&header) {
        Ok(sky) => sky.with_context(|| {
            format!("{reference} has no world coordinates of the sky; give pixels, columns x and y")
        }),
        Err(why) => anyhow::bail!(
            "the world coordinates of {reference} cannot be used: {why}; give pixels, columns x and y"
        ),
    }
}
