//! One frame of a night: from its file to a folder of results, or to the reason why there are none.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use dia_align::PlaneMap;
use dia_core::Image;
use dia_core::stars::Star;
use dia_photometry::displacement;
use serde::Serialize;

use super::key::{self, Key};
use super::record::{Found, FrameResult, Outcome, Record, Warp};
use super::time::Time;
use crate::align::turn::{TURNS, Turn};
use crate::args::NoiseArgs;
use crate::fits::FitsError;
use crate::frames::Frame;
use crate::input::{Input, Real, Role};
use crate::notice::Level;
use crate::output::{self, Described};
use crate::page::preview::{self, Greys};
use crate::photometry::{self, MeasureRequest, Plane, Scenery};
use crate::report::{Report, Timings, write_json};
use crate::request::SubtractRequest;
use crate::subtraction::subtract;
use crate::terminal::chain;

/// Longest side of a picture in pixels.
const LONGEST: usize = 320;

/// What all frames share.
pub(super) struct Night<'a, T> {
    pub(super) folder: &'a Path,
    pub(super) reference: &'a Input<T>,
    pub(super) request: &'a SubtractRequest,
    pub(super) measure: &'a MeasureRequest,
    pub(super) noise: &'a NoiseArgs,
    /// Of all that does not depend on the frame.
    pub(super) key: Key,
    /// For HISTORY.
    pub(super) history: &'a str,
    pub(super) force: bool,
    pub(super) retry_failed: bool,
}

/// How a frame ended in this run.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// It was done before.
    Kept(Box<Record>),
    /// It is done now, whatever came out.
    Done(Box<Record>),
    /// Another process works on it.
    Busy,
    /// Its results cannot be written now: nothing is wrong with the frame.
    Later(String),
}

/// Seconds that a frame took; not part of what is the same in every run.
#[derive(Clone, Copy, Debug, Default, Serialize, serde::Deserialize)]
pub(super) struct Seconds {
    pub(super) read: f64,
    pub(super) prepare: f64,
    pub(super) fit: f64,
    pub(super) apply: f64,
    pub(super) measure: f64,
    pub(super) write: f64,
}

/// The folder of a frame.
pub(super) fn folder_of(night: &Path, id: &str) -> PathBuf {
    night.join("frames").join(id)
}

/// The difference in it.
pub(super) fn difference_of(night: &Path, id: &str) -> PathBuf {
    folder_of(night, id).join("difference.fits")
}

impl<T: Real> Night<'_, T> {
    /// Does a frame unless it is done.
    pub(super) fn run(&self, frame: &Frame) -> Ended {
        let folder = folder_of(self.folder, &frame.id);
        let open = || -> std::io::Result<File> {
            fs::create_dir_all(&folder)?;
            File::options().create(true).append(true).open(folder.join(".lock"))
        };
        let lock = match open() {
            Ok(lock) => lock,
            Err(error) => {
                return Ended::Later(format!("cannot write to {}: {error}", folder.display()));
            }
        };
        // It is given back when the process ends, however it ends.
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ended::Busy,
            Err(TryLockError::Error(error)) => {
                return Ended::Later(format!("cannot lock {}: {error}", folder.display()));
            }
        }
        let key = self.key.with_files(&[&frame.spec.path]);
        let (key, unread) = match key {
            Ok(key) => (key.to_hex(), None),
            Err(error) => (String::new(), Some(error)),
        };
        if !self.force
            && let Some(record) = Record::read(&folder)
            && record.key == key
            && unread.is_none()
        {
            let failed = matches!(record.outcome, Outcome::Failed(_));
            if !failed || !self.retry_failed {
                return Ended::Kept(Box::new(record));
            }
        }
        self.anew(frame, &folder, key, unread)
    }

    fn anew(
        &self,
        frame: &Frame,
        folder: &Path,
        key: String,
        unread: Option<anyhow::Error>,
    ) -> Ended {
        let cleared = clear(folder);
        let outcome = match (unread, cleared) {
            (_, Err(error)) => Err(anyhow::Error::from(error).context("cannot clear its folder")),
            (Some(error), _) => Ok(Outcome::Failed(chain(&error))),
            (None, Ok(())) => match self.measured(frame, folder) {
                Ok(result) => Ok(Outcome::Measured(Box::new(result))),
                Err(error) if is_of_writing(&error) => Err(error),
                Err(error) => Ok(Outcome::Failed(chain(&error))),
            },
        };
        let written = outcome.and_then(|outcome| {
            let image = frame.given.clone();
            let record = Record { id: frame.id.clone(), image, key, outcome };
            record.write(folder)?;
            Ok(record)
        });
        match written {
            Ok(record) => Ended::Done(Box::new(record)),
            Err(error) => Ended::Later(chain(&error)),
        }
    }

    fn measured(&self, frame: &Frame, folder: &Path) -> Result<FrameResult> {
        let mut clock = Instant::now();
        let mut lap = || {
            let seconds = clock.elapsed().as_secs_f64();
            clock = Instant::now();
            seconds
        };
        let target = Input::<T>::read(&frame.spec, Role::Target, &self.noise.of(Role::Target))?;
        let read = lap();
        let mut subtraction = subtract(self.reference.clone(), target, self.request, &mut |_| ())?;
        lap();
        let scenery = Scenery::of(&subtraction, self.measure.psf.as_ref())?;
        let measured = self.measure.on(&scenery)?;
        let measure = lap();
        let report = &mut subtraction.report;
        report.photometry = Some(measured.report.clone());
        let Timings { prepare, fit, apply, .. } = report.timings_s;
        // What differs from run to run lies apart.
        report.timings_s = Timings::default();
        report.threads = 0;
        self.history.clone_into(&mut report.command);
        report.output = "difference.fits".into();
        output::write(
            &difference_of(self.folder, &frame.id),
            &Described {
                difference: &subtraction.difference,
                target_header: &subtraction.target.header,
                report: &subtraction.report,
                planes: &measured.planes,
                history: format!("{} {}", self.history, frame.given),
            },
        )?;
        let found = measured.detections.as_deref().unwrap_or_default();
        photometry::detections(found, &measured).write(&folder.join("sources.ecsv"))?;
        write_json(&folder.join("report.json"), &subtraction.report)?;
        let narrow = |value: T| value.widen() as f32;
        let picture = |name: &str, image: &Image<f32>, greys| {
            preview::write(&folder.join(name), image, greys, LONGEST)
        };
        picture("target.png", &subtraction.target.image.map(narrow), Greys::Stars)?;
        picture("reference.png", &subtraction.reference.image.map(narrow), Greys::Stars)?;
        picture("difference.png", &scenery.difference, Greys::Noise)?;
        let write = lap();
        let seconds = Seconds { read, prepare, fit, apply, measure, write };
        write_json(&folder.join("timings.json"), &seconds)?;
        let shape = self.reference.image.view().shape();
        let detections = found
            .iter()
            .map(|detection| {
                let source = &detection.source;
                let place = Place::of(&subtraction.report, shape);
                let (x, y) = place.in_reference(&scenery, source.x, source.y);
                let sigma = source.position_covariance.map(|[xx, yy, _]| (0.5 * (xx + yy)).sqrt());
                Found {
                    x,
                    y,
                    sigma: sigma.filter(|sigma| sigma.is_finite()),
                    significance: detection.significance,
                    flags: source.flags.bits(),
                }
            })
            .filter(|found| found.x.is_finite() && found.y.is_finite())
            .collect();
        Ok(result_of(&subtraction.report, &subtraction.target, detections))
    }
}

fn result_of<T: Real>(report: &Report, target: &Input<T>, detections: Vec<Found>) -> FrameResult {
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    FrameResult {
        time: Time::of(&target.header),
        verdict: report.verdict.level.name().to_owned(),
        reasons: report
            .verdict
            .reasons
            .iter()
            .map(|reason| (reason.code.to_owned(), reason.text.clone()))
            .collect(),
        reference_fwhm: report.seeing.map(|seeing| seeing.reference_fwhm),
        target_fwhm: report.seeing.map(|seeing| seeing.target_fwhm),
        scale: report.photometric_scale.value,
        scale_sigma: report.photometric_scale.sigma,
        sky: target.sky.and_then(|sky| finite(sky.level)),
        chi2_dof: report.residuals.chi2_dof,
        robust_std: report.residuals.robust_std,
        used_pixels: report.pixels.used,
        masked_pixels: report.pixels.masked,
        offset: (report.offset.dx, report.offset.dy),
        turned: report.offset.turned.map(str::to_owned),
        warp: report.alignment.warp().as_ref().map(Warp::new),
        unit: report.target.unit.clone(),
        expected_false_alarms: report
            .photometry
            .as_ref()
            .and_then(|photometry| photometry.expected_false_alarms.and_then(finite)),
        detections,
    }
}

/// The level of a verdict by its name.
pub(super) fn level(verdict: &str) -> Level {
    [Level::Pass, Level::Warn]
        .into_iter()
        .find(|level| level.name() == verdict)
        .unwrap_or(Level::Fail)
}

/// Removes the mark of completion first, and what a process that was killed has left.
fn clear(folder: &Path) -> std::io::Result<()> {
    let done = Record::path(folder);
    if done.exists() {
        fs::remove_file(done)?;
    }
    sweep(folder)
}

/// Removes what a process that was killed has left unfinished in a folder that is locked.
pub(super) fn sweep(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "part") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Whether the disk is to blame, and not the frame.
fn is_of_writing(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| matches!(cause.downcast_ref::<FitsError>(), Some(FitsError::Write { .. })))
}

/// Where a place of the reference is in a target.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Moved by whole pixels.
    Grid {
        turn: Option<Turn>,
        offset: (isize, isize),
        /// Rows and columns of the reference as its file has it.
        shape: (usize, usize),
    },
    /// Warped: from the target's pixels to the reference's.
    Map(PlaneMap),
}

impl Place {
    fn of(report: &Report, shape: (usize, usize)) -> Self {
        if let Some(map) = report.alignment.warp() {
            return Self::Map(map);
        }
        let turn = report.offset.turned.and_then(turn_of);
        Self::Grid { turn, offset: (report.offset.dx, report.offset.dy), shape }
    }

    /// As the record of a frame has it.
    pub(super) fn recorded(result: &FrameResult, shape: (usize, usize)) -> Result<Self> {
        if let Some(warp) = &result.warp {
            return warp.map().map(Self::Map).context("the recorded map is none");
        }
        let turn = match &result.turned {
            None => None,
            Some(code) => {
                let known = turn_of(code);
                Some(known.ok_or_else(|| anyhow!("{code} is no turn that is known"))?)
            }
        };
        Ok(Self::Grid { turn, offset: result.offset, shape })
    }

    /// From the reference's pixels to the target's grid, but not what the kernel moves stars by; NaN where the map has no way back.
    pub(super) fn on_grid(&self, x: f64, y: f64) -> (f64, f64) {
        match self {
            Self::Grid { turn, offset, shape } => {
                let star = Star { x, y, flux: 1.0 };
                let turned = turn.map_or(star, |turn| turn.stars(&[star], *shape)[0]);
                (turned.x + offset.0 as f64, turned.y + offset.1 as f64)
            }
            Self::Map(map) => map.back(x, y).unwrap_or((f64::NAN, f64::NAN)),
        }
    }

    /// From a place in the target to the reference's pixels.
    fn in_reference(&self, scenery: &Scenery, x: f64, y: f64) -> (f64, f64) {
        let (dy, dx) = moved(scenery, x, y);
        let (x, y) = (x - dx, y - dy);
        match self {
            Self::Grid { turn, offset, shape } => {
                let (x, y) = (x - offset.0 as f64, y - offset.1 as f64);
                turn.map_or((x, y), |turn| turn.undone((x, y), *shape))
            }
            Self::Map(map) => map.place(x, y),
        }
    }
}

fn turn_of(code: &str) -> Option<Turn> {
    TURNS.into_iter().find(|turn| turn.code == code)
}

/// What the kernel moves a star by, (dy, dx) in pixels, near a place of the target.
fn moved(scenery: &Scenery, x: f64, y: f64) -> (f64, f64) {
    let scene = scenery.scene();
    let (height, width) = scene.difference.shape();
    let nearest = |value: f64, length: usize| (value.round().max(0.0) as usize).min(length - 1);
    let psf = scenery.psf.at(nearest(y, height), nearest(x, width));
    displacement(&psf, &scene.kernel_at(y, x))
}

/// The key of what all frames share: the version, the options and the reference.
pub(super) fn shared_key(
    request: &SubtractRequest,
    measure: &MeasureRequest,
    noise: &NoiseArgs,
    precision: &str,
    reference: &Path,
) -> Result<Key> {
    // What only says where and how fast.
    let request = SubtractRequest { max_memory: None, max_device_memory: None, ..request.clone() };
    let said = format!("{request:?} {measure:?} {noise:?} {precision}");
    let files: Vec<&Path> = [reference]
        .into_iter()
        .chain(noise.planes().map(|spec| spec.path.as_path()))
        .chain(measure.psf.iter().map(|spec| spec.path.as_path()))
        .collect();
    key::Key::of(&said).with_files(&files).context("the results have no key")
}

/// What is measured of every frame.
pub(super) fn measuring(threshold: f64, psf: Option<crate::fits::FitsSpec>) -> MeasureRequest {
    MeasureRequest {
        threshold: Some(threshold),
        planes: vec![Plane::Scene],
        psf,
        ..Default::default()
    }
}
