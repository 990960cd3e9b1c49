//! One measurement: its settings, what a run gives, and the row that is kept.

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::method::{BenchLoss, Method};

/// The settings of a measurement. Two rows of equal settings measure the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Of the square image, in pixels.
    pub(crate) side: usize,
    /// Of the delta kernel, in pixels.
    pub(crate) half_width: usize,
    /// Of the kernel's variation over the image.
    pub(crate) degree: usize,
    pub(crate) loss: BenchLoss,
    pub(crate) method: Method,
    pub(crate) backend: Backend,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
    /// Runs of which the median counts.
    pub(crate) repeats: usize,
    /// Distance from the minimum at which methods end that can tell it, in σ.
    pub(crate) tolerance: f64,
    /// Seconds after which the run is ended.
    pub(crate) limit: f64,
    /// Seconds that the first-order baseline may take.
    pub(crate) baseline_limit: f64,
    /// Whether the way to the minimum is measured too.
    pub(crate) curve: bool,
}

impl Case {
    /// Whether both have the same minimum.
    pub(crate) fn same_problem(&self, other: &Self) -> bool {
        let key = |c: &Self| (c.side, c.half_width, c.degree, c.loss, c.seed);
        key(self) == key(other)
    }
}

/// What the process of a case reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Valid pixels that count.
    pub(crate) pixels: usize,
    pub(crate) unknowns: usize,
    pub(crate) precision: String,
    /// Why the method ended.
    pub(crate) stop: String,
    pub(crate) converged: bool,
    /// Of the operator: plan and spectra.
    pub(crate) plan_s: f64,
    /// Of preconditioner, normal matrix and factor.
    pub(crate) setup_s: f64,
    pub(crate) solve_s: f64,
    /// Steps of the linear solver, or evaluations of loss and gradient.
    pub(crate) iterations: usize,
    /// Reweightings.
    pub(crate) passes: usize,
    /// Products with A or Aᵀ.
    pub(crate) products: usize,
    /// Resident memory before: images and masks.
    pub(crate) base_bytes: Option<u64>,
    /// Largest resident memory while the method ran.
    pub(crate) peak_bytes: Option<u64>,
    /// P.
    pub(crate) photometric_scale: f64,
    pub(crate) parameters: Vec<f64>,
    /// The way to the minimum: (seconds from the start, iterations, parameters).
    pub(crate) curve: Vec<(f64, usize, Vec<f64>)>,
}

/// A point on the way to the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) seconds: f64,
    pub(crate) iterations: usize,
    /// In σ.
    pub(crate) distance: f64,
}

/// A measurement with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) version: String,
    #[serde(flatten)]
    pub(crate) case: Case,
    /// How the run ended: a stop reason, or why there are no numbers.
    pub(crate) status: String,
    pub(crate) converged: bool,
    pub(crate) measured: Option<Measured>,
}

/// The numbers of a [`Row`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) pixels: usize,
    pub(crate) unknowns: usize,
    pub(crate) precision: String,
    pub(crate) setup_s: f64,
    pub(crate) per_iteration_s: f64,
    pub(crate) total_s: f64,
    pub(crate) iterations: usize,
    pub(crate) passes: usize,
    pub(crate) products: usize,
    pub(crate) base_bytes: Option<u64>,
    pub(crate) peak_bytes: Option<u64>,
    /// √((x − x*)ᵀH(x − x*)), in σ.
    pub(crate) distance: f64,
    pub(crate) photometric_scale: f64,
    pub(crate) curve: Vec<Point>,
}

impl Row {
    /// A row without numbers.
    pub(crate) fn empty(case: Case, status: impl Into<String>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, case, status: status.into(), converged: false, measured: None }
    }

    /// From what the process reported; `distance` is that of parameters from the minimum, in σ.
    pub(crate) fn of(case: Case, run: Run, distance: impl Fn(&[f64]) -> f64) -> Self {
        let setup_s = run.plan_s + run.setup_s;
        let point = |(seconds, iterations, x): &(f64, usize, Vec<f64>)| Point {
            seconds: *seconds,
            iterations: *iterations,
            distance: distance(x),
        };
        let measured = Measured {
            pixels: run.pixels,
            unknowns: run.unknowns,
            precision: run.precision,
            setup_s,
            per_iteration_s: run.solve_s / run.iterations.max(1) as f64,
            total_s: setup_s + run.solve_s,
            iterations: run.iterations,
            passes: run.passes,
            products: run.products,
            base_bytes: run.base_bytes,
            peak_bytes: run.peak_bytes,
            distance: distance(&run.parameters),
            photometric_scale: run.photometric_scale,
            curve: run.curve.iter().map(point).collect(),
        };
        let measured = Some(measured);
        Self { converged: run.converged, measured, ..Self::empty(case, run.stop) }
    }
}
