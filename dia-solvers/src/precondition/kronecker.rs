//! The preconditioner of a kernel that varies over the image: nearly a Kronecker product.
//!
//! Column (t, k) of the design matrix is T_t(p) a_k(p), a_k being column k of the constant kernel's or the constant background. If the stars
//! are spread over the image, then
//!
//! > Σ_p w T_s T_t a_j a_k ≈ C_st H_jk, C_st the mean of T_s T_t,
//!
//! with the Gram matrix H of the constant problem. With C = L_C L_Cᵀ, the polynomials (L_C⁻¹ T)_r are orthonormal, the first is the constant. Its
//! block is H₀ = H; those of the others are near their mean, H₁ = Σ_p w τ² a aᵀ with τ² the mean of their squares at p. With what is added for the mean
//! kernel and for deviations from it, see [`Penalty`](crate::regularise::penalty::Penalty),
//!
//! > P = (L_C ⊗ 1) diag(H₀ + Q₀, H₁ + Q₁, …, H₁ + Q₁) (L_C ⊗ 1)ᵀ:
//!
//! two matrices of a few hundred rows and one of at most fifteen are factored instead of one of thousands.
//!
//! The columns at hand are a part of those of P: the functions of the kernel's shape up to one degree, the one that carries the flux up to another, the
//! background up to a third. The first group keeps the form of P; the rest, at most 45 columns, follow by block elimination, exactly.

use dia_core::Design;
use faer::Mat;

use crate::linear::cg::{axpy, dot};
use crate::{Cholesky, Preconditioner, SolveError};

/// The factor of the part of P that belongs to a design.
#[derive(Clone, Debug)]
pub(crate) struct Kronecker {
    dim: usize,
    /// Columns of the first group, a matrix of terms × functions, row-major.
    group: Vec<usize>,
    /// L_C over the terms of the first group.
    terms: Cholesky,
    /// The factors of H₀ + Q₀ and H₁ + Q₁ over its functions.
    functions: [Cholesky; 2],
    /// The other columns.
    rest: Vec<Rest>,
    /// The Schur complement of the first group.
    schur: Cholesky,
}

/// Column (t, k).
#[derive(Clone, Debug)]
struct Rest {
    column: usize,
    /// (L_C)_tr for the rows r of the first group.
    term: Vec<f64>,
    /// L⁻¹ (H + Q) e_k over the functions of the first group, for both.
    functions: [Vec<f64>; 2],
}

impl Kronecker {
    /// From the factor of C over the polynomials of the highest degree that occurs; and H₀ + Q₀ and H₁ + Q₁ over the functions of the basis and, last,
    /// the constant background if there is one, with both triangles.
    ///
    /// # Errors
    /// [`SolveError::NotPositiveDefinite`] if a matrix has no factor.
    pub(crate) fn new(
        design: &Design,
        c: &Cholesky,
        matrices: [&Mat<f64>; 2],
    ) -> Result<Self, SolveError> {
        let n = design.basis().len();
        let equal = design.scale_degree() == design.kernel_degree();
        let shape = if equal { 0..n } else { 1..n };
        // (column, term, function)
        let (mut group, mut others) = (Vec::new(), Vec::new());
        let mut group_terms = 0;
        for (t, term) in design.kernel_terms().enumerate() {
            group_terms += usize::from(term.functions.end == n);
            for (column, function) in term.columns.zip(term.functions) {
                if shape.contains(&function) {
                    group.push(column);
                } else {
                    others.push((column, t, function));
                }
            }
        }
        let background = design.ncols() - design.kernel_ncols();
        others.extend((0..background).map(|t| (design.kernel_ncols() + t, t, n)));
        let of_shape = |h: &Mat<f64>| {
            let (first, len) = (shape.start, shape.len());
            Cholesky::new(&h.submatrix(first, first, len, len).to_owned())
        };
        let [mean, deviations] = matrices;
        let functions = [of_shape(mean)?, of_shape(deviations)?];
        let rest: Vec<Rest> = others
            .iter()
            .map(|&(column, t, k)| Rest {
                column,
                term: (0..group_terms).map(|r| c.factor()[(t, r)]).collect(),
                functions: [0, 1].map(|i| {
                    let mut column: Vec<f64> = shape.clone().map(|j| matrices[i][(j, k)]).collect();
                    functions[i].solve_lower(&mut column);
                    column
                }),
            })
            .collect();
        let schur = Mat::from_fn(rest.len(), rest.len(), |i, j| {
            let ((_, s, k), (_, t, l)) = (others[i], others[j]);
            let row = |r: usize| {
                let i = [i, j].map(|i| &rest[i].functions[r.min(1)]);
                let explained = if r < group_terms { dot(i[0], i[1]) } else { 0.0 };
                let rows = c.factor()[(s, r)] * c.factor()[(t, r)];
                rows * (matrices[r.min(1)][(k, l)] - explained)
            };
            (0..=s.min(t)).map(row).sum()
        });
        let (terms, schur) = (c.leading(group_terms), Cholesky::new(&schur)?);
        Ok(Self { dim: design.ncols(), group, terms, functions, rest, schur })
    }

    /// The first group of x as a matrix of terms × functions, row-major.
    fn gather(&self, x: &[f64]) -> Vec<f64> {
        self.group.iter().map(|column| x[*column]).collect()
    }

    fn scatter(&self, matrix: &[f64], x: &mut [f64]) {
        self.group.iter().zip(matrix).for_each(|(column, value)| x[*column] = *value);
    }

    /// Number of functions in the first group.
    fn width(&self) -> usize {
        self.functions[0].dim()
    }

    /// The rows of the matrix, each with the factor of its functions.
    fn rows<'m>(&self, matrix: &'m mut [f64]) -> impl Iterator<Item = (&Cholesky, &'m mut [f64])> {
        let rows = matrix.chunks_exact_mut(self.width()).enumerate();
        rows.map(|(r, row)| (&self.functions[r.min(1)], row))
    }

    /// Applies a solve with the factor of C to every column of the matrix.
    fn along_terms(&self, matrix: &mut [f64], solve: impl Fn(&Cholesky, &mut [f64])) {
        let width = self.width();
        let mut column = vec![0.0; self.terms.dim()];
        for j in 0..width {
            column.iter_mut().enumerate().for_each(|(t, v)| *v = matrix[t * width + j]);
            solve(&self.terms, &mut column);
            column.iter().enumerate().for_each(|(t, v)| matrix[t * width + j] = *v);
        }
    }
}

impl Preconditioner for Kronecker {
    fn dim(&self) -> usize {
        self.dim
    }

    fn solve_lower(&self, x: &mut [f64]) {
        let mut matrix = self.gather(x);
        let width = self.width();
        self.along_terms(&mut matrix, Cholesky::solve_lower);
        self.rows(&mut matrix).for_each(|(factor, row)| factor.solve_lower(row));
        // What the first group explains of the rest.
        let mut rest: Vec<f64> = self
            .rest
            .iter()
            .map(|rest| {
                let rows = matrix.chunks_exact(width).zip(&rest.term).enumerate();
                let explained = rows.map(|(r, (row, t))| t * dot(row, &rest.functions[r.min(1)]));
                x[rest.column] - explained.sum::<f64>()
            })
            .collect();
        self.schur.solve_lower(&mut rest);
        self.scatter(&matrix, x);
        self.rest.iter().zip(rest).for_each(|(at, value)| x[at.column] = value);
    }

    fn solve_upper(&self, x: &mut [f64]) {
        let mut matrix = self.gather(x);
        let width = self.width();
        let mut rest: Vec<f64> = self.rest.iter().map(|rest| x[rest.column]).collect();
        self.schur.solve_upper(&mut rest);
        for (at, value) in self.rest.iter().zip(&rest) {
            for (r, (row, t)) in matrix.chunks_exact_mut(width).zip(&at.term).enumerate() {
                axpy(-value * t, &at.functions[r.min(1)], row);
            }
        }
        self.rows(&mut matrix).for_each(|(factor, row)| factor.solve_upper(row));
        self.along_terms(&mut matrix, Cholesky::solve_upper);
        self.scatter(&matrix, x);
        self.rest.iter().zip(rest).for_each(|(at, value)| x[at.column] = value);
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, KernelBasis, KernelShape, KernelSupport};
    use faer::Mat;

    use super::Kronecker;
    use crate::{Cholesky, Preconditioner};

    /// A symmetric positive definite matrix.
    fn definite(n: usize) -> Mat<f64> {
        let b = |i: usize, k: usize| ((i * 5 + k * 3) % 7) as f64 - 3.0;
        Mat::from_fn(n, n, |i, j| {
            (0..n).map(|k| b(i, k) * b(j, k)).sum::<f64>() / 10.0 + f64::from(u8::from(i == j))
        })
    }

    #[test]
    fn solves_with_a_part_of_p_for_every_combination_of_degrees() {
        let c = Cholesky::new(&definite(15)).unwrap();
        let l = c.factor();
        let matrices =
            [definite(10), Mat::from_fn(10, 10, |i, j| 3.0 * definite(12)[(i + 2, j + 2)])];
        // Element ((s, j), (t, k)) of P.
        let element = |(s, j): (usize, usize), (t, k): (usize, usize)| -> f64 {
            (0..=s.min(t)).map(|r| l[(s, r)] * l[(t, r)] * matrices[r.min(1)][(j, k)]).sum()
        };
        for (scale, kernel, background) in
            [(1, 1, Some(0)), (0, 2, Some(1)), (2, 1, Some(4)), (3, 0, None), (0, 0, Some(2))]
        {
            let support = KernelSupport::new(1, KernelShape::Square);
            let basis = KernelBasis::FluxConservingDelta(support);
            let design = Design::new(20, 30, basis, background).unwrap();
            let design = design.with_variation(scale, kernel).unwrap();
            let mut places: Vec<(usize, usize)> = Vec::new();
            for (t, term) in design.kernel_terms().enumerate() {
                places.extend(term.functions.map(|k| (t, k)));
            }
            places.extend((0..design.ncols() - places.len()).map(|t| (t, 9)));
            let p = Kronecker::new(&design, &c, matrices.each_ref()).unwrap();
            let x: Vec<f64> = (0..design.ncols()).map(|k| (k as f64).sin()).collect();
            let row = |at: &(usize, usize)| -> f64 {
                places.iter().zip(&x).map(|(place, x)| element(*at, *place) * x).sum()
            };
            let b: Vec<f64> = places.iter().map(row).collect();
            let mut solved = vec![0.0; x.len()];
            p.solve(&b, &mut solved);
            for (solved, x) in solved.iter().zip(&x) {
                // Conditions below 100 each, elements below 100.
                assert!((solved - x).abs() < 1e-9, "{scale} {kernel}: {solved} {x}");
            }
        }
    }
}
