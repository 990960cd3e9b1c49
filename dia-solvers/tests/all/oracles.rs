//! LSQR and CG against dense factorizations, and every reason to stop.

use dia_core::LinearOperator;
use dia_solvers::{
    CgOptions, CgWorkspace, Cholesky, FromFaer, Identity, Jacobi, LsqrOptions, LsqrWorkspace,
    NormalOperator, NormalWorkspace, Outcome, Preconditioner, SolveError, StopReason, ToFaer, cg,
    lsqr,
};
use faer::linalg::solvers::SolveLstsq;
use faer::{Mat, Par};
use proptest::prelude::*;

/// Tight options: only rounding or the rules of the paper end the iteration.
const TIGHT: LsqrOptions = LsqrOptions {
    tolerance: 0.0,
    relative: 0.0,
    atol: f64::EPSILON,
    btol: f64::EPSILON,
    condition_limit: 1e15,
    damp: 0.0,
    max_iterations: 500,
};

fn matrix(m: usize, n: usize, seed: usize) -> Mat<f64> {
    Mat::from_fn(m, n, |i, j| {
        let v = ((i * 31 + j * 17 + seed * 101) * 7919 % 1009) as f64 / 504.5 - 1.0;
        v + if i == j { 3.0 } else { 0.0 }
    })
}

fn solve(
    a: &Mat<f64>,
    p: &dyn Preconditioner,
    b: &[f64],
    options: &LsqrOptions,
) -> Result<(Vec<f64>, Outcome), SolveError> {
    let a = FromFaer(a.as_ref());
    let mut x = vec![f64::NAN; a.ncols()];
    let outcome = lsqr(&a, p, &b.to_vec(), &mut x, options, &mut LsqrWorkspace::new(&a)?)?;
    Ok((x, outcome))
}

/// min ‖b − A x‖² + λ²‖x‖² by QR of [A; λI].
fn by_qr(a: &Mat<f64>, b: &[f64], damp: f64) -> Vec<f64> {
    let (m, n) = (a.nrows(), a.ncols());
    let at = |i: usize, j: usize| match i.checked_sub(m) {
        None => a[(i, j)],
        Some(k) => {
            if k == j {
                damp
            } else {
                0.0
            }
        }
    };
    let augmented = Mat::from_fn(m + n, n, at);
    let rhs = Mat::from_fn(m + n, 1, |i, _| b.get(i).copied().unwrap_or(0.0));
    let x = augmented.qr().solve_lstsq(&rhs);
    (0..n).map(|i| x[(i, 0)]).collect()
}

/// AᵀA + λ²I.
fn gram(a: &Mat<f64>, damp: f64) -> Mat<f64> {
    let mut h = a.transpose() * a;
    for i in 0..a.ncols() {
        h[(i, i)] += damp * damp;
    }
    h
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn lsqr_solves_the_damped_problem_with_any_preconditioner(
        n in 1_usize..14, extra in 0_usize..20, seed in 0_usize..500,
        damp in prop::sample::select(vec![0.0, 0.1, 2.0]),
    ) {
        let m = n + extra;
        let a = matrix(m, n, seed);
        let b: Vec<f64> = (0..m).map(|i| ((i * 13 + seed) % 29) as f64 - 14.0).collect();
        let expected = by_qr(&a, &b, damp);
        let h = gram(&a, damp);
        let Ok(cholesky) = Cholesky::new(&h) else { return Ok(()) };
        let condition = h.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
        let condition = condition[n - 1] / condition[0];
        prop_assume!(condition < 1e8);
        let diagonal: Vec<f64> = (0..n).map(|i| h[(i, i)]).collect();
        let size = expected.iter().fold(1.0, |s: f64, x| s.max(x.abs())) + 14.0;
        for p in [&Identity(n) as &dyn Preconditioner, &Jacobi::new(&diagonal), &cholesky] {
            let (x, outcome) = solve(&a, p, &b, &LsqrOptions { damp, ..TIGHT }).unwrap();
            prop_assert!(outcome.stop.converged(), "{:?}", outcome);
            for (x, e) in x.iter().zip(&expected) {
                // LSQR stops at a relative gradient of a few ε; the condition of AᵀA carries it to x.
                let bound = 1e3 * f64::EPSILON * condition * size;
                prop_assert!((x - e).abs() <= bound, "{} {} > {:e}", x, e, bound);
            }
        }
    }
}

#[test]
fn cg_and_lsqr_report_the_same_distance() {
    let (m, n) = (40, 12);
    let a = matrix(m, n, 7);
    let b: Vec<f64> = (0..m).map(|i| (i as f64).sin()).collect();
    let operator = FromFaer(a.as_ref());
    let weights = vec![1.0; m];
    let h = NormalOperator { operator: &operator, weights: &weights };
    let mut g = vec![0.0; n];
    operator.apply_adjoint(&b, &mut g, &mut ()).unwrap();
    for max_iterations in [1, 3, 6] {
        let mut x = vec![0.0; n];
        let options = CgOptions { tolerance: 0.0, relative: 0.0, max_iterations };
        let mut memory = NormalWorkspace::new(&operator).unwrap();
        let cg = cg(&h, &Identity(n), &g, &mut x, &options, &mut CgWorkspace::new(n), &mut memory)
            .unwrap();
        let (y, lsqr) =
            solve(&a, &Identity(n), &b, &LsqrOptions { max_iterations, ..TIGHT }).unwrap();
        assert_eq!((cg.stop, lsqr.stop), (StopReason::Iterations, StopReason::Iterations));
        // In exact arithmetic both make the same iterates; a few iterations lose a few digits at most.
        assert!((cg.optimality - lsqr.optimality).abs() < 1e-9 * cg.optimality.max(1e-3));
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-9));
    }
}

#[test]
fn every_reason_to_stop() {
    let a = matrix(30, 8, 3);
    let id = Identity(8);
    let stop =
        |a: &Mat<f64>, b: &[f64], options: &LsqrOptions| solve(a, &id, b, options).unwrap().1.stop;
    let noise: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 11) - 5.0).collect();
    assert_eq!(stop(&a, &[0.0; 30], &TIGHT), StopReason::Trivial);
    let x: Vec<f64> = (0..8).map(f64::from).collect();
    let mut consistent = vec![0.0; 30];
    FromFaer(a.as_ref()).apply(&x, &mut consistent, &mut ()).unwrap();
    let loose = LsqrOptions { atol: 1e-12, btol: 1e-12, ..TIGHT };
    assert_eq!(stop(&a, &consistent, &loose), StopReason::Consistent);
    assert_eq!(stop(&a, &noise, &loose), StopReason::LeastSquares);
    assert_eq!(stop(&a, &noise, &LsqrOptions { tolerance: 1e-3, ..TIGHT }), StopReason::Optimal);
    assert_eq!(stop(&a, &noise, &LsqrOptions { relative: 1e-3, ..TIGHT }), StopReason::Optimal);
    assert_eq!(
        stop(&a, &noise, &LsqrOptions { max_iterations: 2, ..TIGHT }),
        StopReason::Iterations
    );
    let ill = LsqrOptions { condition_limit: 1.5, ..TIGHT };
    assert_eq!(stop(&a, &noise, &ill), StopReason::IllConditioned);
    // Without any rule of its own, the iteration ends where its tests can fall no further.
    let rounding = LsqrOptions { atol: 0.0, btol: 0.0, condition_limit: f64::INFINITY, ..TIGHT };
    assert_eq!(stop(&a, &noise, &rounding), StopReason::RoundingFloor);
}

#[test]
fn nan_is_an_error_with_its_iteration() {
    let mut a = matrix(10, 4, 1);
    let error = solve(&a, &Identity(4), &[f64::NAN; 10], &TIGHT).unwrap_err();
    assert!(matches!(error, SolveError::NonFinite { iteration: 0, .. }));
    a[(3, 2)] = f64::NAN;
    let error = solve(&a, &Identity(4), &[1.0; 10], &TIGHT).unwrap_err();
    assert!(error.to_string().contains("mask bad pixels"), "{error}");
}

#[test]
fn an_indefinite_matrix_stops_cg() {
    struct Indefinite;
    impl dia_solvers::SymmetricOperator for Indefinite {
        type Workspace = ();
        fn dim(&self) -> usize {
            2
        }
        fn workspace(&self) -> Result<(), dia_core::OperatorError> {
            Ok(())
        }
        fn apply(
            &self,
            x: &[f64],
            y: &mut [f64],
            (): &mut (),
        ) -> Result<(), dia_core::OperatorError> {
            (y[0], y[1]) = (x[0], -2.0 * x[1]);
            Ok(())
        }
    }
    let mut x = [0.0; 2];
    let options = CgOptions::default();
    let outcome = cg(
        &Indefinite,
        &Identity(2),
        &[1.0, 1.0],
        &mut x,
        &options,
        &mut CgWorkspace::new(2),
        &mut (),
    )
    .unwrap();
    assert_eq!(outcome.stop, StopReason::Indefinite);
    assert!(!outcome.stop.converged());
}

#[test]
fn faers_own_lsmr_solves_with_our_operators() {
    use faer::dyn_stack::{MemBuffer, MemStack};
    use faer::matrix_free::{BiLinOp, LinOp};
    let a = matrix(9, 5, 11);
    let operator = FromFaer(a.as_ref());
    let wrapped = ToFaer::new(&operator).unwrap();
    let rhs = Mat::from_fn(5, 2, |i, j| (i + 3 * j) as f64 - 2.0);
    let mut buffer = MemBuffer::new(wrapped.apply_scratch(2, Par::Seq));
    let mut out = Mat::from_fn(9, 2, |_, _| f64::NAN);
    wrapped.apply(out.as_mut(), rhs.as_ref(), Par::Seq, MemStack::new(&mut buffer));
    let expected = &a * &rhs;
    let mut adjoint = Mat::from_fn(5, 2, |_, _| f64::NAN);
    wrapped.adjoint_apply(
        adjoint.as_mut(),
        expected.as_ref(),
        Par::Seq,
        MemStack::new(&mut buffer),
    );
    let expected_adjoint = a.transpose() * &expected;
    // Nine products of size below 4 · 10 each, then nine of those times 4.
    assert!((&out - &expected).norm_max() < 9.0 * 40.0 * 4.0 * f64::EPSILON);
    assert!((&adjoint - &expected_adjoint).norm_max() < 81.0 * 160.0 * 4.0 * f64::EPSILON);
}
