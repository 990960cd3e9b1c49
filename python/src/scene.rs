//! Measurements on a difference.

use std::path::PathBuf;

use dia_cli::{About, Error, Positions, Scenery, Table, Values};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::failed;
use crate::interruptible;

/// What measurements on a difference need, out of Python's sight.
#[pyclass(frozen, module = "dia._dia")]
#[derive(Debug)]
pub(crate) struct Scene(Scenery);

impl Scene {
    pub(crate) fn new(scenery: Scenery) -> Self {
        Self(scenery)
    }

    fn table<'py>(
        &self,
        py: Python<'py>,
        threads: usize,
        measure: impl FnOnce(&Scenery) -> Result<Table, Error> + Send,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyDict>)> {
        let table = interruptible::run(py, threads, |_, _| Ok(()), |_| measure(&self.0))?;
        columns(py, table.map_err(|error| failed(&error))?)
    }
}

#[pymethods]
impl Scene {
    /// That in a file of `dia subtract --planes scene`.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(move || Scenery::read(&path)).map(Self).map_err(|error| failed(&error))
    }

    /// What changed, as columns and what is said of all of them.
    fn detections<'py>(
        &self,
        py: Python<'py>,
        threshold: f64,
        threads: usize,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyDict>)> {
        self.table(py, threads, |scenery| scenery.detections(threshold))
    }

    /// Fluxes at places in pixels, or `on_sky` in degrees.
    fn fluxes<'py>(
        &self,
        py: Python<'py>,
        positions: Vec<(f64, f64)>,
        on_sky: bool,
        apertures: Vec<f64>,
        threads: usize,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyDict>)> {
        let positions =
            if on_sky { Positions::Sky(positions) } else { Positions::Pixels(positions) };
        self.table(py, threads, move |scenery| scenery.fluxes(positions, &apertures))
    }
}

/// (name, unit, description, values) of each column, and what belongs to the table by name.
fn columns(py: Python<'_>, table: Table) -> PyResult<(Bound<'_, PyList>, Bound<'_, PyDict>)> {
    let columns = PyList::empty(py);
    for column in table.columns {
        let values = match column.values {
            Values::Numbers(values) => values.into_pyarray(py).into_any(),
            Values::Integers(values) => values.into_pyarray(py).into_any(),
            Values::Truths(values) => values.into_pyarray(py).into_any(),
            Values::Texts(values) => values.into_pyobject(py)?,
        };
        columns.append((column.name, column.unit, column.description, values))?;
    }
    let about = PyDict::new(py);
    for (keyword, value, _) in table.about {
        match value {
            About::Text(text) => about.set_item(keyword, text)?,
            About::Number(number) => about.set_item(keyword, number)?,
        }
    }
    Ok((columns, about))
}
