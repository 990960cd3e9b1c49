//! Images against their definitions.

use std::f64::consts::{LN_2, PI};

use super::profile::Profile;
use super::*;

/// A field in which nothing happens and nothing is cut off.
const QUIET: SimulationOptions = SimulationOptions {
    height: 160,
    width: 200,
    seed: 3,
    density: 30.0,
    flux_slope: 1.5,
    flux_min: 2e3,
    flux_max: 1e6,
    psf: Psf::Moffat { beta: 3.0 },
    reference_fwhm: 3.0,
    target_fwhm: 4.0,
    ellipticity: 0.0,
    position_angle: 0.0,
    psf_gradient_x: 0.0,
    psf_gradient_y: 0.0,
    shift_x: 0.3,
    shift_y: -0.2,
    scale: 0.8,
    reference_sky: 100.0,
    target_sky: 200.0,
    sky_gradient_x: 0.0,
    sky_gradient_y: 0.0,
    sky_curvature: 0.0,
    gain: 1.5,
    read_noise: 6.0,
    reference_depth: 20.0,
    variables: 0,
    variable_amplitude: (0.3, 1.0),
    brightest_varies: false,
    transients: 0,
    transient_signal_to_noise: (10.0, 50.0),
    event_margin: 20.0,
    cosmic_rays: 0,
    cosmic_ray_charge: (300.0, 5000.0),
    saturation: None,
    bad_columns: 0,
};

const PROFILES: [Psf; 4] = [
    Psf::Gaussian,
    Psf::Moffat { beta: 2.0 },
    Psf::Moffat { beta: 2.5 },
    Psf::Moffat { beta: 4.7 },
];

#[test]
fn profiles_are_integrated_over_pixels() {
    // The midpoint rule on n² cells of side h = 1/n errs by h²/24 ∇²ψ; |∇²ψ| < 8 β ψ(0)/fwhm² here, so by less
    // than 2e-5 of the peak for n = 300.
    const N: usize = 300;
    for psf in PROFILES {
        for fwhm in [1.0, 1.74, 1.76, 2.9, 3.1, 6.0] {
            let profile = Profile::new(psf, fwhm, 0.2, 0.6);
            let central = profile.over_pixel(0.0, 0.0);
            for (dx, dy) in
                [(0.0, 0.0), (0.3, -0.45), (1.2, 0.7), (-2.5, 3.1), (9.5, 1.0), (19.0, 15.0)]
            {
                let cell = |i: usize| (i as f64 + 0.5) / N as f64 - 0.5;
                let sum: f64 =
                    (0..N * N).map(|i| profile.at(dx + cell(i % N), dy + cell(i / N))).sum();
                let error = profile.over_pixel(dx, dy) - sum / (N * N) as f64;
                assert!(error.abs() < 1e-4 * central, "{psf:?} {fwhm} at {dx} {dy}: {error}");
            }
        }
    }
}

#[test]
fn a_star_has_its_flux_its_place_and_its_width() {
    for psf in PROFILES {
        for fwhm in [1.0, 2.0, 5.0] {
            let profile = Profile::new(psf, fwhm, 0.1, 1.0);
            // Half of the peak at half of the width, in the mean of the axes.
            let round = Profile::new(psf, fwhm, 0.0, 0.0);
            assert!((round.at(0.5 * fwhm, 0.0) / round.peak - 0.5).abs() < 1e-14);
            let star = Source::new(300.37, 299.81, 1e4, profile, 0.1);
            let mut image = Image::filled(600, 601, 0.0);
            add_sources(&mut image, &[star]);
            let (mut flux, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
            for y in 0..600 {
                for (x, value) in image.view().row(y).iter().enumerate() {
                    flux += value;
                    x_sum += value * (x as f64 - star.x);
                    y_sum += value * (y as f64 - star.y);
                }
            }
            // What lies beyond the cut, 5e-4 (that of β = 2 is the slowest to fall), and the integration error.
            assert!((flux / 1e4 - 1.0).abs() < 1e-3, "{psf:?} {fwhm}: {flux}");
            // Pixels beyond the circle of radius R that holds all but 5e-4 of the flux are kept unevenly, within
            // 0.7 px of it. A power law has 5e-4 · 2(β − 1) · 0.7/R of its flux there: times R, 2.6e-3 px for β =
            // 4.7 if all were on one side, and these rings of more than 20 pixels are even to a third at least.
            // Sampling at whole pixels moves the centroid of a Gaussian by up to e^{−2π²σ²}/π px: 1e-2 at a width
            // of 1 px (more for a peaked profile), 1e-7 at 2 px.
            let aliasing = if fwhm < 2.0 { 0.02 } else { 0.0 };
            let error = x_sum.abs().max(y_sum.abs()) / flux;
            assert!(error < 1e-3 + aliasing, "{psf:?} {fwhm}: {error}");
        }
    }
}

#[test]
fn the_target_is_the_shifted_and_scaled_reference() {
    let options = SimulationOptions {
        reference_fwhm: 4.0,
        shift_x: 3.0,
        shift_y: -2.0,
        scale: 0.5,
        reference_sky: 0.0,
        target_sky: 0.0,
        reference_depth: 0.25,
        ..QUIET
    };
    let pair = simulate(&options).unwrap();
    let mut brightest = 0.0_f64;
    for y in 2..options.height {
        for x in 0..options.width - 3 {
            let reference = pair.reference_noiseless.view().at(y, x);
            let target = pair.target_noiseless.view().at(y - 2, x + 3);
            brightest = brightest.max(target);
            // At a quarter of the depth the reference's noise is twice as large, as are its fluxes: stars are cut
            // at one radius. Places differ by a rounding of 200 px, 3e-14 px; the slope is below one peak per
            // pixel.
            assert!((target - 0.5 * reference).abs() < 1e-12 * brightest.max(1e5));
        }
    }
    assert!(brightest > 100.0);
    for star in &pair.truth.stars {
        assert!((star.flux_target / star.flux_reference - 0.5).abs() < 1e-15);
        assert!((options.flux_min..=options.flux_max).contains(&star.flux_target));
    }
}

#[test]
fn fluxes_follow_the_power_law() {
    let options =
        SimulationOptions { height: 32, width: 32, density: 6000.0, ..Default::default() };
    let stars = draw_stars(&options);
    let fraction = |flux: f64| {
        stars.iter().filter(|star| star.flux_target > flux).count() as f64 / stars.len() as f64
    };
    for factor in [2.0_f64, 5.0, 20.0] {
        let [lowest, flux, highest] =
            [options.flux_min, factor * options.flux_min, options.flux_max].map(|f| f.powf(-1.5));
        let expected = (flux - highest) / (lowest - highest);
        let sigma = (expected / stars.len() as f64).sqrt();
        let error = fraction(factor * options.flux_min) - expected;
        assert!(error.abs() < 4.0 * sigma, "{factor}: {error} ± {sigma}");
    }
}

/// Mean of z and of z², z = (image − truth)/σ.
fn normalised_moments(image: &Image<f64>, truth: &Image<f64>, variance: &Image<f64>) -> (f64, f64) {
    let n = image.pixels().len() as f64;
    let z = |i: usize| (image.pixels()[i] - truth.pixels()[i]) / variance.pixels()[i].sqrt();
    let sum = |power| (0..image.pixels().len()).map(|i| z(i).powi(power)).sum::<f64>() / n;
    (sum(1), sum(2))
}

#[test]
fn the_noise_has_the_variance_of_the_model() {
    for (sky, read_noise) in [(0.5, 0.3), (1.0, 6.0), (200.0, 6.0), (20_000.0, 6.0)] {
        let options = SimulationOptions {
            height: 400,
            width: 400,
            reference_sky: sky,
            target_sky: sky,
            read_noise,
            ..QUIET
        };
        let pair = simulate(&options).unwrap();
        let n = 400.0 * 400.0_f64;
        for (image, truth, variance) in [
            (&pair.reference, &pair.reference_noiseless, &pair.reference_variance),
            (&pair.target, &pair.target_noiseless, &pair.target_variance),
        ] {
            let (mean, square) = normalised_moments(image, truth, variance);
            // σ of the mean is 1/√n; that of the mean square √((2 + 1/λ)/n) with λ ≥ 0.75 electrons.
            assert!(mean.abs() < 5.0 / n.sqrt(), "sky {sky}: {mean}");
            let sigma = ((2.0 + 1.0 / 0.75) / n).sqrt();
            assert!((square - 1.0).abs() < 5.0 * sigma, "sky {sky}: {square}");
        }
        let noise = options.reference_noise();
        let single = options.target_noise().variance(sky, 1.0);
        assert!((noise.variance(sky, 1.0) * options.reference_depth / single - 1.0).abs() < 1e-14);
    }
}

#[test]
fn the_sky_rises_as_asked() {
    let options = SimulationOptions {
        density: 0.0,
        sky_gradient_x: 10.0,
        sky_gradient_y: -4.0,
        sky_curvature: 6.0,
        ..QUIET
    };
    let target = simulate(&options).unwrap().target_noiseless;
    let (bottom, right) = (options.height - 1, options.width - 1);
    // Corners are at u, v = ±1: 200 ± 5 ∓ 2 + 6, sums of four numbers below 256.
    for (y, x, expected) in
        [(0, 0, 203.0), (0, right, 213.0), (bottom, 0, 199.0), (bottom, right, 209.0)]
    {
        assert!((target.view().at(y, x) - expected).abs() < 8.0 * 256.0 * f64::EPSILON);
    }
}

#[test]
fn seeds_reproduce_every_bit() {
    let options = SimulationOptions { height: 120, width: 90, ..Default::default() };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| simulate(&options)).unwrap()
    };
    let pair = on(1);
    assert_eq!(pair, on(3));
    let other = simulate(&SimulationOptions { seed: 2, ..options }).unwrap();
    assert_ne!(pair.truth.stars, other.truth.stars);
    assert_ne!(pair.reference, other.reference);
}

#[test]
fn an_option_switched_on_leaves_the_rest_alone() {
    let quiet = simulate(&QUIET).unwrap();
    let changed = |options: &SimulationOptions| {
        let pair = simulate(options).unwrap();
        assert_eq!(pair.truth.stars, quiet.truth.stars);
        assert_eq!(pair.reference, quiet.reference);
        assert_eq!(pair.target_noiseless, quiet.target_noiseless);
        let pixels: Vec<(usize, usize)> = (0..pair.target.pixels().len())
            .filter(|&i| pair.target.pixels()[i] != quiet.target.pixels()[i])
            .map(|i| (i / options.width, i % options.width))
            .collect();
        (pixels, pair.truth)
    };

    let (pixels, truth) = changed(&SimulationOptions { cosmic_rays: 9, ..QUIET });
    assert!(!pixels.is_empty());
    assert!(pixels.iter().all(|&p| truth.cosmic_rays.iter().any(|hit| (hit.y, hit.x) == p)));
    assert!((9..=72).contains(&truth.cosmic_rays.len()));

    let (pixels, truth) = changed(&SimulationOptions { bad_columns: 2, ..QUIET });
    assert_eq!(pixels.len(), 2 * QUIET.height);
    assert!(pixels.iter().all(|(_, x)| truth.bad_columns.contains(x)));

    // Transients of the lowest flux are cut at 6.2 α from their centre, 24 px here, the brightest somewhat
    // further.
    let few = SimulationOptions { transients: 2, ..QUIET };
    let (pixels, two) = changed(&few);
    let near = |event: &Event, (y, x): (usize, usize)| {
        (x as f64 - event.x).hypot(y as f64 - event.y) < 40.0
    };
    assert!(pixels.iter().all(|&p| two.events.iter().any(|event| near(event, p))));

    // One kind of event does not disturb another, nor does one more of the same kind.
    let all = SimulationOptions { variables: 4, transients: 3, brightest_varies: true, ..QUIET };
    let events = changed(&all).1.events;
    assert_eq!(events.len(), 8);
    assert_eq!(events[5..7], two.events);
    let variables = changed(&SimulationOptions { variables: 3, ..QUIET }).1.events;
    assert_eq!(events[1..4], variables);
    let brightest = changed(&SimulationOptions { brightest_varies: true, ..QUIET }).1.events;
    assert_eq!(events[0], brightest[0]);
    let largest = quiet
        .truth
        .stars
        .iter()
        .filter(|s| (20.0..=179.0).contains(&s.x) && (20.0..=139.0).contains(&s.y))
        .map(|s| s.flux_target)
        .fold(0.0, f64::max);
    assert_eq!(events[0].flux_change.abs(), largest);
}

#[test]
fn transients_stand_where_they_can_be_found() {
    let options = SimulationOptions { transients: 12, density: 10.0, ..Default::default() };
    let pair = simulate(&options).unwrap();
    let transients: Vec<&Event> =
        pair.truth.events.iter().filter(|e| e.kind == EventKind::Transient).collect();
    assert_eq!(transients.len(), 12);
    for event in transients {
        let brighter = |star: &&Star| star.flux_target > event.flux_change;
        for star in pair.truth.stars.iter().filter(brighter) {
            assert!((star.x - event.x).hypot(star.y - event.y) >= 2.0 * options.target_fwhm);
        }
        assert!((30.0..=481.0).contains(&event.x) && (30.0..=481.0).contains(&event.y));
        assert!((8.0..=40.0).contains(&event.signal_to_noise));
    }
}

#[test]
fn signal_to_noise_is_that_of_a_matched_filter() {
    let fwhm = 5.0;
    let source = Source::new(40.2, 39.7, 1.0, Profile::new(Psf::Gaussian, fwhm, 0.0, 0.0), 1e-9);
    let sensitivity = source.inverse_sigma(&Image::filled(80, 80, 9.0));
    // ∫ψ² = 1/(4πs²), s² being widened by 1/12 where ψ is integrated over pixels; the next term of that expansion
    // is of the order (1/12s²)² < 1e-3, and σ = 3.
    let s2 = fwhm * fwhm / (8.0 * LN_2) + 1.0 / 12.0;
    let expected = (1.0 / (4.0 * PI * s2)).sqrt() / 3.0;
    assert!((sensitivity / expected - 1.0).abs() < 1e-3);
}

#[test]
fn saturated_pixels_are_cut_and_masked() {
    let level = 500.0;
    let options = SimulationOptions {
        saturation: Some(level),
        cosmic_rays: 20,
        transients: 3,
        bad_columns: 1,
        ..QUIET
    };
    let pair = simulate(&options).unwrap();
    assert!(pair.reference_mask.count(MaskPlanes::SATURATED) > 0);
    for (image, mask) in
        [(&pair.reference, &pair.reference_mask), (&pair.target, &pair.target_mask)]
    {
        for (value, planes) in image.pixels().iter().zip(mask.planes()) {
            assert!(*value <= level);
            if planes.contains(MaskPlanes::SATURATED) && !planes.contains(MaskPlanes::BAD) {
                assert_eq!(*value, level);
            }
        }
    }
    assert_eq!(pair.target_mask.count(MaskPlanes::BAD), options.height);
    assert_eq!(pair.reference_mask.count(MaskPlanes::BAD), 0);
}

#[test]
fn impossible_options_are_named() {
    let default = SimulationOptions::default();
    assert!(default.validate().is_ok());
    let cases: [(&str, SimulationOptions); 14] = [
        ("height", SimulationOptions { height: 8, ..default }),
        ("density", SimulationOptions { density: -1.0, ..default }),
        ("flux_slope", SimulationOptions { flux_slope: 0.0, ..default }),
        ("flux_max", SimulationOptions { flux_max: 1.0, ..default }),
        ("psf beta", SimulationOptions { psf: Psf::Moffat { beta: 1.0 }, ..default }),
        ("target_fwhm", SimulationOptions { target_fwhm: 0.5, ..default }),
        ("ellipticity", SimulationOptions { ellipticity: 0.9, ..default }),
        ("shift_x", SimulationOptions { shift_x: f64::NAN, ..default }),
        ("scale", SimulationOptions { scale: 0.0, ..default }),
        ("gain", SimulationOptions { gain: f64::INFINITY, ..default }),
        ("variable_amplitude", SimulationOptions { variable_amplitude: (0.5, 1.5), ..default }),
        ("cosmic_ray_charge", SimulationOptions { cosmic_ray_charge: (9.0, 3.0), ..default }),
        ("event_margin", SimulationOptions { event_margin: 300.0, ..default }),
        ("bad_columns", SimulationOptions { bad_columns: 300, ..default }),
    ];
    for (name, options) in cases {
        let SimulationError::Parameter { name: named, .. } = simulate(&options).unwrap_err();
        assert_eq!(named, name);
    }
    let error = simulate(&SimulationOptions { target_fwhm: 0.5, ..default }).unwrap_err();
    assert_eq!(error.to_string(), "target_fwhm is 0.5; it must be from 1 to 30 pixels");
}
