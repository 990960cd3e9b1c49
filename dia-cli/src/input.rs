//! An image with all that belongs to it: pixels, mask, noise and saturation, from FITS files and command-line options.

mod file;
mod hash;

use anyhow::{Result, bail, ensure};
use dia_core::defects::SkyNoise;
use dia_core::{CcdNoise, Image, Mask, MaskPlanes, NoiseModel, robust};
use dia_solvers::Exposure;
use serde::Serialize;

use crate::Error;
use crate::backend::{OnDevice, Precision};
use crate::detector;
use crate::fits::{self, FitsSpec, Header};
use crate::notice::Notice;
use crate::planes::{MaskBits, Uncertainty};
use crate::request::SubtractRequest;
use crate::subtraction::{Event, Subtraction, run};

/// The two types of pixels that are computed with, `f32` and `f64`.
pub trait Real: dia_core::Pixel + fits::Pixel + dia_fft::FftPixel + OnDevice {
    /// Distance of 1 from the next number.
    const EPSILON_F64: f64;

    /// The same by name.
    const PRECISION: Precision;

    /// Pixels as the data of an HDU.
    fn hdu_data(pixels: &[Self]) -> fits::HduData<'_>;

    /// [`subtract`](crate::subtract()), which is compiled here, and not once more in each crate that calls it.
    ///
    /// # Errors
    /// Those of [`subtract`](crate::subtract()).
    fn subtract(
        reference: Input<Self>,
        target: Input<Self>,
        request: &SubtractRequest,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Subtraction<Self>, Error>;
}

/// What differs between the two by name only. A default of the trait would be compiled where it is called.
macro_rules! real {
    ($pixel:ident, $name:ident) => {
        impl Real for $pixel {
            const EPSILON_F64: f64 = $pixel::EPSILON as f64;
            const PRECISION: Precision = Precision::$name;

            fn hdu_data(pixels: &[Self]) -> fits::HduData<'_> {
                fits::HduData::$name(pixels)
            }

            fn subtract(
                reference: Input<Self>,
                target: Input<Self>,
                request: &SubtractRequest,
                tell: &mut dyn FnMut(Event),
            ) -> Result<Subtraction<Self>, Error> {
                run(reference, target, request, tell)
            }
        }
    };
}

real!(f32, F32);
real!(f64, F64);

/// Which of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that is subtracted: the template.
    Reference,
    /// The one that it is subtracted from: the science image.
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

/// What is said of an image in a file; what is not, is looked for in its headers and planes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputOptions {
    /// Gain in e⁻/ADU.
    pub gain: Option<NumberOrKeyword>,
    /// Read noise in e⁻.
    pub read_noise: Option<NumberOrKeyword>,
    /// Pixels at or above this value in ADU are masked.
    pub saturation: Option<NumberOrKeyword>,
    /// Sky in ADU that was subtracted from the image, and whose photons still make noise.
    pub subtracted_sky: Option<NumberOrKeyword>,
    /// The plane of the noise, in the place of gain and read noise.
    pub uncertainty: Option<(FitsSpec, Uncertainty)>,
    /// The mask.
    pub mask: Option<FitsSpec>,
    /// What the values of the mask mean.
    pub mask_bits: Option<MaskBits>,
}

/// A number, or the header keyword that holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum NumberOrKeyword {
    /// The number itself.
    Number(f64),
    /// The name of a header keyword.
    Keyword(String),
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

/// One image with its mask and noise, checked, and with its pixels without data masked.
#[derive(Clone, Debug)]
pub struct Input<T> {
    pub(crate) image: Image<T>,
    pub(crate) mask: Option<Mask>,
    pub(crate) noise: InputNoise<T>,
    /// What the plane held that the noise was read from.
    pub(crate) uncertainty: Option<Uncertainty>,
    pub(crate) saturation: Option<f64>,
    /// The noise of the sky as the pixels show it, if they do.
    pub(crate) sky: Option<SkyNoise>,
    /// That of the primary HDU and of the image's, for the output and for keywords.
    pub(crate) header: Header,
    pub(crate) taken: Taken,
    pub(crate) notices: Vec<Notice>,
    /// The hash of the pixels before some of them were interpolated.
    pub(crate) hash_as_read: Option<String>,
}

/// The noise of an [`Input`].
#[derive(Clone, Debug)]
pub(crate) enum InputNoise<T> {
    Ccd(CcdNoise),
    Variance(Image<T>),
}

impl<T: Real> InputNoise<T> {
    /// σ² of each pixel, by the detector's numbers that of its own value.
    pub(crate) fn of(&self, image: &Image<T>) -> Image<T> {
        match self {
            Self::Variance(variance) => variance.clone(),
            Self::Ccd(ccd) => image.map(|value| T::narrow(ccd.of_value(value.widen()))),
        }
    }
}

impl<T: Real> Input<T> {
    /// Reads the image, and finds its mask, variance, gain, read noise and saturation.
    ///
    /// # Errors
    /// If the file cannot be read, what is said of it is contradictory or not known, or its pixels cannot be used.
    pub fn read(spec: &FitsSpec, role: Role, options: &InputOptions) -> Result<Self, Error> {
        Ok(Self::read_checked(spec, role, options)?)
    }

    /// Takes an image in memory, in ADU. `name` is what messages call it.
    ///
    /// # Errors
    /// If the planes differ in shape, gain or read noise are impossible, or the pixels cannot be used.
    pub fn of_exposure(name: &str, role: Role, exposure: &Exposure<'_, T>) -> Result<Self, Error> {
        Ok(Self::checked_exposure(name, role, exposure)?)
    }

    /// The same with a header: its world coordinates, and the unit that BUNIT tells.
    #[must_use]
    pub fn with_header(mut self, header: Header) -> Self {
        self.taken.unit = detector::unit(&header);
        self.header = header;
        self
    }

    fn checked_exposure(name: &str, role: Role, exposure: &Exposure<'_, T>) -> Result<Self> {
        let given = |value: f64| Some(Provenance { value, source: "option".into() });
        let shape = exposure.image.shape();
        let same_shape = |what: &str, got: (usize, usize)| {
            ensure!(
                got == shape,
                "{name}: the {what} of the {} has {} × {} pixels (rows × columns), its image {} × {}; give planes of \
                 one size",
                role.name(),
                got.0,
                got.1,
                shape.0,
                shape.1
            );
            Ok(())
        };
        let mut taken = Taken {
            image: name.to_owned(),
            unit: "adu".into(),
            gain: None,
            read_noise: None,
            saturation: exposure.saturation.and_then(given),
            subtracted_sky: None,
            variance: None,
            mask: exposure.mask.map(|_| format!("{name}, mask")),
        };
        if let Some(mask) = exposure.mask {
            same_shape("mask", (mask.height(), mask.width()))?;
        }
        let noise = match exposure.noise {
            NoiseModel::Variance(variance) => {
                same_shape("variance", variance.shape())?;
                taken.variance = Some(format!("{name}, variance"));
                InputNoise::Variance(variance.to_owned())
            }
            NoiseModel::Ccd(ccd, flat) => {
                let CcdNoise { gain, read_noise, subtracted_sky } = ccd;
                ensure!(
                    flat.is_none(),
                    "{name}: a flat field of the {} is not taken into account; give its variance instead",
                    role.name()
                );
                for (what, value, valid) in [
                    ("gain", gain, gain > 0.0),
                    ("read noise", read_noise, read_noise >= 0.0),
                    ("subtracted sky", subtracted_sky, subtracted_sky >= 0.0),
                ] {
                    ensure!(
                        valid && value.is_finite(),
                        "{name}: the {what} of the {} is {value}; it must be finite, and the gain positive, the others \
                         not negative",
                        role.name()
                    );
                }
                (taken.gain, taken.read_noise) = (given(gain), given(read_noise));
                taken.subtracted_sky = Some(subtracted_sky).filter(|s| *s > 0.0).and_then(given);
                InputNoise::Ccd(ccd)
            }
        };
        let input = Self {
            image: exposure.image.to_owned(),
            mask: exposure.mask.cloned(),
            noise,
            uncertainty: matches!(exposure.noise, NoiseModel::Variance(_))
                .then_some(Uncertainty::Variance),
            saturation: exposure.saturation,
            sky: None,
            header: Header::new(),
            taken,
            notices: Vec::new(),
            hash_as_read: None,
        };
        input.checked(role)
    }

    /// Finds what its pixels say against it, and masks those that hold no measurement.
    fn checked(mut self, role: Role) -> Result<Self> {
        self.check_digits(role)?;
        let mut mask = self.unusable();
        let given = mask.good_pixels();
        self.find_defects(&mut mask);
        self.check_usable(role, &mask)?;
        self.check_noise(role, &mask)?;
        self.find_sharp_pixels(&mut mask);
        self.mask_found(role, mask, given)?;
        if role == Role::Reference {
            self.fill_holes();
        }
        Ok(self)
    }

    /// An image without usable pixels, without structure or without a valid variance cannot be subtracted.
    fn check_usable(&self, role: Role, mask: &Mask) -> Result<()> {
        let (name, reference) = (&self.taken.image, role == Role::Reference);
        let role = role.name();
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
                mask.count(MaskPlanes::all()),
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
        /// Pixels that are looked at.
        const SAMPLE: usize = 1 << 16;
        let step = (self.image.pixels().len() / SAMPLE) | 1;
        let pixels = self.image.pixels().iter().step_by(step).map(|value| value.widen());
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

    /// σ² of each pixel.
    pub(crate) fn variance(&self) -> Image<T> {
        self.noise.of(&self.image)
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
