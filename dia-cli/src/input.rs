//! An image with all that belongs to it: pixels, mask, noise and saturation, from FITS files and command-line options.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use dia_core::{CcdNoise, Image, Mask, MaskPlanes, NoiseModel};
use dia_solvers::Exposure;
use serde::Serialize;

use crate::args::{NoiseArgs, NumberOrKeyword};
use crate::backend::OnDevice;
use crate::fits::{self, FitsFile, FitsSpec, Header};

/// Keywords that usually hold a gain in e⁻/ADU, in the order in which they are tried.
pub(crate) const GAIN_KEYWORDS: &[&str] =
    &["GAIN", "EGAIN", "CCDGAIN", "GAINEFF", "ESO DET OUT1 CONAD"];

/// Keywords that usually hold a read noise in e⁻.
pub(crate) const READ_NOISE_KEYWORDS: &[&str] =
    &["RDNOISE", "READNOIS", "READNOISE", "RON", "ENOISE", "ESO DET OUT1 RON"];

/// Keywords that usually hold a saturation level in ADU.
pub(crate) const SATURATION_KEYWORDS: &[&str] =
    &["SATURATE", "SATURATION", "SATLEVEL", "SATURLEV", "MAXLIN"];

/// The two types of pixels that the command computes with.
pub(crate) trait Real: dia_core::Pixel + fits::Pixel + dia_fft::FftPixel + OnDevice {
    /// Pixels as the data of an HDU.
    fn hdu_data(pixels: &[Self]) -> fits::HduData<'_>;
}

impl Real for f32 {
    fn hdu_data(pixels: &[Self]) -> fits::HduData<'_> {
        fits::HduData::F32(pixels)
    }
}

impl Real for f64 {
    fn hdu_data(pixels: &[Self]) -> fits::HduData<'_> {
        fits::HduData::F64(pixels)
    }
}

/// Which of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Reference,
    Target,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Target => "target",
        }
    }
}

/// What the options say about one of the images.
pub(crate) struct Options<'a> {
    role: Role,
    gain: Option<&'a NumberOrKeyword>,
    read_noise: Option<&'a NumberOrKeyword>,
    saturation: Option<&'a NumberOrKeyword>,
    subtracted_sky: Option<&'a NumberOrKeyword>,
    variance: Option<&'a FitsSpec>,
    mask: Option<&'a FitsSpec>,
}

impl<'a> Options<'a> {
    /// Those of one image; what is given for it wins over what is given for both.
    pub(crate) fn new(args: &'a NoiseArgs, role: Role) -> Self {
        match role {
            Role::Reference => Self {
                role,
                gain: args.reference_gain.as_ref().or(args.gain.as_ref()),
                read_noise: args.reference_read_noise.as_ref().or(args.read_noise.as_ref()),
                saturation: args.reference_saturation.as_ref().or(args.saturation.as_ref()),
                subtracted_sky: args.reference_subtracted_sky.as_ref(),
                variance: args.reference_variance.as_ref(),
                mask: args.reference_mask.as_ref(),
            },
            Role::Target => Self {
                role,
                gain: args.target_gain.as_ref().or(args.gain.as_ref()),
                read_noise: args.target_read_noise.as_ref().or(args.read_noise.as_ref()),
                saturation: args.target_saturation.as_ref().or(args.saturation.as_ref()),
                subtracted_sky: args.target_subtracted_sky.as_ref(),
                variance: args.target_variance.as_ref(),
                mask: args.target_mask.as_ref(),
            },
        }
    }
}

/// A number and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Provenance {
    pub(crate) value: f64,
    /// "option", "keyword NAME", or "default".
    pub(crate) source: String,
}

/// What was taken of an image, for the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Taken {
    /// The file and HDU of the pixels.
    pub(crate) image: String,
    /// e⁻/ADU; absent with a variance plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gain: Option<Provenance>,
    /// e⁻; absent with a variance plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_noise: Option<Provenance>,
    /// ADU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) saturation: Option<Provenance>,
    /// ADU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subtracted_sky: Option<Provenance>,
    /// The file and HDU of the variance plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variance: Option<String>,
    /// The file and HDU of the mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mask: Option<String>,
}

/// One image in memory.
pub(crate) struct Input<T> {
    pub(crate) image: Image<T>,
    pub(crate) mask: Option<Mask>,
    pub(crate) noise: InputNoise<T>,
    pub(crate) saturation: Option<f64>,
    /// That of the primary HDU and of the image's, for the output and for keywords.
    pub(crate) header: Header,
    pub(crate) taken: Taken,
}

/// The noise of an [`Input`].
pub(crate) enum InputNoise<T> {
    Ccd(CcdNoise),
    Variance(Image<T>),
}

impl<T: Real> Input<T> {
    /// Reads the image, and finds its mask, variance, gain, read noise and saturation.
    pub(crate) fn read(spec: &FitsSpec, options: &Options<'_>) -> Result<Self> {
        let role = options.role.name();
        let (file, index) =
            spec.open_selected().with_context(|| format!("cannot open the {role} image"))?;
        let image =
            file.read_image::<T>(index).with_context(|| format!("cannot read the {role} image"))?;
        let image = to_image(image)?;
        let hdu = file.hdu(index)?;
        let mut header = file.hdu(0)?.header.clone();
        if index != 0 {
            // The HDU's own header wins over the primary one.
            let own: HashSet<String> = hdu.header.keywords().collect();
            header.retain(|keyword| !own.contains(keyword));
            header.extend(&hdu.header);
        }
        let lookup = |keyword: &str| header.get_f64(keyword);
        let find = |option: Option<&NumberOrKeyword>,
                    usual: &[&str],
                    what: &str|
         -> Result<Option<Provenance>> {
            match option {
                Some(NumberOrKeyword::Number(value)) => {
                    Ok(Some(Provenance { value: *value, source: "option".into() }))
                }
                Some(NumberOrKeyword::Keyword(keyword)) => {
                    let value = lookup(keyword).with_context(|| {
                        let path = file.path().display();
                        let fault = header.get(keyword).map_or_else(
                            || format!("no header keyword {keyword}"),
                            |(value, _)| format!("{keyword} = {value} is not a number"),
                        );
                        format!(
                            "{path}: {fault} for the {what} of the {role}; give a number or another keyword"
                        )
                    })?;
                    Ok(Some(Provenance { value, source: format!("keyword {keyword}") }))
                }
                None => Ok(usual.iter().find_map(|keyword| {
                    lookup(keyword)
                        .map(|value| Provenance { value, source: format!("keyword {keyword}") })
                })),
            }
        };

        let shape = image.view().shape();
        // A file with planes named MASK and VARIANCE beside the image brings its own; where it has several, EXTVER tells
        // whose they are.
        let version = |hdu: &fits::Hdu| hdu.header.get_i64("EXTVER").unwrap_or(1);
        let sibling = |name: &str| {
            let named = |other: &&fits::Hdu| {
                other.index != index
                    && other.name().as_deref() == Some(name)
                    && other.shape() == Some(shape)
            };
            let planes: Vec<&fits::Hdu> = file.hdus().iter().filter(named).collect();
            let own = planes.iter().find(|other| version(other) == version(hdu));
            match (own, planes.as_slice()) {
                (Some(plane), _) | (None, [plane]) => Some(plane.index),
                _ => None,
            }
        };
        let (mut mask, mut mask_source) = (None, None);
        if let Some(spec) = options.mask {
            let (file, index) =
                spec.open_selected().with_context(|| format!("cannot open the {role} mask"))?;
            (mask, mask_source) =
                (Some(read_mask(&file, index, shape)?), Some(label(&file, index)?));
        } else if let Some(index) = sibling("MASK") {
            (mask, mask_source) =
                (Some(read_mask(&file, index, shape)?), Some(label(&file, index)?));
        }
        let (mut variance, mut variance_source) = (None, None);
        if let Some(spec) = options.variance {
            let (file, index) =
                spec.open_selected().with_context(|| format!("cannot open the {role} variance"))?;
            (variance, variance_source) =
                (Some(read_plane::<T>(&file, index, shape)?), Some(label(&file, index)?));
        } else if options.gain.is_none()
            && let Some(index) = sibling("VARIANCE")
        {
            (variance, variance_source) =
                (Some(read_plane::<T>(&file, index, shape)?), Some(label(&file, index)?));
        }

        let mut taken = Taken {
            image: label(&file, index)?,
            gain: None,
            read_noise: None,
            saturation: find(options.saturation, SATURATION_KEYWORDS, "saturation level")?,
            subtracted_sky: find(options.subtracted_sky, &[], "subtracted sky")?,
            variance: variance_source,
            mask: mask_source,
        };
        let noise = if let Some(variance) = variance {
            InputNoise::Variance(variance)
        } else {
            let path = file.path().display();
            let gain = find(options.gain, GAIN_KEYWORDS, "gain")?.with_context(|| {
                let fault = GAIN_KEYWORDS
                    .iter()
                    .find_map(|keyword| {
                        let (value, _) = header.get(keyword)?;
                        Some(format!("{keyword} = {value} is not a number"))
                    })
                    .unwrap_or_else(|| {
                        format!("its header has none of the keywords {}", GAIN_KEYWORDS.join(", "))
                    });
                format!(
                    "{path}: the gain of the {role} is not known: {fault}; give --{role}-gain as a number of e⁻/ADU or as a \
                     keyword, or --{role}-variance"
                )
            })?;
            ensure!(
                gain.value.is_finite() && gain.value > 0.0,
                "{path}: the gain of the {role} is {} e⁻/ADU ({}); it must be positive: give --{role}-gain",
                gain.value,
                gain.source
            );
            let read_noise = find(options.read_noise, READ_NOISE_KEYWORDS, "read noise")?
                .unwrap_or(Provenance { value: 0.0, source: "default".into() });
            ensure!(
                read_noise.value.is_finite() && read_noise.value >= 0.0,
                "{path}: the read noise of the {role} is {} e⁻ ({}); it must not be negative: give --{role}-read-noise",
                read_noise.value,
                read_noise.source
            );
            let subtracted_sky = taken.subtracted_sky.as_ref().map_or(0.0, |sky| sky.value);
            ensure!(
                subtracted_sky.is_finite() && subtracted_sky >= 0.0,
                "{path}: the sky subtracted from the {role} is {subtracted_sky} ADU; it must not be negative: give \
                 --{role}-subtracted-sky"
            );
            let ccd = CcdNoise { gain: gain.value, read_noise: read_noise.value, subtracted_sky };
            (taken.gain, taken.read_noise) = (Some(gain), Some(read_noise));
            InputNoise::Ccd(ccd)
        };
        let saturation = taken.saturation.as_ref().map(|saturation| saturation.value);
        let input = Self { image, mask, noise, saturation, header, taken };
        input.check_usable(options.role)?;
        Ok(input)
    }

    /// An image without usable pixels, without structure or without a valid variance cannot be subtracted.
    fn check_usable(&self, role: Role) -> Result<()> {
        let (name, reference) = (&self.taken.image, role == Role::Reference);
        let role = role.name();
        let mask = self.unusable();
        let good = || (0..mask.planes().len()).filter(|i| mask.planes()[*i].is_empty());
        let pixels = self.image.pixels();
        let Some(first) = good().next() else {
            let saturation = self.taken.saturation.as_ref().map_or(String::new(), |saturation| {
                format!(" of {} ADU ({})", saturation.value, saturation.source)
            });
            let plane = self.taken.mask.as_ref().map_or(String::new(), |mask| format!(" ({mask})"));
            bail!(
                "{name}: no pixel of the {role} can be used: of {}, {} have no value (NaN or infinite), {} reach the \
                 saturation level{saturation}, {} are masked{plane}; give another image, --{role}-saturation or \
                 --{role}-mask",
                pixels.len(),
                pixels.iter().filter(|value| !value.widen().is_finite()).count(),
                pixels.iter().filter(|v| v.widen() >= self.saturation.unwrap_or(f64::NAN)).count(),
                self.mask.as_ref().map_or(0, |mask| mask.count(MaskPlanes::all())),
            );
        };
        ensure!(
            good().any(|i| pixels[i] != pixels[first]),
            "{name}: the {role} is constant ({} ADU over its {} usable pixels), so there is nothing to match; is it the \
             right file and extension?",
            pixels[first].widen(),
            good().count()
        );
        if let (InputNoise::Variance(variance), Some(plane)) = (&self.noise, &self.taken.variance) {
            let valid = |i: usize| {
                let variance = variance.pixels()[i].widen();
                // A reference may be free of noise: a model, a very deep stack.
                variance.is_finite() && (variance > 0.0 || reference && variance == 0.0)
            };
            ensure!(
                good().any(valid),
                "{plane}: the variance of the {role} is not positive at any usable pixel; give --{role}-variance in ADU², \
                 or --{role}-gain instead"
            );
        }
        Ok(())
    }

    /// The image and its noise, borrowed for the fit.
    pub(crate) fn exposure(&self) -> Exposure<'_, T> {
        let noise = match &self.noise {
            InputNoise::Ccd(ccd) => NoiseModel::Ccd(*ccd, None),
            InputNoise::Variance(variance) => NoiseModel::Variance(variance.view()),
        };
        Exposure {
            image: self.image.view(),
            mask: self.mask.as_ref(),
            noise,
            saturation: self.saturation,
        }
    }

    /// Mask, saturated and non-finite pixels together.
    pub(crate) fn unusable(&self) -> Mask {
        self.exposure().unusable()
    }
}

impl Taken {
    /// One line for the terminal.
    pub(crate) fn summary(&self) -> String {
        let number = |name: &str, p: &Option<Provenance>, unit: &str| {
            p.as_ref().map(|p| format!("{name} {} {unit} ({})", p.value, p.source))
        };
        let plane = |name: &str, p: &Option<String>| p.as_ref().map(|p| format!("{name} {p}"));
        let parts = [
            number("gain", &self.gain, "e⁻/ADU"),
            number("read noise", &self.read_noise, "e⁻"),
            plane("variance", &self.variance),
            Some(
                number("saturation", &self.saturation, "ADU")
                    .unwrap_or_else(|| "saturation not known".into()),
            ),
            number("subtracted sky", &self.subtracted_sky, "ADU"),
            plane("mask", &self.mask),
        ];
        format!("{}: {}", self.image, parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn to_image<T: Real>(image: fits::FitsImage<T>) -> Result<Image<T>> {
    Ok(Image::from_vec(image.height, image.width, image.pixels)?)
}

fn label(file: &FitsFile, index: usize) -> Result<String> {
    Ok(format!("{}, {}", file.path().display(), file.hdu(index)?.label()))
}

/// Reads a plane that must have the shape of its image.
fn read_plane<T: Real>(file: &FitsFile, index: usize, shape: (usize, usize)) -> Result<Image<T>> {
    let plane = to_image(file.read_image::<T>(index)?)?;
    check_shape(file, index, plane.view().shape(), shape)?;
    Ok(plane)
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
        "BAD" | "STREAK" | "CROSSTALK" | "VIGNETTED" => Some(MaskPlanes::BAD),
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

fn read_mask(file: &FitsFile, index: usize, shape: (usize, usize)) -> Result<Mask> {
    let integers = file.read_integers(index)?;
    check_shape(file, index, (integers.height, integers.width), shape)?;
    let bits = named_bits(&file.hdu(index)?.header);
    let planes = |value: &i64| {
        if bits.is_empty() {
            return if *value == 0 { MaskPlanes::empty() } else { MaskPlanes::USER };
        }
        let set = bits.iter().filter(|(bit, _)| value >> bit & 1 == 1);
        set.filter_map(|(_, name)| plane_of(name)).collect()
    };
    Ok(Mask::from_vec(shape.0, shape.1, integers.pixels.iter().map(planes).collect())?)
}
