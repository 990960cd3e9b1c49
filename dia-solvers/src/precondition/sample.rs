//! What sampled rows tell of the normal matrix of all: their Hessians, and the factor of P = H + Q.

use dia_core::{
    Design, KernelTerm, LinearOperator, Loss, OperatorError, Pixel, PixelWeight, Polynomial2d,
    Region,
};
use faer::Mat;

use crate::linear::cg::dot;
use crate::precondition::kronecker::Kronecker;
use crate::precondition::shrinkage::{Eigenvalue, SampledHessian};
use crate::regularise::lambda::penalised;
use crate::regularise::penalty::Penalty;
use crate::{
    Cholesky, GramPrecision, Preconditioner, RowSample, SampledRows, SolveError, SubtractError,
};

/// Sampled rows of the design with a constant kernel.
pub(crate) struct Sample<'a, T> {
    pub(crate) draw: &'a RowSample,
    pub(crate) rows: SampledRows<T>,
    /// The data there.
    pub(crate) data: Vec<T>,
}

/// P, one of two kinds.
pub(crate) enum Factor {
    /// Of a constant kernel.
    Dense(Cholesky),
    /// Of one that varies.
    Kronecker(Box<Kronecker>),
}

impl Preconditioner for Factor {
    fn dim(&self) -> usize {
        match self {
            Self::Dense(p) => p.dim(),
            Self::Kronecker(p) => p.dim(),
        }
    }

    fn solve_lower(&self, x: &mut [f64]) {
        match self {
            Self::Dense(p) => p.solve_lower(x),
            Self::Kronecker(p) => p.solve_lower(x),
        }
    }

    fn solve_upper(&self, x: &mut [f64]) {
        match self {
            Self::Dense(p) => p.solve_upper(x),
            Self::Kronecker(p) => p.solve_upper(x),
        }
    }
}

impl<T: Pixel> Sample<'_, T> {
    /// A y at the sampled rows.
    pub(crate) fn model(&self, design: &Design, y: &[f64]) -> Result<Vec<T>, OperatorError> {
        let (kernel, background) = y.split_at(design.kernel_ncols());
        let mut workspace = self.rows.workspace()?;
        let mut sum = self.rows.zeros()?;
        let terms = design.kernel_terms().zip(terms_at(
            design.variation(),
            design.valid(),
            self.draw.rows(),
        ));
        for (t, (KernelTerm { columns, functions }, factors)) in terms.enumerate() {
            let mut of_term = vec![0.0; self.rows.ncols()];
            of_term[functions].copy_from_slice(&kernel[columns]);
            // The first polynomial is 1.
            if t == 0 {
                of_term[design.basis().len()..].copy_from_slice(background);
            }
            let mut product = self.rows.zeros()?;
            self.rows.apply(&of_term, &mut product, &mut workspace)?;
            let products = product.iter().zip(factors);
            for (sum, (product, factor)) in sum.iter_mut().zip(products) {
                *sum += T::narrow(product.widen() * factor);
            }
        }
        Ok(sum)
    }

    /// H of the sample with both triangles, weights in ADU⁻².
    pub(crate) fn gram(&self, weights: &[f64], precision: GramPrecision) -> Mat<f64> {
        let mut h = self.draw.gram(&self.rows, weights, precision);
        for j in 0..h.ncols() {
            for i in 0..j {
                h[(i, j)] = h[(j, i)];
            }
        }
        h
    }

    /// The factor of P = H + Q.
    pub(crate) fn factor(
        &self,
        design: &Design,
        weights: &[f64],
        loss: Loss,
        penalty: Option<&Penalty>,
    ) -> Result<Factor, SubtractError> {
        let c = match penalty {
            Some(penalty) => penalty.terms().clone(),
            None => self.moments(design)?,
        };
        factor_of(design, &c, &self.hessians(design, weights, &c), loss, penalty)
    }

    /// H over the columns of one term; for a kernel that varies H₀ and H₁, see [`Kronecker`].
    pub(crate) fn hessians(
        &self,
        design: &Design,
        weights: &[f64],
        c: &Cholesky,
    ) -> Vec<SampledHessian> {
        let terms = design.variation().len();
        let hessian = |weights: &[f64]| SampledHessian {
            h: of_one_term(design, &self.gram(weights, GramPrecision::Double)),
            ratio: design.basis().len() as f64 / self.draw.effective_rows(weights),
        };
        let mut hessians = vec![hessian(weights)];
        if terms > 1 {
            let (l, valid) = (c.leading(terms), design.valid());
            let mut values = vec![0.0; terms];
            let rows = self.draw.rows().iter().zip(weights);
            let of_deviations = rows.map(|(row, weight)| {
                let (y, x) = (row / valid.width, row % valid.width);
                design.variation().evaluate(valid.y + y, valid.x + x, &mut values);
                l.solve_lower(&mut values);
                weight * dot(&values[1..], &values[1..]) / (terms - 1) as f64
            });
            hessians.push(hessian(&of_deviations.collect::<Vec<f64>>()));
        }
        hessians
    }

    /// The factor of C, the mean of T_s T_t over the sample, for all polynomials that occur.
    ///
    /// The draw makes it half the mean over the stars' energy and half that over the pixels: so it tells nearly how much a row says about the kernel, but
    /// no part of the image has no share.
    pub(crate) fn moments(&self, design: &Design) -> Result<Cholesky, SolveError> {
        let degree = match design.variation().degree() {
            0 => 0,
            degree => degree.max(design.background().map_or(0, Polynomial2d::degree)),
        };
        let polynomial = Polynomial2d::new(degree, design.height(), design.width());
        let terms = terms_at(&polynomial, design.valid(), self.draw.rows());
        let t = Mat::from_fn(terms.len(), self.draw.rows().len(), |k, i| terms[k][i]);
        let c = &t * t.transpose() * faer::Scale(1.0 / t.ncols() as f64);
        Cholesky::new(&c)
    }
}

/// Each term of a polynomial at some of the `valid` pixels of a design.
pub(crate) fn terms_at(polynomial: &Polynomial2d, valid: Region, rows: &[usize]) -> Vec<Vec<f64>> {
    let mut values = vec![0.0; polynomial.len()];
    let mut terms = vec![Vec::with_capacity(rows.len()); values.len()];
    for row in rows {
        let (y, x) = (valid.y + row / valid.width, valid.x + row % valid.width);
        polynomial.evaluate(y, x, &mut values);
        terms.iter_mut().zip(&values).for_each(|(term, value)| term.push(*value));
    }
    terms
}

/// The part of a matrix that belongs to one term: the functions of the basis and the constant background, if there is one; of a kernel that does not
/// vary, all.
fn of_one_term(design: &Design, h: &Mat<f64>) -> Mat<f64> {
    let n = columns_of_one_term(design);
    h.submatrix(0, 0, n, n).to_owned()
}

pub(crate) fn columns_of_one_term(design: &Design) -> usize {
    let background = design.background().map_or(0, Polynomial2d::len);
    let constant = design.variation().len() == 1;
    design.basis().len() + if constant { background } else { background.min(1) }
}

/// The factor of P = H + Q from C and H of the sample with the weights ψ(z)/(zσ²) of a loss.
fn factor_of(
    design: &Design,
    c: &Cholesky,
    h: &[SampledHessian],
    loss: Loss,
    penalty: Option<&Penalty>,
) -> Result<Factor, SubtractError> {
    let Some(penalty) = penalty else {
        return factor_of_terms(design, c, &h.iter().map(|h| h.h.clone()).collect::<Vec<_>>());
    };
    let curvature =
        loss.mean_weight(PixelWeight::Curvature) / loss.mean_weight(PixelWeight::Robust);
    let p = h.iter().zip(penalty.matrices()).enumerate().map(|(row, (h, q))| {
        let bias = penalty.bias(row);
        let [signal] = h.scaled(curvature).signal(bias.as_ref(), [Eigenvalue::UpperBound])?;
        Ok(penalised(&majorant(&signal, curvature, bias.as_ref()), &q))
    });
    factor_of_terms(design, c, &p.collect::<Result<Vec<_>, SolveError>>()?)
}

/// What a step of a robust fit divides by, from the signal in the Hessian of the mean curvature ψ′ = `curvature` of the weights ψ(z)/z: that of the weights themselves, and with it
/// what they make of the noise's bias, which is more than what is taken out.
pub(crate) fn majorant(signal: &Mat<f64>, curvature: f64, bias: Option<&Mat<f64>>) -> Mat<f64> {
    let scaled = |matrix: &Mat<f64>| matrix * faer::Scale(curvature.recip());
    let h = scaled(signal);
    bias.map_or_else(|| h.clone(), |bias| penalised(&h, &scaled(bias)))
}

pub(crate) fn factor_of_terms(
    design: &Design,
    c: &Cholesky,
    p: &[Mat<f64>],
) -> Result<Factor, SubtractError> {
    Ok(match p {
        [mean, deviations] => {
            Factor::Kronecker(Box::new(Kronecker::new(design, c, [mean, deviations])?))
        }
        _ => Factor::Dense(Cholesky::new(&p[0])?),
    })
}
