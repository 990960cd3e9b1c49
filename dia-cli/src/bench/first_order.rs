//! The first-order baseline: Adam, then L-BFGS, which see the loss and its gradient and nothing else (Hitchcock et al. 2021, MNRAS 504, 3561).
//!
//! As published: the kernel starts as a box-car of sum 1 and the background as the target's median; Adam (Kingma & Ba 2015, arXiv 1412.6980) with
//! steps of 1e-3 for the kernel and 1 ADU for the background until the loss changes by less than 1e-6 of itself, after 100 steps at the least; then
//! L-BFGS (Nocedal & Wright 2006, algorithm 7.5) with a history of 10.
//!
//! Not as published, for a fair baseline must reach the minimum: pixels and products are in double precision, because a loss of 10⁶ in single
//! precision cannot tell a change below 0.06, which is 0.35 σ; the line search is that of Moré & Thuente (1994, ACM TOMS 20, 286) in place of none; the
//! unknowns of L-BFGS are scaled by the roots of the Hessian's diagonal; and it ends when the loss changes by less than 1e-9, not by less than 1e-9
//! of itself.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Result;
use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use dia_core::{DesignMatrix, Loss, Pixel, robust};
use rayon::prelude::*;

use super::least_squares::LeastSquares;
use super::solve::Solution;

/// Adam's steps: of the kernel's coefficients, which have no unit, and of the background's in ADU.
const ADAM_STEPS: [f64; 2] = [1e-3, 1.0];
/// Relative change of the loss at which L-BFGS takes over.
const ADAM_TOLERANCE: f64 = 1e-6;
const LEAST_ADAM_STEPS: usize = 100;
const HISTORY: usize = 10;
/// Change of the loss at which it ends. 0.01 σ from the minimum the loss is 5e-5 above it.
const LOSS_TOLERANCE: f64 = 1e-9;
/// Pixels whose losses are added up one after the other.
const CHUNK: usize = 4096;

/// Minimises Σ ρ((I − A x)/σ) with loss and gradient alone; `diagonal` is that of AᵀA/σ². Ends after `limit` at the latest.
pub(crate) fn adam_then_lbfgs<A>(
    problem: &LeastSquares<A>,
    loss: Loss,
    diagonal: &[f64],
    limit: Duration,
) -> Result<Solution>
where
    A: DesignMatrix<Data = Vec<<A as DesignMatrix>::Pixel>>,
{
    let objective = Objective::new(problem, loss, limit)?;
    let mut x = start(problem);
    adam(&objective, &mut x);
    // A line search that finds no step ends a run; without its memory L-BFGS may find one.
    let scale: Vec<f64> = diagonal.iter().map(|d| d.sqrt().recip()).collect();
    let mut converged = false;
    while !objective.out_of_time() {
        let before = objective.least();
        lbfgs(&objective, &scale)?;
        if before - objective.least() < LOSS_TOLERANCE {
            converged = !objective.out_of_time();
            break;
        }
    }
    let state = objective.state.into_inner();
    Ok(Solution {
        x: state.best,
        stop: if converged { "loss_unchanged" } else { "time" }.into(),
        converged,
        iterations: state.evaluations,
        passes: 0,
        products: 2 * state.evaluations,
        curve: state.curve,
    })
}

/// A box-car kernel and a constant background.
fn start<A: DesignMatrix>(problem: &LeastSquares<A>) -> Vec<f64> {
    let design = problem.design();
    let mut x = vec![0.0; design.ncols()];
    let n = design.basis().len();
    x[..n].fill(1.0 / n as f64);
    let used = problem.weights.iter().enumerate().filter(|(_, w)| **w > 0.0);
    let rows: Vec<usize> = used.map(|(i, _)| i).collect();
    let mut values = vec![0.0; rows.len()];
    if problem.a.gather(&problem.data, &rows, &mut values).is_ok()
        && let (Some(b), Some(median)) =
            (x.get_mut(design.kernel_ncols()), robust::median(&mut values))
    {
        *b = median;
    }
    x
}

/// Loss and gradient with what has been learnt of them.
struct Objective<'a, A: DesignMatrix> {
    problem: &'a LeastSquares<A>,
    loss: Loss,
    limit: Duration,
    start: Instant,
    state: RefCell<State<A>>,
}

struct State<A: DesignMatrix> {
    model: A::Data,
    workspace: A::Workspace,
    /// The last point: its loss, and its gradient in `g`.
    last: Vec<f64>,
    value: f64,
    g: Vec<f64>,
    evaluations: usize,
    best: Vec<f64>,
    least: f64,
    /// (Seconds, evaluations, parameters).
    curve: Vec<(f64, usize, Vec<f64>)>,
}

impl<'a, A> Objective<'a, A>
where
    A: DesignMatrix<Data = Vec<<A as DesignMatrix>::Pixel>>,
{
    fn new(problem: &'a LeastSquares<A>, loss: Loss, limit: Duration) -> Result<Self> {
        let n = problem.a.ncols();
        let state = State {
            model: problem.a.zeros()?,
            workspace: problem.a.workspace()?,
            last: vec![f64::NAN; n],
            value: f64::NAN,
            g: vec![0.0; n],
            evaluations: 0,
            best: vec![0.0; n],
            least: f64::INFINITY,
            curve: Vec::new(),
        };
        Ok(Self { problem, loss, limit, start: Instant::now(), state: RefCell::new(state) })
    }

    fn least(&self) -> f64 {
        self.state.borrow().least
    }

    fn out_of_time(&self) -> bool {
        self.start.elapsed() > self.limit
    }

    /// The loss at x; the gradient is left in the state.
    fn evaluate(&self, x: &[f64]) -> Result<f64, Error> {
        let mut state = self.state.borrow_mut();
        if state.last == x {
            return Ok(state.value);
        }
        if self.out_of_time() {
            return Err(Error::msg("out of time"));
        }
        let State { model, workspace, g, .. } = &mut *state;
        let LeastSquares { a, data, noise, .. } = self.problem;
        let loss = self.loss;
        a.apply(x, model, workspace)?;
        // From M to −ψ(z)/σ, in place; and the sum of ρ(z) in a fixed order.
        let sums: Vec<f64> = model
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(chunk, model)| {
                let first = chunk * CHUNK;
                let pixels = model.iter_mut().zip(&data[first..]).zip(&noise.fixed[first..]);
                let rho = pixels.map(|((m, d), variance)| {
                    let inverse_sigma = variance.widen().sqrt().recip();
                    let z = (d.widen() - m.widen()) * inverse_sigma;
                    *m = A::Pixel::narrow(-loss.psi(z) * inverse_sigma);
                    loss.rho(z)
                });
                rho.sum::<f64>()
            })
            .collect();
        a.apply_adjoint(model, g, workspace)?;
        let value = sums.iter().sum::<f64>();
        state.value = value;
        state.last.copy_from_slice(x);
        state.evaluations += 1;
        if value < state.least {
            state.least = value;
            state.best.copy_from_slice(x);
            // A tenth more evaluations than at the last point.
            if state.curve.last().is_none_or(|(_, last, _)| 10 * state.evaluations > 11 * last) {
                let point = (self.start.elapsed().as_secs_f64(), state.evaluations, x.to_vec());
                state.curve.push(point);
            }
        }
        Ok(value)
    }
}

/// Steps until the loss hardly changes.
fn adam<A>(objective: &Objective<'_, A>, x: &mut [f64])
where
    A: DesignMatrix<Data = Vec<<A as DesignMatrix>::Pixel>>,
{
    const BETA: [f64; 2] = [0.9, 0.999];
    const EPSILON: f64 = 1e-8;
    let kernel = objective.problem.design().kernel_ncols();
    let (mut m, mut v) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let (mut decay, mut before) = ([1.0; 2], f64::INFINITY);
    for step in 0.. {
        // Half of the time is for L-BFGS.
        if objective.start.elapsed() > objective.limit / 2 {
            break;
        }
        let Ok(value) = objective.evaluate(x) else { break };
        if step > LEAST_ADAM_STEPS && (value - before).abs() < ADAM_TOLERANCE * before.abs() {
            break;
        }
        before = value;
        let state = objective.state.borrow();
        decay = [decay[0] * BETA[0], decay[1] * BETA[1]];
        for (i, g) in state.g.iter().enumerate() {
            m[i] = BETA[0] * m[i] + (1.0 - BETA[0]) * g;
            v[i] = BETA[1] * v[i] + (1.0 - BETA[1]) * g * g;
            let (m, v) = (m[i] / (1.0 - decay[0]), v[i] / (1.0 - decay[1]));
            x[i] -= ADAM_STEPS[usize::from(i >= kernel)] * m / (v.sqrt() + EPSILON);
        }
    }
}

/// L-BFGS from the best point so far, in unknowns of equal curvature, until the loss hardly changes or no step is found.
fn lbfgs<A>(objective: &Objective<'_, A>, scale: &[f64]) -> Result<()>
where
    A: DesignMatrix<Data = Vec<<A as DesignMatrix>::Pixel>>,
{
    let best = objective.state.borrow().best.clone();
    let start: Vec<f64> = best.iter().zip(scale).map(|(x, s)| x / s).collect();
    let search = MoreThuenteLineSearch::new().with_c(1e-4, 0.9)?;
    let solver = LBFGS::new(search, HISTORY).with_tolerance_cost(LOSS_TOLERANCE)?;
    let solver = solver.with_tolerance_grad(0.0)?;
    let scaled = Scaled { objective, scale };
    // What it has found is in the objective; an error says that time or steps have run out.
    let _ = Executor::new(scaled, solver).configure(|state| state.param(start)).timer(false).run();
    Ok(())
}

/// The objective of y = x/scale.
struct Scaled<'a, 'b, A: DesignMatrix> {
    objective: &'a Objective<'b, A>,
    scale: &'a [f64],
}

impl<A: DesignMatrix> Scaled<'_, '_, A> {
    fn scaled(&self, y: &[f64]) -> Vec<f64> {
        y.iter().zip(self.scale).map(|(y, s)| y * s).collect()
    }
}

impl<A> CostFunction for Scaled<'_, '_, A>
where
    A: DesignMatrix<Data = Vec<<A as DesignMatrix>::Pixel>>,
{
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, y: &Vec<f64>) -> Result<f64, Error> {
        self.objective.evaluate(&self.scaled(y))
    }
}

impl<A> Gradient for Scaled<'_, '_, A>
where
    A: DesignMatrix<Data = Vec<<A as DesignMatrix>::Pixel>>,
{
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, y: &Vec<f64>) -> Result<Vec<f64>, Error> {
        self.objective.evaluate(&self.scaled(y))?;
        Ok(self.scaled(&self.objective.state.borrow().g))
    }
}
