//! The process of a case: the method runs, is timed, and its parameters are handed back. It knows nothing of the minimum.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use dia_core::{DataVector, Design, DesignMatrix, ImageView, Loss, OperatorError, Pixel};
use dia_fft::{FftDesignMatrix, FftPixel, autocorrelation};
use dia_solvers::{
    CgOptions, CgWorkspace, Cholesky, DesignRows, FitOptions, GramPrecision, Identity, Jacobi,
    LsqrOptions, LsqrWorkspace, NormalOperator, NormalWorkspace, Preconditioner, Prepared,
    ReferenceNoise, RowSample, Solver, StopReason, Weighted, WeightedWorkspace,
    autocorrelation_gram, cg, fit, lsqr,
};
use dia_vulkan::VulkanDesignMatrix;

use super::backend::{self, Backend};
use super::case::{Case, Run};
use super::first_order::adam_then_lbfgs;
use super::least_squares::LeastSquares;
use super::memory;
use super::method::Method;
use super::planes::Planes;

/// Rows that the preconditioner samples, per unknown.
const SAMPLE_PER_UNKNOWN: usize = 30;
/// Most iterations: enough for every method that has a good preconditioner.
const MAX_ITERATIONS: usize = 500;
/// Most reweightings.
const MAX_PASSES: usize = 60;
/// Where √(gᵀP⁻¹g) has no unit of σ, the fraction of its first value at which the method ends.
const RELATIVE_TOLERANCE: f64 = 1e-7;
/// Seconds above which a run is not repeated.
const REPEATABLE: f64 = 2.0;

/// How a method ended.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    pub(crate) x: Vec<f64>,
    pub(crate) stop: String,
    pub(crate) converged: bool,
    pub(crate) iterations: usize,
    pub(crate) passes: usize,
    pub(crate) products: usize,
    /// The way to the minimum, where the method tells it: (seconds of the solve, iterations, parameters).
    pub(crate) curve: Vec<(f64, usize, Vec<f64>)>,
}

impl Solution {
    /// The parameters in ADU.
    fn scale<T: Pixel>(&mut self, prepared: &Prepared<'_, T>) {
        let curve = self.curve.iter_mut().map(|(_, _, x)| x);
        for x in curve.chain([&mut self.x]) {
            prepared.units().scale_parameters(prepared.design(), x);
        }
    }
}

/// Runs a case on the planes in `folder`. A further back end is a further line here.
pub(crate) fn run(case: &Case, folder: &Path) -> Result<Run> {
    match &case.backend {
        Backend::Cpu if case.method.double() => on_cpu::<f64>(case, folder),
        Backend::Cpu => on_cpu::<f32>(case, folder),
        Backend::Vulkan(name) => on_device(case, folder, name),
    }
}

fn on_cpu<T: FftPixel>(case: &Case, folder: &Path) -> Result<Run> {
    let planes = Planes::<T>::read(folder, case.side)?;
    let make = |reference: ImageView<'_, T>, design| FftDesignMatrix::new(reference, design);
    measure(case, &planes, &make, &|problem: &LeastSquares<FftDesignMatrix<T>>, diagonal| {
        let limit = Duration::from_secs_f64(case.baseline_limit);
        adam_then_lbfgs(problem, case.loss.loss(), diagonal, limit)
    })
}

fn on_device(case: &Case, folder: &Path, name: &str) -> Result<Run> {
    let context = backend::open(name)?;
    let planes = Planes::<f32>::read(folder, case.side)?;
    let make = |reference: ImageView<'_, f32>, design| {
        VulkanDesignMatrix::new(&context, reference, design)
    };
    let baseline = |_: &LeastSquares<VulkanDesignMatrix>, _: &[f64]| {
        bail!("the first-order baseline needs its data on the host")
    };
    measure(case, &planes, &make, &baseline)
}

/// Makes the operator of a design.
type MakeOperator<'a, A> =
    &'a dyn Fn(ImageView<'_, <A as DesignMatrix>::Pixel>, Design) -> Result<A, OperatorError>;

/// The first-order baseline, given the diagonal of H.
type Baseline<'a, A> = &'a dyn Fn(&LeastSquares<A>, &[f64]) -> Result<Solution>;

/// Seconds of plan, set-up and solve.
type Seconds = [f64; 3];

fn measure<A: DesignMatrix<Pixel: FftPixel>>(
    case: &Case,
    planes: &Planes<A::Pixel>,
    make: MakeOperator<'_, A>,
    baseline: Baseline<'_, A>,
) -> Result<Run> {
    let once = |max_iterations: usize| once(case, planes, make, baseline, max_iterations);
    let base_bytes = memory::restart_peak();
    if case.backend.is_device() {
        // The driver compiles a shader when it is first used: once for all images of a night.
        let _ = once(1)?;
    }
    let (solution, seconds) = once(MAX_ITERATIONS)?;
    let peak_bytes = memory::peak();
    let mut all = vec![seconds];
    while all.len() < case.repeats
        && seconds.iter().sum::<f64>() < REPEATABLE
        && solution.curve.is_empty()
    {
        all.push(once(MAX_ITERATIONS)?.1);
    }
    let [plan_s, setup_s, solve_s] = medians(&all);
    let before = plan_s + setup_s;
    let mut curve = Vec::new();
    if case.curve && solution.curve.is_empty() {
        // A point of the curve is a run that was stopped there.
        let (mut budget, mut next) = (1, 2);
        while budget < solution.iterations {
            let mut stopped = once(budget)?;
            let mut times = vec![stopped.1];
            while times.len() < all.len() {
                stopped = once(budget)?;
                times.push(stopped.1);
            }
            let [_, _, seconds] = medians(&times);
            curve.push((before + seconds, stopped.0.iterations, stopped.0.x));
            (budget, next) = (next, budget + next);
        }
    } else if case.curve {
        let points = solution.curve.into_iter();
        curve.extend(points.map(|(seconds, iterations, x)| (before + seconds, iterations, x)));
    }
    if case.curve {
        curve.push((before + solve_s, solution.iterations, solution.x.clone()));
    }
    let prepared = planes.prepare(case.half_width, case.degree)?;
    let design = prepared.design();
    let scale = design.photometric_scale_functional();
    Ok(Run {
        pixels: prepared.used_pixels(),
        unknowns: design.ncols(),
        precision: if case.method.double() { "f64" } else { "f32" }.into(),
        stop: solution.stop,
        converged: solution.converged,
        plan_s,
        setup_s,
        solve_s,
        iterations: solution.iterations,
        passes: solution.passes,
        products: solution.products,
        base_bytes,
        peak_bytes,
        photometric_scale: dot(&scale, &solution.x),
        parameters: solution.x,
        curve,
    })
}

/// Of each of the three.
fn medians(all: &[Seconds]) -> Seconds {
    [0, 1, 2].map(|i| {
        let mut times: Vec<f64> = all.iter().map(|seconds| seconds[i]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// One run, from the prepared pair to the parameters.
fn once<A: DesignMatrix<Pixel: FftPixel>>(
    case: &Case,
    planes: &Planes<A::Pixel>,
    make: MakeOperator<'_, A>,
    baseline: Baseline<'_, A>,
    max_iterations: usize,
) -> Result<(Solution, Seconds)> {
    let mut prepared = planes.prepare(case.half_width, case.degree)?;
    let start = Instant::now();
    let a = make(prepared.reference(), prepared.design().clone())?;
    let plan_s = start.elapsed().as_secs_f64();
    if let Method::FitPcg | Method::FitCholesky = case.method {
        let start = Instant::now();
        let solution = library_fit(case, &mut prepared, &a, max_iterations)?;
        return Ok((solution, [plan_s, 0.0, start.elapsed().as_secs_f64()]));
    }
    let problem = LeastSquares::new(&prepared, a)?;
    let diagonal = || -> Result<Vec<f64>> {
        let squares = problem.reference.view().to_owned().map(|r| r * r);
        diagonal(&problem, &make(squares.view(), problem.design().of_variance())?)
    };
    let start = Instant::now();
    if case.method == Method::AdamLbfgs {
        let diagonal = diagonal()?;
        let setup_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut solution = baseline(&problem, &diagonal)?;
        solution.scale(&prepared);
        return Ok((solution, [plan_s, setup_s, start.elapsed().as_secs_f64()]));
    }
    let n = problem.a.ncols();
    let p: Box<dyn Preconditioner> = match case.method {
        Method::PcgNone => Box::new(Identity(n)),
        Method::PcgJacobi => Box::new(Jacobi::new(&diagonal()?)),
        Method::PcgFftGram => Box::new(uniform_gram(&problem)?),
        Method::PcgSampledGram | Method::Lsqr => Box::new(sampled_gram(&problem, &prepared)?),
        Method::CholeskyF32 => {
            Box::new(full_gram(&problem, &problem.weights, GramPrecision::Single)?)
        }
        _ => Box::new(full_gram(&problem, &problem.weights, GramPrecision::Double)?),
    };
    let setup_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let inner = match case.method {
        Method::Lsqr => Inner::Lsqr,
        Method::Cholesky | Method::CholeskyF32 => Inner::Factor,
        Method::CholeskyRebuilt => Inner::Rebuilt,
        _ => Inner::Cg,
    };
    let mut solution = reweighted(case, &problem, p, inner, max_iterations)?;
    solution.scale(&prepared);
    Ok((solution, [plan_s, setup_s, start.elapsed().as_secs_f64()]))
}

/// `dia_solvers::fit` with the plain options: it minimises the same.
fn library_fit<A: DesignMatrix>(
    case: &Case,
    prepared: &mut Prepared<'_, A::Pixel>,
    a: &A,
    max_passes: usize,
) -> Result<Solution> {
    let options = FitOptions {
        loss: case.loss.loss(),
        reference_noise: ReferenceNoise::Ignore,
        solver: if case.method == Method::FitPcg { Solver::Pcg } else { Solver::Cholesky },
        tolerance: case.tolerance,
        max_passes: max_passes.min(MAX_PASSES),
        ..FitOptions::plain()
    };
    let fitted = fit(prepared, a, None, &options, &mut |_| ())?;
    let outcome = fitted.outcome;
    Ok(Solution {
        x: fitted.parameters,
        stop: outcome.stop.name().into(),
        converged: outcome.stop.converged(),
        // Of the passes where there is no inner solver.
        iterations: outcome.iterations,
        passes: outcome.passes,
        products: outcome.products,
        curve: Vec::new(),
    })
}

/// AᵀWA of all rows, factored.
fn full_gram<A: DesignMatrix>(
    problem: &LeastSquares<A>,
    weights: &[f64],
    precision: GramPrecision,
) -> Result<Cholesky> {
    let rows = DesignRows::new(problem.design(), problem.reference.view());
    Ok(Cholesky::new(&rows.normal_matrix(weights, precision))?)
}

fn sampled_gram<A: DesignMatrix>(
    problem: &LeastSquares<A>,
    prepared: &Prepared<'_, A::Pixel>,
) -> Result<Cholesky> {
    let sample = RowSample::draw(prepared, SAMPLE_PER_UNKNOWN * problem.a.ncols(), 0);
    let weights: Vec<f64> = sample.rows().iter().map(|i| problem.weights[*i]).collect();
    let rows = DesignRows::new(problem.design(), problem.reference.view());
    Ok(sample.factor(&rows, &weights)?)
}

fn uniform_gram<A: DesignMatrix<Pixel: FftPixel>>(problem: &LeastSquares<A>) -> Result<Cholesky> {
    let design = problem.design();
    let lags = autocorrelation(problem.reference.view(), 2 * design.half_width());
    let pixels = problem.reference.pixels();
    let mean = pixels.iter().map(|r| r.widen()).sum::<f64>() / pixels.len() as f64;
    let weight = problem.weights.iter().sum::<f64>() / problem.weights.len() as f64;
    Ok(autocorrelation_gram(design, &lags, mean, weight)?)
}

/// The diagonal of H = AᵀWA: Σ_p w(p) T_t(p)² R(p − u)², by one product with the operator of R², and Σ_p w(p) φ_j(p)².
fn diagonal<A: DesignMatrix>(problem: &LeastSquares<A>, squares: &A) -> Result<Vec<f64>> {
    let design = problem.design();
    let narrowed = problem.weights.iter().map(|w| A::Pixel::narrow(*w)).collect();
    let mut moments = vec![0.0; squares.ncols()];
    let weights = squares.upload(narrowed)?;
    squares.apply_adjoint(&weights, &mut moments, &mut squares.workspace()?)?;
    let n = design.basis().len();
    let mut diagonal = vec![0.0; design.ncols()];
    for (t, term) in design.kernel_terms().enumerate() {
        for (moment, factor) in design.variation().product(t, t) {
            let moments = &moments[moment * n..(moment + 1) * n];
            let d = diagonal[term.columns.clone()].iter_mut().zip(moments);
            d.for_each(|(d, moment)| *d += factor * moment);
        }
    }
    let (valid, first) = (design.valid(), design.kernel_ncols());
    if let Some(background) = design.background() {
        let mut terms = vec![0.0; background.len()];
        for (i, weight) in problem.weights.iter().enumerate() {
            background.evaluate(valid.y + i / valid.width, valid.x + i % valid.width, &mut terms);
            let d = diagonal[first..].iter_mut().zip(&terms);
            d.for_each(|(d, term)| *d += weight * term * term);
        }
    }
    Ok(diagonal)
}

/// What makes a correction of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    /// The factor at hand.
    Factor,
    /// A new factor for the weights of every pass.
    Rebuilt,
    Cg,
    Lsqr,
}

/// Iteratively reweighted least squares from x = 0: the first weights are those of least squares, then those of the loss at each new x.
fn reweighted<A: DesignMatrix>(
    case: &Case,
    problem: &LeastSquares<A>,
    mut p: Box<dyn Preconditioner>,
    inner: Inner,
    max_iterations: usize,
) -> Result<Solution> {
    let a = &problem.a;
    let n = a.ncols();
    let fixed = case.loss.loss() == Loss::Gaussian;
    let mut solution = Solution {
        x: vec![0.0; n],
        stop: StopReason::Iterations.name().into(),
        converged: false,
        iterations: 0,
        passes: 0,
        products: 0,
        curve: Vec::new(),
    };
    let (mut g, mut delta) = (vec![0.0; n], vec![0.0; n]);
    let mut workspace = a.workspace()?;
    let mut cg_memory = match inner {
        Inner::Cg => Some((CgWorkspace::new(n), NormalWorkspace::new(a)?)),
        _ => None,
    };
    let mut lsqr_memory: Option<LsqrWorkspace<A::Data, WeightedWorkspace<A>>> = None;
    // Weights, residual, and room for a product of the two.
    let mut data = match inner {
        Inner::Factor => None,
        _ => Some([a.zeros()?, a.zeros()?, a.zeros()?]),
    };
    let mut target = None;
    while solution.passes < MAX_PASSES {
        let loss = if solution.passes == 0 { Loss::Gaussian } else { case.loss.loss() };
        match &mut data {
            None => problem.gradient(&solution.x, loss, &mut g, &mut workspace)?,
            Some([weights, residual, scratch]) => problem.gradient_and_weights(
                &solution.x,
                loss,
                &mut g,
                [weights, residual, scratch],
                &mut workspace,
            )?,
        }
        solution.products += 2;
        if let (Inner::Rebuilt, Some([weights, ..])) = (inner, &data)
            && solution.passes > 0
        {
            p = Box::new(full_gram(problem, &problem.gather(weights)?, GramPrecision::Double)?);
        }
        p.solve(&g, &mut delta);
        let optimality = dot(&g, &delta).max(0.0).sqrt();
        let target = *target.get_or_insert(if case.method.estimates_distance() {
            case.tolerance
        } else {
            RELATIVE_TOLERANCE * optimality
        });
        // The first gradient is that of another loss.
        if optimality <= target && (fixed || solution.passes > 0) {
            (solution.stop, solution.converged) = (StopReason::Optimal.name().into(), true);
            break;
        }
        if solution.iterations >= max_iterations {
            break;
        }
        let left = max_iterations - solution.iterations;
        // Where weights change with every pass, more accuracy would gain nothing.
        let relative = if fixed { 0.0 } else { 0.1 };
        let outcome = match (&mut data, &mut cg_memory) {
            (Some([weights, ..]), Some((cg_workspace, memory))) => {
                let options = CgOptions { tolerance: 0.7 * target, relative, max_iterations: left };
                let h = NormalOperator { operator: a, weights };
                Some(cg(&h, &*p, &g, &mut delta, &options, cg_workspace, memory)?)
            }
            (Some([weights, residual, scratch]), None) if inner == Inner::Lsqr => {
                scratch.square_root_of(weights)?;
                residual.multiply(scratch)?;
                let operator = Weighted { inner: a, sqrt_weights: scratch };
                let options = LsqrOptions {
                    tolerance: 0.7 * target,
                    relative,
                    max_iterations: left,
                    ..LsqrOptions::default()
                };
                let memory = match &mut lsqr_memory {
                    Some(memory) => memory,
                    None => lsqr_memory.insert(LsqrWorkspace::new(&operator)?),
                };
                Some(lsqr(&operator, &*p, residual, &mut delta, &options, memory)?)
            }
            _ => None,
        };
        solution.iterations += outcome.map_or(1, |outcome| outcome.iterations);
        solution.products += outcome.map_or(0, |outcome| outcome.products);
        solution.x.iter_mut().zip(&delta).for_each(|(x, d)| *x += d);
        solution.passes += 1;
    }
    Ok(solution)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
