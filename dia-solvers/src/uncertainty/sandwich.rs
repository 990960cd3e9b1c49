//! The variance of linear functionals of the parameters, in the sandwich form.

use dia_core::{DataVector, DesignMatrix, Image, OperatorError, PixelWeight, Reweight};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::linear::cg::dot;
use crate::precondition::sample::Factor;
use crate::regularise::penalty::Penalty;
use crate::robust::inner_step::Penalised;
use crate::robust::problem::Problem;
use crate::uncertainty::correlated_noise::CorrelatedNoise;
use crate::{
    CgOptions, CgWorkspace, Cholesky, GramPrecision, NormalOperator, Preconditioner, StopReason,
    SubtractError, cg,
};

/// J = Aᵀ (ψ′/σ²) A + Q and S = Aᵀ (ψ²/σ²) A at the minimum, with what the reference's noise adds to S.
pub(crate) struct Uncertainty<A: DesignMatrix> {
    curvature: A::Data,
    score: A::Data,
    correlated: Option<CorrelatedNoise>,
    workspace: CgWorkspace,
}

impl<A: DesignMatrix> Uncertainty<A> {
    pub(crate) fn new(
        problem: &mut Problem<'_, A>,
        reference_variance: Option<&Image<A::Pixel>>,
        x: &[f64],
    ) -> Result<Self, SubtractError> {
        let mut score = problem.a.zeros()?;
        problem.a.apply(x, &mut score, &mut problem.memory.operator)?;
        problem.products += 1;
        let mut curvature = problem.a.zeros()?;
        curvature.axpby(1.0, &score, 0.0)?;
        let Problem { data, noise, loss, .. } = problem;
        data.reweight(noise, *loss, PixelWeight::Curvature, &mut curvature)?;
        data.reweight(noise, *loss, PixelWeight::Score, &mut score)?;
        let correlated = reference_variance
            .filter(|_| problem.noise.reference.is_some())
            .map(|variance| CorrelatedNoise::new(problem, variance, x));
        Ok(Self { curvature, score, correlated, workspace: CgWorkspace::new(x.len()) })
    }

    /// ψ′/σ² of the pixels.
    pub(crate) fn curvature(&self) -> &A::Data {
        &self.curvature
    }

    /// ψ²/σ² of the pixels.
    pub(crate) fn score(&self) -> &A::Data {
        &self.score
    }

    /// The standard deviation of c·x, of a functional with a name.
    ///
    /// For the best y along a given direction, σ² = cᵀJ⁻¹SJ⁻¹c is (c·y)² yᵀSy / (yᵀJy)²: exactly for y ∝ J⁻¹c, and where S is proportional to J, the error
    /// is the square of that of y. y is P⁻¹c after some conjugate gradients, without which σ of the photometric scale was too small by up to half, and A y gives both forms.
    fn sigma(
        &mut self,
        problem: &mut Problem<'_, A>,
        p: &Factor,
        (of, c): (&'static str, &[f64]),
    ) -> Result<f64, SubtractError> {
        let Problem { a, penalty, memory, products, .. } = &mut *problem;
        let mut y = vec![0.0; c.len()];
        let normal = NormalOperator { operator: *a, weights: &self.curvature };
        let j = Penalised { normal, penalty: penalty.as_ref() };
        let options =
            CgOptions { tolerance: 0.0, relative: ACCURACY, max_iterations: MAX_ITERATIONS };
        let outcome = cg(&j, p, c, &mut y, &options, &mut self.workspace, memory)?;
        *products += outcome.products;
        if !outcome.stop.converged() {
            let (stop, iterations) = (outcome.stop.name(), outcome.iterations);
            return Err(SubtractError::Uncertainty { of, stop, iterations });
        }
        self.sigma_of_direction(problem, (of, c), &y)
    }

    /// As [`sigma_along`](Self::sigma_along), with the problem's own penalty.
    fn sigma_of_direction(
        &self,
        problem: &mut Problem<'_, A>,
        functional: (&'static str, &[f64]),
        y: &[f64],
    ) -> Result<f64, SubtractError> {
        // Lent out meanwhile: it is as large as all kernels.
        let penalty = problem.penalty.take();
        let sigma = self.sigma_along(problem, penalty.as_ref(), functional, y);
        problem.penalty = penalty;
        sigma
    }

    /// The standard deviation of c·x for y = P⁻¹c: for a coefficient of the background of a kernel that varies, too small by 1 to 5 %, and by up to 20 % with all stars in
    /// one corner.
    pub(crate) fn sigma_of_solved(
        &self,
        problem: &mut Problem<'_, A>,
        p: &Factor,
        functional: (&'static str, &[f64]),
    ) -> Result<f64, SubtractError> {
        let mut y = vec![0.0; functional.1.len()];
        p.solve(functional.1, &mut y);
        self.sigma_of_direction(problem, functional, &y)
    }

    /// The standard deviation of P as [`sigma`](Self::sigma) has it, and at least that of a fit of nothing but the kernels of the free family,
    /// [`crate::regularise::seeing_kernel`]: where regularisation leaves only one of them, its width and place are no better known than that.
    pub(crate) fn sigma_of_scale(
        &mut self,
        problem: &mut Problem<'_, A>,
        p: &Factor,
        scale: &[f64],
    ) -> Result<f64, SubtractError> {
        let functional = ("the photometric scale", scale);
        let sigma = of_positive(problem, |problem| self.sigma(problem, p, functional))?;
        let penalty = problem.penalty.as_ref().map(Penalty::without_roughness);
        let Some(y) = penalty.as_ref().and_then(Penalty::free_direction) else { return Ok(sigma) };
        // Where that fit has no minimum, it says nothing.
        match self.sigma_along(problem, penalty.as_ref(), functional, &y) {
            Ok(other) => Ok(sigma.max(other)),
            Err(SubtractError::Uncertainty { .. }) => Ok(sigma),
            Err(error) => Err(error),
        }
    }

    /// (c·y) (yᵀSy)^½ / yᵀJy, for J with a given penalty.
    fn sigma_along(
        &self,
        problem: &mut Problem<'_, A>,
        penalty: Option<&Penalty>,
        (of, c): (&'static str, &[f64]),
        y: &[f64],
    ) -> Result<f64, SubtractError> {
        let Problem { a, noise, memory, products, .. } = problem;
        let mut squares = a.zeros()?;
        a.apply(y, &mut squares, &mut memory.operator)?;
        *products += 1;
        memory.data.axpby(1.0, &squares, 0.0)?;
        memory.data.multiply(&self.curvature)?;
        let excess = match (&self.correlated, &noise.reference) {
            (Some(correlated), Some(reference)) => {
                correlated.excess(*a, &memory.data, reference)?
            }
            _ => 0.0,
        };
        memory.data.axpby(1.0, &squares, 0.0)?;
        squares.multiply(&memory.data)?;
        let curvature =
            self.curvature.dot(&squares)? + penalty.map_or(0.0, |penalty| penalty.form(y));
        sandwich((of, dot(c, y)), curvature, self.score.dot(&squares)? + excess)
    }

    /// J⁻¹ S J⁻¹, by both matrices; for independent pixels.
    pub(crate) fn covariance(&self, problem: &Problem<'_, A>) -> Result<Mat<f64>, SubtractError> {
        let rows = problem.rows();
        let all: Vec<usize> = (0..problem.a.nrows()).collect();
        let gram = |weights: &A::Data| -> Result<Mat<f64>, OperatorError> {
            let mut values = vec![0.0; all.len()];
            problem.a.gather(weights, &all, &mut values)?;
            // Curvatures may be negative: the difference of two matrices.
            let part =
                |sign: f64| -> Vec<f64> { values.iter().map(|w| (sign * w).max(0.0)).collect() };
            let mut h = rows.normal_matrix(&part(1.0), GramPrecision::Double);
            if values.iter().any(|w| *w < 0.0) {
                h -= rows.normal_matrix(&part(-1.0), GramPrecision::Double);
            }
            for j in 0..h.ncols() {
                for i in 0..j {
                    h[(i, j)] = h[(j, i)];
                }
            }
            Ok(h)
        };
        let (mut j, s) = (gram(&self.curvature)?, gram(&self.score)?);
        if let Some(penalty) = &problem.penalty {
            penalty.add_to(&mut j);
        }
        let j = Cholesky::new(&j)?;
        let mut half = s;
        j.solve_columns(&mut half);
        let mut covariance = half.transpose().to_owned();
        j.solve_columns(&mut covariance);
        // Both triangles alike.
        let mut symmetric = Mat::zeros(covariance.nrows(), covariance.ncols());
        let identity = Mat::<f64>::identity(covariance.nrows(), covariance.ncols());
        matmul(&mut symmetric, Accum::Replace, covariance.transpose(), &identity, 0.5, Par::Seq);
        Ok(symmetric + faer::Scale(0.5) * covariance)
    }
}

/// c·y √(yᵀSy)/yᵀJy of a functional with a name and its c·y, from both forms. What correlated noise adds to yᵀSy is negative for an f that changes its sign between
/// neighbours; that it is known by a sample only must not make the sum negative.
pub(crate) fn sandwich(
    (of, value): (&'static str, f64),
    curvature: f64,
    score: f64,
) -> Result<f64, SubtractError> {
    if curvature.is_nan() || curvature <= 0.0 {
        let stop = StopReason::Indefinite.name();
        return Err(SubtractError::Uncertainty { of, stop, iterations: 0 });
    }
    Ok(value.abs() * score.max(0.0).sqrt() / curvature)
}

/// A standard deviation. Where J is not positive definite though the fit's majorant of it was, less of the noise's bias is taken out of it, until it is one: the
/// reference has less noise than is said of it, and [`Problem::share`] tells so.
pub(crate) fn of_positive<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    mut sigma: impl FnMut(&mut Problem<'_, A>) -> Result<f64, SubtractError>,
) -> Result<f64, SubtractError> {
    loop {
        match sigma(problem) {
            Err(SubtractError::Uncertainty { .. }) if problem.correct_less() => {}
            done => return done,
        }
    }
}

/// Relative accuracy of the solve in the norm of P: σ is then known to a percent of itself.
const ACCURACY: f64 = 0.1;

/// Most iterations of that solve.
const MAX_ITERATIONS: usize = 1000;

/// Random kernels and backgrounds of the covariance P⁻¹ whose models' mean square is Var (A x): good to √(2/64) = 18 % of itself.
const DRAWS: usize = 64;

/// s P⁻¹ of all parameters; `calibration` is a linear functional and its variance, which give s.
pub(crate) fn sampled_covariance(p: &Factor, (c, variance): (&[f64], f64)) -> Mat<f64> {
    let n = c.len();
    let mut y = vec![0.0; n];
    p.solve(c, &mut y);
    let s = variance / dot(c, &y);
    let mut inverse = Mat::zeros(n, n);
    let mut unit = vec![0.0; n];
    for j in 0..n {
        unit[j] = s;
        p.solve(&unit, &mut y);
        unit[j] = 0.0;
        for (i, y) in y.iter().enumerate() {
            inverse[(i, j)] = *y;
        }
    }
    // Both triangles alike.
    Mat::from_fn(n, n, |i, j| 0.5 * (inverse[(i, j)] + inverse[(j, i)]))
}

/// Var (A x) of every pixel in ADU², for parameters of the covariance s P⁻¹; `calibration` is a linear functional and its variance, which give s.
pub(crate) fn model_variance<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    p: &Factor,
    (c, variance): (&[f64], f64),
    seed: u64,
) -> Result<A::Data, SubtractError> {
    let Problem { a, memory, products, .. } = problem;
    let mut y = vec![0.0; c.len()];
    p.solve(c, &mut y);
    let s = variance / dot(c, &y);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut sum, mut square) = (a.zeros()?, a.zeros()?);
    for _ in 0..DRAWS {
        for y in &mut y {
            *y = random.sample(StandardNormal);
        }
        p.solve_upper(&mut y);
        a.apply(&y, &mut square, &mut memory.operator)?;
        memory.data.axpby(s / DRAWS as f64, &square, 0.0)?;
        square.multiply(&memory.data)?;
        sum.axpby(1.0, &square, 1.0)?;
    }
    *products += DRAWS;
    Ok(sum)
}
