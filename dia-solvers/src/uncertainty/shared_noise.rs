//! A target that is part of the reference: their noise is partly the same.
//!
//! Where the reference is the mean of n exposures and the target is one of them, Cov(n_R(q), n_I(p)) = σ_I²(p)/n for q = p. The products of the columns R(p − u) with
//! the residuals have then at u = 0 the expectation Σ_p ψ′(z) σ_I²(p)/(n σ²(p)) (Stein's lemma), which is no signal: it draws K(0), and with it P, upwards. It is
//! subtracted from the gradient. The variance of the difference, σ_I² + K² ⊗ σ_R², is less by 2 K(0) σ_I²/n.

use dia_core::Design;

/// The bias of the right-hand side.
#[derive(Clone, Debug)]
pub(crate) struct SharedNoise {
    /// Cov(n_R, n_I)/σ_I² in the units of both images.
    share: f64,
    bias: Vec<f64>,
}

impl SharedNoise {
    /// What it was made with.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }

    pub(crate) fn new(design: &Design, share: f64) -> Self {
        Self { share, bias: vec![0.0; design.ncols()] }
    }

    /// The bias, as long as the parameters.
    pub(crate) fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// From ψ′ σ_I²/σ² at rows that were drawn with given probabilities.
    pub(crate) fn renew(
        &mut self,
        design: &Design,
        rows: &[usize],
        probabilities: &[f64],
        weights: &[f64],
    ) {
        let (variation, valid) = (design.variation(), design.valid());
        let mut sums = vec![0.0; variation.len()];
        let mut values = vec![0.0; variation.len()];
        for ((row, probability), weight) in rows.iter().zip(probabilities).zip(weights) {
            let (y, x) = (row / valid.width, row % valid.width);
            variation.evaluate(valid.y + y, valid.x + x, &mut values);
            for (sum, value) in sums.iter_mut().zip(&values) {
                *sum += self.share * weight * value / probability;
            }
        }
        let side = design.basis().support().side();
        let mut kernels = vec![0.0; sums.len() * side * side];
        for (kernel, sum) in kernels.chunks_exact_mut(side * side).zip(&sums) {
            kernel[side * side / 2] = *sum;
        }
        self.bias.fill(0.0);
        design.project(&kernels, &mut self.bias);
    }
}
