//! The description of a device: plain data, with no handle to the driver.

use std::fmt;

/// What kind of device this is, as its driver says.
///
/// The order is the order of the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the memory of the host.
    Integrated,
    /// A GPU seen through a virtual machine.
    Virtual,
    /// Not a GPU: the driver runs the shaders on the CPU.
    Cpu,
    /// Anything else.
    Other,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Cpu => "CPU",
            Self::Other => "other",
        })
    }
}

/// A version of the Vulkan API; ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// 1 for every version so far.
    pub major: u32,
    /// New features come with this one.
    pub minor: u32,
    /// The edition of the specification's text.
    pub patch: u32,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

/// One Vulkan device, described.
///
/// `Display` gives one line for a table or a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Place in the listing, from 0. It changes when a device or a driver is added or removed.
    pub index: usize,
    /// The device's own name, such as "NVIDIA H200" or "llvmpipe (LLVM 15.0.6, 256 bits)".
    pub name: String,
    /// The kind that the driver reports. See also [`Device::is_software`].
    pub kind: DeviceKind,
    /// The vendor's PCI number (0x10de is NVIDIA, 0x1002 AMD, 0x8086 Intel), or a number above
    /// 0xffff that Khronos gave (0x10005 is Mesa).
    pub vendor_id: u32,
    /// The driver's name, such as "NVIDIA", "radv" or "llvmpipe"; "unknown driver" before Vulkan 1.2.
    pub driver_name: String,
    /// The driver's version in the vendor's own form, such as "Mesa 22.3.6 (LLVM 15.0.6)".
    pub driver_version: String,
    /// The newest Vulkan version that the device supports.
    pub api_version: ApiVersion,
    /// Tells equal devices of one machine apart; stays the same over restarts. `None` before Vulkan 1.1.
    pub uuid: Option<[u8; 16]>,
    /// Size of the largest device-local memory heap, in bytes. Other programs may use part of it.
    pub memory_bytes: u64,
    /// The largest part of a buffer that a shader can see through one binding, in bytes.
    pub max_storage_buffer_bytes: u32,
    /// Memory that the invocations of one workgroup can share, in bytes.
    pub max_shared_memory_bytes: u32,
    /// The largest number of invocations in one workgroup.
    pub max_workgroup_invocations: u32,
    /// Invocations that run in step. `None` before Vulkan 1.1.
    pub subgroup_size: Option<u32>,
    /// Whether shaders can compute in double precision.
    pub float64: bool,
}

impl Device {
    /// Whether the driver runs the shaders on the CPU: right, but slow.
    ///
    /// The kind alone is not enough. A GPU of a virtual machine may be lavapipe or `SwiftShader` on
    /// the host; then the name says so.
    pub fn is_software(&self) -> bool {
        self.kind == DeviceKind::Cpu
            || [&self.name, &self.driver_name].into_iter().any(|text| {
                let text = text.to_lowercase();
                ["llvmpipe", "swiftshader"].iter().any(|software| text.contains(software))
            })
    }

    /// Whether this is a GPU: discrete, integrated or virtual, and not a software device.
    pub fn is_gpu(&self) -> bool {
        !self.is_software()
            && matches!(
                self.kind,
                DeviceKind::Discrete | DeviceKind::Integrated | DeviceKind::Virtual
            )
    }

    /// Index, name and kind, as the errors list the candidates.
    pub(crate) fn label(&self) -> String {
        format!("{} \"{}\" ({})", self.index, self.name, self.kind_text())
    }

    /// The kind, marked where it is software.
    fn kind_text(&self) -> String {
        let mark = if self.is_software() { ", software" } else { "" };
        format!("{}{mark}", self.kind)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GIB: f64 = (1_u64 << 30) as f64;
        write!(
            f,
            "{}; driver {} {}; Vulkan {}; {:.1} GiB; {}",
            self.label(),
            self.driver_name,
            self.driver_version,
            self.api_version,
            self.memory_bytes as f64 / GIB,
            if self.float64 { "float64" } else { "no float64" },
        )
    }
}
