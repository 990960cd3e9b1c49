use dia_core::{Design, KernelBasis, KernelShape, KernelSupport};
use faer::Mat;

use std::sync::Arc;

use super::{Bias, Penalty, PenaltyMaps, Strength, taper};
use crate::Cholesky;

/// Q by explicit sums, for all pixels of a kernel of (2h + 1)² = 9 pixels and 3 terms.
fn defined(penalty: &Penalty, design: &Design, kernels: &[Vec<f64>]) -> Vec<f64> {
    let l = penalty.terms.factor();
    let neighbours = |u: usize, v: usize| (u / 3).abs_diff(v / 3) + (u % 3).abs_diff(v % 3) == 1;
    let laplacian = |u: usize, v: usize| {
        let around = (0..9).filter(|w| neighbours(u, *w)).count() as f64;
        if u == v { around } else { -f64::from(u8::from(neighbours(u, v))) }
    };
    let mut product = Vec::new();
    for (t, u) in (0..3).flat_map(|t| (0..9).map(move |u| (t, u))) {
        let mut sum = 0.0;
        for (s, v) in (0..3).flat_map(|s| (0..9).map(move |v| (s, v))) {
            let mut q = 0.0;
            for r in 0..=s.min(t) {
                let Strength { lambda, radius } = penalty.strengths[r.min(1)];
                let g = taper(design.basis().support(), radius);
                let rough = (0..9).map(|w| laplacian(u, w) * g[w] * laplacian(w, v));
                q += l[(s, r)] * l[(t, r)] * lambda * penalty.unit * rough.sum::<f64>();
            }
            let noise = if u == v { penalty.noise(s, t)[u] } else { 0.0 };
            sum += (q - noise) * kernels[s][v];
        }
        product.push(sum);
    }
    product
}

fn penalty(design: &Design) -> Penalty {
    let c = Mat::from_fn(3, 3, |i, j| if i == j { 1.0 } else { 0.2 + 0.1 * (i * j) as f64 });
    let moments: Vec<f64> =
        (0..6 * 9).map(f64::from).map(|k| if k < 9.0 { 20.0 + k } else { k.sin() }).collect();
    let strengths = [Strength { lambda: 0.3, radius: 2.0 }, Strength { lambda: 4.0, radius: 1.0 }];
    let maps = Arc::new(PenaltyMaps::new(design.basis()));
    let bias = Bias { moments: &moments, share: 1.0, otherwise: 0.0, scale: 1.0 };
    Penalty::new(design, maps, bias, Cholesky::new(&c).unwrap(), strengths)
}

#[test]
fn the_product_is_that_of_the_definition() {
    let design = Design::new(20, 30, KernelBasis::delta(1), Some(1)).unwrap();
    let design = design.with_variation(1, 1).unwrap();
    let penalty = penalty(&design);
    let x: Vec<f64> = (0..design.ncols()).map(|k| (k as f64 * 1.3).cos()).collect();
    let kernels: Vec<Vec<f64>> = design.kernels(&x).iter().map(|k| k.pixels().to_vec()).collect();
    let mut expected = vec![0.0; x.len()];
    design.project(&defined(&penalty, &design, &kernels), &mut expected);
    let mut product = vec![1.0; x.len()];
    penalty.add_product(2.0, &x, &mut product);
    for (product, expected) in product.iter().zip(&expected) {
        // 27 terms below 10⁵.
        assert!((product - 1.0 - 2.0 * expected).abs() < 1e-8, "{product} {expected}");
    }
}

#[test]
fn the_product_is_symmetric_and_its_rows_have_the_matrices_of_mean_and_deviations() {
    let support = KernelSupport::new(1, KernelShape::Square);
    let design = Design::new(20, 30, KernelBasis::FluxConservingDelta(support), Some(1));
    let design = design.unwrap().with_variation(0, 1).unwrap();
    let penalty = penalty(&design);
    let n = design.ncols();
    let mut q = Mat::<f64>::zeros(n, n);
    penalty.add_to(&mut q);
    for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
        assert!((q[(i, j)] - q[(j, i)]).abs() < 1e-9, "{i} {j}");
    }
    // The mean kernel's block: Q₀ − ν₀, for the first group of columns.
    let [mean, _] = penalty.matrices();
    let [rough, noise] = penalty.parts(1, penalty.strengths[1].radius);
    for (i, j) in (0..9).flat_map(|i| (0..9).map(move |j| (i, j))) {
        assert!((q[(i, j)] - mean[(i, j)]).abs() < 1e-9);
        // ν₁ is the mean over the deviations of what L_C⁻¹ ν L_C⁻ᵀ has on its diagonal: so is the noise's part of Q.
        if i > 0 && j > 0 {
            let full = |s: usize, t: usize| {
                let place = |t: usize, k: usize| if t == 0 { k } else { 9 + (t - 1) * 8 + k - 1 };
                q[(place(s, i), place(t, j))]
            };
            let inverse = super::inverse_columns(&penalty.terms, 3);
            let row = |r: usize| -> f64 {
                let terms = (0..3).flat_map(|s| (0..3).map(move |t| (s, t)));
                terms.map(|(s, t)| inverse[s][r] * inverse[t][r] * full(s, t)).sum()
            };
            let deviation = 0.5 * (row(1) + row(2));
            let expected = penalty.strengths[1].lambda * rough[(i, j)] + noise[(i, j)];
            assert!((deviation - expected).abs() < 1e-8, "{deviation} {expected}");
        }
    }
}
