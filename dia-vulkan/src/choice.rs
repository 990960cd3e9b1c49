//! Which of the devices to use.

use std::{fmt, str::FromStr};

use crate::{Device, VulkanError};

/// The user's choice of a device.
///
/// ```
/// use dia_vulkan::DeviceChoice;
///
/// assert_eq!("auto".parse::<DeviceChoice>()?, DeviceChoice::Auto);
/// assert_eq!("0".parse::<DeviceChoice>()?, DeviceChoice::Index(0));
/// assert_eq!("llvmpipe".parse::<DeviceChoice>()?, DeviceChoice::Name("llvmpipe".into()));
/// # Ok::<(), dia_vulkan::VulkanError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU of the listing; never a software device.
    #[default]
    Auto,
    /// The device with this [`Device::index`]; may be a software device.
    Index(usize),
    /// The first device with this text in its [`Device::name`], in any case; may be a software
    /// device.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = VulkanError;

    /// "auto" in any case, decimal digits for an index, anything else for a name.
    ///
    /// Spaces at both ends are dropped. A number in a name needs more of the name with it, such as
    /// "RTX 4090".
    fn from_str(text: &str) -> Result<Self, VulkanError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(VulkanError::EmptyChoice);
        }
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        // `usize` alone would also take "+1".
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        Ok(match text.parse() {
            Ok(index) if digits => Self::Index(index),
            _ => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Index(index) => fmt::Display::fmt(index, f),
            Self::Name(name) => f.pad(name),
        }
    }
}

/// The device of a listing that the choice means.
///
/// # Errors
/// [`VulkanError::NoDevices`] if the listing is empty; [`VulkanError::NoGpu`],
/// [`VulkanError::IndexOutOfRange`], [`VulkanError::NameNotFound`] or [`VulkanError::EmptyChoice`]
/// if nothing fits. All but the first and the last list the candidates.
///
/// # Example
/// ```
/// use dia_vulkan::{DeviceChoice, VulkanError, devices, select};
///
/// fn name_of(choice: &str) -> Result<String, VulkanError> {
///     let choice: DeviceChoice = choice.parse()?;
///     Ok(select(&devices()?, &choice)?.name.clone())
/// }
///
/// // Nobody has so many devices: an error with a remedy or with a list of the candidates.
/// assert!(name_of("1000").is_err());
/// ```
pub fn select<'a>(devices: &'a [Device], choice: &DeviceChoice) -> Result<&'a Device, VulkanError> {
    if devices.is_empty() {
        return Err(VulkanError::NoDevices);
    }
    let candidates = || devices.iter().map(Device::label).collect();
    match choice {
        DeviceChoice::Auto => devices
            .iter()
            .find(|device| device.is_gpu())
            .ok_or_else(|| VulkanError::NoGpu { candidates: candidates() }),
        DeviceChoice::Index(index) => {
            devices.iter().find(|device| device.index == *index).ok_or_else(|| {
                VulkanError::IndexOutOfRange { index: *index, candidates: candidates() }
            })
        }
        DeviceChoice::Name(name) => {
            let wanted = name.trim().to_lowercase();
            if wanted.is_empty() {
                return Err(VulkanError::EmptyChoice);
            }
            devices.iter().find(|device| device.name.to_lowercase().contains(&wanted)).ok_or_else(
                || VulkanError::NameNotFound { name: name.clone(), candidates: candidates() },
            )
        }
    }
}
