//! Detections and fluxes on a difference, for `dia subtract`, `dia detect` and `dia photometry`: what is asked for, the scene that it is measured on, and what came out.

mod args;
mod commands;
mod injection;
mod injection_figure;
mod library;
mod scenery;
mod stored;
mod tables;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use dia_core::Image;
use dia_photometry::{
    DetectOptions, Detection, Flags, ForcedFlux, ForcedOptions, ReferencePsf, ScoreOptions,
    decorrelate, detect, forced, score,
};
use serde::Serialize;

use crate::fits::{FitsSpec, HduData, Header};
use crate::output::squared;
use crate::table::Positions;

pub(crate) use args::{DetectArgs, PhotometryArgs, PhotometryCommandArgs};
pub(crate) use commands::{run_detect, run_photometry};
pub(crate) use injection::{InjectRequest, Injection, InjectionReport};
pub(crate) use injection_figure::{injection_png, write_injection};
pub(crate) use scenery::Origin;
pub use scenery::Scenery;
pub(crate) use stored::read as read_scenery;
pub(crate) use tables::{MOST_APERTURES, detections, fluxes};

/// What is measured; nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MeasureRequest {
    /// Least |S_corr| of detections, if any are to be found.
    pub(crate) threshold: Option<f64>,
    /// Where fluxes are to be measured.
    pub(crate) positions: Option<Positions>,
    /// Radii of apertures for them, in pixels.
    pub(crate) apertures: Vec<f64>,
    /// Planes beside those that every difference has.
    pub(crate) planes: Vec<Plane>,
    /// The PSF of the reference, if it is given.
    pub(crate) psf: Option<FitsSpec>,
    /// Stars to inject into the target.
    pub(crate) inject: Option<InjectRequest>,
}

/// A plane that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plane {
    /// SCORE: significance of a point source at each pixel, in σ
    Score,
    /// FLUX: its flux
    Flux,
    /// FLUXERR: σ of that flux; five of them are the limiting flux
    FluxError,
    /// DECORR and DECORRVAR: the difference with white noise, and its variance
    Decorrelated,
    /// All that dia detect and dia photometry need to measure on the file later: REFERENCE, REFVAR, TGTVAR, PSF, PARAMETERS, COVARIANCE
    Scene,
}

/// A plane to write beside the usual ones.
#[derive(Clone, Debug)]
pub(crate) struct ExtraPlane {
    pub(crate) name: String,
    pub(crate) header: Header,
    /// Whether its pixels are those of the target, so that it shares its world coordinates.
    pub(crate) on_sky: bool,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pixels: Pixels,
}

#[derive(Clone, Debug)]
enum Pixels {
    Single(Image<f32>),
    Double(Vec<f64>),
}

impl ExtraPlane {
    /// An image of the sky whose pixels are of the power `power` of `unit`.
    fn image(name: &str, unit: &str, power: u32, meaning: &str, image: Image<f32>) -> Self {
        let mut header = Header::new();
        match power {
            0 => header.set("BUNIT", "", meaning),
            1 => header.set("BUNIT", unit, meaning),
            _ => header.set("BUNIT", squared(unit), meaning),
        }
        let (height, width) = image.view().shape();
        let pixels = Pixels::Single(image);
        Self { name: name.to_owned(), header, on_sky: true, height, width, pixels }
    }

    /// Its numbers.
    pub(crate) fn data(&self) -> HduData<'_> {
        match &self.pixels {
            Pixels::Single(image) => HduData::F32(image.pixels()),
            Pixels::Double(pixels) => HduData::F64(pixels),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) origin: Origin,
    pub(crate) detections: Option<Vec<Detection>>,
    pub(crate) fluxes: Option<Vec<ForcedFlux>>,
    pub(crate) planes: Vec<ExtraPlane>,
    /// Significance of a point source at each pixel, where detections were looked for.
    pub(crate) score: Option<Image<f32>>,
    /// Where stars were injected.
    pub(crate) injection: Option<Injection>,
    pub(crate) report: PhotometryReport,
}

/// The section `photometry` of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PhotometryReport {
    pub(crate) psf: PsfReport,
    /// Null where none were looked for.
    pub(crate) threshold: Option<f64>,
    pub(crate) detections: Option<usize>,
    /// Those that Gaussian noise alone makes at that threshold.
    pub(crate) expected_false_alarms: Option<f64>,
    pub(crate) positions: Option<usize>,
    /// Left out where no stars were injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) injection: Option<InjectionReport>,
    pub(crate) sources_file: Option<String>,
    pub(crate) photometry_file: Option<String>,
}

/// The PSF of the reference.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PsfReport {
    /// 0 if it was given.
    pub(crate) stars: usize,
    pub(crate) rejected: usize,
    pub(crate) fwhm: f64,
    pub(crate) ellipticity: f64,
    pub(crate) residual: f64,
    pub(crate) degree: usize,
    pub(crate) half_width: usize,
}

impl PsfReport {
    fn of(psf: &ReferencePsf) -> Self {
        Self {
            stars: psf.stars,
            rejected: psf.rejected,
            fwhm: psf.fwhm,
            ellipticity: psf.ellipticity,
            residual: psf.residual,
            degree: psf.degree(),
            half_width: psf.half_width(),
        }
    }
}

impl MeasureRequest {
    /// Whether anything is to be measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.threshold.is_none()
            && self.positions.is_none()
            && self.planes.is_empty()
            && self.inject.is_none()
    }

    /// Measures on a scene.
    pub(crate) fn on(&self, scenery: &Scenery) -> Result<Measured> {
        let origin = &scenery.origin;
        let positions = match &self.positions {
            Some(positions) => Some(pixels_of(positions, origin)?),
            None => None,
        };
        self.at(scenery, positions)
            .with_context(|| format!("{}: its sources cannot be measured", origin.target))
    }

    fn at(&self, scenery: &Scenery, positions: Option<Vec<(f64, f64)>>) -> Result<Measured> {
        let scene = &scenery.scene();
        let of_score = |plane: &Plane| !matches!(plane, Plane::Decorrelated | Plane::Scene);
        let scored = if self.threshold.is_some() || self.planes.iter().any(of_score) {
            Some(score(scene, &ScoreOptions::default())?)
        } else {
            None
        };
        let mut detections = None;
        let mut expected = None;
        if let (Some(threshold), Some(score)) = (self.threshold, &scored) {
            let options = DetectOptions { threshold, ..Default::default() };
            detections = Some(detect(scene, score, &options)?);
            expected = Some(score.expected_false_alarms(threshold));
        }
        let options = ForcedOptions { apertures: self.apertures.clone(), ..Default::default() };
        let fluxes = match positions {
            Some(positions) => Some(forced(scene, &positions, &options)?),
            None => None,
        };
        let unit = &scenery.origin.unit;
        let image = |name, meaning, power, image: &Image<f32>| {
            ExtraPlane::image(name, unit, power, meaning, image.clone())
        };
        let mut planes = Vec::new();
        for plane in &self.planes {
            match (plane, &scored) {
                (Plane::Score, Some(s)) => {
                    let meaning = "significance of a point source, in sigma";
                    planes.push(image("SCORE", meaning, 0, &s.significance));
                }
                (Plane::Flux, Some(s)) => {
                    planes.push(image("FLUX", "flux of a point source at the pixel", 1, &s.flux));
                }
                (Plane::FluxError, Some(s)) => {
                    planes.push(image("FLUXERR", "standard deviation of FLUX", 1, &s.flux_error));
                }
                (Plane::Decorrelated, _) => {
                    let white = decorrelate(scene)?;
                    let meaning = "difference with white noise";
                    planes.push(image("DECORR", meaning, 1, &white.difference));
                    planes.push(image("DECORRVAR", "variance of DECORR", 2, &white.variance));
                }
                // The last of all.
                (Plane::Scene, _) => planes.extend(stored::planes(scenery)),
                (Plane::Score | Plane::Flux | Plane::FluxError, None) => {}
            }
        }
        let report = PhotometryReport {
            psf: PsfReport::of(&scenery.psf),
            threshold: self.threshold,
            detections: detections.as_ref().map(Vec::len),
            expected_false_alarms: expected,
            positions: fluxes.as_ref().map(Vec::len),
            injection: None,
            sources_file: None,
            photometry_file: None,
        };
        let origin = scenery.origin.clone();
        let score = scored.filter(|_| detections.is_some()).map(|scored| scored.significance);
        Ok(Measured { origin, detections, fluxes, planes, score, injection: None, report })
    }
}

/// Positions in the target's pixels.
pub(crate) fn pixels_of(positions: &Positions, origin: &Origin) -> Result<Vec<(f64, f64)>> {
    let target = &origin.target;
    let sky = match (&origin.sky, positions) {
        (Ok(sky), _) => sky.as_ref(),
        (Err(_), Positions::Pixels(_)) => None,
        (Err(why), Positions::Sky(_)) => {
            anyhow::bail!(
                "{target}: positions are given as ra and dec, and its world coordinates cannot be used: {why}; give pixels, columns x and y"
            )
        }
    };
    let pixels = positions.in_pixels(sky);
    ensure!(
        pixels.is_some(),
        "{target}: positions are given as ra and dec, and its header has no world coordinates of the sky; give pixels, columns x and y"
    );
    Ok(pixels.unwrap_or_default())
}

impl Measured {
    /// Lines for the terminal.
    pub(crate) fn summary(&self) -> String {
        let PhotometryReport { psf, threshold, expected_false_alarms, .. } = &self.report;
        let mut parts = vec![if psf.stars == 0 {
            format!("PSF of the reference given, FWHM {:.2} px", psf.fwhm)
        } else {
            format!("PSF of the reference from {} stars, FWHM {:.2} px", psf.stars, psf.fwhm)
        }];
        if let (Some(found), Some(threshold)) = (&self.detections, threshold) {
            // What the fit left out as variable is what is looked for.
            let flagged = |d: &&Detection| !(d.source.flags - Flags::VARIABLE).is_empty();
            let flagged = found.iter().filter(flagged).count();
            parts.push(format!(
                "{} detections above {threshold} σ, {flagged} of them doubtful by their flags; noise alone makes {:.2}",
                found.len(),
                expected_false_alarms.unwrap_or(f64::NAN)
            ));
        }
        if let Some(fluxes) = &self.fluxes {
            let measured = fluxes.iter().filter(|row| row.flux.value.is_finite()).count();
            parts.push(format!("{measured} of {} positions measured", fluxes.len()));
        }
        let mut lines = vec![parts.join("; ")];
        lines.extend(self.report.injection.as_ref().map(InjectionReport::summary));
        if let Err(why) = &self.origin.sky
            && (self.detections.is_some() || self.fluxes.is_some())
        {
            lines.push(format!(
                "the tables have no ra and dec: the world coordinates of {} are not known: {why}",
                self.origin.target
            ));
        }
        lines.join("\n")
    }
}
