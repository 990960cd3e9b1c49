//! The page that shows the subtraction of one pair.

use std::path::Path;

use anyhow::Result;
use dia_core::Image;
use dia_photometry::Detection;
use serde::Serialize;

use super::preview::{Greys, png};
use super::{Picture, write as write_page};
use crate::fields::{Said, said};
use crate::fits::Value;
use crate::input::shown;
use crate::photometry::{Measured, detections, injection_png};
use crate::report::Report;
use crate::subtract::Done;
use crate::table::{Column, Values};
use crate::terminal::{six_digits, with_sigma};

const TEMPLATE: &str = include_str!("pair.html");

/// Longest side of a picture in pixels.
const LONGEST: usize = 640;

/// Detections that are listed.
const MOST_DETECTIONS: usize = 200;

/// Columns of the table of detections that are listed.
const COLUMNS: [&str; 9] =
    ["diaSourceId", "x", "y", "ra", "dec", "psfFlux", "psfFluxErr", "snr", "flagNames"];

#[derive(Serialize)]
struct Page<'a> {
    title: String,
    version: &'static str,
    report: &'a Report,
    level: &'static str,
    meaning: &'static str,
    numbers: Vec<(&'static str, String)>,
    pictures: Vec<Picture>,
    kernel: Vec<Picture>,
    detections: Option<Listing>,
    injection: Option<Picture>,
    most_detections: usize,
    figures: Vec<Figure>,
    seconds: Vec<(&'static str, String)>,
}

/// A figure of the fit, as the header of the difference has it.
#[derive(Serialize)]
struct Figure {
    keyword: String,
    value: String,
    unit: String,
    meaning: &'static str,
}

/// A part of a table.
#[derive(Serialize)]
struct Listing {
    total: usize,
    /// In σ.
    threshold: String,
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Heading {
    name: &'static str,
    unit: String,
    description: &'static str,
}

/// Writes the page; `reference` is on the target's grid.
pub(crate) fn write(path: &Path, done: &Done, reference: &Image<f32>) -> Result<()> {
    let Done { report, difference, measured, target } = done;
    let found = measured.as_ref().and_then(|measured| measured.detections.as_deref());
    let picture = |name, image: &Image<f32>, greys| -> Result<Picture> {
        Ok(Picture::new(name, &png(image, greys, LONGEST)?))
    };
    let mut of_difference = picture("difference", &difference.difference, Greys::Noise)?;
    of_difference.circles = circles(found.unwrap_or_default(), target.view().shape());
    let kernel = inner(&difference.kernel.to_image(), report.kernel.inner);
    let injection = measured.as_ref().and_then(|measured| measured.injection.as_ref());
    let injection = injection.map(injection_png).transpose()?;
    let page = Page {
        title: format!("{} minus {}", report.target.image, report.reference.image),
        version: report.version,
        report,
        level: report.verdict.level.name(),
        meaning: report.verdict.level.meaning(),
        numbers: numbers(report),
        pictures: vec![
            picture("reference", reference, Greys::Stars)?,
            picture("target", target, Greys::Stars)?,
            picture("model", &difference.model, Greys::Stars)?,
            of_difference,
        ],
        kernel: vec![picture("kernel", &kernel, Greys::Signed)?],
        detections: measured.as_ref().zip(found).map(|(measured, found)| listing(found, measured)),
        injection: injection.map(|png| Picture::new("completeness and pulls", &png)),
        most_detections: MOST_DETECTIONS,
        figures: said(report)?.into_iter().map(figure).collect(),
        seconds: report
            .timings_s
            .stages()
            .into_iter()
            .filter(|(_, seconds)| *seconds > 0.0)
            .map(|(stage, seconds)| (stage, format!("{seconds:.3}")))
            .collect(),
    };
    write_page(path, TEMPLATE, &page)
}

/// The middle of a kernel, out to a half-width.
fn inner(kernel: &Image<f64>, half_width: usize) -> Image<f32> {
    let middle = kernel.view().height() / 2;
    let border = middle - half_width.min(middle);
    let side = 2 * (middle - border) + 1;
    Image::from_fn(side, side, |y, x| kernel.view().at(y + border, x + border) as f32)
}

/// What is looked at first.
fn numbers(report: &Report) -> Vec<(&'static str, String)> {
    let Report { photometric_scale: scale, residuals, .. } = report;
    let mut numbers = vec![
        ("photometric scale, target over reference", with_sigma(scale.value, scale.sigma)),
        ("robust scatter of difference over noise", format!("{:.3}", residuals.robust_std)),
        ("χ² per degree of freedom", format!("{:.3}", residuals.chi2_dof)),
    ];
    if let Some(sky) = report.background.coefficients.first() {
        let value = format!("{} {}", with_sigma(sky.value, sky.sigma), shown(&report.target.unit));
        numbers.push(("background", value));
    }
    if let Some(seeing) = report.seeing {
        let value = format!("{:.2} → {:.2} px", seeing.reference_fwhm, seeing.target_fwhm);
        numbers.push(("seeing of reference and target", value));
    }
    let detections = report.photometry.as_ref().and_then(|photometry| photometry.detections);
    numbers.extend(detections.map(|count| ("detections", count.to_string())));
    numbers
}

/// Where detections are in a picture of the target's grid, the first row below.
fn circles(found: &[Detection], (height, width): (usize, usize)) -> Vec<(f64, f64)> {
    let place = |detection: &Detection| {
        let (x, y) = (detection.source.x + 0.5, detection.source.y + 0.5);
        (x / width as f64, 1.0 - y / height as f64)
    };
    let inside = |(x, y): &(f64, f64)| (0.0..=1.0).contains(x) && (0.0..=1.0).contains(y);
    found.iter().take(MOST_DETECTIONS).map(place).filter(inside).collect()
}

fn figure(said: Said) -> Figure {
    let Said { keyword, value, unit, meaning } = said;
    let value = match value {
        Value::Float(number) => six_digits(number),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Undefined => "unknown".to_owned(),
        other => other.to_string(),
    };
    Figure { keyword, value, unit, meaning }
}

/// The strongest detections.
fn listing(found: &[Detection], measured: &Measured) -> Listing {
    let strongest = &found[..found.len().min(MOST_DETECTIONS)];
    let all = detections(strongest, measured).columns;
    let column = |name: &&str| all.iter().find(|column| column.name == *name);
    let columns: Vec<&Column> = COLUMNS.iter().filter_map(column).collect();
    let cell = |values: &Values, row: usize| match values {
        Values::Numbers(numbers) if numbers[row].is_nan() => "–".to_owned(),
        Values::Numbers(numbers) => six_digits(numbers[row]),
        Values::Integers(integers) => integers[row].to_string(),
        Values::Truths(truths) => if truths[row] { "yes" } else { "no" }.to_owned(),
        Values::Texts(texts) => texts[row].replace('|', " "),
    };
    let row = |row: usize| columns.iter().map(|column| cell(&column.values, row)).collect();
    let rows = (0..strongest.len()).map(row).collect();
    let heading = |column: &&Column| Heading {
        name: column.name,
        unit: column.unit.clone(),
        description: column.description,
    };
    let threshold = measured.report.threshold.map_or_else(String::new, |sigma| sigma.to_string());
    let headings = columns.iter().map(heading).collect();
    Listing { total: found.len(), threshold, headings, rows }
}
