//! What is asked for, and the two images with what HOTPANTS calls bad in them.

use anyhow::{Context, Result, ensure};
use dia_core::{CcdNoise, Image, MAX_DEGREE, MAX_VARIATION, Mask, MaskPlanes, NoiseModel};
use dia_solvers::{Exposure, NoiseScale};

use crate::fits::{FitsSpec, Header};
use crate::input::{Input, Role};
use crate::planes::{joined_header, label};
use crate::request::{Align, Convolve, Degree, HalfWidth, SubtractRequest};

use super::flags::Given;

/// Bits of a mask as HOTPANTS has them.
pub(super) mod bits {
    /// The value is none.
    pub(crate) const BAD_VALUE: u16 = 0x01;
    /// At or above the upper valid count.
    pub(crate) const SATURATED: u16 = 0x02;
    /// At or below the lower valid count.
    pub(crate) const LOW: u16 = 0x04;
    /// Not a number.
    pub(crate) const NAN: u16 = 0x08;
    /// The kernel's footprint touches a bad pixel.
    pub(crate) const BAD_CONVOLUTION: u16 = 0x10;
    /// In the mask that was given.
    pub(crate) const INPUT_MASK: u16 = 0x20;
    /// Bad in an input.
    pub(crate) const INPUT_BAD: u16 = 0x80;
    /// Without a difference.
    pub(crate) const OUTPUT_BAD: u16 = 0x8000;
}

/// The unit of the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalisation {
    Template,
    Image,
    Unconvolved,
}

impl Normalisation {
    /// As PHOTNORM has it.
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Template => "t",
            Self::Image => "i",
            Self::Unconvolved => "u",
        }
    }
}

/// What is said of one image.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) spec: FitsSpec,
    role: Role,
    upper: f64,
    lower: f64,
    pedestal: f64,
    ccd: CcdNoise,
    noise: Option<FitsSpec>,
    mask: Option<FitsSpec>,
}

impl Source {
    /// Its flags begin with `letter`.
    fn of(given: &Given, name: &str, letter: char, role: Role) -> Result<Self> {
        let file = |flag: &str| given.text(flag).map(FitsSpec::parse).transpose();
        let number = |flag: &str, default: f64| {
            let flag = format!("{letter}{flag}");
            Ok::<_, anyhow::Error>(given.number(&flag)?.unwrap_or(default))
        };
        let source = Self {
            spec: file(name)?.with_context(|| format!("-{name} is required"))?,
            role,
            upper: number("u", 25_000.0)?,
            lower: number("l", 0.0)?,
            pedestal: number("p", 0.0)?,
            ccd: CcdNoise {
                gain: number("g", 1.0)?,
                read_noise: number("r", 0.0)?,
                subtracted_sky: 0.0,
            },
            noise: file(&format!("{letter}ni"))?,
            mask: file(&format!("{letter}mi"))?,
        };
        let Self { upper, lower, ccd, .. } = &source;
        ensure!(upper > lower, "-{letter}u {upper} must be greater than -{letter}l {lower}");
        ensure!(ccd.gain > 0.0, "-{letter}g {}: must be positive", ccd.gain);
        ensure!(ccd.read_noise >= 0.0, "-{letter}r {}: must not be negative", ccd.read_noise);
        Ok(source)
    }
}

/// A command line in the terms of this crate.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) template: Source,
    pub(super) image: Source,
    pub(super) request: SubtractRequest,
    /// Degrees that are not taken as they were given, in words.
    pub(super) lowered: Vec<String>,
    pub(super) normalisation: Normalisation,
    /// xmin, xmax, ymin, ymax as `-gd` has them.
    pub(super) region: Option<[usize; 4]>,
    pub(super) fill: f32,
    pub(super) fill_noise: f32,
    pub(super) verbosity: usize,
}

impl Asked {
    pub(super) fn of(given: &Given) -> Result<Self> {
        let mut request = SubtractRequest { align: Align::None, ..Default::default() };
        if let Some(half_width) = given.whole("r")? {
            ensure!(half_width > 0, "-r {half_width}: must be positive");
            request.half_width = HalfWidth::Pixels(half_width);
        }
        let mut lowered = Vec::new();
        let mut degree = |flag: &str, highest: usize| -> Result<Option<usize>> {
            let degree = given.whole(flag)?;
            if let Some(degree) = degree.filter(|degree| *degree > highest) {
                lowered
                    .push(format!("-{flag} {degree} is taken for {highest}, the highest degree"));
            }
            Ok(degree.map(|degree| degree.min(highest)))
        };
        if let Some(degree) = degree("ko", MAX_VARIATION)? {
            request.kernel_degree = Degree::Given(degree);
        }
        if let Some(degree) = degree("bgo", MAX_DEGREE)? {
            request.background_degree = Degree::Given(degree);
        }
        request.convolve = match given.letter("c", "tib")? {
            Some('t') => Convolve::Reference,
            Some('i') => Convolve::Target,
            _ => Convolve::Auto,
        };
        if !given.has("ig") && !given.has("ini") {
            request.fit.noise_scale = NoiseScale::Estimated;
        }
        let region = match given.numbers("gd")?[..] {
            [x0, x1, y0, y1] => {
                ensure!(
                    x0 >= 0.0 && y0 >= 0.0 && x1 >= x0 && y1 >= y0,
                    "-gd {x0} {x1} {y0} {y1}: expected xmin xmax ymin ymax"
                );
                Some([x0, x1, y0, y1].map(|edge| edge as usize))
            }
            _ => None,
        };
        Ok(Self {
            template: Source::of(given, "tmplim", 't', Role::Reference)?,
            image: Source::of(given, "inim", 'i', Role::Target)?,
            request,
            lowered,
            normalisation: match given.letter("n", "tiu")? {
                Some('i') => Normalisation::Image,
                Some('u') => Normalisation::Unconvolved,
                _ => Normalisation::Template,
            },
            region,
            fill: given.number("fi")?.unwrap_or(1e-30) as f32,
            fill_noise: given.number("fin")?.unwrap_or(0.0) as f32,
            verbosity: given.whole("v")?.unwrap_or(1),
        })
    }
}

/// A part of an image, and the size of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Rows and columns of the whole.
    pub(super) shape: (usize, usize),
}

impl Region {
    /// The part between the edges of `-gd`, where an upper edge of 0 is that of the image.
    fn of(edges: Option<[usize; 4]>, shape: (usize, usize)) -> Result<Self> {
        let (height, width) = shape;
        let [x0, x1, y0, y1] = edges.unwrap_or_default();
        let end = |edge: usize, size: usize| if edge == 0 { size } else { edge.min(size) };
        let (x1, y1) = (end(x1, width), end(y1, height));
        ensure!(x0 < x1 && y0 < y1, "-gd leaves no pixel of {width} × {height}");
        Ok(Self { x: x0, y: y0, width: x1 - x0, height: y1 - y0, shape })
    }

    /// The pixels of the part.
    fn cut<T: Copy>(self, pixels: &[T]) -> Vec<T> {
        let rows = pixels.chunks(self.shape.1).skip(self.y).take(self.height);
        rows.flat_map(|row| row[self.x..self.x + self.width].iter().copied()).collect()
    }

    /// The whole, with `fill` outside the part.
    pub(super) fn whole<T: Copy>(self, part: &[T], fill: T) -> Vec<T> {
        let (height, width) = self.shape;
        let mut all = vec![fill; height * width];
        let rows = all.chunks_mut(width).skip(self.y);
        for (row, part) in rows.zip(part.chunks(self.width)) {
            row[self.x..self.x + self.width].copy_from_slice(part);
        }
        all
    }
}

/// An image as it is subtracted.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) input: Input<f32>,
    pub(super) header: Header,
    pub(super) region: Region,
    /// What is bad in the region.
    pub(super) bits: Vec<u16>,
}

impl Frame {
    /// Reads an image with its noise and its mask.
    pub(super) fn read(source: &Source, fill: f32, edges: Option<[usize; 4]>) -> Result<Self> {
        let (file, index) = source.spec.open_selected()?;
        let name = label(&file, index)?;
        let header = joined_header(&file, index).context("no header")?;
        let image = file.read_image::<f32>(index)?;
        let shape = (image.height, image.width);
        let region = Region::of(edges, shape)?;
        let same_shape = |spec: &FitsSpec, height: usize, width: usize| {
            ensure!(
                (height, width) == shape,
                "{spec} has {width} × {height} pixels, and {name} {} × {}",
                shape.1,
                shape.0
            );
            Ok(())
        };
        let mut pixels = region.cut(&image.pixels);
        let mut bits = vec![0; pixels.len()];
        if let Some(spec) = &source.mask {
            let (file, index) = spec.open_selected()?;
            let mask = file.read_integers(index)?;
            same_shape(spec, mask.height, mask.width)?;
            for (bits, value) in bits.iter_mut().zip(region.cut(&mask.pixels)) {
                *bits |= if value == 0 { 0 } else { bits::INPUT_MASK };
            }
        }
        for (bits, pixel) in bits.iter_mut().zip(&mut pixels) {
            let value = f64::from(*pixel);
            for (bad, bit) in [
                (*pixel == fill, bits::BAD_VALUE),
                (value >= source.upper, bits::SATURATED),
                (value <= source.lower, bits::LOW),
                (!value.is_finite(), bits::NAN),
            ] {
                *bits |= if bad { bit } else { 0 };
            }
            *bits |= if *bits == 0 { 0 } else { bits::INPUT_BAD };
            *pixel -= source.pedestal as f32;
        }
        let low = bits.iter().filter(|bits| **bits & bits::LOW != 0).count();
        if low * 4 > bits.len() {
            eprintln!(
                "hotpants: warning: {:.0} % of the pixels of {name} are at or below the lower valid count of {}: give -tl and -il below the sky where it was subtracted",
                100.0 * low as f64 / bits.len() as f64,
                source.lower
            );
        }
        let Region { width, height, .. } = region;
        let planes = bits.iter().map(|bits| planes(*bits)).collect();
        let mask = Mask::from_vec(height, width, planes)?;
        let variance = match &source.noise {
            Some(spec) => {
                let (file, index) = spec.open_selected()?;
                let noise = file.read_image::<f32>(index)?;
                same_shape(spec, noise.height, noise.width)?;
                // A noise that is not positive tells nothing.
                let square = |sigma: f32| if sigma > 0.0 { sigma * sigma } else { f32::NAN };
                let values = region.cut(&noise.pixels).into_iter().map(square).collect();
                Some(Image::from_vec(height, width, values)?)
            }
            None => None,
        };
        let image = Image::from_vec(height, width, pixels)?;
        let exposure = Exposure {
            image: image.view(),
            mask: Some(&mask),
            noise: match &variance {
                Some(variance) => NoiseModel::Variance(variance.view()),
                None => NoiseModel::Ccd(source.ccd, None),
            },
            saturation: Some(source.upper - source.pedestal),
        };
        let input = Input::of_exposure(&name, source.role, &exposure)?.with_header(header.clone());
        Ok(Self { input, header, region, bits })
    }
}

/// The bits in the terms of this crate.
fn planes(bits: u16) -> MaskPlanes {
    let mut planes = MaskPlanes::empty();
    for (bit, plane) in [
        (bits::BAD_VALUE | bits::NAN | bits::LOW, MaskPlanes::NO_DATA),
        (bits::SATURATED, MaskPlanes::SATURATED),
        (bits::INPUT_MASK, MaskPlanes::USER),
    ] {
        if bits & bit != 0 {
            planes |= plane;
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::Asked;
    use crate::hotpants::flags::Given;
    use crate::request::Degree;

    #[test]
    fn a_degree_that_is_too_high_is_lowered_and_said() {
        let line = "-inim i.fits -tmplim t.fits -outim d.fits -bgo 2 -ko 9";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let asked = Asked::of(&Given::parse(&words).unwrap()).unwrap();
        assert_eq!(asked.request.kernel_degree, Degree::Given(4));
        assert_eq!(asked.request.background_degree, Degree::Given(2));
        assert_eq!(asked.lowered, ["-ko 9 is taken for 4, the highest degree"]);
    }
}
