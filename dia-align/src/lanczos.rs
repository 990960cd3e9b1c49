//! The taps of Lanczos' window: sinc x sinc(x/3) for |x| < 3 (Duchon 1979, J. Appl. Meteor. 18, 1016).

use std::f64::consts::PI;

/// Lobes of the window.
const LOBES: f64 = 3.0;

/// Phases in a pixel for which taps are tabulated; between them they are interpolated, to 1e-6.
const PHASES: usize = 1024;

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

fn window(x: f64) -> f64 {
    if x.abs() < LOBES { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

/// Taps in one dimension for any place in a pixel, each set with the sum 1.
#[derive(Clone, Debug)]
pub(crate) struct Taps {
    /// Pixels to both sides that may count.
    reach: usize,
    table: Vec<f64>,
}

impl Taps {
    /// Of a window `stretch` times as wide: 1, or more where pixels become larger, whose mean is to be taken.
    pub(crate) fn new(stretch: f64) -> Self {
        let reach = (LOBES * stretch).ceil() as usize;
        let mut table = Vec::with_capacity((PHASES + 1) * 2 * reach);
        for phase in 0..=PHASES {
            let at = phase as f64 / PHASES as f64;
            let raw: Vec<f64> = (0..2 * reach)
                .map(|k| window((k as f64 + 1.0 - reach as f64 - at) / stretch))
                .collect();
            let sum: f64 = raw.iter().sum();
            table.extend(raw.iter().map(|tap| tap / sum));
        }
        Self { reach, table }
    }

    /// How many taps there are.
    pub(crate) fn count(&self) -> usize {
        2 * self.reach
    }

    /// Writes the taps for the place `at` and returns the pixel of the first.
    pub(crate) fn fill(&self, at: f64, taps: &mut [f64]) -> isize {
        let floor = at.floor();
        let phase = (at - floor) * PHASES as f64;
        let before = (phase as usize).min(PHASES - 1);
        let part = phase - before as f64;
        let n = self.count();
        let (low, high) = self.table[before * n..(before + 2) * n].split_at(n);
        for (tap, (low, high)) in taps.iter_mut().zip(low.iter().zip(high)) {
            *tap = low + part * (high - low);
        }
        floor as isize + 1 - self.reach as isize
    }
}

#[cfg(test)]
mod tests {
    use super::{Taps, window};

    #[test]
    fn taps_sum_to_one_and_are_those_of_the_window() {
        for stretch in [1.0, 1.3, 2.4] {
            let taps = Taps::new(stretch);
            let mut at = vec![0.0; taps.count()];
            for place in [7.0, 7.25, 7.123_456, 7.999_99, -0.3] {
                let first = taps.fill(place, &mut at);
                assert!((at.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                let raw: Vec<f64> = (0..at.len())
                    .map(|k| window(((first + k as isize) as f64 - place) / stretch))
                    .collect();
                let sum: f64 = raw.iter().sum();
                for (tap, raw) in at.iter().zip(raw) {
                    assert!((tap - raw / sum).abs() < 2e-6, "{stretch} {place}");
                }
            }
        }
    }

    #[test]
    fn on_a_pixel_there_is_one_tap() {
        let taps = Taps::new(1.0);
        let mut at = vec![0.0; 6];
        assert_eq!(taps.fill(4.0, &mut at), 2);
        for (tap, expected) in at.iter().zip([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]) {
            assert!((tap - expected).abs() < 1e-15);
        }
    }
}
