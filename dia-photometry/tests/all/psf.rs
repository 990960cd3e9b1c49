//! The PSF of the reference is that of its stars.

use dia_core::{Image, Mask, MaskPlanes};
use dia_photometry::{PhotometryError, PsfOptions, ReferencePsf, reference_psf};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Gaussian stars, σ = 1.5 pixels in y and 1.8 in x, on a grid of 40 pixels, at any place between pixels, on a sky of 100 ± 3 ADU.
fn stars(side: usize, flux: f64) -> Image<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let noise = Image::from_fn(side, side, |_, _| -> f64 { StandardNormal.sample(&mut random) });
    Image::from_fn(side, side, |y, x| {
        let (row, column) = (y / 40, x / 40);
        let offset = |a: usize, b: usize| 20.0 + ((3 * a + 7 * b) % 10) as f64 / 10.0 - 0.45;
        let (dy, dx) =
            ((y % 40) as f64 - offset(row, column), (x % 40) as f64 - offset(column, row));
        let star = (-0.5 * (dy * dy / 2.25 + dx * dx / 3.24)).exp();
        100.0 + 3.0 * noise.view().at(y, x) + flux * star / (std::f64::consts::TAU * 1.5 * 1.8)
    })
}

#[test]
fn stars_between_pixels_make_their_psf() {
    let image = stars(240, 20_000.0);
    let psf = reference_psf(image.view(), &Mask::good(240, 240), &PsfOptions::default()).unwrap();
    // A Gaussian has no light beyond four FWHM.
    assert!((psf.mean().photometric_scale() - 1.0).abs() < 1e-4);
    // 36 stars of S/N 20 000/√(400 · 9) and above: noise of 3/20 000/√36 = 2.5e-5 per pixel of the PSF, whose peak is 0.059.
    for (dy, dx) in [(0_isize, 0_isize), (1, 0), (0, 2), (3, 1), (-2, -2)] {
        let (y, x) = (dy as f64, dx as f64);
        let truth = (-0.5 * (y * y / 2.25 + x * x / 3.24)).exp() / (std::f64::consts::TAU * 2.7);
        let found = psf.mean().at(dy, dx);
        assert!((found - truth).abs() < 2e-4 + 0.005 * truth, "{dy} {dx}: {found} {truth}");
    }
    // The mean of 1.5 and 1.8; b/a is 1.5/1.8. Two per cent of noise in a pixel move the half maximum by one.
    assert!((psf.fwhm - 2.3548 * 1.65).abs() < 0.03, "{}", psf.fwhm);
    assert!((psf.ellipticity - (1.0 - 1.5 / 1.8)).abs() < 0.02, "{}", psf.ellipticity);
    assert_eq!((psf.stars + psf.rejected, psf.degree()), (36, 0));
    assert!(psf.residual < 0.02, "{}", psf.residual);
}

#[test]
fn a_star_with_a_bad_pixel_is_left_out_and_too_few_stars_are_an_error() {
    let image = stars(120, 20_000.0);
    let mut mask = Mask::good(120, 120);
    mask.insert(60, 66, MaskPlanes::BAD);
    let psf = reference_psf(image.view(), &mask, &PsfOptions::default()).unwrap();
    assert_eq!(psf.stars + psf.rejected, 8);
    let many = PsfOptions { fewest_stars: 9, ..Default::default() };
    let error = reference_psf(image.view(), &mask, &many).unwrap_err();
    assert_eq!(error, PhotometryError::Stars { found: 9, usable: 8, needed: 9 });
    let empty = Image::filled(50, 50, 1.0_f64);
    let error = reference_psf(empty.view(), &Mask::good(50, 50), &PsfOptions::default());
    assert!(matches!(error, Err(PhotometryError::Stars { usable: 0, .. })));
}

#[test]
fn a_given_psf_is_scaled_to_unit_sum_or_refused() {
    let image = Image::from_fn(5, 7, |y, x| if (y, x) == (2, 3) { 3.0 } else { 1.0 / 34.0 });
    let psf = ReferencePsf::of_image(&image).unwrap();
    assert!((psf.at(0, 0).photometric_scale() - 1.0).abs() < 1e-15);
    assert!((psf.at(9, 9).centre() - 0.75).abs() < 1e-15);
    let error = ReferencePsf::of_image(&Image::filled(3, 3, -1.0)).unwrap_err();
    assert_eq!(error, PhotometryError::Psf { sum: -9.0 });
}
