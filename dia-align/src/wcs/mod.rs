//! World coordinates: where a pixel lies on the sky by a FITS header, and back.
//!
//! Greisen & Calabretta 2002 (A&A 395, 1061, paper I) and Calabretta & Greisen 2002 (A&A 395, 1077, paper II), with the distortions of SIP (Shupe et al. 2005, ASPC 347, 491) and TPV (FITS
//! registry). Equal to astropy.wcs on its own test headers to 1e-6 pixels, both ways.

mod distortion;
mod header;
mod projection;
mod sphere;

use std::fmt;

use crate::fit::{FittedMap, Model};
use distortion::{Sip, Tpv};
use header::Linear;
use projection::Projection;
use sphere::Rotation;

pub use header::{Value, WcsError};

/// The celestial coordinates of a header's image.
///
/// ```
/// use dia_align::wcs::Wcs;
///
/// let header = "\
/// CTYPE1  = 'RA---TAN'
/// CTYPE2  = 'DEC--TAN'
/// CRPIX1  =                512.5
/// CRPIX2  =                512.5
/// CRVAL1  =               150.25 / degrees
/// CRVAL2  =                -30.0
/// CDELT1  =              -1.0E-4
/// CDELT2  =               1.0E-4
/// ";
/// let wcs = Wcs::from_cards(header)?;
/// let (ra, dec) = wcs.pixel_to_sky(511.5, 511.5).unwrap();
/// assert!((ra - 150.25).abs() < 1e-12 && (dec + 30.0).abs() < 1e-12);
/// let (x, y) = wcs.sky_to_pixel(150.25, -29.99).unwrap();
/// assert!((x - 511.5).abs() < 1e-6 && (y - 611.5).abs() < 1e-3);
/// # Ok::<(), dia_align::wcs::WcsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Wcs {
    linear: Linear,
    sip: Option<Sip>,
    tpv: Option<Tpv>,
    projection: Projection,
    rotation: Rotation,
    system: System,
    /// Whether the first axis is the latitude.
    swapped: bool,
}

/// Which sphere the coordinates are of. Frames of one kind (FK5, ICRS) are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Right ascension and declination.
    Equatorial,
    /// Galactic longitude and latitude.
    Galactic,
    /// Ecliptic longitude and latitude.
    Ecliptic,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equatorial => "equatorial",
            Self::Galactic => "galactic",
            Self::Ecliptic => "ecliptic",
        })
    }
}

/// Places along each side of an image at which two world coordinates are compared.
const PLACES: usize = 12;

impl Wcs {
    /// What a header says, of which `lookup` tells the value of a keyword.
    ///
    /// # Errors
    /// [`WcsError`] names the keyword that is missing or wrong, or what is not known here.
    pub fn new(lookup: impl Fn(&str) -> Option<Value>) -> Result<Self, WcsError> {
        header::read(&lookup)
    }

    /// What the cards of a header say: lines, or 80 characters each.
    ///
    /// # Errors
    /// As [`Wcs::new`].
    pub fn from_cards(cards: &str) -> Result<Self, WcsError> {
        let values = header::parse(cards);
        Self::new(|keyword| values.get(keyword).cloned())
    }

    /// Longitude and latitude in degrees of the pixel at column `x` and row `y`, 0 in the middle of the first; `None` off the sphere.
    pub fn pixel_to_sky(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let offset = self.linear.offset(x, y);
        let focal = self.sip.as_ref().map_or(offset, |sip| sip.apply(offset));
        let [first, second] = self.linear.intermediate(focal);
        let plane = if self.swapped { [second, first] } else { [first, second] };
        let plane = self.tpv.as_ref().map_or(plane, |tpv| tpv.apply(plane));
        self.projection.native(plane).map(|native| self.rotation.celestial(native))
    }

    /// Column and row of longitude and latitude in degrees; `None` where the projection does not show them, or the distortion cannot be undone there.
    pub fn sky_to_pixel(&self, longitude: f64, latitude: f64) -> Option<(f64, f64)> {
        let plane = self.projection.plane(self.rotation.native((longitude, latitude)))?;
        let plane = match &self.tpv {
            Some(tpv) => tpv.undo(plane)?,
            None => plane,
        };
        let [first, second] = plane;
        let world = if self.swapped { [second, first] } else { [first, second] };
        let focal = self.linear.focal(world);
        let offset = match &self.sip {
            Some(sip) => sip.undo(focal)?,
            None => focal,
        };
        let (x, y) = self.linear.pixel(offset);
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    /// Which sphere the coordinates are of.
    pub fn system(&self) -> System {
        self.system
    }

    /// The map from pixels of this image, of `shape` (rows, columns), to those of another, a polynomial of degree 3 with what it misses in its residual; `None` where they have no
    /// common sky, or are of different systems.
    pub fn map_to(&self, other: &Self, shape: (usize, usize)) -> Option<FittedMap> {
        if self.system != other.system {
            return None;
        }
        let place = |k: usize, size: usize| k as f64 * (size as f64 - 1.0) / (PLACES as f64 - 1.0);
        let places =
            (0..PLACES * PLACES).map(|k| (place(k % PLACES, shape.1), place(k / PLACES, shape.0)));
        let pairs: Vec<[(f64, f64); 2]> = places
            .filter_map(|(x, y)| {
                let (longitude, latitude) = self.pixel_to_sky(x, y)?;
                Some([(x, y), other.sky_to_pixel(longitude, latitude)?])
            })
            .collect();
        FittedMap::of(&pairs, Model::Cubic)
    }
}

#[cfg(test)]
mod tests;
