//! Data vectors on the device.

use std::fmt;
use std::sync::Arc;

use dia_core::{DataVector, Loss, Noise, OperatorError, Photon, PixelWeight, Reweight};
use vulkano::pipeline::ComputePipeline;

use crate::bands::Bands;
use crate::buffer::DeviceBuffer;
use crate::commands::Commands;
use crate::context::VulkanContext;
use crate::shaders::{AXPBY, DOT, MOST_BUFFERS, MULTIPLY, REWEIGHT, SCALE, SQUARE_ROOT};
use crate::transfer::workgroups;

/// Workgroups of a dot product, for each band.
const DOT_GROUPS: usize = 512;

/// The most push constants of the element-wise shaders.
const MOST_WORDS: usize = 5;

/// A data vector in the memory of a device, one buffer for each band of rows. Made by
/// [`VulkanDesignMatrix`](crate::VulkanDesignMatrix).
pub struct DeviceVector {
    pub(crate) context: Arc<VulkanContext>,
    pub(crate) bands: Vec<DeviceBuffer>,
}

impl DeviceVector {
    /// A vector of any values.
    pub(crate) fn new(context: &Arc<VulkanContext>, bands: &Bands) -> Result<Self, OperatorError> {
        let buffers = bands
            .elements()
            .zip(bands.places())
            .map(|(range, place)| DeviceBuffer::at(place, context, range.len()));
        Ok(Self { context: Arc::clone(context), bands: buffers.collect::<Result<_, _>>()? })
    }

    /// Shaders trust the lengths of buffers: this must be a vector on that device, with bands of those lengths.
    pub(crate) fn check(&self, context: &Arc<VulkanContext>, lengths: impl Iterator<Item = usize>) {
        assert!(Arc::ptr_eq(&self.context, context), "a vector of another device");
        assert!(self.lengths().eq(lengths), "a vector of other bands");
    }

    /// Of each band.
    fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.bands.iter().map(DeviceBuffer::len)
    }

    /// Runs an element-wise shader on each band of self and of what is read.
    fn each_band(
        &self,
        shader: &ComputePipeline,
        read: &[&Self],
        constants: &[u32],
    ) -> Result<(), OperatorError> {
        let mut commands = Commands::new(&self.context)?;
        self.record(&mut commands, shader, read, constants);
        commands.submit()
    }

    fn record(
        &self,
        commands: &mut Commands<'_>,
        shader: &ComputePipeline,
        read: &[&Self],
        constants: &[u32],
    ) {
        for other in read {
            other.check(&self.context, self.lengths());
        }
        let (count, words) = (read.len() + 1, constants.len() + 1);
        for (i, own) in self.bands.iter().enumerate() {
            let band = |k| read.get(k).map_or(own, |other: &&Self| &other.bands[i]);
            let buffers: [&DeviceBuffer; MOST_BUFFERS] = std::array::from_fn(band);
            let word = |k: usize| if k == 0 { own.len() as u32 } else { constants[k - 1] };
            let all: [u32; MOST_WORDS] =
                std::array::from_fn(|k| if k < words { word(k) } else { 0 });
            commands.dispatch(shader, &buffers[..count], &all[..words], workgroups(own.len()));
        }
    }

    /// self ← x self.
    pub(crate) fn record_multiply(
        &self,
        commands: &mut Commands<'_>,
        x: &Self,
    ) -> Result<(), OperatorError> {
        let shader = self.context.pipeline(&MULTIPLY, &[])?;
        self.record(commands, &shader, &[x], &[]);
        Ok(())
    }

    /// From M in `model` to weights, or with `residuals` to w (I − M); self is I.
    pub(crate) fn record_reweight(
        &self,
        commands: &mut Commands<'_>,
        noise: &Noise<Self>,
        loss: Loss,
        kind: PixelWeight,
        residuals: bool,
        model: &Self,
    ) -> Result<(), OperatorError> {
        let (loss, c) = match loss {
            Loss::Gaussian => (0, 0.0),
            Loss::Huber { c } => (1, c),
            Loss::Tukey { c } => (2, c),
            Loss::Cauchy { c } => (3, c),
            Loss::StudentT { nu } => (4, nu),
        };
        let kind = match kind {
            PixelWeight::Robust => 0,
            PixelWeight::Curvature => 1,
            PixelWeight::Score => 2,
        };
        let shader = self.context.pipeline(&REWEIGHT, &[loss, kind, u32::from(residuals)])?;
        let (photon, photons) = match &noise.photon {
            Photon::Uniform(photon) => (*photon, None),
            Photon::PerPixel(photons) => (0.0, Some(photons)),
        };
        // Every binding needs a buffer, read or not.
        let absent = &noise.fixed;
        let read = [
            self,
            &noise.fixed,
            photons.unwrap_or(absent),
            noise.reference.as_ref().unwrap_or(absent),
        ];
        let constants = [
            (c as f32).to_bits(),
            (photon as f32).to_bits(),
            u32::from(photons.is_some()),
            u32::from(noise.reference.is_some()),
        ];
        model.record(commands, &shader, &read, &constants);
        Ok(())
    }
}

impl DataVector for DeviceVector {
    fn len(&self) -> usize {
        self.lengths().sum()
    }

    /// Products in `f32`, their sum in twice that precision.
    fn dot(&self, other: &Self) -> Result<f64, OperatorError> {
        other.check(&self.context, self.lengths());
        let shader = self.context.pipeline(&DOT, &[])?;
        self.context.sum(|commands, partial| {
            let mut first = 0;
            for (a, b) in self.bands.iter().zip(&other.bands) {
                let groups = a.len().div_ceil(256).min(DOT_GROUPS);
                let words = [a.len() as u32, first as u32];
                commands.dispatch(&shader, &[a, b, partial], &words, [groups as u32, 1, 1]);
                first += groups;
            }
            first
        })
    }

    fn axpby(&mut self, a: f64, x: &Self, b: f64) -> Result<(), OperatorError> {
        let shader = self.context.pipeline(&AXPBY, &[])?;
        self.each_band(&shader, &[x], &[(a as f32).to_bits(), (b as f32).to_bits()])
    }

    fn scale(&mut self, a: f64) -> Result<(), OperatorError> {
        let shader = self.context.pipeline(&SCALE, &[])?;
        self.each_band(&shader, &[], &[(a as f32).to_bits()])
    }

    fn multiply(&mut self, other: &Self) -> Result<(), OperatorError> {
        let shader = self.context.pipeline(&MULTIPLY, &[])?;
        self.each_band(&shader, &[other], &[])
    }

    fn square_root_of(&mut self, other: &Self) -> Result<(), OperatorError> {
        let shader = self.context.pipeline(&SQUARE_ROOT, &[])?;
        self.each_band(&shader, &[other], &[])
    }
}

impl Reweight for DeviceVector {
    fn reweight(
        &self,
        noise: &Noise<Self>,
        loss: Loss,
        kind: PixelWeight,
        weights: &mut Self,
    ) -> Result<(), OperatorError> {
        let mut commands = Commands::new(&self.context)?;
        self.record_reweight(&mut commands, noise, loss, kind, false, weights)?;
        commands.submit()
    }
}

impl fmt::Debug for DeviceVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceVector")
            .field("len", &self.len())
            .field("bands", &self.bands.len())
            .finish_non_exhaustive()
    }
}
