//! How two images in memory lie.

use dia_cli::{Alignment, Role, SubtractRequest};
use pyo3::prelude::*;

use crate::errors::{failed, unusable};
use crate::image::{Borrowed, inputs};
use crate::interruptible;

/// The document of `dia align` as JSON, of two of Python's `dia._image.Image` in single precision.
#[pyfunction]
pub(crate) fn align(
    reference: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    options: Vec<String>,
) -> PyResult<String> {
    let (request, _, threads) =
        SubtractRequest::of_options(options).map_err(|error| unusable(&error))?;
    let py = reference.py();
    let (reference, target) = (Borrowed::<f32>::of(reference)?, Borrowed::<f32>::of(target)?);
    let (reference, target) = (reference.planes(Role::Reference)?, target.planes(Role::Target)?);
    interruptible::run(
        py,
        threads,
        |_, _| Ok(()),
        |_| {
            let (reference, target) = inputs(&reference, &target)?;
            let alignment = Alignment::of(&reference, &target, request.align);
            alignment.and_then(|found| found.to_json()).map_err(|error| failed(&error))
        },
    )?
}
