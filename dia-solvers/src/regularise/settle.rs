//! The strengths of the regularisation and the seeing's kernel, settled by steps towards the minimum.

use std::sync::Arc;

use dia_core::{Design, DesignMatrix, KernelTerm, PixelWeight, Polynomial2d};
use faer::{Mat, MatRef};

use crate::linear::cg::{axpy, dot};
use crate::precondition::sample::{columns_of_one_term, factor_of_terms, majorant};
use crate::precondition::shrinkage::Eigenvalue;
use crate::regularise::lambda::{Information, Search, penalised, product};
use crate::regularise::penalty::{Penalty, mean_taper};
use crate::regularise::seeing_kernel::{Quadratic, form_of_stars, seeing_kernel};
use crate::robust::problem::Problem;
use crate::{Cholesky, Preconditioner, SolveError, SubtractError};

impl<A: DesignMatrix> Problem<'_, A> {
    /// Steps towards the minimum, each with the seeing's kernel and the strengths of least risk, if `searches` are given, for what is known there.
    ///
    /// With J and C of the sample, X and the gradient G without Q as matrices of terms × functions, and C = L_C L_Cᵀ, the minimum for the mean kernel
    /// and for the deviations from it are the rows of L_Cᵀ X + L_C⁻¹ G J⁻¹. A step leads from the sample's minimum, or that before pixels were left
    /// out, to where they are known well enough for λ. Says whether the minimum is so near in the end that the residuals are those of the noise.
    pub(crate) fn settle(
        &mut self,
        x: &mut [f64],
        searches: Option<&mut [Search; 2]>,
    ) -> Result<bool, SubtractError> {
        self.update(x)?;
        let Some(mut penalty) = self.penalty.take() else { return Ok(false) };
        let weights = self.sampled_weights(x, self.loss, PixelWeight::Robust)?;
        let design = self.a.design();
        let c = penalty.terms().clone();
        let h = self.sample.hessians(design, &weights, &c);
        let relative =
            |kind| self.loss.mean_weight(kind) / self.loss.mean_weight(PixelWeight::Robust);
        let signals = h.iter().enumerate().map(|(row, h)| {
            let h = h.scaled(relative(PixelWeight::Curvature));
            let bias = penalty.bias(row);
            let kinds = [Eigenvalue::Estimate, Eigenvalue::UpperBound];
            let [estimate, bound] = h.signal(bias.as_ref(), kinds)?;
            let curvature = match &bias {
                Some(bias) => penalised(&estimate, bias),
                None => estimate,
            };
            let majorant = majorant(&bound, relative(PixelWeight::Curvature), bias.as_ref());
            Ok(Signal { curvature, bound, bias, majorant })
        });
        let signals = signals.collect::<Result<Vec<_>, SolveError>>()?;
        if self.reference_stars.is_new() {
            let scale = dot(&design.photometric_scale_functional(), x);
            let (basis, stars) = (design.basis(), self.reference_stars);
            let form = form_of_stars(basis, &self.nearest, &signals[0].curvature, stars);
            self.reference_stars = stars.seen_with(scale * form.max(0.0).sqrt());
        }
        let score = relative(PixelWeight::Score) / relative(PixelWeight::Curvature);
        let mut known: Option<Vec<Known>> = None;
        let mut searches = searches;
        let near = 0.1 * (self.effective_unknowns.min(x.len() as f64)).sqrt();
        let mut is_near = false;
        let (mut g, mut step) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let most = if design.variation().len() > 1 { FOR_STRENGTHS } else { STEPS };
        for steps in 1..=most {
            self.gradient_without_penalty(x, &mut g)?;
            let mut rows = rows_of_terms(design, x);
            mix_rows(c.factor(), &mut rows);
            let gradients = |g: &[f64]| {
                let mut gradients = rows_of_terms(design, g);
                solve_rows(c.factor(), &mut gradients);
                gradients
            };
            // By an estimate of the signal that is half of it, steps would grow; by a bound, they are rather too short.
            let mut right = gradients(&g).swap_remove(0);
            let Signal { bound, bias, .. } = &signals[0];
            axpy(1.0, &product(bound, &rows[0]), &mut right);
            if let Some(bias) = bias {
                axpy(1.0, &product(bias, &rows[0][..bias.ncols()]), &mut right[..bias.ncols()]);
            }
            let form = Quadratic { h: bound, b: &right };
            let (last, stars) = (self.free.as_deref(), self.reference_stars);
            let free = seeing_kernel(design.basis(), &self.nearest, &form, stars, last);
            let free = self.free.insert(Arc::new(free));
            penalty = penalty.with_free(Some(Arc::clone(free)));
            // The same in all steps.
            if known.is_none() {
                penalty = penalty.with_expected_wings();
                known = Some(known_with_wings(&signals, score, &penalty)?);
            }
            let known = known.as_deref().unwrap_or_default();
            penalty.add_wings(-1.0, x, &mut g);
            let mut minima = gradients(&g);
            for (r, (minimum, row)) in minima.iter_mut().zip(&rows).enumerate() {
                known[r.min(1)].1.solve_in_place(minimum);
                axpy(1.0, row, minimum);
            }
            let (mean, deviations) = minima.split_at(1);
            if let Some(searches) = &mut searches {
                for (i, ((information, _), minima)) in
                    known.iter().zip([mean, deviations]).enumerate()
                {
                    self.strengths[i] = searches[i].least_risk(
                        information,
                        |radius| penalty.parts(i, radius),
                        |radius| mean_taper(design.basis(), radius),
                        minima,
                    )?;
                }
                penalty.set_strengths(self.strengths);
            }
            penalty.add_wings(1.0, x, &mut g);
            penalty.add_product(-1.0, x, &mut g);
            let p = signals.iter().zip(penalty.matrices());
            let p: Vec<Mat<f64>> = p.map(|(signal, q)| penalised(&signal.majorant, &q)).collect();
            factor_of_terms(design, &c, &p)?.solve(&g, &mut step);
            let distance = dot(&g, &step).max(0.0).sqrt();
            self.moved += distance;
            axpy(1.0, &step, x);
            is_near = distance < near;
            let fine = |s: &&mut [Search; 2]| s[..known.len()].iter().all(Search::is_fine);
            let ends = if steps < FOR_STRENGTHS {
                is_near && searches.as_ref().is_none_or(fine)
            } else {
                distance < CLOSE * near
            };
            if ends {
                break;
            }
        }
        if let Some(known) = &known {
            self.effective_unknowns = effective_unknowns(design, known, &penalty)?;
        }
        self.penalty = Some(penalty);
        Ok(is_near)
    }
}

/// Most steps for the strengths alone, and of a kernel that varies, whose factor is rougher, after one that does not.
const FOR_STRENGTHS: usize = 4;

/// So many times farther than near is near enough for the descent, once the strengths are known.
const CLOSE: f64 = 3.0;

/// Most steps. A few do where stars stand out; where the seeing of both images is the same and the reference as noisy as the target, the fit of the sample, which the noise draws to wide kernels, is
/// far from the minimum.
const STEPS: usize = 24;

/// What the sample tells of the mean kernel or of a deviation, without what is known of the wings before.
struct Signal {
    /// The Hessian of the signal and the bias.
    curvature: Mat<f64>,
    /// The upper bound of the signal's part of the Hessian.
    bound: Mat<f64>,
    bias: Option<Mat<f64>>,
    /// What a step is taken with.
    majorant: Mat<f64>,
}

/// What is known of the mean kernel or of a deviation, and the factor of its curvature.
type Known = (Information, Cholesky);

/// What the sample tells, and what is known of the wings before: that counts as data.
fn known_with_wings(
    signals: &[Signal],
    score: f64,
    penalty: &Penalty,
) -> Result<Vec<Known>, SolveError> {
    let of_row = |(row, signal): (usize, &Signal)| {
        let mut curvature = signal.curvature.clone();
        let mut scores = &curvature * faer::Scale(score);
        for matrix in [&mut curvature, &mut scores] {
            penalty.wings().add_to(1.0, row, matrix);
        }
        let factor = Cholesky::new(&curvature)?;
        Ok((Information { curvature, score: Cholesky::new(&scores)? }, factor))
    };
    signals.iter().enumerate().map(of_row).collect()
}

/// x as rows, one for each term of the kernel's variation, over the functions of the basis and its part of the background; zero where there is
/// no such column.
fn rows_of_terms(design: &Design, x: &[f64]) -> Vec<Vec<f64>> {
    let (n, background) = (design.basis().len(), design.split(x).1);
    let row = |(t, term): (usize, KernelTerm)| {
        let mut row = vec![0.0; columns_of_one_term(design)];
        row[term.functions].copy_from_slice(&x[term.columns]);
        row[n..].iter_mut().zip(background.iter().skip(t)).for_each(|(row, b)| *row = *b);
        row
    };
    design.kernel_terms().enumerate().map(row).collect()
}

/// tr (J + Q)⁻¹J of the mean kernel and of all deviations, each with its part of the background.
fn effective_unknowns(
    design: &Design,
    known: &[Known],
    penalty: &Penalty,
) -> Result<f64, SolveError> {
    let (terms, background) =
        (design.variation().len(), design.background().map_or(0, Polynomial2d::len));
    let mut sum = 0.0;
    for (row, ((Information { curvature, .. }, own), q)) in
        known.iter().zip(penalty.matrices()).enumerate()
    {
        let mut all = penalised(curvature, &q);
        // They are in both.
        penalty.wings().add_to(-1.0, row, &mut all);
        let factor = Cholesky::new(&all)?;
        let trace = factor.whitened(own).squared_norm_l2() - penalty.wings().trace(row, &factor);
        sum += trace * if row == 0 { 1.0 } else { (terms - 1) as f64 };
    }
    // Each deviation was given a coefficient of the background, whether there are as many or not.
    let given = columns_of_one_term(design) - design.basis().len();
    Ok(sum + background as f64 - (given * terms) as f64)
}

/// X ← Lᵀ X.
fn mix_rows(l: MatRef<'_, f64>, x: &mut [Vec<f64>]) {
    for r in 0..x.len() {
        let (before, rest) = x[r..].split_at_mut(1);
        before[0].iter_mut().for_each(|v| *v *= l[(r, r)]);
        for (t, row) in rest.iter().enumerate() {
            axpy(l[(r + 1 + t, r)], row, &mut before[0]);
        }
    }
}

/// X ← L⁻¹ X.
fn solve_rows(l: MatRef<'_, f64>, x: &mut [Vec<f64>]) {
    for r in 0..x.len() {
        let (above, rest) = x.split_at_mut(r);
        for (s, above) in above.iter().enumerate() {
            axpy(-l[(r, s)], above, &mut rest[0]);
        }
        rest[0].iter_mut().for_each(|v| *v /= l[(r, r)]);
    }
}
