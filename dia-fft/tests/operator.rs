//! The operator against its definition: dot test, dense matrix, masks, threads.

use std::sync::Arc;

use dia_core::testing::{adjoint_defect, columns};
use dia_core::{
    DataVector, Design, DesignMatrix, GaussianTerm, Image, Kernel, KernelBasis, KernelShape,
    KernelSupport, LinearOperator, Loss, Noise, Photon, Pixel, PixelWeight, Resolution, Reweight,
};
use dia_fft::{FftDesignMatrix, FftPixel, Method, Plan};
use proptest::prelude::*;

/// Pseudo-random values in [−1, 1], reproducible and of zero mean.
fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| (((i + 1) * (7919 + 2 * seed) + seed * 104_729) % 20_011) as f64 / 10_005.0 - 1.0)
        .collect()
}

fn image<T: Pixel>(height: usize, width: usize, seed: usize) -> Image<T> {
    let pixels = values(height * width, seed).into_iter().map(|v| T::narrow(50.0 * v + 30.0));
    Image::from_vec(height, width, pixels.collect()).unwrap()
}

/// Every row of the design matrix from its definition.
fn explicit_matrix<T: Pixel>(reference: &Image<T>, design: &Design) -> Vec<Vec<f64>> {
    let valid = design.valid();
    (0..design.ncols())
        .map(|column| {
            let mut x = vec![0.0; design.ncols()];
            x[column] = 1.0;
            let kernel = design.kernel(&x);
            let h = design.half_width() as isize;
            let pixels = (valid.y..valid.y + valid.height)
                .flat_map(|y| (valid.x..valid.x + valid.width).map(move |x| (y, x)));
            pixels
                .map(|(py, px)| {
                    let mut sum = design.background_at(&x, py, px);
                    for dy in -h..=h {
                        for dx in -h..=h {
                            let (y, x) = (py as isize - dy, px as isize - dx);
                            sum += kernel.at(dy, dx)
                                * reference.view().at(y as usize, x as usize).widen();
                        }
                    }
                    sum
                })
                .collect()
        })
        .collect()
}

fn basis(kind: usize, half_width: usize) -> KernelBasis {
    match kind {
        0 => KernelBasis::delta(half_width),
        1 => KernelBasis::Delta(KernelSupport::new(half_width, KernelShape::Circle)),
        2 => KernelBasis::FluxConservingDelta(KernelSupport::new(half_width, KernelShape::Square)),
        3 => KernelBasis::gaussian_polynomials(
            half_width,
            KernelShape::Square,
            &[GaussianTerm { sigma: 1.2, degree: 2 }],
        ),
        // With rings beyond half of it.
        _ => {
            let h = half_width as f64;
            let resolution = Resolution { core: 0.2 * h, spacing: 2, inner: (0.5 * h).floor() };
            let support = KernelSupport::new(half_width, KernelShape::Circle);
            KernelBasis::mixed_resolution(support, resolution, kind == 5)
        }
    }
}

/// At least the norm of a column's kernel; a ring may have a hundred pixels of up to one.
fn largest_norm(design: &Design) -> f64 {
    let rings = design.basis().ring_images();
    let sizes = rings.iter().map(|ring| ring.pixels().iter().map(|k| k.abs()).sum::<f64>());
    sizes.fold(10.0, f64::max)
}

/// The design with a kernel that varies over the image, or not; with different degrees of scale and shape where the basis allows that.
fn varied(design: Design, choice: usize) -> Design {
    let (scale, kernel) = [(0, 0), (1, 1), (2, 2), (3, 3), (0, 2), (2, 1)][choice];
    let equal = design.clone().with_variation(kernel, kernel);
    design.with_variation(scale, kernel).or(equal).unwrap()
}

/// One of all plans that there are for a design.
fn planned<T: FftPixel>(
    reference: &Image<T>,
    design: &Design,
    choice: usize,
) -> FftDesignMatrix<T> {
    let sides = Method::sides().filter(|side| *side > 2 * design.half_width());
    let mut methods: Vec<Method> = sides.map(|side| Method::OverlapSave { side }).collect();
    methods.push(Method::Direct);
    let (method, store_spectra) = (methods[choice / 2 % methods.len()], choice.is_multiple_of(2));
    let plan = Plan { method, store_spectra };
    FftDesignMatrix::with_plan(&reference.clone().into(), design.clone(), plan).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn operator_equals_the_explicit_matrix(
        half_width in 0_usize..6, kind in 0_usize..6, degree in prop::option::of(0_usize..4),
        extra_height in 1_usize..50, extra_width in 1_usize..90, seed in 0_usize..1000, choice in 0_usize..32,
    ) {
        let (height, width) = (2 * half_width + extra_height, 2 * half_width + extra_width);
        let reference = image::<f64>(height, width, seed);
        let design = Design::new(height, width, basis(kind, half_width), degree).unwrap();
        let explicit = explicit_matrix(&reference, &design);
        let a = planned(&reference, &design, choice);
        for (column, expected) in columns(&a).iter().zip(&explicit) {
            for (got, expected) in column.iter().zip(expected) {
                // A tile of up to 512² values below 80: its transform's rounding is ε log₂(512²) ‖tile‖ = 18 ε · 80 · 512
                // in the 2-norm, and a kernel of norm ≤ 10, or that of a ring, spreads it over the tile: 80 · 18 · 10 ε per pixel.
                let bound = 80.0 * 18.0 * largest_norm(&design) * f64::EPSILON;
                prop_assert!((got - expected).abs() <= bound, "{got} {expected}");
            }
        }
    }

    #[test]
    fn varying_model_equals_its_definition(
        half_width in 0_usize..6, kind in 0_usize..6, degree in prop::option::of(0_usize..4), variation in 1_usize..6,
        extra_height in 1_usize..150, extra_width in 1_usize..150, seed in 0_usize..1000, choice in 0_usize..32,
    ) {
        let (height, width) = (2 * half_width + extra_height, 2 * half_width + extra_width);
        let reference = image::<f64>(height, width, seed);
        let design = Design::new(height, width, basis(kind, half_width), degree).unwrap();
        let design = varied(design, variation);
        let a = planned(&reference, &design, choice);
        let x = values(a.ncols(), seed + 1);
        let mut model = vec![f64::NAN; a.nrows()];
        a.apply(&x, &mut model, &mut a.workspace().unwrap()).unwrap();
        let (h, valid) = (half_width, design.valid());
        let size: f64 = design.kernels(&x).iter().flat_map(|k| k.pixels().to_vec()).map(f64::abs).sum();
        for (i, model) in model.iter().enumerate() {
            let (y, x0) = (i / valid.width + h, i % valid.width + h);
            let kernel = design.kernel_at(&x, y, x0);
            let products = kernel.pixels().iter().enumerate().map(|(u, k)| {
                let (dy, dx) = (u / kernel.side(), u % kernel.side());
                k * reference.view().at(y + h - dy, x0 + h - dx)
            });
            let expected = products.sum::<f64>() + design.background_at(&x, y, x0);
            // As above, of up to 512² values below 80 that a kernel of Σ |K_t| = `size` multiplies, and |T_t| ≤ 1.
            prop_assert!((model - expected).abs() <= 80.0 * 18.0 * (1.0 + size) * f64::EPSILON);
        }
    }

    #[test]
    fn products_are_adjoint_and_fused_product_is_their_composition(
        half_width in 0_usize..10, kind in 0_usize..6, degree in prop::option::of(0_usize..4), variation in 0_usize..6,
        extra_height in 1_usize..200, extra_width in 1_usize..300, seed in 0_usize..1000, choice in 0_usize..32,
    ) {
        let (height, width) = (2 * half_width + extra_height, 2 * half_width + extra_width);
        let reference = image::<f64>(height, width, seed);
        let design = Design::new(height, width, basis(kind, half_width), degree).unwrap();
        let design = varied(design, variation);
        let a = planned(&reference, &design, choice);
        let (m, n) = (a.nrows(), a.ncols());
        let (x, y) = (values(n, seed + 1), values(m, seed + 2));
        // The model of a kernel of norm 10, where there are k of them that add up as √k.
        let model = 80.0 * largest_norm(&design) * (design.variation().len() as f64).sqrt();
        // Each of m sums has n terms below `model`; rounding is relative to the norms, not to the sum that may cancel.
        let size = model * (m as f64).sqrt() * (n as f64).sqrt();
        prop_assert!(adjoint_defect(&a, &x, &y) <= 40.0 * f64::EPSILON * size * (m as f64).sqrt());

        let mut workspace = a.workspace().unwrap();
        let weights: Vec<f64> = y.iter().map(|y| if *y > 0.5 { 0.0 } else { y * y }).collect();
        let mut scratch = vec![f64::NAN; m];
        let mut fused = vec![f64::NAN; n];
        a.apply_normal(&x, &weights, &mut fused, &mut scratch, &mut workspace).unwrap();
        let mut ax = vec![f64::NAN; m];
        let mut composed = vec![f64::NAN; n];
        a.apply(&x, &mut ax, &mut workspace).unwrap();
        ax.iter_mut().zip(&weights).for_each(|(y, w)| *y *= w);
        a.apply_adjoint(&ax, &mut composed, &mut workspace).unwrap();
        let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (f, c) in fused.iter().zip(&composed) {
            prop_assert!((f - c).abs() <= 100.0 * f64::EPSILON * model * norm(&ax) * (m as f64).sqrt());
        }

        // The robust gradient against its definition, with masked pixels.
        let positive = |scale: f64| y.iter().map(|y| scale * (1.0 + y * y)).collect::<Vec<_>>();
        let mut noise = Noise { fixed: positive(50.0), photon: Photon::Uniform(0.7), reference: None };
        noise.fixed.iter_mut().step_by(7).for_each(|fixed| *fixed = f64::INFINITY);
        if seed.is_multiple_of(2) {
            noise.photon = Photon::PerPixel(positive(0.5));
            noise.reference = Some(positive(20.0));
        }
        let losses = [Loss::Gaussian, Loss::HUBER, Loss::TUKEY, Loss::CAUCHY, Loss::STUDENT_T];
        let loss = losses[seed % losses.len()];
        let data: Vec<f64> = y.iter().map(|y| 90.0 * y).collect();
        a.robust_gradient(&x, &data, &noise, loss, &mut fused, &mut workspace).unwrap();
        a.apply(&x, &mut ax, &mut workspace).unwrap();
        let mut weights = ax.clone();
        data.reweight(&noise, loss, PixelWeight::Robust, &mut weights).unwrap();
        ax.axpby(1.0, &data, -1.0).unwrap();
        ax.multiply(&weights).unwrap();
        a.apply_adjoint(&ax, &mut composed, &mut workspace).unwrap();
        for (f, c) in fused.iter().zip(&composed) {
            // Beside the rounding of the products, that of the model moves residuals by ε log₂(N²) of its size over σ² > 50.
            let size = norm(&ax) + model / 50.0 * (m as f64).sqrt();
            prop_assert!((f - c).abs() <= 100.0 * f64::EPSILON * model * size * (m as f64).sqrt());
        }
    }
}

#[test]
fn single_precision_is_as_good_as_its_pixels() {
    let (height, width) = (150, 300);
    let exact = image::<f64>(height, width, 5).map(|v| f64::from(v as f32));
    let single = exact.map(|v| v as f32);
    let design = Design::new(height, width, KernelBasis::delta(7), Some(1)).unwrap();
    let a = FftDesignMatrix::new(exact.view(), design.clone()).unwrap();
    let b = FftDesignMatrix::new(single.view(), design).unwrap();
    let x = values(a.ncols(), 3);
    let (mut ya, mut yb) = (vec![f64::NAN; a.nrows()], vec![f32::NAN; a.nrows()]);
    a.apply(&x, &mut ya, &mut a.workspace().unwrap()).unwrap();
    b.apply(&x, &mut yb, &mut b.workspace().unwrap()).unwrap();
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    for (a, b) in ya.iter().zip(&yb) {
        // ε₃₂ log₂(N²) with N ≤ 512, times pixels below 80 and the kernel's norm.
        let bound = f64::from(f32::EPSILON) * 18.0 * 80.0 * norm;
        assert!((a - f64::from(*b)).abs() <= bound, "{a} {b}");
    }
}

#[test]
fn single_precision_does_not_get_worse_with_the_size_of_the_image() {
    for method in
        [Method::Direct, Method::OverlapSave { side: 64 }, Method::OverlapSave { side: 144 }]
    {
        for (side, degree) in
            [(70, 0), (140, 0), (280, 0), (560, 0), (1120, 0), (140, 3), (1120, 3)]
        {
            let single = image::<f32>(side, side, 5);
            let design = Design::new(side, side, KernelBasis::delta(4), Some(1)).unwrap();
            let design = design.with_variation(degree, degree).unwrap();
            let plan = Plan { method, store_spectra: true };
            let b =
                FftDesignMatrix::with_plan(&single.clone().into(), design.clone(), plan).unwrap();
            let exact = single.map(f64::from);
            let a = FftDesignMatrix::with_plan(&exact.into(), design, plan).unwrap();
            let x = values(a.ncols(), 3);
            let weights: Vec<f32> =
                values(a.nrows(), 8).into_iter().map(|w| (w * w) as f32).collect();
            let (mut ga, mut gb) = (vec![f64::NAN; a.ncols()], vec![f64::NAN; a.ncols()]);
            let exact_weights = weights.iter().map(|w| f64::from(*w)).collect();
            let mut workspace = a.workspace().unwrap();
            a.apply_normal(&x, &exact_weights, &mut ga, &mut vec![], &mut workspace).unwrap();
            let mut workspace = b.workspace().unwrap();
            b.apply_normal(&x, &weights, &mut gb, &mut vec![], &mut workspace).unwrap();
            let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            let difference: Vec<f64> = ga.iter().zip(&gb).map(|(a, b)| a - b).collect();
            let error = norm(&difference) / norm(&ga);
            println!("{method:?} {side}², degree {degree}: {error:.1e}");
            // Two transforms of ε₃₂ log₂(N²) each, N ≤ 144, or two sums in which errors of ε₃₂ add up like √terms, with up to 81 and
            // 64 terms; sums over tiles and bands are f64, so no size enters. Nor does the
            // degree: all kernels and their polynomials have errors of that relative size.
            let bound = f64::from(f32::EPSILON) * (2.0 * 144.0_f64.powi(2).log2()).max(9.0 + 8.0);
            assert!(error < bound, "{method:?}, {side}²: {error:e} for {bound:e}");
        }
    }
}

#[test]
fn spectra_that_are_computed_again_have_the_same_bits() {
    let reference = Arc::new(image::<f32>(210, 330, 3));
    for degree in [0, 2] {
        let design = Design::new(210, 330, KernelBasis::delta(5), Some(1)).unwrap();
        let design = design.with_variation(degree, degree).unwrap();
        let gradients = [true, false].map(|store_spectra| {
            let plan = Plan { method: Method::OverlapSave { side: 80 }, store_spectra };
            let a = FftDesignMatrix::with_plan(&reference, design.clone(), plan).unwrap();
            let (x, weights) = (values(a.ncols(), 1), vec![0.3; a.nrows()]);
            let mut g = vec![f64::NAN; a.ncols()];
            let mut workspace = a.workspace().unwrap();
            a.apply_normal(&x, &weights, &mut g, &mut vec![], &mut workspace).unwrap();
            g.into_iter().map(f64::to_bits).collect::<Vec<_>>()
        });
        assert!(gradients[0] == gradients[1]);
    }
}

#[test]
fn rings_reach_into_the_margin() {
    let support = KernelSupport::new(9, KernelShape::Circle);
    let resolution = Resolution { core: 2.0, spacing: 2, inner: 4.0 };
    let basis = KernelBasis::mixed_resolution(support, resolution, true);
    let function = |k: usize| {
        let (mut a, mut kernel) = (vec![0.0; basis.len()], Kernel::zero(9));
        a[k] = 1.0;
        basis.expand(&a, &mut kernel);
        kernel
    };
    let images = KernelBasis::images((0..basis.len()).map(function).collect()).unwrap();
    let [with_rings, of_images] = [basis, images].map(|basis| {
        let design = Design::new(60, 70, basis, Some(1)).unwrap();
        design.with_border(4).with_variation(1, 1).unwrap()
    });
    let (height, width) = with_rings.reference_shape();
    assert_eq!((height, width, with_rings.margin()), (70, 80, 5));
    let reference = image::<f64>(height, width, 3);
    let a = FftDesignMatrix::new(reference.view(), with_rings.clone()).unwrap();
    let b = FftDesignMatrix::new(reference.view(), of_images).unwrap();
    let bound = 80.0 * 18.0 * largest_norm(&with_rings) * f64::EPSILON;
    for (a, b) in columns(&a).iter().zip(columns(&b)) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound));
    }
}

#[test]
fn the_constant_part_is_the_operator_of_the_constant_design() {
    for kind in [0, 4] {
        for choice in [0, 1, 2, 9, 15] {
            let design = Design::new(90, 110, basis(kind, 5), Some(2)).unwrap();
            let design = design.with_variation(2, 2).unwrap();
            let reference = image::<f32>(90, 110, 4);
            let whole = planned(&reference, &design, choice);
            let part = whole.with_degrees_of(design.constant()).unwrap();
            let alone = planned(&reference, &design.constant(), choice);
            assert_eq!(part.design(), alone.design());
            // Tiles lie in another order; each rounds as above.
            let bound = 80.0 * 18.0 * largest_norm(&design) * f64::from(f32::EPSILON);
            for (a, b) in columns(&part).iter().zip(columns(&alone)) {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound));
            }
        }
    }
}

#[test]
fn impossible_plans_are_refused() {
    let reference = image::<f32>(300, 300, 3);
    let design = Design::new(300, 300, KernelBasis::delta(40), None).unwrap();
    for side in [80, 100] {
        let plan = Plan { method: Method::OverlapSave { side }, store_spectra: true };
        let refused = FftDesignMatrix::with_plan(&reference.clone().into(), design.clone(), plan);
        assert!(refused.unwrap_err().to_string().contains(&format!("side of {side} pixels")));
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let reference = Arc::new(image::<f32>(300, 430, 11));
    let products = |degree, method| {
        let design = Design::new(300, 430, KernelBasis::delta(9), Some(2)).unwrap();
        let design = design.with_variation(degree, degree).unwrap();
        let plan = Plan { method, store_spectra: true };
        let a = FftDesignMatrix::with_plan(&reference, design, plan).unwrap();
        let mut workspace = a.workspace().unwrap();
        let (mut y, mut g, mut h) =
            (a.zeros().unwrap(), vec![0.0; a.ncols()], vec![0.0; a.ncols()]);
        let x = values(a.ncols(), 1);
        a.apply(&x, &mut y, &mut workspace).unwrap();
        a.apply_adjoint(&y, &mut g, &mut workspace).unwrap();
        let weights = y.iter().map(|y| y.abs()).collect();
        a.apply_normal(&x, &weights, &mut h, &mut y.clone(), &mut workspace).unwrap();
        let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        (y.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits(&g), bits(&h))
    };
    for degree in [0, 2] {
        for method in [Method::OverlapSave { side: 64 }, Method::Direct] {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| products(degree, method))
            };
            let one = on(1);
            assert!(one == on(2) && one == on(5), "degree {degree}, {method:?}");
        }
    }
}

#[test]
fn convolving_gaussians_adds_their_variances() {
    // R a sampled Gaussian of σ = 2, K one of σ = 1.5: the model is a Gaussian of σ = 2.5.
    let gaussian = |r2: f64, sigma: f64| {
        (-r2 / (2.0 * sigma * sigma)).exp() / (std::f64::consts::TAU * sigma * sigma)
    };
    let r2 = |y: usize, x: usize| (y as f64 - 40.0).powi(2) + (x as f64 - 45.0).powi(2);
    let reference = Image::from_fn(80, 90, |y, x| gaussian(r2(y, x), 2.0));
    let design = Design::new(80, 90, KernelBasis::delta(12), None).unwrap();
    let a = FftDesignMatrix::new(reference.view(), design).unwrap();
    let kernel = dia_core::Kernel::gaussian(12, 1.5);
    let mut model = a.zeros().unwrap();
    a.apply(kernel.pixels(), &mut model, &mut a.workspace().unwrap()).unwrap();
    for (i, m) in model.iter().enumerate() {
        let (y, x) = (i / 66 + 12, i % 66 + 12);
        // Sampling is exact to exp(−2π²·1.5²·…) ≈ 1e-12 and the kernel ends at 8 σ.
        assert!((m - gaussian(r2(y, x), 2.5)).abs() < 1e-12);
    }
}

#[test]
fn a_reference_that_does_not_fit_is_refused() {
    let design = Design::new(30, 40, KernelBasis::delta(3), None).unwrap();
    let error = FftDesignMatrix::new(image::<f32>(40, 30, 0).view(), design.clone()).unwrap_err();
    assert!(error.to_string().contains("40 × 30"));
    let mut bad = image::<f32>(30, 40, 0);
    bad.row_mut(7)[31] = f32::NAN;
    let error = FftDesignMatrix::new(bad.view(), design).unwrap_err();
    assert!(error.to_string().contains("NaN at row 7, column 31"));
}
