//! Sums over pixels whose bits do not depend on the number of threads.

use std::ops::{Add, Range};

/// Number of elements that are summed one after the other.
pub const LEAF: usize = 8192;

/// Σ over 0..len by halving: `leaf` sums a range of at most [`LEAF`] elements, and pairs of sums are added as a tree.
///
/// The shape of the tree depends on `len` alone, so the result is the same, bit for bit, for any number of threads; and
/// its rounding error grows with log(len) instead of len. Allocates nothing. `len` = 0 calls `leaf(0..0)`.
///
/// ```
/// let x: Vec<f64> = (0..100_000).map(|i| 1.0 / (1.0 + f64::from(i))).collect();
/// let sum = dia_core::sum::pairwise(x.len(), &|range| x[range].iter().sum::<f64>());
/// assert!((sum - 12.090_146_129_863_428).abs() < 1e-14 * sum);
/// ```
pub fn pairwise<S>(len: usize, leaf: &(impl Fn(Range<usize>) -> S + Sync)) -> S
where
    S: Add<Output = S> + Send,
{
    halve(0..len, leaf)
}

fn halve<S>(range: Range<usize>, leaf: &(impl Fn(Range<usize>) -> S + Sync)) -> S
where
    S: Add<Output = S> + Send,
{
    let len = range.len();
    if len <= LEAF {
        return leaf(range);
    }
    // The left half is a whole number of leaves, so that all leaves but the last are full.
    let middle = range.start + len.div_ceil(LEAF).div_ceil(2) * LEAF;
    let (left, right) =
        rayon::join(|| halve(range.start..middle, leaf), || halve(middle..range.end, leaf));
    left + right
}

#[cfg(test)]
mod tests {
    use super::{LEAF, pairwise};

    #[test]
    fn every_element_is_summed_once() {
        for len in [0, 1, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF, 7 * LEAF + 5, 64 * LEAF + 1] {
            assert_eq!(pairwise(len, &|range| range.len()), len);
            assert_eq!(
                pairwise(len, &|range| range.sum::<usize>()),
                len * len.saturating_sub(1) / 2
            );
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let x: Vec<f64> = (0..LEAF * 9 + 17).map(|i| ((i * i) as f64).sin()).collect();
        let sum = || pairwise(x.len(), &|range| x[range].iter().sum::<f64>());
        let on = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(sum)
        };
        assert_eq!(on(1).to_bits(), on(3).to_bits());
    }
}
