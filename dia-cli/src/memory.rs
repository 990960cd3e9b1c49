//! Where a subtraction computes, and how it keeps within the memory that it may take.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use dia_core::{Design, MaskPlanes};
use dia_fft::Plan;
use dia_vulkan::{ContextOptions, VulkanContext};

use crate::input::Real;
use crate::request::SubtractRequest;

/// Image-sized arrays of pixels at the peak of a subtraction, beside what the operator keeps. The peak is the search for variable sources: reference, target; the reference without
/// sky, its variance; data, two parts of the noise, the reference's variance in the model, weights, scratch memory; model, residual, its variance, stars, their
/// apertures. Measured as 107 bytes per pixel of 2048² and 4096² with the masks.
const IMAGES: usize = 25;

/// Image-sized masks at that time.
const MASKS: usize = 4;

/// The device that computes, if one does, with the memory that it may take.
pub(crate) fn device<T: Real>(
    request: &SubtractRequest,
    height: usize,
    width: usize,
) -> Result<Option<Arc<VulkanContext>>> {
    let planes = planes::<T>(height, width);
    let options = ContextOptions {
        memory_limit_bytes: request.max_device_memory,
        host_limit_bytes: request.max_memory.map(|limit| limit.saturating_sub(planes)),
        ..Default::default()
    };
    let device = request.backend.open(T::PRECISION, options)?;
    if let (Some(_), Some(limit)) = (&device, request.max_memory) {
        let (planes, limit) = (ByteSize(planes), ByteSize(limit));
        ensure!(planes <= limit, too_large(height, width, planes, limit));
    }
    Ok(device)
}

/// The fastest way to multiply that leaves the process within its memory.
pub(crate) fn plan<T: Real>(request: &SubtractRequest, design: &Design) -> Result<Plan> {
    let plan = Plan::fastest(design)?;
    let Some(limit) = request.max_memory.map(ByteSize) else { return Ok(plan) };
    let (height, width) = (design.height(), design.width());
    let bytes = |plan: Plan| ByteSize(planes::<T>(height, width) + plan.bytes::<T>(design) as u64);
    let slower = Plan { store_spectra: false, ..plan };
    let fits = [plan, slower].into_iter().find(|plan| bytes(*plan) <= limit);
    fits.with_context(|| too_large(height, width, bytes(slower), limit))
}

/// What planes of pixels and masks take at the peak, in bytes.
pub(crate) fn planes<T>(height: usize, width: usize) -> u64 {
    (height * width * (IMAGES * size_of::<T>() + MASKS * size_of::<MaskPlanes>())) as u64
}

fn too_large(height: usize, width: usize, bytes: ByteSize, limit: ByteSize) -> String {
    format!(
        "images of {height} × {width} pixels take about {bytes}, more than the limit of {limit}; give a larger --max-memory or cut the images"
    )
}
