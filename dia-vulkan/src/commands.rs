//! One command buffer: recorded, submitted and waited for.
//!
//! Each lane records into the same command buffer again and again: a product in a loop allocates nothing. vulkano's own
//! recorder allocates for every command, so these few commands go to the driver directly.

use std::mem::ManuallyDrop;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};

use ash::vk;
use dia_core::OperatorError;
use vulkano::{
    VulkanError as DriverError, VulkanObject,
    buffer::Subbuffer,
    command_buffer::pool::{
        CommandBufferAllocateInfo, CommandPool, CommandPoolAlloc, CommandPoolCreateFlags,
        CommandPoolCreateInfo,
    },
    device::{DeviceOwned, Queue},
    pipeline::{ComputePipeline, Pipeline},
    sync::fence::{Fence, FenceCreateInfo},
};

use crate::buffer::DeviceBuffer;
use crate::context::VulkanContext;
use crate::shaders::MOST_BUFFERS;

/// A queue, with the command buffer that is submitted to it and the fence that tells when the device is done.
pub(crate) struct Lane {
    queue: Arc<Queue>,
    /// Of the command buffer; both stay where they are when the device is lost, for it may still be running.
    pool: ManuallyDrop<CommandPool>,
    fence: ManuallyDrop<Fence>,
    buffer: CommandPoolAlloc,
    lost: Arc<AtomicBool>,
}

impl Lane {
    pub(crate) fn new(
        queue: Arc<Queue>,
        lost: &Arc<AtomicBool>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let device = queue.device();
        let info = CommandPoolCreateInfo {
            queue_family_index: queue.queue_family_index(),
            flags: CommandPoolCreateFlags::RESET_COMMAND_BUFFER,
            ..Default::default()
        };
        let pool = CommandPool::new(Arc::clone(device), info)?;
        let buffer = pool
            .allocate_command_buffers(CommandBufferAllocateInfo::default())?
            .next()
            .ok_or("no command buffer")?;
        let fence = Fence::new(Arc::clone(device), FenceCreateInfo::default())?;
        Ok(Self {
            pool: ManuallyDrop::new(pool),
            fence: ManuallyDrop::new(fence),
            buffer,
            queue,
            lost: Arc::clone(lost),
        })
    }
}

impl Drop for Lane {
    #[allow(unsafe_code, reason = "fields of a type that is dropped by hand")]
    fn drop(&mut self) {
        if !self.lost.load(Relaxed) {
            // SAFETY: neither is used again, and the device is done: every submission has been waited for.
            unsafe {
                ManuallyDrop::drop(&mut self.fence);
                ManuallyDrop::drop(&mut self.pool);
            }
        }
    }
}

/// A command buffer in the making. Every command waits for those before it.
pub(crate) struct Commands<'a> {
    context: &'a VulkanContext,
    lane: MutexGuard<'a, Lane>,
    dispatches: u64,
}

impl<'a> Commands<'a> {
    /// Commands for the queue that computes.
    pub(crate) fn new(context: &'a VulkanContext) -> Result<Self, OperatorError> {
        Self::begin(context, context.compute.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Copies for the queue that transfers while the other computes.
    pub(crate) fn transfer(context: &'a VulkanContext) -> Result<Self, OperatorError> {
        Self::begin(context, context.transfer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[allow(unsafe_code, reason = "a call to the driver")]
    fn begin(
        context: &'a VulkanContext,
        lane: MutexGuard<'a, Lane>,
    ) -> Result<Self, OperatorError> {
        context.check()?;
        let commands = Self { context, lane, dispatches: 0 };
        let info = vk::CommandBufferBeginInfo::default()
            .flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        let (fns, buffer) = (commands.functions(), commands.handle());
        // SAFETY: the buffer is not in use, for its lane is locked and every submission has been waited for. It may have been left in the middle of a
        // recording, which only an explicit reset ends.
        unsafe {
            (fns.reset_command_buffer)(buffer, vk::CommandBufferResetFlags::empty())
                .result()
                .and_then(|()| (fns.begin_command_buffer)(buffer, &raw const info).result())
        }
        .map_err(|e| context.lose(e.into()))?;
        Ok(commands)
    }

    fn functions(&self) -> &ash::DeviceFnV1_0 {
        &self.lane.queue.device().fns().v1_0
    }

    fn handle(&self) -> vk::CommandBuffer {
        self.lane.buffer.handle()
    }

    /// Runs a shader on `buffers`, which are its descriptor sets in order, with the push constants `words`.
    #[allow(unsafe_code, reason = "calls to the driver")]
    pub(crate) fn dispatch(
        &mut self,
        pipeline: &ComputePipeline,
        buffers: &[&DeviceBuffer],
        words: &[u32],
        workgroups: [u32; 3],
    ) {
        let layout = pipeline.layout();
        // Else a shader would read what was never written.
        assert_eq!(layout.set_layouts().len(), buffers.len());
        assert!(layout.push_constant_ranges().iter().all(|r| r.size as usize == 4 * words.len()));
        let mut sets = [vk::DescriptorSet::null(); MOST_BUFFERS];
        for (set, buffer) in sets.iter_mut().zip(buffers) {
            *set = buffer.set.as_raw().handle();
        }
        self.barrier();
        let (fns, commands, point) =
            (self.functions(), self.handle(), vk::PipelineBindPoint::COMPUTE);
        // SAFETY: the buffer is being recorded; pipeline, buffers and sets live until the end of `submit`, which waits for the device, or for ever if it
        // does not answer; numbers of sets and words are those of the layout; shaders stay inside the buffers for the words that they are given.
        unsafe {
            (fns.cmd_bind_pipeline)(commands, point, pipeline.handle());
            (fns.cmd_bind_descriptor_sets)(
                commands,
                point,
                layout.handle(),
                0,
                buffers.len() as u32,
                sets.as_ptr(),
                0,
                std::ptr::null(),
            );
            (fns.cmd_push_constants)(
                commands,
                layout.handle(),
                vk::ShaderStageFlags::COMPUTE,
                0,
                size_of_val(words) as u32,
                words.as_ptr().cast(),
            );
            let [x, y, z] = workgroups;
            (fns.cmd_dispatch)(commands, x, y, z);
        }
        self.dispatches += 1;
    }

    /// Copies `len` floats.
    #[allow(unsafe_code, reason = "a call to the driver")]
    pub(crate) fn copy(
        &mut self,
        from: &Subbuffer<[f32]>,
        from_offset: usize,
        to: &Subbuffer<[f32]>,
        to_offset: usize,
        len: usize,
    ) {
        let place = |buffer: &Subbuffer<[f32]>, offset: usize| {
            assert!(offset + len <= buffer.len() as usize);
            buffer.offset() + 4 * offset as u64
        };
        let region = vk::BufferCopy {
            src_offset: place(from, from_offset),
            dst_offset: place(to, to_offset),
            size: 4 * len as u64,
        };
        let (from, to) = (from.buffer().handle(), to.buffer().handle());
        self.barrier();
        // SAFETY: the region is inside both buffers, which live until the device is done; see `dispatch`.
        unsafe {
            (self.functions().cmd_copy_buffer)(self.handle(), from, to, 1, &raw const region);
        }
    }

    /// Zeros in all of a buffer.
    #[allow(unsafe_code, reason = "a call to the driver")]
    pub(crate) fn clear(&mut self, buffer: &DeviceBuffer) {
        let (floats, bytes) = (&buffer.floats, 4 * buffer.len() as u64);
        self.barrier();
        // SAFETY: the bytes are the buffer's, which lives until the device is done; see `dispatch`.
        unsafe {
            (self.functions().cmd_fill_buffer)(
                self.handle(),
                floats.buffer().handle(),
                floats.offset(),
                bytes,
                0,
            );
        }
    }

    /// All writes before are there for all that follows, on the host too. It stands before each command as well as at the end: what another
    /// queue has written since is seen.
    #[allow(unsafe_code, reason = "a call to the driver")]
    fn barrier(&mut self) {
        let stages = vk::PipelineStageFlags::ALL_COMMANDS | vk::PipelineStageFlags::HOST;
        let barrier = vk::MemoryBarrier::default()
            .src_access_mask(vk::AccessFlags::MEMORY_WRITE)
            .dst_access_mask(vk::AccessFlags::MEMORY_READ | vk::AccessFlags::MEMORY_WRITE);
        // SAFETY: a barrier of all memory has no condition.
        unsafe {
            (self.functions().cmd_pipeline_barrier)(
                self.handle(),
                stages,
                stages,
                vk::DependencyFlags::empty(),
                1,
                &raw const barrier,
                0,
                std::ptr::null(),
                0,
                std::ptr::null(),
            );
        }
    }

    /// Submits the commands and waits for the device.
    #[allow(unsafe_code, reason = "calls to the driver")]
    pub(crate) fn submit(mut self) -> Result<(), OperatorError> {
        self.barrier();
        let Self { context, lane, dispatches } = self;
        let fns = &lane.queue.device().fns().v1_0;
        let (buffer, queue) = (lane.buffer.handle(), lane.queue.handle());
        let info = vk::SubmitInfo::default().command_buffers(slice::from_ref(&buffer));
        // SAFETY: what was recorded is complete; the fence is not in use, for the lane is locked; the queue is locked inside `with`.
        let submitted = unsafe { (fns.end_command_buffer)(buffer) }.result().and_then(|()| {
            lane.queue.with(|_| {
                unsafe { (fns.queue_submit)(queue, 1, &raw const info, lane.fence.handle()) }
                    .result()
            })
        });
        submitted
            .map_err(DriverError::from)
            .and_then(|()| lane.fence.wait(Some(context.options.timeout)))
            .map_err(|error| context.lose(error))?;
        // SAFETY: the fence is signalled and no one waits for it.
        unsafe { lane.fence.reset_unchecked() }.map_err(|error| context.lose(error))?;
        context.count(dispatches);
        Ok(())
    }
}
