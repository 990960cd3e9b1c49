//! Each shader against its CPU twin.

use std::sync::Arc;

use crate::hosted::{context, image, narrow, norm, values};
use dia_core::{
    DataVector, Design, DesignMatrix, GaussianTerm, Image, KernelBasis, KernelShape, KernelSupport,
    LinearOperator, Loss, Noise, Photon, PixelWeight, Reweight,
};
use dia_fft::FftDesignMatrix;
use dia_vulkan::{VulkanContext, VulkanDesignMatrix};

const LOSSES: [Loss; 5] = [Loss::Gaussian, Loss::HUBER, Loss::TUKEY, Loss::CAUCHY, Loss::STUDENT_T];
const KINDS: [PixelWeight; 3] = [PixelWeight::Robust, PixelWeight::Curvature, PixelWeight::Score];

/// Shapes of kernel, variation and background that take every path of the shaders: one chunk and several, terms, no background.
fn designs() -> Vec<Design> {
    let design = |height, width, basis, background, scale, kernel| {
        let design = Design::new(height, width, basis, background).unwrap();
        design.with_variation(scale, kernel).unwrap()
    };
    let circle = KernelSupport::new(4, KernelShape::Circle);
    let gauss = KernelBasis::gaussian_polynomials(5, KernelShape::Square, &GaussianTerm::HOTPANTS);
    let everything = design(50, 70, KernelBasis::delta(2), Some(8), 4, 4);
    vec![
        design(40, 50, KernelBasis::delta(0), Some(0), 0, 0),
        design(81, 117, KernelBasis::delta(9), Some(1), 0, 0),
        design(70, 97, KernelBasis::FluxConservingDelta(circle), Some(3), 0, 2),
        design(60, 90, gauss, None, 1, 1),
        // Two chunks in each direction, the second one smaller.
        design(75, 80, KernelBasis::delta(14), Some(2), 1, 1),
        everything.of_variance(),
        everything,
    ]
}

fn both(
    context: &Arc<VulkanContext>,
    design: &Design,
) -> (VulkanDesignMatrix, FftDesignMatrix<f64>) {
    let reference = image(design.height(), design.width(), 3);
    let a = VulkanDesignMatrix::new(context, reference.view(), design.clone()).unwrap();
    let b = FftDesignMatrix::new(reference.map(f64::from).view(), design.clone()).unwrap();
    (a, b)
}

/// Σ_t ‖K_t‖₁ and the sum of the background's coefficients: what bounds a model of pixels below 80.
fn size(design: &Design, x: &[f64]) -> f64 {
    let kernels: f64 =
        design.kernels(x).iter().flat_map(|k| k.pixels().to_vec()).map(f64::abs).sum();
    80.0 * kernels + design.split(x).1.iter().map(|b| b.abs()).sum::<f64>()
}

#[test]
fn convolve() {
    let Some(context) = context("convolve") else { return };
    for design in designs() {
        let (a, b) = both(&context, &design);
        let x = values(a.ncols(), 1);
        let mut ours = a.upload(vec![f32::NAN; a.nrows()]).unwrap();
        a.apply(&x, &mut ours, &mut a.workspace().unwrap()).unwrap();
        let mut twin = b.zeros().unwrap();
        b.apply(&x, &mut twin, &mut b.workspace().unwrap()).unwrap();
        // A sum of N products has an error below N ε/2 of the sum of their sizes in the worst case, √N ε in practice: N < 900 a chunk; K and T are
        // rounded beside.
        let bound = 34.0 * f64::from(f32::EPSILON) * size(&design, &x);
        for (ours, twin) in a.download(ours).unwrap().iter().zip(&twin) {
            assert!((f64::from(*ours) - twin).abs() <= bound, "{ours} {twin} ± {bound}");
        }
    }
}

#[test]
fn correlate_moments_and_reduce() {
    let Some(context) = context("correlate_moments_and_reduce") else { return };
    for design in designs() {
        let (a, b) = both(&context, &design);
        let y = narrow(&values(a.nrows(), 5));
        let (mut ours, mut twin) = (vec![f64::NAN; a.ncols()], vec![f64::NAN; a.ncols()]);
        a.apply_adjoint(&a.upload(y.clone()).unwrap(), &mut ours, &mut a.workspace().unwrap())
            .unwrap();
        let exact: Vec<f64> = y.iter().map(|y| f64::from(*y)).collect();
        b.apply_adjoint(&exact, &mut twin, &mut b.workspace().unwrap()).unwrap();
        // Per tile, up to 24 · 60 products are added in float: an error of √1440 ε of their root sum of squares, which for all
        // tiles is at most 80 ‖y‖. Functions of the basis have Σ|f| < 50.
        let functions = if matches!(design.basis(), KernelBasis::Delta(_)) { 2.0 } else { 50.0 };
        let bound = 38.0 * f64::from(f32::EPSILON) * 80.0 * norm(&exact) * functions;
        for (ours, twin) in ours.iter().zip(&twin) {
            assert!((ours - twin).abs() <= bound, "{ours} {twin} ± {bound}");
        }
    }
}

#[test]
fn reweight() {
    let Some(context) = context("reweight") else { return };
    let design = Design::new(60, 70, KernelBasis::delta(1), Some(0)).unwrap();
    let (a, _) = both(&context, &design);
    let m = a.nrows();
    let data: Vec<f32> = narrow(&values(m, 1)).iter().map(|v| 100.0 * v).collect();
    let model: Vec<f32> = narrow(&values(m, 2)).iter().map(|v| 90.0 * v).collect();
    let positive = |seed: usize, scale: f64| {
        narrow(&values(m, seed).iter().map(|v| scale * (1.0 + v * v)).collect::<Vec<_>>())
    };
    let mut fixed = positive(3, 50.0);
    fixed.iter_mut().step_by(7).for_each(|fixed| *fixed = f32::INFINITY);
    for (photon, reference) in [(false, false), (true, true)] {
        let noise = Noise {
            fixed: fixed.clone(),
            photon: if photon { Photon::PerPixel(positive(4, 0.5)) } else { Photon::Uniform(0.7) },
            reference: reference.then(|| positive(5, 20.0)),
        };
        let ours = Noise {
            fixed: a.upload(fixed.clone()).unwrap(),
            photon: match &noise.photon {
                Photon::Uniform(photon) => Photon::Uniform(*photon),
                Photon::PerPixel(photon) => Photon::PerPixel(a.upload(photon.clone()).unwrap()),
            },
            reference: noise.reference.clone().map(|reference| a.upload(reference).unwrap()),
        };
        for loss in LOSSES {
            for kind in KINDS {
                let mut twin = model.clone();
                data.reweight(&noise, loss, kind, &mut twin).unwrap();
                let mut weights = a.upload(model.clone()).unwrap();
                a.upload(data.clone()).unwrap().reweight(&ours, loss, kind, &mut weights).unwrap();
                for (i, (ours, twin)) in a.download(weights).unwrap().iter().zip(&twin).enumerate()
                {
                    if fixed[i].is_infinite() {
                        assert_eq!(*ours, 0.0);
                        continue;
                    }
                    // Division is good to 2.5 ulp and the root to 3; a dozen operations. ψ′ is a difference of terms up to 5 z²/c²; z < 20,
                    // and at the kink of Huber's a rounding decides.
                    let z = (data[i] - model[i]) / noise.variance(i, model[i]).sqrt();
                    if matches!(loss, Loss::Huber { c } if (f64::from(z.abs()) - c).abs() < 1e-4) {
                        continue;
                    }
                    let bound = 20.0 * f32::EPSILON * (1.0 + z * z) / noise.variance(i, model[i]);
                    assert!((ours - twin).abs() <= bound, "{loss:?} {kind:?}: {ours} {twin} {z}");
                }
            }
        }
    }
}

#[test]
fn axpby_scale_multiply_square_root_dot_and_gather() {
    let Some(context) = context("axpby_scale_multiply_square_root_dot_and_gather") else { return };
    let design = Design::new(90, 111, KernelBasis::delta(1), Some(0)).unwrap();
    let (a, _) = both(&context, &design);
    let m = a.nrows();
    let (x, y) = (narrow(&values(m, 1)), narrow(&values(m, 2)));
    let on_device = |v: &Vec<f32>| a.upload(v.clone()).unwrap();
    let close = |ours: dia_vulkan::DeviceVector, twin: &[f32], ulps: f32| {
        for (ours, twin) in a.download(ours).unwrap().iter().zip(twin) {
            // Values are below 4.
            assert!((ours - twin).abs() <= ulps * 4.0 * f32::EPSILON, "{ours} {twin}");
        }
    };
    for (p, q) in [(2.0, 0.5), (-1.0, 1.0), (1.5, 0.0)] {
        let start = if q == 0.0 { vec![f32::NAN; m] } else { y.clone() };
        let (mut ours, mut twin) = (on_device(&start), start.clone());
        ours.axpby(p, &on_device(&x), q).unwrap();
        twin.axpby(p, &x, q).unwrap();
        close(ours, &twin, 1.0);
    }
    let mut ours = on_device(&y);
    ours.scale(-0.3).unwrap();
    close(ours, &y.iter().map(|y| y * -0.3).collect::<Vec<_>>(), 1.0);
    let mut ours = on_device(&y);
    ours.multiply(&on_device(&x)).unwrap();
    close(ours, &y.iter().zip(&x).map(|(y, x)| y * x).collect::<Vec<_>>(), 1.0);
    let squares: Vec<f32> = y.iter().map(|y| y * y).collect();
    let mut ours = on_device(&vec![f32::NAN; m]);
    ours.square_root_of(&on_device(&squares)).unwrap();
    close(ours, &squares.iter().map(|s| s.sqrt()).collect::<Vec<_>>(), 3.0);

    // Each product is rounded, by ε/2 of itself at most.
    let sizes: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(x * y).abs()).sum();
    let dot = on_device(&x).dot(&on_device(&y)).unwrap();
    assert!((dot - x.dot(&y).unwrap()).abs() <= 0.5 * f64::from(f32::EPSILON) * sizes);

    let rows: Vec<usize> = (0..m).filter(|i| i * i % 5 == 1).collect();
    let mut gathered = vec![f64::NAN; rows.len()];
    a.gather(&on_device(&x), &rows, &mut gathered).unwrap();
    assert!(rows.iter().zip(&gathered).all(|(row, value)| *value == f64::from(x[*row])));
}

#[test]
fn sums_keep_what_float_loses() {
    let Some(context) = context("sums_keep_what_float_loses") else { return };
    let reference = Image::filled(200, 300, 1.0_f32);
    let design = Design::new(200, 300, KernelBasis::delta(0), Some(0)).unwrap();
    let a = VulkanDesignMatrix::new(&context, reference.view(), design).unwrap();
    // Exact integers whose sum, 2²⁴ and more, no float holds.
    let y: Vec<f32> = (0..a.nrows()).map(|i| (4001 + i % 3) as f32).collect();
    let exact: f64 = y.iter().map(|y| f64::from(*y)).sum();
    let y = a.upload(y).unwrap();
    let mut g = vec![f64::NAN; 2];
    a.apply_adjoint(&y, &mut g, &mut a.workspace().unwrap()).unwrap();
    assert_eq!(g[1], exact);
    let ones = a.upload(vec![1.0; 60_000]).unwrap();
    assert_eq!(ones.dot(&y).unwrap(), exact);
}
