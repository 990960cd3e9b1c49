//! Two images on one grid, of which one is convolved to match the other.

use std::borrow::Cow;

use anyhow::{Result, ensure};
use dia_core::Kernel;
use dia_core::seeing;
use dia_core::stars::Star;
use dia_solvers::{FitOptions, LEAST_BACKGROUND, Variation};

use crate::direction::convolves_target;
use crate::input::{Input, Real};
use crate::notice::{Level, Notice};
use crate::report::{Centroid, Seeing};
use crate::request::{Degree, SubtractRequest};

/// Which image is convolved, and what their stars tell.
pub(super) struct Pair<'a, T: Real> {
    reference: &'a Input<T>,
    target: &'a Input<T>,
    /// Without small holes.
    pub(super) convolved: Cow<'a, Input<T>>,
    pub(super) fitted_to: &'a Input<T>,
    pub(super) convolves_target: bool,
    /// Why the target is convolved, if that was found.
    pub(super) why: Option<Notice>,
    /// That of reference and target, if both have one.
    pub(super) seeing: Option<Seeing>,
    /// The image whose seeing cannot be measured, if one of them is.
    pub(super) unmeasured: &'a str,
    /// Those of the request, with what the stars tell.
    pub(super) options: FitOptions,
}

impl<'a, T: Real> Pair<'a, T> {
    /// `stars` are those that both images have, on their one grid.
    pub(super) fn new(
        reference: &'a Input<T>,
        target: &'a Input<T>,
        stars: &[Star],
        request: &SubtractRequest,
    ) -> Result<Self> {
        ensure!(
            !same_pixels(reference, target),
            "{} and {} are the same image, pixel by pixel: there is no difference to find; give the target of another exposure",
            reference.taken.image,
            target.taken.image
        );
        let (r, t) = rayon::join(|| measure(reference, stars), || measure(target, stars));
        let seeing = r.zip(t).map(|(r, t)| Seeing { reference_fwhm: r.fwhm, target_fwhm: t.fwhm });
        let (convolves_target, why) = convolves_target(request, r, t);
        let (fitted_to, of_convolved, of_fitted) =
            if convolves_target { (reference, t, r) } else { (target, r, t) };
        let mut convolved = Cow::Borrowed(if convolves_target { target } else { reference });
        if convolves_target && target.mask.is_some() {
            convolved.to_mut().fill_holes();
        }
        // What nobody asked for is fitted where it is seen.
        let is_open = request.kernel_degree == Degree::Auto && request.scale_degree == 0;
        let variation = if is_open { Variation::Tested } else { Variation::AsDesigned };
        let target_fwhm = of_fitted.filter(|_| seeing.is_some()).map(|s| s.fwhm);
        let options = FitOptions {
            target_fwhm,
            reference_seeing: of_convolved,
            target_seeing: of_fitted,
            variation,
            least_background: (request.background_degree == Degree::Auto)
                .then_some(LEAST_BACKGROUND),
            ..request.fit
        };
        let unmeasured = if r.is_none() { reference } else { target };
        Ok(Self {
            reference,
            target,
            convolved,
            fitted_to,
            convolves_target,
            why,
            seeing,
            unmeasured: &unmeasured.taken.image,
            options,
        })
    }

    /// Rows and columns of both.
    pub(super) fn shape(&self) -> (usize, usize) {
        self.target.image.view().shape()
    }

    /// The name of the target.
    pub(super) fn target(&self) -> &str {
        &self.target.taken.image
    }

    /// What fails if a step does.
    pub(super) fn subtracting(&self) -> String {
        let places = if self.convolves_target {
            " (the target is convolved: below, it stands in the place of the reference)"
        } else {
            ""
        };
        let (reference, target) = (&self.reference.taken.image, self.target());
        let inputs = self.reference.notices.iter().chain(&self.target.notices);
        let doubtful = inputs.filter(|notice| notice.level > Level::Pass);
        let doubts: Vec<&str> = doubtful.map(|notice| notice.text.as_str()).collect();
        if doubts.is_empty() {
            return format!("cannot subtract {reference} from {target}{places}");
        }
        // A fit that fails then speaks of kernels, and not of what is wrong.
        let doubts = doubts.join("; ");
        format!(
            "cannot subtract {reference} from {target}{places}, probably because of this: {doubts}"
        )
    }

    /// By what a kernel's centroid (y, x) moves the reference's stars.
    pub(super) fn moved(&self, (dy, dx): (f64, f64)) -> Centroid {
        let sign = if self.convolves_target { -1.0 } else { 1.0 };
        Centroid { dx: sign * dx, dy: sign * dy }
    }

    /// The share of the variance of R ⊗ K − I that the first has, in the sky; 0 where the noise of the sky cannot be told.
    pub(super) fn convolved_noise(&self, kernel: &Kernel) -> f64 {
        let variance = |input: &Input<T>| input.sky.map(|sky| sky.sigma * sky.sigma);
        let Some((r, t)) = variance(&self.convolved).zip(variance(self.fitted_to)) else {
            return 0.0;
        };
        let squares = kernel.pixels().iter().map(|k| k * k).sum::<f64>();
        r * squares / (r * squares + t)
    }
}

/// The seeing of the stars that both images have, or where none is known or usable, of what stands out.
fn measure<T: Real>(input: &Input<T>, stars: &[Star]) -> Option<seeing::Seeing> {
    let (image, mask) = (input.image.view(), input.unusable());
    seeing::measure_stars(image, &mask, stars, 3)
        .or_else(|| seeing::measure(image, &mask))
        .or_else(|| seeing::measure_stars(image, &mask, stars, 1))
}

/// Whether two images are one: no two exposures have the same noise. What is masked in the target may have been interpolated in the reference.
fn same_pixels<T: Real>(reference: &Input<T>, target: &Input<T>) -> bool {
    let masked = |i: usize| target.mask.as_ref().is_some_and(|mask| !mask.planes()[i].is_empty());
    let pixels = reference.image.pixels().iter().zip(target.image.pixels()).enumerate();
    let known = pixels.filter(|(i, (r, t))| r.is_finite() && t.is_finite() && !masked(*i));
    let (mut equal, mut all) = (0_usize, 0_usize);
    known.for_each(|(_, (r, t))| {
        all += 1;
        equal += usize::from(r == t);
    });
    all > 0 && equal as f64 > 0.99 * all as f64
}
