//! The FITS file of a difference: DIFFERENCE, VARIANCE, MASK, MODEL, KERNEL and LEFT_OUT, and what else is asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dia_core::{Mask, MaskPlanes};
use dia_solvers::Difference;

use crate::fields::{Said, said};
use crate::fits::{self, HduData, HduOut, Header, Value};
use crate::input::Real;
use crate::photometry::ExtraPlane;
use crate::report::Report;
use crate::world_coordinates;

/// A difference with what its headers say of it.
pub(crate) struct Described<'a, T> {
    pub(crate) difference: &'a Difference<T>,
    pub(crate) target_header: &'a Header,
    pub(crate) report: &'a Report,
    /// Planes after those that every difference has.
    pub(crate) planes: &'a [ExtraPlane],
    /// The command, for HISTORY.
    pub(crate) history: String,
}

/// Names of files whose format is none that is written here.
const OTHER_FORMATS: &[&str] = &["bz2", "xz", "zst", "zip", "Z"];

/// Checks that a file can be made at `path`, as far as that can be known before.
pub(crate) fn check_place(what: &str, path: &Path) -> Result<()> {
    let shown = path.display();
    ensure!(
        path != Path::new("-"),
        "cannot write the {what} to \"-\"; give the path of a file, or /dev/stdout together with --quiet"
    );
    let folder = folder_of(path);
    ensure!(
        !path.is_dir(),
        "cannot write the {what} {shown}: it is a folder; give the path of a file"
    );
    ensure!(
        folder.is_dir(),
        "cannot write the {what} {shown}: there is no folder {}; make it first",
        folder.display()
    );
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_fits =
        Path::new(path.file_stem().unwrap_or_default()).extension().is_some_and(|e| e == "fits");
    ensure!(
        !OTHER_FORMATS.contains(&extension) && (extension != "fz" || is_fits),
        "cannot write the {what} {shown}: no .{extension} files are made of it; give a path without it, or one that ends with .fits.gz or .fits.fz"
    );
    ensure!(
        extension != "fz" || cfg!(feature = "cfitsio"),
        "cannot write the {what} {shown}: tile-compressed files need the feature cfitsio of dia-cli, and this dia was built without it; give a path without .fz"
    );
    fits::check_writable(path).with_context(|| format!("the {what} could not be written"))
}

/// Checks that files can be made at all of `outputs`, each with what it is, and that none would replace another or one of `inputs`.
pub(crate) fn check_places<'a>(
    outputs: impl IntoIterator<Item = (&'static str, &'a Path)>,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    let mut taken: Vec<_> = inputs.into_iter().map(place).collect();
    for (what, path) in outputs {
        check_place(what, path)?;
        let place = place(path);
        // What is no regular file, /dev/null say, may take everything.
        if place.metadata().map_or(true, |metadata| metadata.is_file()) {
            ensure!(
                !taken.contains(&place),
                "the {what} would be written over {}, which is another file of this command; give another path",
                path.display()
            );
            taken.push(place);
        }
    }
    Ok(())
}

/// The path with its links followed, also those that lead to no file yet: to tell whether two paths are one file.
pub(crate) fn place(path: &Path) -> PathBuf {
    /// As many as systems follow.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = path.read_link() else { break };
        path = folder_of(&path).join(target);
    }
    path.canonicalize().unwrap_or_else(|_| {
        let folder = folder_of(&path);
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        path.file_name().map_or_else(|| path.clone(), |name| folder.join(name))
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Planes of pixels that have a good difference, and that only the fit left out.
const LEFT_OUT: MaskPlanes = MaskPlanes::VARIABLE.union(MaskPlanes::CLIPPED);

/// Writes the file under a temporary name, and renames it.
pub(crate) fn write<T: Real>(path: &Path, described: &Described<'_, T>) -> Result<()> {
    let difference = described.difference;
    let (height, width) = difference.difference.view().shape();
    let plane =
        |header, name, pixels| HduOut { name, header, image: Some((height, width, pixels)) };

    let primary = primary_header(described)?;
    let wcs = world_coordinates::of(described.target_header);
    let unit = described.report.target.unit.as_str();
    let mut variance = wcs.clone();
    variance.set("BUNIT", squared(unit), "variance of the difference");
    variance.set("UTYPE", "VarianceUncertainty", "what this plane holds");
    let mut model = wcs.clone();
    let target_convolved = described.report.kernel.convolves == "target";
    let model_is = if target_convolved {
        "reference at the target's scale and sky"
    } else {
        "reference convolved, plus background"
    };
    model.set("BUNIT", unit, model_is);
    let extra_header = |extra: &ExtraPlane| {
        let mut header = if extra.on_sky { wcs.clone() } else { Header::new() };
        header.extend(&extra.header);
        header
    };
    let extra_headers: Vec<Header> = described.planes.iter().map(extra_header).collect();
    let (mut mask, mut left_out) = (wcs.clone(), wcs);
    name_planes(&mut mask, MaskPlanes::all().difference(LEFT_OUT));
    name_planes(&mut left_out, LEFT_OUT);
    let bits = mask_bits(&difference.mask, MaskPlanes::all().difference(LEFT_OUT));
    let left_out_bits = mask_bits(&difference.mask, LEFT_OUT);
    let kernels = difference.design.kernels(&difference.parameters);
    let headers: Vec<(String, Header)> =
        (0..kernels.len()).map(|t| kernel_header(difference, t, target_convolved)).collect();
    let side = difference.kernel.side();
    let mut hdus = vec![
        plane(&primary, "DIFFERENCE", T::hdu_data(difference.difference.pixels())),
        plane(&variance, "VARIANCE", T::hdu_data(difference.variance.pixels())),
        plane(&mask, "MASK", HduData::I16(&bits)),
        plane(&model, "MODEL", T::hdu_data(difference.model.pixels())),
    ];
    for (kernel, (name, header)) in kernels.iter().zip(&headers) {
        let image = Some((side, side, HduData::F64(kernel.pixels())));
        hdus.push(HduOut { name, header, image });
    }
    hdus.push(plane(&left_out, "LEFT_OUT", HduData::I16(&left_out_bits)));
    for (extra, header) in described.planes.iter().zip(&extra_headers) {
        let image = Some((extra.height, extra.width, extra.data()));
        hdus.push(HduOut { name: &extra.name, header, image });
    }
    fits::write(path, &hdus)?;
    Ok(())
}

/// Name and header of the kernel that belongs to polynomial `t` of the variation.
fn kernel_header<T>(
    difference: &Difference<T>,
    t: usize,
    target_convolved: bool,
) -> (String, Header) {
    let mut kernel = Header::new();
    let offset = if target_convolved {
        "star's place in reference minus target"
    } else {
        "star's place in target minus reference"
    };
    let centre = difference.kernel.half_width() as f64 + 1.0;
    kernel.set("CTYPE1", "OFFSET_X", offset);
    kernel.set("CRPIX1", centre, "pixel of offset 0");
    kernel.set("CRVAL1", 0.0, "[pix]");
    kernel.set("CDELT1", 1.0, "[pix]");
    kernel.set("CTYPE2", "OFFSET_Y", offset);
    kernel.set("CRPIX2", centre, "pixel of offset 0");
    kernel.set("CRVAL2", 0.0, "[pix]");
    kernel.set("CDELT2", 1.0, "[pix]");
    if t == 0 {
        return ("KERNEL".to_owned(), kernel);
    }
    if let Some((i, j)) = difference.design.variation().powers().nth(t) {
        kernel.set("DIAPX", count(i), "degree in x of the Legendre polynomial");
        kernel.set("DIAPY", count(j), "degree in y of the Legendre polynomial");
    }
    (format!("KERNEL_{t}"), kernel)
}

/// The unit of a variance.
pub(crate) fn squared(unit: &str) -> String {
    let one_word = unit.chars().all(|char| char.is_ascii_alphabetic());
    if one_word { format!("{unit}2") } else { format!("({unit})**2") }
}

/// Names the bits of `planes` in the header of a mask, as LSST does: MP_name = bit.
pub(crate) fn name_planes(header: &mut Header, planes: MaskPlanes) {
    for (name, planes) in planes.iter_names() {
        let bit = i64::from(planes.bits().trailing_zeros());
        header.set(&format!("MP_{name}"), bit, planes.meaning());
    }
}

/// The bits of `planes` in a mask, as the integers of its HDU.
pub(crate) fn mask_bits(mask: &Mask, planes: MaskPlanes) -> Vec<i16> {
    mask.planes().iter().map(|set| set.intersection(planes).bits() as i16).collect()
}

fn primary_header<T: Real>(described: &Described<'_, T>) -> Result<Header> {
    let report = described.report;
    let mut header = described.target_header.clone();
    for Said { keyword, value, unit, meaning } in said(report)? {
        let unit = if unit.is_empty() { unit } else { format!("[{unit}] ") };
        header.set(&keyword, value, &format!("{unit}{meaning}"));
    }
    header.push_history(&format!("dia {}: {}", report.version, described.history));
    Ok(header)
}

fn count(number: usize) -> Value {
    Value::Integer(number as i64)
}
