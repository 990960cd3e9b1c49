//! The FITS file of a difference: DIFFERENCE, VARIANCE, MASK, MODEL and KERNEL.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use dia_core::{Mask, MaskPlanes};
use dia_solvers::Difference;

use crate::fits::{self, HduData, HduOut, Header, Value};
use crate::input::{Provenance, Real};
use crate::report::Report;

/// A difference with what its headers say of it.
pub(crate) struct Described<'a, T> {
    pub(crate) difference: &'a Difference<T>,
    pub(crate) target_header: &'a Header,
    pub(crate) report: &'a Report,
}

/// Checks that a file can be made at `path`, as far as that can be known before.
pub(crate) fn check_place(what: &str, path: &Path) -> Result<()> {
    let folder = folder_of(path);
    ensure!(
        !path.is_dir(),
        "cannot write the {what} {}: it is a folder; give the path of a file",
        path.display()
    );
    ensure!(
        folder.is_dir(),
        "cannot write the {what} {}: there is no folder {}; make it first",
        path.display(),
        folder.display()
    );
    Ok(())
}

/// The path with its links followed, to tell whether two paths are one file.
pub(crate) fn place(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let folder = folder_of(path);
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        path.file_name().map_or_else(|| path.to_owned(), |name| folder.join(name))
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the file under a temporary name, and renames it.
pub(crate) fn write<T: Real>(path: &Path, described: &Described<'_, T>) -> Result<()> {
    let difference = described.difference;
    let (height, width) = difference.difference.view().shape();
    let plane =
        |header, name, pixels| HduOut { name, header, image: Some((height, width, pixels)) };

    let primary = primary_header(described);
    let wcs = world_coordinates(described.target_header);
    let mut variance = wcs.clone();
    variance.set("BUNIT", "adu2", "variance of the difference");
    let mut model = wcs.clone();
    model.set("BUNIT", "adu", "reference convolved, plus background");
    let mut mask = wcs;
    name_planes(&mut mask);
    let bits = mask_bits(&difference.mask);
    let kernels = difference.design.kernels(&difference.parameters);
    let headers: Vec<(String, Header)> =
        (0..kernels.len()).map(|t| kernel_header(difference, t)).collect();
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
    fits::write(path, &hdus)?;
    Ok(())
}

/// Name and header of the kernel that belongs to polynomial `t` of the variation.
fn kernel_header<T>(difference: &Difference<T>, t: usize) -> (String, Header) {
    let mut kernel = Header::new();
    let centre = difference.kernel.half_width() as f64 + 1.0;
    kernel.set("CTYPE1", "OFFSET_X", "star's place in target minus reference");
    kernel.set("CRPIX1", centre, "pixel of offset 0");
    kernel.set("CRVAL1", 0.0, "[pix]");
    kernel.set("CDELT1", 1.0, "[pix]");
    kernel.set("CTYPE2", "OFFSET_Y", "star's place in target minus reference");
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

/// Names the bits of a mask in its header, as LSST does: MP_name = bit.
pub(crate) fn name_planes(header: &mut Header) {
    for (name, planes) in MaskPlanes::all().iter_names() {
        let bit = i64::from(planes.bits().trailing_zeros());
        header.set(&format!("MP_{name}"), bit, planes.meaning());
    }
}

/// A mask as the integers of its HDU.
pub(crate) fn mask_bits(mask: &Mask) -> Vec<i16> {
    mask.planes().iter().map(|planes| planes.bits() as i16).collect()
}

fn primary_header<T: Real>(described: &Described<'_, T>) -> Header {
    let report = described.report;
    let mut header = described.target_header.clone();
    let mut set = |keyword: &str, value: Value, comment: &str| header.set(keyword, value, comment);
    set("BUNIT", "adu".into(), "target minus model");
    set("DIAVERS", report.version.into(), "version of dia");
    set("DIAREF", report.reference.image.as_str().into(), "reference image");
    set("DIATGT", report.target.image.as_str().into(), "target image");
    set(
        "DIAPHSC",
        report.photometric_scale.value.into(),
        "photometric scale P: target per reference ADU",
    );
    set("DIAPHSE", report.photometric_scale.sigma.into(), "standard deviation of P");
    set("DIABDEG", count(report.background.degree), "degree of the background polynomial");
    for (j, b) in report.background.coefficients.iter().enumerate() {
        set(&format!("DIABG{j}"), b.value.into(), "[adu] background, Legendre coefficient");
        set(&format!("DIABE{j}"), b.sigma.into(), "[adu] its standard deviation");
    }
    set(
        "DIARSKY",
        report.background.reference_sky.into(),
        "[adu] sky subtracted from the reference",
    );
    set(
        "DIADX",
        Value::Integer(report.offset.dx as i64),
        "[pix] offset taken out, target minus reference",
    );
    set(
        "DIADY",
        Value::Integer(report.offset.dy as i64),
        "[pix] offset taken out, target minus reference",
    );
    set("DIAVERD", report.verdict.level.name().into(), "verdict: PASS, WARN or FAIL");
    set("DIAKDX", report.kernel.centroid.dx.into(), "[pix] centroid of the kernel");
    set("DIAKDY", report.kernel.centroid.dy.into(), "[pix] centroid of the kernel");
    if let Some(seeing) = report.seeing {
        set("DIARFWHM", seeing.reference_fwhm.into(), "[pix] seeing of the reference");
        set("DIATFWHM", seeing.target_fwhm.into(), "[pix] seeing of the target");
    }
    set("DIAHW", count(report.half_width), "[pix] half-width of the kernel");
    set("DIAHWBY", report.half_width_by.as_str().into(), "how the half-width was chosen");
    set("DIABASIS", report.kernel.basis.as_str().into(), "kernel basis");
    set("DIASHAPE", report.kernel.shape.as_str().into(), "outline of the kernel");
    set("DIANCOEF", count(report.kernel.coefficients), "number of kernel coefficients");
    set("DIAKDEG", count(report.kernel.degree), "degree of the kernel's variation");
    set(
        "DIASDEG",
        count(report.kernel.scale_degree),
        "degree of the photometric scale's variation",
    );
    set("DIALOSS", report.loss.as_str().into(), "loss function");
    set("DIARNOIS", report.reference_noise.as_str().into(), "noise of the reference");
    set("DIALAMB", report.regularisation.lambda.into(), "regularisation of the kernel");
    if let Some(lambda) = report.regularisation.lambda_variation {
        set("DIALAMBV", lambda.into(), "that of the deviations from the mean kernel");
    }
    set("DIALAUTO", report.regularisation.chosen.into(), "whether it was chosen by the data");
    set("DIANSCL", report.noise_scale.into(), "factor of the target's variances");
    if let Some(variables) = &report.variables {
        set("DIANVAR", count(variables.sources.len()), "variable sources left out of the fit");
        set("DIAFVAR", variables.fraction.into(), "fraction of the pixels in their footprints");
    }
    set("DIASOLV", report.solver.name.into(), "linear solver");
    set("DIAPCOND", report.solver.preconditioner.into(), "what its preconditioner was made of");
    set("DIASTOP", report.solver.stop.into(), "why the fit ended");
    set("DIAPASS", count(report.solver.passes), "reweightings");
    set("DIAITER", count(report.solver.iterations), "iterations of the linear solver");
    set("DIAPROD", count(report.solver.products), "products with the design matrix");
    set("DIAOPT", report.solver.optimality.into(), "[sigma] distance from the minimum");
    set("DIAPREC", report.precision.as_str().into(), "arithmetic of pixels");
    set("DIACHI2", report.residuals.chi2_dof.into(), "chi squared per degree of freedom");
    set("DIAMFB", report.residuals.mfb.into(), "mean of the normalised residuals");
    set("DIAMFV", report.residuals.mfv.into(), "variance of the normalised residuals");
    set("DIARSTD", report.residuals.robust_std.into(), "robust standard deviation of the same");
    set("DIAOUTL", report.residuals.outliers.into(), "effective fraction of outliers");
    set("DIAUSED", count(report.pixels.used), "pixels used in the fit");
    set("DIAMASK", count(report.pixels.masked), "pixels masked");
    let images = [("R", "reference", &report.reference), ("T", "target", &report.target)];
    for (letter, name, taken) in images {
        let mut number = |keyword: &str, p: &Option<Provenance>, what: &str| {
            if let Some(p) = p {
                set(
                    &format!("DIA{letter}{keyword}"),
                    p.value.into(),
                    &format!("{what} of the {name}"),
                );
            }
        };
        number("GAIN", &taken.gain, "[electron/adu] gain");
        number("RN", &taken.read_noise, "[electron] read noise");
        number("SAT", &taken.saturation, "[adu] saturation level");
    }
    header.push_history(&format!("dia {}: {}", report.version, report.command));
    header
}

fn count(number: usize) -> Value {
    Value::Integer(number as i64)
}

/// The cards of the world coordinate system, for the other planes.
fn world_coordinates(header: &Header) -> Header {
    const PREFIXES: [&str; 21] = [
        "WCSAXES", "WCSNAME", "CTYPE", "CRVAL", "CRPIX", "CDELT", "CROTA", "CUNIT", "CD1_", "CD2_",
        "PC1_", "PC2_", "PV1_", "PV2_", "LONPOLE", "LATPOLE", "RADESYS", "EQUINOX", "A_", "B_",
        "AP_",
    ];
    let mut wcs = Header::new();
    for keyword in header.keywords() {
        let wanted =
            PREFIXES.iter().any(|prefix| keyword.starts_with(prefix)) || keyword.starts_with("BP_");
        if let Some((value, comment)) = header.get(&keyword).filter(|_| wanted) {
            wcs.set(&keyword, value, &comment);
        }
    }
    wcs
}
