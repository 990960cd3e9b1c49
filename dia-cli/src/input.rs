//! An image with all that belongs to it: pixels, mask, noise and saturation, from FITS files and command-line options.

use anyhow::{Context, Result, anyhow, bail, ensure};
use dia_core::defects::sky_noise;
use dia_core::{CcdNoise, Image, Mask, MaskPlanes, NoiseModel, robust};
use dia_solvers::Exposure;
use serde::Serialize;

use crate::args::{NoiseArgs, NumberOrKeyword};
use crate::backend::OnDevice;
use crate::defects::is_doubtful;
use crate::detector::{self, SATURATION_KEYWORDS};
use crate::fits::{self, FitsSpec, Header};
use crate::linear;
use crate::notice::{Level, Notice};
use crate::planes::{
    Bits, MASKS, Uncertainty, joined_header, label, read_mask, read_variance, to_image,
};

/// The two types of pixels that the command computes with.
pub(crate) trait Real: dia_core::Pixel + fits::Pixel + dia_fft::FftPixel + OnDevice {
    /// Distance of 1 from the next number.
    const EPSILON_F64: f64;

    /// Pixels as the data of an HDU.
    fn hdu_data(pixels: &[Self]) -> fits::HduData<'_>;
}

impl Real for f32 {
    const EPSILON_F64: f64 = f32::EPSILON as f64;

    fn hdu_data(pixels: &[Self]) -> fits::HduData<'_> {
        fits::HduData::F32(pixels)
    }
}

impl Real for f64 {
    const EPSILON_F64: f64 = f64::EPSILON;

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
    pub(crate) fn name(self) -> &'static str {
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
    uncertainty: Option<(&'a FitsSpec, Uncertainty)>,
    mask: Option<&'a FitsSpec>,
    /// What the bits of masks mean, where it was said.
    bits: Option<Bits>,
}

impl<'a> Options<'a> {
    /// Those of one image; what is given for it wins over what is given for both.
    pub(crate) fn new(args: &'a NoiseArgs, role: Role) -> Self {
        let bits = args.bad_bits.map(Bits::Bad).or_else(|| args.mask_good_is.map(Bits::Good));
        // What is said of masks is said of those that were given, if any were.
        let given = [args.reference_mask.is_some(), args.target_mask.is_some()];
        let bits = bits.filter(|_| given == [false; 2] || given[usize::from(role == Role::Target)]);
        let first = |planes: [&'a Option<FitsSpec>; 3]| {
            let kinds = [Uncertainty::Variance, Uncertainty::Sigma, Uncertainty::InverseVariance];
            planes.into_iter().zip(kinds).find_map(|(plane, kind)| Some((plane.as_ref()?, kind)))
        };
        match role {
            Role::Reference => Self {
                role,
                gain: args.reference_gain.as_ref().or(args.gain.as_ref()),
                read_noise: args.reference_read_noise.as_ref().or(args.read_noise.as_ref()),
                saturation: args.reference_saturation.as_ref().or(args.saturation.as_ref()),
                subtracted_sky: args.reference_subtracted_sky.as_ref(),
                uncertainty: first([
                    &args.reference_variance,
                    &args.reference_sigma,
                    &args.reference_weight,
                ]),
                mask: args.reference_mask.as_ref(),
                bits,
            },
            Role::Target => Self {
                role,
                gain: args.target_gain.as_ref().or(args.gain.as_ref()),
                read_noise: args.target_read_noise.as_ref().or(args.read_noise.as_ref()),
                saturation: args.target_saturation.as_ref().or(args.saturation.as_ref()),
                subtracted_sky: args.target_subtracted_sky.as_ref(),
                uncertainty: first([
                    &args.target_variance,
                    &args.target_sigma,
                    &args.target_weight,
                ]),
                mask: args.target_mask.as_ref(),
                bits,
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
    /// That of the pixels, by BUNIT; `adu` where there is none.
    pub(crate) unit: String,
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
    /// What the plane held that the noise was read from.
    pub(crate) uncertainty: Option<Uncertainty>,
    pub(crate) saturation: Option<f64>,
    /// That of the primary HDU and of the image's, for the output and for keywords.
    pub(crate) header: Header,
    pub(crate) taken: Taken,
    pub(crate) notices: Vec<Notice>,
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
        let mut image = to_image(image)?;
        let mut notices = Vec::new();
        let hdu = file.hdu(index)?;
        let name = label(&file, index)?;
        let header = joined_header(&file, index).context("no header")?;
        if file.trailing() > 0 {
            let text = format!(
                "{}: {} bytes that are not filling come after its last HDU: if a block was inserted into the data, their pixels are shifted; fetch the file again if \
                 its source has none there",
                file.path().display(),
                file.trailing()
            );
            notices.push(Notice::new(Level::Warn, "trailing-bytes", text));
        }
        for card in fits::damaged(&header) {
            let text = format!(
                "{name}: a card of its header is damaged: \"{card}\"; what it said is lost"
            );
            notices.push(Notice::new(Level::Warn, "damaged-card", text));
        }
        let mended = fits::mended(&header).1;
        if options.role == Role::Target && mended > 0 {
            let text = format!(
                "{name}: cards of its header break the FITS standard ({mended}); they are mended in the output, or COMMENT cards"
            );
            notices.push(Notice::new(Level::Pass, "header", text));
        }
        linear::check_colour(&header, &name)?;
        if linear::from_asinh(&mut image, &header) {
            let text =
                format!("{name}: stored as asinh magnitudes (BSOFTEN, BOFFSET), and made linear");
            notices.push(Notice::new(Level::Pass, "asinh", text));
        }
        let lookup = |keyword: &str| header.get_number(keyword);
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
        let sibling = |wanted: &dyn Fn(&fits::Hdu) -> bool| {
            let named = |other: &&fits::Hdu| {
                other.index != index && other.shape() == Some(shape) && wanted(other)
            };
            let planes: Vec<&fits::Hdu> = file.hdus().iter().filter(named).collect();
            let own = planes.iter().find(|other| version(other) == version(hdu));
            match (own, planes.as_slice()) {
                (Some(plane), _) | (None, [plane]) => Some(plane.index),
                _ => None,
            }
        };
        let called =
            |name: &'static str| move |other: &fits::Hdu| other.name().as_deref() == Some(name);
        let (mut mask, mut mask_source) = (None, None);
        if let Some(spec) = options.mask {
            let (file, index) =
                spec.open_selected().with_context(|| format!("cannot open the {role} mask"))?;
            mask = Some(read_mask(&file, index, shape, options.bits)?);
            mask_source = Some(label(&file, index)?);
        } else if let Some(plane) = MASKS.iter().find_map(|name| sibling(&called(name))) {
            mask = Some(read_mask(&file, plane, shape, options.bits)?);
            mask_source = Some(label(&file, plane)?);
        }
        let (mut variance, mut variance_source) = (None, None);
        let of_kind =
            |kind| sibling(&|other| Uncertainty::of(other) == Some(kind)).map(|i| (i, kind));
        let beside = Uncertainty::ALL.into_iter().find_map(of_kind);
        let uncertainty =
            options.uncertainty.map(|(_, kind)| kind).or(beside.map(|(_, kind)| kind));
        let source = |plane: &str, kind| match kind {
            Uncertainty::Variance => plane.to_owned(),
            _ => format!("{plane} as {}", kind.name()),
        };
        // What is both given as a gain and as a plane is contradictory: what was typed wins, and it is said.
        let mut ignored = |what: &str, taken: &str| {
            let text = format!(
                "{name}: {what} is not used, for {taken} was given; leave out one of the two"
            );
            notices.push(Notice::new(Level::Warn, "contradiction", text));
        };
        if let Some((spec, kind)) = options.uncertainty {
            let (file, index) = spec
                .open_selected()
                .with_context(|| format!("cannot open the {} plane of the {role}", kind.name()))?;
            variance = Some(read_variance::<T>(&file, index, shape, kind)?);
            variance_source = Some(source(&label(&file, index)?, kind));
            if options.gain.is_some() || options.read_noise.is_some() {
                ignored("the gain or read noise of an option", "a plane of its noise");
            }
        } else if let Some((plane, kind)) = beside {
            let hdu = file.hdu(plane)?;
            let values = || read_variance::<T>(&file, plane, shape, kind);
            if options.gain.is_some() {
                ignored(&format!("its plane {} ({})", hdu.label(), kind.name()), "a gain");
            } else if !Uncertainty::is_doubtful(hdu) {
                variance = Some(values()?);
            } else {
                // Weights may be exposure times, or in a unit of their own: the sky tells.
                let values = values()?;
                let good = mask.clone().unwrap_or_else(|| Mask::good(shape.0, shape.1));
                let said = NoiseModel::Variance(values.view());
                if sky_noise(image.view(), &good, &said).is_some_and(|sky| !is_doubtful(&sky)) {
                    variance = Some(values);
                } else {
                    let text = format!(
                        "{name}: its plane {} is no inverse variance by the scatter of the sky, and is not used",
                        hdu.label()
                    );
                    notices.push(Notice::new(Level::Pass, "weight", text));
                }
            }
            if variance.is_some() {
                variance_source = Some(source(&label(&file, plane)?, kind));
            }
        }

        let mut taken = Taken {
            image: name.clone(),
            unit: detector::unit(&header),
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
            let by_header = options.gain.is_none();
            let gain = match options.gain {
                Some(_) => find(options.gain, &[], "gain")?,
                None => Some(detector::gain(&header, &name, &mut notices).map_err(|fault| {
                    anyhow!(
                        "{path}: the gain of the {role} is not known: {fault}; give --{role}-gain as a number of e⁻/ADU or as a \
                         keyword, or --{role}-variance, --{role}-sigma or --{role}-weight"
                    )
                })?),
            };
            let gain = gain.context("the gain is not known")?;
            ensure!(
                gain.value.is_finite() && gain.value > 0.0,
                "{path}: the gain of the {role} is {} e⁻/ADU ({}); it must be positive: give --{role}-gain",
                gain.value,
                gain.source
            );
            if by_header && gain.source.starts_with("keyword") {
                linear::check_range(&image, gain.value, &name, role)?;
            }
            let read_noise = match find(options.read_noise, &[], "read noise")? {
                Some(read_noise) => read_noise,
                None => detector::read_noise(&header, &name, role, &mut notices),
            };
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
        let mut input =
            Self { image, mask, noise, uncertainty, saturation, header, taken, notices };
        input.check_digits(options.role)?;
        let given = input.unusable();
        input.find_defects();
        input.check_usable(options.role)?;
        input.check_noise(options.role)?;
        input.find_sharp_pixels(options.role, &given)?;
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

    /// Single precision holds 24 bits of a pixel: on a pedestal that is much larger than the noise, too few for it.
    fn check_digits(&self, role: Role) -> Result<()> {
        /// A tenth of the noise, rounded to, adds a thousandth to it.
        const COARSE: f64 = 0.1;
        let pixels = self.image.pixels().iter().map(|value| value.widen());
        let Some((level, scatter)) =
            robust::median_and_scatter(pixels.filter(|value| value.is_finite()))
        else {
            return Ok(());
        };
        let step = level.abs() * T::EPSILON_F64;
        ensure!(
            step <= COARSE * scatter || scatter == 0.0 && step < 0.5,
            "{}: the pixels of the {} lie around {level:.9e} and scatter by {scatter:.3e}, but numbers of this precision are {step:.3e} apart there; give --precision f64",
            self.taken.image,
            role.name()
        );
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

/// A unit in words for people.
pub(crate) fn shown(unit: &str) -> &str {
    if unit == "adu" { "ADU" } else { unit }
}

impl Taken {
    /// One line for the terminal.
    pub(crate) fn summary(&self) -> String {
        let unit = shown(&self.unit);
        let number = |name: &str, p: &Option<Provenance>, unit: &str| {
            p.as_ref().map(|p| format!("{name} {} {unit} ({})", p.value, p.source))
        };
        let plane = |name: &str, p: &Option<String>| p.as_ref().map(|p| format!("{name} {p}"));
        let parts = [
            number("gain", &self.gain, &format!("e⁻/{unit}")),
            number("read noise", &self.read_noise, "e⁻"),
            plane("variance", &self.variance),
            Some(
                number("saturation", &self.saturation, unit)
                    .unwrap_or_else(|| "saturation not known".into()),
            ),
            number("subtracted sky", &self.subtracted_sky, unit),
            plane("mask", &self.mask),
        ];
        format!("{}: {}", self.image, parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
