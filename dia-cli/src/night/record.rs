//! What is kept of a frame: the mark of completion, which is written last.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use dia_align::{MAX_DEGREE, PlaneMap};
use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::report::write_json;

/// Raised when a field changes its meaning; part of every key, so that older results are made anew.
pub(super) const SCHEMA: u32 = 2;

/// `done.json` in the folder of a frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    /// The image as it was given.
    pub(super) image: String,
    /// Hash of inputs, options and version; empty where the image could not be read.
    pub(super) key: String,
    pub(super) outcome: Outcome,
}

/// How it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// There is a difference, whatever its verdict is.
    Measured(Box<FrameResult>),
    /// There is none, for this reason.
    Failed(String),
}

/// What is known of a frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrameResult {
    pub(super) time: Time,
    pub(super) verdict: String,
    /// The codes of its reasons and their words.
    pub(super) reasons: Vec<(String, String)>,
    pub(super) reference_fwhm: Option<f64>,
    pub(super) target_fwhm: Option<f64>,
    pub(super) scale: f64,
    pub(super) scale_sigma: f64,
    /// Median of the target's sky, in its unit.
    pub(super) sky: Option<f64>,
    pub(super) chi2_dof: f64,
    pub(super) robust_std: f64,
    pub(super) used_pixels: usize,
    pub(super) masked_pixels: usize,
    pub(super) offset: (isize, isize),
    pub(super) turned: Option<String>,
    /// Where the reference was warped, instead of offset and turn.
    pub(super) warp: Option<Warp>,
    pub(super) unit: String,
    pub(super) expected_false_alarms: Option<f64>,
    pub(super) detections: Vec<Found>,
}

/// A map from the pixels of a target to those of the reference: polynomials as [`PlaneMap`] has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Warp {
    degree: usize,
    centre: (f64, f64),
    unit: f64,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Warp {
    pub(super) fn new(map: &PlaneMap) -> Self {
        let (centre, unit) = map.coordinates();
        let [x, y] = map.coefficients().map(<[f64]>::to_vec);
        Self { degree: map.degree(), centre, unit, x, y }
    }

    /// The map, if the numbers are those of one.
    pub(super) fn map(&self) -> Option<PlaneMap> {
        let terms = (self.degree + 1) * (self.degree + 2) / 2;
        let fits = (1..=MAX_DEGREE).contains(&self.degree)
            && self.x.len() == terms
            && self.y.len() == terms
            && self.unit > 0.0;
        fits.then(|| PlaneMap::polynomial(self.degree, self.centre, self.unit, [&self.x, &self.y]))
    }
}

/// A detection, where it is in the reference's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Mean of the standard deviations of x and y in pixels; none where the place was not fitted.
    pub(super) sigma: Option<f64>,
    /// Significance, negative where the target is fainter.
    pub(super) significance: f64,
    pub(super) flags: u32,
}

impl Record {
    /// The record in a frame's folder, if there is a whole one of this version.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path(folder)).ok()?).ok()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        write_json(&Self::path(folder), self)
    }

    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("done.json")
    }

    pub(super) fn result(&self) -> Option<&FrameResult> {
        match &self.outcome {
            Outcome::Measured(result) => Some(result),
            Outcome::Failed(_) => None,
        }
    }
}
