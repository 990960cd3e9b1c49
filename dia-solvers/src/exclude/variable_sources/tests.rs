use dia_core::Pixel;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{LEAST_FLOOR, VariableSourceOptions, VariableSources, variable_sources};

const SIDE: usize = 200;
const FWHM: f64 = 5.0;
const SKY: f64 = 400.0;

/// A field of 200² pixels with 81 stars of 5000 to 500 000 ADU, 20 pixels apart, on a sky of 400 ADU at a gain of 1.
struct Stars {
    rng: Xoshiro256PlusPlus,
    places: Vec<(f64, f64, f64)>,
    flux: Vec<f64>,
    residual: Vec<f64>,
    variance: Vec<f64>,
}

/// Moffat's profile with β = 3 and the sum 1.
fn psf(r2: f64, fwhm: f64) -> f64 {
    let alpha2 = fwhm * fwhm / (4.0 * (2.0_f64.powf(1.0 / 3.0) - 1.0));
    2.0 / (std::f64::consts::PI * alpha2) * (1.0 + r2 / alpha2).powi(-3)
}

fn add_star(plane: &mut [f64], (y, x): (f64, f64), flux: f64, fwhm: f64) {
    for (i, value) in plane.iter_mut().enumerate() {
        let (dy, dx) = ((i / SIDE) as f64 - y, (i % SIDE) as f64 - x);
        *value += flux * psf(dx * dx + dy * dy, fwhm);
    }
}

impl Stars {
    /// Noise as it is expected, and nothing else in the residual.
    fn new() -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut flux = vec![0.0; SIDE * SIDE];
        let mut places = Vec::new();
        for i in 0..81 {
            let mut place = |k: usize| (20 * k + 20) as f64 + rng.random_range(-3.0..3.0);
            let (y, x) = (place(i / 9), place(i % 9));
            let star = 5e3 * 100.0_f64.powf(rng.random_range(0.0..1.0));
            places.push((y, x, star));
            add_star(&mut flux, (y, x), star, FWHM);
        }
        let variance: Vec<f64> = flux.iter().map(|f| SKY + f).collect();
        // The sum of 12 uniform deviates has the variance 1.
        let mut normal = || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
        let residual = variance.iter().map(|v: &f64| v.sqrt() * normal()).collect();
        Self { rng, places, flux, residual, variance }
    }

    /// A photometric scale that is 10 % off, and for every star a width that is matched to a standard deviation of 1 %.
    fn badly_fitted() -> Self {
        let mut field = Self::new();
        field.residual.iter_mut().zip(&field.flux).for_each(|(r, f)| *r += 0.1 * f);
        for (y, x, star) in field.places.clone() {
            let wider = FWHM * (1.0 + 0.01 * 3.0_f64.sqrt() * field.rng.random_range(-1.0..1.0));
            add_star(&mut field.residual, (y, x), star, wider);
            add_star(&mut field.residual, (y, x), -star, FWHM);
        }
        field
    }

    fn change(&mut self, star: usize, relative: f64) -> (f64, f64) {
        let (y, x, flux) = self.places[star];
        add_star(&mut self.residual, (y, x), relative * flux, FWHM);
        (y, x)
    }

    fn found(&self, options: &VariableSourceOptions) -> VariableSources {
        variable_sources(&self.residual, &self.variance, &self.flux, SIDE, FWHM, options)
    }

    fn brightest(&self) -> usize {
        (0..81).max_by(|&a, &b| self.places[a].2.total_cmp(&self.places[b].2)).unwrap()
    }
}

#[test]
fn nothing_is_found_where_nothing_changed() {
    let mut noisy = Stars::new();
    noisy.residual.iter_mut().for_each(|r| *r *= 2.0);
    for (field, excess) in [(Stars::new(), 1.0), (Stars::badly_fitted(), 1.0), (noisy, 2.0)] {
        let found = field.found(&VariableSourceOptions::default());
        assert_eq!((found.sources.len(), found.left_out, found.fraction), (0, 0, 0.0));
        assert!(found.masked.iter().all(|masked| !masked));
        // 40 000 pixels in apertures of 57 pixels are 700 independent ones; half of them give the scatter to 1.17/√350 = 6 %.
        assert!((found.noise_excess / excess - 1.0).abs() < 0.2, "{}", found.noise_excess);
    }
}

#[test]
fn a_variable_stands_out_of_constant_stars_that_are_all_off() {
    let mut field = Stars::badly_fitted();
    let star = field.brightest();
    let (y, x) = field.change(star, -0.4);
    let found = field.found(&VariableSourceOptions::default());
    assert_eq!(found.sources.len(), 1, "{found:?}");
    let source = found.sources[0];
    assert!((source.x as f64 - x).hypot(source.y as f64 - y) < 1.0);
    // Neither sees the common change: the aperture weighs D and F alike, whose ratio for this star is its change −0.4, and the width mismatch,
    // whose relative effect is below that of a flux conserving change by √3 %: 1 − (1 + 0.017)^−2 = 0.034.
    assert!((source.change / source.flux + 0.4).abs() < 0.034 + 0.01, "{source:?}");
    // The median of 81 changes with a scatter below 0.02 is known to 1.25 · 0.02/9 = 0.003.
    assert!((found.common_change - 0.1).abs() < 0.01, "{}", found.common_change);
    assert!((LEAST_FLOOR..0.034).contains(&found.error_floor), "{}", found.error_floor);
    // All that is outside of the footprint is below a tenth of the sky's noise.
    let outside = 0.4 * field.places[star].2 * psf(source.radius.powi(2), FWHM);
    assert!(outside < 0.12 * SKY.sqrt(), "{outside}");
}

#[test]
fn transients_are_found_and_stars_that_fade() {
    let mut field = Stars::new();
    // An aperture of σ_g = 2.1 pixels has a noise of 2√π σ_g √400 = 150 ADU: the transient has 20 σ.
    add_star(&mut field.residual, (30.0, 70.0), 3e3, FWHM);
    // The first one falls on a bad pixel.
    field.variance[30 * SIDE + 70] = f64::NAN;
    let star = (0..81).find(|&i| (9e3..3e4).contains(&field.places[i].2)).unwrap();
    let (y, x) = field.change(star, -1.0);
    let found = field.found(&VariableSourceOptions::default());
    assert_eq!(found.sources.len(), 2, "{:?}", found.sources);
    assert!(found.sources.iter().all(|s| found.masked[s.y * SIDE + s.x]));
    assert!(found.masked[30 * SIDE + 71] && found.masked[y as usize * SIDE + x as usize]);
}

#[test]
fn cosmic_rays_and_masked_stars_are_no_sources() {
    let mut field = Stars::badly_fitted();
    field.residual[90 * SIDE + 90] += 2e3;
    let star = field.brightest();
    let (y, x) = field.change(star, 1.0);
    for (i, variance) in field.variance.iter_mut().enumerate() {
        let (dy, dx) = ((i / SIDE) as f64 - y, (i % SIDE) as f64 - x);
        // A disc in which the profile falls to 10 % of σ.
        if dx.hypot(dy) < 20.0 {
            *variance = f64::INFINITY;
            field.residual[i] = f64::NAN;
        }
    }
    let found = field.found(&VariableSourceOptions::default());
    assert!(found.sources.is_empty(), "{:?}", found.sources);
}

#[test]
fn the_most_significant_come_first_and_the_cap_holds() {
    let mut field = Stars::new();
    for star in 0..20 {
        field.change(4 * star, 0.5);
    }
    let all = field.found(&VariableSourceOptions { max_fraction: 1.0, ..Default::default() });
    assert_eq!((all.sources.len(), all.left_out), (20, 0));
    let options = VariableSourceOptions { max_fraction: 0.05, ..Default::default() };
    let some = field.found(&options);
    let kept = some.sources.len();
    assert!((1..20).contains(&kept), "{kept}");
    assert_eq!((&some.sources[..], some.left_out), (&all.sources[..kept], 20 - kept));
    let masked = some.masked.iter().filter(|masked| **masked).count();
    assert_eq!(some.fraction, masked as f64 / (SIDE * SIDE) as f64);
    assert!(some.fraction <= 0.05);
}

#[test]
fn everything_masked_is_no_error() {
    let nothing = [f32::NAN; 12];
    let found =
        variable_sources(&nothing, &nothing, &nothing, 4, 3.0, &VariableSourceOptions::default());
    assert!(found.sources.is_empty() && found.fraction == 0.0);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let mut field = Stars::badly_fitted();
    field.change(3, 0.7);
    let narrow = |plane: &[f64]| plane.iter().map(|&v| f32::narrow(v)).collect::<Vec<_>>();
    let planes = [&field.residual, &field.variance, &field.flux].map(|plane| narrow(plane));
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let [residual, variance, flux] = &planes;
        let options = VariableSourceOptions::default();
        pool.install(|| variable_sources(residual, variance, flux, SIDE, FWHM, &options))
    };
    assert_eq!(on(1), on(3));
    assert_eq!(on(1).sources.len(), 1);
}
