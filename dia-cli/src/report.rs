//! The report of a subtraction: a documented, versioned JSON document.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use dia_core::Loss;
use dia_solvers::{FitOptions, ReferenceNoise, VariationTest};
use serde::Serialize;

use crate::align::AlignmentReport;
use crate::fits;
use crate::input::Taken;
use crate::notice::{Level, Notice, Verdict};
use crate::photometry::PhotometryReport;

/// Version of the report's schema: raised when a field changes its meaning or goes away. `fields.rs` describes the fields.
pub(crate) const SCHEMA: u32 = 1;

/// What was done and found: the fields that dia-cli/README.md lists.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub(crate) schema: u32,
    pub(crate) version: &'static str,
    pub(crate) command: String,
    pub(crate) output: String,
    pub(crate) reference: Taken,
    pub(crate) target: Taken,
    /// The worst of what was noticed, and why.
    pub(crate) verdict: Verdict,
    /// All that was noticed, also what was only done.
    pub(crate) notices: Vec<Notice>,
    pub(crate) photometric_scale: Value,
    pub(crate) background: Background,
    pub(crate) offset: OffsetReport,
    /// How the images lie, and what was done about it.
    pub(crate) alignment: AlignmentReport,
    pub(crate) seeing: Option<Seeing>,
    pub(crate) half_width: usize,
    /// `given`, `auto`, or the criterion that chose it.
    pub(crate) half_width_by: String,
    pub(crate) kernel: KernelReport,
    pub(crate) loss: String,
    pub(crate) reference_noise: String,
    pub(crate) regularisation: Regularisation,
    pub(crate) noise_scale: f64,
    /// Null where they were not looked for.
    pub(crate) variables: Option<Variables>,
    pub(crate) solver: SolverReport,
    pub(crate) residuals: Residuals,
    /// What was measured; left out where nothing was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) photometry: Option<PhotometryReport>,
    pub(crate) pixels: Pixels,
    pub(crate) timings_s: Timings,
    pub(crate) backend: String,
    /// What the fit exchanged with the device; left out on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traffic: Option<TrafficReport>,
    pub(crate) precision: String,
    pub(crate) threads: usize,
}

impl Report {
    /// The report as JSON, with the fields that dia-cli/README.md lists.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, crate::Error> {
        Ok(serde_json::to_string_pretty(self).map_err(anyhow::Error::from)?)
    }

    /// How far the result can be trusted.
    pub fn level(&self) -> Level {
        self.verdict.level
    }

    /// The reasons for that, in words.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.verdict.reasons.iter().map(|reason| reason.text.as_str())
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Value {
    pub(crate) value: f64,
    pub(crate) sigma: f64,
}

impl From<dia_solvers::Estimate> for Value {
    fn from(estimate: dia_solvers::Estimate) -> Self {
        Self { value: estimate.value, sigma: estimate.sigma }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Background {
    pub(crate) degree: usize,
    pub(crate) coefficients: Vec<Value>,
    pub(crate) reference_sky: f64,
}

/// A star's place in the target minus its place in the reference, in pixels: whole pixels taken out before the fit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OffsetReport {
    /// What the target is against the reference, whose pixels were moved in the same way first; left out where it is not turned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turned: Option<&'static str>,
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

/// FWHM in pixels.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Seeing {
    pub(crate) reference_fwhm: f64,
    pub(crate) target_fwhm: f64,
}

impl Seeing {
    /// The wider of the two.
    pub(crate) fn widest(self) -> f64 {
        self.reference_fwhm.max(self.target_fwhm)
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KernelReport {
    pub(crate) basis: String,
    pub(crate) shape: String,
    pub(crate) coefficients: usize,
    pub(crate) core: Option<f64>,
    pub(crate) inner: usize,
    pub(crate) degree: usize,
    pub(crate) scale_degree: usize,
    /// Absent where the degree was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variation_test: Option<VariationTestReport>,
    pub(crate) convolves: &'static str,
    /// ΣK_t for each polynomial of the variation; the first is P, or 1/P where the target is convolved.
    pub(crate) scale_coefficients: Vec<f64>,
    /// What is left of the offset after whole pixels, in pixels.
    pub(crate) centroid: Centroid,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Regularisation {
    pub(crate) lambda: f64,
    pub(crate) lambda_variation: Option<f64>,
    pub(crate) noise_correction: f64,
    pub(crate) chosen: bool,
}

/// The variable sources that were left out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Variables {
    pub(crate) fraction: f64,
    pub(crate) left_out: usize,
    pub(crate) common_change: f64,
    pub(crate) common_change_error: f64,
    pub(crate) error_floor: f64,
    pub(crate) noise_excess: f64,
    pub(crate) sources: Vec<VariableSource>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct VariableSource {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) relative_change: f64,
    pub(crate) significance: f64,
    pub(crate) radius: f64,
}

impl Variables {
    pub(crate) fn of(found: &dia_solvers::VariableSources, half_width: usize) -> Self {
        let source = |s: &dia_solvers::VariableSource| VariableSource {
            x: s.x + half_width,
            y: s.y + half_width,
            relative_change: s.change / s.flux,
            significance: s.significance,
            radius: s.radius,
        };
        Self {
            fraction: found.fraction,
            left_out: found.left_out,
            common_change: found.common_change,
            common_change_error: found.common_change_error,
            error_floor: found.error_floor,
            noise_excess: found.noise_excess,
            sources: found.sources.iter().map(source).collect(),
        }
    }
}

/// How the kernel's variation compares with noise.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct VariationTestReport {
    statistic: f64,
    degrees_of_freedom: usize,
    limit: f64,
}

impl From<VariationTest> for VariationTestReport {
    fn from(test: VariationTest) -> Self {
        let VariationTest { statistic, degrees_of_freedom, limit } = test;
        Self { statistic, degrees_of_freedom, limit }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Centroid {
    pub(crate) dx: f64,
    pub(crate) dy: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SolverReport {
    pub(crate) name: &'static str,
    pub(crate) preconditioner: &'static str,
    pub(crate) stop: &'static str,
    pub(crate) passes: usize,
    pub(crate) iterations: usize,
    pub(crate) products: usize,
    pub(crate) optimality: f64,
    pub(crate) tolerance: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Residuals {
    pub(crate) mfb: f64,
    pub(crate) mfv: f64,
    pub(crate) robust_std: f64,
    pub(crate) chi2_dof: f64,
    pub(crate) outliers: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pixels {
    pub(crate) used: usize,
    pub(crate) masked: usize,
    pub(crate) planes: std::collections::BTreeMap<String, usize>,
}

/// Between host and device.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TrafficReport {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) dispatches: u64,
    pub(crate) submits: u64,
}

impl From<dia_core::Traffic> for TrafficReport {
    fn from(traffic: dia_core::Traffic) -> Self {
        let dia_core::Traffic { bytes_in, bytes_out, dispatches, submits } = traffic;
        Self { bytes_in, bytes_out, dispatches, submits }
    }
}

/// Wall-clock seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Timings {
    pub(crate) read: f64,
    pub(crate) align: f64,
    pub(crate) prepare: f64,
    pub(crate) fit: f64,
    pub(crate) apply: f64,
    /// Left out where nothing was measured.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) photometry: f64,
    pub(crate) write: f64,
    pub(crate) total: f64,
}

impl Timings {
    /// The stages in their order, in words.
    pub(crate) fn stages(self) -> [(&'static str, f64); 8] {
        [
            ("reading", self.read),
            ("aligning", self.align),
            ("preparing", self.prepare),
            ("fitting", self.fit),
            ("subtracting", self.apply),
            ("measuring", self.photometry),
            ("writing", self.write),
            ("in all", self.total),
        ]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// Writes `document` as JSON, whole or not at all.
pub(crate) fn write_json(path: &Path, document: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(document)? + "\n";
    Ok(fits::write_atomically(path, |mut file| file.write_all(json.as_bytes()))?)
}

pub(crate) fn loss_name(options: &FitOptions) -> &'static str {
    match options.loss {
        _ if options.clipping.is_some() => "clip",
        Loss::Gaussian => "gaussian",
        Loss::Huber { .. } => "huber",
        Loss::Tukey { .. } => "tukey",
        Loss::Cauchy { .. } => "cauchy",
        Loss::StudentT { .. } => "student-t",
    }
}

pub(crate) fn reference_noise_name(noise: ReferenceNoise) -> &'static str {
    match noise {
        ReferenceNoise::Correct => "correct",
        ReferenceNoise::Weight => "weight",
        ReferenceNoise::Ignore => "ignore",
    }
}
