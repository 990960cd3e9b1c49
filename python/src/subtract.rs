//! The subtraction of two images in memory.

use dia_cli::{Event, Precision, Real, Role, Scenery, SubtractRequest, Subtraction};
use dia_solvers::Covariance;
use numpy::ndarray::Array3;
use numpy::{Element, IntoPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{failed, unusable};
use crate::image::{Borrowed, array, bits, inputs};
use crate::interruptible;
use crate::scene::Scene;

/// Subtracts `reference` from `target`, both of Python's `dia._images.Image`; the parts of a `dia.Result` by name.
///
/// `options` are those of `dia subtract`; with `scene`, what measurements need is among the parts. `progress` is called with the number of each pass and the distance from the minimum in σ, `warn` with
/// what else is to be known while the fit runs.
#[pyfunction]
pub(crate) fn subtract<'py>(
    reference: &Bound<'py, PyAny>,
    target: &Bound<'py, PyAny>,
    options: Vec<String>,
    scene: bool,
    progress: Option<Py<PyAny>>,
    warn: Py<PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let (mut request, precision, threads) =
        SubtractRequest::of_options(options).map_err(|error| unusable(&error))?;
    if scene {
        request.fit.covariance = Some(Covariance::Sampled);
    }
    let job = Job { request, threads, scene, progress, warn };
    match precision {
        Precision::F32 => job.run::<f32>(reference, target),
        Precision::F64 => job.run::<f64>(reference, target),
    }
}

struct Job {
    request: SubtractRequest,
    threads: usize,
    scene: bool,
    progress: Option<Py<PyAny>>,
    warn: Py<PyAny>,
}

impl Job {
    fn run<'py, T: Real + Element>(
        self,
        reference: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Self { request, threads, scene, progress, warn } = self;
        let py = reference.py();
        let (reference, target) = (Borrowed::<T>::of(reference)?, Borrowed::<T>::of(target)?);
        let (reference, target) =
            (reference.planes(Role::Reference)?, target.planes(Role::Target)?);
        let hear = |py: Python<'_>, event| match event {
            Event::Pass(pass) => progress.as_ref().map_or(Ok(()), |progress| {
                progress.call1(py, (pass.pass, pass.optimality)).map(drop)
            }),
            Event::RowsOnHost { device, part } => {
                let text = format!(
                    "{device} has no room for {:.0} % of the rows, which stay in the host's memory: the fit is slower",
                    100.0 * part
                );
                warn.call1(py, (text,)).map(drop)
            }
            _ => Ok(()),
        };
        let (subtraction, scenery) = interruptible::run(py, threads, hear, |tell| {
            let (reference, target) = inputs(&reference, &target)?;
            let subtract = || {
                let subtraction = dia_cli::subtract(reference, target, &request, tell)?;
                let scenery = scene.then(|| Scenery::of_subtraction(&subtraction)).transpose()?;
                Ok((subtraction, scenery))
            };
            subtract().map_err(|error| failed(&error))
        })??;
        let parts = parts(py, subtraction)?;
        parts.set_item("scene", scenery.map(Scene::new))?;
        Ok(parts)
    }
}

fn parts<T: Real + Element>(
    py: Python<'_>,
    subtraction: Subtraction<T>,
) -> PyResult<Bound<'_, PyDict>> {
    let Subtraction { difference, report, .. } = subtraction;
    let parts = PyDict::new(py);
    let terms = difference.design.kernels(&difference.parameters);
    let side = difference.kernel.side();
    let kernels = Array3::from_shape_fn((terms.len(), side, side), |(t, y, x)| {
        terms[t].pixels()[y * side + x]
    });
    let powers: Vec<(usize, usize)> = difference.design.variation().powers().collect();
    let estimate = |e: dia_solvers::Estimate| (e.value, e.sigma);
    let background: Vec<(f64, f64)> = difference.background.iter().copied().map(estimate).collect();
    parts.set_item("mask", bits(py, &difference.mask)?)?;
    parts.set_item("difference", array(py, difference.difference))?;
    parts.set_item("variance", array(py, difference.variance))?;
    parts.set_item("model", array(py, difference.model))?;
    parts.set_item("kernels", kernels.into_pyarray(py))?;
    parts.set_item("kernel_powers", powers)?;
    parts.set_item("photometric_scale", estimate(difference.photometric_scale))?;
    parts.set_item("background", background)?;
    parts.set_item("report", report.to_json().map_err(|error| failed(&error))?)?;
    Ok(parts)
}
