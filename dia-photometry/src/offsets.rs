//! Sums over the pixels of small kernels.

use dia_core::Kernel;

/// The offsets (dy, dx) of a kernel's pixels, row after row.
pub(crate) fn offsets(kernel: &Kernel) -> impl Iterator<Item = (isize, isize)> + use<> {
    let h = kernel.half_width() as isize;
    (-h..=h).flat_map(move |dy| (-h..=h).map(move |dx| (dy, dx)))
}

/// The kernel with zeros where `keep` is false.
pub(crate) fn masked(kernel: &Kernel, keep: impl Fn(isize, isize) -> bool) -> Kernel {
    Kernel::from_fn(
        kernel.half_width(),
        |dy, dx| if keep(dy, dx) { kernel.at(dy, dx) } else { 0.0 },
    )
}

/// The middle of a kernel.
pub(crate) fn cut(kernel: &Kernel, half_width: usize) -> Kernel {
    Kernel::from_fn(half_width.min(kernel.half_width()), |dy, dx| kernel.at(dy, dx))
}

/// The sum of the products of two kernels of one size.
pub(crate) fn dot(a: &Kernel, b: &Kernel) -> f64 {
    debug_assert_eq!(a.half_width(), b.half_width());
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a * b).sum()
}

/// Σ_i c_i k_i.
pub(crate) fn combined(coefficients: &[f64], kernels: &[Kernel]) -> Kernel {
    Kernel::from_fn(kernels[0].half_width(), |dy, dx| {
        coefficients.iter().zip(kernels).map(|(c, kernel)| c * kernel.at(dy, dx)).sum()
    })
}

/// The smallest half-width beyond which the sum of `light`, of any sign, never is more than `lost` of the whole; that of `light` where there is none.
pub(crate) fn reach(light: &Kernel, lost: f64) -> usize {
    let mut rings = vec![0.0; light.half_width() + 1];
    for ((dy, dx), value) in offsets(light).zip(light.pixels()) {
        rings[dy.unsigned_abs().max(dx.unsigned_abs())] += value;
    }
    let whole: f64 = rings.iter().sum();
    let mut outside = 0.0;
    for (h, ring) in rings.iter().enumerate().rev() {
        outside += ring;
        if outside.is_nan() || f64::abs(outside) > lost * whole {
            return h;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::reach;
    use dia_core::Kernel;

    #[test]
    fn beyond_the_reach_little_is_left() {
        // Rings of 1, 8, 16 and 24 pixels of 100, 10, 1 and 0.01: 196.24, of which 16.24 lie beyond 1 and 0.24 beyond 2.
        let light = Kernel::from_fn(3, |dy, dx| {
            [100.0, 10.0, 1.0, 0.01][dy.unsigned_abs().max(dx.unsigned_abs())]
        });
        assert_eq!([0.1, 0.01, 0.001].map(|lost| reach(&light, lost)), [1, 2, 3]);
        assert_eq!(reach(&Kernel::from_fn(2, |_, _| f64::NAN), 0.1), 2);
    }
}
