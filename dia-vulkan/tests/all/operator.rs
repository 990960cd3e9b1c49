//! The operator against its definition: dot test, columns, bands, bits, limits, traffic.

use crate::hosted::{Hosted, context, image, norm, opened, values};
use dia_core::testing::{adjoint_defect, columns};
use dia_core::{
    DataVector, Design, DesignMatrix, KernelBasis, LinearOperator, Loss, Noise, OperatorError,
    Photon,
};
use dia_vulkan::{ContextOptions, DeviceChoice, VulkanContext, VulkanDesignMatrix, VulkanError};

#[test]
fn products_are_adjoint() {
    let Some(context) = context("products_are_adjoint") else { return };
    for (half_width, degree, background) in [(0, 0, None), (3, 0, Some(1)), (9, 2, Some(2))] {
        let design = Design::new(67, 85, KernelBasis::delta(half_width), background).unwrap();
        let design = design.with_variation(degree, degree).unwrap();
        let a = VulkanDesignMatrix::new(&context, image(67, 85, 1).view(), design).unwrap();
        let (x, y) = (values(a.ncols(), 2), values(a.nrows(), 3));
        // Each side has an error of √N ε of ‖x‖ √N 80 ‖y‖, N ≤ 1440 products in float.
        let size = 80.0 * (a.ncols() as f64).sqrt() * norm(&x) * norm(&y);
        let bound = 2.0 * 38.0 * f64::from(f32::EPSILON) * size;
        let defect = adjoint_defect(&Hosted(&a), &x, &y);
        assert!(defect <= bound, "{defect} {bound}");
    }
}

#[test]
fn columns_are_shifted_references() {
    let Some(context) = context("columns_are_shifted_references") else { return };
    let reference = image(21, 27, 4);
    let design = Design::new(21, 27, KernelBasis::delta(2), Some(1)).unwrap();
    let design = design.with_variation(1, 1).unwrap();
    let a = VulkanDesignMatrix::new(&context, reference.view(), design.clone()).unwrap();
    for (j, column) in columns(&Hosted(&a)).iter().enumerate() {
        let mut x = vec![0.0; a.ncols()];
        x[j] = 1.0;
        for (i, got) in column.iter().enumerate() {
            let (y, x0) = (i / 23 + 2, i % 23 + 2);
            let kernel = design.kernel_at(&x, y, x0);
            let products =
                kernel.pixels().iter().enumerate().map(|(u, k)| {
                    k * f64::from(reference.view().at(y + 2 - u / 5, x0 + 2 - u % 5))
                });
            let expected = products.sum::<f64>() + design.background_at(&x, y, x0);
            // One product of three rounded factors.
            assert!((got - expected).abs() <= 4.0 * f64::from(f32::EPSILON) * 80.0);
        }
    }
}

/// A x, Aᵀ y, AᵀWA x and the robust gradient.
fn products(a: &VulkanDesignMatrix) -> (Vec<f32>, [Vec<f64>; 3], f64) {
    let (m, n) = (a.nrows(), a.ncols());
    let mut workspace = a.workspace().unwrap();
    let x = values(n, 1);
    let vector = |seed: usize, scale: f64, add: f64| {
        a.upload(values(m, seed).iter().map(|v| (add + scale * v * v) as f32).collect()).unwrap()
    };
    let mut y = a.zeros().unwrap();
    a.apply(&x, &mut y, &mut workspace).unwrap();
    let mut g = [vec![f64::NAN; n], vec![f64::NAN; n], vec![f64::NAN; n]];
    a.apply_adjoint(&y, &mut g[0], &mut workspace).unwrap();
    let mut scratch = a.zeros().unwrap();
    a.apply_normal(&x, &vector(2, 1.0, 0.0), &mut g[1], &mut scratch, &mut workspace).unwrap();
    let noise = Noise {
        fixed: vector(3, 50.0, 10.0),
        photon: Photon::Uniform(0.5),
        reference: Some(vector(4, 5.0, 0.0)),
    };
    let data = vector(5, 100.0, 0.0);
    a.robust_gradient(&x, &data, &noise, Loss::HUBER, &mut g[2], &mut workspace).unwrap();
    let dot = data.dot(&y).unwrap();
    (a.download(y).unwrap(), g, dot)
}

#[test]
fn the_bits_are_the_same_every_time() {
    let Some(context) = context("the_bits_are_the_same_every_time") else { return };
    let design = Design::new(90, 100, KernelBasis::delta(4), Some(2)).unwrap();
    let design = design.with_variation(2, 2).unwrap();
    let a = VulkanDesignMatrix::new(&context, image(90, 100, 2).view(), design).unwrap();
    let first = products(&a);
    for _ in 0..3 {
        assert!(products(&a) == first);
    }
}

#[test]
fn bands_give_the_same_products() {
    let name = "bands_give_the_same_products";
    let Some(whole) = context(name) else { return };
    let design = Design::new(90, 80, KernelBasis::delta(4), Some(1)).unwrap();
    let design = design.with_variation(1, 1).unwrap();
    let reference = image(90, 80, 6);
    let a = VulkanDesignMatrix::new(&whole, reference.view(), design.clone()).unwrap();
    // Nine rows of results with the 90 that are planned beside them, of 72 + 90 pixels: ten bands, the last one of one row.
    let line = 4 * (72 + 90);
    let options = ContextOptions { max_buffer_bytes: Some(99 * line), ..Default::default() };
    let Some(banded) = opened(name, options) else { return };
    let b = VulkanDesignMatrix::new(&banded, reference.view(), design.clone()).unwrap();
    let ((ya, ga, da), (yb, gb, db)) = (products(&a), products(&b));
    assert_eq!(ya, yb);
    for (a, b) in ga.iter().zip(&gb) {
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        // Up to 1440 products in float, in another order.
        assert!(norm(&difference) <= 38.0 * f64::from(f32::EPSILON) * norm(a));
    }
    assert!((da - db).abs() <= 1e-12 * da.abs());
    let options = ContextOptions { max_buffer_bytes: Some(90 * line), ..Default::default() };
    let Some(tiny) = opened(name, options) else { return };
    let error = VulkanDesignMatrix::new(&tiny, reference.view(), design).unwrap_err();
    assert!(error.to_string().contains("58968 bytes"), "{error}");
}

#[test]
fn rows_beyond_the_memory_of_the_device_give_the_same_products() {
    let name = "rows_beyond_the_memory_of_the_device_give_the_same_products";
    let Some(whole) = context(name) else { return };
    let design = Design::new(90, 80, KernelBasis::delta(4), Some(1)).unwrap();
    let design = design.with_variation(1, 1).unwrap();
    let reference = image(90, 80, 6);
    let a = VulkanDesignMatrix::new(&whole, reference.view(), design.clone()).unwrap();
    assert_eq!(a.part_on_host(), 0.0);
    let on_device = products(&a);
    for (limit, least, most) in [(0, 1.0, 1.0), (200_000, 0.1, 0.9)] {
        let options = ContextOptions { memory_limit_bytes: Some(limit), ..Default::default() };
        let Some(context) = opened(name, options) else { return };
        let b = VulkanDesignMatrix::new(&context, reference.view(), design.clone()).unwrap();
        assert!((least..=most).contains(&b.part_on_host()), "{}", b.part_on_host());
        let ((ya, ga, da), (yb, gb, db)) = (&on_device, products(&b));
        assert_eq!(*ya, yb);
        for (a, b) in ga.iter().zip(&gb) {
            let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            // Up to 1440 products in float, in another order.
            assert!(norm(&difference) <= 38.0 * f64::from(f32::EPSILON) * norm(a));
        }
        assert!((da - db).abs() <= 1e-12 * da.abs());
    }
}

#[test]
fn too_little_memory_is_an_error_with_the_estimate() {
    let name = "too_little_memory_is_an_error_with_the_estimate";
    let options = ContextOptions {
        memory_limit_bytes: Some(1 << 18),
        host_limit_bytes: Some(1 << 16),
        ..Default::default()
    };
    let Some(context) = opened(name, options) else { return };
    let design = Design::new(300, 300, KernelBasis::delta(2), None).unwrap();
    let error = VulkanDesignMatrix::new(&context, image(300, 300, 1).view(), design).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("300 × 300") && text.contains("6.4 MiB"), "{text}");
}

#[test]
fn many_rows_are_gathered_in_parts() {
    let Some(context) = context("many_rows_are_gathered_in_parts") else { return };
    let design = Design::new(300, 400, KernelBasis::delta(1), None).unwrap();
    let a = VulkanDesignMatrix::new(&context, image(300, 400, 1).view(), design).unwrap();
    // More than the 65 536 of one command buffer, and each value tells its row.
    let rows: Vec<usize> = (0..a.nrows()).rev().filter(|i| i % 7 != 0).collect();
    assert!(rows.len() > 65_536);
    let data = a.upload((0..a.nrows()).map(|i| i as f32).collect()).unwrap();
    let mut values = vec![f64::NAN; rows.len()];
    a.gather(&data, &rows, &mut values).unwrap();
    assert!(rows.iter().zip(&values).all(|(row, value)| *row as f64 == *value));
}

#[test]
fn one_thread_uploads_while_another_computes() {
    let Some(context) = context("one_thread_uploads_while_another_computes") else { return };
    let design = Design::new(90, 100, KernelBasis::delta(4), Some(1)).unwrap();
    let a = VulkanDesignMatrix::new(&context, image(90, 100, 2).view(), design).unwrap();
    let alone = products(&a);
    std::thread::scope(|scope| {
        let uploads = scope.spawn(|| {
            for seed in 0..50 {
                let sent: Vec<f32> = (0..a.nrows()).map(|i| (i + seed) as f32).collect();
                assert_eq!(a.download(a.upload(sent.clone()).unwrap()).unwrap(), sent);
            }
        });
        for _ in 0..5 {
            assert!(products(&a) == alone);
        }
        uploads.join().unwrap();
    });
}

#[test]
fn a_device_that_does_not_answer_is_an_error() {
    let name = "a_device_that_does_not_answer_is_an_error";
    let options = ContextOptions { timeout: std::time::Duration::ZERO, ..Default::default() };
    let Some(context) = opened(name, options) else { return };
    let design = Design::new(200, 200, KernelBasis::delta(9), None).unwrap();
    let pixels = image(200, 200, 1);
    let product = || -> Result<(), OperatorError> {
        let a = VulkanDesignMatrix::new(&context, pixels.view(), design.clone())?;
        a.apply(&values(a.ncols(), 1), &mut a.zeros()?, &mut a.workspace()?)
    };
    // A product takes milliseconds: one of so many is not done by the time that it is asked for, however busy the machine is.
    let error = (0..1000).find_map(|_| product().err()).unwrap();
    let text = error.to_string();
    assert!(text.contains("did not answer"), "{text}");
    // And it stays lost.
    let again = product().unwrap_err();
    assert!(again.to_string().contains("lost before"), "{again}");
}

#[test]
fn an_unknown_device_is_an_error() {
    let choice = DeviceChoice::Name("no such device".into());
    let error = VulkanContext::open(&choice, ContextOptions::default()).unwrap_err();
    assert!(matches!(
        error,
        VulkanError::NameNotFound { .. }
            | VulkanError::NoLoader { .. }
            | VulkanError::NoDriver { .. }
            | VulkanError::NoDevices
    ));
}

#[test]
fn products_move_parameters_only() {
    let name = "products_move_parameters_only";
    // Its own context: counts are those of the device.
    let Some(context) = opened(name, ContextOptions::default()) else { return };
    let design = Design::new(120, 130, KernelBasis::delta(3), Some(1)).unwrap();
    let a = VulkanDesignMatrix::new(&context, image(120, 130, 1).view(), design).unwrap();
    let (mut workspace, n) = (a.workspace().unwrap(), a.ncols() as u64);
    let (x, mut g) = (values(a.ncols(), 1), vec![0.0; a.ncols()]);
    let (mut y, weights) = (a.zeros().unwrap(), a.zeros().unwrap());
    let before = a.traffic();
    a.apply(&x, &mut y, &mut workspace).unwrap();
    let one = a.traffic().since(before);
    assert_eq!((one.bytes_in, one.bytes_out, one.dispatches, one.submits), (4 * n, 0, 1, 1));
    let before = a.traffic();
    a.apply_adjoint(&y, &mut g, &mut workspace).unwrap();
    let one = a.traffic().since(before);
    assert_eq!((one.bytes_in, one.bytes_out, one.dispatches, one.submits), (0, 8 * n, 3, 1));
    let before = a.traffic();
    a.apply_normal(&x, &weights, &mut g, &mut y, &mut workspace).unwrap();
    let one = a.traffic().since(before);
    assert_eq!((one.bytes_in, one.bytes_out, one.dispatches, one.submits), (4 * n, 8 * n, 5, 1));
    let noise = Noise { fixed: weights, photon: Photon::Uniform(0.1), reference: None };
    let before = a.traffic();
    a.robust_gradient(&x, &y, &noise, Loss::TUKEY, &mut g, &mut workspace).unwrap();
    let one = a.traffic().since(before);
    assert_eq!((one.bytes_in, one.bytes_out, one.dispatches, one.submits), (4 * n, 8 * n, 5, 1));
}
