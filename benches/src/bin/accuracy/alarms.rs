//! How many detections white noise makes, against the number of peaks that pixels are expected to see.

use dia_core::{Design, Image, Kernel, KernelBasis, Mask};
use dia_photometry::{DetectOptions, ReferencePsf, Scene, ScoreOptions, detect, score};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::Result;

const SIDE: usize = 1024;

pub(crate) const THRESHOLDS: [f64; 4] = [3.5, 4.0, 4.5, 5.0];

pub(crate) fn print(seeds: u64) -> Result<()> {
    println!(
        "| σ of the PSF / px | threshold / σ | found | expected | ratio |\n|---|---|---|---|---|"
    );
    for sigma in [1.0, 1.5, 2.1] {
        let counts = (1..=seeds)
            .into_par_iter()
            .map(|seed| count(sigma, seed))
            .collect::<Result<Vec<_>>>()?;
        for (k, threshold) in THRESHOLDS.iter().enumerate() {
            let found: f64 = counts.iter().map(|count| count[k].0).sum();
            let expected: f64 = counts.iter().map(|count| count[k].1).sum();
            let (ratio, error) = (found / expected, found.sqrt() / expected);
            println!(
                "| {sigma} | {threshold} | {found} | {expected:.1} | {ratio:.3} ± {error:.3} |"
            );
        }
    }
    Ok(())
}

/// Found and expected at each threshold.
fn count(sigma: f64, seed: u64) -> Result<Vec<(f64, f64)>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let difference =
        Image::from_fn(SIDE, SIDE, |_, _| -> f32 { StandardNormal.sample(&mut random) });
    let (ones, zeros) = (Image::filled(SIDE, SIDE, 1.0), Image::filled(SIDE, SIDE, 0.0));
    let design = Design::new(SIDE, SIDE, KernelBasis::delta(0), None)?;
    let psf = ReferencePsf::constant(&Kernel::gaussian((6.0 * sigma) as usize, sigma))?;
    let scene = Scene {
        difference: difference.view(),
        target_variance: ones.view(),
        reference_variance: zeros.view(),
        reference: zeros.view(),
        mask: &Mask::good(SIDE, SIDE),
        design: &design,
        parameters: &[1.0],
        reference_psf: &psf,
        photon: 0.0,
        covariance: None,
    };
    let score = score(&scene, &ScoreOptions::default())?;
    let of_threshold = |threshold: &f64| {
        let options = DetectOptions { threshold: *threshold, ..Default::default() };
        let found = detect(&scene, &score, &options)?.len() as f64;
        Ok((found, score.expected_false_alarms(*threshold)))
    };
    THRESHOLDS.iter().map(of_threshold).collect()
}
