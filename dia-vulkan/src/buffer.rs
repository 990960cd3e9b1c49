//! Buffers on the device, each with the descriptor set that binds it.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use dia_core::OperatorError;
use vulkano::{
    buffer::{Buffer, BufferCreateInfo, BufferUsage, Subbuffer},
    descriptor_set::{DescriptorSet, WriteDescriptorSet},
    memory::allocator::{AllocationCreateInfo, MemoryTypeFilter},
    sync::Sharing,
};

use crate::context::VulkanContext;

/// A storage buffer of floats.
pub(crate) struct DeviceBuffer {
    pub(crate) floats: Subbuffer<[f32]>,
    pub(crate) set: Arc<DescriptorSet>,
    lost: Arc<AtomicBool>,
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Device,
    /// In the host's memory, where shaders reach it over the bus.
    Host,
    /// In the host's memory, written there.
    Upload,
    /// In the host's memory, read there.
    Download,
}

/// A buffer of `len` floats, one at least.
fn allocate(
    context: &VulkanContext,
    len: usize,
    place: Place,
) -> Result<Subbuffer<[f32]>, OperatorError> {
    let transfers = BufferUsage::TRANSFER_SRC | BufferUsage::TRANSFER_DST;
    let (usage, memory_type_filter) = match place {
        Place::Device => (BufferUsage::STORAGE_BUFFER | transfers, MemoryTypeFilter::PREFER_DEVICE),
        Place::Host => (BufferUsage::STORAGE_BUFFER | transfers, MemoryTypeFilter::PREFER_HOST),
        Place::Upload => {
            (transfers, MemoryTypeFilter::PREFER_HOST | MemoryTypeFilter::HOST_SEQUENTIAL_WRITE)
        }
        Place::Download => {
            (transfers, MemoryTypeFilter::PREFER_HOST | MemoryTypeFilter::HOST_RANDOM_ACCESS)
        }
    };
    let sharing = match &*context.families {
        [] => Sharing::Exclusive,
        families => Sharing::Concurrent(families.iter().copied().collect()),
    };
    let info = BufferCreateInfo { usage, sharing, ..Default::default() };
    let memory = AllocationCreateInfo { memory_type_filter, ..Default::default() };
    let len = len.max(1) as u64;
    Buffer::new_slice(Arc::clone(&context.memory) as _, info, memory, len).map_err(|error| {
        let mebibytes = (4 * len) as f64 / f64::from(1 << 20);
        let name = &context.device().name;
        let text = format!(
            "no {mebibytes:.1} MiB of memory for a buffer on {name}; use smaller images or another device"
        );
        OperatorError::with_source(text, error)
    })
}

/// Memory of the host that only copies reach.
pub(crate) struct HostBuffer {
    pub(crate) floats: Subbuffer<[f32]>,
    lost: Arc<AtomicBool>,
}

impl HostBuffer {
    /// A buffer of `len` floats of any value, to be written or read by the host as `place` says.
    pub(crate) fn new(
        place: Place,
        context: &VulkanContext,
        len: usize,
    ) -> Result<Self, OperatorError> {
        let floats = allocate(context, len, place)?;
        Ok(Self { floats, lost: Arc::clone(&context.lost) })
    }

    /// Writes the first `len` floats, which the device does not use now.
    pub(crate) fn write(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [f32]),
    ) -> Result<(), OperatorError> {
        let part = self.floats.clone().slice(0..len as u64);
        let mut floats = part
            .write()
            .map_err(|e| OperatorError::with_source("cannot write to a Vulkan buffer", e))?;
        fill(&mut floats);
        Ok(())
    }

    /// Reads the first `len` floats, which the device does not use now.
    pub(crate) fn read<T>(
        &self,
        len: usize,
        take: impl FnOnce(&[f32]) -> T,
    ) -> Result<T, OperatorError> {
        let part = self.floats.clone().slice(0..len as u64);
        let floats = part
            .read()
            .map_err(|e| OperatorError::with_source("cannot read from a Vulkan buffer", e))?;
        Ok(take(&floats))
    }
}

impl DeviceBuffer {
    /// A buffer of `len` floats of any value in the device's memory.
    pub(crate) fn new(context: &VulkanContext, len: usize) -> Result<Self, OperatorError> {
        Self::at(Place::Device, context, len)
    }

    /// A buffer of `len` floats of any value.
    pub(crate) fn at(
        place: Place,
        context: &VulkanContext,
        len: usize,
    ) -> Result<Self, OperatorError> {
        let floats = allocate(context, len, place)?;
        let set = DescriptorSet::new(
            Arc::clone(&context.descriptors) as _,
            Arc::clone(&context.set_layout),
            [WriteDescriptorSet::buffer(0, floats.clone())],
            [],
        );
        let set = set.map_err(|error| OperatorError::with_source("no descriptor set", error))?;
        Ok(Self { floats, set, lost: Arc::clone(&context.lost) })
    }

    /// Number of floats.
    pub(crate) fn len(&self) -> usize {
        self.floats.len() as usize
    }
}

// A device that does not answer may still read and write: its buffers stay where they are.

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if self.lost.load(Relaxed) {
            mem::forget((self.floats.clone(), Arc::clone(&self.set)));
        }
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        if self.lost.load(Relaxed) {
            mem::forget(self.floats.clone());
        }
    }
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceBuffer").field("len", &self.len()).finish_non_exhaustive()
    }
}
