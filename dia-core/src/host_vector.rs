//! Data vectors in host memory: a `Vec` of pixels is a [`DataVector`].

use std::ops::Range;

use rayon::prelude::*;

use crate::sum::{LEAF, pairwise};
use crate::{DataVector, Loss, Noise, OperatorError, Photon, Pixel, ResidualSums, Reweight};

impl<T: Pixel> DataVector for Vec<T> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn dot(&self, other: &Self) -> Result<f64, OperatorError> {
        assert_eq!(self.len(), other.len());
        Ok(pairwise(self.len(), &|range| {
            let pairs = self[range.clone()].iter().zip(&other[range]);
            pairs.map(|(a, b)| a.widen() * b.widen()).sum()
        }))
    }

    fn axpby(&mut self, a: f64, x: &Self, b: f64) -> Result<(), OperatorError> {
        assert_eq!(self.len(), x.len());
        let (a, b_is_zero, b) = (T::narrow(a), b == 0.0, T::narrow(b));
        for_chunks(self, x, |y, x| *y = if b_is_zero { a * x } else { a * x + b * *y });
        Ok(())
    }

    fn scale(&mut self, a: f64) -> Result<(), OperatorError> {
        let a = T::narrow(a);
        if self.len() <= LEAF {
            scale_all(self, a);
        } else {
            self.par_chunks_mut(LEAF).for_each(|y| scale_all(y, a));
        }
        Ok(())
    }

    fn multiply(&mut self, other: &Self) -> Result<(), OperatorError> {
        assert_eq!(self.len(), other.len());
        for_chunks(self, other, |y, x| *y *= x);
        Ok(())
    }

    fn square_root_of(&mut self, other: &Self) -> Result<(), OperatorError> {
        assert_eq!(self.len(), other.len());
        for_chunks(self, other, |y, x| *y = x.sqrt());
        Ok(())
    }
}

fn scale_all<T: Pixel>(y: &mut [T], a: T) {
    for y in y {
        *y *= a;
    }
}

/// Calls `update(&mut yᵢ, xᵢ)` for every element, leaves of the sums in parallel.
fn for_chunks<T: Pixel>(y: &mut [T], x: &[T], update: impl Fn(&mut T, T) + Sync) {
    let run = |y: &mut [T], x: &[T]| {
        for (y, x) in y.iter_mut().zip(x) {
            update(y, *x);
        }
    };
    // A short vector is not worth a visit to the thread pool.
    if y.len() <= LEAF {
        return run(y, x);
    }
    y.par_chunks_mut(LEAF).zip(x.par_chunks(LEAF)).for_each(|(y, x)| run(y, x));
}

impl<T: Pixel> Reweight for Vec<T> {
    fn reweight(
        &self,
        model: &Self,
        noise: &Noise<Self>,
        loss: Loss,
        weights: &mut Self,
    ) -> Result<ResidualSums, OperatorError> {
        let m = self.len();
        assert!(model.len() == m && weights.len() == m && noise.fixed.len() == m);
        Ok(halve(0, self, model, weights, noise, loss))
    }
}

/// The tree of [`pairwise`], over leaves that also write their part of the weights.
fn halve<T: Pixel>(
    start: usize,
    data: &[T],
    model: &[T],
    weights: &mut [T],
    noise: &Noise<Vec<T>>,
    loss: Loss,
) -> ResidualSums {
    let len = data.len();
    if len > LEAF {
        let middle = len.div_ceil(LEAF).div_ceil(2) * LEAF;
        let (data, data_right) = data.split_at(middle);
        let (model, model_right) = model.split_at(middle);
        let (weights, weights_right) = weights.split_at_mut(middle);
        let (left, right) = rayon::join(
            || halve(start, data, model, weights, noise, loss),
            || halve(start + middle, data_right, model_right, weights_right, noise, loss),
        );
        return left + right;
    }
    let mut sums = ResidualSums::default();
    for (i, ((d, m), w)) in data.iter().zip(model).zip(weights).enumerate() {
        let inverse_variance = noise.variance(start + i, *m).recip();
        if inverse_variance > T::zero() {
            let z = (*d - *m) * inverse_variance.sqrt();
            let weight = loss.weight(z);
            *w = weight * inverse_variance;
            sums.count += 1;
            sums.z += z.widen();
            sums.z2 += (z * z).widen();
            sums.rho += loss.rho(z).widen();
            sums.weight += weight.widen();
        } else {
            *w = T::zero();
        }
    }
    sums
}

/// M → w (I − M) in place, for the pixels `first`, `first` + 1, … of the data, with the weights of [`Reweight::reweight`].
///
/// Compiled for the vector instructions of whatever it is inlined into.
#[inline(always)]
pub fn weighted_residuals<T: Pixel>(
    model: &mut [T],
    data: &[T],
    noise: &Noise<Vec<T>>,
    loss: Loss,
    first: usize,
) {
    let range = first..first + model.len();
    let (data, fixed) = (&data[range.clone()], &noise.fixed[range.clone()]);
    match &noise.photon {
        Photon::Uniform(photon) => {
            let photon = T::narrow(*photon);
            with_reference(model, data, fixed, |_| photon, noise, loss, range);
        }
        Photon::PerPixel(photon) => {
            let photon = &photon[range.clone()];
            with_reference(model, data, fixed, |i| photon[i], noise, loss, range);
        }
    }
}

/// [`weighted_residuals`] for one form of the photon noise.
#[inline(always)]
fn with_reference<T: Pixel>(
    model: &mut [T],
    data: &[T],
    fixed: &[T],
    photon: impl Fn(usize) -> T,
    noise: &Noise<Vec<T>>,
    loss: Loss,
    range: Range<usize>,
) {
    let photon_noise = |i: usize, m: T| fixed[i] + photon(i) * m.max(T::zero());
    match &noise.reference {
        Some(reference) => {
            let reference = &reference[range];
            for_loss(model, data, |i, m| photon_noise(i, m) + reference[i], loss);
        }
        None => for_loss(model, data, photon_noise, loss),
    }
}

/// [`weighted_residuals`] for one form of the variance.
#[inline(always)]
fn for_loss<T: Pixel>(model: &mut [T], data: &[T], variance: impl Fn(usize, T) -> T, loss: Loss) {
    match loss {
        Loss::Gaussian => {
            for i in 0..model.len() {
                model[i] = (data[i] - model[i]) / variance(i, model[i]);
            }
        }
        Loss::Huber { c } => {
            let c = T::narrow(c);
            for i in 0..model.len() {
                let inverse_variance = variance(i, model[i]).recip();
                let residual = data[i] - model[i];
                let z = (residual * residual * inverse_variance).sqrt();
                model[i] = residual * inverse_variance * (c / z.max(c));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::weighted_residuals;
    use crate::{DataVector, Loss, Noise, Photon, Reweight};

    #[test]
    fn axpby_with_zero_b_ignores_what_was_there() {
        let mut y = vec![f64::NAN, 1.0];
        y.axpby(2.0, &vec![3.0, 4.0], 0.0).unwrap();
        assert_eq!(y, [6.0, 8.0]);
        y.axpby(1.0, &vec![1.0, 1.0], -1.0).unwrap();
        assert_eq!(y, [-5.0, -7.0]);
    }

    #[test]
    fn reweighting_follows_the_noise_model_and_ignores_masked_pixels() {
        let data = vec![120.0, 100.0, 1e30_f64];
        let model = vec![100.0, 200.0, 5.0];
        let mut weights = vec![f64::NAN; 3];
        let noise = Noise {
            fixed: vec![9.0, 9.0, f64::INFINITY],
            photon: Photon::Uniform(0.5),
            reference: Some(vec![5.0, 16.0, 0.0]),
        };
        let loss = Loss::Huber { c: 2.0 };
        let sums = data.reweight(&model, &noise, loss, &mut weights).unwrap();
        // σ² = 9 + 50 + 5 = 64 and z = 20/8 = 2.5; σ² = 9 + 100 + 16 = 125 and z = −100/√125.
        let z = -100.0 / 125.0_f64.sqrt();
        let expected = [2.0 / 2.5 / 64.0, 2.0 / z.abs() / 125.0, 0.0];
        for (w, e) in weights.iter().zip(expected) {
            assert!((w - e).abs() <= 4.0 * f64::EPSILON * e);
        }
        let mut weighted = model.clone();
        weighted_residuals(&mut weighted, &data, &noise, loss, 0);
        for ((got, w), r) in weighted.iter().zip(&weights).zip([20.0, -100.0, 1e30]) {
            assert!((got - w * r).abs() <= 8.0 * f64::EPSILON * (w * r).abs());
        }
        assert_eq!(sums.count, 2);
        assert!((sums.z - (2.5 + z)).abs() < 1e-14);
        assert!((sums.z2 - (6.25 + 80.0)).abs() < 1e-13);
    }
}
