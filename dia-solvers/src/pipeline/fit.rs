//! The robust fit: iteratively reweighted least squares around a linear solver.
//!
//! Weights follow the noise model on the current model M: w = ψ(z)/z / σ²(M), z = (I − M)/σ. The fit starts from that of a sample of the
//! pixels, whose Gram matrix P ≈ H = AᵀWA is also the preconditioner. Each pass takes the gradient g = Aᵀw(I − M), weights included, and
//! moves by P⁻¹ g, accelerated: one reweighting per step. Where an inner solver is asked for, it solves H δ = g instead.
//!
//! The fit ends when the optimality √(gᵀP⁻¹g) of the *current* weights falls below the tolerance: then the parameters are
//! within that many σ of the minimum. It never ends because "the loss stopped changing".

use std::fmt;
use std::sync::Arc;

use dia_core::{Design, DesignMatrix, Kernel, Loss, MaskPlanes, Noise, Photon, Pixel, Traffic};
use faer::Mat;

use crate::design::background_test::background_degree;
use crate::design::nested_kernels::compare_kernels;
use crate::design::variation_test::{VariationTest, variation_test};
use crate::exclude::exclusion::{Exclusion, Rules};
use crate::pipeline::units::scaled;
use crate::pipeline::uploaded::Sampled;
use crate::precondition::sample::{Factor, Sample};
use crate::regularise::lambda::Search;
use crate::regularise::nearest_kernel::NearestKernel;
use crate::regularise::penalty::{Penalty, PenaltyMaps, Strength};
use crate::regularise::seeing_shape::ReferenceStars;
use crate::robust::descent::{DescentOptions, RobustProblem, descend};
use crate::robust::method::{Method, Preconditioning};
use crate::robust::problem::{Problem, explain, with_workspace};
use crate::robust::sample_fit::{Start, fit_sample};
use crate::uncertainty::estimates::{Estimate, Estimates};
use crate::{
    DesignRows, FitOptions, Lambda, NestedKernel, NormalWorkspace, Prepared, ReferenceNoise,
    StopReason, SubtractError, Uploaded, VariableSources, Variation,
};

/// What a pass of the fit reports while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Number of passes done.
    pub pass: usize,
    /// Distance from the minimum in σ, before this pass's correction.
    pub optimality: f64,
}

/// How a fit ended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct FitOutcome {
    /// Why it ended.
    pub stop: StopReason,
    /// Number of reweightings.
    pub passes: usize,
    /// Iterations of the linear solver, all passes together.
    pub iterations: usize,
    /// Products with A or Aᵀ, all included; AᵀWA counts as two.
    pub products: usize,
    /// Distance from the minimum in σ.
    pub optimality: f64,
    /// What the preconditioner was made of in the end.
    pub preconditioning: Preconditioning,
    /// What crossed between host and device.
    pub traffic: Traffic,
}

/// A fitted kernel and background, with the data vectors that the difference is made of.
pub struct Fit<A: DesignMatrix> {
    /// x: the kernel's coefficients in target ADU per reference ADU, then those of the background in ADU.
    pub parameters: Vec<f64>,
    /// The model that was fitted: that of the operator, or the same with a constant kernel.
    pub design: Design,
    /// How the kernel's variation compares with noise, if that was tested.
    pub variation_test: Option<VariationTest>,
    /// K.
    pub kernel: Kernel,
    /// P = ΣK.
    pub photometric_scale: Estimate,
    /// The background's coefficients in ADU, in the order of [`dia_core::Polynomial2d`].
    pub background: Vec<Estimate>,
    /// The covariance of the parameters, if it was asked for.
    pub covariance: Option<Mat<f64>>,
    /// All half-widths up to that of the kernel, if they were to be compared.
    pub nested_kernels: Option<Vec<NestedKernel>>,
    /// The strength of the regularisation; that of the mean kernel, where it varies.
    pub lambda: f64,
    /// The strength of the regularisation of the deviations from the mean kernel.
    pub lambda_variation: Option<f64>,
    /// The share of the bias of the reference's noise that was taken out: 1, unless the noise is less than is said of it; 0 without correction.
    pub noise_correction: f64,
    /// The variable sources that were found, if they were looked for.
    pub variables: Option<VariableSources>,
    /// By what the target's variances were multiplied.
    pub noise_scale: f64,
    /// How the fit ended.
    pub outcome: FitOutcome,
    /// How many unknowns the fit has in effect, tr (J + Q)⁻¹J: fewer than it has parameters, where they are regularised.
    pub effective_unknowns: f64,
    pub(crate) loss: Loss,
    /// Valid pixels that were left out, with the fixed part of their variance.
    pub(crate) excluded: Vec<(usize, A::Pixel, MaskPlanes)>,
    /// Var (A x) in ADU², if it was asked for.
    pub(crate) model_variance: Option<A::Data>,
    pub(crate) noise: Noise<A::Data>,
    pub(crate) model: A::Data,
}

/// How often λ is raised tenfold.
const MAX_RAISES: usize = 2;

/// Fits kernel and background of a prepared pair.
///
/// `a` is the design matrix of `prepared.reference()`. `reference_variance`, where given, is the design matrix of
/// `prepared.reference_variance()` for [`Design::of_variance`](dia_core::Design::of_variance); it carries σ_R² into the model as K² ⊗ σ_R², gives the
/// bias that its noise leaves, and λ its unit. `observe` is called once per pass.
///
/// The data of `prepared` move to the operator, which is free on the CPU; what remains serves [`crate::difference`].
///
/// # Uncertainties
/// σ of a linear functional c·x is the root of cᵀ J⁻¹ S J⁻¹ c (Huber 1967, Proc. 5th Berkeley Symp. 1, 221), J = Σ ψ′(z)/σ² a aᵀ + Q being the Hessian and
/// S = Σ ψ(z)²/σ² a aᵀ the covariance of the gradient: where residuals are larger than the noise says, so is σ. Where the reference's noise is known, S has its
/// correlation from pixel to pixel as well; the covariance of all parameters, and Var (A x), have not.
///
/// # Errors
/// [`SubtractError`] if the options make no sense, the normal matrix is singular, numbers overflow, or a product fails.
pub fn fit<A: DesignMatrix>(
    prepared: &mut Prepared<'_, A::Pixel>,
    a: &A,
    reference_variance: Option<&A>,
    options: &FitOptions,
    observe: &mut dyn FnMut(Progress),
) -> Result<Fit<A>, SubtractError> {
    options.validate()?;
    let before = a.traffic();
    let uploaded = Uploaded::new(prepared, a, options)?;
    let mut fit = fit_uploaded(prepared, uploaded, a, reference_variance, options, observe)?;
    fit.outcome.traffic = a.traffic().since(before);
    Ok(fit)
}

/// As [`fit`], of a pair whose target has been [`Uploaded`] for the same operator with the same options.
///
/// # Errors
/// As [`fit`].
pub fn fit_uploaded<A: DesignMatrix>(
    prepared: &Prepared<'_, A::Pixel>,
    uploaded: Uploaded<A>,
    a: &A,
    reference_variance: Option<&A>,
    options: &FitOptions,
    observe: &mut dyn FnMut(Progress),
) -> Result<Fit<A>, SubtractError> {
    options.validate()?;
    let before = a.traffic();
    let FitOptions { loss, solver, tolerance, max_passes, .. } = *options;
    if options.reference_noise != ReferenceNoise::Ignore && reference_variance.is_none() {
        return Err(SubtractError::NoReferenceVariance);
    }
    let Uploaded { sampled, mut ample, data, fixed, photon } = uploaded;
    let Sampled { draw: sample, target: sampled } = sampled;
    // What images are tested for has operators of its own.
    let simplest = options.simplest(a.design());
    let may_vary = simplest.variation() != a.design().variation();
    let of_constant = |v: &A| v.with_degrees_of(v.design().constant());
    let constant_variance = reference_variance.filter(|_| may_vary).map(of_constant).transpose()?;
    let reduced = (simplest != *a.design()).then(|| a.with_degrees_of(simplest)).transpose()?;
    let first = reduced.as_ref().unwrap_or(a);
    let first_variance = constant_variance.as_ref().or(reference_variance);
    let design = first.design();
    let weighted = options.reference_noise != ReferenceNoise::Ignore;
    let mut variance = with_workspace(first_variance)?;
    let mut reference = match first_variance {
        Some(v) if weighted => Some(v.zeros()?),
        _ => None,
    };
    let mut products = 0;
    // Losses with several minima start from the one that has a single one.
    let safe = if loss.redescends() { FitOptions::LOSS } else { loss };
    let mut carried = |kernel: &Kernel| {
        let (Some((v, workspace)), Some(reference)) = (&mut variance, &mut reference) else {
            return Ok(None);
        };
        products += 1;
        let mut squares = vec![0.0; v.ncols()];
        let inner = kernel.within(design.inner_half_width()).squared();
        squares[..inner.pixels().len()].copy_from_slice(inner.pixels());
        v.apply(&squares, reference, workspace)?;
        let mut values = vec![0.0; sample.rows().len()];
        v.gather(reference, sample.rows(), &mut values)?;
        Ok(Some(values.into_iter().map(A::Pixel::narrow).collect()))
    };
    let of_one_kernel = design.constant();
    let rows = DesignRows::new(&of_one_kernel, prepared.reference()).with_rings(a.ring_images());
    let Start { x: start, rows, data: sampled_data } =
        fit_sample(&rows, &sample, sampled, safe, &mut carried)?;
    let mut x = of_constant_kernel(design, &start);

    let correct = options.reference_noise == ReferenceNoise::Correct && variance.is_some();
    let lambda = match options.lambda {
        Lambda::Fixed(lambda) => lambda,
        Lambda::Auto => 1.0,
    };
    let fixed_weights =
        loss == Loss::Gaussian && reference.is_none() && matches!(photon, Photon::Uniform(0.0));
    let Method { preconditioning, can_fall_back, inner } =
        Method::new(first, solver, fixed_weights)?;
    // Without correction and regularisation there is no kernel that the fit is drawn to.
    let seeing = || options.reference_seeing.or_else(|| prepared.reference_seeing());
    let seeing = if correct || lambda > 0.0 { seeing() } else { None };
    let widened = seeing.and_then(|_| options.target_seeing.or_else(|| prepared.target_seeing()));
    let reference_stars = ReferenceStars::new(seeing.as_ref(), widened.as_ref());
    let mut problem = Problem {
        a: first,
        reference: Arc::clone(prepared.shared_reference()),
        sample: Sample { draw: &sample, rows, data: sampled_data },
        preconditioning,
        can_fall_back,
        data,
        noise: Noise { fixed, photon, reference },
        loss: safe,
        variance,
        share: if correct { 1.0 } else { 0.0 },
        // Where the search starts, or the end of it.
        strengths: [Strength { lambda, radius: 2.0 }; 2],
        raises: if options.lambda == Lambda::Auto { MAX_RAISES } else { 0 },
        effective_unknowns: x.len() as f64,
        penalty: None,
        penalty_maps: Arc::new(PenaltyMaps::new(design.basis())),
        nearest: Arc::new(NearestKernel::new(design.basis(), reference_stars)?),
        reference_stars,
        free: None,
        scatter: prepared.reference_scatter().powi(2),
        reference_photon: prepared.reference_photon(),
        moved: f64::INFINITY,
        renewals: 0,
        weights: first.zeros()?,
        memory: NormalWorkspace::new(first)?,
        inner,
        tolerance,
        iterations: 0,
        products,
    };
    let rules = Rules {
        variables: options.variable_sources,
        clipping: options.clipping,
        noise_scale: options.noise_scale,
        fwhm: options.target_fwhm,
    };
    let mut exclusion = Exclusion::new(rules, prepared);
    let explained = |error| explain(error, correct);
    let mut searches = (options.lambda == Lambda::Auto).then(|| [Search::new(), Search::new()]);
    let mut report = |pass: usize, optimality| observe(Progress { pass, optimality });
    let mut steps = 0;
    // Of the kernel and weights where it was made; a round that changes the problem lets it go.
    let mut p: Option<Factor> = None;
    let mut run = |problem: &mut Problem<'_, A>, p: Option<Factor>, x: &mut [f64], tolerance| {
        // Noise and penalty are renewed by the tolerance of the steps that led here.
        let mut p = match p {
            Some(p) => p,
            None => problem.factor(x).map_err(explained)?,
        };
        problem.tolerance = tolerance;
        let options = DescentOptions {
            tolerance,
            max_steps: max_passes.saturating_sub(steps),
            rounding: <A::Pixel as num_traits::Float>::epsilon().widen(),
        };
        let done = descend(problem, &mut p, x, options, &mut |pass, optimality| {
            report(steps + pass, optimality);
        });
        let done = done.map_err(explained)?;
        steps += done.steps;
        Ok::<_, SubtractError>((done, p))
    };
    // Near enough for the residuals to be those of the noise: a tenth of what the unknowns cost.
    let rough = |problem: &Problem<'_, A>| (0.1 * (problem.a.ncols() as f64).sqrt()).max(tolerance);
    // Sources that changed are left out before it is asked whether the kernel varies: they would count as its variation.
    let mut near = problem.settle(&mut x, searches.as_mut()).map_err(explained)?;
    let varying = if may_vary {
        let varying = a.design().clone();
        let varying = match design.background() {
            Some(background) => varying.with_background(background.degree()),
            None => varying,
        };
        Some(a.with_degrees_of(varying)?)
    } else {
        None
    };
    let mut test = None;
    loop {
        if problem.loss != loss {
            let tolerance = rough(&problem);
            p = Some(run(&mut problem, p, &mut x, tolerance)?.1);
            (problem.loss, near) = (loss, false);
        }
        if !near && exclusion.pending() {
            let tolerance = rough(&problem);
            p = Some(run(&mut problem, p, &mut x, tolerance)?.1);
        }
        let mut changed = exclusion.pending() && exclusion.update(&mut problem, prepared, &x)?;
        if changed {
            problem.moved = f64::INFINITY;
            near = problem.settle(&mut x, searches.as_mut()).map_err(explained)?;
        }
        // What would still have to be left out, a satellite's trail, would count as sky.
        let complete = exclusion.variables.as_ref().is_none_or(|found| found.left_out == 0);
        let ample = ample.take().filter(|_| complete);
        if let (Some(ample), Some(background)) = (ample, a.design().background()) {
            let degree =
                background_degree(&mut problem, background.degree(), &x).map_err(explained)?;
            if design.background().is_some_and(|simplest| degree > simplest.degree()) {
                // Whatever was found so far was drawn to what the background lacked.
                exclusion.undo(&mut problem)?;
                let a = a.with_degrees_of(a.design().clone().with_background(degree))?;
                let Problem { data, noise: Noise { fixed, photon, .. }, products, .. } = problem;
                let uploaded = Uploaded { sampled: ample, ample: None, data, fixed, photon };
                let options = FitOptions { least_background: None, ..*options };
                let mut fit =
                    fit_uploaded(prepared, uploaded, &a, reference_variance, &options, observe)?;
                fit.outcome.products += products;
                return Ok(fit);
            }
        }
        if let (Some(varying), None) = (&varying, &test) {
            let image = prepared.shared_reference_variance().map(AsRef::as_ref);
            let variance = reference_variance.zip(image);
            let tested = match options.variation {
                Variation::Tested => {
                    variation_test(&mut problem, varying, variance, &x).map_err(explained)?
                }
                Variation::AsDesigned => None,
            };
            if tested.as_ref().is_none_or(VariationTest::varies) {
                x = of_constant_kernel(varying.design(), &x);
                let method = Method::new(varying, solver, fixed_weights)?;
                problem = problem.with_operator(varying, reference_variance, method)?;
                near = problem.settle(&mut x, searches.as_mut()).map_err(explained)?;
                changed = true;
            }
            test = Some(tested);
        }
        if !changed {
            break;
        }
        p = None;
    }
    if correct {
        problem.correct_data(&x)?;
    }
    let settled = x.clone();
    let (mut descended, mut p) = run(&mut problem, p, &mut x, tolerance)?;
    while problem.has_run_away(&x, &settled) && problem.give_way() {
        x.clone_from(&settled);
        problem.moved = f64::INFINITY;
        (descended, p) = run(&mut problem, None, &mut x, tolerance)?;
    }
    let (a, design) = (problem.a, problem.a.design());
    let varies = design.variation().len() > 1;

    // The noise at the solution; and when the weights have served, the model in their place, also where the target is masked.
    problem.renewals = 0;
    problem.update(&x)?;
    let strengths = problem.penalty.as_ref().map(Penalty::strengths);
    let [lambda, lambda_variation] = strengths.map_or([0.0; 2], |both| both.map(|s| s.lambda));
    let nested = if options.nested_kernels {
        Some(compare_kernels(&mut problem, &x, prepared.used_pixels() - exclusion.pixels.len())?)
    } else {
        None
    };
    let variance_image = prepared.shared_reference_variance().map(AsRef::as_ref);
    let Estimates { photometric_scale, background, covariance, model_variance } =
        Estimates::of(&mut problem, &p, variance_image, &x, options)?;
    let Problem {
        noise,
        mut weights,
        mut memory,
        iterations,
        mut products,
        preconditioning,
        share,
        effective_unknowns,
        ..
    } = problem;
    a.apply(&x, &mut weights, &mut memory.operator)?;
    products += 1;
    // Back to ADU.
    let units = prepared.units();
    units.scale_parameters(design, &mut x);
    let covariance = covariance.map(|mut covariance| {
        units.scale_covariance(design, &mut covariance);
        covariance
    });
    let variables = exclusion.variables.map(|mut variables| {
        for source in &mut variables.sources {
            source.change *= units.target;
            source.flux *= units.target;
        }
        variables
    });
    Ok(Fit {
        design: design.clone(),
        variation_test: test.flatten(),
        kernel: design.kernel(&x),
        model: weights,
        parameters: x,
        photometric_scale: scaled(photometric_scale, units.kernel()),
        background: background.into_iter().map(|b| scaled(b, units.target)).collect(),
        covariance,
        nested_kernels: nested,
        lambda,
        lambda_variation: varies.then_some(lambda_variation),
        noise_correction: share,
        effective_unknowns,
        variables,
        noise_scale: exclusion.noise_scale,
        loss,
        excluded: exclusion.pixels,
        model_variance,
        outcome: FitOutcome {
            stop: descended.stop,
            passes: steps,
            iterations: steps + iterations,
            products,
            optimality: descended.optimality,
            preconditioning,
            traffic: a.traffic().since(before),
        },
        noise,
    })
}

/// Parameters of a design from those of the same with a constant kernel.
fn of_constant_kernel(design: &Design, constant: &[f64]) -> Vec<f64> {
    let (kernel, background) = constant.split_at(design.basis().len());
    let mut x = vec![0.0; design.ncols()];
    x[..kernel.len()].copy_from_slice(kernel);
    x[design.kernel_ncols()..].copy_from_slice(background);
    x
}

impl<A: DesignMatrix> fmt::Debug for Fit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("photometric_scale", &self.photometric_scale)
            .field("background", &self.background)
            .field("lambda", &self.lambda)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
