//! What is reported of a subtraction.

use dia_core::{Kernel, MaskPlanes, Polynomial2d};
use dia_solvers::{Difference, Lambda};

use crate::align::Aligned;
use crate::input::{Input, Real};
use crate::kernel_basis::{BasisRecipe, shape_name};
use crate::notice::{Level, Notice, Verdict};
use crate::report::{
    Background, KernelReport, OffsetReport, Pixels, Regularisation, Report, Residuals, SCHEMA,
    SolverReport, Variables, loss_name, reference_noise_name,
};
use crate::request::{Basis, SubtractRequest};
use crate::subtraction::Clock;
use crate::subtraction::pair::Pair;
use crate::verdict::{Evidence, judge};

/// A finished subtraction, with how it was done.
pub(super) struct Done<'a, T: Real> {
    pub(super) request: &'a SubtractRequest,
    pub(super) aligned: &'a Aligned,
    pub(super) pair: &'a Pair<'a, T>,
    pub(super) basis: BasisRecipe,
    pub(super) difference: &'a Difference<T>,
    /// See [`dia_solvers::Prepared::own_photon`].
    pub(super) own_photon: f64,
    /// What multiplied.
    pub(super) backend: String,
    pub(super) on_device: bool,
}

impl<T: Real> Done<'_, T> {
    /// Judges the result, and says what was done and found; `clock` stops.
    pub(super) fn report(&self, [reference, target]: [&Input<T>; 2], clock: Clock) -> Report {
        let Self { request, aligned, pair, basis, difference, .. } = self;
        let (extent, options) = (basis.extent, &pair.options);
        // With what was interpolated, where the target is convolved.
        let of_target =
            if pair.convolves_target { &pair.convolved.notices } else { &target.notices };
        let mut notices = [&reference.notices[..], of_target].concat();
        notices.extend(pair.why.clone());
        if self.own_photon > 0.0 {
            let text = format!(
                "{}: its plane of variances follows the noise of the very pixels, by {:.3} per ADU; the model was taken in their place, for weights of a pixel's own noise make backgrounds too low",
                pair.fitted_to.taken.image, self.own_photon
            );
            notices.push(Notice::new(Level::Pass, "own-photons", text));
        }
        let masks = [reference.unusable(), target.unusable()];
        notices.extend(judge(&Evidence {
            difference,
            images: [(&reference.image, &masks[0]), (&target.image, &masks[1])],
            stars: &aligned.stars,
            seeing: pair.seeing.map(|s| [s.reference_fwhm, s.target_fwhm]),
            convolved_noise: pair.convolved_noise(&difference.kernel),
        }));
        let scales = difference.design.kernels(&difference.parameters);
        Report {
            verdict: Verdict::of(&notices),
            notices,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: String::new(),
            output: String::new(),
            photometric_scale: difference.photometric_scale.into(),
            background: Background {
                degree: difference.design.background().map_or(0, Polynomial2d::degree),
                coefficients: difference.background.iter().map(|b| (*b).into()).collect(),
                reference_sky: difference.reference_sky,
            },
            offset: OffsetReport {
                turned: aligned.turn.map(|turn| turn.code),
                dx: aligned.shift.dx,
                dy: aligned.shift.dy,
            },
            alignment: aligned.report.clone(),
            seeing: pair.seeing,
            half_width: extent.half_width,
            half_width_by: request.half_width.to_string(),
            kernel: KernelReport {
                basis: request.basis.name().into(),
                shape: shape_name(request.kernel_shape).into(),
                coefficients: difference.design.kernel_ncols(),
                core: (request.basis == Basis::Mixed).then_some(extent.core),
                inner: extent.inner,
                degree: difference.design.kernel_degree(),
                scale_degree: difference.design.scale_degree(),
                variation_test: difference.variation_test.map(Into::into),
                scale_coefficients: scales.iter().map(Kernel::photometric_scale).collect(),
                centroid: pair.moved(difference.kernel.centroid()),
                convolves: if pair.convolves_target { "target" } else { "reference" },
            },
            loss: loss_name(options).into(),
            reference_noise: reference_noise_name(options.reference_noise).into(),
            regularisation: Regularisation {
                lambda: difference.lambda,
                lambda_variation: difference.lambda_variation,
                noise_correction: difference.noise_correction,
                chosen: options.lambda == Lambda::Auto,
            },
            noise_scale: difference.noise_scale,
            variables: difference.variables.as_ref().map(|v| Variables::of(v, extent.inner)),
            solver: SolverReport {
                name: options.solver.name(),
                preconditioner: difference.outcome.preconditioning.name(),
                stop: difference.outcome.stop.name(),
                passes: difference.outcome.passes,
                iterations: difference.outcome.iterations,
                products: difference.outcome.products,
                optimality: difference.outcome.optimality,
                tolerance: options.tolerance,
            },
            residuals: Residuals {
                mfb: difference.residuals.mfb,
                mfv: difference.residuals.mfv,
                robust_std: difference.residuals.robust_std,
                chi2_dof: difference.residuals.chi2_dof,
                outliers: difference.residuals.outliers,
            },
            photometry: None,
            pixels: Pixels {
                used: difference.residuals.used,
                masked: difference.mask.planes().len() - difference.residuals.used,
                planes: MaskPlanes::all()
                    .iter_names()
                    .map(|(name, plane)| (name.to_lowercase(), difference.mask.count(plane)))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
            },
            timings_s: clock.stop(),
            backend: self.backend.clone(),
            traffic: self.on_device.then(|| difference.outcome.traffic.into()),
            precision: T::PRECISION.name().into(),
            threads: rayon::current_num_threads(),
            reference: reference.taken.clone(),
            target: target.taken.clone(),
        }
    }
}
