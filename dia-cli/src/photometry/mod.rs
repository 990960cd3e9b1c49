//! Detections and fluxes on a difference, for `dia subtract`: what is asked for, the scene that it is measured on, and what came out.

mod args;
mod tables;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use dia_core::{Image, NoiseModel};
use dia_photometry::{
    DetectOptions, Detection, Flags, ForcedFlux, ForcedOptions, PsfOptions, ReferencePsf, Scene,
    ScoreOptions, decorrelate, detect, forced, reference_psf, score,
};
use serde::Serialize;

use crate::fits::{FitsFile, FitsSpec};
use crate::input::{Input, Real};
use crate::subtraction::Subtraction;

pub(crate) use args::PhotometryArgs;
pub(crate) use tables::{MOST_APERTURES, detections, fluxes};

/// What is measured; nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MeasureRequest {
    /// Least |S_corr| of detections, if any are to be found.
    pub(crate) threshold: Option<f64>,
    /// Where fluxes are to be measured, as (x, y) in pixels.
    pub(crate) positions: Option<Vec<(f64, f64)>>,
    /// Radii of apertures for them, in pixels.
    pub(crate) apertures: Vec<f64>,
    /// Planes beside those that every difference has.
    pub(crate) planes: Vec<Plane>,
    /// The PSF of the reference, if it is given.
    pub(crate) psf: Option<FitsSpec>,
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
}

/// A plane to write.
#[derive(Clone, Debug)]
pub(crate) struct ExtraPlane {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    /// The power of the target's unit that its pixels have.
    pub(crate) power: u32,
    pub(crate) image: Image<f32>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) detections: Option<Vec<Detection>>,
    pub(crate) fluxes: Option<Vec<ForcedFlux>>,
    pub(crate) planes: Vec<ExtraPlane>,
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
    pub(crate) sources_file: Option<PathBuf>,
    pub(crate) photometry_file: Option<PathBuf>,
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

impl MeasureRequest {
    /// Whether anything is to be measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.threshold.is_none() && self.positions.is_none() && self.planes.is_empty()
    }

    /// Measures on a subtraction whose parameters have a covariance.
    pub(crate) fn measure<T: Real>(&self, subtraction: &Subtraction<T>) -> Result<Measured> {
        let Subtraction { difference, report, reference, target } = subtraction;
        let name = &target.taken.image;
        ensure!(
            report.kernel.convolves == "reference",
            "{name}: sources are measured where the reference is convolved, and here the target was; add --convolve reference, or give as the reference the image \
             of the better seeing"
        );
        let psf = match &self.psf {
            Some(spec) => given_psf(spec)?,
            None => reference_psf(
                reference.image.view(),
                &reference.unusable(),
                &PsfOptions::default(),
            )
            .with_context(|| {
                format!(
                    "{}: the sources cannot be measured; give --reference-psf FILE, an image of odd sides with a star in its middle",
                    reference.taken.image
                )
            })?,
        };
        let narrow = |value: T| value.widen() as f32;
        let d = difference.difference.map(narrow);
        let scale = difference.noise_scale as f32;
        let target_variance = variance(target, &difference.model).map(|v| scale * v);
        let reference_variance = variance(reference, &reference.image);
        let light = light(reference, difference.reference_sky);
        let photon = match target.exposure().noise {
            NoiseModel::Ccd(ccd, _) => difference.noise_scale * ccd.photon(1.0),
            NoiseModel::Variance(_) => 0.0,
        };
        let covariance = difference.covariance.as_ref().map(|matrix| {
            move |a: &[f64], b: &[f64]| -> f64 {
                let column = |j: usize| -> f64 {
                    a.iter().enumerate().map(|(i, a)| a * matrix[(i, j)]).sum()
                };
                b.iter().enumerate().map(|(j, b)| b * column(j)).sum()
            }
        });
        let scene = Scene {
            difference: d.view(),
            target_variance: target_variance.view(),
            reference_variance: reference_variance.view(),
            reference: light.view(),
            mask: &difference.mask,
            design: &difference.design,
            parameters: &difference.parameters,
            reference_psf: &psf,
            photon,
            covariance: covariance.as_ref().map(|c| c as &dyn dia_photometry::FitCovariance),
        };
        let measuring = || format!("{name}: its sources cannot be measured");
        self.on(&scene, &psf).with_context(measuring)
    }

    fn on(&self, scene: &Scene<'_>, psf: &ReferencePsf) -> Result<Measured> {
        let of_score = |plane: &Plane| *plane != Plane::Decorrelated;
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
        let fluxes = match &self.positions {
            Some(positions) => Some(forced(scene, positions, &options)?),
            None => None,
        };
        let mut planes = Vec::new();
        let mut add = |name, meaning, power, image: &Image<f32>| {
            planes.push(ExtraPlane { name, meaning, power, image: image.clone() });
        };
        for plane in &self.planes {
            match (plane, &scored) {
                (Plane::Score, Some(s)) => {
                    add("SCORE", "significance of a point source, in sigma", 0, &s.significance);
                }
                (Plane::Flux, Some(s)) => {
                    add("FLUX", "flux of a point source at the pixel", 1, &s.flux);
                }
                (Plane::FluxError, Some(s)) => {
                    add("FLUXERR", "standard deviation of FLUX", 1, &s.flux_error);
                }
                (Plane::Decorrelated, _) => {
                    let white = decorrelate(scene)?;
                    add("DECORR", "difference with white noise", 1, &white.difference);
                    add("DECORRVAR", "variance of DECORR", 2, &white.variance);
                }
                (Plane::Score | Plane::Flux | Plane::FluxError, None) => {}
            }
        }
        let report = PhotometryReport {
            psf: PsfReport {
                stars: psf.stars,
                rejected: psf.rejected,
                fwhm: psf.fwhm,
                ellipticity: psf.ellipticity,
                residual: psf.residual,
                degree: psf.degree(),
                half_width: psf.half_width(),
            },
            threshold: self.threshold,
            detections: detections.as_ref().map(Vec::len),
            expected_false_alarms: expected,
            positions: fluxes.as_ref().map(Vec::len),
            sources_file: None,
            photometry_file: None,
        };
        Ok(Measured { detections, fluxes, planes, report })
    }
}

impl Measured {
    /// One line for the terminal.
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
        parts.join("; ")
    }
}

/// The PSF in an image.
fn given_psf(spec: &FitsSpec) -> Result<ReferencePsf> {
    let context = || format!("the PSF {spec} cannot be used");
    let (file, index): (FitsFile, usize) = spec.open_selected().with_context(context)?;
    let image = file.read_image::<f64>(index).with_context(context)?;
    let (height, width) = (image.height, image.width);
    ensure!(
        height % 2 == 1 && width % 2 == 1,
        "{}: it has {height} × {width} pixels; give an image of odd sides, with the star in its middle pixel",
        context()
    );
    let image = Image::from_vec(height, width, image.pixels).with_context(context)?;
    ReferencePsf::of_image(&image).with_context(context)
}

/// σ² of an image at the values `at`, in the square of its unit; 0 where they are not known.
fn variance<T: Real>(input: &Input<T>, at: &Image<T>) -> Image<f32> {
    let (height, width) = at.view().shape();
    match input.exposure().noise {
        NoiseModel::Variance(variance) => {
            let known = |v: f32| if v.is_finite() { v } else { 0.0 };
            Image::from_fn(height, width, |y, x| known(variance.at(y, x).widen() as f32))
        }
        // One electron is the least, as it is in the fit.
        NoiseModel::Ccd(ccd, _) => at.map(|value| {
            let least = ccd.photon(1.0).powi(2);
            let variance = ccd.variance(value.widen(), 1.0).max(least);
            if variance.is_finite() { variance as f32 } else { 0.0 }
        }),
    }
}

/// The reference without its sky; NaN where it is masked.
fn light<T: Real>(reference: &Input<T>, sky: f64) -> Image<f32> {
    let mask = reference.unusable();
    let (height, width) = reference.image.view().shape();
    Image::from_fn(height, width, |y, x| {
        let good = mask.at(y, x).is_empty();
        if good { (reference.image.view().at(y, x).widen() - sky) as f32 } else { f32::NAN }
    })
}
