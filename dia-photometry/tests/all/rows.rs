//! Forced photometry gives a row for each position, whatever that is.

use dia_core::MaskPlanes;
use dia_photometry::{Flags, ForcedOptions, forced};

use crate::field::Field;

#[test]
fn every_position_has_its_row_with_the_reason_for_what_is_missing() {
    let mut field = Field::new(120, 110, 0.5).with_stars(&[(60.0, 50.0, 1000.0)]);
    // A masked block of 30 × 30, and one masked pixel beside the star.
    for y in 80..110 {
        for x in 70..100 {
            field.mask.insert(y, x, MaskPlanes::BAD);
            field.difference.row_mut(y)[x] = f32::NAN;
        }
    }
    field.mask.insert(61, 51, MaskPlanes::COSMIC_RAY);
    field.difference.row_mut(61)[51] = f32::NAN;
    for (y, x) in (25..36).flat_map(|y| (75..86).map(move |x| (y, x))) {
        field.reference.row_mut(y)[x] = -60.0;
    }
    let at = [
        (50.0, 60.0),
        (f64::NAN, 3.0),
        (3.0, f64::INFINITY),
        (-0.6, 20.0),
        (20.0, 119.6),
        (50.0, 60.0),
        (85.0, 95.0),
        (69.0, 95.0),
        (109.4, 60.0),
        (80.0, 30.0),
        (0.0, -0.0),
        (-0.0, 0.0),
    ];
    let options = ForcedOptions { apertures: vec![3.0, 100.0], ..Default::default() };
    let rows = forced(&field.scene(), &at, &options).unwrap();
    assert_eq!(rows.len(), at.len());
    let (first, again) = (&rows[0], &rows[5]);
    // Without noise, the flux is right whatever is masked.
    assert!((first.flux.value / 1000.0 - 1.0).abs() < 2e-3, "{first:?}");
    assert!((first.apertures[0].value / 1000.0 - 1.0).abs() < 2e-3, "{first:?}");
    // An aperture beyond the PSF has no correction for its light.
    assert!(first.apertures[1].value.is_nan());
    assert!((first.flux_in_reference.value / 1250.0 - 1.0).abs() < 2e-3);
    assert!((first.scale.value - 0.8).abs() < 1e-12);
    assert!((first.upper_limit - first.flux.value - 3.0 * first.flux.sigma).abs() < 1e-9);
    assert!(first.coverage > 0.8 && first.coverage < 0.99);
    assert_eq!(first.flags, Flags::empty());
    assert_eq!(again.flags, Flags::DUPLICATE);
    assert_eq!((again.flux, again.chi2.to_bits()), (first.flux, first.chi2.to_bits()));
    let flags = |i: usize| rows[i].flags;
    assert_eq!([flags(1), flags(2)], [Flags::NOT_FINITE; 2]);
    assert_eq!([flags(3), flags(4)], [Flags::OUTSIDE; 2]);
    assert!(flags(6).contains(Flags::MASKED | Flags::NO_COVERAGE));
    assert!(flags(7).contains(Flags::PARTLY_MASKED) && rows[7].flux.value.is_finite());
    assert!(flags(8).contains(Flags::EDGE) && rows[8].flux.value.is_finite());
    assert!(flags(9).contains(Flags::REFERENCE_HOLE), "{:?}", rows[9]);
    assert_eq!(
        flags(11) - Flags::EDGE - Flags::PARTLY_MASKED - Flags::NO_COVERAGE,
        Flags::DUPLICATE
    );
    for row in [1, 2, 3, 4, 6] {
        assert!(rows[row].flux.value.is_nan() && rows[row].upper_limit.is_nan());
        assert_eq!(rows[row].apertures.len(), 2);
    }
}

#[test]
fn a_place_without_a_source_cannot_be_refined_and_says_so() {
    let field = Field::new(80, 80, 0.5).with_stars(&[(40.0, 44.0, 3000.0)]);
    let options = ForcedOptions { refine: true, ..Default::default() };
    // Four pixels from the star: farther than a refinement goes.
    let rows = forced(&field.scene(), &[(40.0, 40.0)], &options).unwrap();
    assert!(rows[0].flags.contains(Flags::POSITION) && rows[0].position_covariance.is_none());
    assert_eq!((rows[0].x, rows[0].y), (40.0, 40.0));
}

#[test]
fn results_are_the_same_for_any_number_of_threads() {
    let field = Field::new(150, 140, 1.0).with_stars(&[(40.0, 44.0, 3000.0)]).with_noise(3);
    let measure = || {
        let scene = field.scene();
        let score =
            dia_photometry::score(&scene, &dia_photometry::ScoreOptions::default()).unwrap();
        let found = dia_photometry::detect(
            &scene,
            &score,
            &dia_photometry::DetectOptions { threshold: 3.0, ..Default::default() },
        )
        .unwrap();
        format!("{:?}{:?}", score.significance.pixels(), found)
    };
    let with = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(measure)
    };
    assert!(with(1) == with(3));
}
