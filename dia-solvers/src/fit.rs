//! The robust fit: iteratively reweighted least squares around a linear solver.
//!
//! Weights follow the noise model on the current model M: w = ψ(z)/z / σ²(M), z = (I − M)/σ. Each pass evaluates M, the
//! weights and the gradient g = Aᵀw(I − M), and solves H δ = g for a correction of the parameters. Because every pass starts
//! from the true residual, an inaccurate solve costs passes and not accuracy.
//!
//! The fit ends when the optimality √(gᵀP⁻¹g) of the *current* weights falls below the tolerance: then the parameters are
//! within that many σ of the minimum. It never ends because "the loss stopped changing".

use std::borrow::Cow;
use std::fmt;

use dia_core::{
    DataVector, DesignMatrix, Kernel, Loss, ModelError, Noise, Photon, Pixel, ResidualSums,
    Reweight,
};

use crate::anderson::Anderson;
use crate::cg::{axpy, dot};
use crate::gram::DesignRows;
use crate::weighted::WeightedWorkspace;
use crate::{
    CgOptions, CgWorkspace, Cholesky, LsqrOptions, LsqrWorkspace, NormalOperator, NormalWorkspace,
    Outcome, Preconditioner, Prepared, RowSample, StopReason, SubtractError, Weighted, cg, lsqr,
};

/// Which linear solver computes the corrections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Solver {
    /// Conjugate gradients on the normal equations, preconditioned by the Gram matrix of sampled rows.
    #[default]
    Pcg,
    /// LSQR, preconditioned from the right by the same.
    Lsqr,
    /// The whole normal matrix, factored. The classical way.
    Cholesky,
}

impl Solver {
    /// A short name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcg => "pcg",
            Self::Lsqr => "lsqr",
            Self::Cholesky => "cholesky",
        }
    }
}

/// How a pair is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// What is minimised.
    pub loss: Loss,
    /// The linear solver.
    pub solver: Solver,
    /// Distance from the minimum at which the fit ends, in σ.
    pub tolerance: f64,
    /// Most reweightings.
    pub max_passes: usize,
    /// Rows that the preconditioner samples, per unknown.
    pub sample_per_unknown: usize,
    /// Seed of that sample.
    pub seed: u64,
}

impl Default for FitOptions {
    /// Huber's loss, PCG, to within 0.01 σ.
    fn default() -> Self {
        Self {
            loss: Loss::HUBER,
            solver: Solver::Pcg,
            tolerance: 0.01,
            max_passes: 50,
            sample_per_unknown: 30,
            seed: 0,
        }
    }
}

/// What a pass of the fit reports while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Number of passes done.
    pub pass: usize,
    /// Distance from the minimum in σ, before this pass's correction.
    pub optimality: f64,
    /// Products with A or Aᵀ so far.
    pub products: usize,
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
}

/// A value and its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// σ, by H⁻¹ at the final weights.
    pub sigma: f64,
}

/// A fitted kernel and background, with the data vectors that the difference is made of.
pub struct Fit<A: DesignMatrix> {
    /// x: the kernel's coefficients, then those of the background.
    pub parameters: Vec<f64>,
    /// K.
    pub kernel: Kernel,
    /// P = ΣK.
    pub photometric_scale: Estimate,
    /// The background's coefficients in ADU, in the order of [`dia_core::Polynomial2d`].
    pub background: Vec<Estimate>,
    /// How the fit ended.
    pub outcome: FitOutcome,
    /// Sums over the pixels used, at the solution.
    pub sums: ResidualSums,
    pub(crate) noise: Noise<A::Data>,
    pub(crate) model: A::Data,
}

/// Fits kernel and background of a prepared pair.
///
/// `a` is the design matrix of `prepared.reference()`. `reference_variance`, where given, is the design matrix of
/// `prepared.reference_variance()` for a delta basis of the same half-width on the full square and no background; it carries
/// σ_R² into the model as K² ⊗ σ_R². `observe` is called once per pass.
///
/// The data of `prepared` move to the operator, which is free on the CPU; what remains serves [`crate::difference`].
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
    let FitOptions { loss, solver, tolerance, max_passes, sample_per_unknown, seed } = *options;
    loss.validate()?;
    if tolerance.is_nan() || tolerance <= 0.0 {
        let range = "a positive number of σ";
        return Err(ModelError::Noise { name: "tolerance", value: tolerance, range }.into());
    }
    let n = a.ncols();
    let sample = match solver {
        Solver::Pcg | Solver::Lsqr => Some(RowSample::draw(prepared, sample_per_unknown * n, seed)),
        Solver::Cholesky => None,
    };

    let upload_photon = match std::mem::replace(&mut prepared.photon, Photon::Uniform(0.0)) {
        Photon::Uniform(photon) => Photon::Uniform(photon),
        Photon::PerPixel(photon) => Photon::PerPixel(a.upload(photon)?),
    };
    let fixed = a.upload(std::mem::take(&mut prepared.fixed))?;
    let mut noise = Noise { fixed, photon: upload_photon, reference: None };
    let data = a.upload(std::mem::take(&mut prepared.data))?;

    // The first weights are those of the noise model on the data; the first residual is the data, for x = 0.
    let mut residual = a.upload(std::mem::take(&mut prepared.initial_model))?;
    let mut weights = a.zeros()?;
    let mut sums = data.reweight(&mut residual, &noise, Loss::Gaussian, &mut weights)?;
    residual.axpby(1.0, &data, 0.0)?;

    let fixed_weights = loss == Loss::Gaussian
        && reference_variance.is_none()
        && matches!(noise.photon, Photon::Uniform(0.0));
    let mut state = Linear::new(a, solver)?;
    let mut variance_workspace = reference_variance.map(A::workspace).transpose()?;
    let mut x = vec![0.0; n];
    let (mut g, mut z, mut correction) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let mut outcome = FitOutcome {
        stop: StopReason::Iterations,
        passes: 0,
        iterations: 0,
        products: 0,
        optimality: f64::INFINITY,
    };
    // The first weights, those of the data, differ from later ones, which change little. A direct solver needs the factor of
    // the later ones; an iterative one gains a few products by it, which on small images cost less than the factor.
    let factored_passes = match &sample {
        _ if fixed_weights => 1,
        Some(sample) if a.nrows() < 64 * sample.rows().len() => 1,
        _ => 2,
    };
    let mut preconditioner = None;
    // Products of this precision cannot follow the gradient further than a small multiple of its first value.
    let rounding = <A::Pixel as num_traits::Float>::epsilon().widen();
    let (mut first, mut stalled) = (None, 0);
    let mut anderson = Anderson::default();
    loop {
        // g = Aᵀ W (I − M)
        state.normal.data.axpby(1.0, &residual, 0.0)?;
        state.normal.data.multiply(&weights)?;
        a.apply_adjoint(&state.normal.data, &mut g, &mut state.normal.operator)?;
        outcome.products += 1;
        let p: &Cholesky = match preconditioner.take() {
            Some(p) if outcome.passes >= factored_passes => preconditioner.insert(p),
            _ => preconditioner.insert(factor(prepared, a, sample.as_ref(), &weights)?),
        };
        p.solve(&g, &mut z);
        let before = outcome.optimality;
        outcome.optimality = dot(&g, &z).max(0.0).sqrt();
        if !outcome.optimality.is_finite() {
            let iteration = outcome.passes;
            return Err(crate::SolveError::NonFinite { what: "the gradient", iteration }.into());
        }
        observe(Progress {
            pass: outcome.passes,
            optimality: outcome.optimality,
            products: outcome.products,
        });
        // The first gradient belongs to other weights than those of the loss.
        if (outcome.passes > 0 || outcome.optimality == 0.0) && outcome.optimality <= tolerance {
            outcome.stop = StopReason::Optimal;
            break;
        }
        stalled = if outcome.optimality > 0.7 * before { stalled + 1 } else { 0 };
        first.get_or_insert(outcome.optimality);
        let floor = 100.0 * rounding * first.unwrap_or(0.0);
        if stalled >= 3 && outcome.optimality <= floor {
            outcome.stop = StopReason::RoundingFloor;
            break;
        }
        if outcome.passes == max_passes {
            break;
        }

        let accuracy = Accuracy {
            tolerance: 0.3 * tolerance,
            // The first solve starts from nothing; the accuracy of later ones is worthless beyond what the next weights change.
            relative: match outcome.passes {
                _ if fixed_weights => 0.0,
                0 => 0.01,
                _ => 0.1,
            },
        };
        let solved = state.solve(a, p, &weights, &residual, &g, &mut correction, accuracy)?;
        outcome.iterations += solved.iterations;
        outcome.products += solved.products;
        // Across the change of weights in the first pass, or after a step that went astray, the past teaches nothing.
        if outcome.passes < 2 || outcome.optimality > before {
            anderson.restart();
        }
        anderson.accelerate(&x, &g, &mut correction);
        axpy(1.0, &correction, &mut x);
        outcome.passes += 1;

        a.apply(&x, &mut residual, &mut state.normal.operator)?;
        outcome.products += 1;
        if let (Some(variance), Some(workspace)) = (reference_variance, &mut variance_workspace) {
            let mut reference = match noise.reference.take() {
                Some(reference) => reference,
                None => variance.zeros()?,
            };
            let squared = a.design().kernel(&x).squared();
            variance.apply(squared.pixels(), &mut reference, workspace)?;
            noise.reference = Some(reference);
        }
        sums = data.reweight(&mut residual, &noise, loss, &mut weights)?;
    }

    // The model once more, also where the target is masked.
    a.apply(&x, &mut residual, &mut state.normal.operator)?;
    outcome.products += 1;
    let p = preconditioner.expect("at least one pass has factored it");
    let h = NormalOperator { operator: a, weights: &weights };
    let mut sigma = |c: &[f64]| -> Result<f64, SubtractError> {
        let (variance, products) = functional_variance(&h, &p, c, &mut state)?;
        outcome.products += products;
        Ok(variance.sqrt())
    };
    let design = a.design();
    let scale = design.photometric_scale_functional();
    let photometric_scale = Estimate { value: dot(&scale, &x), sigma: sigma(&scale)? };
    let first = design.basis().len();
    let mut background = Vec::with_capacity(n - first);
    for j in first..n {
        let mut c = vec![0.0; n];
        c[j] = 1.0;
        background.push(Estimate { value: x[j], sigma: sigma(&c)? });
    }
    Ok(Fit {
        kernel: design.kernel(&x),
        parameters: x,
        photometric_scale,
        background,
        outcome,
        sums,
        noise,
        model: residual,
    })
}

/// How accurately a correction is needed; see [`CgOptions`].
struct Accuracy {
    tolerance: f64,
    relative: f64,
}

/// The memory of the linear solvers, kept over all passes.
struct Linear<A: DesignMatrix> {
    solver: Solver,
    cg: CgWorkspace,
    normal: NormalWorkspace<A>,
    lsqr: Option<LsqrMemory<A>>,
}

/// √w, √w (I − M), and the workspace.
struct LsqrMemory<A: DesignMatrix> {
    sqrt_weights: A::Data,
    whitened: A::Data,
    workspace: LsqrWorkspace<A::Data, WeightedWorkspace<A>>,
}

impl<A: DesignMatrix> Linear<A> {
    fn new(a: &A, solver: Solver) -> Result<Self, SubtractError> {
        let lsqr = if solver == Solver::Lsqr {
            let sqrt_weights = a.zeros()?;
            let workspace =
                LsqrWorkspace::new(&Weighted { inner: a, sqrt_weights: &sqrt_weights })?;
            Some(LsqrMemory { sqrt_weights, whitened: a.zeros()?, workspace })
        } else {
            None
        };
        let (cg, normal) = (CgWorkspace::new(a.ncols()), NormalWorkspace::new(a)?);
        Ok(Self { solver, cg, normal, lsqr })
    }

    /// δ with AᵀWA δ ≈ g = AᵀW r.
    #[expect(clippy::too_many_arguments, reason = "the parts of one linear system")]
    fn solve(
        &mut self,
        a: &A,
        p: &Cholesky,
        weights: &A::Data,
        residual: &A::Data,
        g: &[f64],
        correction: &mut [f64],
        Accuracy { tolerance, relative }: Accuracy,
    ) -> Result<Outcome, SubtractError> {
        if let Some(LsqrMemory { sqrt_weights, whitened, workspace }) = &mut self.lsqr {
            sqrt_weights.square_root_of(weights)?;
            whitened.axpby(1.0, residual, 0.0)?;
            whitened.multiply(sqrt_weights)?;
            let operator = Weighted { inner: a, sqrt_weights: &*sqrt_weights };
            let options = LsqrOptions { tolerance, relative, ..Default::default() };
            return Ok(lsqr(&operator, p, whitened, correction, &options, workspace)?);
        }
        if self.solver == Solver::Cholesky {
            p.solve(g, correction);
            let optimality = dot(g, correction).max(0.0).sqrt();
            return Ok(Outcome {
                stop: StopReason::Optimal,
                iterations: 1,
                products: 0,
                optimality,
            });
        }
        let options = CgOptions { tolerance, relative, max_iterations: 200 };
        let h = NormalOperator { operator: a, weights };
        Ok(cg(&h, p, g, correction, &options, &mut self.cg, &mut self.normal)?)
    }
}

/// P ≈ H: of the sampled rows, or of all rows.
fn factor<A: DesignMatrix>(
    prepared: &Prepared<'_, A::Pixel>,
    a: &A,
    sample: Option<&RowSample>,
    weights: &A::Data,
) -> Result<Cholesky, SubtractError> {
    let rows = DesignRows::new(prepared.design(), prepared.reference());
    let indices = match sample {
        Some(sample) => Cow::Borrowed(sample.rows()),
        None => Cow::Owned((0..a.nrows()).collect()),
    };
    let mut values = vec![0.0; indices.len()];
    a.gather(weights, &indices, &mut values)?;
    Ok(match sample {
        Some(sample) => sample.factor(&rows, &values)?,
        None => Cholesky::new(&rows.normal_matrix(&values))?,
    })
}

/// cᵀH⁻¹c, the variance of the linear functional c·x, and the products that it took.
///
/// One solve H y = c; the error of c·y is quadratic in that of y, so a few iterations give it to a percent.
fn functional_variance<A: DesignMatrix>(
    h: &NormalOperator<'_, A>,
    p: &Cholesky,
    c: &[f64],
    memory: &mut Linear<A>,
) -> Result<(f64, usize), SubtractError> {
    let mut y = vec![0.0; c.len()];
    if memory.solver == Solver::Cholesky {
        p.solve(c, &mut y);
        return Ok((dot(c, &y), 0));
    }
    let options = CgOptions { tolerance: 0.0, relative: 0.1, max_iterations: 50 };
    let outcome = cg(h, p, c, &mut y, &options, &mut memory.cg, &mut memory.normal)?;
    Ok((dot(c, &y), outcome.products))
}

impl<A: DesignMatrix> fmt::Debug for Fit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("photometric_scale", &self.photometric_scale)
            .field("background", &self.background)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
