//! A sampled preconditioner solves the normal equations in a dozen iterations, whatever the size of the image.

use crate::field::{Planes, simulated};
use dia_core::{DataVector, LinearOperator};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    CgOptions, CgWorkspace, DesignRows, LsqrOptions, LsqrWorkspace, NormalOperator, RowSample,
    StopReason, Weighted, cg, lsqr,
};

#[test]
fn a_dozen_iterations_at_any_size() {
    for side in [200, 512, 800] {
        let pair = simulated(side, 1);
        let planes = Planes::<f32>::of(&pair);
        let prepared = planes.prepare(&pair, 9, false);
        let a = FftDesignMatrix::new(prepared.reference(), prepared.design().clone()).unwrap();
        let weights: Vec<f32> = (0..a.nrows()).map(|i| prepared.initial_weight(i) as f32).collect();
        let valid = prepared.design().valid();
        let data: Vec<f32> = (0..a.nrows())
            .map(|i| {
                let (y, x) = (valid.y + i / valid.width, valid.x + i % valid.width);
                if prepared.is_used(i) { planes.target.view().at(y, x) } else { 0.0 }
            })
            .collect();
        let sample = RowSample::draw(&prepared, 30 * a.ncols(), 0);
        let sampled: Vec<f64> = sample.rows().iter().map(|i| f64::from(weights[*i])).collect();
        let rows = DesignRows::new(prepared.design(), prepared.reference());
        let p = sample.factor(&rows, &sampled).unwrap();

        let mut weighted = data.clone();
        weighted.multiply(&weights).unwrap();
        let mut workspace = a.workspace().unwrap();
        let mut g = vec![0.0; a.ncols()];
        a.apply_adjoint(&weighted, &mut g, &mut workspace).unwrap();
        let h = NormalOperator { operator: &a, weights: &weights };
        let mut x = vec![0.0; a.ncols()];
        let mut memory = dia_solvers::NormalWorkspace::new(&a).unwrap();
        let options = CgOptions::default();
        let cg = cg(&h, &p, &g, &mut x, &options, &mut CgWorkspace::new(a.ncols()), &mut memory)
            .unwrap();
        eprintln!("{side}²: {cg:?}");
        assert_eq!(cg.stop, StopReason::Optimal);
        assert!(cg.iterations <= 12, "{side}²: {cg:?}");

        let mut sqrt_weights = a.zeros().unwrap();
        sqrt_weights.square_root_of(&weights).unwrap();
        let mut whitened = data;
        whitened.multiply(&sqrt_weights).unwrap();
        let w = Weighted { inner: &a, sqrt_weights: &sqrt_weights };
        let mut memory = LsqrWorkspace::new(&w).unwrap();
        let lsqr = lsqr(&w, &p, &whitened, &mut x, &LsqrOptions::default(), &mut memory).unwrap();
        eprintln!("{side}²: {lsqr:?}");
        assert_eq!(lsqr.stop, StopReason::Optimal);
        assert!(lsqr.iterations <= 12, "{side}²: {lsqr:?}");
    }
}
