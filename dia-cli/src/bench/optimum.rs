//! The minimum itself, in double precision: what every method's parameters are compared with.

use anyhow::{Result, bail};
use dia_core::LinearOperator;
use dia_fft::FftDesignMatrix;
use dia_solvers::{Cholesky, DesignRows, GramPrecision, Preconditioner};

use super::case::Case;
use super::least_squares::LeastSquares;
use super::method::BenchLoss;
use super::planes::Planes;

/// x* and the metric of its neighbourhood.
pub(crate) struct Optimum {
    /// In ADU.
    x: Vec<f64>,
    /// H = AᵀW(x*)A in their units, the lower triangle row after row.
    h: Vec<f64>,
}

/// Distance in σ at which the iteration ends: far below what is measured, far above the rounding of `f64`.
const TOLERANCE: f64 = 1e-6;

/// Most corrections. The weights of Huber's loss let one take away four fifths of the distance.
const MAX_STEPS: usize = 200;

impl Optimum {
    /// By the factored normal matrix and as many corrections as it takes.
    pub(crate) fn of(planes: &Planes<f64>, case: &Case) -> Result<Self> {
        let prepared = planes.prepare(case.half_width, case.degree)?;
        let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone())?;
        let problem = LeastSquares::new(&prepared, a)?;
        let loss = case.loss.loss();
        let rows = DesignRows::new(problem.design(), problem.reference.view());
        let mut h = rows.normal_matrix(&problem.weights, GramPrecision::Double);
        let p = Cholesky::new(&h)?;
        let n = problem.a.ncols();
        let (mut x, mut g, mut step) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let mut workspace = problem.a.workspace()?;
        // The first step is that of least squares: at x = 0 every star is an outlier.
        problem.gradient(&x, dia_core::Loss::Gaussian, &mut g, &mut workspace)?;
        p.solve(&g, &mut x);
        let mut distance = f64::INFINITY;
        for _ in 0..MAX_STEPS {
            problem.gradient(&x, loss, &mut g, &mut workspace)?;
            p.solve(&g, &mut step);
            distance = g.iter().zip(&step).map(|(g, s)| g * s).sum::<f64>().sqrt();
            x.iter_mut().zip(&step).for_each(|(x, s)| *x += s);
            if distance <= TOLERANCE {
                break;
            }
        }
        if distance > 10.0 * TOLERANCE {
            bail!(
                "the reference solution ended {distance:e} σ from the minimum; give another --seed"
            );
        }
        if case.loss != BenchLoss::Gaussian {
            let weights = problem.robust_weights(&x, loss)?;
            h = rows.normal_matrix(&weights, GramPrecision::Double);
        }
        let mut factors = vec![1.0; n];
        prepared.units().scale_parameters(problem.design(), &mut factors);
        x.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
        let places = (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let h = places.map(|(i, j)| h[(i, j)] / (factors[i] * factors[j])).collect();
        Ok(Self { x, h })
    }

    /// √((x − x*)ᵀH(x − x*)), in σ.
    pub(crate) fn distance(&self, x: &[f64]) -> f64 {
        let d: Vec<f64> = x.iter().zip(&self.x).map(|(x, optimum)| x - optimum).collect();
        let (mut sum, mut rest) = (0.0, &self.h[..]);
        for (i, di) in d.iter().enumerate() {
            let (row, later) = rest.split_at(i + 1);
            rest = later;
            let off: f64 = row[..i].iter().zip(&d).map(|(h, dj)| h * dj).sum();
            sum += di * (2.0 * off + row[i] * di);
        }
        sum.max(0.0).sqrt()
    }
}
