//! How far the differential background varies, asked before it is fitted.
//!
//! Scattered light, a near moon or a ghost follow no polynomial of low degree, and what the background does not take is taken by the kernel's wings, whose
//! light is as smooth: the photometric scale is wrong by many of its σ. So a background has as many coefficients as more than chance is seen of. They are the further columns of
//! [`crate::design::score_test`].
//!
//! The noise of the reference is smoothed by the kernel: over the scales of a background its variance is not ΣK² σ_R², which is that of a pixel, but P² σ_R².

use dia_core::{DesignMatrix, Loss, PixelWeight, Polynomial2d};
use faer::Mat;

use crate::design::score_test::{
    gradient_over, limit, products, project, reference_noise_at_sample, weighted,
};
use crate::linear::cg::dot;
use crate::precondition::sample::terms_at;
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

/// The least degree of a background, up to `most`, that leaves no more structure than chance does, at the parameters `x` of `problem`, whose background is of a lower one.
pub(crate) fn background_degree<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    most: usize,
    x: &[f64],
) -> Result<usize, SubtractError> {
    let least = problem.a.design().background().map_or(0, Polynomial2d::degree);
    let loss = std::mem::replace(&mut problem.loss, ROBUST);
    let needed = match degree_between(problem, [least, most.min(least + FURTHER)], x) {
        Ok(some) if some > least => degree_between(problem, [least, most], x),
        none => none,
    };
    problem.loss = loss;
    needed
}

/// As [`background_degree`], with a test of all degrees at once.
fn degree_between<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    [least, most]: [usize; 2],
    x: &[f64],
) -> Result<usize, SubtractError> {
    let design = problem.a.design();
    let background = Polynomial2d::new(most, design.height(), design.width());
    let all = problem.a.with_degrees_of(design.clone().with_background(most))?;
    let mut gradient = gradient_over(problem, &all, x)?;
    let mut score = gradient.split_off(x.len());
    if let Some(penalty) = &problem.penalty {
        penalty.add_product(-1.0, x, &mut gradient);
    }
    let weights = problem.at_sample(&problem.weights)?;
    let rows = problem.sample.draw.rows();
    let columns = terms_at(&background, design.valid(), rows).split_off(Polynomial2d::terms(least));
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
    Ok(products(columns, &weighted(columns, &excess)))
}
