//! Simulated fields, clean and with each kind of defect.

use super::{SharpPixels, constant_blocks, pile_up, sentinels, sharp_pixels, sky_noise, unexposed};
use crate::simulate::{Psf, SimulatedPair, SimulationOptions, simulate};
use crate::{CcdNoise, Image, Mask, MaskPlanes, NoiseModel, seeing};

/// Without any defect; stars may be as bright as they like.
fn clean(fwhm: f64, density: f64) -> SimulationOptions {
    SimulationOptions {
        height: 300,
        width: 280,
        target_fwhm: fwhm,
        reference_fwhm: fwhm,
        density,
        ellipticity: 0.1,
        saturation: None,
        bad_columns: 0,
        cosmic_rays: 0,
        transients: 0,
        ..Default::default()
    }
}

/// Clean fields of all seeings and densities, the mildest first.
fn fields() -> impl Iterator<Item = (String, SimulatedPair)> {
    let psfs = [Psf::Gaussian, Psf::Moffat { beta: 3.0 }];
    let all = psfs.into_iter().flat_map(|psf| {
        [1.5, 3.0, 6.0]
            .into_iter()
            .flat_map(move |fwhm| [5.0, 60.0, 400.0].map(|density| (psf, fwhm, density)))
    });
    all.map(|(psf, fwhm, density)| {
        let options = SimulationOptions { psf, ..clean(fwhm, density) };
        (format!("{psf:?}, {fwhm} px, {density}"), simulate(&options).unwrap())
    })
}

fn good(image: &Image<f64>) -> Mask {
    Mask::good(image.height(), image.width())
}

/// Nothing is found by the finders that rely on repeated values.
fn assert_clean(name: &str, image: &Image<f64>) {
    let mut mask = good(image);
    assert_eq!(sentinels(image.view(), &mut mask), [], "{name}");
    assert_eq!(pile_up(image.view(), &mask, None), None, "{name}");
    assert_eq!(constant_blocks(image.view(), &mut mask), [], "{name}");
    assert_eq!(mask, good(image), "{name}");
}

/// What is at a row and a column.
type Place<'a, V> = &'a dyn Fn(usize, usize) -> V;

#[test]
fn copies_of_one_star_without_noise_are_no_pile_up() {
    // Nine of them, of σ = 1 px, on a sky of exactly zero; each value that is not the peak's comes from four or eight pixels of each.
    let image = Image::from_fn(193, 193, |y, x| {
        let d = |v: usize| (v % 64) as f64 - 32.0;
        let value = 1591.5 * (-0.5 * (d(y) * d(y) + d(x) * d(x))).exp();
        if value > 1e-3 { value } else { 0.0 }
    });
    assert_clean("copies", &image);
}

#[test]
fn nothing_repeats_in_clean_fields_however_coarse_their_values() {
    for (name, pair) in fields() {
        for image in [&pair.reference, &pair.target] {
            assert_clean(&name, image);
            // Noise of some 17 ADU in steps of down to several times that, with and without its sky; down to photon counts, most of which are 0.
            for step in [1.0, 5.0, 20.0, 100.0, 600.0] {
                assert_clean(&format!("{name}, {step}"), &image.map(|v| (v / step).round()));
                let subtracted = image.map(|v| ((v - 400.0) / step).round());
                assert_clean(&format!("{name}, {step} without sky"), &subtracted);
            }
        }
    }
}

#[test]
fn sentinels_of_all_kinds_are_found_and_nothing_else_is() {
    let pair = simulate(&clean(3.0, 60.0)).unwrap();
    let block = |y: usize, x: usize| (40..90).contains(&y) && x < 120;
    let scattered = |y: usize, x: usize| (y * 280 + x).is_multiple_of(97);
    let most = |_: usize, x: usize| x < 196;
    for value in [-1e30, -32768.0, -999.0, 0.0, 1e30] {
        for sky in [0.0, 400.0] {
            for (form, holds) in [
                ("block", &block as &dyn Fn(usize, usize) -> bool),
                ("scattered", &scattered),
                ("most", &most),
            ] {
                let image = Image::from_fn(300, 280, |y, x| {
                    if holds(y, x) { value } else { pair.target.view().at(y, x) - sky }
                });
                let mut mask = good(&image);
                let mut found: Vec<f64> =
                    sentinels(image.view(), &mut mask).iter().map(|s| s.value).collect();
                if value == 400.0 - sky {
                    // Areas amid the other values are found as such.
                    found.extend(constant_blocks(image.view(), &mut mask).iter().map(|b| b.value));
                }
                assert_eq!(found, [value], "{sky} {form}");
                for (i, planes) in mask.planes().iter().enumerate() {
                    assert_eq!(!planes.is_empty(), holds(i / 280, i % 280), "{value} {form}");
                }
            }
        }
    }
    // Two of them, few of each, and one pixel beyond all reason.
    let image = Image::from_fn(300, 280, |y, x| match (y, x) {
        (7, 0..5) => -1e30,
        (9, 4 | 8 | 200) => -999.0,
        (100, 100) => 3e37,
        _ => pair.target.view().at(y, x),
    });
    let mut mask = good(&image);
    let found = sentinels(image.map(|v| v as f32).view(), &mut mask);
    let values: Vec<(f64, usize)> = found.iter().map(|s| (s.value, s.pixels)).collect();
    assert_eq!(values, [(f64::from(-1e30_f32), 5), (-999.0, 3), (f64::from(3e37_f32), 1)]);
    assert_eq!(mask.count(MaskPlanes::NO_DATA), 9);
}

#[test]
fn a_model_without_noise_has_no_sentinels() {
    // Stars that are all alike, in the middle of their pixels, and end at 10⁻³ ADU, or fade until a number has no smaller one.
    for reach in [60.0, f64::INFINITY] {
        let image = Image::from_fn(200, 200, |y, x| {
            let distance = |i: usize| (i % 64) as f64 - 32.0;
            let r2 = distance(y).powi(2) + distance(x).powi(2);
            if r2 > reach { 0.0 } else { f64::from((1500.0 * (-r2 / 2.0).exp()) as f32) }
        });
        assert_clean("model", &image);
    }
}

#[test]
fn values_clipped_at_zero_are_no_sentinels() {
    let pair = simulate(&clean(3.0, 60.0)).unwrap();
    let image = pair.target.map(|v| (v - 400.0).max(0.0));
    assert_eq!(sentinels(image.view(), &mut good(&image)), []);
}

#[test]
fn padding_of_any_shape_and_value_is_found() {
    for (name, pair) in fields() {
        let sides = |_: usize, x: usize| x < 30;
        let corners = |y: usize, x: usize| y + x < 60 || y + x > 540;
        let gap = |y: usize, _: usize| (140..145).contains(&y);
        let row = |y: usize, _: usize| y == 299;
        let shapes: [(usize, Place<'_, bool>); 4] =
            [(1, &sides), (2, &corners), (1, &gap), (1, &row)];
        for (areas, holds) in shapes {
            // Also the value of the sky; whole numbers, as most images have.
            for value in [0.0, -1.0, 401.0] {
                let image = Image::from_fn(300, 280, |y, x| {
                    if holds(y, x) { value } else { pair.target.view().at(y, x).round() }
                });
                let mut mask = good(&image);
                let found = constant_blocks(image.view(), &mut mask);
                assert_eq!(found.len(), areas, "{name}: {value}");
                for (i, planes) in mask.planes().iter().enumerate() {
                    let (y, x) = (i / 280, i % 280);
                    let beside = value == 401.0 && image.view().at(y, x) == value;
                    assert!(planes.is_empty() != holds(y, x) || beside, "{name}: {value} {y} {x}");
                }
            }
        }
    }
}

#[test]
fn the_constant_sky_of_a_model_is_data() {
    // Sources that fade into a sky without noise, which is most of the image.
    let options = SimulationOptions { sky_gradient_x: 0.0, sky_gradient_y: 0.0, ..clean(3.0, 5.0) };
    let pair = simulate(&SimulationOptions { psf: Psf::Gaussian, ..options }).unwrap();
    let image = &pair.reference_noiseless;
    assert_eq!(constant_blocks(image.view(), &mut good(image)), []);
}

#[test]
fn clipping_is_found_where_it_is() {
    let mut clipped = 0;
    for (name, pair) in fields() {
        for level in [3000.0, 8000.0, 30_000.0] {
            for step in [1e-3, 1.0] {
                let image = pair.target.map(|v| (v.min(level) / step).round() * step);
                let pixels = image.pixels().iter().filter(|v| **v >= level).count();
                let found = pile_up(image.view(), &good(&image), None);
                if let Some(found) = found {
                    assert!((found.level - level).abs() < 1e-6, "{name}: {found:?}");
                    assert_eq!(found.pixels, pixels);
                }
                // Some stars saturate the pixels around their centres, too.
                assert!(found.is_some() || pixels < 60, "{name}: {pixels} at {level}");
                clipped += usize::from(found.is_some());
                let known = pile_up(image.view(), &good(&image), Some(level - 1.0));
                assert_eq!(known, None, "{name}");
            }
        }
    }
    assert!(clipped > 40, "{clipped}");
}

#[test]
fn what_lies_behind_a_field_stop_is_found_with_its_rim() {
    for fwhm in [2.0, 5.0] {
        for density in [5.0, 200.0] {
            let options = SimulationOptions { height: 500, width: 500, ..clean(fwhm, density) };
            let pair = simulate(&options).unwrap();
            // With a pedestal, or without the sky, it is its noise that tells.
            for pedestal in [0.0, 1000.0, -400.0] {
                let radius = |y: usize, x: usize| (y as f64 - 250.0).hypot(x as f64 - 240.0);
                let image = Image::from_fn(500, 500, |y, x| {
                    let noise = ((y * 37 + x * 101) % 17) as f64 - 8.0;
                    let light = pair.target.view().at(y, x);
                    pedestal
                        + match radius(y, x) {
                            r if r < 260.0 => light,
                            r if r < 280.0 => 1.15 * light,
                            _ => 0.03 * light + 0.5 * noise,
                        }
                });
                let mut mask = good(&image);
                let found = unexposed(image.view(), &mut mask).expect("the corners are dark");
                assert!((found.level - pedestal).abs() < 30.0, "{found:?}");
                for (i, planes) in mask.planes().iter().enumerate() {
                    // At the border, what is dark may be a sliver of a block.
                    let r = radius(i / 500, i % 500);
                    assert!(r < 290.0 || !planes.is_empty(), "{pedestal}, {fwhm}, {density}: {r}");
                    assert!(r > 200.0 || planes.is_empty(), "{pedestal}, {fwhm}, {density}: {r}");
                }
            }
        }
    }
}

#[test]
fn gradients_nebulae_galaxies_and_crowds_are_not_unexposed() {
    for (name, pair) in fields() {
        let target = pair.target.view();
        let distance = |y: usize, x: usize| (y as f64 - 150.0).hypot(x as f64 - 140.0);
        let lights: [(&str, Place<'_, f64>); 4] = [
            ("none", &|_, _| 0.0),
            ("gradient", &|_, x| 10.0 * x as f64),
            ("galaxy", &|y, x| 40_000.0 * (-distance(y, x) / 40.0).exp()),
            ("nebula", &|y, x| 3000.0 / (1.0 + ((distance(y, x) - 90.0) / 12.0).exp())),
        ];
        for (light, add) in lights {
            for sky in [0.0, 400.0, 380.0] {
                let image = Image::from_fn(300, 280, |y, x| target.at(y, x) - sky + add(y, x));
                let found = unexposed(image.view(), &mut good(&image));
                assert_eq!(found, None, "{name}, {light}, {sky}");
            }
        }
    }
}

#[test]
fn the_noise_of_the_sky_is_measured_in_sparse_and_crowded_fields() {
    for (name, pair) in fields() {
        for (image, variance) in
            [(&pair.reference, &pair.reference_variance), (&pair.target, &pair.target_variance)]
        {
            let noise = NoiseModel::Variance(variance.view());
            let found = sky_noise(image.view(), &good(image), &noise).unwrap();
            let ratio = found.sigma / found.expected;
            // σ of a block has an error of 7 %, and that of the middle of some 80 blocks 1 %. The light of faint stars adds noise of its own. Where there is a
            // bright star on every 25 pixels, the noise of a deep reference cannot be seen.
            let most = if name.ends_with("400") { 2.5 } else { 1.3 };
            assert!(ratio > 0.96, "{name}: {found:?} {ratio}");
            assert!(ratio < most || found.crowded, "{name}: {found:?} {ratio}");
        }
    }
}

#[test]
fn correlated_noise_is_as_wide_as_it_is() {
    let pair = simulate(&clean(3.0, 5.0)).unwrap();
    // The mean of 2 × 2 pixels has half the noise, and neighbours share half of it.
    let image = Image::from_fn(299, 279, |y, x| {
        let target = pair.target.view();
        0.25 * [(0, 0), (0, 1), (1, 0), (1, 1)]
            .map(|(dy, dx)| target.at(y + dy, x + dx))
            .iter()
            .sum::<f64>()
    });
    let ccd = CcdNoise { gain: 6.0, read_noise: 12.0, subtracted_sky: 0.0 };
    let found = sky_noise(image.view(), &good(&image), &NoiseModel::Ccd(ccd, None)).unwrap();
    assert!((0.88..1.1).contains(&(found.sigma / found.expected)), "{found:?}");
}

#[test]
fn no_pixel_of_a_star_is_sharp() {
    let psfs = [Psf::Gaussian, Psf::Moffat { beta: 2.5 }, Psf::Moffat { beta: 4.0 }];
    for (psf, fwhm) in psfs.into_iter().flat_map(|psf| [1.5, 2.0, 3.0, 6.0].map(|f| (psf, f))) {
        for (density, saturation) in [(5.0, None), (60.0, Some(6000.0)), (400.0, None)] {
            let options = SimulationOptions { psf, saturation, ..clean(fwhm, density) };
            let pair = simulate(&options).unwrap();
            let ccd = |depth: f64| CcdNoise {
                gain: 1.5 * depth,
                read_noise: 6.0 * depth.sqrt(),
                subtracted_sky: 0.0,
            };
            for (image, mask, ccd) in [
                (&pair.reference, &pair.reference_mask, ccd(20.0)),
                (&pair.target, &pair.target_mask, ccd(1.0)),
            ] {
                // A width that is measured too large is the dangerous one.
                for width in [None, Some(1.1 * fwhm)] {
                    let (mut mask, noise) = (mask.clone(), NoiseModel::Ccd(ccd, None));
                    let sky = sky_noise(image.view(), &mask, &noise).unwrap();
                    let found = sharp_pixels(image.view(), &mut mask, &noise, &sky, |_| width);
                    let name = format!("{psf:?} {fwhm} {density} {saturation:?} {width:?}");
                    assert_eq!(found, SharpPixels::default(), "{name}");
                }
            }
        }
    }
}

#[test]
fn hot_pixels_and_dead_ones_are_found() {
    for fwhm in [1.5, 2.6, 4.0] {
        for density in [5.0, 60.0] {
            let pair = simulate(&clean(fwhm, density)).unwrap();
            let ccd = CcdNoise { gain: 1.5, read_noise: 6.0, subtracted_sky: 0.0 };
            // 0.2 % of all pixels, of 600 to 20 000 ADU: 35 σ and more.
            let is_hot = |i: usize| i * 7919 % 84_000 < 168;
            let charge = |i: usize| 600.0 * (1.0 + (i % 33) as f64);
            let is_dead = |i: usize| i * 7919 % 84_000 > 83_980;
            let image = Image::from_fn(300, 280, |y, x| {
                let i = y * 280 + x;
                let light = pair.target.view().at(y, x);
                if is_dead(i) {
                    20.0 + (i % 17) as f64
                } else if is_hot(i) {
                    light + charge(i)
                } else {
                    light
                }
            });
            let mut mask = good(&image);
            let noise = NoiseModel::Ccd(ccd, None);
            let sky = sky_noise(image.view(), &mask, &noise).unwrap();
            let mut measured = None;
            let found = sharp_pixels(image.view(), &mut mask, &noise, &sky, |mask| {
                measured = seeing::measure(image.view(), mask);
                measured.map(|seeing| seeing.fwhm)
            });
            let seeing = measured.unwrap();
            // They leave fewer stars alone, whose mean width has an error of a few per cent.
            let clean = seeing::measure(pair.target.view(), &good(&pair.target)).unwrap();
            let change = seeing.fwhm / clean.fwhm - 1.0;
            assert!(change.abs() < 0.05, "{fwhm} {density}: {seeing:?} {clean:?} {found:?}");
            let missed = (0..84_000).filter(|i| is_hot(*i) && mask.planes()[*i].is_empty()).count();
            let wrong = (0..84_000)
                .filter(|i| !is_hot(*i) && !is_dead(*i) && !mask.planes()[*i].is_empty())
                .count();
            assert_eq!(wrong, 0);
            // Some lie on stars.
            assert!(missed <= 4, "{fwhm} {density}: {missed}");
        }
    }
}

#[test]
fn dark_columns_and_rows_at_the_border_are_found() {
    // Where stars are everywhere, the scatter of the sky is no measure for how dark a line is.
    for (name, pair) in fields().filter(|(name, _)| !name.ends_with(" 400")) {
        let image = Image::from_fn(300, 280, |y, x| {
            let noise = ((y * 37 + x * 101) % 17) as f64 - 8.0;
            match (y, x) {
                (_, 278..) | (0, _) => 20.0 + 0.5 * noise,
                (_, 277) => 0.7 * pair.target.view().at(y, x),
                _ => pair.target.view().at(y, x),
            }
        });
        let mut mask = good(&image);
        let found = unexposed(image.view(), &mut mask)
            .unwrap_or_else(|| panic!("three lines are dark: {name}"));
        for (i, planes) in mask.planes().iter().enumerate() {
            let (y, x) = (i / 280, i % 280);
            assert_eq!(!planes.is_empty(), y < 2 || x >= 277, "{name} {y} {x}");
        }
        assert_eq!(found.pixels, 2 * 280 + 3 * 298, "{name}");
    }
}
