//! Whether a kernel varies over the image, asked before anything that varies is fitted.
//!
//! At the minimum for a constant kernel, the gradient over the columns of a kernel that varies is noise if it does not vary.
//! What kernels vary in is first of all flux, place and width; so the gradient is looked at along the seeing's kernel, [`crate::regularise::seeing_kernel`], and its
//! derivatives by centre and second moments, six functions, times each polynomial T_t but the constant one: these are the further columns of
//! [`crate::design::score_test`].
//!
//! The noise of the reference leaves a bias in g_v, ν_0t(u) of [`crate::regularise::penalty`] times the kernel and its change; and it reaches neighbouring pixels alike, see
//! [`crate::uncertainty::correlated_noise`], by which S is the larger. Both are computed only where s is more than chance without them; the latter for T_t constant over a kernel, and less its
//! mean over the direction's energy in the place of the projection.

use std::ops::Range;

use dia_core::{DataVector, Design, DesignMatrix, Image, Kernel, KernelTerm, Pixel, PixelWeight};
use faer::Mat;

use crate::design::score_test::{
    ONE_IN_A_HUNDRED, gradient_over, limit, project, quadratic_form, reference_noise_at_sample,
};
use crate::linear::cg::{axpy, dot};
use crate::precondition::sample::{Sample, terms_at};
use crate::regularise::seeing_shape::SeeingShape;
use crate::robust::problem::Problem;
use crate::uncertainty::correlated_noise::CorrelatedNoise;
use crate::{SolveError, SubtractError};

/// How the score of a kernel's variation compares with noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariationTest {
    /// sᵀ (Var s)⁻¹ s.
    pub statistic: f64,
    /// The number of directions, its expectation where nothing varies.
    pub degrees_of_freedom: usize,
    /// The value that chance exceeds in one of a hundred such fields; or, where that is larger, the one from which on a hundredth of the model's error can be gained.
    pub limit: f64,
}

impl VariationTest {
    /// `error` is Σ w (M − M_true)² without variation, as it is expected.
    fn new(variance: &Mat<f64>, score: &[f64], error: f64) -> Result<Self, SolveError> {
        let (statistic, degrees_of_freedom) = quadratic_form(variance, score)?;
        // What the statistic exceeds its expectation by is what the error's square would fall by.
        let relevant = degrees_of_freedom as f64 + RELEVANT * error;
        let limit = limit(degrees_of_freedom.max(1), ONE_IN_A_HUNDRED).max(relevant);
        Ok(Self { statistic, degrees_of_freedom, limit })
    }

    /// Whether more than chance is seen.
    pub fn varies(&self) -> bool {
        self.statistic > self.limit
    }
}

/// The part of the square of the model's error that is worth a kernel that varies. In large images more is seen than that is.
const RELEVANT: f64 = 0.02;

/// Tests whether the kernel of `all` varies, at the parameters `x` of `problem`, which is the same without variation. `None` where the seeing's kernel is not known.
pub(crate) fn variation_test<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    all: &A,
    reference_variance: Option<(&A, &Image<A::Pixel>)>,
    x: &[f64],
) -> Result<Option<VariationTest>, SubtractError> {
    let Some(free) = problem.free.clone() else { return Ok(None) };
    let directions = Directions::new(problem, all.design(), free.shape);
    let (g, mut score) = gradients(problem, all, &directions, x)?;
    let weights = problem.at_sample(&problem.weights)?;
    let sampled = SampledDirections::new(problem, all.design(), &directions, &weights);
    let columns: Vec<Vec<f64>> = sampled.products.iter().map(|d| sampled.direction(*d)).collect();
    let projected = project(problem, &weights, &columns, &g, &mut score)?;
    let loss = problem.loss;
    let relative = |kind| loss.mean_weight(kind) / loss.mean_weight(PixelWeight::Robust);
    let independent = projected * faer::Scale(relative(PixelWeight::Score));
    // The error is that of the parameters, and the reference's noise.
    let carried = reference_noise_at_sample(problem)?;
    let error = problem.effective_unknowns + dot(&carried, &sampled.over);
    let test = VariationTest::new(&independent, &score, error)?;
    let (true, Some((v, image))) = (test.varies(), reference_variance) else {
        return Ok(Some(test));
    };
    if problem.noise.reference.is_none() {
        return Ok(Some(test));
    }
    let bias = directions.bias(problem, v, all.design(), x)?;
    axpy(problem.share, &bias, &mut score);
    let excess = sampled.excess(problem, &directions, all.design(), image, x)?;
    let total = independent + excess * faer::Scale(relative(PixelWeight::Curvature).powi(2));
    Ok(Some(VariationTest::new(&total, &score, error)?))
}

/// Changes of the kernel, each times a polynomial.
struct Directions {
    /// Coefficients over the functions of the basis.
    changes: Vec<Vec<f64>>,
    /// Of each direction, its change and its term T_t.
    products: Vec<(usize, usize)>,
}

impl Directions {
    fn new<A: DesignMatrix>(problem: &Problem<'_, A>, design: &Design, shape: SeeingShape) -> Self {
        let basis = design.basis();
        let nearest = &problem.nearest;
        let images = shape.changes(basis.support().half_width());
        let whole: Vec<Vec<f64>> =
            images.iter().map(|image| nearest.coefficients(basis, image)).collect();
        let (mut changes, mut products) = (Vec::new(), Vec::new());
        let mut known: Vec<(Range<usize>, usize)> = Vec::new();
        for (t, KernelTerm { functions, .. }) in design.kernel_terms().enumerate().skip(1) {
            let found = known.iter().find(|(range, _)| *range == functions);
            let first = found.map_or(changes.len(), |(_, first)| *first);
            if first == changes.len() {
                // A term may have a part of the functions only.
                let within = |(j, value): (usize, &f64)| {
                    if functions.contains(&j) { *value } else { 0.0 }
                };
                changes.extend(whole.iter().map(|x| x.iter().enumerate().map(within).collect()));
                known.push((functions, first));
            }
            products.extend((first..first + whole.len()).map(|change| (change, t)));
        }
        Self { changes, products }
    }
}

impl Directions {
    /// Σ_u ν_0t(u) K(u) c(u) of each direction, c its change, for the weights in the problem's memory.
    fn bias<A: DesignMatrix>(
        &self,
        problem: &mut Problem<'_, A>,
        v: &A,
        design: &Design,
        x: &[f64],
    ) -> Result<Vec<f64>, SubtractError> {
        let mut moments = vec![0.0; v.ncols()];
        v.apply_adjoint(&problem.weights, &mut moments, &mut v.workspace()?)?;
        problem.products += 1;
        let inner = |kernel: &Kernel| kernel.within(design.inner_half_width());
        let kernel = inner(&problem.a.design().kernel(x));
        let pixels = kernel.pixels().len();
        let of_change = |change: &Vec<f64>| {
            let mut whole = Kernel::zero(design.half_width());
            design.basis().expand(change, &mut whole);
            let products = inner(&whole);
            products.pixels().iter().zip(kernel.pixels()).map(|(c, k)| c * k).collect()
        };
        let products: Vec<Vec<f64>> = self.changes.iter().map(of_change).collect();
        // The polynomials of V begin with those of the kernel.
        let noise = |t: usize| &moments[t * pixels..(t + 1) * pixels];
        Ok(self.products.iter().map(|(change, t)| dot(&products[*change], noise(*t))).collect())
    }
}

/// The gradient at `x`, over the constant columns with the penalty, and along the directions. The weights at `x` are in the problem's memory afterwards.
fn gradients<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    all: &A,
    directions: &Directions,
    x: &[f64],
) -> Result<(Vec<f64>, Vec<f64>), SubtractError> {
    let (design, gradient) = (all.design(), gradient_over(problem, all, x)?);
    let mut g = gradient[..design.basis().len()].to_vec();
    g.extend_from_slice(&gradient[design.kernel_ncols()..]);
    if let Some(penalty) = &problem.penalty {
        penalty.add_product(-1.0, x, &mut g);
    }
    let terms: Vec<KernelTerm> = design.kernel_terms().collect();
    let along = |(change, t): &(usize, usize)| {
        let KernelTerm { columns, functions } = terms[*t].clone();
        dot(&directions.changes[*change][functions], &gradient[columns])
    };
    Ok((g, directions.products.iter().map(along).collect()))
}

/// The directions at the sampled rows.
struct SampledDirections {
    /// R convolved with each change.
    along: Vec<Vec<f64>>,
    /// T_t for each term.
    terms: Vec<Vec<f64>>,
    products: Vec<(usize, usize)>,
    weights: Vec<f64>,
    /// The same over the probabilities.
    over: Vec<f64>,
}

impl SampledDirections {
    fn new<A: DesignMatrix>(
        problem: &Problem<'_, A>,
        design: &Design,
        directions: &Directions,
        weights: &[f64],
    ) -> Self {
        let Sample { draw, rows, .. } = &problem.sample;
        let along = directions.changes.iter().map(|change| {
            let value = |i: usize| rows.row(i).iter().zip(change).map(|(r, c)| r.widen() * c).sum();
            (0..weights.len()).map(value).collect()
        });
        let over = weights.iter().zip(draw.probabilities()).map(|(w, p)| w / p).collect();
        Self {
            along: along.collect(),
            terms: terms_at(design.variation(), design.valid(), draw.rows()),
            products: directions.products.clone(),
            weights: weights.to_vec(),
            over,
        }
    }

    /// Direction k at the sampled rows.
    fn direction(&self, (change, t): (usize, usize)) -> Vec<f64> {
        self.along[change].iter().zip(&self.terms[t]).map(|(a, t)| a * t).collect()
    }

    /// What the reference's noise adds to S_vv because neighbours share it.
    fn excess<A: DesignMatrix>(
        &self,
        problem: &mut Problem<'_, A>,
        directions: &Directions,
        design: &Design,
        reference_variance: &Image<A::Pixel>,
        x: &[f64],
    ) -> Result<Mat<f64>, SubtractError> {
        let correlated = CorrelatedNoise::new(problem, reference_variance, x);
        let a = problem.a;
        // c(q) of each change, and T_t at the pixels q.
        let mut carried = Vec::new();
        for change in &directions.changes {
            let mut parameters = vec![0.0; a.ncols()];
            parameters[..change.len()].copy_from_slice(change);
            let f = &mut problem.memory.data;
            a.apply(&parameters, f, &mut problem.memory.operator)?;
            f.multiply(&problem.weights)?;
            carried.push(correlated.carried(a, f)?);
        }
        problem.products += carried.len();
        let (places, variances): (Vec<usize>, Vec<f64>) = correlated.pixels().unzip();
        let mut own = reference_noise_at_sample(problem)?;
        let weights = self.weights.iter().zip(&self.over);
        own.iter_mut().zip(weights).for_each(|(own, (w, over))| *own *= w * over);
        let terms = terms_at(design.variation(), design.valid(), &places);
        let mut of_pixels = Vec::new();
        let mut of_rows = Vec::new();
        for (change, t) in &self.products {
            let energy = self.along[*change].iter().zip(&self.over).map(|(a, w)| a * a * w);
            let (mut sum, mut all) = (0.0, 0.0);
            for (energy, term) in energy.zip(&self.terms[*t]) {
                sum += energy * term;
                all += energy;
            }
            let mean = if all > 0.0 { sum / all } else { 0.0 };
            let less = |values: &[f64], terms: &[f64]| -> Vec<f64> {
                values.iter().zip(terms).map(|(v, t)| v * (t - mean)).collect()
            };
            of_pixels.push(less(&carried[*change], &terms[*t]));
            of_rows.push(less(&self.along[*change], &self.terms[*t]));
        }
        let form = |vectors: &[Vec<f64>], weights: &[f64], k: usize, l: usize| -> f64 {
            let products = vectors[k].iter().zip(&vectors[l]).zip(weights);
            products.map(|((a, b), w)| a * b * w).sum()
        };
        let n = self.products.len();
        Ok(Mat::from_fn(n, n, |k, l| {
            form(&of_pixels, &variances, k, l) - form(&of_rows, &own, k, l)
        }))
    }
}
