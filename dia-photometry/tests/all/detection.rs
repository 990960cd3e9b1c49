//! What is found, where, and what is said against it.

use dia_core::{Image, MaskPlanes};
use dia_photometry::{
    DetectOptions, Detection, Flags, PhotometryError, ScoreOptions, detect, score,
};

use crate::field::Field;

fn detected(field: &Field) -> Vec<Detection> {
    let scene = field.scene();
    detect(&scene, &score(&scene, &ScoreOptions::default()).unwrap(), &DetectOptions::default())
        .unwrap()
}

#[test]
fn stars_of_both_signs_are_found_where_they_are_and_the_strongest_first() {
    let stars = [(50.3, 40.8, 3000.0), (90.7, 70.2, -2000.0), (30.0, 100.5, 1500.0)];
    let found = detected(&Field::new(130, 130, 0.5).with_stars(&stars));
    assert_eq!(found.len(), 3);
    for (detection, (y, x, flux)) in found.iter().zip(stars) {
        // Without noise: aliases of σ = 1.2 pixels are e^(−π²σ²/2) = 1e-3 at the Nyquist frequency, where the PSF holds next to nothing.
        assert!((detection.source.x - x).abs() < 2e-3 && (detection.source.y - y).abs() < 2e-3);
        assert!((detection.source.flux.value / flux - 1.0).abs() < 2e-3);
        assert_eq!(detection.significance > 0.0, flux > 0.0);
        assert!(detection.source.position_covariance.is_some());
        assert!(
            (detection.peak.0 as f64 - x).abs() <= 0.5
                && (detection.peak.1 as f64 - y).abs() <= 0.5
        );
        assert!(detection.sharpness < 0.0 && detection.dipole < 0.0 && !detection.both_signs);
        assert_eq!(detection.source.flags, Flags::empty(), "{detection:?}");
    }
    // Of the same noise, significances are as fluxes.
    let ratio = found[0].significance / found[1].significance;
    assert!((ratio + 1.5).abs() < 0.15, "{ratio}");
}

#[test]
fn a_hot_pixel_is_sharp() {
    let mut field = Field::new(100, 100, 0.5);
    field.difference.row_mut(50)[40] = 800.0;
    let found = detected(&field);
    assert_eq!(found.len(), 1);
    assert!(found[0].source.flags.contains(Flags::SHARP), "{:?}", found[0]);
    assert_eq!(found[0].peak, (40, 50));
}

#[test]
fn a_star_that_moved_is_a_dipole() {
    let mut field =
        Field::new(100, 100, 0.5).with_stars(&[(50.0, 40.0, 9000.0), (50.0, 40.5, -9000.0)]);
    // The star of the reference: 9000/0.8 where the kernel came from.
    field.reference = Image::from_fn(100, 100, |y, x| {
        let r2 = (y as f64 - 49.8).powi(2) + (x as f64 - 40.55).powi(2);
        let sigma2 = crate::field::REFERENCE_SIGMA.powi(2);
        (11_250.0 * (-0.5 * r2 / sigma2).exp() / (std::f64::consts::TAU * sigma2)) as f32
    });
    let found = detected(&field);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].both_signs);
    let flags = found[0].source.flags;
    assert!(flags.contains(Flags::DIPOLE), "{flags:?}");
    // A new source on the same star is none.
    let new = Field {
        difference: Field::new(100, 100, 0.5).with_stars(&[(50.0, 40.25, 5000.0)]).difference,
        ..field
    };
    let found = detected(&new);
    assert!(!found[0].source.flags.intersects(Flags::DIPOLE | Flags::SHARP), "{found:?}");
}

#[test]
fn a_line_of_light_is_a_trail() {
    let stars: Vec<_> =
        (0..20).map(|i| (50.0 + f64::from(i), 30.0 + 1.5 * f64::from(i), 2000.0)).collect();
    let found = detected(&Field::new(100, 100, 0.5).with_stars(&stars));
    assert_eq!(found.len(), 1);
    assert!(found[0].source.flags.contains(Flags::TRAIL), "{:?}", found[0]);
}

#[test]
fn neighbours_in_the_mask_are_flags_and_nothing_is_lost() {
    let mut field = Field::new(100, 100, 0.5).with_stars(&[
        (50.0, 40.0, 4000.0),
        (30.0, 2.0, 4000.0),
        (75.0, 75.0, 4000.0),
    ]);
    for x in 42..45 {
        field.mask.insert(50, x, MaskPlanes::SATURATED);
        field.difference.row_mut(50)[x] = f32::NAN;
    }
    field.mask.insert(75, 75, MaskPlanes::VARIABLE);
    field.mask.insert(77, 75, MaskPlanes::REFERENCE_BAD);
    field.difference.row_mut(77)[75] = f32::NAN;
    let found = detected(&field);
    assert_eq!(found.len(), 3, "{found:?}");
    let flags = |x: usize| {
        found.iter().find(|d| d.peak.0.abs_diff(x) <= 1).map(|d| d.source.flags).unwrap()
    };
    assert!(flags(40).contains(Flags::SATURATED_NEAR), "{:?}", flags(40));
    assert!(flags(2).contains(Flags::EDGE), "{:?}", flags(2));
    assert!(flags(75).contains(Flags::VARIABLE | Flags::REFERENCE_BAD), "{:?}", flags(75));
}

#[test]
fn a_threshold_must_be_a_number_of_sigmas() {
    let field = Field::new(60, 60, 0.5);
    let scene = field.scene();
    let score = score(&scene, &ScoreOptions::default()).unwrap();
    for threshold in [0.0, -5.0, f64::NAN] {
        let options = DetectOptions { threshold, ..Default::default() };
        let error = detect(&scene, &score, &options).unwrap_err();
        assert!(matches!(error, PhotometryError::Threshold { .. }));
    }
}
