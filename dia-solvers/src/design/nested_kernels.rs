//! How wide the kernel should be: information criteria over nested radii (Bramich et al. 2016, MNRAS 457, 542).
//!
//! A fit of the widest kernel of free pixels tells what all narrower ones would have found. With the columns in the order of their distance from the
//! centre, the background first, and the Hessian J = L Lᵀ at the minimum x̂, the objective above its minimum is ½ ‖Lᵀ(x − x̂)‖² for small
//! changes. Where the columns from k on have to be zero, the others can make the first k elements of Lᵀ(x − x̂) vanish, and what is left is
//!
//! > 2 Δ(k) = Σ_{i ≥ k} (Lᵀ x̂)_i²:
//!
//! one triangular product gives the loss of every radius. With 2 Σ ρ in the place of χ², and up to a constant,
//!
//! > AIC = 2Δ + 2k, BIC = 2Δ + k ln N, TIC = 2Δ + 2 tr J_k⁻¹ S_k
//!
//! (Akaike 1974, IEEE Trans. Autom. Control 19, 716; Schwarz 1978, Ann. Stat. 6, 461; Takeuchi 1976, Suri-Kagaku 153, 12). S is the covariance of the
//! gradient; (L⁻¹ S L⁻ᵀ)_ii, added up, are the traces for all k. AIC and BIC believe the noise model, TIC does not.
//!
//! J and S are those of the sampled rows: a change of a few units of 2Δ, of hundreds in all, is told well enough.

use dia_core::{
    Design, DesignMatrix, ImageView, KernelBasis, KernelShape, KernelSupport, OperatorError,
    PixelWeight,
};
use faer::{Mat, MatRef};

use crate::robust::problem::Problem;
use crate::{
    Cholesky, Exposure, FitOptions, GramPrecision, Preconditioner, Prepared, SubtractError,
    fit_prepared,
};

/// What weighs the gain of more unknowns against their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Criterion {
    /// Akaike's: the best prediction, if the noise is as given.
    Aic,
    /// The Bayesian one of Schwarz: the narrowest kernel that the data do not refute.
    Bic,
    /// Takeuchi's: as Akaike's, whatever the noise is.
    Tic,
}

/// A kernel of one radius, compared with those of the other radii.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NestedKernel {
    /// Half-width h in pixels, of the shape that was fitted.
    pub half_width: usize,
    /// Number of unknowns, those of the background included.
    pub unknowns: usize,
    /// By how much 2 Σ ρ is above that of the widest kernel; Δχ² for the Gaussian loss.
    pub excess: f64,
    /// tr J⁻¹ S, the effective number of unknowns.
    pub effective: f64,
    /// Number of pixels that were fitted.
    pub pixels: usize,
}

impl NestedKernel {
    /// The value of a criterion: the smallest is the best.
    pub fn value(&self, criterion: Criterion) -> f64 {
        self.excess
            + match criterion {
                Criterion::Aic => 2.0 * self.unknowns as f64,
                Criterion::Bic => self.unknowns as f64 * (self.pixels as f64).ln(),
                Criterion::Tic => 2.0 * self.effective,
            }
    }
}

/// The half-width in pixels that a criterion chooses; `None` where there is nothing to choose from.
pub fn best_half_width(kernels: &[NestedKernel], criterion: Criterion) -> Option<usize> {
    let values = kernels.iter().map(|kernel| (kernel.half_width, kernel.value(criterion)));
    values.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(half_width, _)| half_width)
}

/// Compares all half-widths up to that of `widest` by one fit of its free pixels, without regularisation; of the options, those of the reference's noise, λ and the
/// comparison itself do not matter. `operator` is as in [`subtract`](crate::subtract()).
///
/// # Errors
/// [`SubtractError`] names what is wrong with images, noise or kernel, or how the fit failed.
pub fn nested_kernels<A: DesignMatrix>(
    reference: &Exposure<'_, A::Pixel>,
    target: &Exposure<'_, A::Pixel>,
    widest: KernelSupport,
    background_degree: usize,
    operator: impl Fn(ImageView<'_, A::Pixel>, Design) -> Result<A, OperatorError>,
    options: &FitOptions,
) -> Result<Vec<NestedKernel>, SubtractError> {
    let (height, width) = target.image.shape();
    let design = Design::new(height, width, KernelBasis::Delta(widest), Some(background_degree))?;
    let FitOptions { reference_noise, lambda, .. } = FitOptions::plain();
    let options = FitOptions { reference_noise, lambda, nested_kernels: true, ..*options };
    let mut prepared =
        Prepared::new(reference, target, design, options.needs_reference_variance())?;
    let (_, fit) = fit_prepared(&mut prepared, operator, &options, &mut |_| ())?;
    Ok(fit.nested_kernels.unwrap_or_default())
}

/// The half-width of the narrowest kernel that has a pixel at (dy, dx).
fn ring(shape: KernelShape, (dy, dx): (isize, isize)) -> usize {
    match shape {
        KernelShape::Square => dy.unsigned_abs().max(dx.unsigned_abs()),
        // dx² + dy² ≤ h² + h, as in `KernelSupport`.
        KernelShape::Circle => {
            let square = (dy * dy + dx * dx) as usize;
            // √(dx² + dy²) rounded down is h or h − 1.
            let h = square.isqrt();
            if square <= h * h + h { h } else { h + 1 }
        }
    }
}

/// All radii up to that of the kernel that was fitted, with the minimum `x`.
///
/// # Errors
/// [`SubtractError::NotNested`] unless the pixels of the kernel are free, without penalty, and it does not vary; [`SubtractError::Solve`] if they are not determined.
pub(crate) fn compare_kernels<A: DesignMatrix>(
    problem: &mut Problem<'_, A>,
    x: &[f64],
    pixels: usize,
) -> Result<Vec<NestedKernel>, SubtractError> {
    let design = problem.a.design();
    let support = match design.basis() {
        KernelBasis::Delta(support) if design.variation().len() == 1 => support,
        _ => return Err(SubtractError::NotNested),
    };
    if problem.penalty.is_some() {
        return Err(SubtractError::NotNested);
    }
    let mut rings: Vec<(usize, usize)> = support
        .offsets()
        .enumerate()
        .map(|(column, offset)| (ring(support.shape(), offset), column))
        .collect();
    rings.sort_unstable();
    let background = design.kernel_ncols()..x.len();
    let first = background.len();
    let order: Vec<usize> = background.chain(rings.iter().map(|(_, column)| *column)).collect();

    let gram = |kind| -> Result<Mat<f64>, SubtractError> {
        let weights = problem.sampled_weights(x, problem.loss, kind)?;
        let h = problem.sample.gram(&weights, GramPrecision::Double);
        Ok(Mat::from_fn(order.len(), order.len(), |i, j| h[(order[i], order[j])]))
    };
    let (j, mut s) = (Cholesky::new(&gram(PixelWeight::Curvature)?)?, gram(PixelWeight::Score)?);
    let lost: Vec<f64> = (0..order.len())
        .map(|i| {
            let column = j.factor().col(i);
            (i..order.len()).map(|k| column[k] * x[order[k]]).sum::<f64>().powi(2)
        })
        .collect();
    let effective = diagonal_of_congruence(&j, &mut s);

    let (mut unknowns, mut before) = (first, effective[..first].iter().sum::<f64>());
    let mut kernels = Vec::new();
    for half_width in 0..=support.half_width() {
        let ring = rings.iter().filter(|(ring, _)| *ring == half_width).count();
        before += effective[unknowns..unknowns + ring].iter().sum::<f64>();
        unknowns += ring;
        let excess = lost[unknowns..].iter().sum();
        kernels.push(NestedKernel { half_width, unknowns, excess, effective: before, pixels });
    }
    Ok(kernels)
}

/// The diagonal of L⁻¹ S L⁻ᵀ.
fn diagonal_of_congruence(l: &Cholesky, s: &mut Mat<f64>) -> Vec<f64> {
    let solve = |matrix: &mut Mat<f64>| {
        for k in 0..matrix.ncols() {
            l.solve_lower(matrix.col_as_slice_mut(k));
        }
    };
    solve(s);
    let mut transposed = s.transpose().to_owned();
    solve(&mut transposed);
    diagonal(transposed.as_ref())
}

fn diagonal(matrix: MatRef<'_, f64>) -> Vec<f64> {
    (0..matrix.ncols()).map(|i| matrix[(i, i)]).collect()
}

#[cfg(test)]
mod tests {
    use dia_core::{KernelShape, KernelSupport};
    use faer::Mat;

    use super::{diagonal_of_congruence, ring};
    use crate::Cholesky;

    #[test]
    fn rings_are_those_of_the_supports() {
        for shape in [KernelShape::Square, KernelShape::Circle] {
            let widest = KernelSupport::new(7, shape);
            for h in 0..=7 {
                let within = widest.offsets().filter(|offset| ring(shape, *offset) <= h).count();
                assert_eq!(within, KernelSupport::new(h, shape).len(), "{shape:?} {h}");
            }
        }
    }

    #[test]
    fn traces_add_up_along_the_diagonal() {
        let definite = |a: usize| {
            Mat::from_fn(6, 6, |i, j| {
                ((a + i) * (a + j) % 5) as f64 * ((a + i) * (a + j) % 3) as f64
                    + 30.0 * f64::from(u8::from(i == j))
            })
        };
        let (j, s) = (definite(2), definite(3));
        let diagonal = diagonal_of_congruence(&Cholesky::new(&j).unwrap(), &mut s.clone());
        for k in 1..=6 {
            let leading = Cholesky::new(&j.submatrix(0, 0, k, k).to_owned()).unwrap();
            let mut product = s.submatrix(0, 0, k, k).to_owned();
            leading.solve_columns(&mut product);
            let trace: f64 = (0..k).map(|i| product[(i, i)]).sum();
            // Six terms of size one, of matrices with conditions below 10.
            assert!((trace - diagonal[..k].iter().sum::<f64>()).abs() < 1e-13);
        }
    }
}
