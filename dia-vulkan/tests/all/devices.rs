//! Listing and selection on the devices of this machine.
//!
//! Without a device these tests skip, loudly. With `DIA_REQUIRE_VULKAN=1` they fail instead.

use std::{
    env,
    io::{Write, stderr},
};

use dia_vulkan::{Device, DeviceChoice, DeviceKind, VulkanError, devices, select};

/// Says so where it is seen: the test harness would hide the text of `eprintln!`.
fn skipped(test: &str, why: &str) {
    let _ = writeln!(stderr(), "\nSKIPPED {test}: {why}\n");
}

/// The devices of this machine, or `None` where there are none and none are required.
fn devices_or_skip(test: &str) -> Option<Vec<Device>> {
    match devices() {
        Ok(devices) => Some(devices),
        Err(
            error @ (VulkanError::NoLoader { .. }
            | VulkanError::NoDriver { .. }
            | VulkanError::NoDevices),
        ) => {
            let required = env::var("DIA_REQUIRE_VULKAN").is_ok_and(|value| value == "1");
            assert!(!required, "DIA_REQUIRE_VULKAN=1, but: {error}");
            skipped(test, &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_listing_is_complete_and_numbered() {
    let Some(devices) = devices_or_skip("the_listing_is_complete_and_numbered") else { return };
    assert!(!devices.is_empty());
    for (index, device) in devices.iter().enumerate() {
        assert_eq!(device.index, index);
        assert!(!device.name.trim().is_empty());
        assert!(!device.driver_name.is_empty());
        assert!(!device.driver_version.is_empty());
        assert!(device.memory_bytes > 0, "{device}");
        assert_eq!(device.api_version.major, 1, "{device}");
        // The least that the Vulkan specification allows.
        assert!(device.max_storage_buffer_bytes >= 1 << 27, "{device}");
        assert!(device.max_shared_memory_bytes >= 16_384, "{device}");
        assert!(device.max_workgroup_invocations >= 128, "{device}");
        assert!(device.subgroup_size.is_none_or(u32::is_power_of_two), "{device}");
        assert!(!device.to_string().contains('\n'));
    }
}

#[test]
fn two_listings_agree() {
    let Some(first) = devices_or_skip("two_listings_agree") else { return };
    assert_eq!(first, devices().unwrap());
}

#[test]
fn lavapipe_is_recognised_as_software() {
    let Some(devices) = devices_or_skip("lavapipe_is_recognised_as_software") else { return };
    let lavapipe: Vec<&Device> = devices.iter().filter(|d| d.name.contains("llvmpipe")).collect();
    if lavapipe.is_empty() {
        return skipped("lavapipe_is_recognised_as_software", "lavapipe is not installed here");
    }
    for device in lavapipe {
        assert_eq!(device.kind, DeviceKind::Cpu);
        assert!(device.is_software());
        assert!(!device.is_gpu());
        assert!(device.float64);
    }
}

#[test]
fn auto_refuses_a_list_with_software_only() {
    let Some(devices) = devices_or_skip("auto_refuses_a_list_with_software_only") else { return };
    let software: Vec<Device> = devices.iter().filter(|d| d.is_software()).cloned().collect();
    if software.is_empty() {
        return skipped("auto_refuses_a_list_with_software_only", "only GPUs here");
    }
    let error = select(&software, &DeviceChoice::Auto).unwrap_err();
    assert!(matches!(error, VulkanError::NoGpu { .. }));
    for device in &software {
        assert!(error.to_string().contains(&device.name), "{error}");
    }
}

#[test]
fn auto_takes_the_first_gpu() {
    let Some(devices) = devices_or_skip("auto_takes_the_first_gpu") else { return };
    let chosen = select(&devices, &DeviceChoice::Auto).ok();
    assert_eq!(chosen, devices.iter().find(|device| device.is_gpu()));
}

#[test]
fn every_device_can_be_selected_by_index_and_by_name() {
    let Some(devices) = devices_or_skip("every_device_can_be_selected_by_index_and_by_name") else {
        return;
    };
    for device in &devices {
        assert_eq!(select(&devices, &DeviceChoice::Index(device.index)).unwrap(), device);
        let shouted = DeviceChoice::Name(device.name.to_uppercase());
        // Equal devices share a name: the first one is meant.
        assert_eq!(select(&devices, &shouted).unwrap().name, device.name);
    }
}

/// Runs itself again with a loader that is told of no driver.
#[test]
#[cfg(target_os = "linux")]
fn a_missing_driver_is_explained() {
    use std::{error::Error, process::Command};

    const CHILD: &str = "DIA_TEST_WITHOUT_DRIVER";
    if env::var_os(CHILD).is_some() {
        match devices() {
            Err(error @ VulkanError::NoDriver { .. }) => {
                assert!(error.to_string().contains("mesa-vulkan-drivers"), "{error}");
                assert!(error.source().is_some());
            }
            // A loader may also come up with an empty list.
            Err(VulkanError::NoDevices) => {}
            other => panic!("{other:?}"),
        }
        return;
    }
    if devices_or_skip("a_missing_driver_is_explained").is_none() {
        return;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "devices::a_missing_driver_is_explained"])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/nonexistent/icd.json")
        .env("VK_ICD_FILENAMES", "/nonexistent/icd.json")
        .env_remove("VK_ADD_DRIVER_FILES")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
