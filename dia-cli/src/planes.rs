//! The planes beside an image: its mask, and its noise as variance, σ or inverse variance.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use dia_core::{Image, Mask, MaskPlanes};

use rayon::prelude::*;

use crate::fits::{self, FitsFile, Hdu, Header};
use crate::input::Real;
use crate::quality_bits;

/// What a plane of uncertainties holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncertainty {
    /// σ².
    Variance,
    /// σ.
    Sigma,
    /// 1/σ²; 0 where there are no data.
    InverseVariance,
}

impl Uncertainty {
    /// All, in the order in which a plane of them is looked for.
    pub(crate) const ALL: [Self; 3] = [Self::Variance, Self::Sigma, Self::InverseVariance];

    /// That of a plane beside an image, by EXTNAME and UTYPE (as astropy's CCDData writes it).
    pub(crate) fn of(hdu: &Hdu) -> Option<Self> {
        let of_name = match hdu.name()?.as_str() {
            "VARIANCE" | "VAR" | "STAT" | "VAR_TOTAL" | "VARTOTAL" => Self::Variance,
            "ERR" | "ERROR" | "ERRORS" | "SIGMA" | "STDDEV" | "STD" | "RMS" | "NOISE" | "UNC"
            | "UNCERT" | "UNCERTAINTY" => Self::Sigma,
            "IVAR" | "INVVAR" | "WHT" | "WGT" | "WEIGHT" => Self::InverseVariance,
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

    /// Whether a plane of this name and kind may hold something else: the exposure time, or weights in a unit of their own.
    pub(crate) fn is_doubtful(hdu: &Hdu) -> bool {
        hdu.header.get_str("UTYPE").is_none()
            && matches!(hdu.name().as_deref(), Some("WHT" | "WGT" | "WEIGHT"))
    }

    /// The value whose σ² this is.
    fn value(self, variance: f64) -> f64 {
        match self {
            Self::Variance => variance,
            Self::Sigma => variance.sqrt(),
            Self::InverseVariance => variance.recip(),
        }
    }

    /// The kind that a plane has whose values give `variance` where they are read as of this kind, and where the sky scatters by `scatter`; `None` if it is
    /// this one, or none at all fits.
    pub(crate) fn rather(self, variance: f64, scatter: f64) -> Option<Self> {
        /// The scatter of crowded skies and of resampled images stays within this factor.
        const FITS: f64 = 1.5;
        let value = self.value(variance);
        let fits = |kind: &Self| {
            let ratio = scatter / kind.variance(value).sqrt();
            (1.0 / FITS..FITS).contains(&ratio)
        };
        (!fits(&self)).then(|| Self::ALL.into_iter().find(fits)).flatten()
    }

    /// The option that gives such a plane, without the image's role.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::Sigma => "sigma",
            Self::InverseVariance => "weight",
        }
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

/// What the values of a mask mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskBits {
    /// All pixels but those of 0 are bad.
    ZeroIsGood,
    /// Pixels of 0 are bad.
    NonzeroIsGood,
    /// Those with one of these bits are bad.
    Bad(u64),
}

/// Names of planes that are masks.
pub(crate) const MASKS: &[&str] = &["MASK", "MSK", "BPM", "BADPIX", "DQ", "QUALITY"];

/// Most of a mask whose bits nothing explains that is believed unasked.
const MOST_MASKED: f64 = 0.5;

/// Reads a mask, which must have the shape of its image. What its bits mean was said, or its header tells it, or any value but 0 is bad.
pub(crate) fn read_mask(
    file: &FitsFile,
    index: usize,
    shape: (usize, usize),
    said: Option<MaskBits>,
) -> Result<Mask> {
    let integers = file.read_integers(index)?;
    check_shape(file, index, (integers.height, integers.width), shape)?;
    let hdu = file.hdu(index)?;
    let quality = matches!(hdu.name().as_deref(), Some("DQ" | "QUALITY"));
    let by_header = || quality_bits::meaning(&joined_header(file, index)?, quality);
    let all = Some(vec![(u64::MAX, MaskPlanes::USER)]);
    let (meaning, inverted) = match said {
        Some(MaskBits::ZeroIsGood) => (all.clone(), false),
        Some(MaskBits::NonzeroIsGood) => (all.clone(), true),
        Some(MaskBits::Bad(bits)) => (Some(vec![(bits, MaskPlanes::USER)]), false),
        None => (by_header(), false),
    };
    let explained = meaning.is_some();
    let meaning = meaning.or(all).unwrap_or_default();
    let planes = |value: &i64| -> MaskPlanes {
        // Most pixels are.
        if *value == 0 && !inverted {
            return MaskPlanes::empty();
        }
        if inverted {
            return if *value == 0 { MaskPlanes::USER } else { MaskPlanes::empty() };
        }
        let set = meaning.iter().filter(|(bits, _)| *value as u64 & bits != 0);
        set.map(|(_, planes)| *planes).collect()
    };
    let mask = Mask::from_vec(shape.0, shape.1, integers.pixels.par_iter().map(planes).collect())?;
    let masked = mask.count(MaskPlanes::all()) as f64 / (shape.0 * shape.1) as f64;
    ensure!(
        explained || masked <= MOST_MASKED,
        "the mask {} leaves out {:.0} % of the pixels; if pixels that are not 0 are the good ones, give --mask-good-is nonzero, else \
         --mask-good-is zero, or --bad-bits",
        label(file, index)?,
        100.0 * masked
    );
    Ok(mask)
}

/// The cards of the primary HDU and of another, whose own win.
pub(crate) fn joined_header(file: &FitsFile, index: usize) -> Option<Header> {
    let mut header = file.hdu(0).ok()?.header.clone();
    if index != 0 {
        let hdu = file.hdu(index).ok()?;
        let own: HashSet<String> = hdu.header.keywords().collect();
        header.retain(|keyword| !own.contains(keyword));
        header.extend(&hdu.header);
    }
    Some(header)
}
