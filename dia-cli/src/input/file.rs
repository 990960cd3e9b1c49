//! An image of a FITS file: what its headers and planes say of it.

use anyhow::{Context, Result, anyhow, ensure};
use dia_core::defects::sky_noise;
use dia_core::{CcdNoise, Image, Mask, NoiseModel};

use crate::defects::is_doubtful;
use crate::detector::{self, SATURATION_KEYWORDS};
use crate::fits::{self, FitsSpec};
use crate::input::{
    Input, InputNoise, InputOptions, NumberOrKeyword, Provenance, Real, Role, Taken,
};
use crate::linear;
use crate::notice::{Level, Notice};
use crate::planes::{MASKS, Uncertainty, joined_header, label, read_mask, read_variance, to_image};

impl<T: Real> Input<T> {
    pub(super) fn read_checked(spec: &FitsSpec, of: Role, options: &InputOptions) -> Result<Self> {
        let role = of.name();
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
        if of == Role::Target && mended > 0 {
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
        if let Some(spec) = &options.mask {
            let (file, index) =
                spec.open_selected().with_context(|| format!("cannot open the {role} mask"))?;
            mask = Some(read_mask(&file, index, shape, options.mask_bits)?);
            mask_source = Some(label(&file, index)?);
        } else if let Some(plane) = MASKS.iter().find_map(|name| sibling(&called(name))) {
            mask = Some(read_mask(&file, plane, shape, options.mask_bits)?);
            mask_source = Some(label(&file, plane)?);
        }
        let (mut variance, mut variance_source) = (None, None);
        let of_kind =
            |kind| sibling(&|other| Uncertainty::of(other) == Some(kind)).map(|i| (i, kind));
        let beside = Uncertainty::ALL.into_iter().find_map(of_kind);
        let uncertainty =
            options.uncertainty.as_ref().map(|(_, kind)| *kind).or(beside.map(|(_, kind)| kind));
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
        if let Some((spec, kind)) = &options.uncertainty {
            let kind = *kind;
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

        let mut saturation =
            find(options.saturation.as_ref(), SATURATION_KEYWORDS, "saturation level")?;
        // A level that was typed is believed, and refused where it leaves nothing.
        if options.saturation.is_none()
            && let Some(said) = saturation.take_if(|said| !is_possible(&image, said.value))
        {
            let text = format!(
                "{name}: a saturation level of {} ADU ({}) would leave hardly a pixel, and is not believed; give --{role}-saturation",
                said.value, said.source
            );
            notices.push(Notice::new(Level::Warn, "saturation", text));
        }
        let mut taken = Taken {
            image: name.clone(),
            unit: detector::unit(&header),
            gain: None,
            read_noise: None,
            saturation,
            subtracted_sky: find(options.subtracted_sky.as_ref(), &[], "subtracted sky")?,
            variance: variance_source,
            mask: mask_source,
        };
        let noise = if let Some(variance) = variance {
            InputNoise::Variance(variance)
        } else {
            let path = file.path().display();
            let by_header = options.gain.is_none();
            let gain = match &options.gain {
                Some(_) => find(options.gain.as_ref(), &[], "gain")?,
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
            let read_noise = match find(options.read_noise.as_ref(), &[], "read noise")? {
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
        let input = Self {
            image,
            mask,
            noise,
            uncertainty,
            saturation,
            sky: None,
            header,
            taken,
            notices,
            hash_as_read: None,
        };
        input.checked(of)
    }
}

/// Whether a saturation level leaves at least half of the pixels that have a value.
fn is_possible<T: Real>(image: &Image<T>, level: f64) -> bool {
    let known = image.pixels().iter().map(|value| value.widen()).filter(|v| v.is_finite());
    let (all, above) = known.fold((0_usize, 0_usize), |(all, above), value| {
        (all + 1, above + usize::from(value >= level))
    });
    2 * above <= all
}
