//! The fit of all pixels, as the descent sees it: gradient and factor.

use std::sync::Arc;

use dia_core::{
    DataVector, DesignMatrix, Image, LinearOperator, Loss, Noise, OperatorError, Photon, Pixel,
    PixelWeight, Reweight,
};

use crate::linear::cg::dot;
use crate::precondition::row_sample::of_least_precision;
use crate::precondition::sample::{Factor, Sample};
use crate::regularise::nearest_kernel::NearestKernel;
use crate::regularise::penalty::{Bias, FreeKernel, Penalty, PenaltyMaps, Strengths};
use crate::regularise::seeing_shape::ReferenceStars;
use crate::robust::descent::RobustProblem;
use crate::robust::method::{Inner, Method, Preconditioning};
use crate::{
    CgWorkspace, Cholesky, DesignRows, GramPrecision, NormalWorkspace, SolveError, SubtractError,
};

/// The objective Σ ρ(z) + ½ xᵀQ x over all pixels, and how it is solved.
pub(crate) struct Problem<'a, A: DesignMatrix> {
    pub(crate) a: &'a A,
    pub(crate) reference: Arc<Image<A::Pixel>>,
    /// The rows whose Gram matrix is the preconditioner.
    pub(crate) sample: Sample<'a, A::Pixel>,
    /// What P is made of.
    pub(crate) preconditioning: Preconditioning,
    /// Whether a bad preconditioner may still be replaced.
    pub(crate) can_fall_back: bool,
    pub(crate) data: A::Data,
    pub(crate) noise: Noise<A::Data>,
    pub(crate) loss: Loss,
    /// V, which carries σ_R² into the model.
    pub(crate) variance: Variance<'a, A>,
    /// The share of the bias of σ_R² that is taken out.
    pub(crate) share: f64,
    pub(crate) strengths: Strengths,
    /// How often λ may still be raised where H + Q is not positive definite.
    pub(crate) raises: usize,
    /// tr (J + Q)⁻¹J, how many unknowns the fit has in effect; all without regularisation.
    pub(crate) effective_unknowns: f64,
    /// Q, where there is one.
    pub(crate) penalty: Option<Penalty>,
    /// What depends on the basis alone.
    pub(crate) penalty_maps: Arc<PenaltyMaps>,
    /// Kernels of the basis that are nearest to others.
    pub(crate) nearest: Arc<NearestKernel>,
    /// What the reference's stars are like.
    pub(crate) reference_stars: ReferenceStars,
    /// The kernel that the penalty leaves free, once it is known.
    pub(crate) free: Option<Arc<FreeKernel>>,
    /// The variance of the reference's good pixels, which is the unit of λ where they have no noise.
    pub(crate) scatter: f64,
    /// By what the reference's variance grows with its own noise.
    pub(crate) reference_photon: f64,
    /// How far the parameters have moved since noise and penalty were computed, in σ.
    pub(crate) moved: f64,
    /// How often they were.
    pub(crate) renewals: i32,
    /// Before the first reweighting it has not been touched, and takes no memory.
    pub(crate) weights: A::Data,
    pub(crate) memory: NormalWorkspace<A>,
    pub(crate) inner: Inner<A>,
    pub(crate) tolerance: f64,
    /// Those of the inner solver.
    pub(crate) iterations: usize,
    pub(crate) products: usize,
}

impl<'a, A: DesignMatrix> Problem<'a, A> {
    /// The same pixels with another operator: that of a kernel that varies, after that of one that does not.
    pub(crate) fn with_operator(
        self,
        a: &'a A,
        variance: Option<&'a A>,
        Method { preconditioning, can_fall_back, inner }: Method<A>,
    ) -> Result<Self, OperatorError> {
        Ok(Self {
            a,
            preconditioning,
            can_fall_back,
            inner,
            variance: with_workspace(variance)?,
            effective_unknowns: a.ncols() as f64,
            penalty: None,
            moved: f64::INFINITY,
            renewals: 0,
            memory: NormalWorkspace::new(a)?,
            ..self
        })
    }
}

/// V and its memory.
pub(crate) type Variance<'a, A> = Option<(&'a A, <A as LinearOperator>::Workspace)>;

pub(crate) fn with_workspace<A: LinearOperator>(
    variance: Option<&A>,
) -> Result<Variance<'_, A>, OperatorError> {
    variance.map(|v| Ok((v, v.workspace()?))).transpose()
}

impl<A: DesignMatrix> Problem<'_, A> {
    /// Renews noise and penalty once the parameters have moved by 100 tolerances in all. The reference's part is a small one, and
    /// K moves within its own uncertainty: an old variance shifts the minimum by less than a hundredth of that movement. Any weights that do not know the pixels give an estimate without bias, so that they need not be
    /// those of the minimum: where each new minimum moves them again, they are renewed less and less often, and the descent comes to an end.
    pub(crate) fn update(&mut self, x: &[f64]) -> Result<(), SubtractError> {
        let patience = (self.renewals - FREE_RENEWALS).max(0);
        if self.moved < 100.0 * self.tolerance * 2_f64.powi(patience) {
            return Ok(());
        }
        self.renew(x)
    }

    /// K² ⊗ σ_R² and Q, for the kernel of `x` and the weights there.
    pub(crate) fn renew(&mut self, x: &[f64]) -> Result<(), SubtractError> {
        self.moved = 0.0;
        self.renewals += 1;
        let design = self.a.design();
        if let (Some((v, workspace)), Some(reference)) =
            (&mut self.variance, &mut self.noise.reference)
        {
            v.apply(&design.variance_parameters(x), reference, workspace)?;
            self.products += 1;
        }
        if self.share == 0.0 && self.strengths.iter().all(|strength| strength.lambda == 0.0) {
            return Ok(());
        }
        self.reweight(x, self.loss, PixelWeight::Curvature)?;
        let moments = self.moments_of_the_variance()?;
        let weights = self.at_sample(&self.weights)?;
        let probabilities = self.sample.draw.probabilities();
        let total: f64 = weights.iter().zip(probabilities).map(|(w, p)| w / p).sum();
        let (share, otherwise) = (self.share, self.scatter * total);
        let scale = dot(&design.photometric_scale_functional(), x);
        let bias = Bias { moments: &moments, share, otherwise, scale };
        let maps = Arc::clone(&self.penalty_maps);
        let moments = match &self.penalty {
            Some(penalty) => penalty.terms().clone(),
            None => self.sample.moments(design)?,
        };
        let penalty = Penalty::new(design, maps, bias, moments, self.strengths);
        self.penalty = Some(penalty.with_free(self.free.clone()).with_expected_wings());
        Ok(())
    }

    /// What is left to do where H + Q is not positive definite: ten times the regularisation, if it is free; then less of the correction, for the
    /// reference's noise is less than is said of it. Returns whether anything was left.
    pub(crate) fn give_way(&mut self) -> bool {
        let Some(penalty) = &mut self.penalty else { return false };
        if self.raises > 0 {
            self.raises -= 1;
            self.strengths.iter_mut().for_each(|strength| strength.lambda *= 10.0);
            penalty.set_strengths(self.strengths);
            return true;
        }
        self.correct_less()
    }

    /// Whether the kernel is one of noise: with it grows K² ⊗ σ_R², until no residual counts any more, and the objective has a minimum there that is none of the data. No
    /// change of seeing amplifies noise so much; `settled` are parameters of the right flux.
    pub(crate) fn has_run_away(&self, x: &[f64], settled: &[f64]) -> bool {
        let design = self.a.design();
        let noise: f64 = design.kernel(x).pixels().iter().map(|k| k * k).sum();
        let scale = dot(&design.photometric_scale_functional(), settled);
        self.noise.reference.is_some() && noise > MOST_NOISE * scale * scale
    }

    /// Takes out less of the noise's bias; returns whether that is still to be believed.
    pub(crate) fn correct_less(&mut self) -> bool {
        let Some(penalty) = self.penalty.as_mut().filter(|_| self.share > LEAST_SHARE) else {
            return false;
        };
        self.share *= 0.8;
        penalty.set_share(self.share);
        true
    }

    /// The weights of a loss at `x`.
    pub(crate) fn reweight(
        &mut self,
        x: &[f64],
        loss: Loss,
        kind: PixelWeight,
    ) -> Result<(), OperatorError> {
        self.a.apply(x, &mut self.weights, &mut self.memory.operator)?;
        self.products += 1;
        self.data.reweight(&self.noise, loss, kind, &mut self.weights)
    }

    /// All rows of the design, written out.
    pub(crate) fn rows(&self) -> DesignRows<'_, A::Pixel> {
        DesignRows::new(self.a.design(), self.reference.view()).with_rings(self.a.ring_images())
    }

    /// Some values at the sampled rows.
    pub(crate) fn at_sample(&self, values: &A::Data) -> Result<Vec<f64>, OperatorError> {
        let rows = self.sample.draw.rows();
        let mut gathered = vec![0.0; rows.len()];
        self.a.gather(values, rows, &mut gathered)?;
        Ok(gathered)
    }

    /// The weights of the sampled rows at `x`, without a product with the whole image.
    pub(crate) fn sampled_weights(
        &self,
        x: &[f64],
        loss: Loss,
        kind: PixelWeight,
    ) -> Result<Vec<f64>, OperatorError> {
        let narrow = |values: Vec<f64>| -> Vec<A::Pixel> {
            values.into_iter().map(A::Pixel::narrow).collect()
        };
        let at_sample = |values: &A::Data| self.at_sample(values).map(narrow);
        let Noise { fixed, photon, reference } = &self.noise;
        let noise = Noise {
            fixed: at_sample(fixed)?,
            photon: match photon {
                Photon::Uniform(photon) => Photon::Uniform(*photon),
                Photon::PerPixel(photon) => Photon::PerPixel(at_sample(photon)?),
            },
            reference: reference.as_ref().map(at_sample).transpose()?,
        };
        let mut weights = self.sample.model(self.a.design(), x)?;
        self.sample.data.reweight(&noise, loss, kind, &mut weights)?;
        Ok(weights.into_iter().map(Pixel::widen).collect())
    }

    /// The factor of P = H + Q, H of the sampled rows or for the direct solver of all, with the weights in memory.
    pub(crate) fn factor_weights(&self) -> Result<Factor, SubtractError> {
        if self.preconditioning != Preconditioning::AllRows {
            return self.factor_sampled(&self.at_sample(&self.weights)?);
        }
        let rows = self.rows();
        let all: Vec<usize> = (0..self.a.nrows()).collect();
        let mut weights = vec![0.0; all.len()];
        self.a.gather(&self.weights, &all, &mut weights)?;
        let mut h = rows.normal_matrix(&weights, GramPrecision::Double);
        if let Some(penalty) = &self.penalty {
            penalty.add_to(&mut h);
        }
        Ok(Factor::Dense(Cholesky::new(&h)?))
    }

    /// The factor of P = H + Q, H of the sampled rows with the weights of these.
    fn factor_sampled(&self, weights: &[f64]) -> Result<Factor, SubtractError> {
        let design = self.a.design();
        if self.preconditioning == Preconditioning::SampledRows && design.variation().len() > 1 {
            let rows = self.rows();
            let p = of_least_precision(|precision| {
                let mut h = self.sample.draw.gram_of_design(&rows, weights, precision);
                if let Some(penalty) = &self.penalty {
                    penalty.add_to(&mut h);
                }
                h
            });
            return Ok(Factor::Dense(p?));
        }
        self.sample.factor(design, weights, self.loss, self.penalty.as_ref())
    }

    /// g ← Aᵀ W(x) (I − A x).
    pub(crate) fn gradient_without_penalty(
        &mut self,
        x: &[f64],
        g: &mut [f64],
    ) -> Result<(), SubtractError> {
        self.products += 2;
        let Self { a, data, noise, loss, memory, inner, .. } = self;
        if matches!(inner, Inner::None) {
            return Ok(a.robust_gradient(x, data, noise, *loss, g, &mut memory.operator)?);
        }
        // Inner solvers need weights.
        self.weigh_residuals(x)?;
        Ok(self.a.apply_adjoint(&self.memory.data, g, &mut self.memory.operator)?)
    }

    /// Leaves W(x) in `weights` and W(x) (I − A x) in the memory's data vector.
    pub(crate) fn weigh_residuals(&mut self, x: &[f64]) -> Result<(), OperatorError> {
        let Self { a, data, noise, loss, weights, memory, inner, .. } = self;
        a.apply(x, weights, &mut memory.operator)?;
        memory.data.axpby(1.0, data, 0.0)?;
        memory.data.axpby(-1.0, weights, 1.0)?;
        data.reweight(noise, *loss, PixelWeight::Robust, weights)?;
        // LSQR needs the residuals themselves.
        if let Inner::Lsqr(lsqr) = inner {
            lsqr.whitened.data.axpby(1.0, &memory.data, 0.0)?;
        }
        memory.data.multiply(weights)
    }
}

impl<A: DesignMatrix> RobustProblem for Problem<'_, A> {
    type Factor = Factor;
    type Error = SubtractError;

    /// Of the sampled rows, or for the direct solver of all.
    fn factor(&mut self, x: &[f64]) -> Result<Factor, SubtractError> {
        self.update(x)?;
        // What solves for a step needs the weights of all rows as well.
        let of_all =
            self.preconditioning == Preconditioning::AllRows || !matches!(self.inner, Inner::None);
        let sampled = if of_all {
            self.reweight(x, self.loss, PixelWeight::Robust)?;
            None
        } else {
            Some(self.sampled_weights(x, self.loss, PixelWeight::Robust)?)
        };
        loop {
            let factored = match &sampled {
                Some(weights) => self.factor_sampled(weights),
                None => self.factor_weights(),
            };
            match factored {
                Err(SubtractError::Solve(SolveError::NotPositiveDefinite { .. }))
                    if self.give_way() => {}
                factored => return factored,
            }
        }
    }

    fn gradient(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), SubtractError> {
        self.update(x)?;
        self.gradient_without_penalty(x, g)?;
        if let Some(penalty) = &self.penalty {
            penalty.add_product(-1.0, x, g);
        }
        Ok(())
    }

    fn improve(
        &mut self,
        p: &mut Factor,
        x: &[f64],
        g: &[f64],
        optimality: f64,
        delta: &mut [f64],
    ) -> Result<(), SubtractError> {
        self.moved += optimality;
        self.solve_step(p, x, g, delta)
    }

    /// P alone gives way to an inner solver; after that, λ is raised where it is free: what the data leave open lets a kernel grow whose variance K² ⊗ σ_R² then takes all weight from the data.
    fn safeguard(&mut self) -> bool {
        if matches!(self.inner, Inner::None) {
            self.inner = Inner::Cg(Box::new(CgWorkspace::new(self.a.ncols())));
            return true;
        }
        self.raises > 0 && self.give_way()
    }
}

/// Renewals of noise and penalty before they become rare.
const FREE_RENEWALS: i32 = 8;

/// ΣK² over (ΣK)² of a kernel that amplifies every frequency by four.
const MOST_NOISE: f64 = 16.0;

/// Noise of less than half of what is said of it is no noise of that kind.
const LEAST_SHARE: f64 = 0.5;

/// A Hessian without a factor: what the correction takes away is more than the image and the regularisation give.
pub(crate) fn explain(error: SubtractError, correct: bool) -> SubtractError {
    match error {
        SubtractError::Solve(SolveError::NotPositiveDefinite { .. }) if correct => {
            SubtractError::Undetermined
        }
        error => error,
    }
}
