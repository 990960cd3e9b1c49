//! The model of a pair: how far the kernel reaches, what it is made of, and how it varies.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dia_core::{Design, ImageView, KernelShape, KernelSupport};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    Criterion, KernelExtent, LEAST_BACKGROUND, automatic_degree, best_half_width, nested_kernels,
    with_largest_background,
};
use dia_vulkan::VulkanContext;

use crate::input::Real;
use crate::kernel_basis::BasisRecipe;
use crate::report::Seeing;
use crate::request::{Basis, Degree, HalfWidth, SubtractRequest};
use crate::subtraction::pair::Pair;

/// The design that is asked for, or by the seeing, with what its basis is made of.
pub(super) fn choose<T: Real>(
    pair: &Pair<'_, T>,
    device: Option<&Arc<VulkanContext>>,
    request: &SubtractRequest,
) -> Result<(Design, BasisRecipe)> {
    let (height, width) = pair.shape();
    let extent = match request.half_width {
        HalfWidth::Best(criterion) => best(pair, device, request, criterion)?,
        _ => extent(pair, request)?,
    };
    let scale_degree = request.scale_degree;
    let recipe = |kernel_degree: usize| BasisRecipe {
        basis: request.basis,
        shape: request.kernel_shape,
        extent,
        conserve_flux: scale_degree != kernel_degree,
    };
    let background = request.background_degree.or(LEAST_BACKGROUND);
    let designed = |kernel_degree: usize| {
        Design::new(height, width, recipe(kernel_degree).make(), Some(background))
            .and_then(|design| design.with_variation(scale_degree, kernel_degree))
            .map(|design| design.with_border(extent.inner))
            .with_context(|| pair.subtracting())
    };
    let design = match request.kernel_degree {
        Degree::Given(kernel_degree) => designed(kernel_degree)?,
        Degree::Auto => automatic_degree(designed)?,
    };
    let recipe = recipe(design.kernel_degree());
    let design = match request.background_degree {
        Degree::Auto => with_largest_background(design),
        Degree::Given(_) => design,
    };
    Ok((design, recipe))
}

/// How far the kernel reaches: as asked for, or by the seeing.
fn extent<T: Real>(pair: &Pair<'_, T>, request: &SubtractRequest) -> Result<KernelExtent> {
    let (height, width) = pair.shape();
    let fwhm = pair.seeing.map(Seeing::widest);
    if let HalfWidth::Pixels(half_width) = request.half_width {
        // Before a kernel of that size is made.
        ensure!(
            half_width < height.min(width).div_ceil(2),
            "a kernel of half-width {half_width} leaves no valid pixel in {}, an image of {height} × {width} pixels \
             (rows × columns); choose a smaller --half-width",
            pair.target()
        );
        return Ok(KernelExtent::of_half_width(half_width, fwhm));
    }
    let fwhm = fwhm.with_context(|| {
        format!(
            "the seeing of {} cannot be measured: too few usable stars; give --half-width N, about \
             2.5 times the wider FWHM of both images' stars in pixels",
            pair.unmeasured
        )
    })?;
    let extent = KernelExtent::of_seeing(fwhm, height, width);
    let with_wings = request.half_width == HalfWidth::Auto
        && request.basis == Basis::Mixed
        && request.kernel_shape == KernelShape::Circle;
    let without = || KernelExtent::of_half_width(extent.inner, Some(fwhm));
    Ok(if with_wings { extent } else { without() })
}

/// The half-width that a criterion chooses of all up to that by the seeing.
fn best<T: Real>(
    pair: &Pair<'_, T>,
    device: Option<&Arc<VulkanContext>>,
    request: &SubtractRequest,
    criterion: Criterion,
) -> Result<KernelExtent> {
    let (r, t) = (pair.convolved.exposure(), pair.fitted_to.exposure());
    let widest = KernelSupport::new(extent(pair, request)?.half_width, request.kernel_shape);
    let degree = request.background_degree.or(LEAST_BACKGROUND);
    let options = &pair.options;
    let kernels = match device {
        Some(context) => {
            let operator = |image: ImageView<'_, T>, design| T::operator(context, image, design);
            nested_kernels(&r, &t, widest, degree, operator, options)
        }
        None => nested_kernels(&r, &t, widest, degree, FftDesignMatrix::new, options),
    };
    let kernels = kernels
        .with_context(|| pair.subtracting())
        .context("the best half-width cannot be found; give --half-width N")?;
    let half_width =
        best_half_width(&kernels, criterion).context("no half-widths to choose from")?;
    Ok(KernelExtent::of_half_width(half_width, pair.seeing.map(Seeing::widest)))
}
