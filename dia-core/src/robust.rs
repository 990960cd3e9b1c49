//! Location and scatter that a minority of wild values cannot move.

/// The median absolute deviation of Gaussian noise times this is its σ: 1/Φ⁻¹(¾).
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The median of `values`, in O(n); of an even number, the mean of the middle two. `None` if there are none.
///
/// The order of `values` is changed. NaN counts as larger than +∞ (or, with its sign bit set, as smaller than −∞).
///
/// ```
/// use dia_core::robust::median;
///
/// assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
/// assert_eq!(median(&mut [4.0, 1.0, 2.0, 100.0]), Some(3.0));
/// assert_eq!(median(&mut []), None);
/// ```
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return Some(upper);
    }
    // The other one of the two in the middle is the largest of those below.
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(lower, upper))
}

/// The median m of the finite `values` and their scatter 1.4826 · median |v − m|, both in the unit of the values.
///
/// The scatter is the σ of Gaussian noise, and stays near it while far less than half of the values are outliers
/// (Hampel 1974, JASA 69, 383). O(n) in time and memory; `None` if no value is finite.
///
/// ```
/// use dia_core::robust::median_and_scatter;
///
/// let values = [9.0, 10.0, 11.0, 12.0, 8.0, 1e6, f64::NAN];
/// let (median, scatter) = median_and_scatter(values.into_iter()).unwrap();
/// assert_eq!(median, 10.5);
/// assert!((scatter - 1.4826 * 1.5).abs() < 1e-4);
/// ```
pub fn median_and_scatter(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    let centre = median(&mut values)?;
    for v in &mut values {
        *v = (*v - centre).abs();
    }
    Some((centre, MAD_TO_SIGMA * median(&mut values)?))
}

/// Keeps the rows whose numbers all lie within `sigmas` robust standard deviations of zero, one column after the other. `None` if there are none.
///
/// ```
/// use dia_core::robust::keep_near_zero;
///
/// let mut rows = vec![[1.0, -2.0], [-1.0, 1.0], [40.0, 2.0], [1.5, -90.0], [-1.2, -1.0]];
/// keep_near_zero(&mut rows, 5.0).unwrap();
/// assert_eq!(rows, [[1.0, -2.0], [-1.0, 1.0], [-1.2, -1.0]]);
/// ```
pub fn keep_near_zero<const N: usize>(rows: &mut Vec<[f64; N]>, sigmas: f64) -> Option<()> {
    for k in 0..N {
        let mut sizes: Vec<f64> = rows.iter().map(|row| row[k].abs()).collect();
        let limit = sigmas * MAD_TO_SIGMA * median(&mut sizes)?;
        rows.retain(|row| row[k].abs() <= limit);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{median, median_and_scatter};

    proptest! {
        #[test]
        fn the_median_is_that_of_the_sorted_values(
            values in prop::collection::vec(-1e3_f64..1e3, 1..60),
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let n = sorted.len();
            let expected = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
            prop_assert_eq!(median(&mut values.clone()), Some(expected));
        }
    }

    #[test]
    fn a_third_of_outliers_moves_neither() {
        let values = (0..300).map(|i| if i % 3 == 0 { 1e9 } else { f64::from(i % 7) });
        let (median, scatter) = median_and_scatter(values).unwrap();
        // The good two thirds hold 0 … 6 evenly, so the median is the ¾ quantile of 0 … 6: 5 at the most.
        assert!((4.0..=5.0).contains(&median), "{median}");
        assert!(scatter < 1.4826 * 6.0, "{scatter}");
        assert_eq!(median_and_scatter([f64::NAN, f64::INFINITY].into_iter()), None);
    }
}
