//! Pixels and rows between host and device, through a small buffer that both can reach.

use std::sync::PoisonError;

use dia_core::OperatorError;

use crate::buffer::{DeviceBuffer, HostBuffer, Place};
use crate::commands::Commands;
use crate::context::VulkanContext;
use crate::shaders::REDUCE;

/// Floats that cross at a time.
const STAGING: usize = 1 << 22;

/// Workgroups of the element-wise shaders, each of which takes as many elements as it needs to.
const WORKGROUPS: usize = 2048;

/// Most partial sums of one dot product.
const PARTIAL: usize = 1 << 16;

/// Elements that are gathered at a time.
const GATHERED: usize = 1 << 16;

/// The memory of sums, gathers and downloads.
pub(crate) struct Staging {
    rows: HostBuffer,
    download: HostBuffer,
    partial: DeviceBuffer,
    sum: DeviceBuffer,
    indices: DeviceBuffer,
    gathered: DeviceBuffer,
}

/// The memory of uploads.
pub(crate) struct Upload(HostBuffer);

/// Workgroups of 256 for `len` elements.
pub(crate) fn workgroups(len: usize) -> [u32; 3] {
    [len.div_ceil(256).clamp(1, WORKGROUPS) as u32, 1, 1]
}

impl VulkanContext {
    /// Calls `work` with the staging memory, which no one else uses meanwhile.
    fn with_staging<T>(
        &self,
        work: impl FnOnce(&Staging) -> Result<T, OperatorError>,
    ) -> Result<T, OperatorError> {
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(staging) = &*staging {
            return work(staging);
        }
        let new = Staging {
            rows: HostBuffer::new(Place::Upload, self, GATHERED)?,
            download: HostBuffer::new(Place::Download, self, STAGING)?,
            partial: DeviceBuffer::new(self, 2 * PARTIAL)?,
            sum: DeviceBuffer::new(self, 2)?,
            indices: DeviceBuffer::new(self, GATHERED)?,
            gathered: DeviceBuffer::new(self, GATHERED)?,
        };
        work(staging.insert(new))
    }

    /// Copies `values` to a buffer of that length, while another thread may compute.
    pub(crate) fn upload(&self, values: &[f32], to: &DeviceBuffer) -> Result<(), OperatorError> {
        let mut upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner);
        let Upload(staging) = match &mut *upload {
            Some(upload) => upload,
            None => upload.insert(Upload(HostBuffer::new(Place::Upload, self, STAGING)?)),
        };
        for (i, chunk) in values.chunks(STAGING).enumerate() {
            staging.write(chunk.len(), |floats| floats.copy_from_slice(chunk))?;
            let mut commands = Commands::transfer(self)?;
            commands.copy(&staging.floats, 0, &to.floats, i * STAGING, chunk.len());
            commands.submit()?;
        }
        self.count_in(values.len());
        Ok(())
    }

    /// Copies a buffer to `values`.
    pub(crate) fn download(
        &self,
        from: &DeviceBuffer,
        values: &mut [f32],
    ) -> Result<(), OperatorError> {
        self.with_staging(|staging| {
            self.count_out(values.len());
            for (i, chunk) in values.chunks_mut(STAGING).enumerate() {
                let mut commands = Commands::new(self)?;
                commands.copy(&from.floats, i * STAGING, &staging.download.floats, 0, chunk.len());
                commands.submit()?;
                staging.download.read(chunk.len(), |floats| chunk.copy_from_slice(floats))?;
            }
            Ok(())
        })
    }

    /// Gathers the elements `rows`, a part at a time: `record` is given their number, a buffer of their indices, and one to put them into.
    pub(crate) fn gather(
        &self,
        rows: &[usize],
        values: &mut [f64],
        record: impl Fn(&mut Commands<'_>, usize, &DeviceBuffer, &DeviceBuffer),
    ) -> Result<(), OperatorError> {
        self.with_staging(|staging| {
            let Staging { rows: rows_in, download, indices, gathered, .. } = staging;
            for (rows, values) in rows.chunks(GATHERED).zip(values.chunks_mut(GATHERED)) {
                let len = rows.len();
                rows_in.write(len, |floats| {
                    // Their bits are those of the indices: the shader reads integers.
                    for (float, row) in floats.iter_mut().zip(rows) {
                        *float = f32::from_bits(*row as u32);
                    }
                })?;
                let mut commands = Commands::new(self)?;
                commands.copy(&rows_in.floats, 0, &indices.floats, 0, len);
                record(&mut commands, len, indices, gathered);
                commands.copy(&gathered.floats, 0, &download.floats, 0, len);
                commands.submit()?;
                self.count_in(len);
                self.count_out(len);
                download.read(len, |floats| {
                    for (value, float) in values.iter_mut().zip(floats) {
                        *value = f64::from(*float);
                    }
                })?;
            }
            Ok(())
        })
    }

    /// A sum of what `record` writes to the buffer of partial sums; it says how many these are.
    pub(crate) fn sum(
        &self,
        record: impl FnOnce(&mut Commands<'_>, &DeviceBuffer) -> usize,
    ) -> Result<f64, OperatorError> {
        let reduce = self.pipeline(&REDUCE, &[])?;
        self.with_staging(|staging| {
            let mut commands = Commands::new(self)?;
            let groups = record(&mut commands, &staging.partial);
            assert!(groups <= PARTIAL);
            let buffers = [&staging.partial, &staging.sum];
            commands.dispatch(&reduce, &buffers, &[groups as u32, 1], [1, 1, 1]);
            commands.copy(&staging.sum.floats, 0, &staging.download.floats, 0, 2);
            commands.submit()?;
            self.count_out(2);
            staging.download.read(2, |sum| f64::from(sum[0]) + f64::from(sum[1]))
        })
    }
}
