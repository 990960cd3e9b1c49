//! Where the products of a case are computed: the identity that its row keeps.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use dia_vulkan::{ContextOptions, Device, DeviceChoice, VulkanContext, VulkanError, devices};
use serde::{Deserialize, Serialize};

use crate::backend::{Backend as Choice, Precision};

/// `cpu`, or `vulkan:NAME` with the whole name of a device: an index would mean another one on another day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Backend {
    /// `dia-fft`.
    Cpu,
    /// `dia-vulkan`.
    Vulkan(String),
}

impl Backend {
    /// The back ends of `--backends`, each once; fails before anything is measured if a device is not there or cannot compute.
    pub(crate) fn all_of(choices: &[Choice]) -> Result<Vec<Self>> {
        let found = choices.iter().map(|choice| {
            let device =
                choice.open(Precision::F32, ContextOptions::default()).context("--backends")?;
            Ok(device.map_or(Self::Cpu, |device| Self::Vulkan(device.device().name.clone())))
        });
        let mut backends = found.collect::<Result<Vec<_>>>()?;
        backends.sort();
        backends.dedup();
        Ok(backends)
    }

    /// The CPU and every GPU, no software device.
    pub(crate) fn cpu_and_gpus() -> Result<Vec<Self>> {
        let devices = match devices() {
            Err(
                VulkanError::NoLoader { .. }
                | VulkanError::NoDriver { .. }
                | VulkanError::NoDevices,
            ) => Vec::new(),
            found => found.context("--backends cpu does without")?,
        };
        let gpus = devices.into_iter().filter(Device::is_gpu);
        let gpus = gpus.map(|gpu| Choice::Vulkan(DeviceChoice::Index(gpu.index)));
        Self::all_of(&[Choice::Cpu].into_iter().chain(gpus).collect::<Vec<_>>())
            .context("a GPU cannot be used; --backends cpu does without")
    }

    pub(crate) fn is_device(&self) -> bool {
        *self != Self::Cpu
    }
}

/// The device of exactly this name. A part of it, as [`DeviceChoice::Name`] takes, may fit another one.
pub(crate) fn open(name: &str) -> Result<Arc<VulkanContext>> {
    let device = devices()?.into_iter().find(|device| device.name == name);
    let device = device.with_context(|| format!("the device {name} is gone"))?;
    Ok(VulkanContext::open(&DeviceChoice::Index(device.index), ContextOptions::default())?)
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.pad("cpu"),
            Self::Vulkan(name) => write!(f, "vulkan:{name}"),
        }
    }
}

impl From<Backend> for String {
    fn from(backend: Backend) -> Self {
        backend.to_string()
    }
}

impl TryFrom<String> for Backend {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            Some(("vulkan", name)) => Ok(Self::Vulkan(name.to_owned())),
            _ => Err(format!("no back end is named {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Backend;

    #[test]
    fn a_back_end_is_its_name_in_results() {
        // What the files of earlier versions hold.
        assert_eq!(serde_json::from_str::<Backend>("\"cpu\"").unwrap(), Backend::Cpu);
        let device = Backend::Vulkan("Tiny: GPU (2, b)".into());
        let text = serde_json::to_string(&device).unwrap();
        assert_eq!(text, "\"vulkan:Tiny: GPU (2, b)\"");
        assert_eq!(serde_json::from_str::<Backend>(&text).unwrap(), device);
        assert!(serde_json::from_str::<Backend>("\"cuda\"").is_err());
    }
}
