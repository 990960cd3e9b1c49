//! What happens to each row of R ⊗ K while it is in cache: background and wings are added, the values are used, moments are taken.
//!
//! All of it over vectors of pixels, written out for them: rows in a tile are short, and a compiler's remainder loops would take as long as the rest.

use std::ops::Range;

use dia_core::{Loss, Noise, Photon};
use pulp::Simd;

use crate::modulated::{InRow, Modulated, Moments};
use crate::vector::{Lanes, vectors};

/// A function of the model at single pixels.
pub(crate) trait Pixelwise<T: Lanes>: Sync {
    /// The new values of some neighbouring `pixels`, indices of the data space, from those of the model. Lanes beyond the range do not matter.
    fn apply<S: Simd>(&self, simd: S, model: T::Vector<S>, pixels: Range<usize>) -> T::Vector<S>;
}

/// The model itself: A x.
pub(crate) struct Model;

/// Given values in place of the model: Aᵀ y.
pub(crate) struct Values<'a, T>(pub(crate) &'a [T]);

/// w M: AᵀWA x.
pub(crate) struct Weighted<'a, T>(pub(crate) &'a [T]);

/// w (I − M) with the robust weights of M, see [`dia_core::Reweight`].
pub(crate) struct RobustResiduals<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) noise: &'a Noise<Vec<T>>,
    pub(crate) loss: Loss,
}

impl<T: Lanes> Pixelwise<T> for Model {
    #[inline(always)]
    fn apply<S: Simd>(&self, _: S, model: T::Vector<S>, _: Range<usize>) -> T::Vector<S> {
        model
    }
}

impl<T: Lanes> Pixelwise<T> for Values<'_, T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, _: T::Vector<S>, pixels: Range<usize>) -> T::Vector<S> {
        T::load(simd, &self.0[pixels])
    }
}

impl<T: Lanes> Pixelwise<T> for Weighted<'_, T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, model: T::Vector<S>, pixels: Range<usize>) -> T::Vector<S> {
        T::mul(simd, model, T::load(simd, &self.0[pixels]))
    }
}

impl<T: Lanes> Pixelwise<T> for RobustResiduals<'_, T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, model: T::Vector<S>, pixels: Range<usize>) -> T::Vector<S> {
        let photon = match &self.noise.photon {
            Photon::Uniform(photon) => T::splat(simd, T::nearest(*photon)),
            Photon::PerPixel(photon) => T::load(simd, &photon[pixels.clone()]),
        };
        let positive = T::max(simd, model, T::splat(simd, T::nearest(0.0)));
        let fixed = T::load(simd, &self.noise.fixed[pixels.clone()]);
        let mut variance = T::mul_add(simd, photon, positive, fixed);
        if let Some(reference) = &self.noise.reference {
            variance = T::add(simd, variance, T::load(simd, &reference[pixels.clone()]));
        }
        let inverse = T::div(simd, T::splat(simd, T::nearest(1.0)), variance);
        let residual = T::sub(simd, T::load(simd, &self.data[pixels]), model);
        let weighted = T::mul(simd, residual, inverse);
        match self.loss {
            Loss::Gaussian => weighted,
            Loss::Huber { c } => {
                let c = T::splat(simd, T::nearest(c));
                let z = T::sqrt(simd, T::mul(simd, residual, weighted));
                let z = T::max(simd, z, c);
                T::mul(simd, weighted, T::div(simd, c, z))
            }
            Loss::Tukey { c } => {
                let scale = T::splat(simd, T::nearest(1.0 / (c * c)));
                let z2 = T::mul(simd, residual, weighted);
                let u = T::neg_mul_add(simd, z2, scale, T::splat(simd, T::nearest(1.0)));
                let u = T::max(simd, u, T::splat(simd, T::nearest(0.0)));
                T::mul(simd, weighted, T::mul(simd, u, u))
            }
            Loss::Cauchy { c } => ratio::<S, T>(simd, residual, weighted, c * c, c * c),
            Loss::StudentT { nu } => ratio::<S, T>(simd, residual, weighted, nu + 1.0, nu),
        }
    }
}

/// w a/(b + z²), with w the residual times the inverse variance and z² = r w.
#[inline(always)]
fn ratio<S: Simd, T: Lanes>(
    simd: S,
    residual: T::Vector<S>,
    weighted: T::Vector<S>,
    a: f64,
    b: f64,
) -> T::Vector<S> {
    let scale = T::mul_add(simd, residual, weighted, T::splat(simd, T::nearest(b)));
    T::mul(simd, weighted, T::div(simd, T::splat(simd, T::nearest(a)), scale))
}

/// The loop over a row.
pub(crate) struct RowLoop<'a, T, P> {
    /// What is added to R ⊗ K, with its polynomials in each row.
    pub(crate) added: Vec<(&'a Modulated<T>, Vec<InRow<T>>)>,
    /// What moments are taken of.
    pub(crate) adjoint: &'a [Modulated<T>],
    /// Columns of the valid region.
    pub(crate) width: usize,
    pub(crate) pixelwise: P,
}

impl<T: Lanes, P: Pixelwise<T>> RowLoop<'_, T, P> {
    /// Replaces `values`, R ⊗ K at `columns` of the valid row `y`, and adds the new ones to the moments, one for each of the adjoint.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(
        &self,
        simd: S,
        moments: &mut [Moments<T>],
        y: usize,
        columns: Range<usize>,
        values: &mut [T],
    ) {
        // The second tile of a pair may lie beyond the image.
        if values.is_empty() {
            return;
        }
        for (modulated, in_rows) in &self.added {
            modulated.add_to(simd, &in_rows[y], y, columns.clone(), values);
        }
        let first = y * self.width + columns.start;
        for (start, end) in vectors::<S, T>(values.len()) {
            let v = T::load(simd, &values[start..end]);
            let v = self.pixelwise.apply(simd, v, first + start..first + end);
            T::store(simd, &mut values[start..end], v);
        }
        for (modulated, moments) in self.adjoint.iter().zip(moments) {
            modulated.add_moments(simd, moments, y, columns.clone(), values);
        }
    }
}
