//! `dia info`: what was understood of a FITS file.

use anyhow::Result;

use crate::args::InfoArgs;
use crate::detector::{GAIN_KEYWORDS, READ_NOISE_KEYWORDS, SATURATION_KEYWORDS};
use crate::fits::{FitsFile, Hdu};
use crate::quality_bits::{named, plane_of};
use crate::terminal::say;

/// Prints it for each file.
pub(crate) fn run(args: &InfoArgs) -> Result<()> {
    for path in &args.files {
        let file = FitsFile::open(path)?;
        say(path.display())?;
        for hdu in file.hdus() {
            describe(&file, hdu)?;
        }
    }
    Ok(())
}

fn describe(file: &FitsFile, hdu: &Hdu) -> Result<()> {
    let axes: Vec<String> = hdu.axes.iter().map(u64::to_string).collect();
    let size = if axes.is_empty() { "no data".to_string() } else { axes.join(" × ") };
    say(format!("  {}: {:?}, BITPIX {}, {size}", hdu.label(), hdu.kind, hdu.bitpix))?;
    for (what, keywords) in [
        ("gain", GAIN_KEYWORDS),
        ("read noise", READ_NOISE_KEYWORDS),
        ("saturation", SATURATION_KEYWORDS),
        ("exposure time", &["EXPTIME", "EXPOSURE"]),
        ("date", &["MJD-OBS", "DATE-OBS", "JD"]),
        ("filter", &["FILTER", "FILTERS", "FILTER1"]),
        ("object", &["OBJECT"]),
    ] {
        let found = keywords.iter().find_map(|k| hdu.header.get(k).map(|(value, _)| (k, value)));
        if let Some((keyword, value)) = found {
            say(format!("      {what}: {value} ({keyword})"))?;
        }
    }
    let bits = named(&hdu.header);
    for (bits, name) in &bits {
        let use_of = plane_of(name).map_or("ignored", |_| "masked");
        say(format!("      mask bit {}: {name}, {use_of}", bits.trailing_zeros()))?;
    }
    if hdu.shape().is_some() && bits.is_empty() {
        let image = file.read_image::<f64>(hdu.index)?;
        let finite: Vec<f64> = image.pixels.iter().copied().filter(|v| v.is_finite()).collect();
        let blank = image.pixels.len() - finite.len();
        let (low, high) = finite
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
        if let Some((median, scatter)) = dia_core::robust::median_and_scatter(finite.into_iter()) {
            say(format!(
                "      pixels: minimum {low}, median {median}, robust scatter {scatter:.4}, maximum {high}, {blank} without value"
            ))?;
        }
        let image = dia_core::Image::from_vec(image.height, image.width, image.pixels)?;
        let mut mask = dia_core::Mask::good(image.height(), image.width());
        mask.merge(|i| {
            if image.pixels()[i].is_finite() {
                dia_core::MaskPlanes::empty()
            } else {
                dia_core::MaskPlanes::NO_DATA
            }
        });
        if let Some(seeing) = dia_core::seeing::measure(image.view(), &mask) {
            say(format!("      seeing: FWHM {:.2} px from {} stars", seeing.fwhm, seeing.stars))?;
        }
    }
    Ok(())
}
