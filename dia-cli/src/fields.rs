//! All values of a result in one table: report, header, page and dia-cli/README.md say the same of them.

use serde_json::Value as Json;

use crate::fits::Value;
use crate::report::Report;

/// Of each its place in the report, where j counts the values of a list from 0; its keyword, if the header has it; its
/// unit, or the place of the value that names it; and its meaning, the comment of its card. Cards stand in this order.
#[rustfmt::skip]
const FIELDS: &[[&str; 4]] = &[
    ["schema", "", "", "version of this table"],
    ["version", "DIAVERS", "", "version of dia"],
    ["command", "", "", "command line"],
    ["output", "", "", "file of the difference"],
    ["reference.image", "DIAREF", "", "reference image"],
    ["target.image", "DIATGT", "", "target image"],
    ["photometric_scale.value", "DIAPHSC", "", "photometric scale P: target per reference ADU"],
    ["photometric_scale.sigma", "DIAPHSE", "", "standard deviation of P"],
    ["background.degree", "DIABDEG", "", "degree of the background polynomial"],
    ["background.coefficients[j].value", "DIABGj", "target.unit", "background, Legendre coefficient"],
    ["background.coefficients[j].sigma", "DIABEj", "target.unit", "its standard deviation"],
    ["background.reference_sky", "DIARSKY", "reference.unit", "sky subtracted from the reference"],
    ["offset.dx", "DIADX", "pix", "offset taken out, target minus reference"],
    ["offset.dy", "DIADY", "pix", "offset taken out, target minus reference"],
    ["offset.turned", "DIATURN", "", "turn of the target that the reference was given"],
    ["alignment.by", "", "", "`stars`, `correlation`, `wcs`, `wcs and stars`, `option` or `none`"],
    ["alignment.decision", "", "", "`shift`, `kernel` or `warp`"],
    ["alignment.stars.reference", "", "", "stars found in the reference"],
    ["alignment.stars.target", "", "", "stars found in the target"],
    ["alignment.stars.matched", "", "", "stars that meet"],
    ["alignment.log10_chance", "", "", "log₁₀ of the expected number of accidents that let as many stars meet"],
    ["alignment.map.model", "", "", "`similarity`, `affine`, `quadratic` or `wcs`"],
    ["alignment.map.rotation", "", "deg", "turn of the target against the reference, from columns to rows"],
    ["alignment.map.scale", "", "", "length in the target over length in the reference"],
    ["alignment.map.mirrored", "", "", "whether columns are reversed first"],
    ["alignment.map.residual", "", "pix", "scatter of the stars about the map in one coordinate"],
    ["alignment.map.sigma", "", "pix", "largest standard deviation of the map over the target"],
    ["alignment.map.degree", "", "", "degree of its polynomials"],
    ["alignment.map.centre[j]", "", "pix", "column and row where they are taken from"],
    ["alignment.map.unit", "", "pix", "length that they take for 1"],
    ["alignment.map.x[j]", "", "pix", "coefficients of the column in the reference"],
    ["alignment.map.y[j]", "", "pix", "coefficients of the row in the reference"],
    ["alignment.displacement.least", "", "pix", "least displacement that whole pixels and turns leave in the field"],
    ["alignment.displacement.largest", "", "pix", "the largest"],
    ["alignment.displacement.variation", "", "pix", "largest difference from the mean displacement"],
    ["alignment.displacement.limit", "", "pix", "variation up to which it is left to the kernel"],
    ["alignment.wcs.disagreement", "", "pix", "largest distance between what headers and stars say"],
    ["alignment.wcs.unused", "", "", "why the world coordinates were not used"],
    ["verdict.level", "DIAVERD", "", "verdict: PASS, WARN or FAIL"],
    ["verdict.reasons[j].level", "", "", "`warn` or `fail`"],
    ["verdict.reasons[j].code", "", "", "name of the reason"],
    ["verdict.reasons[j].value", "", "", "what was measured, where it is a number"],
    ["verdict.reasons[j].limit", "", "", "what it would have to keep to"],
    ["verdict.reasons[j].text", "", "", "the reason in words"],
    ["notices[j].level", "", "", "`pass`, `warn` or `fail`"],
    ["notices[j].code", "", "", "name of what was noticed or done to the input, also where it is no reason for doubt"],
    ["notices[j].value", "", "", "what was measured, where it is a number"],
    ["notices[j].limit", "", "", "what it would have to keep to"],
    ["notices[j].text", "", "", "the same in words"],
    ["kernel.centroid.dx", "DIAKDX", "pix", "centroid of the kernel"],
    ["kernel.centroid.dy", "DIAKDY", "pix", "centroid of the kernel"],
    ["seeing.reference_fwhm", "DIARFWHM", "pix", "seeing of the reference"],
    ["seeing.target_fwhm", "DIATFWHM", "pix", "seeing of the target"],
    ["half_width", "DIAHW", "pix", "half-width of the kernel"],
    ["half_width_by", "DIAHWBY", "", "how the half-width was chosen"],
    ["kernel.convolves", "DIACONV", "", "image that the kernel convolves"],
    ["kernel.basis", "DIABASIS", "", "kernel basis"],
    ["kernel.shape", "DIASHAPE", "", "outline of the kernel"],
    ["kernel.coefficients", "DIANCOEF", "", "number of kernel coefficients"],
    ["kernel.core", "", "pix", "radius within which every pixel is free"],
    ["kernel.inner", "", "pix", "half-width of the kernel without its wings, and of the border without valid pixels"],
    ["kernel.degree", "DIAKDEG", "", "degree of the kernel's variation"],
    ["kernel.variation_test.statistic", "", "", "χ² of the kernel's variation at the constant kernel"],
    ["kernel.variation_test.degrees_of_freedom", "", "", "its degrees of freedom"],
    ["kernel.variation_test.limit", "", "", "what chance exceeds in one of a hundred fields"],
    ["kernel.scale_degree", "DIASDEG", "", "degree of the photometric scale's variation"],
    ["kernel.scale_coefficients[j]", "", "", "sum of the kernel that belongs to each Legendre polynomial"],
    ["loss", "DIALOSS", "", "loss function"],
    ["reference_noise", "DIARNOIS", "", "noise of the reference"],
    ["regularisation.lambda", "DIALAMB", "", "regularisation of the kernel"],
    ["regularisation.lambda_variation", "DIALAMBV", "", "that of the deviations from the mean kernel"],
    ["regularisation.chosen", "DIALAUTO", "", "whether it was chosen by the data"],
    ["regularisation.noise_correction", "", "", "below 1 where the reference has less noise than is said of it"],
    ["noise_scale", "DIANSCL", "", "factor of the target's variances"],
    ["variables.sources", "DIANVAR", "", "variable sources left out of the fit"],
    ["variables.sources[j].x", "", "pix", "column in the target, from 0"],
    ["variables.sources[j].y", "", "pix", "row in the target, from 0"],
    ["variables.sources[j].relative_change", "", "", "change over the source's flux in the model"],
    ["variables.sources[j].significance", "", "sigma", "significance of the change"],
    ["variables.sources[j].radius", "", "pix", "radius of its footprint"],
    ["variables.fraction", "DIAFVAR", "", "fraction of the pixels in their footprints"],
    ["variables.left_out", "", "", "significant sources kept because too much would have been masked"],
    ["variables.common_change", "", "", "median relative change of all sources"],
    ["variables.common_change_error", "", "", "its standard deviation"],
    ["variables.error_floor", "", "", "scatter of relative changes beyond noise"],
    ["variables.noise_excess", "", "", "noise in apertures over the given one"],
    ["solver.name", "DIASOLV", "", "linear solver"],
    ["solver.preconditioner", "DIAPCOND", "", "what its preconditioner was made of"],
    ["solver.stop", "DIASTOP", "", "why the fit ended"],
    ["solver.passes", "DIAPASS", "", "reweightings"],
    ["solver.iterations", "DIAITER", "", "iterations of the linear solver"],
    ["solver.products", "DIAPROD", "", "products with the design matrix"],
    ["solver.optimality", "DIAOPT", "sigma", "distance from the minimum"],
    ["solver.tolerance", "", "sigma", "distance at which the fit ends"],
    ["precision", "DIAPREC", "", "arithmetic of pixels"],
    ["residuals.chi2_dof", "DIACHI2", "", "chi squared per degree of freedom"],
    ["residuals.mfb", "DIAMFB", "", "mean of the normalised residuals"],
    ["residuals.mfv", "DIAMFV", "", "variance of the normalised residuals"],
    ["residuals.robust_std", "DIARSTD", "", "robust standard deviation of the same"],
    ["residuals.outliers", "DIAOUTL", "", "effective fraction of outliers"],
    ["pixels.used", "DIAUSED", "", "pixels used in the fit"],
    ["pixels.masked", "DIAMASK", "", "pixels masked"],
    ["pixels.planes.NAME", "", "", "pixels of the mask plane of that name"],
    ["reference.gain.value", "DIARGAIN", "", "electrons per unit: gain of the reference"],
    ["reference.read_noise.value", "DIARRN", "electron", "read noise of the reference"],
    ["reference.saturation.value", "DIARSAT", "", "saturation level of the reference"],
    ["target.gain.value", "DIATGAIN", "", "electrons per unit: gain of the target"],
    ["target.read_noise.value", "DIATRN", "electron", "read noise of the target"],
    ["target.saturation.value", "DIATSAT", "", "saturation level of the target"],
    ["reference.unit", "", "", "unit of the pixels of the reference, by BUNIT"],
    ["reference.gain.source", "", "", "where the gain was found"],
    ["reference.read_noise.source", "", "", "where the read noise was found"],
    ["reference.saturation.source", "", "", "where the saturation level was found"],
    ["reference.subtracted_sky.value", "", "reference.unit", "sky subtracted before, whose photons still make noise"],
    ["reference.subtracted_sky.source", "", "", "where that was found"],
    ["reference.variance", "", "", "file and HDU of the noise"],
    ["reference.mask", "", "", "file and HDU of the mask"],
    ["target.unit", "", "", "unit of the pixels of the target, by BUNIT"],
    ["target.gain.source", "", "", "where the gain was found"],
    ["target.read_noise.source", "", "", "where the read noise was found"],
    ["target.saturation.source", "", "", "where the saturation level was found"],
    ["target.subtracted_sky.value", "", "target.unit", "sky subtracted before, whose photons still make noise"],
    ["target.subtracted_sky.source", "", "", "where that was found"],
    ["target.variance", "", "", "file and HDU of the noise"],
    ["target.mask", "", "", "file and HDU of the mask"],
    ["photometry.psf.stars", "", "", "stars that the PSF of the reference is made of; 0: it was given"],
    ["photometry.psf.rejected", "", "", "stars that were not taken"],
    ["photometry.psf.fwhm", "", "pix", "width of the PSF at half its height"],
    ["photometry.psf.ellipticity", "", "", "its ellipticity"],
    ["photometry.psf.residual", "", "", "residual of a star, in parts of its peak"],
    ["photometry.psf.degree", "", "", "degree of its variation"],
    ["photometry.psf.half_width", "", "pix", "its half-width"],
    ["photometry.threshold", "", "sigma", "threshold of detections"],
    ["photometry.detections", "", "", "number of detections"],
    ["photometry.expected_false_alarms", "", "", "detections that noise alone makes"],
    ["photometry.positions", "", "", "places that were measured"],
    ["photometry.injection.stars", "", "", "injected stars"],
    ["photometry.injection.half_complete", "", "", "S/N at which half of them are found"],
    ["photometry.injection.completeness[j].from", "", "", "least S/N of a range"],
    ["photometry.injection.completeness[j].to", "", "", "its largest S/N"],
    ["photometry.injection.completeness[j].injected", "", "", "stars injected in it"],
    ["photometry.injection.completeness[j].found", "", "", "stars found of these"],
    ["photometry.injection.flux_pull.count", "", "", "fluxes measured of injected stars"],
    ["photometry.injection.flux_pull.mean", "", "sigma", "mean of measured minus true"],
    ["photometry.injection.flux_pull.deviation", "", "sigma", "standard deviation of the same"],
    ["photometry.injection.position_pull.count", "", "", "coordinates measured of injected stars"],
    ["photometry.injection.position_pull.mean", "", "sigma", "mean of measured minus true"],
    ["photometry.injection.position_pull.deviation", "", "sigma", "standard deviation of the same"],
    ["photometry.sources_file", "", "", "table of detections"],
    ["photometry.photometry_file", "", "", "table of fluxes at the places"],
    ["timings_s.read", "", "s", "time to read"],
    ["timings_s.align", "", "s", "time to align"],
    ["timings_s.prepare", "", "s", "time to prepare the fit"],
    ["timings_s.fit", "", "s", "time to fit"],
    ["timings_s.apply", "", "s", "time to subtract"],
    ["timings_s.photometry", "", "s", "time to measure"],
    ["timings_s.write", "", "s", "time to write"],
    ["timings_s.total", "", "s", "time in all"],
    ["backend", "", "", "`cpu`, or `vulkan: ` and the name of the device"],
    ["traffic.bytes_in", "", "byte", "from the host to the device"],
    ["traffic.bytes_out", "", "byte", "from the device to the host"],
    ["traffic.dispatches", "", "", "programs started on the device"],
    ["traffic.submits", "", "", "times that the host handed over work"],
    ["threads", "", "", "number of threads"],
];

/// One thing that the header of a difference says of it.
pub(crate) struct Said {
    pub(crate) keyword: String,
    pub(crate) value: Value,
    pub(crate) unit: String,
    pub(crate) meaning: &'static str,
}

/// All that the header of a difference says of it, in its order.
///
/// # Errors
/// If the report cannot be written as JSON.
pub(crate) fn said(report: &Report) -> serde_json::Result<Vec<Said>> {
    let meaning = if report.kernel.convolves == "target" {
        "convolved target minus model"
    } else {
        "target minus model"
    };
    let (keyword, value) = ("BUNIT".to_owned(), report.target.unit.as_str().into());
    let mut all = vec![Said { keyword, value, unit: String::new(), meaning }];
    let report = serde_json::to_value(report)?;
    let list = |path: &'static str| path.split_once("[j]").map(|(list, _)| list);
    // What belongs to one value of a list stands together: DIABG0, DIABE0, DIABG1 …
    for fields in FIELDS.chunk_by(|a, b| list(a[0]).is_some() && list(a[0]) == list(b[0])) {
        let count = match list(fields[0][0]) {
            Some(list) => at(&report, list).and_then(Json::as_array).map_or(0, Vec::len),
            None => 1,
        };
        for j in 0..count {
            all.extend(fields.iter().filter_map(|field| card(&report, field, j)));
        }
    }
    Ok(all)
}

/// The value at a place of the report.
fn at<'a>(report: &'a Json, path: &str) -> Option<&'a Json> {
    report.pointer(&format!("/{}", path.replace('.', "/")))
}

/// The card of a field, the `j`th if it is of a list, where there is one.
fn card(report: &Json, field: &[&'static str; 4], j: usize) -> Option<Said> {
    let [path, keyword, unit, meaning] = *field;
    if keyword.is_empty() {
        return None;
    }
    let value = match at(report, &path.replace("[j]", &format!(".{j}")))? {
        // The only number that may be left out; others are null where they are not finite.
        Json::Null if path == "regularisation.lambda_variation" => return None,
        Json::String(level) if path == "verdict.level" => level.to_uppercase().into(),
        Json::String(text) => text.as_str().into(),
        Json::Bool(truth) => (*truth).into(),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::Array(values) => (values.len() as i64).into(),
        Json::Null | Json::Object(_) => Value::Undefined,
    };
    let unit = at(report, unit).and_then(Json::as_str).unwrap_or(unit).to_owned();
    Some(Said { keyword: keyword.replace('j', &j.to_string()), value, unit, meaning })
}

#[cfg(test)]
mod tests {
    use super::FIELDS;

    #[test]
    fn the_readme_has_this_table() {
        let row = |[path, keyword, unit, meaning]: &[&str; 4]| {
            format!("| `{path}` | {keyword} | {unit} | {meaning} |\n")
        };
        let table: String = FIELDS.iter().map(row).collect();
        let table = format!("| field | keyword | unit | meaning |\n|---|---|---|---|\n{table}\n");
        assert!(include_str!("../README.md").contains(&table), "README.md should have\n{table}");
    }
}
