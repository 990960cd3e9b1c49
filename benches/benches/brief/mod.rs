//! The settings of all benchmarks: together they take about five minutes, where criterion's own would take twenty.

use std::time::Duration;

use criterion::Criterion;

/// `--warm-up-time` and `--measurement-time` ask for longer.
pub(crate) fn brief() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}
