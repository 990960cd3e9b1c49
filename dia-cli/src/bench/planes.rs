//! The simulated pair as files of bare numbers, so that the process of a case holds nothing but what it fits.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dia_core::simulate::{SimulationOptions, simulate};
use dia_core::{Design, Image, KernelBasis, Mask, NoiseModel, Pixel};
use dia_solvers::{Exposure, Prepared};

/// Reference and target in ADU, NaN where masked, and the target's true variance in ADU².
#[derive(Clone, Debug)]
pub(crate) struct Planes<T> {
    reference: Image<T>,
    target: Image<T>,
    variance: Image<T>,
}

const NAMES: [&str; 3] = ["reference", "target", "variance"];

/// Simulates a square pair into `folder`: 30 stars per 100² px, seeing 3.5 → 5.0 px, a reference 20 times deeper.
pub(crate) fn simulate_into(folder: &Path, side: usize, seed: u64) -> Result<()> {
    let mut options =
        SimulationOptions { height: side, width: side, seed, ..SimulationOptions::default() };
    // The default margin is wider than the smallest images.
    options.event_margin = options.event_margin.min(side as f64 / 3.0);
    let pair = simulate(&options)?;
    let masked = |image: &Image<f64>, mask: &Mask| -> Vec<f64> {
        let pixels = image.pixels().iter().zip(mask.planes());
        pixels.map(|(v, planes)| if planes.is_empty() { *v } else { f64::NAN }).collect()
    };
    let planes = [
        masked(&pair.reference, &pair.reference_mask),
        masked(&pair.target, &pair.target_mask),
        pair.target_variance.into_vec(),
    ];
    for (name, plane) in NAMES.iter().zip(planes) {
        let bytes: Vec<u8> = plane.iter().flat_map(|v| v.to_le_bytes()).collect();
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| {
            format!("cannot write {}; free some space or set TMPDIR", path.display())
        })?;
    }
    Ok(())
}

impl<T: Pixel> Planes<T> {
    /// Reads what [`simulate_into`] wrote.
    pub(crate) fn read(folder: &Path, side: usize) -> Result<Self> {
        let read = |name: &str| -> Result<Image<T>> {
            let path = folder.join(name);
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (values, rest) = bytes.as_chunks::<8>();
            ensure!(
                rest.is_empty() && values.len() == side * side,
                "{} does not hold {side} × {side} numbers",
                path.display()
            );
            let values = values.iter().map(|v| T::narrow(f64::from_le_bytes(*v))).collect();
            Ok(Image::from_vec(side, side, values)?)
        };
        let [reference, target, variance] = NAMES.map(read);
        Ok(Self { reference: reference?, target: target?, variance: variance? })
    }

    /// The pair for a square delta kernel and a background of degree 1; the reference counts as free of noise.
    pub(crate) fn prepare(&self, half_width: usize, degree: usize) -> Result<Prepared<'_, T>> {
        let (height, width) = self.target.view().shape();
        let design = Design::new(height, width, KernelBasis::delta(half_width), Some(1))?
            .with_variation(degree, degree)?;
        let exposure = |image, noise| Exposure { image, mask: None, noise, saturation: None };
        let variance = || NoiseModel::Variance(self.variance.view());
        Ok(Prepared::new(
            &exposure(self.reference.view(), variance()),
            &exposure(self.target.view(), variance()),
            design,
            false,
        )?)
    }
}
