//! Location and scatter of values with outliers.

/// The median, and 1.4826 times the median absolute deviation from it: σ where the values are Gaussian.
///
/// Takes O(n) time. Values must not be NaN. Returns `None` if there is no value.
///
/// ```
/// let (median, scatter) = dia_core::robust::median_and_scatter([1.0, 2.0, 3.0, 4.0, 1e9]).unwrap();
/// assert_eq!((median, scatter), (3.0, 1.4826));
/// ```
pub fn median_and_scatter(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.into_iter().collect();
    let median = median(&mut values)?;
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some((median, 1.4826 * self::median(&mut values)?))
}

/// The middle value, or the upper of the two middle ones; reorders `values`.
pub fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}
