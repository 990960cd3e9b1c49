//! How time grows with the problem: t = c + p N + a N^α n^β + b n³, N pixels and n unknowns.
//!
//! An iterative method makes products, whose cost is ∝ N, and factors a sampled Gram matrix, whose cost is ∝ n³ whatever the image; a normal matrix
//! of all rows is ∝ N n², with a smaller exponent of n where rows are short. No power law is the sum of these.

use serde::Serialize;

/// A measured time in seconds for N pixels and n unknowns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) pixels: f64,
    pub(crate) unknowns: f64,
    pub(crate) seconds: f64,
}

/// t = `constant` + `per_pixel` · N + `factor` · N^`alpha` · n^`beta` + `cubic` · n³ in seconds; no coefficient is negative, and 0 is a term left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CostModel {
    pub(crate) constant: f64,
    pub(crate) per_pixel: f64,
    pub(crate) factor: f64,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    pub(crate) cubic: f64,
    /// The rms of ln (measured/model).
    pub(crate) scatter: f64,
    /// The same of each sample for the model of all others.
    pub(crate) scatter_left_out: f64,
    pub(crate) samples: usize,
}

const TERMS: usize = 4;
/// The term with the exponents.
const MIXED: usize = 2;
/// Terms of a model, by their place in t.
type Terms = [bool; TERMS];

/// Largest α and β. More would be carried far beyond the measurements by little evidence; β = 3 would be the last term.
const MOST: [f64; 2] = [1.25, 2.5];
/// The first exponents that are tried are so far apart.
const COARSE: f64 = 0.25;
/// The last steps are no smaller.
const FINE: f64 = 0.004;
/// The directions of a step; a larger α with a smaller β changes little.
const WAYS: [(f64, f64); 6] =
    [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, -1.0)];
/// A further term must take away this part of the scatter of samples left out.
const WORTH: f64 = 0.03;
/// No time is known better than this; a smaller scatter is rounding.
const EXACT: f64 = 1e-6;

impl CostModel {
    /// By least squares in logarithms; of the sets of terms, the one that best predicts a sample from all others.
    ///
    /// `None` without at least four samples that differ in both N and n.
    pub(crate) fn fit(samples: &[Sample]) -> Option<Self> {
        let differ = |of: fn(&Sample) -> f64| samples.iter().any(|s| of(s) != of(&samples[0]));
        if samples.len() < 4 || !differ(|s| s.pixels) || !differ(|s| s.unknowns) {
            return None;
        }
        let mut sets: Vec<Terms> =
            (1..1 << TERMS).map(|set| [0, 1, 2, 3].map(|k| set >> k & 1 == 1)).collect();
        // One sample is left out, and the others must not be met exactly by any times.
        sets.retain(|terms| parameters(*terms) < samples.len());
        sets.sort_by_key(|terms| parameters(*terms));
        let mut best: Option<Self> = None;
        for terms in sets {
            let Some(model) = Self::judged(samples, terms) else { continue };
            let bar = best.map_or(f64::MAX, |best| best.scatter_left_out);
            if model.scatter_left_out < (1.0 - WORTH) * bar - EXACT {
                best = Some(model);
            }
        }
        best
    }

    /// The model of a set of terms with both kinds of scatter.
    fn judged(samples: &[Sample], terms: Terms) -> Option<Self> {
        let model = Self::with_terms(samples, terms)?;
        let mut squares = 0.0;
        for (i, left_out) in samples.iter().enumerate() {
            let others = [&samples[..i], &samples[i + 1..]].concat();
            squares += Self::with_terms(&others, terms)?.error(left_out).powi(2);
        }
        let scatter_left_out = (squares / samples.len() as f64).sqrt();
        scatter_left_out.is_finite().then_some(Self { scatter_left_out, ..model })
    }

    fn with_terms(samples: &[Sample], terms: Terms) -> Option<Self> {
        let at = |[alpha, beta]: [f64; 2]| Self::with_exponents(samples, terms, [alpha, beta]);
        let better = |a: &Option<Self>, b: &Option<Self>| {
            a.is_some_and(|a| b.is_none_or(|b| a.scatter < b.scatter))
        };
        if !terms[MIXED] {
            return at([0.0, 0.0]);
        }
        let mut best = None;
        for i in 0..=(MOST[0] / COARSE) as usize {
            for j in 0..=(MOST[1] / COARSE) as usize {
                let model = at([i as f64 * COARSE, j as f64 * COARSE]);
                if better(&model, &best) {
                    best = model;
                }
            }
        }
        let mut step = COARSE / 2.0;
        while step > FINE {
            let here = best?;
            for (along_alpha, along_beta) in WAYS {
                let alpha = (here.alpha + along_alpha * step).clamp(0.0, MOST[0]);
                let model = at([alpha, (here.beta + along_beta * step).clamp(0.0, MOST[1])]);
                if better(&model, &best) {
                    best = model;
                }
            }
            if best == Some(here) {
                step /= 2.0;
            }
        }
        best
    }

    /// The coefficients for given exponents.
    fn with_exponents(samples: &[Sample], terms: Terms, [alpha, beta]: [f64; 2]) -> Option<Self> {
        let rows: Vec<[f64; TERMS]> = samples
            .iter()
            .map(|s| {
                let mixed = s.pixels.powf(alpha) * s.unknowns.powf(beta);
                [1.0, s.pixels, mixed, s.unknowns.powi(3)]
            })
            .collect();
        let value = |row: &[f64; TERMS], x: &[f64; TERMS]| -> f64 {
            row.iter().zip(x).map(|(r, x)| r * x).sum()
        };
        // ln (m/t) is (m − t)/√(m t) but for its cube, so that weights 1/(m t) of the last m make logarithms of linear least squares.
        let mut weights: Vec<f64> = samples.iter().map(|s| s.seconds.powi(-2)).collect();
        let mut x = [0.0; TERMS];
        for _ in 0..3 {
            x = non_negative(&rows, samples, &weights, terms)?;
            for ((weight, row), s) in weights.iter_mut().zip(&rows).zip(samples) {
                *weight = (value(row, &x) * s.seconds).recip();
            }
        }
        let [constant, per_pixel, factor, cubic] = x;
        let model = Self {
            constant,
            per_pixel,
            factor,
            alpha,
            beta,
            cubic,
            scatter: 0.0,
            scatter_left_out: f64::INFINITY,
            samples: samples.len(),
        };
        let squares: f64 = samples.iter().map(|s| model.error(s).powi(2)).sum();
        let scatter = (squares / samples.len() as f64).sqrt();
        scatter.is_finite().then_some(Self { scatter, ..model })
    }

    /// ln (measured/model).
    fn error(&self, sample: &Sample) -> f64 {
        (sample.seconds / self.seconds(sample.pixels, sample.unknowns)).ln()
    }

    /// The time in seconds for N pixels and n unknowns.
    pub(crate) fn seconds(&self, pixels: f64, unknowns: f64) -> f64 {
        self.constant
            + self.per_pixel * pixels
            + self.factor * pixels.powf(self.alpha) * unknowns.powf(self.beta)
            + self.cubic * unknowns.powi(3)
    }
}

/// Numbers that are fitted.
fn parameters(terms: Terms) -> usize {
    terms.iter().filter(|term| **term).count() + if terms[MIXED] { 2 } else { 0 }
}

/// The x ≥ 0 of the least Σ w (rowᵀx − t)², by trying which are positive: there are few.
fn non_negative(
    rows: &[[f64; TERMS]],
    samples: &[Sample],
    weights: &[f64],
    terms: Terms,
) -> Option<[f64; TERMS]> {
    let (mut h, mut g) = ([[0.0; TERMS]; TERMS], [0.0; TERMS]);
    for ((row, s), w) in rows.iter().zip(samples).zip(weights) {
        for i in 0..TERMS {
            g[i] += w * row[i] * s.seconds;
            (0..TERMS).for_each(|j| h[i][j] += w * row[i] * row[j]);
        }
    }
    let all = (0..TERMS).fold(0, |set, k| set | usize::from(terms[k]) << k);
    let mut best: Option<([f64; TERMS], f64)> = None;
    for set in (1..=all).rev().filter(|set| set & !all == 0) {
        let Some(x) = solve(h, g, set).filter(|x| x.iter().all(|x| *x >= 0.0)) else { continue };
        // At the minimum over a set the objective is Σ w t² − gᵀx.
        let gain = x.iter().zip(&g).map(|(x, g)| x * g).sum();
        if best.is_none_or(|(_, most)| gain > most) {
            best = Some((x, gain));
        }
        if set == all {
            break;
        }
    }
    best.map(|(x, _)| x)
}

/// h x = g within a set, 0 outside of it, by Gaussian elimination; `None` where two terms are the same.
fn solve(mut h: [[f64; TERMS]; TERMS], mut g: [f64; TERMS], set: usize) -> Option<[f64; TERMS]> {
    let members: Vec<usize> = (0..TERMS).filter(|k| set >> k & 1 == 1).collect();
    let whole = h;
    for (place, &k) in members.iter().enumerate() {
        if h[k][k] <= 1e-10 * whole[k][k] {
            return None;
        }
        for &i in &members[place + 1..] {
            let factor = h[i][k] / h[k][k];
            members[place..].iter().for_each(|&j| h[i][j] -= factor * h[k][j]);
            g[i] -= factor * g[k];
        }
    }
    let mut x = [0.0; TERMS];
    for (place, &k) in members.iter().enumerate().rev() {
        let known: f64 = members[place + 1..].iter().map(|&j| h[k][j] * x[j]).sum();
        x[k] = (g[k] - known) / h[k][k];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::{CostModel, EXACT, FINE, Sample};

    fn samples(time: impl Fn(f64, f64) -> f64) -> Vec<Sample> {
        let sides = [128.0, 256.0, 512.0, 1024.0, 2048.0_f64];
        let unknowns = [28.0, 84.0, 364.0, 628.0];
        let all = sides.iter().flat_map(|side| unknowns.map(|n| (side * side, n)));
        all.map(|(pixels, n)| Sample { pixels, unknowns: n, seconds: time(pixels, n) }).collect()
    }

    #[test]
    fn one_power_law_is_one_term() {
        let model = CostModel::fit(&samples(|pixels, n| 3e-11 * pixels * n * n)).unwrap();
        // 1 and 2 are among the first exponents that are tried, and then the scatter is that of rounding.
        assert_eq!([model.alpha, model.beta], [1.0, 2.0], "{model:?}");
        assert_eq!([model.constant, model.per_pixel, model.cubic], [0.0; 3]);
        assert!(model.scatter < 1e-12 && model.scatter_left_out < EXACT, "{model:?}");
    }

    #[test]
    fn exponents_between_those_tried_first_are_found() {
        let model = CostModel::fit(&samples(|pixels, n| 3e-9 * pixels.powf(0.93) * n.powf(1.38)));
        let model = model.unwrap();
        // The last step is between FINE and 2 FINE, and no such step is better.
        assert!((model.alpha - 0.93).abs() <= 2.0 * FINE, "{model:?}");
        assert!((model.beta - 1.38).abs() <= 2.0 * FINE, "{model:?}");
        // An error of 2 FINE in both exponents, over the range of ln N and of ln n.
        let range = (2048.0 / 128.0_f64).powi(2).ln() + (628.0 / 28.0_f64).ln();
        assert!(model.scatter <= 2.0 * FINE * range, "{model:?}");
    }

    #[test]
    fn products_and_a_sampled_factor_are_told_apart() {
        let time = |pixels: f64, n: f64| 5e-8 * pixels + 2.5e-10 * n.powi(3);
        let model = CostModel::fit(&samples(time)).unwrap();
        // Exact times: nothing is left for other terms, and coefficients are exact but for 20 roundings in normal equations of a condition
        // number below 10⁶.
        assert_eq!([model.constant, model.factor], [0.0; 2], "{model:?}");
        assert!((model.per_pixel / 5e-8 - 1.0).abs() < 1e-8, "{model:?}");
        assert!((model.cubic / 2.5e-10 - 1.0).abs() < 1e-8, "{model:?}");
        assert!((model.seconds(1e8, 364.0) / time(1e8, 364.0) - 1.0).abs() < 1e-8);
    }

    #[test]
    fn errors_of_a_tenth_are_the_scatter() {
        let time = |pixels: f64, n: f64| 5e-8 * pixels + 2.5e-10 * n.powi(3);
        let mut all = samples(time);
        for (i, sample) in all.iter_mut().enumerate() {
            sample.seconds *= if i * i % 7 < 2 { 1.1 } else { 1.0 / 1.1 };
        }
        let model = CostModel::fit(&all).unwrap();
        // Times span four decades, of which neither term describes more than a part.
        assert!(model.per_pixel > 0.0 && model.cubic > 0.0 && model.factor == 0.0, "{model:?}");
        // The true model, which is one of those with both terms, has this scatter; a sample that is left out has more.
        assert!(model.scatter <= 1.1_f64.ln(), "{model:?}");
        assert!(model.scatter_left_out > model.scatter, "{model:?}");
    }

    #[test]
    fn one_kernel_size_or_few_samples_give_no_model() {
        let all = samples(|pixels, n| pixels * n);
        assert!(CostModel::fit(&all[..3]).is_none() && CostModel::fit(&[]).is_none());
        let one: Vec<Sample> = all.into_iter().filter(|s| s.unknowns == 84.0).collect();
        assert!(CostModel::fit(&one).is_none());
    }
}
