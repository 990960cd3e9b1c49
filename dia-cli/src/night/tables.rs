//! The tables of a night: frames, sources and light curves.

use dia_photometry::Flags;

use super::curves::{Curve, Epoch, ZeroPoint};
use super::sources::Source;
use crate::sky::Sky;
use crate::table::{About, Column, Table, Values};

/// Columns one after the other.
#[derive(Default)]
struct Columns(Vec<Column>);

impl Columns {
    fn add(&mut self, name: &'static str, unit: &str, description: &'static str, values: Values) {
        self.0.push(Column { name, unit: unit.to_owned(), description, values });
    }

    fn numbers(
        &mut self,
        name: &'static str,
        unit: &str,
        description: &'static str,
        values: impl Iterator<Item = f64>,
    ) {
        self.add(name, unit, description, Values::Numbers(values.collect()));
    }

    fn integers(
        &mut self,
        name: &'static str,
        description: &'static str,
        values: impl Iterator<Item = i64>,
    ) {
        self.add(name, "", description, Values::Integers(values.collect()));
    }

    fn texts(
        &mut self,
        name: &'static str,
        description: &'static str,
        values: impl Iterator<Item = String>,
    ) {
        self.add(name, "", description, Values::Texts(values.collect()));
    }
}

/// What is said of every table of a night.
pub(super) struct Origin<'a> {
    pub(super) reference: &'a str,
    /// Unit of the reference's pixels.
    pub(super) unit: &'a str,
    /// World coordinates of the reference.
    pub(super) sky: Option<&'a Sky>,
    /// Whether fluxes are over the zero points, and by what errors were multiplied.
    pub(super) zero_points_applied: bool,
    pub(super) error_factor: Option<f64>,
}

impl Origin<'_> {
    fn about(&self) -> Vec<(&'static str, About, &'static str)> {
        let applied = if self.zero_points_applied { "yes" } else { "no" };
        let factor = self.error_factor.unwrap_or(1.0).max(1.0);
        vec![
            ("DIAVERS", About::Text(env!("CARGO_PKG_VERSION").into()), "version of dia"),
            ("DIAREF", About::Text(self.reference.into()), "reference image"),
            ("ZPAPPL", About::Text(applied.into()), "whether fluxes are over zeroPoint"),
            ("ERRFACT", About::Number(factor), "factor of the errors"),
        ]
    }
}

fn name_of(flags: Flags) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    names.join("|")
}

/// One row for each frame that has a difference.
pub(super) fn frames(
    epochs: &[Epoch<'_>],
    zero_points: &[Option<ZeroPoint>],
    origin: &Origin<'_>,
) -> Table {
    let mut columns = Columns::default();
    let results = || epochs.iter().map(|epoch| epoch.result);
    let or_nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
    columns.texts(
        "frame",
        "name of the frame's folder",
        epochs.iter().map(|e| e.record.id.clone()),
    );
    columns.texts("image", "the image", epochs.iter().map(|e| e.record.image.clone()));
    let mjd = "modified Julian date of the middle of the exposure, in the scale timeScale";
    columns.numbers("midpointMjd", "d", mjd, results().map(|r| or_nan(r.time.mjd)));
    columns.texts("timeScale", "TIMESYS of the header", results().map(|r| r.time.scale.clone()));
    columns.texts(
        "timeSource",
        "what the time is made of",
        results().map(|r| r.time.source.clone()),
    );
    let exposure = results().map(|r| or_nan(r.time.exposure));
    columns.numbers("exposureTime", "s", "exposure time", exposure);
    columns.texts("verdict", "PASS, WARN or FAIL", results().map(|r| r.verdict.clone()));
    let reasons = |r: &super::record::FrameResult| -> String {
        let codes: Vec<&str> = r.reasons.iter().map(|(code, _)| code.as_str()).collect();
        codes.join("|")
    };
    columns.texts("reasons", "what speaks against the difference", results().map(reasons));
    let seeing = results().map(|r| or_nan(r.target_fwhm));
    columns.numbers("seeing", "pix", "FWHM of the stars", seeing);
    let scale = "photometric scale, units of the target per unit of the reference";
    columns.numbers("scale", "", scale, results().map(|r| r.scale));
    columns.numbers("scaleErr", "", "its standard deviation", results().map(|r| r.scale_sigma));
    columns.numbers("sky", "", "level of the sky", results().map(|r| or_nan(r.sky)));
    columns.numbers("chi2", "", "chi squared per degree of freedom", results().map(|r| r.chi2_dof));
    let scatter = "robust standard deviation of the normalised residuals";
    columns.numbers("robustStd", "", scatter, results().map(|r| r.robust_std));
    let offset = "offset that was taken out, target minus reference";
    columns.integers("dx", offset, results().map(|r| r.offset.0 as i64));
    columns.integers("dy", offset, results().map(|r| r.offset.1 as i64));
    let count = results().map(|r| r.detections.len() as i64);
    columns.integers("nDetections", "detections above the threshold", count);
    let alarms = results().map(|r| or_nan(r.expected_false_alarms));
    columns.numbers("falseAlarms", "", "detections that noise alone makes", alarms);
    let zero = "median of the constant stars' flux over that in the reference";
    let zero_points = || zero_points.iter().copied();
    columns.numbers("zeroPoint", "", zero, zero_points().map(|z| or_nan(z.map(|z| z.value))));
    let sigma = zero_points().map(|z| or_nan(z.map(|z| z.sigma)));
    columns.numbers("zeroPointErr", "", "its standard deviation", sigma);
    let stars = zero_points().map(|z| z.map_or(0, |z| z.stars as i64));
    columns.integers("zeroPointStars", "stars that tell it", stars);
    Table { columns: columns.0, about: origin.about() }
}

/// One row for each source.
pub(super) fn sources(sources: &[Source], curves: &[Curve], origin: &Origin<'_>) -> Table {
    let mut columns = Columns::default();
    let statistics: Vec<_> = curves.iter().map(Curve::statistics).collect();
    let of = |value: fn(&super::curves::Statistics) -> f64| {
        statistics.iter().map(move |s| s.as_ref().map_or(f64::NAN, value))
    };
    columns.integers("sourceId", "number of the source", 1..=sources.len() as i64);
    let kind = sources.iter().map(|s| s.kind.name().to_owned());
    columns.texts("kind", "given, found in a frame, or a star of the reference", kind);
    let x = "column in the reference, 0 in the middle of the first";
    columns.numbers("x", "pix", x, sources.iter().map(|s| s.x));
    columns.numbers("y", "pix", "row in the reference", sources.iter().map(|s| s.y));
    let sigma = sources.iter().map(|s| s.sigma.unwrap_or(f64::NAN));
    columns.numbers("xyErr", "pix", "standard deviation of x and of y", sigma);
    if let Some(sky) = origin.sky {
        let place = |s: &Source| sky.of_pixel(s.x, s.y);
        let ra = "right ascension by the reference's world coordinates";
        columns.numbers("ra", "deg", ra, sources.iter().map(|s| place(s).0));
        columns.numbers("dec", "deg", "declination", sources.iter().map(|s| place(s).1));
    }
    let found = sources.iter().map(|s| s.detections as i64);
    columns.integers("nDetections", "frames in which it was detected", found);
    let clean = sources.iter().map(|s| s.clean as i64);
    columns.integers("nClean", "those in which no flag speaks against it", clean);
    columns.numbers("snr", "", "largest significance", sources.iter().map(|s| s.strongest));
    let template = "PSF flux in the reference; its error is common to all epochs";
    columns.numbers("templateFlux", origin.unit, template, curves.iter().map(|c| c.reference.0));
    let sigma = curves.iter().map(|c| c.reference.1);
    columns.numbers("templateFluxErr", origin.unit, "its standard deviation", sigma);
    let points = statistics.iter().map(|s| s.as_ref().map_or(0, |s| s.points as i64));
    columns.integers("nEpochs", "usable points", points);
    columns.numbers("meanFlux", origin.unit, "weighted mean", of(|s| s.mean));
    columns.numbers("rms", origin.unit, "standard deviation of the fluxes", of(|s| s.rms));
    let expected = "that which their errors let expect";
    columns.numbers("expectedRms", origin.unit, expected, of(|s| s.expected));
    columns.numbers("chi2", "", "chi squared about the mean", of(|s| s.chi2));
    columns.numbers("minFlux", origin.unit, "least flux", of(|s| s.least));
    columns.numbers("maxFlux", origin.unit, "largest flux", of(|s| s.most));
    let constant = Values::Truths(curves.iter().map(|c| c.constant).collect());
    columns.add("isConstant", "", "whether the zero points rest on it", constant);
    let names = sources.iter().map(|s| name_of(s.flags));
    columns.texts("flagNames", "flags of all its detections", names);
    Table { columns: columns.0, about: origin.about() }
}

/// One row for each source and frame: all frames of the first source, then those of the next.
pub(super) fn light_curves(
    epochs: &[Epoch<'_>],
    curves: &[Curve],
    zero_points: &[Option<ZeroPoint>],
    origin: &Origin<'_>,
) -> Table {
    let mut columns = Columns::default();
    let all = || {
        curves.iter().enumerate().flat_map(|(s, curve)| {
            curve.points.iter().enumerate().map(move |(e, point)| (s, e, point))
        })
    };
    let unit = origin.unit;
    columns.integers("sourceId", "number of the source", all().map(|(s, ..)| s as i64 + 1));
    columns.texts("frame", "the frame", all().map(|(_, e, _)| epochs[e].record.id.clone()));
    let mjd = "modified Julian date of the middle of the exposure";
    let time = |e: usize| &epochs[e].result.time;
    let or_nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
    columns.numbers("midpointMjd", "d", mjd, all().map(|(_, e, _)| or_nan(time(e).mjd)));
    let flux = "flux: that in the reference plus the change, in the reference's unit";
    columns.numbers("flux", unit, flux, all().map(|(.., p)| p.flux));
    let sigma = "its standard deviation, with what reference flux and change share";
    columns.numbers("fluxErr", unit, sigma, all().map(|(.., p)| p.sigma));
    let change = "the change: flux in the difference over the photometric scale";
    columns.numbers(
        "diffFlux",
        unit,
        change,
        all().map(|(.., p)| p.forced.flux_in_reference.value),
    );
    let sigma = all().map(|(.., p)| p.forced.flux_in_reference.sigma);
    columns.numbers("diffFluxErr", unit, "its standard deviation", sigma);
    let psf = "PSF flux of the difference, in the target's unit";
    columns.numbers("psfFlux", "", psf, all().map(|(.., p)| p.forced.flux.value));
    let sigma = all().map(|(.., p)| p.forced.flux.sigma);
    columns.numbers("psfFluxErr", "", "its standard deviation", sigma);
    let limit = all().map(|(.., p)| p.forced.upper_limit);
    columns.numbers("upperLimit", "", "upper limit of psfFlux at 3 sigma", limit);
    columns.numbers("scale", "", "photometric scale", all().map(|(.., p)| p.forced.scale.value));
    let sigma = all().map(|(.., p)| p.forced.scale.sigma);
    columns.numbers("scaleErr", "", "its standard deviation", sigma);
    let zero = all().map(|(_, e, _)| or_nan(zero_points[e].map(|z| z.value)));
    columns.numbers("zeroPoint", "", "zero point of the frame", zero);
    let seeing = all().map(|(_, e, _)| or_nan(epochs[e].result.target_fwhm));
    columns.numbers("seeing", "pix", "FWHM of the frame's stars", seeing);
    let verdict = all().map(|(_, e, _)| epochs[e].result.verdict.clone());
    columns.texts("verdict", "of the frame", verdict);
    columns.numbers("x", "pix", "column in the frame", all().map(|(.., p)| p.forced.x));
    columns.numbers("y", "pix", "row in the frame", all().map(|(.., p)| p.forced.y));
    let usable = Values::Truths(all().map(|(.., p)| p.usable).collect());
    columns.add("isUsable", "", "whether flags and verdict allow its use", usable);
    let bits = all().map(|(.., p)| i64::from(p.forced.flags.bits()));
    columns.integers("flags", "bits of what is to be known of the measurement", bits);
    columns.texts("flagNames", "their names", all().map(|(.., p)| name_of(p.forced.flags)));
    Table { columns: columns.0, about: origin.about() }
}
