//! Places on the sky of an image's pixels, and back, by the world coordinates in its header.
//!
//! Pixels are counted from 0 here, their centres at whole numbers; the header counts from 1, so that CRPIX is the pixel CRPIX − 1 here. Places are right ascension and
//! declination in degrees, in the frame and of the equinox that the header names (RADESYS, EQUINOX).

use dia_align::wcs::{System, Value as Plain, Wcs, WcsError};

use crate::fits::{Header, Value};

/// The world coordinates of an image, in right ascension and declination.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sky(Wcs);

/// What a header says of the sky; `None` where it says nothing.
///
/// # Errors
/// [`WcsError`] names the keyword that cannot be used.
pub(crate) fn wcs(header: &Header) -> Result<Option<Wcs>, WcsError> {
    if !header.contains("CTYPE1") {
        return Ok(None);
    }
    let lookup = |keyword: &str| match header.get(keyword)?.0 {
        Value::Integer(value) => Some(Plain::Number(value as f64)),
        Value::Float(value) => Some(Plain::Number(value)),
        // What a number should be and is not, is told as it stands.
        Value::Text(text) | Value::Other(text) => Some(Plain::Text(text)),
        Value::Bool(_) | Value::Undefined => None,
    };
    Wcs::new(lookup).map(Some)
}

impl Sky {
    /// The world coordinates in a header; `None` where there are none of the sky.
    ///
    /// # Errors
    /// What kind they are of, where that is not known here.
    pub(crate) fn of(header: &Header) -> Result<Option<Self>, String> {
        // Of a spectrum, or in pixels.
        let kinds = ["CTYPE1", "CTYPE2"].map(|keyword| header.get_str(keyword).unwrap_or_default());
        let celestial = |kind: &String| {
            ["RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT"]
                .iter()
                .any(|name| kind.trim().to_ascii_uppercase().starts_with(name))
        };
        if !kinds.iter().all(celestial) {
            return Ok(None);
        }
        let Some(wcs) = wcs(header).map_err(|error| error.to_string())? else { return Ok(None) };
        if wcs.system() != System::Equatorial {
            return Err(format!("CTYPE1 is {}, and not right ascension or declination", kinds[0]));
        }
        Ok(Some(Self(wcs)))
    }

    /// Right ascension, from 0 to 360, and declination in degrees of (x, y) in pixels from 0; NaN off the sphere.
    pub(crate) fn of_pixel(&self, x: f64, y: f64) -> (f64, f64) {
        self.0.pixel_to_sky(x, y).unwrap_or((f64::NAN, f64::NAN))
    }

    /// (x, y) in pixels from 0 of a place in degrees; `None` where the projection does not show it, or the distortion cannot be undone.
    pub(crate) fn pixel_of(&self, ra: f64, dec: f64) -> Option<(f64, f64)> {
        self.0.sky_to_pixel(ra, dec)
    }
}

#[cfg(test)]
mod tests;
