//! Pixels that are not linear in the light, or not of one colour.

use anyhow::{Result, ensure};
use dia_core::Image;

use crate::fits::Header;
use crate::input::Real;

/// Keywords of a mosaic of colour filters.
const COLOUR_FILTERS: &[&str] = &[
    "BAYERPAT",
    "BAYRPAT",
    "BAYERPATTERN",
    "COLORTYP",
    "CFAPAT",
    "CFA-PAT",
    "CFA_PAT",
    "CFAPATT",
    "CFATYPE",
    "CFA",
    "MOSAIC",
];

/// Refuses the raw image of a colour camera: neighbouring pixels see different colours, which no convolution connects.
pub(crate) fn check_colour(header: &Header, image: &str) -> Result<()> {
    let pattern = COLOUR_FILTERS.iter().find_map(|keyword| {
        let pattern = header.get_str(keyword).filter(|pattern| !pattern.trim().is_empty())?;
        // Not MONO and the like.
        let colours = pattern.trim().to_uppercase();
        colours.chars().all(|c| "RGBCMYGW".contains(c)).then_some((keyword, colours))
    });
    ensure!(
        pattern.is_none(),
        "{image} is the raw image of a Bayer colour filter array ({}): its pixels see different colours; separate the colours first, and subtract each",
        pattern.map_or_else(String::new, |(keyword, pattern)| format!("{keyword} = {pattern}"))
    );
    Ok(())
}

/// Makes an image linear that was stored as asinh magnitudes, as those of Pan-STARRS are: v = BOFFSET + 2 BSOFTEN sinh(x ln 10/2.5) (Waters et al. 2020, ApJS
/// 251, 4). Returns whether it was.
pub(crate) fn from_asinh<T: Real>(image: &mut Image<T>, header: &Header) -> bool {
    let number = |keyword| header.get_number(keyword);
    let (Some(softening), Some(offset)) = (number("BSOFTEN"), number("BOFFSET")) else {
        return false;
    };
    let scale = std::f64::consts::LN_10 / 2.5;
    for value in image.pixels_mut() {
        *value = T::narrow(offset + 2.0 * softening * (value.widen() * scale).sinh());
    }
    true
}

/// Electrons in the brightest pixel below which there is none.
const LEAST_ELECTRONS: f64 = 10.0;

/// Refuses pixels that were normalised to 0 … 1 while the gain in the header is that of the camera's counts: no pixel would have held an electron.
pub(crate) fn check_range<T: Real>(
    image: &Image<T>,
    gain: f64,
    name: &str,
    role: &str,
) -> Result<()> {
    let finite = image.pixels().iter().map(|value| value.widen()).filter(|value| value.is_finite());
    let most = finite.fold(0.0, |most: f64, value| most.max(value.abs()));
    ensure!(
        most > 1.0 || most == 0.0 || most * gain > LEAST_ELECTRONS,
        "{name}: the pixels lie within the range of 0 to 1 (maximum {most}), as if normalised, and the gain in the header is that of whole counts; give --{role}-gain \
         in electrons per unit of these pixels, or --{role}-variance"
    );
    Ok(())
}
