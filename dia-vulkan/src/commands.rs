//! One command buffer: recorded, submitted and waited for.

use std::sync::Arc;

use dia_core::OperatorError;
use vulkano::{
    VulkanObject,
    buffer::Subbuffer,
    command_buffer::{
        BufferCopy, CommandBuffer, CommandBufferBeginInfo, CommandBufferLevel, CommandBufferUsage,
        CopyBufferInfo, CopyBufferInfoTyped, RecordingCommandBuffer,
    },
    descriptor_set::sys::RawDescriptorSet,
    device::DeviceOwned,
    pipeline::{ComputePipeline, Pipeline, PipelineBindPoint},
    sync::{AccessFlags, DependencyInfo, MemoryBarrier, PipelineStages},
};

use crate::buffer::DeviceBuffer;
use crate::context::VulkanContext;

/// The most push constants of a shader, in words.
const MOST_WORDS: usize = 16;

/// A command buffer in the making. Every command waits for those before it.
pub(crate) struct Commands<'a> {
    context: &'a VulkanContext,
    recording: RecordingCommandBuffer,
    dispatches: u64,
}

fn failed(step: &str) -> impl FnOnce(Box<vulkano::ValidationError>) -> OperatorError {
    let text = format!("Vulkan refused to {step}");
    move |error| OperatorError::with_source(text, error)
}

impl<'a> Commands<'a> {
    pub(crate) fn new(context: &'a VulkanContext) -> Result<Self, OperatorError> {
        context.check()?;
        let info = CommandBufferBeginInfo {
            usage: CommandBufferUsage::OneTimeSubmit,
            ..Default::default()
        };
        let recording = RecordingCommandBuffer::new(
            Arc::clone(&context.commands) as _,
            context.queue.queue_family_index(),
            CommandBufferLevel::Primary,
            info,
        );
        let recording =
            recording.map_err(|e| OperatorError::with_source("no Vulkan command buffer", e))?;
        Ok(Self { context, recording, dispatches: 0 })
    }

    /// Runs a shader on `buffers`, which are its descriptor sets in order, with the push constants `words`.
    #[allow(unsafe_code, reason = "recorded commands are unsafe in vulkano's raw interface")]
    pub(crate) fn dispatch(
        &mut self,
        pipeline: &ComputePipeline,
        buffers: &[&DeviceBuffer],
        words: &[u32],
        workgroups: [u32; 3],
    ) -> Result<(), OperatorError> {
        let layout = pipeline.layout();
        let mut sets: [Option<&RawDescriptorSet>; 8] = [None; 8];
        for (set, buffer) in sets.iter_mut().zip(buffers) {
            *set = Some(buffer.set.as_raw());
        }
        for (i, set) in sets.into_iter().flatten().enumerate() {
            // SAFETY: pipeline, buffers and sets live until the end of `submit`, which waits for the device, or for ever if it does not answer.
            unsafe {
                let point = PipelineBindPoint::Compute;
                self.recording.bind_descriptor_sets(point, layout, i as u32, &[set], &[])
            }
            .map_err(failed("bind a buffer"))?;
        }
        assert!(words.len() <= MOST_WORDS);
        // SAFETY: as above; shaders stay inside the buffers for the words that they are given.
        unsafe {
            self.recording.bind_pipeline_compute(pipeline).map_err(failed("bind a pipeline"))?;
            for (i, word) in words.iter().enumerate() {
                self.recording
                    .push_constants(layout, 4 * i as u32, word)
                    .map_err(failed("push constants"))?;
            }
            self.recording.dispatch(workgroups).map_err(failed("dispatch a shader"))?;
        }
        self.dispatches += 1;
        self.barrier()
    }

    /// Copies `len` floats.
    #[allow(unsafe_code, reason = "recorded commands are unsafe in vulkano's raw interface")]
    pub(crate) fn copy(
        &mut self,
        from: &Subbuffer<[f32]>,
        from_offset: usize,
        to: &Subbuffer<[f32]>,
        to_offset: usize,
        len: usize,
    ) -> Result<(), OperatorError> {
        let region = BufferCopy {
            src_offset: from_offset as u64,
            dst_offset: to_offset as u64,
            size: len as u64,
            ..Default::default()
        };
        let info = CopyBufferInfoTyped {
            regions: [region].into_iter().collect(),
            ..CopyBufferInfoTyped::buffers(from.clone(), to.clone())
        };
        let info = CopyBufferInfo::from(info);
        // SAFETY: both buffers live until the device is done; see `dispatch`.
        unsafe { self.recording.copy_buffer(&info) }.map_err(failed("copy a buffer"))?;
        self.barrier()
    }

    /// Zeros in all of a buffer.
    #[allow(unsafe_code, reason = "recorded commands are unsafe in vulkano's raw interface")]
    pub(crate) fn clear(&mut self, buffer: &DeviceBuffer) -> Result<(), OperatorError> {
        let words = buffer.floats.clone().reinterpret::<[u32]>();
        // SAFETY: the buffer lives until the device is done; see `dispatch`.
        unsafe { self.recording.fill_buffer(&words, 0) }.map_err(failed("clear a buffer"))?;
        self.barrier()
    }

    #[allow(unsafe_code, reason = "recorded commands are unsafe in vulkano's raw interface")]
    fn barrier(&mut self) -> Result<(), OperatorError> {
        let stages =
            PipelineStages::COMPUTE_SHADER | PipelineStages::ALL_TRANSFER | PipelineStages::HOST;
        let reads = AccessFlags::SHADER_READ | AccessFlags::TRANSFER_READ | AccessFlags::HOST_READ;
        let writes = AccessFlags::SHADER_WRITE | AccessFlags::TRANSFER_WRITE;
        let barrier = MemoryBarrier {
            src_stages: stages,
            src_access: writes,
            dst_stages: stages,
            dst_access: reads | writes,
            ..Default::default()
        };
        let info = DependencyInfo {
            memory_barriers: [barrier].into_iter().collect(),
            ..Default::default()
        };
        // SAFETY: a barrier of all memory has no condition.
        unsafe { self.recording.pipeline_barrier(&info) }.map_err(failed("set a barrier"))?;
        Ok(())
    }

    /// Submits the commands and waits for the device.
    #[allow(unsafe_code, reason = "submission is unsafe in vulkano's raw interface")]
    pub(crate) fn submit(self) -> Result<(), OperatorError> {
        let Self { context, recording, dispatches } = self;
        // SAFETY: all that was recorded is complete.
        let commands: CommandBuffer = unsafe { recording.end() }.map_err(|e| context.lose(e))?;
        let fence = context.fence.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        context.check()?;
        let handles = [commands.handle()];
        let info = ash::vk::SubmitInfo::default().command_buffers(&handles);
        let queue = context.queue.handle();
        let functions = context.queue.device().fns();
        // SAFETY: the fence is not in use, for it is locked and every use of it has been waited for; the queue is locked inside `with`.
        let submitted = context.queue.with(|_| unsafe {
            (functions.v1_0.queue_submit)(queue, 1, &raw const info, fence.handle())
        });
        let waited = submitted
            .result()
            .map_err(vulkano::VulkanError::from)
            .and_then(|()| fence.wait(Some(context.timeout)));
        if let Err(error) = waited {
            let error = context.lose(error);
            // It may still be running.
            std::mem::forget(commands);
            return Err(error);
        }
        // SAFETY: the fence is signalled and no one waits for it.
        unsafe { fence.reset() }
            .map_err(|e| OperatorError::with_source("cannot reset a Vulkan fence", e))?;
        context.count(dispatches);
        Ok(())
    }
}
