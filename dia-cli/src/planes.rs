//! The planes beside an image: its mask by the names or the convention of its bits, and its noise as variance, σ or inverse variance.

use anyhow::{Result, bail, ensure};
use dia_core::{Image, Mask, MaskPlanes};

use crate::args::MaskGood;
use crate::fits::{self, FitsFile, Hdu, Header};
use crate::input::Real;

/// What a plane of uncertainties holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncertainty {
    Variance,
    Sigma,
    /// 1/σ²; 0 where there are no data.
    InverseVariance,
}

impl Uncertainty {
    /// That of a plane beside an image, by EXTNAME and UTYPE (as astropy's CCDData writes it).
    pub(crate) fn of(hdu: &Hdu) -> Option<Self> {
        let of_name = match hdu.name()?.as_str() {
            "VARIANCE" | "VAR" => Self::Variance,
            "ERR" | "ERROR" | "SIGMA" | "STDDEV" | "UNCERT" | "UNCERTAINTY" => Self::Sigma,
            "IVAR" => Self::InverseVariance,
            _ => return None,
        };
        let utype = hdu.header.get_str("UTYPE").unwrap_or_default().to_lowercase();
        Some(match utype.as_str() {
            "varianceuncertainty" => Self::Variance,
            "stddevuncertainty" => Self::Sigma,
            "inversevariance" => Self::InverseVariance,
            _ => of_name,
        })
    }

    /// σ² of a value.
    fn variance(self, value: f64) -> f64 {
        match self {
            Self::Variance => value,
            Self::Sigma if value > 0.0 => value * value,
            Self::InverseVariance if value > 0.0 => value.recip(),
            Self::Sigma | Self::InverseVariance => f64::NAN,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::Sigma => "σ",
            Self::InverseVariance => "inverse variance",
        }
    }
}

pub(crate) fn to_image<T: Real>(image: fits::FitsImage<T>) -> Result<Image<T>> {
    Ok(Image::from_vec(image.height, image.width, image.pixels)?)
}

pub(crate) fn label(file: &FitsFile, index: usize) -> Result<String> {
    Ok(format!("{}, {}", file.path().display(), file.hdu(index)?.label()))
}

/// Reads a plane of uncertainties, which must have the shape of its image, as σ²; NaN where it tells nothing.
pub(crate) fn read_variance<T: Real>(
    file: &FitsFile,
    index: usize,
    shape: (usize, usize),
    kind: Uncertainty,
) -> Result<Image<T>> {
    let plane = to_image(file.read_image::<T>(index)?)?;
    check_shape(file, index, plane.view().shape(), shape)?;
    Ok(match kind {
        Uncertainty::Variance => plane,
        _ => plane.map(|value| T::narrow(kind.variance(value.widen()))),
    })
}

fn check_shape(
    file: &FitsFile,
    index: usize,
    got: (usize, usize),
    image: (usize, usize),
) -> Result<()> {
    if got != image {
        bail!(
            "{} has {} × {} pixels (rows × columns), its image {} × {}; give a plane of the image's size",
            label(file, index)?,
            got.0,
            got.1,
            image.0,
            image.1
        );
    }
    Ok(())
}

/// The planes of a mask whose bits are named by MP_ keywords (as LSST's and our own are), as ours; `None` where they make no
/// pixel unusable (a detection, say).
pub(crate) fn plane_of(name: &str) -> Option<MaskPlanes> {
    match name {
        "BAD" | "STREAK" | "CROSSTALK" | "VIGNETTED" | "ITL_DIP" | "SPIKE" | "SENSOR_EDGE"
        | "HIGH_VARIANCE" | "DO_NOT_USE" | "HOT" | "DEAD" | "GHOST" => Some(MaskPlanes::BAD),
        "SAT" | "SATURATED" => Some(MaskPlanes::SATURATED),
        "CR" | "COSMIC_RAY" => Some(MaskPlanes::COSMIC_RAY),
        "EDGE" => Some(MaskPlanes::EDGE),
        "NO_DATA" | "UNMASKEDNAN" => Some(MaskPlanes::NO_DATA),
        "INTRP" | "SUSPECT" => Some(MaskPlanes::SUSPECT),
        "USER" => Some(MaskPlanes::USER),
        "REFERENCE_BAD" => Some(MaskPlanes::REFERENCE_BAD),
        "CLIPPED" => Some(MaskPlanes::CLIPPED),
        _ => None,
    }
}

/// The bits of a mask with names: (bit, name).
pub(crate) fn named_bits(header: &Header) -> Vec<(u32, String)> {
    let bit = |keyword: String| {
        let bit = u32::try_from(header.get_i64(&keyword)?).ok().filter(|bit| *bit < 63)?;
        Some((bit, keyword.to_uppercase().strip_prefix("MP_")?.to_string()))
    };
    header.keywords().filter_map(bit).collect()
}

/// What the bits of a mask mean that has no names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    /// Pixels of any value but 0 are bad, or those of 0.
    Good(MaskGood),
    /// Those with one of these bits are bad.
    Bad(u64),
}

impl Bits {
    /// Those of a data-quality plane: bit 0 is "do not use" and bit 1 saturation where it is made as for JWST; HST's bits are those that its pipelines leave out.
    pub(crate) fn of_quality(header: &Header) -> Self {
        let hubble = header.get_str("TELESCOP").is_some_and(|name| name.trim() == "HST");
        // Lost data, detector defects, hot and warm pixels, saturation, cosmic rays.
        Self::Bad(if hubble {
            1 + 2 + 4 + 8 + 16 + 32 + 128 + 256 + 2048 + 4096 + 8192
        } else {
            0b11
        })
    }
}

/// Most of a mask that is believed unasked.
const MOST_MASKED: f64 = 0.5;

/// Reads a mask, which must have the shape of its image.
pub(crate) fn read_mask(
    file: &FitsFile,
    index: usize,
    shape: (usize, usize),
    unnamed: Option<Bits>,
) -> Result<Mask> {
    let integers = file.read_integers(index)?;
    check_shape(file, index, (integers.height, integers.width), shape)?;
    let names = named_bits(&file.hdu(index)?.header);
    let planes = |value: &i64| {
        let bad = match unnamed {
            None | Some(Bits::Good(MaskGood::Zero)) if names.is_empty() => *value != 0,
            Some(Bits::Good(MaskGood::Nonzero)) => *value == 0,
            Some(Bits::Bad(bits)) => *value as u64 & bits != 0,
            None | Some(Bits::Good(MaskGood::Zero)) => {
                let set = names.iter().filter(|(bit, _)| value >> bit & 1 == 1);
                return set.filter_map(|(_, name)| plane_of(name)).collect();
            }
        };
        if bad { MaskPlanes::USER } else { MaskPlanes::empty() }
    };
    let mask = Mask::from_vec(shape.0, shape.1, integers.pixels.iter().map(planes).collect())?;
    let masked = mask.count(MaskPlanes::all()) as f64 / (shape.0 * shape.1) as f64;
    ensure!(
        unnamed.is_some() || masked <= MOST_MASKED,
        "the mask {} leaves out {:.0} % of the pixels; if pixels that are not 0 are the good ones, give --mask-good-is nonzero, else \
         --mask-good-is zero, or --bad-bits",
        label(file, index)?,
        100.0 * masked
    );
    Ok(mask)
}
