//! A robust linear fit with any operator: iteratively reweighted least squares (Holland & Welsch 1977, Commun. Stat. A 6, 813).
//!
//! It is the descent of [`fit()`](crate::fit()), without anything that belongs to images: no kernel, no regularisation, no noise in the design matrix. Who has another linear problem,
//! template spectra on a velocity grid for example, brings the operator and the noise of the data.

use dia_core::{
    DataVector, LinearOperator, Loss, Noise, OperatorError, Photon, PixelWeight, Reweight,
};
use faer::Mat;

use crate::robust::descent::{DescentOptions, RobustProblem, descend};
use crate::{
    CgOptions, CgWorkspace, NormalOperator, NormalWorkspace, Outcome, Preconditioner, SolveError,
    cg,
};

/// How a robust fit is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IrlsOptions {
    /// What is minimised: Σ ρ((b − A x)/σ).
    pub loss: Loss,
    /// Distance from the minimum at which the fit ends, in σ, as far as the preconditioner is like AᵀWA.
    pub tolerance: f64,
    /// Most reweightings.
    pub max_passes: usize,
}

impl Default for IrlsOptions {
    /// Huber's loss, to within 10⁻⁶ σ of the minimum.
    fn default() -> Self {
        Self { loss: Loss::HUBER, tolerance: 1e-6, max_passes: 100 }
    }
}

/// Minimises Σ ρ((b − A x)/σ), from the start `x`, which the solution overwrites.
///
/// `b` are the m data, and `variance` their σ² in the square of their unit; +∞ leaves an element out. `preconditioner` makes P ≈ AᵀWA of the weights W, m values in inverse variances:
/// for some hundred unknowns, [`Cholesky`](crate::Cholesky) of the [`normal_matrix`] itself is best, and for many, [`Jacobi`](crate::Jacobi) or whatever is known of the problem. A loss
/// that redescends, as Tukey's, is approached from Huber's minimum.
///
/// # Errors
/// [`SolveError`] if anything is NaN, a product fails or `preconditioner` does. Running out of passes is not an error: see [`Outcome::stop`].
pub fn irls<A, P>(
    a: &A,
    b: &A::Data,
    variance: A::Data,
    preconditioner: impl FnMut(&A::Data) -> Result<P, SolveError>,
    x: &mut [f64],
    options: &IrlsOptions,
) -> Result<Outcome, SolveError>
where
    A: LinearOperator,
    A::Data: Reweight,
    P: Preconditioner,
{
    let mut problem = Irls {
        a,
        b,
        noise: Noise { fixed: variance, photon: Photon::Uniform(0.0), reference: None },
        loss: options.loss,
        tolerance: options.tolerance,
        preconditioner,
        weights: a.zeros()?,
        memory: NormalWorkspace::new(a)?,
        workspace: CgWorkspace::new(a.ncols()),
        products: 0,
    };
    let mut steps = 0;
    let mut run = |problem: &mut Irls<'_, A, _>, x: &mut [f64], loss: Loss, tolerance: f64| {
        problem.loss = loss;
        let mut p = problem.factor(x)?;
        let max_steps = options.max_passes.saturating_sub(steps);
        let options = DescentOptions { tolerance, max_steps, rounding: f64::EPSILON };
        let done = descend(problem, &mut p, x, options, &mut |_, _| ())?;
        steps += done.steps;
        Ok::<_, SolveError>(done)
    };
    if options.loss.redescends() {
        // Near enough for its residuals to be those of the noise.
        run(&mut problem, x, Loss::HUBER, 0.1_f64.max(options.tolerance))?;
    }
    let done = run(&mut problem, x, options.loss, options.tolerance)?;
    Ok(Outcome {
        stop: done.stop,
        iterations: steps,
        products: problem.products,
        optimality: done.optimality,
    })
}

/// AᵀWA as a matrix, by n products with AᵀWA.
///
/// # Errors
/// [`SolveError`] if a product fails.
pub fn normal_matrix<A: LinearOperator>(a: &A, weights: &A::Data) -> Result<Mat<f64>, SolveError> {
    let n = a.ncols();
    let mut memory = NormalWorkspace::new(a)?;
    let (mut h, mut unit) = (Mat::zeros(n, n), vec![0.0; n]);
    for j in 0..n {
        unit[j] = 1.0;
        let column = h.col_as_slice_mut(j);
        a.apply_normal(&unit, weights, column, &mut memory.data, &mut memory.operator)?;
        unit[j] = 0.0;
    }
    Ok(h)
}

struct Irls<'a, A: LinearOperator, F> {
    a: &'a A,
    b: &'a A::Data,
    noise: Noise<A::Data>,
    loss: Loss,
    tolerance: f64,
    preconditioner: F,
    /// ψ(z)/z over σ² at the point of the last gradient.
    weights: A::Data,
    memory: NormalWorkspace<A>,
    workspace: CgWorkspace,
    products: usize,
}

impl<A: LinearOperator<Data: Reweight>, F> Irls<'_, A, F> {
    /// The model in the scratch memory, and the weights there.
    fn reweight(&mut self, x: &[f64]) -> Result<(), OperatorError> {
        let Self { a, b, noise, loss, weights, memory, products, .. } = self;
        a.apply(x, &mut memory.data, &mut memory.operator)?;
        *products += 1;
        weights.axpby(1.0, &memory.data, 0.0)?;
        b.reweight(noise, *loss, PixelWeight::Robust, weights)
    }
}

impl<A, P, F> RobustProblem for Irls<'_, A, F>
where
    A: LinearOperator<Data: Reweight>,
    P: Preconditioner,
    F: FnMut(&A::Data) -> Result<P, SolveError>,
{
    type Factor = P;
    type Error = SolveError;

    fn gradient(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), SolveError> {
        self.reweight(x)?;
        let Self { a, b, weights, memory, products, .. } = self;
        memory.data.axpby(1.0, b, -1.0)?;
        memory.data.multiply(weights)?;
        a.apply_adjoint(&memory.data, g, &mut memory.operator)?;
        *products += 1;
        Ok(())
    }

    fn factor(&mut self, x: &[f64]) -> Result<P, SolveError> {
        self.reweight(x)?;
        (self.preconditioner)(&self.weights)
    }

    fn improve(
        &mut self,
        p: &mut P,
        _x: &[f64],
        g: &[f64],
        _optimality: f64,
        delta: &mut [f64],
    ) -> Result<(), SolveError> {
        let h = NormalOperator { operator: self.a, weights: &self.weights };
        // Weights change with every pass: more accuracy would gain nothing.
        let options = CgOptions {
            tolerance: 0.3 * self.tolerance,
            relative: 0.1,
            max_iterations: 2 * self.a.ncols() + 10,
        };
        let outcome = cg(&h, p, g, delta, &options, &mut self.workspace, &mut self.memory)?;
        self.products += outcome.products;
        Ok(())
    }

    fn safeguard(&mut self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use dia_core::Loss;
    use faer::Mat;
    use rand::{Rng, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::{IrlsOptions, irls, normal_matrix};
    use crate::{Cholesky, FromFaer, Identity, Jacobi, Preconditioner};

    /// 300 rows of 12 columns, data of noise 0.5 with one outlier in ten, one masked row and the truth.
    fn problem() -> (Mat<f64>, Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let outliers: Vec<f64> = (0..30).map(|_| 40.0 * random.random::<f64>()).collect();
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let a = Mat::from_fn(300, 12, |_, j| normal() * (1.0 + j as f64));
        let truth: Vec<f64> = (0..12).map(|_| normal()).collect();
        let noise: Vec<f64> = (0..300).map(|_| 0.5 * normal()).collect();
        let mut b: Vec<f64> = (0..300)
            .map(|i| (0..12).map(|j| a[(i, j)] * truth[j]).sum::<f64>() + noise[i])
            .collect();
        b.iter_mut().step_by(10).zip(outliers).for_each(|(value, outlier)| *value += outlier);
        let mut variance = vec![0.25; 300];
        (b[5], variance[5]) = (1e30, f64::INFINITY);
        (a, b, variance, truth)
    }

    /// The gradient Aᵀψ((b − A x)/σ)/σ by sums.
    fn gradient(a: &Mat<f64>, b: &[f64], x: &[f64], loss: Loss) -> Vec<f64> {
        let psi = |i: usize| {
            let z = (b[i] - (0..12).map(|j| a[(i, j)] * x[j]).sum::<f64>()) / 0.5;
            if i == 5 { 0.0 } else { loss.weight(z) * z / 0.5 }
        };
        let psi: Vec<f64> = (0..300).map(psi).collect();
        (0..12).map(|j| (0..300).map(|i| a[(i, j)] * psi[i]).sum()).collect()
    }

    #[test]
    fn the_gradient_vanishes_for_every_loss_and_preconditioner() {
        let (matrix, b, variance, truth) = problem();
        let a = FromFaer(matrix.as_ref());
        for loss in [Loss::Gaussian, Loss::HUBER, Loss::TUKEY, Loss::CAUCHY] {
            let options = IrlsOptions { loss, ..Default::default() };
            let mut solutions = Vec::new();
            for kind in 0..3 {
                let p = |weights: &Vec<f64>| -> Result<Box<dyn Preconditioner>, _> {
                    let h = normal_matrix(&a, weights)?;
                    Ok(match kind {
                        0 => Box::new(Cholesky::new(&h)?),
                        1 => Box::new(Jacobi::new(&(0..12).map(|j| h[(j, j)]).collect::<Vec<_>>())),
                        _ => Box::new(Identity(12)),
                    })
                };
                let mut x = vec![0.0; 12];
                let outcome = irls(&a, &b, variance.clone(), p, &mut x, &options).unwrap();
                assert!(outcome.stop.converged(), "{loss:?} {outcome:?}");
                let g = gradient(&matrix, &b, &x, loss);
                // √(gᵀH⁻¹g) ≤ 10⁻⁶ for an H of at most 300 · 12² · 4 on its diagonal.
                assert!(g.iter().all(|g| g.abs() < 1e-6 * 420.0), "{loss:?} {kind}: {g:?}");
                solutions.push(x);
            }
            let robust = loss != Loss::Gaussian;
            // σ of each is 0.5/√300 over the size of its column, at most 0.03; a tenth of the data pull a plain mean by 0.5 and more.
            let near = solutions[0].iter().zip(&truth).all(|(x, t)| (x - t).abs() < 0.2);
            assert!(near || !robust, "{loss:?}: {:?} {truth:?}", solutions[0]);
        }
    }
}
