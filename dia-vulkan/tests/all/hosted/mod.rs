//! What the tests on a device share: a context or a loud skip, images, and the operator with its data on the host.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Write, stderr};
use std::sync::{Arc, OnceLock};

use dia_core::{DesignMatrix, Image, LinearOperator, OperatorError};
use dia_vulkan::{
    ContextOptions, DeviceChoice, VulkanContext, VulkanDesignMatrix, VulkanError, VulkanWorkspace,
};

/// The first device, opened with `options`; `None` where there is none and none is required.
pub(crate) fn opened(test: &str, options: ContextOptions) -> Option<Arc<VulkanContext>> {
    match VulkanContext::open(&DeviceChoice::Index(0), options) {
        Ok(context) => Some(context),
        Err(
            error @ (VulkanError::NoLoader { .. }
            | VulkanError::NoDriver { .. }
            | VulkanError::NoDevices),
        ) => {
            let required = std::env::var("DIA_REQUIRE_VULKAN").is_ok_and(|value| value == "1");
            assert!(!required, "DIA_REQUIRE_VULKAN=1, but: {error}");
            let _ = writeln!(stderr(), "\nSKIPPED {test}: {error}\n");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// One context for all tests of a binary: shaders are compiled once.
pub(crate) fn context(test: &str) -> Option<Arc<VulkanContext>> {
    static CONTEXT: OnceLock<Option<Arc<VulkanContext>>> = OnceLock::new();
    CONTEXT.get_or_init(|| opened(test, ContextOptions::default())).clone()
}

/// Pixels between 0 and 80, some of them stars.
pub(crate) fn image(height: usize, width: usize, seed: usize) -> Image<f32> {
    Image::from_fn(height, width, |y, x| {
        let hash = (y * 7919 + x * 104_729 + seed * 1_299_709) % 1009;
        (hash % 40) as f32 + if hash < 9 { 40.0 } else { 0.0 }
    })
}

/// Values between −1 and 1.
pub(crate) fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * i + 3 * i + 17 * seed) as f64).sin()).collect()
}

pub(crate) fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The operator with data vectors on the host, for the tests of `dia_core::testing`.
pub(crate) struct Hosted<'a>(pub(crate) &'a VulkanDesignMatrix);

impl LinearOperator for Hosted<'_> {
    type Data = Vec<f32>;
    type Workspace = VulkanWorkspace;

    fn nrows(&self) -> usize {
        self.0.nrows()
    }

    fn ncols(&self) -> usize {
        self.0.ncols()
    }

    fn workspace(&self) -> Result<VulkanWorkspace, OperatorError> {
        self.0.workspace()
    }

    fn zeros(&self) -> Result<Vec<f32>, OperatorError> {
        self.0.download(self.0.zeros()?)
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut Vec<f32>,
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        // With what was in y, so that an element which is not written shows.
        let mut device = self.0.upload(y.clone())?;
        self.0.apply(x, &mut device, workspace)?;
        *y = self.0.download(device)?;
        Ok(())
    }

    fn apply_adjoint(
        &self,
        y: &Vec<f32>,
        x: &mut [f64],
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        self.0.apply_adjoint(&self.0.upload(y.clone())?, x, workspace)
    }
}
