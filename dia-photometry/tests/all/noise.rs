//! Errors are true: what is claimed of noise is what many draws of it show.

use dia_photometry::{
    DetectOptions, ForcedOptions, ScoreOptions, decorrelate, detect, forced, lag_correlation, score,
};

use crate::field::{Field, moments};

/// Positions between pixels, so far apart that weights do not meet.
fn positions(side: usize) -> Vec<(f64, f64)> {
    let steps = || (20..side - 20).step_by(24).map(|v| v as f64);
    let all = steps().flat_map(|y| steps().map(move |x| (x, y)));
    all.enumerate()
        .map(|(i, (x, y))| (x + 0.1 * (i % 7) as f64, y - 0.1 * (i % 5) as f64))
        .collect()
}

#[test]
fn the_score_of_noise_has_unit_variance() {
    for (ratio, draws) in [(0.2, 6), (2.0, 6)] {
        let field = Field::new(160, 160, ratio);
        let mut values = Vec::new();
        for seed in 0..draws {
            let drawn = field.with_noise(seed);
            let score = score(&drawn.scene(), &ScoreOptions::default()).unwrap();
            for y in 20..140 {
                values.extend(
                    score.significance.view().row(y)[20..140].iter().map(|s| f64::from(*s)),
                );
            }
        }
        let (mean, deviation) = moments(&values);
        // The score correlates as e^(−r²/4σ²) or less far, σ = 1.92: the variance of its mean square is 2 · 2πσ²/n, 46/86 400, so that of the deviation is a
        // quarter; that of the mean is 4πσ²/n. Four standard errors.
        assert!(mean.abs() < 4.0 * (46.4_f64 / 86_400.0).sqrt(), "{ratio}: {mean}");
        assert!(
            (deviation - 1.0).abs() < 4.0 * (11.6_f64 / 86_400.0).sqrt(),
            "{ratio}: {deviation}"
        );
    }
}

#[test]
fn flux_errors_are_those_of_many_draws_and_the_usual_ones_are_not() {
    let side = 20 + 24 * 7;
    for ratio in [0.2, 1.0, 2.0] {
        let field = Field::new(side, side, ratio);
        let at = positions(side);
        let (mut pulls, mut apertures, mut usual) = (Vec::new(), Vec::new(), Vec::new());
        let options = ForcedOptions { apertures: vec![4.0], ..Default::default() };
        for seed in 0..30 {
            let drawn = field.with_noise(1000 + seed);
            for row in forced(&drawn.scene(), &at, &options).unwrap() {
                pulls.push(row.flux.value / row.flux.sigma);
                apertures.push(row.apertures[0].value / row.apertures[0].sigma);
                // σ² = V_D/ΣP², V_D = V_n + V_r ΣK², of a Gaussian's ΣP² = 1/(4πσ²): what ignores that neighbours share the reference's noise.
                let slope = 1.0 + 0.5 * row.x / side as f64;
                let squares = 0.64 / (4.0 * std::f64::consts::PI * 2.25);
                let variance = 100.0 * slope * (1.0 + ratio * ratio * squares);
                let area = 4.0 * std::f64::consts::PI * 3.69;
                usual.push(row.flux.value / (variance * area).sqrt());
            }
        }
        let error = 4.0 / (2.0 * pulls.len() as f64).sqrt();
        let (mean, deviation) = moments(&pulls);
        assert!(mean.abs() < 4.0 / (pulls.len() as f64).sqrt(), "{ratio}: {mean}");
        assert!((deviation - 1.0).abs() < error, "{ratio}: {deviation}");
        let (_, deviation) = moments(&apertures);
        assert!((deviation - 1.0).abs() < error, "{ratio}, aperture: {deviation}");
        // Σ w²V_D has less than half of the variance that P² spectra weighted with |K̂|² bring for σ_r = 2 σ_n.
        let (_, deviation) = moments(&usual);
        assert!(ratio < 2.0 || deviation > 1.25, "{ratio}, usual: {deviation}");
    }
}

#[test]
fn positions_scatter_as_their_covariance_says() {
    let side = 20 + 24 * 7;
    let at = positions(side);
    for ratio in [0.2, 2.0] {
        // S/N of about 20: σ_f ≈ √(4πσ² (100 + 64 ratio²)) = 70 to 130.
        let stars: Vec<_> =
            at.iter().map(|(x, y)| (*y, *x, 1800.0 * (1.0 + 0.4 * ratio))).collect();
        let field = Field::new(side, side, ratio).with_stars(&stars);
        let options = ForcedOptions { refine: true, ..Default::default() };
        let (mut x_pulls, mut y_pulls, mut flux_pulls) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 0..12 {
            let drawn = field.with_noise(2000 + seed);
            for (row, star) in forced(&drawn.scene(), &at, &options).unwrap().iter().zip(&stars) {
                let [xx, yy, _] = row.position_covariance.expect("a bright star has a place");
                x_pulls.push((row.x - star.1) / xx.sqrt());
                y_pulls.push((row.y - star.0) / yy.sqrt());
                flux_pulls.push((row.flux.value - star.2) / row.flux.sigma);
            }
        }
        for pulls in [&x_pulls, &y_pulls, &flux_pulls] {
            let (mean, deviation) = moments(pulls);
            let count = pulls.len() as f64;
            // Second order in 1/(S/N): a flux at its best place is too large by σ_f/(S/N), 0.05 of σ; 0.2 % of the deviation.
            assert!(mean.abs() < 4.0 / count.sqrt() + 0.06, "{ratio}: {mean}");
            assert!(
                (deviation - 1.0).abs() < 4.0 / (2.0 * count).sqrt() + 0.01,
                "{ratio}: {deviation}"
            );
        }
    }
}

#[test]
fn the_reference_flux_is_anticorrelated_as_is_said() {
    let side = 20 + 24 * 6;
    let field = Field::new(side, side, 1.0);
    let at = positions(side);
    // R and D of the same noise: draws without the target's noise, whose D is −K ⊗ r.
    let mut quiet = field.clone();
    quiet.target_variance.pixels_mut().fill(0.0);
    let (mut products, mut claimed) = (0.0, 0.0);
    for seed in 0..20 {
        let mut drawn = quiet.with_noise(3000 + seed);
        drawn.target_variance = field.target_variance.clone();
        drawn.reference = field.reference_noise(3000 + seed);
        for row in forced(&drawn.scene(), &at, &ForcedOptions::default()).unwrap() {
            products += row.flux.value * row.reference_flux.value;
            claimed += row.reference_covariance;
        }
    }
    assert!(claimed < 0.0);
    // The mean of 720 products of correlation ρ scatters by √(1 + 1/ρ²)/√720, 6 % at ρ = 0.8.
    assert!((products / claimed - 1.0).abs() < 0.24, "{products} {claimed}");
}

#[test]
fn a_decorrelated_difference_is_white_and_has_the_variance_that_is_said() {
    let field = Field::new(160, 160, 1.0);
    let (mut squares, mut worst_before) = (0.0, 0.0_f64);
    let mut sums = [0.0; 36];
    for seed in 0..6 {
        let drawn = field.with_noise(4000 + seed);
        let white = decorrelate(&drawn.scene()).unwrap();
        let inside = |y: usize, x: usize| (20..140).contains(&y) && (20..140).contains(&x);
        for (lag, sum) in sums.iter_mut().enumerate() {
            let lag = (lag / 6, lag % 6);
            *sum += lag_correlation(&white.difference, &white.variance, lag, 9.0, inside) / 6.0;
        }
        worst_before = worst_before.max(lag_correlation(
            &drawn.difference,
            &white.variance,
            (0, 1),
            9.0,
            inside,
        ));
        for y in 20..140 {
            let z = white.difference.view().row(y)[20..140]
                .iter()
                .zip(&white.variance.view().row(y)[20..140]);
            squares += z.map(|(d, v)| f64::from(d * d / v)).sum::<f64>() / 86_400.0;
        }
    }
    // Of 86 400 independent pixels: four standard errors of the mean square, √(2/n), and of a correlation, √(1/n), at 35 lags.
    assert!((squares - 1.0).abs() < 4.0 * (2.0_f64 / 86_400.0).sqrt(), "{squares}");
    let worst = sums[1..].iter().fold(0.0, |worst: f64, sum| worst.max(sum.abs()));
    assert!(worst < 4.0 / 86_400.0_f64.sqrt() + 0.004, "{worst}");
    assert!(worst_before > 0.04, "{worst_before}");
}

#[test]
fn noise_makes_as_many_false_alarms_as_are_expected() {
    let field = Field::new(192, 192, 1.0);
    let (mut found, mut expected) = (0, 0.0);
    for seed in 0..12 {
        let drawn = field.with_noise(5000 + seed);
        let score = score(&drawn.scene(), &ScoreOptions::default()).unwrap();
        let options = DetectOptions { threshold: 3.5, ..Default::default() };
        found += detect(&drawn.scene(), &score, &options).unwrap().len();
        expected += score.expected_false_alarms(3.5);
    }
    // Poisson noise: four standard errors; and a tenth for the edges and the sampling.
    assert!(
        (f64::from(u32::try_from(found).unwrap()) - expected).abs()
            < 4.0 * expected.sqrt() + 0.1 * expected,
        "{found} {expected}"
    );
}
