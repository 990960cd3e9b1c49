//! Which stars of two lists meet under a map, and how many would by chance.

use dia_core::stars::Star;

/// Pairs of stars, nearest ones that choose each other, where `place` carries the first image's to the second.
pub(crate) fn pairs_under(
    first: &[Star],
    second: &[Star],
    place: impl Fn(&Star) -> (f64, f64),
    radius: f64,
) -> Vec<(usize, usize)> {
    let places: Vec<(f64, f64)> = first.iter().map(place).collect();
    let others: Vec<(f64, f64)> = second.iter().map(|star| (star.x, star.y)).collect();
    let (forth, back) = (Nearest::new(&others), Nearest::new(&places));
    let pair = |i: usize| {
        let j = forth.within(places[i], radius)?;
        (back.within(others[j], radius) == Some(i)).then_some((i, j))
    };
    (0..first.len()).filter_map(pair).collect()
}

/// Places in the order of their x, among which a nearest one is looked for.
pub(crate) struct Nearest {
    sorted: Vec<(f64, f64, usize)>,
}

impl Nearest {
    pub(crate) fn new(places: &[(f64, f64)]) -> Self {
        let mut sorted: Vec<_> = places.iter().enumerate().map(|(i, p)| (p.0, p.1, i)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { sorted }
    }

    /// The index of the nearest place within `radius` of (x, y); of equally near ones, the first.
    pub(crate) fn within(&self, (x, y): (f64, f64), radius: f64) -> Option<usize> {
        let from = self.sorted.partition_point(|place| place.0 < x - radius);
        let close = self.sorted[from..].iter().take_while(|place| place.0 <= x + radius);
        let squares = close.map(|place| ((place.0 - x).powi(2) + (place.1 - y).powi(2), place.2));
        let near = squares.filter(|(square, _)| *square <= radius * radius);
        near.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map(|(_, i)| i)
    }
}

/// log₁₀ of the probability of `count` or more where `expected` are expected (Poisson), from above.
pub(crate) fn log_tail(expected: f64, count: usize) -> f64 {
    let n = count as f64;
    if n <= expected {
        return 0.0;
    }
    let log_factorial: f64 = (1..=count).map(|k| (k as f64).ln()).sum();
    // The first term, and a geometric series for the rest.
    let rest = 1.0 / (1.0 - expected / (n + 1.0));
    (n * expected.ln() - expected - log_factorial + rest.ln()) / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::log_tail;

    #[test]
    fn tails_are_those_of_poisson() {
        // P(≥ 3 | 0.5) = 1 − e^−½ (1 + ½ + ⅛) = 0.01439.
        assert!((log_tail(0.5, 3) - 0.01439_f64.log10()).abs() < 0.02);
        assert_eq!(log_tail(5.0, 3), 0.0);
    }
}
