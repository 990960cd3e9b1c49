//! What the measurements on a difference are worth: the score off sources, completeness, false alarms and pulls, on fields whose transients are known.

use dia_core::Image;
use dia_core::simulate::{Event, Psf, SimulatedPair, SimulationOptions, simulate};
use dia_fft::FftDesignMatrix;
use dia_photometry::{
    DetectOptions, ForcedOptions, PsfOptions, Scene, ScoreOptions, decorrelate, detect, forced,
    half_complete, lag_correlation, reference_psf, score,
};
use dia_solvers::{Covariance, Exposure, FitOptions, subtract};
use rayon::prelude::*;

use crate::Result;
use crate::alarms::THRESHOLDS;
use crate::field::{Model, exposure, quiet};
use crate::statistics::Sample;

/// FWHM in pixels of reference and target.
const SEEINGS: [(f64, f64); 2] = [(2.4, 2.7), (3.5, 5.0)];

/// σ_r/σ_n of the skies.
const RATIOS: [f64; 3] = [0.2, 1.0, 2.0];

const SIDE: usize = 384;

/// What was found on fields of one kind; pulls are (measured − true)/σ.
#[derive(Default)]
struct Sums {
    /// S/N of a transient, and whether it was found.
    stars: Vec<(f64, bool)>,
    flux: Vec<f64>,
    /// Those below S/N 10.
    faint: Vec<f64>,
    without_fit: Vec<f64>,
    usual: Vec<f64>,
    position: Vec<f64>,
    /// S_corr where nothing is, every third pixel of every third row.
    blank: Vec<f64>,
    /// Largest correlation at lags up to 5, of difference and decorrelated difference.
    lags: Vec<[f64; 2]>,
    /// Found and expected where nothing is.
    alarms: [[f64; 2]; THRESHOLDS.len()],
}

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| seeing / px | σ_r/σ_n | S_corr off sources: mean, deviation | flux pull: mean, deviation | below S/N 10 | without the fit's error | usual error | position pull | \
         50 % complete at | found of S/N 5.5 … 6.5 | false alarms found/expected at 3.5, 4, 4.5, 5 σ | correlation to lag 5, D → decorrelated |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (reference_fwhm, target_fwhm) in SEEINGS {
        for ratio in RATIOS {
            // The reference's sky and scale are those of the target, so that the mean of d exposures has σ_r = σ_n/√d.
            let options = SimulationOptions {
                density: 6.0,
                reference_fwhm,
                target_fwhm,
                psf: Psf::Moffat { beta: 3.0 },
                psf_gradient_x: 0.04,
                psf_gradient_y: -0.02,
                scale: 1.0,
                reference_sky: 400.0,
                reference_depth: ratio.powi(-2),
                transients: 40,
                // S/N of the target's noise alone.
                transient_signal_to_noise: (2.0 * (1.0 + ratio), 30.0 * (1.0 + ratio)),
                ..quiet(SIDE)
            };
            let all = (1..=seeds)
                .into_par_iter()
                .map(|seed| measure(&SimulationOptions { seed, ..options }))
                .collect::<Result<Vec<_>>>()?;
            println!("| {reference_fwhm} → {target_fwhm} | {ratio} | {} |", row(&all));
        }
    }
    Ok(())
}

fn measure(options: &SimulationOptions) -> Result<Sums> {
    let pair = simulate(options)?;
    let narrow = |image: &Image<f64>| image.map(|v| v as f32);
    let (reference, target) = (narrow(&pair.reference), narrow(&pair.target));
    let exposed = |image, mask, noise| -> Exposure<'_, f32> {
        exposure(image, mask, noise, options.saturation)
    };
    let design = Model::default().design(options, None)?;
    let fit = FitOptions {
        covariance: Some(Covariance::Sampled),
        target_fwhm: Some(options.target_fwhm),
        ..Model::default().options
    };
    let fitted = subtract(
        &exposed(&reference, &pair.reference_mask, options.reference_noise()),
        &exposed(&target, &pair.target_mask, options.target_noise()),
        design,
        FftDesignMatrix::new,
        &fit,
        &mut |_| (),
    )?;
    let psf = reference_psf(reference.view(), &pair.reference_mask, &PsfOptions::default())?;
    // As a command has them: by the detector's numbers on the model, and on the reference's own pixels.
    let noise = options.target_noise();
    let target_variance = fitted.model.map(|m| noise.variance(f64::from(m), 1.0) as f32);
    let of_reference = options.reference_noise();
    let reference_variance = reference.map(|r| of_reference.variance(f64::from(r), 1.0) as f32);
    let light = reference.map(|r| r - fitted.reference_sky as f32);
    let matrix = fitted.covariance.as_ref().ok_or("the fit gave no covariance")?;
    let covariance = |a: &[f64], b: &[f64]| {
        (0..b.len()).map(|j| b[j] * (0..a.len()).map(|i| a[i] * matrix[(i, j)]).sum::<f64>()).sum()
    };
    let scene = Scene {
        difference: fitted.difference.view(),
        target_variance: target_variance.view(),
        reference_variance: reference_variance.view(),
        reference: light.view(),
        mask: &fitted.mask,
        design: &fitted.design,
        parameters: &fitted.parameters,
        reference_psf: &psf,
        photon: noise.photon(1.0),
        covariance: Some(&covariance),
    };
    let mut sums = Sums::default();
    let scores = score(&scene, &ScoreOptions::default())?;
    let empty =
        |y: usize, x: usize| scores.coverage.view().at(y, x) > 0.999 && is_empty(&pair, y, x);
    let third = || (0..SIDE).step_by(3);
    let blank = third().flat_map(|y| third().map(move |x| (y, x))).filter(|(y, x)| empty(*y, *x));
    sums.blank = blank.map(|(y, x)| f64::from(scores.significance.view().at(y, x))).collect();
    let scored = scores.significance.pixels().iter().filter(|s| s.is_finite()).count() as f64;
    let part = (0..SIDE * SIDE).filter(|i| empty(i / SIDE, i % SIDE)).count() as f64 / scored;
    let detected =
        |threshold| detect(&scene, &scores, &DetectOptions { threshold, ..Default::default() });
    for ([found, expected], threshold) in sums.alarms.iter_mut().zip(THRESHOLDS) {
        let alarms = detected(threshold)?;
        *found = alarms.iter().filter(|d| empty(d.peak.1, d.peak.0)).count() as f64;
        *expected = part * scores.expected_false_alarms(threshold);
    }
    let white = decorrelate(&scene)?;
    let worst = |image: &Image<f32>| {
        let of =
            |i: usize| lag_correlation(image, &white.variance, (i / 6, i % 6), 5.0, empty).abs();
        (1..36).map(of).fold(0.0, f64::max)
    };
    sums.lags.push([worst(&fitted.difference), worst(&white.difference)]);

    let found = detected(5.0)?;
    let events: Vec<&Event> = pair.truth.events.iter().collect();
    let at: Vec<(f64, f64)> = events.iter().map(|event| (event.x, event.y)).collect();
    let rows = forced(&scene, &at, &ForcedOptions::default())?;
    let bare = forced(&Scene { covariance: None, ..scene }, &at, &ForcedOptions::default())?;
    let refined = forced(&scene, &at, &ForcedOptions { refine: true, ..Default::default() })?;
    for (i, event) in events.iter().enumerate() {
        let (y, x) = (event.y.round() as usize, event.x.round() as usize);
        let sigma = f64::from(scores.flux_error.view().at(y, x));
        if !sigma.is_finite() || rows[i].coverage < 0.999 {
            continue;
        }
        let signal_to_noise = event.flux_change / sigma;
        let near =
            |peak: (usize, usize)| (peak.0 as f64 - event.x).hypot(peak.1 as f64 - event.y) <= 2.0;
        sums.stars.push((signal_to_noise, found.iter().any(|d| near(d.peak))));
        let error = rows[i].flux.value - event.flux_change;
        sums.flux.push(error / rows[i].flux.sigma);
        if signal_to_noise < 10.0 {
            sums.faint.push(error / rows[i].flux.sigma);
        }
        sums.without_fit.push((bare[i].flux.value - event.flux_change) / bare[i].flux.sigma);
        // √(Σ P² V_D)/ΣP², V_D from the plane of the difference, with the photons of the source.
        let p = scene.psf_at(event.y, event.x, (0.0, 0.0)).ok_or("no PSF")?;
        let power: f64 = p.pixels().iter().map(|p| p * p).sum();
        let third: f64 = p.pixels().iter().map(|p| p * p * p).sum();
        let variance = f64::from(fitted.variance.view().at(y, x)) / power
            + scene.photon * event.flux_change * third / power.powi(2);
        sums.usual.push(error / variance.sqrt());
        let covariance = refined[i].position_covariance.filter(|_| signal_to_noise > 10.0);
        if let Some([xx, yy, _]) = covariance {
            sums.position.push((refined[i].x - event.x) / xx.sqrt());
            sums.position.push((refined[i].y - event.y) / yy.sqrt());
        }
    }
    Ok(sums)
}

/// Whether neither image has light at a pixel that is a third of its noise, nor a transient within three widths.
fn is_empty(pair: &SimulatedPair, y: usize, x: usize) -> bool {
    let options = &pair.truth.options;
    let excess = pair.reference_noiseless.view().at(y, x) - options.reference_sky;
    let far =
        |event: &Event| (event.x - x as f64).hypot(event.y - y as f64) > 3.0 * options.target_fwhm;
    excess < 0.3 * pair.target_variance.view().at(y, x).sqrt() && pair.truth.events.iter().all(far)
}

fn row(all: &[Sums]) -> String {
    let pulls = |of: &dyn Fn(&Sums) -> &Vec<f64>| {
        let sample = Sample::of(all.iter().flat_map(|sums| of(sums).iter().copied()));
        format!("{:+.3}, {:.3} ({})", sample.mean, sample.deviation, sample.count)
    };
    let stars: Vec<(f64, bool)> = all.iter().flat_map(|sums| sums.stars.clone()).collect();
    let six = stars.iter().filter(|(s, _)| (5.5..6.5).contains(s));
    let six = Sample::of(six.map(|(_, found)| f64::from(u8::from(*found))));
    let alarms: Vec<String> = (0..THRESHOLDS.len())
        .map(|k| {
            let sum = |which: usize| all.iter().map(|sums| sums.alarms[k][which]).sum::<f64>();
            format!("{:.0}/{:.1}", sum(0), sum(1))
        })
        .collect();
    let lags =
        [0, 1].map(|which| Sample::of(all.iter().flat_map(|s| &s.lags).map(|l| l[which])).mean);
    format!(
        "{} | {} | {} | {} | {} | {} | {:.2} | {:.0} % of {} | {} | {:.3} → {:.3}",
        pulls(&|sums| &sums.blank),
        pulls(&|sums| &sums.flux),
        pulls(&|sums| &sums.faint),
        pulls(&|sums| &sums.without_fit),
        pulls(&|sums| &sums.usual),
        pulls(&|sums| &sums.position),
        half_complete(&stars).unwrap_or(f64::NAN),
        100.0 * six.mean,
        six.count,
        alarms.join(", "),
        lags[0],
        lags[1],
    )
}
