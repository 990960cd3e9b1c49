//! `--backend`: where the products are computed.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use dia_core::{Design, DesignMatrix, ImageView, OperatorError};
use dia_fft::FftDesignMatrix;
use dia_vulkan::{ContextOptions, DeviceChoice, VulkanContext, VulkanDesignMatrix, VulkanError};

/// The arithmetic of pixels and Fourier transforms; parameters and sums are always in double precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Precision {
    /// As report and command line call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// Where the products with the design matrix are computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// A GPU if there is one, never a software device; else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A Vulkan device, in single precision only.
    Vulkan(DeviceChoice),
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "auto")) {
            ("auto", "auto") => Ok(Self::Auto),
            ("cpu", "auto") => Ok(Self::Cpu),
            ("vulkan", device) => {
                device.parse().map(Self::Vulkan).map_err(|error| error.to_string())
            }
            _ => Err("expected `auto`, `cpu`, `vulkan`, `vulkan:INDEX` or `vulkan:NAME`".into()),
        }
    }
}

impl Backend {
    /// The device to compute on; `None` is the CPU.
    pub(crate) fn open(
        &self,
        precision: Precision,
        options: ContextOptions,
    ) -> Result<Option<Arc<VulkanContext>>> {
        let open = |choice| VulkanContext::open(choice, options);
        match (self, precision) {
            (Self::Cpu, _) | (Self::Auto, Precision::F64) => Ok(None),
            (Self::Auto, Precision::F32) => match open(&DeviceChoice::Auto) {
                Ok(context) => Ok(Some(context)),
                Err(
                    VulkanError::NoLoader { .. }
                    | VulkanError::NoDriver { .. }
                    | VulkanError::NoDevices
                    | VulkanError::NoGpu { .. },
                ) => Ok(None),
                Err(error) => {
                    Err(error).context("the GPU cannot be used; --backend cpu does without")
                }
            },
            (Self::Vulkan(_), Precision::F64) => bail!(
                "Vulkan devices compute in single precision; give --precision f32 or --backend cpu"
            ),
            (Self::Vulkan(choice), Precision::F32) => Ok(Some(open(choice)?)),
        }
    }

    /// What to say when the device that was opened cannot take the images.
    pub(crate) fn refused_by(&self, device: &str) -> String {
        match self {
            Self::Auto => format!(
                "--backend auto chose {device}, which cannot take these images; --backend cpu can"
            ),
            Self::Cpu | Self::Vulkan(_) => format!("{device} cannot take these images"),
        }
    }
}

/// Pixels that a device may compute with.
pub trait OnDevice: Sized {
    /// The design matrix on a device.
    type Operator: DesignMatrix<Pixel = Self>;

    /// The part of the image's rows for which the device has no room.
    fn part_on_host(operator: &Self::Operator) -> f64;

    /// Makes it, with the reference uploaded.
    ///
    /// # Errors
    /// If the device cannot take it.
    fn operator(
        context: &Arc<VulkanContext>,
        reference: ImageView<'_, Self>,
        design: Design,
    ) -> Result<Self::Operator, OperatorError>;
}

impl OnDevice for f32 {
    type Operator = VulkanDesignMatrix;

    fn part_on_host(operator: &Self::Operator) -> f64 {
        operator.part_on_host()
    }

    fn operator(
        context: &Arc<VulkanContext>,
        reference: ImageView<'_, Self>,
        design: Design,
    ) -> Result<Self::Operator, OperatorError> {
        VulkanDesignMatrix::new(context, reference, design)
    }
}

/// Never made: no device is opened for double precision.
impl OnDevice for f64 {
    type Operator = FftDesignMatrix<f64>;

    fn part_on_host(_: &Self::Operator) -> f64 {
        0.0
    }

    fn operator(
        _: &Arc<VulkanContext>,
        reference: ImageView<'_, Self>,
        design: Design,
    ) -> Result<Self::Operator, OperatorError> {
        FftDesignMatrix::new(reference, design)
    }
}

#[cfg(test)]
mod tests {
    use dia_vulkan::DeviceChoice;

    use super::Backend;

    #[test]
    fn a_device_that_nobody_named_is_named_with_the_way_out() {
        let text = Backend::Auto.refused_by("Tiny GPU");
        assert!(text.contains("Tiny GPU") && text.contains("--backend cpu"), "{text}");
        assert!(!Backend::Vulkan(DeviceChoice::Index(0)).refused_by("Tiny GPU").contains("auto"));
    }

    #[test]
    fn backends_are_parsed() {
        assert_eq!("auto".parse(), Ok(Backend::Auto));
        assert_eq!("cpu".parse(), Ok(Backend::Cpu));
        assert_eq!("vulkan".parse(), Ok(Backend::Vulkan(DeviceChoice::Auto)));
        assert_eq!("vulkan:1".parse(), Ok(Backend::Vulkan(DeviceChoice::Index(1))));
        assert!("vulkan:".parse::<Backend>().is_err() && "cuda".parse::<Backend>().is_err());
    }
}
