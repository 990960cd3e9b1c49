//! Pixels that a fit leaves out, found between its rounds: variable sources, and what is clipped; and the scale of the noise.

use dia_core::robust::median_and_scatter;
use dia_core::simd::widest;
use dia_core::{
    DataVector, DesignMatrix, Loss, MaskPlanes, Photon, Pixel, PixelWeight, Reweight, seeing,
};
use rayon::prelude::*;

use crate::exclude::variable_sources::variable_sources_in_place;
use crate::robust::problem::Problem;
use crate::{Prepared, SubtractError, VariableSourceOptions, VariableSources};

/// Rejection of pixels by their residuals, the classical alternative to a robust loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clipping {
    /// k: pixels of |z| > k are rejected, in σ.
    pub threshold: f64,
    /// Number of fits, the first one with all pixels.
    pub passes: usize,
}

impl Default for Clipping {
    /// Three passes as in Bramich (2008, MNRAS 386, L77), at 5 σ.
    fn default() -> Self {
        Self { threshold: 5.0, passes: 3 }
    }
}

/// Where the size of the target's noise comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NoiseScale {
    /// The noise model is believed.
    #[default]
    Given,
    /// Its variances are multiplied by the square of the residuals' robust scatter (median absolute deviation): for an unknown gain.
    Estimated,
}

/// What is looked for between the rounds of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(crate) variables: Option<VariableSourceOptions>,
    pub(crate) clipping: Option<Clipping>,
    pub(crate) noise_scale: NoiseScale,
    /// Seeing of the target in pixels, where it is known.
    pub(crate) fwhm: Option<f64>,
}

/// Most rounds: a fit of good data settles after two.
const MAX_ROUNDS: usize = 5;

/// The pixels that are left out.
pub(crate) struct Exclusion<T> {
    rules: Rules,
    rounds: usize,
    fwhm: Option<f64>,
    /// Valid pixels, with the fixed part of their variance, in ADU².
    pub(crate) pixels: Vec<(usize, T, MaskPlanes)>,
    pub(crate) variables: Option<VariableSources>,
    /// The factor of the target's variances.
    pub(crate) noise_scale: f64,
}

impl<T: Pixel> Exclusion<T> {
    pub(crate) fn new(rules: Rules, prepared: &Prepared<'_, T>) -> Self {
        let measured = || seeing::fwhm(prepared.target(), prepared.mask());
        let fwhm = rules.variables.and_then(|_| rules.fwhm.or_else(measured));
        Self { rules, rounds: 0, fwhm, pixels: Vec::new(), variables: None, noise_scale: 1.0 }
    }

    /// Gives all pixels back to the problem, with the noise that they had.
    pub(crate) fn undo<A: DesignMatrix<Pixel = T>>(
        self,
        problem: &mut Problem<'_, A>,
    ) -> Result<(), SubtractError> {
        let a = problem.a;
        let fixed = std::mem::replace(&mut problem.noise.fixed, a.zeros()?);
        let mut fixed = a.download(fixed)?;
        for (i, value, _) in &self.pixels {
            fixed[*i] = *value;
        }
        problem.noise.fixed = a.upload(fixed)?;
        Self::scale_noise(problem, self.noise_scale.recip())
    }

    /// Multiplies the target's variances.
    fn scale_noise<A: DesignMatrix<Pixel = T>>(
        problem: &mut Problem<'_, A>,
        factor: f64,
    ) -> Result<(), SubtractError> {
        problem.noise.fixed.scale(factor)?;
        match &mut problem.noise.photon {
            Photon::Uniform(photon) => *photon *= factor,
            Photon::PerPixel(photon) => photon.scale(factor)?,
        }
        Ok(())
    }

    /// Whether a look at the residuals can change anything.
    pub(crate) fn pending(&self) -> bool {
        let wanted = self.fwhm.is_some() || self.rules.noise_scale == NoiseScale::Estimated;
        (wanted && self.rounds + 1 < MAX_ROUNDS) || self.clips()
    }

    /// Whether one more fit is to be one of clipped pixels.
    fn clips(&self) -> bool {
        self.rules.clipping.is_some_and(|clipping| self.rounds + 1 < clipping.passes)
    }

    /// Looks at the residuals of the parameters `x`. Says whether the problem has changed.
    pub(crate) fn update<A: DesignMatrix<Pixel = T>>(
        &mut self,
        problem: &mut Problem<'_, A>,
        prepared: &Prepared<'_, T>,
        x: &[f64],
    ) -> Result<bool, SubtractError> {
        let clipping = self.rules.clipping.filter(|_| self.clips());
        self.rounds += 1;
        let a = problem.a;
        let fixed = std::mem::replace(&mut problem.noise.fixed, a.zeros()?);
        let mut fixed = a.download(fixed)?;
        let before: Vec<(usize, MaskPlanes)> = self
            .pixels
            .drain(..)
            .map(|(i, value, why)| {
                fixed[i] = value;
                (i, why)
            })
            .collect();
        problem.noise.fixed = a.upload(fixed.clone())?;

        let mut model = a.zeros()?;
        a.apply(x, &mut model, &mut problem.memory.operator)?;
        problem.products += 1;
        let mut inverse = a.zeros()?;
        inverse.axpby(1.0, &model, 0.0)?;
        let kind = PixelWeight::Robust;
        problem.data.reweight(&problem.noise, Loss::Gaussian, kind, &mut inverse)?;
        let (mut model, mut variance) = (a.download(model)?, a.download(inverse)?);
        let (design, valid) = (a.design(), a.design().valid());
        let unit = prepared.units().target;
        let mut residual = vec![T::zero(); model.len()];
        let rows = residual.par_chunks_mut(valid.width).zip(variance.par_chunks_mut(valid.width));
        let rows = rows.zip(model.par_chunks_mut(valid.width)).enumerate();
        // From here on, the model is the stars' part of it.
        rows.for_each(|(y, ((residual, variance), model))| {
            let target = &prepared.target().row(valid.y + y)[valid.x..];
            widest(
                #[inline(always)]
                || {
                    let pixels = residual.iter_mut().zip(&mut *variance).zip(&*model).zip(target);
                    for (((residual, variance), model), target) in pixels {
                        *residual = T::narrow(target.widen() / unit) - *model;
                        *variance = variance.recip();
                    }
                },
            );
            design.subtract_background(x, valid.y + y, valid.x, model);
        });

        if let (Some(options), Some(fwhm)) = (&self.rules.variables, self.fwhm) {
            let field = [residual.as_mut_slice(), &mut variance, &mut model];
            let found = variable_sources_in_place(field, valid.width, fwhm, options);
            let masked = found.masked.iter().enumerate().filter(|(_, masked)| **masked);
            self.pixels.extend(masked.map(|(i, _)| (i, fixed[i], MaskPlanes::VARIABLE)));
            self.variables = Some(found);
        }
        let z = |i: usize| residual[i].widen() / variance[i].widen().sqrt();
        if let Some(Clipping { threshold, .. }) = clipping {
            let clipped =
                (0..residual.len()).filter(|i| fixed[*i].is_finite() && z(*i).abs() > threshold);
            self.pixels.extend(clipped.map(|i| (i, fixed[i], MaskPlanes::CLIPPED)));
        }
        let mut rescale = 1.0;
        if self.rules.noise_scale == NoiseScale::Estimated {
            let used = (0..residual.len()).filter(|i| fixed[*i].is_finite()).map(z);
            if let Some((_, scatter)) = median_and_scatter(used).filter(|(_, s)| *s > 0.0) {
                rescale = scatter * scatter;
                self.noise_scale *= rescale;
            }
        }
        for (i, ..) in &self.pixels {
            fixed[*i] = T::infinity();
        }
        problem.noise.fixed = a.upload(fixed)?;
        if rescale != 1.0 {
            self.pixels.iter_mut().for_each(|(_, v, _)| *v = T::narrow(v.widen() * rescale));
            Self::scale_noise(problem, rescale)?;
        }
        let now = self.pixels.iter().map(|(i, _, why)| (*i, *why));
        let rescaled = (rescale - 1.0).abs() > 1e-3;
        Ok(rescaled || !now.eq(before))
    }
}
