//! Stacks of simulated frames against their truth.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Coadd, Layer, Rejection, coadd, weights};
use crate::{Image, Mask, MaskPlanes};

const SIDE: usize = 40;
const SKY: f64 = 100.0;

/// Frames of sky alone with noise of the given σ, the first of which is the base; as if every kernel were one pixel.
fn layers(noises: &[f64]) -> Vec<Layer<f64>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut frame = |sigma: f64| {
        Image::from_fn(SIDE, SIDE, |_, _| {
            let noise: f64 = StandardNormal.sample(&mut random);
            SKY + sigma * noise
        })
    };
    let images: Vec<Image<f64>> = noises.iter().map(|sigma| frame(*sigma)).collect();
    let layer = |i: usize| Layer {
        image: images[i].clone(),
        variance: Image::filled(SIDE, SIDE, noises[i] * noises[i]),
        deviation: (i > 0).then(|| {
            let at = |y, x| images[i].view().at(y, x) - images[0].view().at(y, x);
            let variance = noises[i] * noises[i] + noises[0] * noises[0];
            (Image::from_fn(SIDE, SIDE, at), Image::filled(SIDE, SIDE, variance))
        }),
        mask: Mask::good(SIDE, SIDE),
    };
    (0..noises.len()).map(layer).collect()
}

/// Their mean, at one seeing.
fn stacked(layers: &[Layer<f64>]) -> Coadd<f64> {
    let noise = |layer: &Layer<f64>| (3.0, layer.variance.pixels()[0].sqrt());
    let (weights, _) = weights(&layers.iter().map(noise).collect::<Vec<_>>());
    coadd(layers, &weights, SKY, &Rejection::default())
}

fn spoil(layer: &mut Layer<f64>, pixel: usize, by: f64) {
    layer.image.pixels_mut()[pixel] += by;
    if let Some((deviation, _)) = &mut layer.deviation {
        deviation.pixels_mut()[pixel] += by;
    }
}

#[test]
fn equal_seeing_is_weighted_by_the_inverse_variance() {
    let (w, gains) = weights(&[(3.0, 1.0), (3.0, 2.0), (3.0, 4.0)]);
    let sum = 1.0 + 0.25 + 0.0625;
    for (w, inverse) in w.iter().zip([1.0, 0.25, 0.0625]) {
        // The power method ends within 1e-9 of a unit vector.
        assert!((w - inverse / sum).abs() < 1e-7);
    }
    assert!((gains[0] - sum).abs() < 1e-7 && (gains[2] - 16.0 * sum).abs() < 1e-5);
}

#[test]
fn no_other_weights_let_a_point_source_stand_out_more() {
    let frames = [(3.0, 1.0), (3.6, 0.7), (5.0, 1.1)];
    let (best, gains) = weights(&frames);
    let significance = |w: &[f64]| {
        let pairs = (0..3).flat_map(|i| (0..3).map(move |j| (i, j)));
        let light: f64 =
            pairs.map(|(i, j)| w[i] * w[j] / (frames[i].0.powi(2) + frames[j].0.powi(2))).sum();
        light / (0..3).map(|i| (w[i] * frames[i].1).powi(2)).sum::<f64>()
    };
    let largest = significance(&best);
    for i in 0..3 {
        for step in [-0.01, 0.01] {
            let mut other = best.clone();
            other[i] += step;
            assert!(significance(&other) < largest);
        }
        let alone: [f64; 3] = std::array::from_fn(|j| f64::from(u8::from(i == j)));
        assert!((largest / significance(&alone) / gains[i] - 1.0).abs() < 1e-7);
    }
}

#[test]
fn the_mean_has_the_variance_that_it_says() {
    let layers = layers(&[1.0, 2.0, 1.5, 0.8, 1.2]);
    let stack = stacked(&layers);
    let said = stack.variance.pixels()[0];
    let expected: f64 = [1.0, 2.0, 1.5, 0.8, 1.2].map(|s: f64| s.powi(-2)).iter().sum();
    assert!((said * expected - 1.0).abs() < 1e-6);
    let off = stack.image.pixels().iter().map(|value| (value - SKY).powi(2)).sum::<f64>();
    // A variance of 1600 pixels is known to √(2/1600) = 3.5 %; four times that.
    assert!((off / 1600.0 / said - 1.0).abs() < 0.14);
    assert_eq!(stack.mask.good_pixels(), SIDE * SIDE);
    assert!(stack.coverage.iter().all(|frames| *frames == 5));
}

#[test]
fn outliers_of_any_frame_are_left_out_and_their_weight_is_not_lost() {
    let mut layers = layers(&[1.0, 1.0, 1.0, 1.0, 1.0]);
    for (frame, layer) in layers.iter_mut().enumerate() {
        spoil(layer, 100 + frame, 1000.0);
    }
    // One in the base shows in all deviations there.
    for layer in &mut layers[1..] {
        if let Some((deviation, _)) = &mut layer.deviation {
            deviation.pixels_mut()[100] -= 1000.0;
        }
    }
    let stack = stacked(&layers);
    for (frame, pixel) in (100..105).enumerate() {
        // σ of the mean is 0.45 to 0.7.
        assert!((stack.image.pixels()[pixel] - SKY).abs() < 4.0, "{frame}");
        assert_eq!(stack.coverage[pixel], 4);
        assert!(stack.rejected[frame] >= 1);
    }
    let said = stack.variance.pixels();
    // The base's noise stands for that of the frame left out: (3 + 2²)/5² at most, and not less than a mean of four.
    assert!(said[102] <= 7.0 / 25.0 + 1e-9 && said[102] >= 0.25);
}

#[test]
fn a_transient_of_one_frame_is_not_in_the_mean_and_a_bright_star_is() {
    let mut layers = layers(&[1.0, 1.0, 1.0]);
    for layer in &mut layers {
        layer.image.pixels_mut()[500] += 10_000.0;
    }
    // What the kernel leaves of it.
    for (layer, rest) in layers[1..].iter_mut().zip([200.0, -300.0]) {
        layer.image.pixels_mut()[500] += rest;
        if let Some((deviation, _)) = &mut layer.deviation {
            deviation.pixels_mut()[500] += rest;
        }
    }
    spoil(&mut layers[2], 700, 60.0);
    let stack = stacked(&layers);
    assert_eq!((stack.coverage[500], stack.coverage[700]), (3, 2));
    assert!((stack.image.pixels()[700] - SKY).abs() < 4.0);
}

#[test]
fn a_source_that_varies_keeps_its_mean_flux_and_its_shape() {
    let mut layers = layers(&[1.0, 1.0, 1.0, 1.0, 1.0]);
    let profile = |pixel: usize| {
        let (y, x) = ((pixel / SIDE) as f64 - 20.0, (pixel % SIDE) as f64 - 20.0);
        (-0.5 * (y * y + x * x) / 2.0).exp()
    };
    let peaks = [0.0, 400.0, 30.0, 900.0, 170.0];
    for (layer, peak) in layers.iter_mut().zip(peaks) {
        for pixel in 0..SIDE * SIDE {
            spoil(layer, pixel, peak * profile(pixel));
        }
    }
    let stack = stacked(&layers);
    // Within 5 σ of the mean, the base's noise being in all that was left as it was.
    for (pixel, value) in stack.image.pixels().iter().enumerate() {
        let expected = SKY + 300.0 * profile(pixel);
        let off = value - expected;
        assert!(off.abs() < 5.0 || profile(pixel) < 1e-6, "{pixel}: {off}");
    }
    assert_eq!(stack.mask.good_pixels(), SIDE * SIDE);
    assert!(stack.disputed > 200);
}

#[test]
fn of_two_that_disagree_neither_is_taken() {
    let mut layers = layers(&[1.0, 1.0]);
    spoil(&mut layers[1], 30, 500.0);
    let stack = stacked(&layers);
    assert!(stack.mask.planes()[30].contains(MaskPlanes::CLIPPED));
    assert!(stack.image.pixels()[30].is_nan() && stack.mask.planes()[31].is_empty());
}

#[test]
fn a_pixel_that_most_frames_lack_is_masked_with_their_reasons() {
    let mut layers = layers(&[1.0, 1.0, 1.0]);
    for layer in &mut layers[..2] {
        layer.mask.insert(2, 3, MaskPlanes::SATURATED);
    }
    layers[0].image.pixels_mut()[7] = f64::NAN;
    let stack = stacked(&layers);
    assert_eq!(stack.mask.at(2, 3), MaskPlanes::SATURATED);
    assert!(stack.mask.planes()[7].is_empty() && stack.coverage[7] == 2);
    assert!(stack.image.pixels()[7].is_finite());
}
