//! World coordinates from the keywords of a header.

use std::collections::HashMap;

use super::distortion::{Sip, Tpv};
use super::projection::Projection;
use super::sphere::Rotation;
use super::{System, Wcs};

/// The value of a keyword.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer or a real number.
    Number(f64),
    /// Text, without its quotation marks.
    Text(String),
}

/// Why a header's world coordinates cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WcsError {
    /// A keyword that is needed.
    #[error("the header has no {keyword}, which {needed_by} needs")]
    Missing {
        /// The keyword.
        keyword: String,
        /// What does.
        needed_by: String,
    },
    /// A keyword with a value that it cannot have.
    #[error("{keyword} = {value} is {fault}")]
    Invalid {
        /// The keyword.
        keyword: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// What is not known here.
    #[error(
        "{keyword} = {value} is not known here: projections are TAN, SIN, NCP, STG, ARC, ZEA and CAR, distortions SIP and TPV"
    )]
    Unknown {
        /// The keyword.
        keyword: String,
        /// Its value.
        value: String,
    },
    /// A matrix that shows no plane.
    #[error("the matrix of CD, or of PC and CDELT, has no inverse")]
    Singular,
    /// Angles that contradict each other.
    #[error("CRVAL, LONPOLE and LATPOLE contradict each other")]
    Poles,
}

/// Pixels to the plane of projection, less the distortions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    /// Of the reference point, from 0.
    crpix: [f64; 2],
    /// Degrees per pixel: of an axis, by pixel.
    matrix: [[f64; 2]; 2],
    inverse: [[f64; 2]; 2],
}

impl Linear {
    pub(super) fn offset(&self, x: f64, y: f64) -> [f64; 2] {
        [x - self.crpix[0], y - self.crpix[1]]
    }

    pub(super) fn pixel(&self, [u, v]: [f64; 2]) -> (f64, f64) {
        (u + self.crpix[0], v + self.crpix[1])
    }

    pub(super) fn intermediate(&self, focal: [f64; 2]) -> [f64; 2] {
        product(&self.matrix, focal)
    }

    pub(super) fn focal(&self, world: [f64; 2]) -> [f64; 2] {
        product(&self.inverse, world)
    }
}

fn product(m: &[[f64; 2]; 2], [x, y]: [f64; 2]) -> [f64; 2] {
    m.map(|[a, b]| a * x + b * y)
}

/// The values of cards, which are lines or have 80 characters each.
pub(super) fn parse(cards: &str) -> HashMap<String, Value> {
    let lines: Vec<String> = if cards.contains('\n') {
        cards.lines().map(str::to_owned).collect()
    } else {
        let characters: Vec<char> = cards.chars().collect();
        characters.chunks(80).map(|card| card.iter().collect()).collect()
    };
    let value = |line: &String| {
        let (keyword, rest) = line.split_once('=')?;
        let rest = rest.trim_start();
        let value = if let Some(text) = rest.strip_prefix('\'') {
            Value::Text(text.split('\'').next()?.trim_end().to_owned())
        } else {
            let number = rest.split('/').next()?.trim().replace(['D', 'd'], "E");
            Value::Number(number.parse().ok()?)
        };
        Some((keyword.trim().to_owned(), value))
    };
    lines.iter().filter_map(value).collect()
}

/// A header that knows how to complain.
struct Keywords<'a> {
    lookup: &'a dyn Fn(&str) -> Option<Value>,
}

impl Keywords<'_> {
    fn has(&self, keyword: &str) -> bool {
        (self.lookup)(keyword).is_some()
    }

    /// A number, if it is there.
    fn number(&self, keyword: &str) -> Result<Option<f64>, WcsError> {
        let invalid =
            |value: String, fault| WcsError::Invalid { keyword: keyword.to_owned(), value, fault };
        match (self.lookup)(keyword) {
            None => Ok(None),
            Some(Value::Number(value)) if value.is_finite() => Ok(Some(value)),
            Some(Value::Number(value)) => Err(invalid(value.to_string(), "not finite")),
            // Some write their numbers as text.
            Some(Value::Text(text)) => match text.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(invalid(format!("'{text}'"), "not a number")),
            },
        }
    }

    fn needed(&self, keyword: &str, needed_by: &str) -> Result<f64, WcsError> {
        self.number(keyword)?.ok_or_else(|| WcsError::Missing {
            keyword: keyword.to_owned(),
            needed_by: needed_by.to_owned(),
        })
    }

    fn text(&self, keyword: &str) -> Option<String> {
        match (self.lookup)(keyword)? {
            Value::Text(text) => Some(text.trim().to_ascii_uppercase()),
            Value::Number(_) => None,
        }
    }
}

pub(super) fn read(lookup: &dyn Fn(&str) -> Option<Value>) -> Result<Wcs, WcsError> {
    let keys = Keywords { lookup };
    let types = [ctype(&keys, 1)?, ctype(&keys, 2)?];
    let (swapped, system, code) = axes(&types)?;
    for keyword in ["CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2"] {
        if let Some(value) = keys.text(keyword) {
            return Err(WcsError::Unknown { keyword: keyword.into(), value });
        }
    }
    let [longitude, latitude] = if swapped { [2, 1] } else { [1, 2] };
    let mut linear_pixels = [0.0; 2];
    for (k, pixel) in linear_pixels.iter_mut().enumerate() {
        // FITS counts from 1, and CRPIX is 0 where it is not given.
        *pixel = keys.number(&format!("CRPIX{}", k + 1))?.unwrap_or(0.0) - 1.0;
    }
    let matrix = matrix(&keys, latitude)?;
    let determinant = matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0];
    if determinant == 0.0 || !determinant.is_finite() {
        return Err(WcsError::Singular);
    }
    let [[a, b], [c, d]] = matrix;
    let inverse = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
    let linear = Linear { crpix: linear_pixels, matrix, inverse };

    let unit = |axis: usize| unit(&keys, axis);
    let alpha =
        keys.needed(&format!("CRVAL{longitude}"), &types[longitude - 1])? * unit(longitude)?;
    let delta = keys.needed(&format!("CRVAL{latitude}"), &types[latitude - 1])? * unit(latitude)?;
    if delta.abs() > 90.0 {
        let (keyword, value) = (format!("CRVAL{latitude}"), delta.to_string());
        return Err(WcsError::Invalid { keyword, value, fault: "no latitude" });
    }
    let pv = |axis: usize, m: usize| keys.number(&format!("PV{axis}_{m}"));
    let high = |axis: usize| (5..40).any(|m| keys.has(&format!("PV{axis}_{m}")));
    let sip = sip(&keys, &types)?;
    // SCAMP once wrote TPV under the name of TAN; beside SIP, its coefficients are left over.
    let is_tpv = code == "TPV" || code == "TAN" && sip.is_none() && (high(1) || high(2));
    let projection = match code.as_str() {
        "TAN" | "TPV" => Projection::Tan,
        "SIN" => {
            let slant = [pv(latitude, 1)?, pv(latitude, 2)?].map(|value| value.unwrap_or(0.0));
            Projection::Sin(slant)
        }
        "NCP" => Projection::Sin([0.0, delta.to_radians().tan().recip()]),
        "STG" => Projection::Stg,
        "ARC" => Projection::Arc,
        "ZEA" => Projection::Zea,
        "CAR" => Projection::Car,
        _ => {
            let (keyword, value) = ("CTYPE1".to_owned(), types[0].clone());
            return Err(WcsError::Unknown { keyword, value });
        }
    };
    let tpv = if is_tpv {
        let mut all = [[0.0; 40]; 2];
        for (row, axis) in all.iter_mut().zip([longitude, latitude]) {
            row[1] = 1.0;
            for (m, value) in row.iter_mut().enumerate() {
                *value = pv(axis, m)?.unwrap_or(*value);
            }
        }
        Some(Tpv { pv: all })
    } else {
        None
    };
    let native = if projection.is_zenithal() { (0.0, 90.0) } else { (0.0, 0.0) };
    let default_pole = if delta >= native.1 { 0.0 } else { 180.0 };
    let distorted = is_tpv || sip.is_some();
    let of_pv = |m| if distorted { Ok(None) } else { pv(longitude, m) };
    let lonpole = keys.number("LONPOLE")?.or(of_pv(3)?).unwrap_or(default_pole);
    let latpole = keys.number("LATPOLE")?.or(of_pv(4)?).unwrap_or(90.0);
    let rotation =
        Rotation::new(native, (alpha, delta), lonpole, latpole).ok_or(WcsError::Poles)?;
    Ok(Wcs { linear, sip, tpv, projection, rotation, system, swapped })
}

fn ctype(keys: &Keywords<'_>, axis: usize) -> Result<String, WcsError> {
    let keyword = format!("CTYPE{axis}");
    keys.text(&keyword)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| WcsError::Missing { keyword, needed_by: "a place on the sky".into() })
}

/// Whether latitude comes first, the system, and the projection's code.
fn axes(types: &[String; 2]) -> Result<(bool, System, String), WcsError> {
    let split = |text: &str| {
        let (name, rest) = text.split_once('-').unwrap_or((text, ""));
        let rest = rest.trim_start_matches('-');
        let code: String = rest.chars().take_while(|c| *c != '-').collect();
        (name.to_owned(), code)
    };
    let [(first, code), (second, other)] = [split(&types[0]), split(&types[1])];
    let pair = |a: &str, b: &str| first == a && second == b;
    let known = [
        ("RA", "DEC", System::Equatorial),
        ("GLON", "GLAT", System::Galactic),
        ("ELON", "ELAT", System::Ecliptic),
    ];
    for (lon, lat, system) in known {
        if (pair(lon, lat) || pair(lat, lon)) && code == other {
            return Ok((pair(lat, lon), system, code));
        }
    }
    let is_known = known.iter().any(|(lon, lat, _)| first == *lon || first == *lat);
    let wrong = usize::from(is_known);
    let (keyword, value) = (format!("CTYPE{}", wrong + 1), types[wrong].clone());
    Err(WcsError::Unknown { keyword, value })
}

/// Degrees in the unit of an axis.
fn unit(keys: &Keywords<'_>, axis: usize) -> Result<f64, WcsError> {
    let keyword = format!("CUNIT{axis}");
    match keys.text(&keyword).as_deref() {
        None | Some("" | "DEG" | "DEGREE" | "DEGREES") => Ok(1.0),
        Some("ARCMIN") => Ok(1.0 / 60.0),
        Some("ARCSEC") => Ok(1.0 / 3600.0),
        Some("MAS") => Ok(1.0 / 3.6e6),
        Some("RAD") => Ok(1.0_f64.to_degrees()),
        Some(value) => Err(WcsError::Invalid {
            keyword,
            value: value.to_owned(),
            fault: "no unit of an angle",
        }),
    }
}

/// Degrees per pixel, by CD, by PC and CDELT, or by CDELT and CROTA.
fn matrix(keys: &Keywords<'_>, latitude: usize) -> Result<[[f64; 2]; 2], WcsError> {
    let mut matrix = [[0.0; 2]; 2];
    let entries = [(0, 0), (0, 1), (1, 0), (1, 1)];
    let name = |what: &str, i: usize, j: usize| format!("{what}{}_{}", i + 1, j + 1);
    // As PC was written before the standard.
    let old = |i: usize, j: usize| format!("PC{:03}{:03}", i + 1, j + 1);
    let any = |what: &str| entries.iter().any(|(i, j)| keys.has(&name(what, *i, *j)));
    let any_old = entries.iter().any(|(i, j)| keys.has(&old(*i, *j)));
    let cdelt = |i: usize| keys.number(&format!("CDELT{}", i + 1));
    if any("CD") {
        for (i, j) in entries {
            matrix[i][j] = keys.number(&name("CD", i, j))?.unwrap_or(0.0);
        }
    } else if any("PC") || any_old || cdelt(0)?.is_none() && cdelt(1)?.is_none() {
        for (i, j) in entries {
            let unity = f64::from(u8::from(i == j));
            let pc = keys.number(&name("PC", i, j))?.or(keys.number(&old(i, j))?).unwrap_or(unity);
            matrix[i][j] = pc * cdelt(i)?.unwrap_or(1.0);
        }
    } else {
        let rotation = keys.number(&format!("CROTA{latitude}"))?.unwrap_or(0.0);
        let (sin, cos) = rotation.to_radians().sin_cos();
        let steps = [cdelt(0)?.unwrap_or(1.0), cdelt(1)?.unwrap_or(1.0)];
        // A rotation in the plane of the sky; with the axes exchanged, the other way round.
        let sin = if latitude == 2 { sin } else { -sin };
        matrix = [[steps[0] * cos, -steps[1] * sin], [steps[0] * sin, steps[1] * cos]];
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        let unit = unit(keys, i + 1)?;
        for value in row {
            *value *= unit;
        }
    }
    Ok(matrix)
}

/// Orders above this are no SIP.
const LARGEST_ORDER: usize = 9;

fn sip(keys: &Keywords<'_>, types: &[String; 2]) -> Result<Option<Sip>, WcsError> {
    let orders = [keys.number("A_ORDER")?, keys.number("B_ORDER")?];
    let name = |letter: &str, p: usize, q: usize| format!("{letter}_{p}_{q}");
    let powers = |order: usize| (0..=order).flat_map(move |p| (0..=order - p).map(move |q| (p, q)));
    if orders == [None, None] {
        let told = types.iter().any(|text| text.ends_with("-SIP"));
        let any = powers(LARGEST_ORDER).any(|(p, q)| keys.has(&name("A", p, q)));
        if told && any {
            return Err(WcsError::Missing { keyword: "A_ORDER".into(), needed_by: "SIP".into() });
        }
        return Ok(None);
    }
    let terms = |letter: &str, order: Option<f64>| {
        let keyword = format!("{letter}_ORDER");
        let order = order.ok_or_else(|| WcsError::Missing {
            keyword: keyword.clone(),
            needed_by: "SIP".into(),
        })?;
        if !(0.0..=LARGEST_ORDER as f64).contains(&order) {
            let value = order.to_string();
            return Err(WcsError::Invalid { keyword, value, fault: "not from 0 to 9" });
        }
        let mut terms = Vec::new();
        for (p, q) in powers(order as usize) {
            if let Some(value) = keys.number(&name(letter, p, q))? {
                terms.push((p as i32, q as i32, value));
            }
        }
        Ok(terms)
    };
    Ok(Some(Sip { a: terms("A", orders[0])?, b: terms("B", orders[1])? }))
}
