//! An opened device: queue, allocators, pipelines, and the count of what crosses.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dia_core::{OperatorError, Traffic};
use vulkano::{
    VulkanError as DriverError,
    descriptor_set::{
        allocator::{StandardDescriptorSetAllocator, StandardDescriptorSetAllocatorCreateInfo},
        layout::{
            DescriptorSetLayout, DescriptorSetLayoutBinding, DescriptorSetLayoutCreateInfo,
            DescriptorType,
        },
    },
    device::{
        Device as Logical, DeviceCreateInfo, QueueCreateInfo, QueueFamilyProperties, QueueFlags,
        physical::PhysicalDevice,
    },
    memory::{MemoryHeapFlags, allocator::StandardMemoryAllocator},
    pipeline::{
        ComputePipeline, PipelineLayout, PipelineShaderStageCreateInfo,
        compute::ComputePipelineCreateInfo,
        layout::{PipelineLayoutCreateInfo, PushConstantRange},
    },
    shader::{
        ShaderModule, ShaderModuleCreateInfo, ShaderStages, SpecializationConstant,
        spirv::bytes_to_words,
    },
};

use crate::bands::Room;
use crate::commands::Lane;
use crate::listing::physical_devices;
use crate::shaders::{MOST_BUFFERS, Shader};
use crate::transfer::{Staging, Upload};
use crate::{Device, DeviceChoice, VulkanError, select};

/// Shared memory that the shaders need in a workgroup.
const SHARED_BYTES: u32 = 32_768;

/// Invocations of their workgroups.
const INVOCATIONS: u32 = 256;

/// The most specialisation constants of a shader.
const MOST_CONSTANTS: usize = 6;

/// The name of a shader, and the values of its specialisation constants, with zeros after the last.
type PipelineKey = (&'static str, [u32; MOST_CONSTANTS]);

/// What is decided when a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextOptions {
    /// The largest buffer in bytes, if smaller than the device's own limit: larger images are processed in bands of rows.
    pub max_buffer_bytes: Option<u64>,
    /// The memory of the device that a fit may plan for in bytes, if less than its largest heap. Rows of the image that have no room there lie in
    /// the host's memory, which is right, and slow on a device with memory of its own.
    pub memory_limit_bytes: Option<u64>,
    /// The memory of the host that such rows may take in bytes, if less than there is; 0 for an error instead.
    pub host_limit_bytes: Option<u64>,
    /// How long to wait for one command buffer. A device that takes longer counts as lost.
    pub timeout: Duration,
}

impl Default for ContextOptions {
    /// The device's own limits; two minutes.
    fn default() -> Self {
        Self {
            max_buffer_bytes: None,
            memory_limit_bytes: None,
            host_limit_bytes: None,
            timeout: Duration::from_mins(2),
        }
    }
}

/// A device that is ready to compute. Share it between operators: a kernel compiled for one serves all.
pub struct VulkanContext {
    description: Device,
    pub(crate) options: ContextOptions,
    device: Arc<Logical>,
    pub(crate) memory: Arc<StandardMemoryAllocator>,
    pub(crate) descriptors: Arc<StandardDescriptorSetAllocator>,
    /// Of one storage buffer: every buffer has a set of its own.
    pub(crate) set_layout: Arc<DescriptorSetLayout>,
    pipelines: Mutex<HashMap<PipelineKey, Arc<ComputePipeline>>>,
    /// Locked while a command buffer of theirs is recorded and runs.
    pub(crate) compute: Mutex<Lane>,
    pub(crate) transfer: Mutex<Lane>,
    /// The queue families that use each buffer, if there are two.
    pub(crate) families: Vec<u32>,
    pub(crate) staging: Mutex<Option<Staging>>,
    pub(crate) upload: Mutex<Option<Upload>>,
    /// The largest heap that is not the device's own, 0 if there is none.
    host_bytes: u64,
    pub(crate) lost: Arc<AtomicBool>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    dispatches: AtomicU64,
    submits: AtomicU64,
}

impl VulkanContext {
    /// Opens the device that `choice` means.
    ///
    /// # Errors
    /// [`VulkanError`] if there is no such device, it lacks something that the shaders need, or its driver fails.
    pub fn open(choice: &DeviceChoice, options: ContextOptions) -> Result<Arc<Self>, VulkanError> {
        let list = physical_devices()?;
        let descriptions: Vec<Device> = list.iter().map(|(device, _)| device.clone()).collect();
        let description = select(&descriptions, choice)?.clone();
        let physical = Arc::clone(&list[description.index].1);

        let limit = |what, has: u32, needs: u32| {
            if has >= needs {
                return Ok(());
            }
            Err(VulkanError::Unsuitable { device: description.name.clone(), what, has, needs })
        };
        let properties = physical.properties();
        limit("bytes of shared memory", description.max_shared_memory_bytes, SHARED_BYTES)?;
        limit("invocations in a workgroup", description.max_workgroup_invocations, INVOCATIONS)?;
        limit("bound descriptor sets", properties.max_bound_descriptor_sets, MOST_BUFFERS as u32)?;
        let host_bytes = host_bytes(&physical);
        limit(
            "storage buffers of a shader",
            properties.max_per_stage_descriptor_storage_buffers,
            MOST_BUFFERS as u32,
        )?;
        let families = QueueFamilies::of(&physical).ok_or_else(|| VulkanError::Unsuitable {
            device: description.name.clone(),
            what: "compute queues",
            has: 0,
            needs: 1,
        })?;

        let fail = |step| move |source| VulkanError::Failed { step, source };
        let info =
            DeviceCreateInfo { queue_create_infos: families.create_infos(), ..Default::default() };
        let (device, mut queues) =
            Logical::new(physical, info).map_err(|e| fail("open the device")(e.into()))?;
        let queue = queues.next().ok_or(VulkanError::NoDevices)?;
        // A device with a single queue takes the commands of both in turns.
        let transfer = queues.next().unwrap_or_else(|| Arc::clone(&queue));
        let lost = Arc::default();
        let lane = |queue| Lane::new(queue, &lost).map_err(fail("make a command buffer"));
        let (compute, transfer) = (Mutex::new(lane(queue)?), Mutex::new(lane(transfer)?));
        let binding = DescriptorSetLayoutBinding {
            stages: ShaderStages::COMPUTE,
            ..DescriptorSetLayoutBinding::descriptor_type(DescriptorType::StorageBuffer)
        };
        let info =
            DescriptorSetLayoutCreateInfo { bindings: [(0, binding)].into(), ..Default::default() };
        let set_layout = DescriptorSetLayout::new(Arc::clone(&device), info)
            .map_err(|e| fail("make a descriptor set layout")(e.into()))?;
        Ok(Arc::new(Self {
            description,
            options,
            memory: Arc::new(StandardMemoryAllocator::new_default(Arc::clone(&device))),
            descriptors: Arc::new(StandardDescriptorSetAllocator::new(
                Arc::clone(&device),
                StandardDescriptorSetAllocatorCreateInfo::default(),
            )),
            device,
            set_layout,
            pipelines: Mutex::new(HashMap::new()),
            compute,
            transfer,
            families: families.shared(),
            staging: Mutex::new(None),
            upload: Mutex::new(None),
            host_bytes,
            lost,
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            submits: AtomicU64::new(0),
        }))
    }

    /// The description of the device.
    pub fn device(&self) -> &Device {
        &self.description
    }

    /// What has been exchanged since the device was opened.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            dispatches: self.dispatches.load(Relaxed),
            submits: self.submits.load(Relaxed),
        }
    }

    /// The memory that a fit may plan for.
    pub(crate) fn room(&self) -> Room {
        let least = |limit: Option<u64>, has: u64| limit.map_or(has, |limit| limit.min(has));
        let ContextOptions { max_buffer_bytes, memory_limit_bytes, host_limit_bytes, .. } =
            self.options;
        let device = least(memory_limit_bytes, self.description.memory_bytes);
        // Where one memory serves both, the host has what is left.
        let left = match self.host_bytes {
            0 => self.description.memory_bytes - device,
            bytes => bytes,
        };
        Room {
            buffer: least(max_buffer_bytes, u64::from(self.description.max_storage_buffer_bytes)),
            device,
            host: least(host_limit_bytes, left),
        }
    }

    pub(crate) fn count_in(&self, floats: usize) {
        self.bytes_in.fetch_add(4 * floats as u64, Relaxed);
    }

    pub(crate) fn count_out(&self, floats: usize) {
        self.bytes_out.fetch_add(4 * floats as u64, Relaxed);
    }

    pub(crate) fn count(&self, dispatches: u64) {
        self.dispatches.fetch_add(dispatches, Relaxed);
        self.submits.fetch_add(1, Relaxed);
    }

    /// An error where the device is lost.
    pub(crate) fn check(&self) -> Result<(), OperatorError> {
        if !self.lost.load(Relaxed) {
            return Ok(());
        }
        let name = &self.description.name;
        Err(OperatorError::new(format!("the Vulkan device {name} was lost before; start again")))
    }

    /// The device is not to be used any more.
    pub(crate) fn lose(&self, error: DriverError) -> OperatorError {
        self.lost.store(true, Relaxed);
        // It may still be running: buffers stay by themselves, pipelines here.
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::forget(pipelines.clone());
        let name = &self.description.name;
        let text = if error == DriverError::Timeout {
            format!(
                "{name} did not answer within {} s; use smaller images, another device or the CPU",
                self.options.timeout.as_secs_f64()
            )
        } else {
            format!(
                "the Vulkan device {name} failed in the middle of its work; nothing it computed is used"
            )
        };
        OperatorError::with_source(text, error)
    }

    /// The pipeline of a shader with the given specialisation constants; built at the first use.
    #[allow(unsafe_code, reason = "vulkano cannot check SPIR-V words")]
    pub(crate) fn pipeline(
        &self,
        shader: &Shader,
        specialisation: &[u32],
    ) -> Result<Arc<ComputePipeline>, OperatorError> {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut constants = [0; MOST_CONSTANTS];
        constants[..specialisation.len()].copy_from_slice(specialisation);
        let key = (shader.name, constants);
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let fail = |error: Box<dyn std::error::Error + Send + Sync>| {
            let text =
                format!("{} cannot compile the shader {}", self.description.name, shader.name);
            OperatorError::with_source(text, error)
        };
        let device = &self.device;
        let words = bytes_to_words(shader.spirv).map_err(|e| fail(e.into()))?;
        // SAFETY: the words are those that a GLSL compiler made, committed beside their source.
        let module =
            unsafe { ShaderModule::new(Arc::clone(device), ShaderModuleCreateInfo::new(&words)) }
                .map_err(|e| fail(e.into()))?;
        let known = module.specialization_constants();
        let value = |(id, value): (u32, &u32)| match known.get(&id) {
            Some(SpecializationConstant::Bool(_)) => {
                (id, SpecializationConstant::Bool(*value != 0))
            }
            _ => (id, SpecializationConstant::U32(*value)),
        };
        let values = (0..).zip(specialisation).map(value).collect();
        let entry = module
            .specialize(values)
            .map_err(|e| fail(e.into()))?
            .entry_point("main")
            .ok_or_else(|| OperatorError::new("a shader without main"))?;
        let info = PipelineLayoutCreateInfo {
            set_layouts: vec![Arc::clone(&self.set_layout); shader.buffers],
            push_constant_ranges: vec![PushConstantRange {
                stages: ShaderStages::COMPUTE,
                offset: 0,
                size: 4 * shader.words as u32,
            }],
            ..Default::default()
        };
        let layout = PipelineLayout::new(Arc::clone(device), info).map_err(|e| fail(e.into()))?;
        let stage = PipelineShaderStageCreateInfo::new(entry);
        let info = ComputePipelineCreateInfo::stage_layout(stage, layout);
        let pipeline = ComputePipeline::new(Arc::clone(device), None, info);
        let pipeline = pipeline.map_err(|e| fail(e.into()))?;
        pipelines.insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

/// The families of the queues that compute and that transfer meanwhile.
struct QueueFamilies {
    compute: u32,
    transfer: Option<u32>,
}

impl QueueFamilies {
    fn of(physical: &PhysicalDevice) -> Option<Self> {
        let families = physical.queue_family_properties();
        let find = |wanted: QueueFlags, without: QueueFlags| {
            let suits = |family: &QueueFamilyProperties| {
                family.queue_flags.contains(wanted) && !family.queue_flags.intersects(without)
            };
            families.iter().position(suits).map(|index| index as u32)
        };
        // A family for computing alone does not wait for the screen.
        let compute = find(QueueFlags::COMPUTE, QueueFlags::GRAPHICS)
            .or_else(|| find(QueueFlags::COMPUTE, QueueFlags::empty()))?;
        // One for copies alone has an engine of its own; else another queue of the same family does.
        let busy = QueueFlags::COMPUTE
            | QueueFlags::GRAPHICS
            | QueueFlags::VIDEO_DECODE
            | QueueFlags::VIDEO_ENCODE;
        let several = families[compute as usize].queue_count > 1;
        let transfer = find(QueueFlags::TRANSFER, busy).or(several.then_some(compute));
        Some(Self { compute, transfer })
    }

    fn create_infos(&self) -> Vec<QueueCreateInfo> {
        let queues = |family, count| QueueCreateInfo {
            queue_family_index: family,
            queues: vec![0.5; count],
            ..Default::default()
        };
        match self.transfer {
            None => vec![queues(self.compute, 1)],
            Some(family) if family == self.compute => vec![queues(family, 2)],
            Some(family) => vec![queues(self.compute, 1), queues(family, 1)],
        }
    }

    /// Both, if they are two.
    fn shared(&self) -> Vec<u32> {
        let other = self.transfer.filter(|family| *family != self.compute);
        other.map_or_else(Vec::new, |family| vec![self.compute, family])
    }
}

/// The largest heap that is not the device's own.
fn host_bytes(physical: &PhysicalDevice) -> u64 {
    let heaps = physical.memory_properties().memory_heaps.iter();
    let of_host = heaps.filter(|heap| !heap.flags.intersects(MemoryHeapFlags::DEVICE_LOCAL));
    of_host.map(|heap| heap.size).max().unwrap_or(0)
}

impl fmt::Debug for VulkanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VulkanContext")
            .field("device", &self.description.name)
            .finish_non_exhaustive()
    }
}
