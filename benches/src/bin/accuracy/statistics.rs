//! Mean, scatter and range of a few numbers.

use std::fmt;

/// Of a sample, NaN where it is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) count: usize,
    pub(crate) mean: f64,
    /// Standard deviation about the mean.
    pub(crate) deviation: f64,
    least: f64,
    largest: f64,
}

impl Sample {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self {
            count: values.len(),
            mean,
            deviation: (squares / (count - 1.0)).sqrt(),
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            largest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Standard error of the mean.
    pub(crate) fn error(&self) -> f64 {
        self.deviation / (self.count as f64).sqrt()
    }

    /// "mean ± standard error" of a hundred times the values.
    pub(crate) fn percent(&self) -> String {
        format!("{:+.3} ± {:.3}", 100.0 * self.mean, 100.0 * self.error())
    }
}

/// "mean (least … largest)".
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(4);
        let Self { mean, least, largest, .. } = self;
        write!(f, "{mean:.digits$} ({least:.digits$} … {largest:.digits$})")
    }
}
