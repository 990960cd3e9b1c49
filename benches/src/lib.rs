//! The field that all benchmarks work on, and the readers that damaged files are put to.

pub mod readers;
mod yardstick;

use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{Design, KernelBasis, NoiseModel};
use dia_solvers::{Exposure, Prepared, PreparedReference};

pub use yardstick::Yardstick;

/// A simulated pair in single precision: 30 stars per 100² px, seeing 3.5 → 5.0 px, a reference 20 times deeper.
#[derive(Debug)]
pub struct Field {
    pair: SimulatedPair,
    reference: dia_core::Image<f32>,
    target: dia_core::Image<f32>,
}

impl Field {
    /// A square field of `side` pixels.
    pub fn simulate(side: usize) -> Self {
        let options = SimulationOptions { height: side, width: side, ..Default::default() };
        let pair = simulate(&options).expect("the default options are valid");
        let (reference, target) = (pair.reference.map(|v| v as f32), pair.target.map(|v| v as f32));
        Self { pair, reference, target }
    }

    /// The pair, prepared for a square delta kernel and a background of degree 1.
    pub fn prepare(&self, half_width: usize, reference_noise: bool) -> Prepared<'_, f32> {
        self.prepare_varying(half_width, 0, reference_noise)
    }

    /// As [`prepare`](Self::prepare), for a kernel and a scale that vary with `degree` over the field.
    pub fn prepare_varying(
        &self,
        half_width: usize,
        degree: usize,
        reference_noise: bool,
    ) -> Prepared<'_, f32> {
        self.prepare_reference(half_width, degree, reference_noise)
            .with_target(&self.target())
            .expect("the field is usable")
    }

    /// The reference, prepared for such a kernel.
    pub fn prepare_reference(
        &self,
        half_width: usize,
        degree: usize,
        noise: bool,
    ) -> PreparedReference<f32> {
        let options = &self.pair.truth.options;
        let (height, width) = self.target.view().shape();
        let design = Design::new(height, width, KernelBasis::delta(half_width), Some(1))
            .and_then(|design| design.with_variation(degree, degree))
            .expect("the kernel fits into the field");
        let reference = Exposure {
            image: self.reference.view(),
            mask: Some(&self.pair.reference_mask),
            noise: NoiseModel::Ccd(options.reference_noise(), None),
            saturation: options.saturation,
        };
        PreparedReference::new(&reference, design, noise).expect("the field is usable")
    }

    /// The target.
    pub fn target(&self) -> Exposure<'_, f32> {
        let options = &self.pair.truth.options;
        Exposure {
            image: self.target.view(),
            mask: Some(&self.pair.target_mask),
            noise: NoiseModel::Ccd(options.target_noise(), None),
            saturation: options.saturation,
        }
    }

    /// The target at the valid pixels in the unit of the prepared pair, 0 where masked.
    pub fn data(&self, prepared: &Prepared<'_, f32>) -> Vec<f32> {
        let valid = prepared.design().valid();
        let pixel =
            |i: usize| self.target.view().at(valid.y + i / valid.width, valid.x + i % valid.width);
        let unit = prepared.units().target as f32;
        let used = |i: usize| if prepared.is_used(i) { pixel(i) / unit } else { 0.0 };
        (0..prepared.design().nrows()).map(used).collect()
    }

    /// The weights of the noise model on the data.
    pub fn weights(prepared: &Prepared<'_, f32>) -> Vec<f32> {
        (0..prepared.design().nrows()).map(|i| prepared.initial_weight(i) as f32).collect()
    }
}
