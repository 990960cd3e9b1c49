//! Detections and forced fluxes as tables, their columns named as in LSST's DiaSource where it has them.

use dia_photometry::{Detection, Flags, ForcedFlux, Measured as Value};

use super::{Measured, Origin};
use crate::table::{About, Column, Table, Values};

/// Makes columns one after the other, each from all rows.
struct Columns<'a, R> {
    rows: &'a [R],
    columns: Vec<Column>,
}

impl<R> Columns<'_, R> {
    fn add(&mut self, name: &'static str, unit: &str, description: &'static str, values: Values) {
        self.columns.push(Column { name, unit: unit.to_owned(), description, values });
    }

    fn number(
        &mut self,
        name: &'static str,
        unit: &str,
        description: &'static str,
        value: impl Fn(&R) -> f64,
    ) {
        let values = Values::Numbers(self.rows.iter().map(value).collect());
        self.add(name, unit, description, values);
    }

    fn integer(
        &mut self,
        name: &'static str,
        description: &'static str,
        value: impl Fn(&R) -> i64,
    ) {
        let values = Values::Integers(self.rows.iter().map(value).collect());
        self.add(name, "", description, values);
    }

    fn truth(&mut self, name: &'static str, description: &'static str, value: impl Fn(&R) -> bool) {
        let values = Values::Truths(self.rows.iter().map(value).collect());
        self.add(name, "", description, values);
    }

    /// A value and its standard deviation.
    fn measured(
        &mut self,
        names: [&'static str; 2],
        unit: &str,
        description: &'static str,
        value: impl Fn(&R) -> Value,
    ) {
        self.number(names[0], unit, description, |row| value(row).value);
        self.number(names[1], unit, "its standard deviation", |row| value(row).sigma);
    }
}

/// What was found, the strongest first.
pub(crate) fn detections(found: &[Detection], measured: &Measured) -> Table {
    let mut columns = Columns { rows: found, columns: Vec::new() };
    columns.add(
        "diaSourceId",
        "",
        "number of the detection, the strongest first",
        Values::Integers((1..=found.len() as i64).collect()),
    );
    measurements(&mut columns, &measured.origin, |detection| &detection.source);
    let strength = "significance of the peak in the score, of the sign of the change";
    columns.number("snr", "", strength, |d| d.significance);
    columns.integer("peakX", "column of the peak, from 0", |d| d.peak.0 as i64);
    columns.integer("peakY", "row of the peak, from 0", |d| d.peak.1 as i64);
    columns.integer("nPixels", "significant pixels that hang together", |d| d.pixels as i64);
    columns.number("elongation", "", "length over width of those pixels", |d| d.elongation);
    let sharpness = "twice the log-likelihood ratio of one bright pixel to a point source";
    columns.number("sharpness", "", sharpness, |d| d.sharpness);
    let dipole = "twice the log-likelihood ratio of a star that moved to a point source";
    columns.number("dipoleRatio", "", dipole, |d| d.dipole);
    columns.truth("isNegative", "whether the target is fainter", |d| d.significance < 0.0);
    columns.truth("isDipole", "whether a star that moved explains it better", |d| {
        d.source.flags.contains(Flags::DIPOLE)
    });
    columns.truth("bothSigns", "whether significant pixels of both signs hang together", |d| {
        d.both_signs
    });
    let mut table = table(columns.columns, measured);
    let report = &measured.report;
    if let (Some(threshold), Some(expected)) = (report.threshold, report.expected_false_alarms) {
        table.about.push(("DIATHR", About::Number(threshold), "[sigma] threshold of detections"));
        table.about.push((
            "DIAFALSE",
            About::Number(expected),
            "detections that noise alone makes",
        ));
    }
    table
}

/// Forced fluxes, one row for each position.
pub(crate) fn fluxes(rows: &[ForcedFlux], apertures: &[f64], measured: &Measured) -> Table {
    let mut columns = Columns { rows, columns: Vec::new() };
    columns.add(
        "row",
        "",
        "row of the table of positions, from 0",
        Values::Integers((0..rows.len() as i64).collect()),
    );
    measurements(&mut columns, &measured.origin, |row| row);
    let unit = measured.origin.unit.clone();
    for (k, _) in apertures.iter().enumerate().take(APERTURES.len()) {
        let what = "flux within an aperture over the PSF's part in it; its radius is in the header";
        columns.measured(APERTURES[k], &unit, what, |row| row.apertures[k]);
    }
    let mut table = table(columns.columns, measured);
    for (radius, keyword) in apertures.iter().zip(RADII) {
        table.about.push((keyword, About::Number(*radius), "[pix] radius of an aperture"));
    }
    table
}

/// Columns of apertures, and the keywords of their radii.
const APERTURES: [[&str; 2]; 5] = [
    ["apFlux", "apFluxErr"],
    ["apFlux2", "apFlux2Err"],
    ["apFlux3", "apFlux3Err"],
    ["apFlux4", "apFlux4Err"],
    ["apFlux5", "apFlux5Err"],
];
const RADII: [&str; 5] = ["APRAD", "APRAD2", "APRAD3", "APRAD4", "APRAD5"];

/// Most apertures.
pub(crate) const MOST_APERTURES: usize = APERTURES.len();

/// What every measured place has.
fn measurements<R>(
    columns: &mut Columns<'_, R>,
    origin: &Origin,
    of: impl Fn(&R) -> &ForcedFlux + Copy,
) {
    let (unit, reference_unit) = (origin.unit.as_str(), origin.reference_unit.as_str());
    let covariance = |row: &R, k: usize| of(row).position_covariance.map_or(f64::NAN, |c| c[k]);
    columns.number("x", "pix", "column in the target, 0 in the middle of the first", |r| of(r).x);
    columns.number("y", "pix", "row in the target, 0 in the middle of the first", |r| of(r).y);
    if let Ok(Some(sky)) = &origin.sky {
        let place = |row: &R| sky.of_pixel(of(row).x, of(row).y);
        let ra = "right ascension of x, y by the target's world coordinates, in their frame";
        columns.number("ra", "deg", ra, |row| place(row).0);
        columns.number("dec", "deg", "declination of x, y", |row| place(row).1);
    }
    columns.number("xErr", "pix", "standard deviation of x if it was fitted", |r| {
        covariance(r, 0).sqrt()
    });
    columns.number("yErr", "pix", "standard deviation of y if it was fitted", |r| {
        covariance(r, 1).sqrt()
    });
    columns.number("x_y_Cov", "pix**2", "covariance of x and y", |r| covariance(r, 2));
    let flux = "PSF flux of the difference, target minus reference, in the target's unit";
    columns.measured(["psfFlux", "psfFluxErr"], unit, flux, |r| of(r).flux);
    columns.number("upperLimit", unit, "upper limit of the flux at 3 sigma", |r| of(r).upper_limit);
    columns.number("psfChi2", "", "chi squared of the PSF within 1.5 FWHM", |r| of(r).chi2);
    columns.integer("psfDof", "its degrees of freedom", |r| of(r).degrees_of_freedom as i64);
    let template = "PSF flux of the reference at the same place of the sky, in its own unit";
    columns.measured(["templateFlux", "templateFluxErr"], reference_unit, template, |r| {
        of(r).reference_flux
    });
    let product = format!("{unit}.{reference_unit}");
    let shared = "covariance of psfFlux and templateFlux, which share the reference's noise";
    columns.number("psfFlux_templateFlux_Cov", &product, shared, |r| of(r).reference_covariance);
    let scale = "photometric scale at the place, target per reference unit";
    columns.measured(["scale", "scaleErr"], "", scale, |r| of(r).scale);
    let scaled = "psfFlux over scale: the change in the reference's unit";
    columns.measured(["scaledFlux", "scaledFluxErr"], reference_unit, scaled, |r| {
        of(r).flux_in_reference
    });
    let coverage = "part of the PSF's weight on pixels with a difference";
    columns.number("coverage", "", coverage, |r| of(r).coverage);
    columns.truth("pixelFlags_edge", "whether the PSF reaches over the edge", |r| {
        of(r).flags.contains(Flags::EDGE)
    });
    columns.truth("pixelFlags_saturated", "whether a saturated pixel is near", |r| {
        of(r).flags.contains(Flags::SATURATED_NEAR)
    });
    columns.truth("pixelFlags_bad", "whether the place itself has no difference", |r| {
        of(r).flags.intersects(Flags::MASKED | Flags::NO_COVERAGE | Flags::OUTSIDE)
    });
    columns.integer("flags", "bits of what is to be known of the measurement", |r| {
        i64::from(of(r).flags.bits())
    });
    let names = |row: &R| {
        let names: Vec<&str> = of(row).flags.iter_names().map(|(name, _)| name).collect();
        names.join("|")
    };
    let names = Values::Texts(columns.rows.iter().map(names).collect());
    columns.add("flagNames", "", "names of the flags", names);
}

fn table(columns: Vec<Column>, measured: &Measured) -> Table {
    let text = |text: &str| About::Text(text.to_owned());
    let Measured { origin, report, .. } = measured;
    let about = vec![
        ("DIAVERS", text(env!("CARGO_PKG_VERSION")), "version of dia"),
        ("DIAREF", text(&origin.reference), "reference image"),
        ("DIATGT", text(&origin.target), "target image"),
        ("DIAPHSC", About::Number(origin.scale), "photometric scale"),
        ("DIAVERD", text(&origin.verdict), "verdict: PASS, WARN or FAIL"),
        ("PSFFWHM", About::Number(report.psf.fwhm), "[pix] of the reference's PSF"),
    ];
    Table { columns, about }
}
