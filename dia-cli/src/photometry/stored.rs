//! What a measurement needs beside the usual planes of a difference, in the file of the difference: planes that `--planes scene` adds, and the way back.
//!
//! | HDU | what it holds |
//! |---|---|
//! | REFERENCE, REFVAR | the reference on the target's grid without its sky, and its own variance |
//! | TGTVAR | the target's own variance; DIAPHOT is its increase per unit of light |
//! | PSF, PSF_1 … | that of the reference: its mean, and its deviations by Legendre polynomials of the place |
//! | PARAMETERS, COVARIANCE | of the fit; the header of the former tells what the parameters multiply, the latter is a lower triangle, row after row |

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use dia_core::{Design, Image, Kernel, KernelShape, Mask, MaskPlanes};
use dia_photometry::ReferencePsf;
use dia_solvers::KernelExtent;

use super::scenery::{Origin, ParameterCovariance, Scenery};
use super::{ExtraPlane, Pixels};
use crate::fits::{FitsFile, Header};
use crate::kernel_basis::{BasisRecipe, shape_name};
use crate::request::Basis;
use crate::sky::Sky;

/// The planes to write.
pub(super) fn planes(scenery: &Scenery) -> Vec<ExtraPlane> {
    let Origin { unit, reference_unit, .. } = &scenery.origin;
    let image = |name: &str, unit: &str, power, meaning, image: &Image<f32>| {
        ExtraPlane::image(name, unit, power, meaning, image.clone())
    };
    let mut of_target =
        image("TGTVAR", unit, 2, "variance of the target", &scenery.target_variance);
    of_target.header.set("DIAPHOT", scenery.photon, "variance per unit of light not in it");
    let mut planes = vec![
        image("REFERENCE", reference_unit, 1, "reference without its sky", &scenery.reference),
        image("REFVAR", reference_unit, 2, "variance of REFERENCE", &scenery.reference_variance),
        of_target,
    ];
    for (t, term) in scenery.psf.terms().iter().enumerate() {
        let name = if t == 0 { "PSF".to_owned() } else { format!("PSF_{t}") };
        let mut header = Header::new();
        let psf = &scenery.psf;
        header.set("DIASTARS", psf.stars as i64, "stars that it is made of; 0: given");
        header.set("DIAREJ", psf.rejected as i64, "stars that were left out");
        header.set("DIARESID", psf.residual, "residual of a star, in parts of its peak");
        planes.push(ExtraPlane::beside(name, header, term.side(), term.pixels().to_vec()));
    }
    let (design, basis) = (&scenery.design, &scenery.basis);
    let mut header = Header::new();
    header.set("DIABASIS", basis.basis.name(), "kernel basis");
    header.set("DIASHAPE", shape_name(basis.shape), "outline of the kernel");
    header.set("DIAHW", basis.extent.half_width as i64, "[pix] half-width of the kernel");
    header.set("DIACORE", basis.extent.core, "[pix] radius of free pixels");
    header.set("DIASPACE", basis.extent.spacing as i64, "[pix] spacing of the nodes beyond");
    header.set("DIAINNER", basis.extent.inner as i64, "[pix] that without the wings");
    header.set("DIACONSV", basis.conserve_flux, "whether one function carries all flux");
    header.set("DIAKDEG", design.kernel_degree() as i64, "degree of the kernel's variation");
    header.set("DIASDEG", design.scale_degree() as i64, "degree of the scale's variation");
    let background = design.background().map_or(-1, |b| b.degree() as i64);
    header.set("DIABDEG", background, "degree of the background; -1: none");
    let parameters = scenery.parameters.clone();
    planes.push(ExtraPlane::beside("PARAMETERS", header, parameters.len(), parameters));
    let triangle = scenery.covariance.elements.clone();
    planes.push(ExtraPlane::beside("COVARIANCE", Header::new(), triangle.len(), triangle));
    planes
}

impl ExtraPlane {
    /// One that is no image of the sky, with rows of `width` numbers.
    fn beside(name: impl Into<String>, header: Header, width: usize, pixels: Vec<f64>) -> Self {
        let height = pixels.len() / width;
        let pixels = Pixels::Double(pixels);
        Self { name: name.into(), header, on_sky: false, height, width, pixels }
    }
}

/// Reads all that a measurement needs from the file of a difference.
///
/// # Errors
/// Names what is missing, and the option of `dia subtract` that writes it.
pub(crate) fn read(path: &Path) -> Result<Scenery> {
    let file = Stored { file: FitsFile::open(path)?, path };
    // The primary one, but in a tile-compressed file.
    let primary = match file.index("DIFFERENCE") {
        Some(index) => &file.file.hdu(index)?.header,
        None => &Header::new(),
    };
    ensure!(
        primary.contains("DIAVERS"),
        "{}: this is no difference that dia wrote (DIAVERS and the plane DIFFERENCE are not there); give the output of dia subtract",
        path.display()
    );
    let text = |keyword: &str| {
        let value = primary.get_str(keyword);
        value.with_context(|| format!("{}: {keyword} is not in its header", path.display()))
    };
    let difference = file.image("DIFFERENCE")?;
    let shape = difference.view().shape();
    let [reference, reference_variance, target_variance] =
        ["REFERENCE", "REFVAR", "TGTVAR"].map(|name| file.image_of_shape(name, shape));
    let (parameters_header, parameters) = file.numbers("PARAMETERS")?;
    let (basis, design) = file.design(parameters_header, shape)?;
    let (unknowns, (_, elements)) = (parameters.len(), file.numbers("COVARIANCE")?);
    ensure!(
        design.ncols() == unknowns && elements.len() == ParameterCovariance::length(unknowns),
        "{}: PARAMETERS has {unknowns} numbers and COVARIANCE {}, and the model that DIABASIS and its neighbours describe has {} unknowns; the file was changed, or \
         another version of dia wrote it",
        path.display(),
        elements.len(),
        design.ncols()
    );
    Ok(Scenery {
        origin: Origin {
            reference: text("DIAREF")?,
            target: text("DIATGT")?,
            unit: text("BUNIT")?,
            reference_unit: file.header("REFERENCE")?.get_str("BUNIT").unwrap_or_default(),
            scale: file.number(primary, "DIAPHSC")?,
            verdict: text("DIAVERD")?,
            sky: Sky::of(primary),
        },
        photon: file.number(file.header("TGTVAR")?, "DIAPHOT")?,
        reference: reference?,
        reference_variance: reference_variance?,
        target_variance: target_variance?,
        mask: file.mask(shape)?,
        psf: file.psf(shape)?,
        covariance: ParameterCovariance { unknowns, elements },
        difference,
        basis,
        design,
        parameters,
    })
}

/// An open file of a difference.
struct Stored<'a> {
    file: FitsFile,
    path: &'a Path,
}

impl Stored<'_> {
    fn index(&self, name: &str) -> Option<usize> {
        self.file.hdus().iter().position(|hdu| hdu.name().as_deref() == Some(name))
    }

    fn needed(&self, name: &str) -> Result<usize> {
        self.index(name).with_context(|| {
            format!(
                "{}: it has no plane {name}, which measurements need; write it with dia subtract … --planes scene",
                self.path.display()
            )
        })
    }

    fn header(&self, name: &str) -> Result<&Header> {
        Ok(&self.file.hdu(self.needed(name)?)?.header)
    }

    fn number(&self, header: &Header, keyword: &str) -> Result<f64> {
        header.get_f64(keyword).with_context(|| {
            format!("{}: {keyword} is not in its headers, or no number", self.path.display())
        })
    }

    fn count(&self, header: &Header, keyword: &str) -> Result<usize> {
        let number = header.get_i64(keyword).and_then(|number| usize::try_from(number).ok());
        number.with_context(|| {
            format!("{}: {keyword} is not in its headers, or no number", self.path.display())
        })
    }

    /// An image in single precision, as measurements take it.
    fn image(&self, name: &str) -> Result<Image<f32>> {
        let image = self.file.read_image::<f32>(self.needed(name)?)?;
        Ok(Image::from_vec(image.height, image.width, image.pixels)?)
    }

    fn image_of_shape(&self, name: &str, shape: (usize, usize)) -> Result<Image<f32>> {
        let image = self.image(name)?;
        self.check_shape(name, image.view().shape(), shape)?;
        Ok(image)
    }

    fn check_shape(&self, name: &str, got: (usize, usize), shape: (usize, usize)) -> Result<()> {
        ensure!(
            got == shape,
            "{}: {name} has {} × {} pixels (rows × columns), DIFFERENCE {} × {}; the file was changed",
            self.path.display(),
            got.0,
            got.1,
            shape.0,
            shape.1
        );
        Ok(())
    }

    fn numbers(&self, name: &str) -> Result<(&Header, Vec<f64>)> {
        let index = self.needed(name)?;
        Ok((&self.file.hdu(index)?.header, self.file.read_image::<f64>(index)?.pixels))
    }

    /// MASK and LEFT_OUT together.
    fn mask(&self, shape: (usize, usize)) -> Result<Mask> {
        let mut mask = Mask::good(shape.0, shape.1);
        for name in ["MASK", "LEFT_OUT"] {
            let plane = self.file.read_integers(self.needed(name)?)?;
            self.check_shape(name, (plane.height, plane.width), shape)?;
            mask.merge(|i| MaskPlanes::from_bits_truncate(plane.pixels[i] as u16));
        }
        Ok(mask)
    }

    fn psf(&self, (height, width): (usize, usize)) -> Result<ReferencePsf> {
        let header = self.header("PSF")?;
        let mut terms = Vec::new();
        let name = |t: usize| if t == 0 { "PSF".to_owned() } else { format!("PSF_{t}") };
        while let Some(index) = self.index(&name(terms.len())) {
            let image = self.file.read_image::<f64>(index)?;
            ensure!(
                image.height == image.width && image.width % 2 == 1,
                "{}: {} has {} × {} pixels, and not an odd square",
                self.path.display(),
                name(terms.len()),
                image.height,
                image.width
            );
            let half_width = image.width / 2;
            let at = |d: isize| (d + half_width as isize) as usize;
            let pixel = |dy: isize, dx: isize| image.pixels[at(dy) * image.width + at(dx)];
            terms.push(Kernel::from_fn(half_width, pixel));
        }
        let mut psf = ReferencePsf::of_legendre_terms(terms, height, width)
            .with_context(|| format!("{}: its PSF cannot be used", self.path.display()))?;
        psf.stars = self.count(header, "DIASTARS")?;
        psf.rejected = self.count(header, "DIAREJ")?;
        psf.residual = self.number(header, "DIARESID")?;
        Ok(psf)
    }

    fn design(
        &self,
        header: &Header,
        (height, width): (usize, usize),
    ) -> Result<(BasisRecipe, Design)> {
        let path = self.path.display();
        let word = |keyword: &str| header.get_str(keyword).unwrap_or_default();
        let basis = Basis::from_str(&word("DIABASIS"), false)
            .map_err(|_| anyhow::anyhow!("{path}: DIABASIS is {:?}", word("DIABASIS")))?;
        let shape = match word("DIASHAPE").as_str() {
            "circle" => KernelShape::Circle,
            "square" => KernelShape::Square,
            other => bail!("{path}: DIASHAPE is {other:?}, and neither circle nor square"),
        };
        let recipe = BasisRecipe {
            basis,
            shape,
            extent: KernelExtent {
                core: self.number(header, "DIACORE")?,
                spacing: self.count(header, "DIASPACE")?,
                inner: self.count(header, "DIAINNER")?,
                half_width: self.count(header, "DIAHW")?,
            },
            conserve_flux: header.get_bool("DIACONSV").unwrap_or(false),
        };
        let KernelExtent { inner, half_width, .. } = recipe.extent;
        // Before a kernel of that size is made.
        ensure!(
            inner <= half_width && 2 * half_width < height.min(width),
            "{path}: a kernel of half-width {half_width} (DIAHW) does not fit its images"
        );
        let background = header.get_i64("DIABDEG").and_then(|degree| usize::try_from(degree).ok());
        let (scale, kernel) = (self.count(header, "DIASDEG")?, self.count(header, "DIAKDEG")?);
        let design = Design::new(height, width, recipe.make(), background)
            .and_then(|design| design.with_variation(scale, kernel))
            .map(|design| design.with_border(inner))
            .with_context(|| format!("{path}: the model that it describes is not possible"))?;
        Ok((recipe, design))
    }
}
