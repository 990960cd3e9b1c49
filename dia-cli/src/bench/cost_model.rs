//! How time grows with the problem: t = c + a N^α n^β, N pixels and n unknowns.

use serde::Serialize;

/// A measured time in seconds for N pixels and n unknowns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) pixels: f64,
    pub(crate) unknowns: f64,
    pub(crate) seconds: f64,
}

/// t = `constant` + `factor` · N^`alpha` · n^`beta`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CostModel {
    pub(crate) constant: f64,
    pub(crate) factor: f64,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    /// The rms of ln (measured/model).
    pub(crate) scatter: f64,
    pub(crate) samples: usize,
}

impl CostModel {
    /// By least squares in logarithms. The constant is kept only if it takes away a fifth of the scatter.
    ///
    /// `None` without at least four samples that differ in both N and n.
    pub(crate) fn fit(samples: &[Sample]) -> Option<Self> {
        let plain = Self::with_constant(samples, 0.0)?;
        let least = samples.iter().map(|s| s.seconds).fold(f64::INFINITY, f64::min);
        let constants = (1..40).map(|i| f64::from(i) / 40.0 * least);
        let models = constants.filter_map(|constant| Self::with_constant(samples, constant));
        let best = models.min_by(|a, b| a.scatter.total_cmp(&b.scatter));
        // One more number needs one more sample than the three without it.
        let best = best.filter(|best| samples.len() > 5 && best.scatter < 0.8 * plain.scatter);
        Some(best.unwrap_or(plain))
    }

    fn with_constant(samples: &[Sample], constant: f64) -> Option<Self> {
        if samples.len() < 4 {
            return None;
        }
        // Normal equations of ln (t − c) = ln a + α ln N + β ln n, logarithms from their means.
        let rows: Vec<[f64; 3]> = samples
            .iter()
            .map(|s| [s.pixels.ln(), s.unknowns.ln(), (s.seconds - constant).ln()])
            .collect();
        let count = rows.len() as f64;
        let mean = [0, 1, 2].map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / count);
        let moment = |i: usize, j: usize| -> f64 {
            rows.iter().map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum()
        };
        let (uu, uv, vv) = (moment(0, 0), moment(0, 1), moment(1, 1));
        let (ut, vt) = (moment(0, 2), moment(1, 2));
        let determinant = uu * vv - uv * uv;
        if determinant.is_nan() || determinant <= 1e-9 * uu * vv || uu * vv == 0.0 {
            return None;
        }
        let alpha = (vv * ut - uv * vt) / determinant;
        let beta = (uu * vt - uv * ut) / determinant;
        let intercept = mean[2] - alpha * mean[0] - beta * mean[1];
        let model = Self {
            constant,
            factor: intercept.exp(),
            alpha,
            beta,
            scatter: 0.0,
            samples: rows.len(),
        };
        let squares =
            samples.iter().map(|s| (s.seconds / model.seconds(s.pixels, s.unknowns)).ln().powi(2));
        let scatter = (squares.sum::<f64>() / count).sqrt();
        scatter.is_finite().then_some(Self { scatter, ..model })
    }

    /// The time in seconds for N pixels and n unknowns.
    pub(crate) fn seconds(&self, pixels: f64, unknowns: f64) -> f64 {
        self.constant + self.factor * pixels.powf(self.alpha) * unknowns.powf(self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::{CostModel, Sample};

    fn samples(time: impl Fn(f64, f64) -> f64) -> Vec<Sample> {
        let sides = [128.0, 256.0, 512.0, 1024.0_f64];
        let unknowns = [28.0, 84.0, 364.0];
        let all = sides.iter().flat_map(|side| unknowns.map(|n| (side * side, n)));
        all.map(|(pixels, n)| Sample { pixels, unknowns: n, seconds: time(pixels, n) }).collect()
    }

    #[test]
    fn exponents_of_a_power_law_are_found() {
        let model = CostModel::fit(&samples(|pixels, n| 3e-11 * pixels * n * n)).unwrap();
        // Twelve logarithms, exact but for rounding: no constant improves on them.
        assert!((model.alpha - 1.0).abs() < 1e-9 && (model.beta - 2.0).abs() < 1e-9, "{model:?}");
        assert!(model.constant == 0.0 && model.scatter < 1e-9);
        let seconds = model.seconds(1e8, 364.0);
        assert!((seconds / (3e-11 * 1e8 * 364.0 * 364.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_constant_is_found_where_there_is_one() {
        let model = CostModel::fit(&samples(|pixels, n| 0.01 + 2e-9 * pixels * n)).unwrap();
        // The grid of constants has steps of 1/40 of the least time, 0.0100918.
        assert!((model.constant - 0.01).abs() < 3e-4, "{model:?}");
        assert!((model.alpha - 1.0).abs() < 0.1 && (model.beta - 1.0).abs() < 0.1, "{model:?}");
    }

    #[test]
    fn one_kernel_size_or_few_samples_give_no_model() {
        let all = samples(|pixels, n| pixels * n);
        assert!(CostModel::fit(&all[..3]).is_none());
        let one: Vec<Sample> = all.into_iter().filter(|s| s.unknowns == 84.0).collect();
        assert!(CostModel::fit(&one).is_none());
    }
}
