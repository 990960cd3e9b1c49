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

use dia_core::{
    DataVector, DesignMatrix, Image, Kernel, Loss, ModelError, Noise, OperatorError, Photon, Pixel,
    Reweight,
};

use crate::cg::dot;
use crate::descent::{DescentOptions, RobustProblem, descend};
use crate::sample_fit::{Start, fit_sample};
use crate::weighted::WeightedWorkspace;
use crate::{
    CgOptions, CgWorkspace, Cholesky, DesignRows, GramPrecision, LsqrOptions, LsqrWorkspace,
    NormalOperator, NormalWorkspace, Preconditioner, Prepared, RowSample, StopReason,
    SubtractError, Weighted, cg, lsqr,
};

/// Which linear solver computes the corrections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Solver {
    /// Descent preconditioned by the Gram matrix of sampled rows, with conjugate directions: those of Anderson acceleration where
    /// weights change with every step, conjugate gradients where they are fixed.
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
            sample_per_unknown: 20,
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
    let mut variance =
        reference_variance.map(|a| Ok::<_, OperatorError>((a, a.workspace()?))).transpose()?;
    let mut reference = reference_variance.map(A::zeros).transpose()?;
    let sample = RowSample::draw(prepared, sample_per_unknown * n, seed);
    let mut products = 0;
    let Start { mut x, factor: mut p } = fit_sample(prepared, &sample, loss, &mut |kernel| {
        let (Some((a, workspace)), Some(reference)) = (&mut variance, &mut reference) else {
            return Ok(None);
        };
        products += 1;
        a.apply(kernel.squared().pixels(), reference, workspace)?;
        let mut values = vec![0.0; sample.rows().len()];
        a.gather(reference, sample.rows(), &mut values)?;
        Ok(Some(values.into_iter().map(A::Pixel::narrow).collect()))
    })?;

    let photon = match std::mem::replace(&mut prepared.photon, Photon::Uniform(0.0)) {
        Photon::Uniform(photon) => Photon::Uniform(photon),
        Photon::PerPixel(photon) => Photon::PerPixel(a.upload(photon)?),
    };
    let fixed_weights =
        loss == Loss::Gaussian && variance.is_none() && matches!(photon, Photon::Uniform(0.0));
    let mut problem = Problem {
        a,
        reference: Arc::clone(prepared.shared_reference()),
        sample: (solver != Solver::Cholesky).then_some(&sample),
        data: a.upload(std::mem::take(&mut prepared.data))?,
        noise: Noise { fixed: a.upload(std::mem::take(&mut prepared.fixed))?, photon, reference },
        loss,
        variance,
        moved: f64::INFINITY,
        weights: a.zeros()?,
        memory: NormalWorkspace::new(a)?,
        inner: match solver {
            Solver::Pcg if fixed_weights => Inner::Cg(Box::new(CgWorkspace::new(n))),
            Solver::Lsqr => Inner::Lsqr(Box::new(LsqrMemory::new(a)?)),
            Solver::Pcg | Solver::Cholesky => Inner::None,
        },
        tolerance,
        iterations: 0,
        products,
    };
    if solver == Solver::Cholesky {
        p = problem.factor(&x)?;
    }
    let options = DescentOptions {
        tolerance,
        max_steps: max_passes,
        rounding: <A::Pixel as num_traits::Float>::epsilon().widen(),
    };
    let descended = descend(&mut problem, &mut p, &mut x, options, &mut |pass, optimality| {
        observe(Progress { pass, optimality });
    })?;

    // The noise and the weights at the solution, whatever was kept on the way; and when they have served, the model in their place, also where the target is masked.
    problem.moved = f64::INFINITY;
    problem.update_noise(&x)?;
    problem.reweight(&x)?;
    let Problem { data, noise, mut weights, mut memory, iterations, mut products, .. } = problem;
    drop(data);
    let h = NormalOperator { operator: a, weights: &weights };
    let mut cg_workspace = CgWorkspace::new(n);
    let mut sigma = |c: &[f64]| -> Result<f64, SubtractError> {
        if solver == Solver::Cholesky {
            let mut y = vec![0.0; n];
            p.solve(c, &mut y);
            return Ok(dot(c, &y).sqrt());
        }
        let (variance, more) = functional_variance(&h, &p, c, &mut cg_workspace, &mut memory)?;
        products += more;
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
    a.apply(&x, &mut weights, &mut memory.operator)?;
    products += 1;
    Ok(Fit {
        kernel: design.kernel(&x),
        model: weights,
        parameters: x,
        photometric_scale,
        background,
        outcome: FitOutcome {
            stop: descended.stop,
            passes: descended.steps,
            iterations: descended.steps + iterations,
            products,
            optimality: descended.optimality,
        },
        noise,
    })
}

/// cᵀH⁻¹c, the variance of the linear functional c·x, and the products that it took.
///
/// After some steps of CG on H y = c with residual r, it is exactly cᵀy + rᵀH⁻¹r; with P in place of H in the small last term, few
/// steps give it to a percent.
fn functional_variance<A: DesignMatrix>(
    h: &NormalOperator<'_, A>,
    p: &Cholesky,
    c: &[f64],
    workspace: &mut CgWorkspace,
    memory: &mut NormalWorkspace<A>,
) -> Result<(f64, usize), SubtractError> {
    let mut y = vec![0.0; c.len()];
    let options = CgOptions { tolerance: 0.0, relative: 0.25, max_iterations: 50 };
    let outcome = cg(h, p, c, &mut y, &options, workspace, memory)?;
    Ok((dot(c, &y) + outcome.optimality.powi(2), outcome.products))
}

/// The fit of all pixels.
struct Problem<'a, A: DesignMatrix> {
    a: &'a A,
    reference: Arc<Image<A::Pixel>>,
    /// The rows whose Gram matrix is the preconditioner; all, where there is none.
    sample: Option<&'a RowSample>,
    data: A::Data,
    noise: Noise<A::Data>,
    loss: Loss,
    /// Where K² ⊗ σ_R² comes from.
    variance: Option<(&'a A, A::Workspace)>,
    /// How far the parameters have moved since it was computed, in σ.
    moved: f64,
    /// Before the first reweighting it has not been touched, and takes no memory.
    weights: A::Data,
    memory: NormalWorkspace<A>,
    inner: Inner<A>,
    tolerance: f64,
    /// Those of the inner solver.
    iterations: usize,
    products: usize,
}

/// What solves for a step, where that is not the preconditioner alone.
enum Inner<A: DesignMatrix> {
    None,
    Cg(Box<CgWorkspace>),
    Lsqr(Box<LsqrMemory<A>>),
}

/// √w; the residual I − M, and from it √w (I − M); and the workspace.
struct LsqrMemory<A: DesignMatrix> {
    sqrt_weights: A::Data,
    whitened: A::Data,
    workspace: LsqrWorkspace<A::Data, WeightedWorkspace<A>>,
}

impl<A: DesignMatrix> LsqrMemory<A> {
    fn new(a: &A) -> Result<Self, OperatorError> {
        let sqrt_weights = a.zeros()?;
        let workspace = LsqrWorkspace::new(&Weighted { inner: a, sqrt_weights: &sqrt_weights })?;
        Ok(Self { sqrt_weights, whitened: a.zeros()?, workspace })
    }
}

impl<A: DesignMatrix> Problem<'_, A> {
    /// The reference's part of the noise, for the kernel of `x`.
    ///
    /// It is kept while the parameters move by less than 100 tolerances in all. The noise of the reference is a small part of the weights and
    /// K moves within its own uncertainty: an old variance shifts the minimum by less than a hundredth of that movement.
    fn update_noise(&mut self, x: &[f64]) -> Result<(), OperatorError> {
        if self.moved < 100.0 * self.tolerance {
            return Ok(());
        }
        self.moved = 0.0;
        if let (Some((a, workspace)), Some(reference)) =
            (&mut self.variance, &mut self.noise.reference)
        {
            a.apply(self.a.design().kernel(x).squared().pixels(), reference, workspace)?;
            self.products += 1;
        }
        Ok(())
    }

    /// The weights at `x`.
    fn reweight(&mut self, x: &[f64]) -> Result<(), OperatorError> {
        self.a.apply(x, &mut self.weights, &mut self.memory.operator)?;
        self.products += 1;
        self.data.reweight(&self.noise, self.loss, &mut self.weights)
    }
}

impl<A: DesignMatrix> RobustProblem for Problem<'_, A> {
    /// Of the sampled rows, or for the direct solver of all.
    fn factor(&mut self, x: &[f64]) -> Result<Cholesky, SubtractError> {
        self.update_noise(x)?;
        self.reweight(x)?;
        let rows = DesignRows::new(self.a.design(), self.reference.view());
        let gather = |indices: &[usize]| -> Result<Vec<f64>, OperatorError> {
            let mut weights = vec![0.0; indices.len()];
            self.a.gather(&self.weights, indices, &mut weights)?;
            Ok(weights)
        };
        if let Some(sample) = self.sample {
            return Ok(sample.factor(&rows, &gather(sample.rows())?)?);
        }
        let weights = gather(&(0..self.a.nrows()).collect::<Vec<_>>())?;
        Ok(Cholesky::new(&rows.normal_matrix(&weights, GramPrecision::Double))?)
    }

    fn gradient(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), SubtractError> {
        self.products += 2;
        self.update_noise(x)?;
        let Self { a, data, noise, loss, weights, memory, inner, .. } = self;
        if matches!(inner, Inner::None) {
            return Ok(a.robust_gradient(x, data, noise, *loss, g, &mut memory.operator)?);
        }
        // Inner solvers need weights, and LSQR the residuals.
        a.apply(x, weights, &mut memory.operator)?;
        memory.data.axpby(1.0, data, 0.0)?;
        memory.data.axpby(-1.0, weights, 1.0)?;
        data.reweight(noise, *loss, weights)?;
        if let Inner::Lsqr(lsqr) = inner {
            lsqr.whitened.axpby(1.0, &memory.data, 0.0)?;
        }
        memory.data.multiply(weights)?;
        Ok(a.apply_adjoint(&memory.data, g, &mut memory.operator)?)
    }

    fn improve(
        &mut self,
        p: &Cholesky,
        g: &[f64],
        optimality: f64,
        delta: &mut [f64],
    ) -> Result<(), SubtractError> {
        self.moved += optimality;
        let outcome = match &mut self.inner {
            Inner::None => return Ok(()),
            Inner::Cg(workspace) => {
                let options = CgOptions {
                    tolerance: 0.3 * self.tolerance,
                    relative: 0.0,
                    max_iterations: 200,
                };
                let h = NormalOperator { operator: self.a, weights: &self.weights };
                cg(&h, p, g, delta, &options, workspace, &mut self.memory)?
            }
            Inner::Lsqr(memory) => {
                let LsqrMemory { sqrt_weights, whitened, workspace } = &mut **memory;
                sqrt_weights.square_root_of(&self.weights)?;
                whitened.multiply(sqrt_weights)?;
                let operator = Weighted { inner: self.a, sqrt_weights: &*sqrt_weights };
                // The weights of the next pass change what more accuracy would gain.
                let options = LsqrOptions {
                    tolerance: 0.3 * self.tolerance,
                    relative: 0.1,
                    ..Default::default()
                };
                lsqr(&operator, p, whitened, delta, &options, workspace)?
            }
        };
        self.iterations += outcome.iterations;
        self.products += outcome.products;
        Ok(())
    }
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
