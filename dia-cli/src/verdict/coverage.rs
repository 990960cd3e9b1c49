//! Whether enough of the field took part.

use dia_core::MaskPlanes;

use super::Evidence;
use crate::notice::{Level, Notice};

/// Share of the pixels that take part.
const USED: f64 = 0.3;

/// Share of the pixels that were clipped: 5 σ leave one in a million of Gaussian noise, and cosmic rays and events hardly a hundredth.
const CLIPPED: f64 = 0.02;

/// Fewer pixels for each unknown of the fit leave it to the regularisation.
const PIXELS_PER_UNKNOWN: f64 = 20.0;

/// By what estimated noise may differ from the given one.
const NOISE_SCALE: f64 = 1.5;

/// Below this FWHM in pixels, a star's light depends on where in a pixel it falls, and no kernel of pixels follows that (Nyquist's frequency of a Gaussian's pixels at 2).
const SAMPLED: f64 = 1.5;

pub(super) fn judge<T>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let difference = evidence.difference;
    let mut notices = Vec::new();
    let mut doubt = |code, doubtful, value, limit, text: String| {
        if doubtful {
            notices.push(Notice::new(Level::Warn, code, text).measured(value, limit));
        }
    };
    let all = difference.mask.planes().len() as f64;
    let used = difference.residuals.used as f64;
    let text = format!(
        "only {:.0} % of the pixels take part; check masks, saturation and the offset",
        100.0 * used / all
    );
    doubt("masked", used < USED * all, used / all, USED, text);

    let clipped = difference.mask.count(MaskPlanes::CLIPPED) as f64 / all;
    let text = format!(
        "{:.1} % of the pixels were clipped: they are no outliers; check gain, read noise and variance",
        100.0 * clipped
    );
    doubt("clipped", clipped > CLIPPED, clipped, CLIPPED, text);

    if let Some(found) = &difference.variables {
        let text = format!(
            "{} sources more than may be left out ({:.0} % of the pixels are) seem to be variable: something else than stars differs between the images",
            found.left_out,
            100.0 * found.fraction
        );
        doubt("variables", found.left_out > 0, found.left_out as f64, 0.0, text);
    }
    let unknowns = difference.design.ncols() as f64;
    let text = format!(
        "{used} pixels for {unknowns} unknowns are few; give a smaller --half-width or --kernel-degree 0"
    );
    doubt(
        "few-pixels",
        used < PIXELS_PER_UNKNOWN * unknowns,
        used / unknowns,
        PIXELS_PER_UNKNOWN,
        text,
    );

    let scale = difference.noise_scale.sqrt();
    let factor = scale.max(scale.recip());
    let text = format!(
        "the target's noise was estimated to be {scale:.2} times the given one; check gain, read noise and variance"
    );
    doubt("noise-scale", factor > NOISE_SCALE, scale, NOISE_SCALE, text);

    if let Some([r, t]) = evidence.seeing {
        let fwhm = r.min(t);
        let text = format!(
            "stars of {fwhm:.2} pixels FWHM are undersampled, so that their residuals depend on where in a pixel they fall"
        );
        doubt("undersampled", fwhm < SAMPLED, fwhm, SAMPLED, text);
    }
    notices
}
