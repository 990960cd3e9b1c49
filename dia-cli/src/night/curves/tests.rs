use dia_photometry::{Flags, ForcedFlux, Measured};

use super::{Curve, Point, corrected, zero_points};

fn point(flux: f64, sigma: f64) -> Point {
    let none = Measured { value: f64::NAN, sigma: f64::NAN };
    let forced = ForcedFlux {
        x: 0.0,
        y: 0.0,
        position_covariance: None,
        flux: none,
        apertures: Vec::new(),
        reference_flux: none,
        reference_covariance: 0.0,
        scale: none,
        flux_in_reference: none,
        upper_limit: 0.0,
        chi2: 0.0,
        degrees_of_freedom: 0,
        coverage: 1.0,
        flags: Flags::empty(),
    };
    Point { forced, flux, sigma, usable: true }
}

#[test]
fn the_zero_point_is_that_of_the_stars_that_do_not_vary() {
    // Three frames, the second 10 % too bright in all; star 0 varies by half of its flux.
    let zero = [1.0, 1.1, 1.0];
    let mut curves: Vec<Curve> = (0..9)
        .map(|s| {
            let flux = 1000.0 * f64::from(s + 1);
            let vary = if s == 0 { [1.0, 0.7, 1.5] } else { [1.0; 3] };
            let points = (0..3).map(|e| point(flux * zero[e] * vary[e], 10.0)).collect();
            Curve { reference: (flux, 1.0), points, constant: false }
        })
        .collect();
    let mut stars = vec![true; 9];
    stars[8] = false;
    let found = zero_points(&mut curves, &stars, 3);
    for (found, zero) in found.iter().zip(zero) {
        let found = found.unwrap();
        assert!((found.value - zero).abs() < 1e-12, "{found:?}");
        assert_eq!(found.stars, 7);
    }
    assert!(!curves[0].constant && curves[1].constant && !curves[8].constant);
    let flat = corrected(&curves[3], &found, Some(2.0)).statistics().unwrap();
    assert!((flat.mean - 4000.0).abs() < 1e-9 && flat.rms < 1e-9 && flat.chi2 < 1e-12);
    // Errors 10, 10/1.1 and 10, doubled.
    let expected = (4.0 * (200.0 + 100.0 / 1.21) / 3.0_f64).sqrt();
    assert!((flat.expected - expected).abs() < 1e-9);
}

#[test]
fn few_stars_tell_no_zero_point() {
    let curve =
        Curve { reference: (1000.0, 1.0), points: vec![point(1000.0, 10.0); 3], constant: false };
    let mut curves = vec![curve; 4];
    assert_eq!(zero_points(&mut curves, &[true; 4], 3), vec![None; 3]);
}

#[test]
fn statistics_are_those_of_the_usable_points() {
    let mut points: Vec<Point> = [10.0, 14.0, 12.0].map(|flux| point(flux, 2.0)).to_vec();
    points.push(Point { usable: false, ..point(1e6, 2.0) });
    let statistics =
        Curve { reference: (12.0, 0.0), points, constant: false }.statistics().unwrap();
    assert_eq!((statistics.points, statistics.mean, statistics.rms), (3, 12.0, 2.0));
    assert_eq!((statistics.chi2, statistics.expected), (2.0, 2.0));
    assert_eq!((statistics.least, statistics.most), (10.0, 14.0));
}
