//! The Laplacian of the pixels of a kernel.

use dia_core::KernelSupport;

/// L k, at the pixels of the support.
pub(crate) fn laplacian(support: &KernelSupport, k: &[f64]) -> Vec<f64> {
    let (h, side) = (support.half_width() as isize, support.side());
    let mut out = vec![0.0; k.len()];
    // `count` pixels from `place` on, with neighbours from `other` on.
    let mut add = |place: usize, other: usize, count: usize| {
        let pairs = k[place..place + count].iter().zip(&k[other..other + count]);
        out[place..].iter_mut().zip(pairs).for_each(|(out, (own, other))| *out += own - other);
    };
    for dy in -h..=h {
        let reach = support.row_reach(dy) as usize;
        let middle = ((dy + h) * side as isize + h) as usize;
        let across = |other: isize| {
            let reach = reach.min((other.abs() <= h).then(|| support.row_reach(other) as usize)?);
            Some((middle - reach, 2 * reach + 1))
        };
        if let Some((first, count)) = across(dy - 1) {
            add(first, first - side, count);
        }
        add(middle - reach + 1, middle - reach, 2 * reach);
        add(middle - reach, middle - reach + 1, 2 * reach);
        if let Some((first, count)) = across(dy + 1) {
            add(first, first + side, count);
        }
    }
    out
}
