//! All frames of a night that is done: sources, light curves, tables and the page.

use anyhow::{Context, Result};
use dia_core::stars;
use serde::{Deserialize, Serialize};

use super::args::NightArgs;
use super::curves::{self, Curves, Epoch};
use super::record::{Found, Outcome, Record};
use super::sources::{Kind, Source, matched};
use super::summary::Summary;
use super::{frame, page, tables, wait};
use crate::crew::Crew;
use crate::fits::FitsSpec;
use crate::input::{Input, Real};
use crate::report::write_json;
use crate::sky::Sky;
use crate::table::Positions;

/// `night.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct NightRecord {
    version: String,
    /// The options, as they were given.
    command: String,
    pub(super) reference: String,
    pub(super) reference_unit: String,
    /// Rows and columns of the reference.
    pub(super) reference_shape: (usize, usize),
    pub(super) frames: Vec<FrameLine>,
    pub(super) error_factor: Option<f64>,
}

/// A frame in it.
#[derive(Serialize, Deserialize)]
pub(super) struct FrameLine {
    pub(super) id: String,
    /// PASS, WARN, FAIL, or FAILED where there is no difference.
    verdict: String,
    /// Value, standard deviation and number of stars.
    pub(super) zero_point: Option<(f64, f64, usize)>,
}

/// All frames of a night that is done.
pub(super) struct Season<'a, T> {
    pub(super) args: &'a NightArgs,
    pub(super) spec: &'a FitsSpec,
    pub(super) reference: &'a Input<T>,
    pub(super) records: &'a [Record],
    pub(super) positions: Option<&'a Positions>,
    pub(super) history: &'a str,
    pub(super) crew: Crew,
}

impl<T: Real> Season<'_, T> {
    /// Puts the sources together, measures the light curves, and writes tables and page.
    pub(super) fn write(&self) -> Result<Summary> {
        let folder = &self.args.output;
        let _lock = wait(folder)?;
        frame::sweep(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        let epochs: Vec<Epoch<'_>> = self
            .records
            .iter()
            .filter_map(|record| Some(Epoch { record, result: record.result()? }))
            .collect();
        let sky = Sky::of(&self.reference.header);
        let sources = self.sources(&epochs, sky.as_ref().ok().and_then(Option::as_ref))?;
        let shape = self.reference.image.view().shape();
        let measured = curves::measured(folder, &epochs, &sources, shape, self.crew)?;
        let curves = measured.with(self.args.corrections);
        let Curves { zero_points, error_factor, .. } = &measured;
        let origin = tables::Origin {
            reference: &self.reference.taken.image,
            unit: &self.reference.taken.unit,
            sky: sky.as_ref().ok().and_then(Option::as_ref),
            zero_points_applied: self.args.corrections.apply_zero_points,
            error_factor: measured.factor(self.args.corrections),
        };
        tables::frames(&epochs, zero_points, &origin).write(&folder.join("frames.ecsv"))?;
        tables::sources(&sources, &curves, &origin).write(&folder.join("sources.ecsv"))?;
        tables::light_curves(&epochs, &curves, zero_points, &origin)
            .write(&folder.join("lightcurves.ecsv"))?;
        let summary = Summary::of(self.records, &epochs, &sources, &curves, *error_factor);
        page::write(
            &folder.join("report.html"),
            &page::Content {
                night: folder,
                command: self.history,
                reference: origin.reference,
                unit: origin.unit,
                records: self.records,
                epochs: &epochs,
                sources: &sources,
                measured: &measured,
                curves: &curves,
                summary: &summary,
            },
        )?;
        write_json(&folder.join("summary.json"), &summary)?;
        let mut of_epochs = zero_points.iter();
        let line = |record: &Record| match &record.outcome {
            Outcome::Failed(_) => {
                FrameLine { id: record.id.clone(), verdict: "FAILED".into(), zero_point: None }
            }
            Outcome::Measured(result) => FrameLine {
                id: record.id.clone(),
                verdict: result.verdict.clone(),
                zero_point: of_epochs
                    .next()
                    .copied()
                    .flatten()
                    .map(|z| (z.value, z.sigma, z.stars)),
            },
        };
        let frames = self.records.iter().map(line).collect();
        let night = NightRecord {
            version: env!("CARGO_PKG_VERSION").into(),
            command: self.history.to_owned(),
            reference: self.spec.to_string(),
            reference_unit: self.reference.taken.unit.clone(),
            reference_shape: shape,
            frames,
            error_factor: *error_factor,
        };
        write_json(&folder.join("night.json"), &night)?;
        Ok(summary)
    }

    /// The places that were asked for, those of the detections, and the stars of the reference.
    fn sources(&self, epochs: &[Epoch<'_>], sky: Option<&Sky>) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        if let Some(positions) = self.positions {
            let pixels = positions.in_pixels(sky).with_context(|| {
                format!(
                    "{}: positions are given as ra and dec, and the reference has no world coordinates that are known; give pixels of the reference, columns x and y",
                    self.reference.taken.image
                )
            })?;
            sources.extend(pixels.into_iter().map(|(x, y)| Source::at(Kind::Given, x, y)));
        }
        let found: Vec<&[Found]> = epochs
            .iter()
            .filter(|epoch| epoch.is_good())
            .map(|epoch| epoch.result.detections.as_slice())
            .collect();
        let fwhm = epochs.iter().find_map(|epoch| epoch.result.reference_fwhm).unwrap_or(3.0);
        let radius = (0.5 * fwhm).max(1.5);
        let matched = matched(&found, radius);
        let mask = self.reference.unusable();
        // Beside a variable source a star is that source.
        let is_free = |star: &stars::Star| {
            !matched.iter().any(|s| s.clean > 0 && (s.x - star.x).hypot(s.y - star.y) <= radius)
        };
        let stars: Vec<Source> = stars::find(self.reference.image.view(), &mask, self.args.stars)
            .iter()
            .filter(|star| is_free(star))
            .map(|star| Source::at(Kind::Star, star.x, star.y))
            .collect();
        sources.extend(matched);
        sources.extend(stars);
        Ok(sources)
    }
}
