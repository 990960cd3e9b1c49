//! Measurements for other programs: on a subtraction in memory, or on the file of one.

use std::path::Path;

use anyhow::Result;

use super::args::checked_apertures;
use super::{MeasureRequest, Measured, Scenery, detections, fluxes, read_scenery};
use crate::Error;
use crate::input::Real;
use crate::subtraction::Subtraction;
use crate::table::{Positions, Table};

impl Scenery {
    /// That of a subtraction whose request had [`FitOptions::covariance`](dia_solvers::FitOptions::covariance).
    ///
    /// # Errors
    /// If the target was convolved, the covariance is missing, or the reference has too few stars for a PSF.
    pub fn of_subtraction<T: Real>(subtraction: &Subtraction<T>) -> Result<Self, Error> {
        Ok(Self::of(subtraction, None)?)
    }

    /// That in a file which `dia subtract --planes scene` wrote.
    ///
    /// # Errors
    /// Names what is missing in the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Ok(read_scenery(path)?)
    }

    /// What changed, of both signs, by at least `threshold` σ of the matched filter: the table of `dia detect`.
    ///
    /// # Errors
    /// If nothing can be measured on the difference.
    pub fn detections(&self, threshold: f64) -> Result<Table, Error> {
        let request = MeasureRequest { threshold: Some(threshold), ..Default::default() };
        let measured = request.on(self)?;
        Ok(detections(measured.detections.as_deref().unwrap_or_default(), &measured))
    }

    /// Fluxes at given places, one row for each, with those in apertures of the given radii in pixels: the table of `dia photometry`.
    ///
    /// # Errors
    /// If there are more than five apertures, or the target has no world coordinates for places on the sky.
    pub fn fluxes(&self, positions: Positions, apertures: &[f64]) -> Result<Table, Error> {
        Ok(self.measured_fluxes(positions, apertures)?)
    }

    fn measured_fluxes(&self, positions: Positions, apertures: &[f64]) -> Result<Table> {
        let apertures = checked_apertures(apertures)?;
        let positions = Some(positions);
        let request = MeasureRequest { positions, apertures, ..Default::default() };
        let measured: Measured = request.on(self)?;
        let rows = measured.fluxes.as_deref().unwrap_or_default();
        Ok(fluxes(rows, &request.apertures, &measured))
    }
}
