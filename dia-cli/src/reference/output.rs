//! The FITS file of a reference: the image, VARIANCE, MASK, COVERAGE and PSF.

use std::path::Path;

use anyhow::Result;
use dia_core::{Kernel, MaskPlanes};
use dia_photometry::{PsfOptions, reference_psf};

use super::lineage;
use super::stack::Made;
use crate::detector::SATURATION_KEYWORDS;
use crate::fits::{self, HduData, HduOut, Header};
use crate::input::Real;
use crate::output::{mask_bits, name_planes, squared};
use crate::world_coordinates;

/// Writes it under a temporary name, and renames it. `history` is the command.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write<T: Real>(path: &Path, made: &Made<T>, history: &str) -> Result<()> {
    let stack = &made.stack;
    let (height, width) = stack.image.view().shape();
    let unit = made.base.taken.unit.as_str();
    let wcs = world_coordinates::of(&made.base.header);
    let mut primary = made.base.header.clone();
    // Saturated pixels are masked, and those of scaled frames would not be known by it.
    primary.retain(|keyword| !SATURATION_KEYWORDS.contains(&keyword));
    primary.set("BUNIT", unit, "weighted mean of frames");
    primary.set("DIAVERS", env!("CARGO_PKG_VERSION"), "version of dia");
    primary.set("DIABASE", made.base_file.as_str(), "frame whose grid, scale and sky it has");
    primary.set("DIAGAIN", made.gain, "significance of a point source over the base's");
    lineage::write(&mut primary, &made.members);
    primary.push_history(&format!("dia {}: {history}", env!("CARGO_PKG_VERSION")));
    let mut variance = wcs.clone();
    variance.set("BUNIT", squared(unit), "variance of the mean");
    variance.set("UTYPE", "VarianceUncertainty", "what this plane holds");
    let (mut mask, coverage) = (wcs.clone(), wcs);
    name_planes(&mut mask, MaskPlanes::all());
    let bits = mask_bits(&stack.mask, MaskPlanes::all());
    let image =
        |header, name, pixels| HduOut { name, header, image: Some((height, width, pixels)) };
    let mut hdus = vec![
        image(&primary, "REFERENCE", T::hdu_data(stack.image.pixels())),
        image(&variance, "VARIANCE", T::hdu_data(stack.variance.pixels())),
        image(&mask, "MASK", HduData::I16(&bits)),
        image(&coverage, "COVERAGE", HduData::I16(&stack.coverage)),
    ];
    // Without enough stars there is none.
    let psf = reference_psf(stack.image.view(), &stack.mask, &PsfOptions::default()).ok();
    let mut header = Header::new();
    if let Some(psf) = &psf {
        header.set("DIASTARS", psf.stars as i64, "stars that it is made of");
        header.set("DIAFWHM", psf.fwhm, "[pix] seeing");
        let mean: &Kernel = psf.mean();
        let image = Some((mean.side(), mean.side(), HduData::F64(mean.pixels())));
        hdus.push(HduOut { name: "PSF", header: &header, image });
    }
    fits::write(path, &hdus)?;
    Ok(())
}
