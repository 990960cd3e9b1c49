//! The files that HOTPANTS writes: layers, noise, mask, convolved image, and the keywords that are read of them.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use dia_core::{Kernel, MaskPlanes};

use crate::fits::{self, HduData, HduOut, Header};
use crate::input::Input;
use crate::output::{check_place, place};
use crate::subtraction::Subtraction;
use crate::world_coordinates;

use super::flags::Given;
use super::request::{Asked, Normalisation, Region, bits};

/// Tiles along either axis over which the figure of merit is told, as HOTPANTS tells it over stamps.
const TILES: usize = 10;

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Outputs {
    difference: PathBuf,
    noise: Option<PathBuf>,
    scaled: Option<PathBuf>,
    convolved: Option<PathBuf>,
    mask: Option<PathBuf>,
    kernel: Option<PathBuf>,
    /// Layers of the difference: the convolved image, the difference over its noise, the noise, the kernel.
    layers: [bool; 4],
}

impl Outputs {
    /// Finds before the fit what would keep them from being written.
    pub(super) fn of(given: &Given) -> Result<Self> {
        let path = |name: &str| given.text(name).map(PathBuf::from);
        let layer = |name: &str| given.has(name) || name != "hki" && given.has("allm");
        let mut taken: Vec<PathBuf> = Vec::new();
        for name in ["inim", "tmplim", "ini", "tni", "imi", "tmi"] {
            if let Some(text) = given.text(name) {
                taken.push(place(&fits::FitsSpec::parse(text)?.path));
            }
        }
        for name in ["outim", "oni", "ond", "oci", "omi", "oki"] {
            let Some(path) = path(name) else { continue };
            check_place(&format!("file of -{name}"), &path)?;
            ensure!(
                !(given.has("nc") && path.exists()),
                "-{name} {}: the file exists, and -nc keeps it",
                path.display()
            );
            let place = place(&path);
            ensure!(
                !taken.contains(&place),
                "-{name} {} is another file of this command",
                path.display()
            );
            taken.push(place);
        }
        Ok(Self {
            difference: path("outim").unwrap_or_default(),
            noise: path("oni"),
            scaled: path("ond"),
            convolved: path("oci"),
            mask: path("omi"),
            kernel: path("oki"),
            layers: ["cim", "ndm", "nim", "hki"].map(layer),
        })
    }

    /// Writes all of them, the difference last: where it is, the others are.
    pub(super) fn write(
        &self,
        subtraction: &Subtraction<f32>,
        asked: &Asked,
        region: Region,
        image_header: &Header,
        inputs: [&[u16]; 2],
        words: &[String],
    ) -> Result<()> {
        let planes = Planes::of(subtraction, asked);
        let wcs = world_coordinates::of(image_header);
        let titled = |title: &str| {
            let mut header = wcs.clone();
            header.set("OBJECT", title, "");
            header
        };
        let mut noise_header = titled("HOTPanTS Noise Image");
        noise_header.set("MASKVAL", f64::from(asked.fill_noise), "value of masked pixels");
        let convolved_header = titled("Convolved Image");
        let scaled_header = titled("Noise-scaled (sigma) Difference Image");
        let one = |path: Option<&PathBuf>, header: &Header, data: HduData<'_>| match path {
            Some(path) => fits::write(path, &[layer(region, header, data)]),
            None => Ok(()),
        };
        let filled = |value: &dyn Fn(usize) -> f32, fill: f32| {
            let finite = |value: f32| if value.is_finite() { value } else { fill };
            let part: Vec<f32> = (0..planes.difference.len()).map(|i| finite(value(i))).collect();
            region.whole(&part, fill)
        };
        let of_convolved = |i: usize| planes.convolved[i];
        let of_scaled = |i: usize| planes.difference[i] / planes.noise[i];
        let of_noise = |i: usize| planes.noise[i];
        let maps: [(_, _, &dyn Fn(usize) -> f32, _); 3] = [
            (&self.convolved, &convolved_header, &of_convolved, asked.fill),
            (&self.scaled, &scaled_header, &of_scaled, asked.fill),
            (&self.noise, &noise_header, &of_noise, asked.fill_noise),
        ];
        let mut layers = Vec::new();
        for ((path, header, value, fill), is_layer) in maps.into_iter().zip(self.layers) {
            if path.is_none() && !is_layer {
                continue;
            }
            let pixels = filled(value, fill);
            one(path.as_ref(), header, HduData::F32(&pixels))?;
            if is_layer {
                layers.push((header, pixels));
            }
        }
        let mask = region.whole(&mask(subtraction, inputs), bits::OUTPUT_BAD);
        one(self.mask.as_ref(), &titled("Hotpants output Mask Image"), HduData::U16(&mask))?;

        let kernels = subtraction.difference.design.kernels(&subtraction.difference.parameters);
        let names: Vec<String> = (0..kernels.len()).map(kernel_name).collect();
        let empty = Header::new();
        let kernel_hdus =
            kernels.iter().zip(&names).map(|(kernel, name)| kernel_hdu(kernel, name, &empty));
        let kernel_hdus: Vec<HduOut<'_>> = kernel_hdus.collect();
        if let Some(path) = &self.kernel {
            fits::write(path, &kernel_hdus)?;
        }

        let mut primary = image_header.clone();
        primary.set("BUNIT", planes.unit.as_str(), "difference: image minus template");
        keywords(&mut primary, subtraction, asked, region, &planes, words, &self.difference);
        let difference = filled(&|i| planes.difference[i], asked.fill);
        let mut hdus = vec![layer(region, &primary, HduData::F32(&difference))];
        let layers = layers.iter();
        hdus.extend(layers.map(|(header, pixels)| layer(region, header, HduData::F32(pixels))));
        if self.layers[3] {
            hdus.extend(kernel_hdus);
        }
        fits::write(&self.difference, &hdus)?;
        Ok(())
    }
}

/// An image of the whole size.
fn layer<'a>(region: Region, header: &'a Header, data: HduData<'a>) -> HduOut<'a> {
    let (height, width) = region.shape;
    HduOut { name: "", header, image: Some((height, width, data)) }
}

fn kernel_name(t: usize) -> String {
    if t == 0 { "KERNEL".to_owned() } else { format!("KERNEL_{t}") }
}

fn kernel_hdu<'a>(kernel: &'a Kernel, name: &'a str, header: &'a Header) -> HduOut<'a> {
    let side = kernel.side();
    HduOut { name, header, image: Some((side, side, HduData::F64(kernel.pixels()))) }
}

/// Difference, noise and convolved image in the unit that was asked for; NaN where there is none.
struct Planes {
    difference: Vec<f32>,
    noise: Vec<f32>,
    convolved: Vec<f32>,
    unit: String,
}

impl Planes {
    fn of(subtraction: &Subtraction<f32>, asked: &Asked) -> Self {
        let (fitted, report) = (&subtraction.difference, &subtraction.report);
        let image_convolved = convolves_image(subtraction);
        let of_template = match asked.normalisation {
            Normalisation::Template => true,
            Normalisation::Image => false,
            // The unit of the image that was left as it is.
            Normalisation::Unconvolved => image_convolved,
        };
        let factor = if of_template { fitted.photometric_scale.value.recip() as f32 } else { 1.0 };
        let unit = if of_template { &report.reference.unit } else { &report.target.unit };
        let difference = fitted.difference.pixels();
        let model = fitted.model.pixels();
        Self {
            difference: difference.iter().map(|d| d * factor).collect(),
            noise: fitted.variance.pixels().iter().map(|v| v.sqrt() * factor.abs()).collect(),
            convolved: if image_convolved {
                model.iter().zip(difference).map(|(m, d)| (m + d) * factor).collect()
            } else {
                model.iter().map(|m| m * factor).collect()
            },
            unit: unit.clone(),
        }
    }
}

fn convolves_image(subtraction: &Subtraction<f32>) -> bool {
    subtraction.report.kernel.convolves == "target"
}

/// The mask with the bits of HOTPANTS.
fn mask(subtraction: &Subtraction<f32>, inputs: [&[u16]; 2]) -> Vec<u16> {
    let fitted = &subtraction.difference;
    let found = [&subtraction.reference, &subtraction.target].map(Input::unusable);
    let pixels = fitted.difference.pixels().iter().zip(fitted.mask.planes()).enumerate();
    pixels
        .map(|(i, (difference, planes))| {
            let mut set = inputs[0][i] | inputs[1][i];
            if found.iter().any(|mask| !mask.planes()[i].is_empty()) {
                set |= bits::INPUT_BAD;
                // What the pixels themselves tell: a cosmic ray, say.
                set |= if set == bits::INPUT_BAD { bits::BAD_VALUE } else { 0 };
            }
            if !difference.is_finite() {
                set |= bits::OUTPUT_BAD;
                if planes.contains(MaskPlanes::REFERENCE_BAD) {
                    set |= bits::BAD_CONVOLUTION;
                }
            }
            set
        })
        .collect()
}

/// The keywords that pipelines read. Those with a number at their end are strings, as HOTPANTS writes them.
fn keywords(
    header: &mut Header,
    subtraction: &Subtraction<f32>,
    asked: &Asked,
    region: Region,
    planes: &Planes,
    words: &[String],
    output: &Path,
) {
    let Region { x, y, width, height, .. } = region;
    let image_convolved = convolves_image(subtraction);
    let scale = subtraction.difference.photometric_scale.value;
    let kernel_sum = if image_convolved { scale.recip() } else { scale };
    let good = planes.difference.iter().zip(&planes.noise).filter(|(d, _)| d.is_finite());
    let good: Vec<(f64, f64)> = good.map(|(d, s)| (f64::from(*d), f64::from(*s))).collect();
    let (mean, deviation) = moments(good.iter().map(|(d, _)| *d));
    let (noise, _) = moments(good.iter().map(|(_, s)| *s));
    let (merit, _) = moments(good.iter().map(|(d, s)| (d / s).powi(2)));
    let (of_tiles, scatter) = moments(tiles(planes, region).into_iter());
    let number = |value: f64| format!("{value:.4}");
    for (keyword, value, comment) in [
        ("REGION00", format!("[{}:{},{}:{}]", x + 1, x + width, y + 1, y + height), ""),
        ("CONVOL00", if image_convolved { "IMAGE" } else { "TEMPLATE" }.to_owned(), ""),
        ("KSUM00", number(kernel_sum), "sum of the kernel"),
        ("SSSIG00", number(of_tiles), "mean of (diff/noise)^2 over tiles"),
        ("SSSCAT00", number(scatter), "standard deviation of the same"),
        ("FSIG00", number(of_tiles), "as SSSIG00"),
        ("FSCAT00", number(scatter), "as SSSCAT00"),
        ("X2NRM00", number(merit), "mean of (diff/noise)^2, good pixels"),
        ("NX2NRM00", good.len().to_string(), "number of good pixels"),
        ("DMEAN00", number(mean), "mean of the difference, good pixels"),
        ("DSIGE00", number(deviation), "standard deviation of the same"),
        ("DSIG00", number(noise), "mean of the noise, good pixels"),
        ("DIFFCMD", format!("hotpants {}", words.join(" ")), ""),
        ("TARGET", asked.image.spec.to_string(), "image"),
        ("TEMPLATE", asked.template.spec.to_string(), "template"),
        ("DIFFIM", output.display().to_string(), "difference"),
        ("PHOTNORM", asked.normalisation.letter().to_owned(), "photometric normalisation"),
        ("DIAVERS", env!("CARGO_PKG_VERSION").to_owned(), "version of dia"),
        ("DIAVERD", subtraction.report.verdict.level.name().to_owned(), "verdict"),
    ] {
        header.set(keyword, value.as_str(), comment);
    }
    header.set("NREGION", 1, "number of regions");
    header.set("MASKVAL", f64::from(asked.fill), "value of masked pixels");
    header.set("KERINFO", false, "no kernel of Gaussians");
}

/// Mean and standard deviation; NaN of nothing.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (mut count, mut sum) = (0.0, 0.0);
    values.clone().for_each(|value| {
        count += 1.0;
        sum += value;
    });
    let mean = sum / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / count).sqrt())
}

/// The mean of (D/σ)² over the good pixels of each tile.
fn tiles(planes: &Planes, region: Region) -> Vec<f64> {
    let mut sums = [(0.0, 0.0); TILES * TILES];
    let pixels = planes.difference.iter().zip(&planes.noise).enumerate();
    for (i, (difference, noise)) in pixels.filter(|(_, (d, _))| d.is_finite()) {
        let (y, x) = (i / region.width, i % region.width);
        let tile = y * TILES / region.height * TILES + x * TILES / region.width;
        sums[tile].0 += f64::from(difference / noise).powi(2);
        sums[tile].1 += 1.0;
    }
    sums.iter().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count).collect()
}
