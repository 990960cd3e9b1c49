//! Completeness, false alarms and pulls on simulated fields, against what the errors claim: `certify_simulations [SEEDS [SIDE]]`.
//!
//! Each field is subtracted by a varying kernel and measured with the PSF that is found in the reference; stars are injected into the target, which is fitted
//! again.

use dia_core::simulate::{Psf, SimulatedPair, SimulationOptions, simulate};
use dia_core::{Design, Image, ImageView, KernelBasis, NoiseModel};
use dia_fft::FftDesignMatrix;
use dia_photometry::inject::{add, draw};
use dia_photometry::{
    DetectOptions, ForcedOptions, InjectOptions, PsfOptions, Pull, Scene, ScoreOptions, compare,
    decorrelate, detect, forced, half_complete, lag_correlation, reference_psf, score,
};
use dia_solvers::{Difference, Exposure, FitOptions, SubtractError, subtract};

type Failure = Box<dyn std::error::Error>;

/// One kind of field.
struct Field {
    depth: f64,
    fwhm: (f64, f64),
    half_width: usize,
}

/// What was measured on the fields of one kind.
#[derive(Default)]
struct Sums {
    stars: Vec<(f64, bool)>,
    fluxes: Vec<f64>,
    usual: Vec<f64>,
    without_fit: Vec<f64>,
    positions: Vec<f64>,
    blank: Vec<f64>,
    lags: Vec<f64>,
    raw_lags: Vec<f64>,
    alarms: [f64; 4],
    expected: [f64; 4],
}

const THRESHOLDS: [f64; 4] = [3.5, 4.0, 4.5, 5.0];

const SKY: f64 = 400.0;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let seeds = arguments.next().transpose()?.unwrap_or(20) as u64;
    let side = arguments.next().transpose()?.unwrap_or(512);
    println!(
        "| seeing | σ_r/σ_n | S_corr off sources | covariance D → DECORR | flux pull | without the fit's term | usual error | \
         position pull | 50 % at, 6 to 8 σ found | false alarms found/expected |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for (fwhm, half_width) in [((2.4, 2.7), 6), ((3.5, 5.0), 8)] {
        // The mean of d exposures has σ_r = σ_n/√d where the skies are the same.
        for depth in [25.0, 1.0, 0.25] {
            let field = Field { depth, fwhm, half_width };
            let mut sums = Sums::default();
            for seed in 1..=seeds {
                measure(&field, side, seed, &mut sums)?;
            }
            report(&field, &sums);
        }
    }
    Ok(())
}

fn options(field: &Field, side: usize, seed: u64) -> SimulationOptions {
    SimulationOptions {
        height: side,
        width: side,
        seed,
        density: 4.0,
        psf: Psf::Moffat { beta: 4.0 },
        reference_fwhm: field.fwhm.0,
        target_fwhm: field.fwhm.1,
        psf_gradient_x: 0.04,
        psf_gradient_y: -0.02,
        scale: 1.0,
        reference_sky: SKY,
        reference_depth: field.depth,
        variables: 0,
        transients: 0,
        cosmic_rays: 0,
        bad_columns: 0,
        ..Default::default()
    }
}

fn subtracted(
    pair: &SimulatedPair,
    reference: &Image<f32>,
    target: &Image<f32>,
    design: &Design,
) -> Result<Difference<f32>, SubtractError> {
    let options = &pair.truth.options;
    let exposure = |image, mask, noise| Exposure {
        image,
        mask: Some(mask),
        noise: NoiseModel::Ccd(noise, None),
        saturation: options.saturation,
    };
    subtract(
        &exposure(reference.view(), &pair.reference_mask, options.reference_noise()),
        &exposure(target.view(), &pair.target_mask, options.target_noise()),
        design.clone(),
        |image: ImageView<'_, f32>, design: Design| FftDesignMatrix::new(image, design),
        &FitOptions { covariance: true, ..Default::default() },
        &mut |_| (),
    )
}

fn measure(field: &Field, side: usize, seed: u64, sums: &mut Sums) -> Result<(), Failure> {
    let pair = simulate(&options(field, side, seed))?;
    let (reference, target) = (pair.reference.map(|v| v as f32), pair.target.map(|v| v as f32));
    let design = Design::new(side, side, KernelBasis::delta(field.half_width), Some(1))?
        .with_variation(1, 1)?;
    let psf = reference_psf(reference.view(), &pair.reference_mask, &PsfOptions::default())?;
    let fitted = subtracted(&pair, &reference, &target, &design)?;
    let (target_variance, reference_variance) =
        (pair.target_variance.map(|v| v as f32), pair.reference_variance.map(|v| v as f32));
    let light = reference.map(|v| v - fitted.reference_sky as f32);
    let matrix = fitted.covariance.clone().ok_or("the fit gave no covariance")?;
    let covariance = |a: &[f64], b: &[f64]| {
        let of_row =
            |(i, a): (usize, &f64)| a * (0..b.len()).map(|j| matrix[(i, j)] * b[j]).sum::<f64>();
        a.iter().enumerate().map(of_row).sum::<f64>()
    };
    let scene = Scene {
        difference: fitted.difference.view(),
        target_variance: target_variance.view(),
        reference_variance: reference_variance.view(),
        reference: light.view(),
        mask: &fitted.mask,
        design: &design,
        parameters: &fitted.parameters,
        reference_psf: psf.mean(),
        covariance: Some(&covariance),
    };
    let scores = score(&scene, &ScoreOptions::default())?;
    // Off sources: where the reference's light is below 0.3 of its σ.
    let quiet = |y: usize, x: usize| {
        let excess = pair.reference_noiseless.view().at(y, x) - SKY;
        excess < 0.3 * pair.reference_variance.view().at(y, x).sqrt()
            && scores.coverage.view().at(y, x) > 0.999
    };
    let every_third = |n: usize| (0..n).step_by(3);
    for (y, x) in every_third(side).flat_map(|y| every_third(side).map(move |x| (y, x))) {
        if quiet(y, x) {
            sums.blank.push(f64::from(scores.significance.view().at(y, x)));
        }
    }
    let scored = scores.significance.pixels().iter().filter(|s| s.is_finite()).count() as f64;
    let part = (0..side * side).filter(|i| quiet(i / side, i % side)).count() as f64 / scored;
    for (i, threshold) in THRESHOLDS.into_iter().enumerate() {
        let found = detect(&scene, &scores, &DetectOptions { threshold, ..Default::default() })?;
        sums.alarms[i] += found.iter().filter(|d| quiet(d.peak.1, d.peak.0)).count() as f64;
        sums.expected[i] += part * scores.expected_false_alarms(threshold);
    }
    let white = decorrelate(&scene)?;
    // Of all lags up to 5, the largest.
    let worst = |image: &Image<f32>, variance: &Image<f32>| {
        let of = |i: usize| lag_correlation(image, variance, (i / 6, i % 6), 5.0, quiet).abs();
        (1..36).map(of).fold(0.0, f64::max)
    };
    sums.lags.push(worst(&white.difference, &white.variance));
    sums.raw_lags.push(worst(&fitted.difference, &fitted.variance));

    let inject =
        InjectOptions { count: 100, seed: 1000 + seed, separation: 24.0, ..Default::default() };
    let stars = draw(&scene, &scores, &inject)?;
    let mut with_stars = target.clone();
    add(&scene, &mut with_stars, &stars);
    let again = subtracted(&pair, &reference, &with_stars, &design)?;
    let after = Scene {
        difference: again.difference.view(),
        mask: &again.mask,
        parameters: &again.parameters,
        ..scene
    };
    let detections =
        detect(&after, &score(&after, &ScoreOptions::default())?, &DetectOptions::default())?;
    let certificate = compare(&after, stars.clone(), &detections)?;
    let at: Vec<(f64, f64)> = stars.iter().map(|star| (star.x, star.y)).collect();
    let rows = forced(&after, &at, &ForcedOptions::default())?;
    let bare = forced(&Scene { covariance: None, ..after }, &at, &ForcedOptions::default())?;
    let refined = forced(&after, &at, &ForcedOptions { refine: true, ..Default::default() })?;
    for (i, star) in stars.iter().enumerate() {
        let error = rows[i].flux.value - star.flux;
        sums.stars.push((star.signal_to_noise, certificate.found[i]));
        sums.fluxes.push(error / rows[i].flux.sigma);
        sums.without_fit.push((bare[i].flux.value - star.flux) / bare[i].flux.sigma);
        // √(Σ ψ² V_D)/Σ ψ² of even noise, the error that ignores covariances.
        let (y, x) = (star.y.round() as usize, star.x.round() as usize);
        let p = scene.psf(&scene.kernel_at(star.y, star.x), 0.0, 0.0);
        let power: f64 = p.pixels().iter().map(|p| p * p).sum();
        sums.usual.push(error / (f64::from(again.variance.view().at(y, x)) / power).sqrt());
        if let Some([xx, yy, _]) =
            refined[i].position_covariance.filter(|_| star.signal_to_noise > 10.0)
        {
            sums.positions.push((refined[i].x - star.x) / xx.sqrt());
            sums.positions.push((refined[i].y - star.y) / yy.sqrt());
        }
    }
    Ok(())
}

fn report(field: &Field, sums: &Sums) {
    let text = |pulls: &[f64]| {
        let pull = Pull::of(pulls.iter().copied());
        format!("{:+.3}, {:.3} ({})", pull.mean, pull.deviation, pull.count)
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let alarms: Vec<String> = THRESHOLDS
        .iter()
        .enumerate()
        .map(|(i, t)| format!("{t}: {}/{:.1}", sums.alarms[i], sums.expected[i]))
        .collect();
    let bright: Vec<_> = sums.stars.iter().filter(|(s, _)| (6.0..8.0).contains(s)).collect();
    let found = bright.iter().filter(|(_, found)| *found).count() as f64 / bright.len() as f64;
    println!(
        "| {} → {} | {:.1} | {} | {:.3} → {:.3} | {} | {} | {} | {} | {:.3}, {:.0} % | {} |",
        field.fwhm.0,
        field.fwhm.1,
        field.depth.sqrt().recip(),
        text(&sums.blank),
        mean(&sums.raw_lags),
        mean(&sums.lags),
        text(&sums.fluxes),
        text(&sums.without_fit),
        text(&sums.usual),
        text(&sums.positions),
        half_complete(&sums.stars).unwrap_or(f64::NAN),
        100.0 * found,
        alarms.join(", ")
    );
}
