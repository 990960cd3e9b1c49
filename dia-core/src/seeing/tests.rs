use super::{Seeing, measure};
use crate::simulate::{Psf, SimulatedPair, SimulationOptions, simulate};
use crate::{Image, Mask, MaskPlanes};

/// A field whose target has round stars of a given width, bright enough to be seen at any.
fn field(psf: Psf, fwhm: f64, density: f64) -> SimulationOptions {
    SimulationOptions {
        height: 300,
        width: 300,
        psf,
        target_fwhm: fwhm,
        density,
        flux_min: 1e4,
        ellipticity: 0.0,
        variables: 0,
        transients: 0,
        bad_columns: 0,
        ..Default::default()
    }
}

fn target_seeing(pair: &SimulatedPair) -> Seeing {
    measure(pair.target.view(), &pair.target_mask).expect("the field has stars")
}

/// A Gaussian fitted to the core of a Moffat profile of β = 3 is 2 % too wide, and 6 % where 3 × 3 pixels of a
/// star of 2 px are all there is. The brightest stars of these fields are a few hundred noises high, so that
/// noise adds less.
const TOLERANCE: f64 = 0.08;

#[test]
fn sparse_and_crowded_fields_give_their_width() {
    for psf in [Psf::Gaussian, Psf::Moffat { beta: 3.0 }] {
        for density in [5.0, 200.0] {
            for fwhm in [2.0, 2.7, 4.0, 5.5, 8.0] {
                let seeing = target_seeing(&simulate(&field(psf, fwhm, density)).unwrap());
                let error = seeing.fwhm / fwhm - 1.0;
                assert!(error.abs() < TOLERANCE, "{psf:?} {fwhm} px, {density}: {seeing:?}");
            }
        }
    }
}

#[test]
fn elongated_stars_have_the_mean_of_their_axes() {
    for position_angle in [0.0_f64, 45.0, 100.0] {
        let options = field(Psf::Gaussian, 4.5, 30.0);
        let options = SimulationOptions { ellipticity: 0.4, position_angle, ..options };
        let seeing = target_seeing(&simulate(&options).unwrap());
        assert!((seeing.fwhm / 4.5 - 1.0).abs() < TOLERANCE, "{position_angle}: {seeing:?}");
        // σ² is 4.5²/(8 ln 2) times or over 0.6 along the axes a and b.
        let (sin, cos) = position_angle.to_radians().sin_cos();
        let [a, b] = [4.5 * 4.5 / 5.545 / 0.6, 4.5 * 4.5 / 5.545 * 0.6];
        let expected =
            [a * cos * cos + b * sin * sin, (a - b) * sin * cos, a * sin * sin + b * cos * cos];
        for (found, expected) in seeing.covariance.iter().zip(expected) {
            assert!((found - expected).abs() < 2.0 * TOLERANCE * a, "{seeing:?} {expected}");
        }
    }
}

#[test]
fn cosmic_rays_are_not_stars() {
    let clean = field(Psf::Moffat { beta: 3.0 }, 3.0, 5.0);
    let stars = target_seeing(&simulate(&SimulationOptions { cosmic_rays: 0, ..clean }).unwrap());
    // Of the 45 stars most are brighter than the 40 tracks; a track may still fall onto a star.
    let hit = target_seeing(&simulate(&SimulationOptions { cosmic_rays: 40, ..clean }).unwrap());
    assert!((hit.fwhm / stars.fwhm - 1.0).abs() < 0.5 * TOLERANCE, "{stars:?} {hit:?}");
    // They may also be many more than the stars, of which this field has about a dozen.
    let lonely = SimulationOptions { density: 1.5, cosmic_rays: 80, ..clean };
    let seeing = target_seeing(&simulate(&lonely).unwrap());
    assert!((seeing.fwhm / 3.0 - 1.0).abs() < TOLERANCE, "{seeing:?}");
    // Tracks alone are no stars at all.
    let rays = SimulationOptions { density: 0.0, cosmic_rays: 60, ..clean };
    let pair = simulate(&rays).unwrap();
    assert_eq!(measure(pair.target.view(), &pair.target_mask), None);
}

#[test]
fn saturated_stars_are_passed_over() {
    let options = SimulationOptions {
        saturation: Some(1500.0),
        ..field(Psf::Moffat { beta: 3.0 }, 5.0, 30.0)
    };
    let pair = simulate(&options).unwrap();
    assert!(pair.target_mask.count(MaskPlanes::SATURATED) > 100);
    assert!((target_seeing(&pair).fwhm / 5.0 - 1.0).abs() < TOLERANCE);
    let unmasked = measure(pair.target.view(), &Mask::good(300, 300)).unwrap();
    assert!((unmasked.fwhm / 5.0 - 1.0).abs() < TOLERANCE, "{unmasked:?}");
}

#[test]
fn no_stars_give_no_width() {
    let pair = simulate(&field(Psf::Gaussian, 4.0, 0.0)).unwrap();
    assert_eq!(measure(pair.target.view(), &pair.target_mask), None);
    let pair = simulate(&field(Psf::Gaussian, 4.0, 30.0)).unwrap();
    let masked = Mask::from_vec(300, 300, vec![MaskPlanes::NO_DATA; 90_000]).unwrap();
    assert_eq!(measure(pair.target.view(), &masked), None);
    for side in [0, 1, 20] {
        let small = Image::filled(side, side, 1.0_f32);
        assert_eq!(measure(small.view(), &Mask::good(side, side)), None);
    }
}

#[test]
fn threads_do_not_matter_and_the_pixel_type_hardly() {
    let pair = simulate(&field(Psf::Moffat { beta: 3.0 }, 4.0, 60.0)).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| target_seeing(&pair))
    };
    assert_eq!(on(1), on(3));
    let narrow = pair.target.map(|value| value as f32);
    let single = measure(narrow.view(), &pair.target_mask).unwrap();
    // Pixels are rounded to 6e-8 of themselves, and the width follows ln v near v = 1 with a factor of a few.
    assert!((single.fwhm - on(1).fwhm).abs() < 1e-5);
}
