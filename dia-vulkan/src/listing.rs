//! Asks the Vulkan loader for its devices.

use std::sync::Arc;

use vulkano::{
    LoadingError, Validated, Version, VulkanError as DriverError, VulkanLibrary,
    device::physical::{PhysicalDevice, PhysicalDeviceType},
    instance::{Instance, InstanceCreateFlags, InstanceCreateInfo},
    memory::MemoryHeapFlags,
};

use crate::{ApiVersion, Device, DeviceKind, VulkanError};

/// The vendor number of NVIDIA, which packs its driver's version in its own way.
const NVIDIA: u32 = 0x10de;

/// Every device that the Vulkan loader knows, described. The list is not empty.
///
/// The order is: discrete, integrated and virtual GPUs, software devices, others; within these by
/// name, UUID and driver. It does not depend on the order in which the loader finds its drivers.
/// A device with two drivers is listed once for each.
///
/// The loader and its drivers are opened at each call and closed at its end: list once and keep the
/// list.
///
/// # Errors
/// [`VulkanError::NoLoader`], [`VulkanError::NoDriver`] or [`VulkanError::NoDevices`] if something
/// has to be installed; [`VulkanError::Failed`] if a driver fails.
///
/// # Example
/// ```
/// match dia_vulkan::devices() {
///     Ok(devices) => assert_eq!(devices[0].index, 0),
///     Err(error) => eprintln!("{error}"),
/// }
/// ```
pub fn devices() -> Result<Vec<Device>, VulkanError> {
    Ok(physical_devices()?.into_iter().map(|(device, _)| device).collect())
}

/// Every device in the order of the listing, with its handle.
pub(crate) fn physical_devices() -> Result<Vec<(Device, Arc<PhysicalDevice>)>, VulkanError> {
    let library = VulkanLibrary::new().map_err(loading_error)?;
    let info = InstanceCreateInfo {
        // Devices without all of Vulkan, as on macOS, are listed too.
        flags: InstanceCreateFlags::ENUMERATE_PORTABILITY,
        application_name: Some("dia".to_owned()),
        ..InstanceCreateInfo::default()
    };
    let instance = Instance::new(library, info).map_err(|error| match error {
        Validated::Error(error) => driver_error("create an instance", error),
        Validated::ValidationError(_) => {
            VulkanError::Failed { step: "create an instance", source: error.into() }
        }
    })?;
    let physical = instance
        .enumerate_physical_devices()
        .map_err(|error| driver_error("list the devices", error))?;

    let mut devices: Vec<_> = physical.map(|physical| (describe(&physical), physical)).collect();
    if devices.is_empty() {
        return Err(VulkanError::NoDevices);
    }
    sort(&mut devices);
    Ok(devices)
}

/// Puts the devices in the order of the listing and numbers them.
fn sort<H>(devices: &mut [(Device, H)]) {
    devices.sort_by_cached_key(|(device, _)| {
        // A virtual GPU that is software in truth stands with the software.
        let kind = if device.is_software() { DeviceKind::Cpu } else { device.kind };
        (kind, device.name.clone(), device.uuid, device.driver_name.clone())
    });
    for (index, (device, _)) in devices.iter_mut().enumerate() {
        device.index = index;
    }
}

/// The description of a device, with the index still 0.
fn describe(physical: &PhysicalDevice) -> Device {
    let properties = physical.properties();
    let Version { major, minor, patch } = properties.api_version;
    let version = properties.driver_version;
    // Not the sum: on some GPUs one heap is a window into another.
    let memory_bytes = physical
        .memory_properties()
        .memory_heaps
        .iter()
        .filter(|heap| heap.flags.intersects(MemoryHeapFlags::DEVICE_LOCAL))
        .map(|heap| heap.size)
        .max()
        .unwrap_or(0);

    Device {
        index: 0,
        name: properties.device_name.clone(),
        kind: match properties.device_type {
            PhysicalDeviceType::DiscreteGpu => DeviceKind::Discrete,
            PhysicalDeviceType::IntegratedGpu => DeviceKind::Integrated,
            PhysicalDeviceType::VirtualGpu => DeviceKind::Virtual,
            PhysicalDeviceType::Cpu => DeviceKind::Cpu,
            _ => DeviceKind::Other,
        },
        vendor_id: properties.vendor_id,
        driver_name: text(properties.driver_name.as_deref())
            .unwrap_or_else(|| "unknown driver".to_owned()),
        driver_version: text(properties.driver_info.as_deref())
            .unwrap_or_else(|| unpack_driver_version(properties.vendor_id, version)),
        api_version: ApiVersion { major, minor, patch },
        uuid: properties.device_uuid,
        memory_bytes,
        max_storage_buffer_bytes: properties.max_storage_buffer_range,
        max_shared_memory_bytes: properties.max_compute_shared_memory_size,
        max_workgroup_invocations: properties.max_compute_work_group_invocations,
        subgroup_size: properties.subgroup_size,
        float64: physical.supported_features().shader_float64,
    }
}

/// The text without the spaces around it; `None` if nothing is left.
fn text(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The packed version as text: 10, 8, 8 and 6 bits for NVIDIA, Vulkan's own packing for others.
fn unpack_driver_version(vendor_id: u32, version: u32) -> String {
    if vendor_id == NVIDIA {
        let (major, minor) = (version >> 22, (version >> 14) & 0xff);
        format!("{major}.{minor}.{:02}", (version >> 6) & 0xff)
    } else {
        let Version { major, minor, patch } = Version::from(version);
        format!("{major}.{minor}.{patch}")
    }
}

fn loading_error(error: LoadingError) -> VulkanError {
    match error {
        // vulkano's own text leaves out what the linker said.
        LoadingError::LibraryLoadFailure(ref linker) => {
            VulkanError::NoLoader { detail: linker.to_string(), source: error.into() }
        }
        LoadingError::VulkanError(error) => driver_error("start the loader", error),
    }
}

/// Without a driver, old loaders refuse the instance and new ones the listing.
fn driver_error(step: &'static str, error: DriverError) -> VulkanError {
    match error {
        DriverError::IncompatibleDriver | DriverError::InitializationFailed => {
            VulkanError::NoDriver { source: error.into() }
        }
        _ => VulkanError::Failed { step, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, kind: DeviceKind, uuid: u8) -> Device {
        Device {
            index: 0,
            name: name.to_owned(),
            kind,
            vendor_id: 0,
            driver_name: "driver".to_owned(),
            driver_version: "1".to_owned(),
            api_version: ApiVersion { major: 1, minor: 3, patch: 0 },
            uuid: Some([uuid; 16]),
            memory_bytes: 1,
            max_storage_buffer_bytes: 1,
            max_shared_memory_bytes: 1,
            max_workgroup_invocations: 1,
            subgroup_size: None,
            float64: false,
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_loader() {
        let sorted = [
            device("B", DeviceKind::Discrete, 1),
            device("C", DeviceKind::Discrete, 1),
            device("C", DeviceKind::Discrete, 2),
            device("A", DeviceKind::Integrated, 1),
            device("A", DeviceKind::Virtual, 1),
            device("Venus (llvmpipe)", DeviceKind::Virtual, 1),
            device("llvmpipe", DeviceKind::Cpu, 1),
            device("A", DeviceKind::Other, 1),
        ];
        let expected: Vec<_> = sorted.iter().map(|d| (d.name.clone(), d.kind, d.uuid)).collect();
        for rotation in 0..sorted.len() {
            let mut devices: Vec<_> = sorted.iter().map(|d| (d.clone(), ())).collect();
            devices.rotate_left(rotation);
            devices.reverse();
            sort(&mut devices);
            let got: Vec<_> =
                devices.iter().map(|(d, ())| (d.name.clone(), d.kind, d.uuid)).collect();
            assert_eq!(got, expected);
            assert!(devices.iter().enumerate().all(|(index, (device, ()))| device.index == index));
        }
    }

    #[test]
    fn driver_versions_are_unpacked_as_the_vendor_packs_them() {
        assert_eq!(
            unpack_driver_version(NVIDIA, (535 << 22) | (129 << 14) | (3 << 6)),
            "535.129.03"
        );
        assert_eq!(unpack_driver_version(0x1002, (22 << 22) | (3 << 12) | 6), "22.3.6");
    }

    #[test]
    fn a_missing_driver_is_told_from_a_failing_one() {
        let none = driver_error("create an instance", DriverError::IncompatibleDriver);
        assert!(matches!(none, VulkanError::NoDriver { .. }));
        let failed = driver_error("create an instance", DriverError::OutOfHostMemory);
        assert!(failed.to_string().contains("create an instance"), "{failed}");
    }
}
