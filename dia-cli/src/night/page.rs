//! The page that shows a night.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::curves::{Curve, Curves, Epoch};
use super::frame::{Seconds, folder_of};
use super::record::{Outcome, Record};
use super::sources::{Kind, Source};
use super::summary::Summary;
use crate::page::plot::{Mark, diagram, light_curve};
use crate::page::{self, Picture};

const TEMPLATE: &str = include_str!("page.html");

/// Light curves that are shown.
const MOST_CURVES: usize = 40;

#[derive(Serialize)]
struct Page<'a> {
    title: String,
    version: &'static str,
    command: &'a str,
    reference: &'a str,
    summary: &'a Summary,
    frames: Vec<Row>,
    failures: Vec<Failure<'a>>,
    curves: Vec<Figure>,
    scatter: Option<String>,
    seconds: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    verdict: String,
    reasons: Vec<String>,
    mjd: Option<f64>,
    seeing: Option<f64>,
    scale: f64,
    sky: Option<f64>,
    chi2: f64,
    detections: usize,
    zero_point: Option<f64>,
    pictures: Vec<Picture>,
}

#[derive(Serialize)]
struct Failure<'a> {
    id: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Figure {
    title: String,
    svg: String,
}

/// What the page is made of.
pub(super) struct Content<'a> {
    pub(super) night: &'a Path,
    pub(super) command: &'a str,
    pub(super) reference: &'a str,
    /// Unit of the reference.
    pub(super) unit: &'a str,
    pub(super) records: &'a [Record],
    pub(super) epochs: &'a [Epoch<'a>],
    pub(super) sources: &'a [Source],
    /// As they are measured, and as they are shown.
    pub(super) measured: &'a Curves,
    pub(super) curves: &'a [Curve],
    pub(super) summary: &'a Summary,
}

/// Writes the page.
pub(super) fn write(path: &Path, content: &Content<'_>) -> Result<()> {
    let frames = content
        .epochs
        .iter()
        .zip(&content.measured.zero_points)
        .map(|(epoch, zero_point)| {
            let (record, result) = (epoch.record, epoch.result);
            Ok(Row {
                id: record.id.clone(),
                verdict: result.verdict.clone(),
                reasons: result.reasons.iter().map(|(_, text)| text.clone()).collect(),
                mjd: result.time.mjd,
                seeing: result.target_fwhm,
                scale: result.scale,
                sky: result.sky,
                chi2: result.chi2_dof,
                detections: result.detections.len(),
                zero_point: zero_point.map(|zero_point| zero_point.value),
                pictures: pictures(&folder_of(content.night, &record.id))?,
            })
        })
        .collect::<Result<Vec<Row>>>()?;
    let failure = |record: &'_ Record| match &record.outcome {
        Outcome::Failed(_) => true,
        Outcome::Measured(_) => false,
    };
    let failures = content.records.iter().filter(|record| failure(record)).map(|record| Failure {
        id: &record.id,
        reason: match &record.outcome {
            Outcome::Failed(reason) => reason,
            Outcome::Measured(_) => "",
        },
    });
    let page = Page {
        title: {
            let name = content.reference.rsplit('/').next().unwrap_or(content.reference);
            format!("{} frames against {name}", content.records.len())
        },
        version: env!("CARGO_PKG_VERSION"),
        command: content.command,
        reference: content.reference,
        summary: content.summary,
        frames,
        failures: failures.collect(),
        curves: figures(content),
        scatter: scatter(content),
        seconds: seconds(content),
    };
    page::write(path, TEMPLATE, &page)
}

/// The pictures of a frame.
fn pictures(folder: &Path) -> Result<Vec<Picture>> {
    ["reference", "target", "difference"]
        .into_iter()
        .map(|name| {
            let path = folder.join(format!("{name}.png"));
            let bytes = fs::read(&path).with_context(|| {
                format!("cannot read {}; dia night --force makes it anew", path.display())
            })?;
            Ok(Picture::new(name, &bytes))
        })
        .collect()
}

/// The light curves that were asked for, and those that vary most of what was found without doubt.
fn figures(content: &Content<'_>) -> Vec<Figure> {
    let mut chosen: Vec<(usize, f64)> = content
        .sources
        .iter()
        .zip(content.curves)
        .enumerate()
        .filter_map(|(s, (source, curve))| {
            let statistics = curve.statistics()?;
            let excess = statistics.chi2 / (statistics.points as f64 - 1.0);
            match source.kind {
                Kind::Given => Some((s, f64::INFINITY)),
                Kind::Found if source.clean > 0 => Some((s, excess)),
                Kind::Found | Kind::Star => None,
            }
        })
        .collect();
    chosen.sort_by(|a, b| b.1.total_cmp(&a.1));
    let has_times = content.epochs.iter().all(|epoch| epoch.result.time.mjd.is_some());
    let figure = |(s, _): (usize, f64)| {
        let (source, curve) = (&content.sources[s], &content.curves[s]);
        let marks: Vec<Mark> = curve
            .points
            .iter()
            .zip(content.epochs)
            .enumerate()
            .map(|(e, (point, epoch))| Mark {
                // Without times, the frames in their order.
                x: epoch.result.time.mjd.filter(|_| has_times).unwrap_or(e as f64),
                y: point.flux,
                error: point.sigma,
                usable: point.usable,
            })
            .collect();
        let statistics = curve.statistics()?;
        let title = format!(
            "Source {} ({}) at x {:.2}, y {:.2}: χ²/dof {:.1} of {} points; detected in {} frames",
            s + 1,
            source.kind.name(),
            source.x,
            source.y,
            statistics.chi2 / (statistics.points as f64 - 1.0),
            statistics.points,
            source.detections
        );
        let time = if has_times { "MJD" } else { "frame" };
        let svg = light_curve(&title, &marks, [time, &format!("flux / {}", content.unit)])?;
        Some(Figure { title, svg })
    };
    chosen.into_iter().take(MOST_CURVES).filter_map(figure).collect()
}

/// Scatter of the stars against their flux, with what the errors let expect.
fn scatter(content: &Content<'_>) -> Option<String> {
    let mut marks = Vec::new();
    let mut line = Vec::new();
    for (source, curve) in content.sources.iter().zip(content.curves) {
        let Some(statistics) = curve.statistics().filter(|_| source.kind == Kind::Star) else {
            continue;
        };
        let usable = curve.constant;
        let (x, y) = (statistics.mean, statistics.rms / statistics.mean);
        marks.push(Mark { x, y, error: 0.0, usable });
        line.push((x, statistics.expected / statistics.mean));
    }
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The median of neighbours in flux.
    let smooth: Vec<(f64, f64)> = line
        .chunks(line.len().div_ceil(20).max(1))
        .map(|chunk| {
            let middle = |of: fn(&(f64, f64)) -> f64| {
                let mut values: Vec<f64> = chunk.iter().map(of).collect();
                dia_core::robust::median(&mut values).unwrap_or(f64::NAN)
            };
            (middle(|p| p.0), middle(|p| p.1))
        })
        .collect();
    let names = [format!("mean flux / {}", content.unit), "scatter / flux".to_owned()];
    diagram("Scatter of stars against flux", &marks, &smooth, [&names[0], &names[1]])
}

/// Where the time went, over all frames whose times are known.
fn seconds(content: &Content<'_>) -> Vec<(&'static str, String)> {
    let of = |record: &Record| -> Option<Seconds> {
        let path = folder_of(content.night, &record.id).join("timings.json");
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    };
    let all: Vec<Seconds> = content.records.iter().filter_map(of).collect();
    let mean = |value: fn(&Seconds) -> f64| {
        format!("{:.3}", all.iter().map(value).sum::<f64>() / all.len() as f64)
    };
    if all.is_empty() {
        return Vec::new();
    }
    vec![
        ("reading", mean(|s| s.read)),
        ("aligning and preparing", mean(|s| s.prepare)),
        ("fitting", mean(|s| s.fit)),
        ("subtracting", mean(|s| s.apply)),
        ("measuring", mean(|s| s.measure)),
        ("writing", mean(|s| s.write)),
    ]
}
