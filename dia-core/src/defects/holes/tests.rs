//! Holes punched into simulated references, of which the pixels are known.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{FilledHoles, Interpolation, fill_holes, holes};
use crate::simulate::{Psf, SimulationOptions, simulate};
use crate::{Image, ImageView, Mask, MaskPlanes, seeing};

fn options(psf: Psf, fwhm: f64) -> SimulationOptions {
    SimulationOptions {
        height: 300,
        width: 280,
        reference_fwhm: fwhm,
        target_fwhm: fwhm + 1.0,
        psf,
        saturation: None,
        bad_columns: 0,
        transients: 0,
        event_margin: 40.0,
        ..Default::default()
    }
}

/// One pixel in fifty, evenly over the image, and a column.
fn is_hole(y: usize, x: usize) -> bool {
    x == 91 || (y * 7919 + x * 104_729).is_multiple_of(50)
}

/// The reference with its variance, filled where it has holes, and the mask that is left.
fn filled(
    options: &SimulationOptions,
    plane: MaskPlanes,
) -> (Image<f64>, Image<f64>, Mask, Option<FilledHoles<f64>>) {
    let truth = simulate(options).unwrap().reference;
    let mut mask = Mask::good(truth.height(), truth.width());
    mask.merge(|i| {
        let (y, x) = (i / options.width, i % options.width);
        if is_hole(y, x) { plane } else { MaskPlanes::empty() }
    });
    let mut image = Image::from_fn(truth.height(), truth.width(), |y, x| {
        if is_hole(y, x) { f64::NAN } else { truth.view().at(y, x) }
    });
    let ccd = options.reference_noise();
    let variance = |image: &Image<f64>| image.map(|value| ccd.of_value(value));
    let found = fill_holes(&mut image, &mut mask, variance, seeing::measure);
    (truth, image, mask, found)
}

#[test]
fn holes_are_filled_with_errors_that_are_true() {
    for psf in [Psf::Gaussian, Psf::Moffat { beta: 3.0 }] {
        for fwhm in [1.6, 2.4, 5.0] {
            let name = format!("{psf:?} of {fwhm} px");
            let options = options(psf, fwhm);
            let (truth, image, mask, found) = filled(&options, MaskPlanes::NO_DATA);
            let found = found.unwrap_or_else(|| panic!("{name}"));
            let places: Vec<usize> = (0..truth.pixels().len())
                .filter(|i| is_hole(i / options.width, i % options.width))
                .collect();
            let holes = places.len();
            assert_eq!(found.pixels, holes - (mask.planes().len() - mask.good_pixels()), "{name}");
            assert!(found.pixels * 100 > holes * 97, "{name}: {} of {holes}", found.pixels);
            let ccd = options.reference_noise();
            let pulls: Vec<f64> = places
                .into_iter()
                .filter(|i| mask.planes()[*i].is_empty())
                .map(|i| {
                    let (old, new) = (truth.pixels()[i], image.pixels()[i]);
                    (new - old) / (found.variance.pixels()[i] + ccd.of_value(old)).sqrt()
                })
                .collect();
            // Of 2 000 numbers of a normal distribution, the largest is 3.5; around stars errors are no normal ones.
            let far = pulls.iter().filter(|z| z.abs() > 4.0).count();
            assert!(far * 250 <= pulls.len(), "{name}: {far} of {}", pulls.len());
        }
    }
}

/// Sums over white noise with holes in it scatter as the variances say that a wide kernel adds up.
#[test]
fn the_noise_of_filled_holes_adds_up_under_a_kernel() {
    let options = SimulationOptions { density: 20.0, ..options(Psf::Gaussian, 2.4) };
    let stars = simulate(&options).unwrap().reference;
    let seeing = seeing::measure(stars.view(), &Mask::good(300, 280)).unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let noise = Image::from_fn(300, 280, |_, _| StandardNormal.sample(&mut random));
    let white = |image: &Image<f64>| image.map(|_| 1.0);
    let mut mask = Mask::good(300, 280);
    mask.merge(|i| if i % 14 == 7 { MaskPlanes::BAD } else { MaskPlanes::empty() });
    // The errors at stars would be those of noise.
    let known: HashMap<u32, Interpolation> = holes(&mask)
        .into_iter()
        .map(|(_, p)| (p, Interpolation::new(p, &seeing).unwrap()))
        .collect();
    let (mut image, mut variance) = (noise.clone(), white(&noise));
    for (i, pattern) in holes(&mask) {
        let sums = known[&pattern].at(i, noise.view(), white(&noise).view());
        image.pixels_mut()[i] = sums.value;
        variance.pixels_mut()[i] = sums.noise();
    }
    for sigma in [1.5, 2.5] {
        let (mut squares, mut count) = (0.0, 0.0);
        for (y, x) in (10..290).step_by(2).flat_map(|y| (10..270).step_by(2).map(move |x| (y, x))) {
            let (mut sum, mut expected) = (0.0, 0.0);
            for (dy, dx) in (0..15).flat_map(|dy| (0..15).map(move |dx| (dy, dx))) {
                let r2 = (dy as f64 - 7.0).powi(2) + (dx as f64 - 7.0).powi(2);
                let weight = (-0.5 * r2 / (sigma * sigma)).exp();
                sum += weight * image.view().at(y + dy - 7, x + dx - 7);
                expected += weight * weight * variance.view().at(y + dy - 7, x + dx - 7);
            }
            squares += sum * sum / expected;
            count += 1.0;
        }
        // Of four pixels one is looked at, and sums share 4 π σ² pixels: the mean square of 2 570 independent ones is known to 2.8 %, of 930 to 4.6 %.
        let ratio = squares / count;
        let tolerance = 3.0 * (2.0 * std::f64::consts::PI * sigma * sigma / count).sqrt();
        eprintln!("{sigma}: {ratio} ± {tolerance}");
        assert!((ratio - 1.0).abs() < tolerance, "{sigma}: {ratio} ± {tolerance}");
    }
}

#[test]
fn what_cannot_be_known_stays_masked() {
    // Of saturated pixels one knows that they are larger than all around.
    let options = options(Psf::Gaussian, 2.4);
    let (.., found) = filled(&options, MaskPlanes::SATURATED | MaskPlanes::NO_DATA);
    assert!(found.is_none());
    // Of points, the neighbours tell nothing.
    let shape = (options.height, options.width);
    let mut image = Image::from_fn(shape.0, shape.1, |y, x| {
        let noise = ((y * 3_571 + x * 9_973) as f64).sin();
        100.0 + noise + if y % 10 == 5 && x % 14 == 5 { 1_000.0 } else { 0.0 }
    });
    let mut mask = Mask::good(shape.0, shape.1);
    mask.insert(45, 47, MaskPlanes::NO_DATA);
    let stars = simulate(&options).unwrap().reference;
    let seeing = |_: ImageView<'_, f64>, _: &Mask| {
        seeing::measure(stars.view(), &Mask::good(shape.0, shape.1))
    };
    let found = fill_holes(&mut image, &mut mask, |image| image.map(|_| 0.5), seeing);
    assert!(found.is_none());
}

#[test]
fn large_holes_stay_as_they_are() {
    let options = options(Psf::Gaussian, 2.4);
    let mut image = simulate(&options).unwrap().reference;
    let mut mask = Mask::good(image.height(), image.width());
    for (y, x) in (100..104).flat_map(|y| (50..70).map(move |x| (y, x))) {
        mask.insert(y, x, MaskPlanes::BAD);
    }
    let ccd = options.reference_noise();
    let variance = |image: &Image<f64>| image.map(|value| ccd.of_value(value));
    fill_holes(&mut image, &mut mask, variance, seeing::measure);
    // All but the four corners, which have 16 good pixels around.
    assert!(mask.planes().len() - mask.good_pixels() >= 76);
}
