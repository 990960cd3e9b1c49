//! What is known of a kernel's wings before the data are asked.
//!
//! Beyond a few FWHM, seeing scatters a percent or two of the light, into pixels in which only bright stars stand out of the noise. Without a prior, a few faint stars would not
//! determine the photometric scale. The functions of the basis out there are rings. Once the kernel from one seeing to another is known (see [`crate::regularise::seeing_kernel`]), its wings are what
//! the mean kernel is expected to have, in proportion to the flux of the rest: with f that kernel, cᵀx the flux of a kernel without its rings, and r₀ the innermost ring's radius,
//!
//! > x_k = f_k cᵀx/cᵀf ± P · 0.02 (r₀/r)² / (flux of ring k),
//!
//! before that, and for the deviations of a varying kernel from its mean, x_k = 0 with the same σ. The data of a rich field outweigh both. That is a quadratic form UᵀDU which
//! vanishes on f.

use dia_core::{Design, KernelBasis};
use faer::Mat;

use crate::linear::cg::{axpy, dot};
use crate::{Cholesky, Preconditioner};

/// The share of the light that the innermost ring may have beside what is expected, one σ: a Moffat profile of β = 3 has 1 to 1.5 % less in the narrower seeing than in the wider.
const SHARE: f64 = 0.02;

/// The priors of the rings of a basis.
#[derive(Clone, Debug)]
pub(crate) struct Wings {
    /// Of all functions, the first ring.
    first: usize,
    /// 1/σ² of each ring.
    precision: Vec<f64>,
    /// U of the mean kernel over the functions of the basis, and that of a deviation.
    rows: [Vec<Vec<f64>>; 2],
}

impl Wings {
    /// Expected to be zero, for a photometric scale of about `scale`.
    pub(crate) fn new(basis: &KernelBasis, scale: f64) -> Self {
        let rings = basis.rings();
        let precision = |(radius, flux): &(f64, f64)| {
            let share = SHARE * (rings[0].0 / radius).powi(2);
            // A ring of a scale of zero would be held by nothing else.
            (flux / (share * scale)).powi(2).min(f64::MAX.sqrt())
        };
        let first = basis.len() - rings.len();
        let row = |k: usize| {
            let mut row = vec![0.0; basis.len()];
            row[first + k] = 1.0;
            row
        };
        let rows: Vec<Vec<f64>> = (0..rings.len()).map(row).collect();
        Self { first, precision: rings.iter().map(precision).collect(), rows: [rows.clone(), rows] }
    }

    /// Without any prior.
    pub(crate) fn none(basis: &KernelBasis) -> Self {
        Self { first: basis.len(), precision: Vec::new(), rows: [Vec::new(), Vec::new()] }
    }

    /// Those of the mean kernel are expected to be as the kernel `f` has them, coefficients over `basis`.
    pub(crate) fn expect(&mut self, basis: &KernelBasis, f: &[f64]) {
        let mut flux = vec![0.0; basis.len()];
        basis.project(&vec![1.0; basis.support().side().pow(2)], &mut flux);
        flux[self.first..].fill(0.0);
        let whole = dot(&flux, f);
        // A kernel without flux says nothing.
        if whole > 0.0 {
            for (k, row) in self.rows[0].iter_mut().enumerate() {
                row.fill(0.0);
                row[self.first + k] = 1.0;
                axpy(-f[self.first + k] / whole, &flux, row);
            }
        }
    }

    /// g ← g + a W x, W = L_C diag(U₀ᵀDU₀, U₁ᵀDU₁, …) L_Cᵀ over the terms of the kernel's variation.
    pub(crate) fn add_product(
        &self,
        a: f64,
        design: &Design,
        terms: &Cholesky,
        x: &[f64],
        g: &mut [f64],
    ) {
        if self.precision.is_empty() {
            return;
        }
        let l = terms.factor();
        let terms: Vec<_> = design.kernel_terms().collect();
        for r in 0..terms.len() {
            for (precision, row) in self.precision.iter().zip(&self.rows[r.min(1)]) {
                // A term may have a part of the functions only.
                let along = |t: usize| {
                    let term = &terms[t];
                    l[(t, r)] * dot(&row[term.functions.clone()], &x[term.columns.clone()])
                };
                let mixed: f64 = (r..terms.len()).map(along).sum();
                for (t, term) in terms.iter().enumerate().skip(r) {
                    let factor = a * precision * l[(t, r)] * mixed;
                    axpy(factor, &row[term.functions.clone()], &mut g[term.columns.clone()]);
                }
            }
        }
    }

    /// Adds `a` UᵀDU of the mean kernel (`term` 0) or of a deviation to a matrix whose first columns are the functions of the basis.
    pub(crate) fn add_to(&self, a: f64, term: usize, matrix: &mut Mat<f64>) {
        for (precision, row) in self.precision.iter().zip(&self.rows[term.min(1)]) {
            for (j, u) in row.iter().enumerate().filter(|(_, u)| **u != 0.0) {
                let column = &mut matrix.col_as_slice_mut(j)[..row.len()];
                axpy(a * precision * u, row, column);
            }
        }
    }

    /// tr P⁻¹UᵀDU of the mean kernel or of a deviation, for the factor of a matrix P whose first columns are the functions of the basis.
    pub(crate) fn trace(&self, term: usize, factor: &Cholesky) -> f64 {
        let of_row = |(precision, row): (&f64, &Vec<f64>)| {
            let mut solved = row.clone();
            solved.resize(factor.dim(), 0.0);
            factor.solve_in_place(&mut solved);
            precision * dot(row, &solved[..row.len()])
        };
        self.precision.iter().zip(&self.rows[term.min(1)]).map(of_row).sum()
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, KernelBasis, KernelShape, KernelSupport, Resolution};
    use faer::Mat;

    use super::Wings;
    use crate::Cholesky;
    use crate::linear::cg::dot;

    fn basis() -> KernelBasis {
        let resolution = Resolution { core: 3.0, spacing: 2, inner: 8.0 };
        let support = KernelSupport::new(20, KernelShape::Circle);
        KernelBasis::mixed_resolution(support, resolution, false)
    }

    /// Positive, falling outwards.
    fn kernel(basis: &KernelBasis) -> Vec<f64> {
        (0..basis.len()).map(|k| 1.0 / (1.0 + k as f64).powi(2)).collect()
    }

    #[test]
    fn the_expected_kernel_costs_nothing_at_any_size() {
        let basis = basis();
        let f = kernel(&basis);
        let design = Design::new(80, 80, basis.clone(), Some(0)).unwrap();
        let terms = Cholesky::new(&Mat::identity(1, 1)).unwrap();
        let mut wings = Wings::new(&basis, 0.8);
        let mut x = f.clone();
        x.push(7.0);
        let cost = |wings: &Wings, x: &[f64]| {
            let mut g = vec![0.0; x.len()];
            wings.add_product(1.0, &design, &terms, x, &mut g);
            dot(&g, x)
        };
        let before = cost(&wings, &x);
        wings.expect(&basis, &f);
        // Rounding of sums of some hundred terms.
        assert!(cost(&wings, &x).abs() < 1e-12 * before);
        x = x.into_iter().map(|x| -3.0 * x).collect();
        assert!(cost(&wings, &x).abs() < 1e-11 * before);
        // A ring that is off by one σ costs one.
        let (radius, flux) = *basis.rings().last().unwrap();
        let sigma = 0.8 * 0.02 * (basis.rings()[0].0 / radius).powi(2) / flux;
        x[basis.len() - 1] += sigma;
        assert!((cost(&wings, &x) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn matrix_and_trace_are_those_of_the_product() {
        let basis = basis();
        let n = basis.len();
        let design = Design::new(80, 80, basis.clone(), Some(1)).unwrap();
        let design = design.with_variation(1, 1).unwrap();
        let terms = Cholesky::new(&Mat::identity(3, 3)).unwrap();
        let mut wings = Wings::new(&basis, 1.0);
        wings.expect(&basis, &kernel(&basis));
        let term: Vec<_> = design.kernel_terms().collect();
        for (t, term) in term.iter().enumerate() {
            let mut matrix = Mat::<f64>::zeros(n + 1, n + 1);
            wings.add_to(2.0, t, &mut matrix);
            for (k, column) in term.columns.clone().enumerate() {
                let mut unit = vec![0.0; design.ncols()];
                unit[column] = 1.0;
                let mut g = vec![0.0; design.ncols()];
                wings.add_product(2.0, &design, &terms, &unit, &mut g);
                let first = term.functions.start;
                for (l, place) in term.columns.clone().enumerate() {
                    let expected = matrix[(first + l, first + k)];
                    assert!((g[place] - expected).abs() <= 1e-12 * expected.abs(), "{t} {k} {l}");
                }
            }
            let ridge = Mat::from_fn(n + 1, n + 1, |i, j| if i == j { 3.0 } else { 0.0 });
            let mut sum = &matrix + &ridge;
            let factor = Cholesky::new(&sum).unwrap();
            let trace = wings.trace(t, &factor);
            // tr P⁻¹(P − 3) / 2, column by column.
            let mut expected = 0.0;
            for j in 0..=n {
                let column = sum.col_as_slice_mut(j);
                column[j] -= 3.0;
                factor.solve_in_place(column);
                expected += 0.5 * column[j];
            }
            assert!((trace - expected).abs() < 1e-9, "{t}: {trace} {expected}");
        }
    }
}
