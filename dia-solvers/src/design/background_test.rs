//! How far the differential background varies, asked before it is fitted.
//!
//! Scattered light, a near moon or a ghost follow no polynomial of low degree, and what the background does not take is taken by the kernel's wings, whose
//! light is as smooth: the photometric scale is wrong by many of its σ. So a background has as many coefficients as more than chance is seen of. They are the further columns of
//! [`crate::design::score_test`].
//!
//! The noise of the reference is smoothed by the kernel: over the scales of a background its variance is not ΣK² σ_R², which is that of a pixel, but P² σ_R².

use dia_core::{Design, DesignMatrix, Loss, PixelWeight, Polynomial2d};
use faer::Mat;

use crate::design::score_test::{limit, project, reference_noise_at_sample};
use crate::linear::cg::dot;
use crate::robust::problem::Problem;
use crate::{Cholesky, Preconditioner, SubtractError};

/// What changed among the stars is no structure of the sky: it has no weight.
const ROBUST: Loss = Loss::TUKEY;

/// In one of a thousand fields chance alone is called structure, by standard deviations of a normal distribution.
const CHANCE: f64 = 3.090_232;

/// So many degrees are asked for first: hardly any structure leaves them all at zero.
const FURTHER: usize = 4;

/// What each column of a degree must tell that those before it do not, as a part of its variance: on what is left of a masked image, or beside the kernel, polynomials of high degrees are much alike.
const LEAST_NEW: f64 = 0.01;

/// So that those that are just alike have a factor, in the same unit.
const RIDGE: f64 = 1e-6;

/// The least degree of a background, up to that of `all`, that leaves no more structure than chance does, at the parameters `x` of `problem`, which is the same model with a background of
/// lower degree.
pub(crate) fn background_degree<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    all: &A,
    x: &[f64],
) -> Result<usize, SubtractError> {
    let least = degree(problem.a.design());
    let first = degree(all.design()).min(least + FURTHER);
    let few = all.with_degrees_of(all.design().clone().with_background(first))?;
    let loss = std::mem::replace(&mut problem.loss, ROBUST);
    let needed = match degree_up_to(problem, &few, x) {
        Ok(some) if some > least => degree_up_to(problem, all, x),
        none => none,
    };
    problem.loss = loss;
    needed
}

fn degree(design: &Design) -> usize {
    design.background().map_or(0, Polynomial2d::degree)
}

/// As [`background_degree`], with a test of all degrees at once.
fn degree_up_to<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    all: &A,
    x: &[f64],
) -> Result<usize, SubtractError> {
    let (least, most) = (degree(problem.a.design()), degree(all.design()));
    problem.weigh_residuals(x)?;
    let mut gradient = vec![0.0; all.ncols()];
    all.apply_adjoint(&problem.memory.data, &mut gradient, &mut all.workspace()?)?;
    problem.products += 2;
    let mut score = gradient.split_off(x.len());
    if let Some(penalty) = &problem.penalty {
        penalty.add_product(-1.0, x, &mut gradient);
    }
    let weights = problem.at_sample(&problem.weights)?;
    let columns = further_columns(problem, all);
    let projected = project(problem, &weights, &columns, &gradient, &mut score)?;
    let relative =
        |kind| problem.loss.mean_weight(kind) / problem.loss.mean_weight(PixelWeight::Robust);
    let variance = projected * faer::Scale(relative(PixelWeight::Score))
        + shared_noise(problem, &weights, &columns, x)?
            * faer::Scale(relative(PixelWeight::Curvature).powi(2));
    // What each column tells that those before it do not.
    let size: Vec<f64> = (0..score.len()).map(|k| variance[(k, k)].sqrt()).collect();
    let scaled = Mat::from_fn(size.len(), size.len(), |k, l| {
        let ridge = if k == l { RIDGE } else { 0.0 };
        variance[(k, l)] / (size[k] * size[l]) + ridge
    });
    let factor = Cholesky::new(&scaled)?;
    score.iter_mut().zip(&size).for_each(|(score, size)| *score /= size);
    factor.solve_lower(&mut score);
    let of_degree = |degree: usize| Polynomial2d::terms(degree) - Polynomial2d::terms(least);
    let is_new = |k: usize| factor.factor()[(k, k)].powi(2) > LEAST_NEW;
    let most = (least..most)
        .find(|degree| !(of_degree(*degree)..of_degree(degree + 1)).all(is_new))
        .unwrap_or(most);
    let is_left = |degree: &usize| {
        let rest = &score[of_degree(*degree)..of_degree(most)];
        !rest.is_empty() && dot(rest, rest) > limit(rest.len(), CHANCE)
    };
    Ok((least..most).find(|degree| !is_left(degree)).unwrap_or(most))
}

/// The coefficients' columns that `all` has and `problem` has not, at the sampled rows.
fn further_columns<A: DesignMatrix>(problem: &Problem<'_, A>, all: &A) -> Vec<Vec<f64>> {
    let Some(background) = all.design().background() else { return Vec::new() };
    let valid = all.design().valid();
    let known = problem.a.design().background().map_or(0, Polynomial2d::len);
    let mut values = vec![0.0; background.len()];
    let mut columns = vec![Vec::new(); background.len() - known];
    for row in problem.sample.draw.rows() {
        background.evaluate(valid.y + row / valid.width, valid.x + row % valid.width, &mut values);
        columns.iter_mut().zip(&values[known..]).for_each(|(column, value)| column.push(*value));
    }
    columns
}

/// What the noise of the reference adds to S because neighbours share it.
fn shared_noise<A: DesignMatrix>(
    problem: &Problem<'_, A>,
    weights: &[f64],
    columns: &[Vec<f64>],
    x: &[f64],
) -> Result<Mat<f64>, SubtractError> {
    let kernel = problem.a.design().kernel(x);
    let squares: f64 = kernel.pixels().iter().map(|k| k * k).sum();
    let excess = kernel.photometric_scale().powi(2) / squares - 1.0;
    let noise = reference_noise_at_sample(problem)?;
    let rows = weights.iter().zip(&noise).zip(problem.sample.draw.probabilities());
    let excess: Vec<f64> =
        rows.map(|((w, noise), p)| excess.max(0.0) * w * w * noise / p).collect();
    let v = Mat::from_fn(excess.len(), columns.len(), |i, k| columns[k][i]);
    let weighted = Mat::from_fn(excess.len(), columns.len(), |i, k| excess[i] * columns[k][i]);
    Ok(v.transpose() * weighted)
}
