//! The exceptions, with the words of the library.

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::{PyErr, create_exception};

create_exception!(
    dia,
    DiaError,
    PyException,
    "There is no result: the text names the image, the cause and the remedy, in the words of the command `dia`."
);

/// The images do not give a result.
pub(crate) fn failed(error: &dia_cli::Error) -> PyErr {
    DiaError::new_err(error.line())
}

/// An argument cannot be used.
pub(crate) fn unusable(error: &dia_cli::Error) -> PyErr {
    PyValueError::new_err(error.line())
}
