use super::{GaussianTerm, KernelBasis, Resolution};
use crate::{Kernel, KernelShape, KernelSupport, ModelError};

fn resolution(core: f64, spacing: usize) -> Resolution {
    Resolution { core, spacing, inner: f64::INFINITY }
}

fn bases() -> Vec<KernelBasis> {
    let circle = KernelSupport::new(4, KernelShape::Circle);
    vec![
        KernelBasis::delta(4),
        KernelBasis::Delta(circle.clone()),
        KernelBasis::mixed_resolution(circle.clone(), resolution(1.5, 3), false),
        KernelBasis::mixed_resolution(circle.clone(), resolution(2.5, 2), true),
        KernelBasis::FluxConservingDelta(circle),
        KernelBasis::gaussian_polynomials(4, KernelShape::Circle, &GaussianTerm::HOTPANTS),
    ]
}

/// Σ values, pseudo-random in [−1, 1] and reproducible.
fn values(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + 13) % 1009) as f64 / 504.5 - 1.0).collect()
}

#[test]
fn project_is_the_adjoint_of_expand() {
    for basis in bases() {
        let (a, g) = (values(basis.len()), values(81));
        let mut kernel = Kernel::from_fn(4, |_, _| f64::NAN);
        basis.expand(&a, &mut kernel);
        let mut projected = vec![f64::NAN; basis.len()];
        basis.project(&g, &mut projected);
        let left: f64 = kernel.pixels().iter().zip(&g).map(|(k, g)| k * g).sum();
        let right: f64 = projected.iter().zip(&a).map(|(p, a)| p * a).sum();
        // At most 81 × 49 products of size below 10; each rounds once.
        assert!((left - right).abs() < 81.0 * 49.0 * 10.0 * f64::EPSILON);
    }
}

#[test]
fn only_the_first_function_of_a_flux_conserving_basis_carries_flux() {
    for basis in &bases()[3..] {
        assert!(basis.conserves_flux());
        for k in 0..basis.len() {
            let mut a = vec![0.0; basis.len()];
            a[k] = 1.0;
            let mut kernel = Kernel::zero(4);
            basis.expand(&a, &mut kernel);
            let expected = f64::from(u8::from(k == 0));
            // 81 values of size at most 10⁴ (u⁶ at the edge, in units of σ) that cancel in pairs.
            assert!((kernel.photometric_scale() - expected).abs() < 1e-11, "function {k}");
        }
    }
}

#[test]
fn mixed_resolution_has_free_pixels_inside_and_planes_outside() {
    let support = KernelSupport::new(10, KernelShape::Square);
    let basis = KernelBasis::mixed_resolution(support, resolution(4.0, 3), false);
    // 49 pixels within 4 px of the centre; of the nodes at −12, −9 … 12, 81 in all, only the middle one borders on no pixel outside.
    assert_eq!(basis.len(), 49 + 80);
    // Coefficients that are a plane at their nodes make a plane; E has full rank if what it makes is different for each.
    let mut kernel = Kernel::zero(10);
    let a: Vec<f64> = (0..basis.len()).map(|k| if k < 49 { 0.0 } else { 7.0 }).collect();
    basis.expand(&a, &mut kernel);
    for dy in -10..=10_isize {
        for dx in -10..=10_isize {
            let expected = if dy * dy + dx * dx <= 16 { 0.0 } else { 7.0 };
            // Weights of thirds add up to one within a rounding.
            assert!((kernel.at(dy, dx) - expected).abs() < 1e-14);
        }
    }
}

#[test]
fn rings_follow_a_power_and_end_in_zero() {
    let support = KernelSupport::new(20, KernelShape::Square);
    let resolution = Resolution { core: 2.0, spacing: 3, inner: 8.0 };
    let basis = KernelBasis::mixed_resolution(support, resolution, false);
    // Of the radii 8, 8 q, 8 q² = 20 with q = 2.5^(1/2) = 1.58, the last one has no function.
    let radii = [8.0, 8.0 * 2.5_f64.sqrt()];
    assert_eq!(basis.rings().iter().map(|(radius, _)| *radius).collect::<Vec<_>>(), radii);
    let first = basis.len() - 2;
    // Coefficients (20 − r) r⁻⁵ at the rings make the same in between.
    let wing = |r: f64| (20.0 - r) * r.powi(-5);
    let mut a = vec![0.0; basis.len()];
    a[first..].copy_from_slice(&radii.map(wing));
    let mut kernel = Kernel::zero(20);
    basis.expand(&a, &mut kernel);
    for (dy, dx) in (-20..=20_isize).flat_map(|dy| (-20..=20_isize).map(move |dx| (dy, dx))) {
        let radius = ((dy * dy + dx * dx) as f64).sqrt();
        let expected = if radius > 8.0 && radius < 20.0 { wing(radius) } else { 0.0 };
        // Two terms below 12 · 8⁻⁵ = 4e-4, each rounded ten times.
        assert!((kernel.at(dy, dx) - expected).abs() < 1e-17, "{dy} {dx}");
    }
    let flux: f64 = basis.rings().iter().zip(&a[first..]).map(|((_, flux), a)| flux * a).sum();
    // Some thousand terms of that size.
    assert!((flux - kernel.photometric_scale()).abs() < 1e-14);
}

#[test]
fn hotpants_defaults_make_49_functions() {
    let basis = KernelBasis::gaussian_polynomials(10, KernelShape::Square, &GaussianTerm::HOTPANTS);
    assert_eq!(basis.len(), 28 + 15 + 6);
}

#[test]
fn images_must_share_one_size() {
    assert_eq!(KernelBasis::images(vec![]), Err(ModelError::Basis));
    let mixed = vec![Kernel::zero(2), Kernel::zero(3)];
    assert_eq!(KernelBasis::images(mixed), Err(ModelError::Basis));
}
