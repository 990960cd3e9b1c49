//! Data vectors in host memory: a `Vec` of pixels is a [`DataVector`].

use rayon::prelude::*;

use crate::simd::{Loop, widest};
use crate::sum::{LEAF, pairwise};
use crate::{DataVector, Loss, Noise, OperatorError, Pixel, PixelWeight, Reweight};

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
        noise: &Noise<Self>,
        loss: Loss,
        kind: PixelWeight,
        weights: &mut Self,
    ) -> Result<(), OperatorError> {
        assert!(weights.len() == self.len() && noise.fixed.len() == self.len());
        weights.par_chunks_mut(LEAF).enumerate().for_each(|(leaf, weights)| {
            let leaf = Leaf { weights, data: self, noise, loss, kind, first: leaf * LEAF };
            widest(leaf);
        });
        Ok(())
    }
}

/// Part of the weights, which hold the model on entry.
struct Leaf<'a, T> {
    weights: &'a mut [T],
    data: &'a [T],
    noise: &'a Noise<Vec<T>>,
    loss: Loss,
    kind: PixelWeight,
    first: usize,
}

impl<T: Pixel> Loop for Leaf<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        // A loop for each loss: inside, which one it is is known.
        match self.loss {
            Loss::Gaussian => self.fill(Loss::Gaussian),
            Loss::Huber { c } => self.fill(Loss::Huber { c }),
            Loss::Tukey { c } => self.fill(Loss::Tukey { c }),
            Loss::Cauchy { c } => self.fill(Loss::Cauchy { c }),
            Loss::StudentT { nu } => self.fill(Loss::StudentT { nu }),
        }
    }
}

impl<T: Pixel> Leaf<'_, T> {
    #[inline(always)]
    fn fill(self, loss: Loss) {
        let Self { weights, data, noise, kind, first, .. } = self;
        let data = &data[first..first + weights.len()];
        for (i, (w, d)) in weights.iter_mut().zip(data).enumerate() {
            let inverse_variance = noise.variance(first + i, *w).recip();
            let residual = *d - *w;
            // Not the root of the square, which may not fit.
            let z = residual.abs() * inverse_variance.sqrt();
            *w = inverse_variance * loss.pixel_weight(kind, z);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{DataVector, Loss, Noise, Photon, PixelWeight, Reweight};

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
        let mut weights = vec![100.0, 200.0, 5.0];
        let noise = Noise {
            fixed: vec![9.0, 9.0, f64::INFINITY],
            photon: Photon::Uniform(0.5),
            reference: Some(vec![5.0, 16.0, 0.0]),
        };
        let loss = Loss::Huber { c: 2.0 };
        data.reweight(&noise, loss, PixelWeight::Robust, &mut weights).unwrap();
        // σ² = 9 + 50 + 5 = 64 and z = 20/8 = 2.5; σ² = 9 + 100 + 16 = 125 and z = −100/√125.
        let z = -100.0 / 125.0_f64.sqrt();
        let expected = [2.0 / 2.5 / 64.0, 2.0 / z.abs() / 125.0, 0.0];
        for (w, e) in weights.iter().zip(expected) {
            assert!((w - e).abs() <= 4.0 * f64::EPSILON * e);
        }
    }
}
