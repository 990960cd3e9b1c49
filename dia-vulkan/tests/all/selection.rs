//! Parsing of choices and selection on hand-made descriptions; needs no device and no loader.

use dia_vulkan::{ApiVersion, Device, DeviceChoice, DeviceKind, VulkanError, select};

const GIB: u64 = 1 << 30;

fn device(index: usize, name: &str, kind: DeviceKind, driver: &str) -> Device {
    Device {
        index,
        name: name.to_owned(),
        kind,
        vendor_id: 0x10de,
        driver_name: driver.to_owned(),
        driver_version: "1.2.3".to_owned(),
        api_version: ApiVersion { major: 1, minor: 3, patch: 230 },
        uuid: None,
        memory_bytes: 12 * GIB,
        max_storage_buffer_bytes: 1 << 27,
        max_shared_memory_bytes: 32_768,
        max_workgroup_invocations: 1024,
        subgroup_size: Some(32),
        float64: true,
    }
}

fn software() -> Device {
    device(0, "llvmpipe (LLVM 15.0.6, 256 bits)", DeviceKind::Cpu, "llvmpipe")
}

fn workstation() -> Vec<Device> {
    vec![
        device(0, "NVIDIA GeForce RTX 4090", DeviceKind::Discrete, "NVIDIA"),
        device(1, "Intel(R) UHD Graphics", DeviceKind::Integrated, "Intel open-source Mesa driver"),
        Device { index: 2, ..software() },
    ]
}

fn chosen(devices: &[Device], choice: &str) -> Result<usize, VulkanError> {
    Ok(select(devices, &choice.parse()?)?.index)
}

#[test]
fn choices_are_parsed() {
    for (text, choice) in [
        ("auto", DeviceChoice::Auto),
        ("AUTO", DeviceChoice::Auto),
        (" auto ", DeviceChoice::Auto),
        ("0", DeviceChoice::Index(0)),
        ("12", DeviceChoice::Index(12)),
        ("llvmpipe", DeviceChoice::Name("llvmpipe".into())),
        ("RTX 4090", DeviceChoice::Name("RTX 4090".into())),
        ("+1", DeviceChoice::Name("+1".into())),
        ("-1", DeviceChoice::Name("-1".into())),
        // Above 2⁶⁴: no index.
        ("99999999999999999999", DeviceChoice::Name("99999999999999999999".into())),
    ] {
        let parsed: DeviceChoice = text.parse().unwrap();
        assert_eq!(parsed, choice, "{text:?}");
        assert_eq!(parsed.to_string().parse::<DeviceChoice>().unwrap(), choice, "{text:?}");
    }
    for text in ["", "  "] {
        assert!(matches!(text.parse::<DeviceChoice>(), Err(VulkanError::EmptyChoice)));
    }
    assert_eq!(DeviceChoice::default(), DeviceChoice::Auto);
}

#[test]
fn auto_takes_the_first_gpu_and_never_software() {
    assert_eq!(chosen(&workstation(), "auto").unwrap(), 0);
    assert_eq!(chosen(&workstation()[1..], "auto").unwrap(), 1);

    let other = device(1, "some FPGA", DeviceKind::Other, "driver");
    let error = chosen(&[software(), other], "auto").unwrap_err();
    assert!(matches!(error, VulkanError::NoGpu { .. }));
    let text = error.to_string();
    assert!(text.contains("0 \"llvmpipe (LLVM 15.0.6, 256 bits)\" (CPU, software)"), "{text}");
    assert!(text.contains("1 \"some FPGA\" (other)"), "{text}");
}

#[test]
fn a_cpu_is_software_whatever_its_name() {
    let warp = device(0, "Microsoft Basic Render Driver", DeviceKind::Cpu, "Dozen");
    assert!(warp.is_software());
    assert!(matches!(chosen(&[warp], "auto"), Err(VulkanError::NoGpu { .. })));
}

#[test]
fn software_behind_a_virtual_gpu_is_still_software() {
    let hidden = device(0, "Virtio-GPU Venus (llvmpipe)", DeviceKind::Virtual, "venus");
    assert!(hidden.is_software());
    assert!(matches!(chosen(&[hidden], "auto"), Err(VulkanError::NoGpu { .. })));
    let real = device(0, "Virtio-GPU Venus (NVIDIA L4)", DeviceKind::Virtual, "venus");
    assert_eq!(chosen(&[real], "auto").unwrap(), 0);
}

#[test]
fn index_and_name_select_any_device() {
    let devices = workstation();
    for (choice, index) in [("0", 0), ("2", 2), ("uhd", 1), ("LLVMPIPE", 2), ("rtx 4090", 0)] {
        assert_eq!(chosen(&devices, choice).unwrap(), index, "{choice}");
    }
    // The first of several: "i" is in all three names.
    assert_eq!(chosen(&devices, "i").unwrap(), 0);
    // The index is the device's own, also in a part of a listing.
    assert_eq!(chosen(&devices[1..], "1").unwrap(), 1);
}

#[test]
fn errors_list_the_candidates() {
    let devices = workstation();
    let index = chosen(&devices, "3").unwrap_err();
    assert!(matches!(index, VulkanError::IndexOutOfRange { index: 3, .. }));
    let name = chosen(&devices, "radeon").unwrap_err();
    assert!(matches!(name, VulkanError::NameNotFound { .. }));
    assert!(name.to_string().contains("\"radeon\""), "{name}");
    for error in [index, name] {
        for device in &devices {
            assert!(error.to_string().contains(&device.name), "{error}");
        }
    }
    assert!(matches!(chosen(&[], "auto"), Err(VulkanError::NoDevices)));
    let empty = DeviceChoice::Name(String::new());
    assert!(matches!(select(&devices, &empty), Err(VulkanError::EmptyChoice)));
}

#[test]
fn a_device_is_one_line() {
    assert_eq!(
        workstation()[0].to_string(),
        "0 \"NVIDIA GeForce RTX 4090\" (discrete GPU); driver NVIDIA 1.2.3; Vulkan 1.3.230; \
         12.0 GiB; float64"
    );
    let single = Device { float64: false, ..software() }.to_string();
    assert!(single.contains("(CPU, software)") && single.ends_with("no float64"), "{single}");
    assert_eq!(format!("{:>14}|", DeviceKind::Integrated), "integrated GPU|");
    assert!(ApiVersion { major: 1, minor: 2, patch: 300 } < workstation()[0].api_version);
}

#[test]
fn errors_can_cross_threads() {
    fn check<T: std::error::Error + Send + Sync + 'static>() {}
    check::<VulkanError>();
}
