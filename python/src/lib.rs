//! The extension module of the Python package `dia`: what the library `dia_cli` does, on NumPy arrays.
//!
//! Its functions take what the Python part of the package has brought into shape, so that errors of types are bugs there.

mod align;
mod errors;
mod image;
mod interruptible;
mod scene;
mod subtract;

use std::ffi::OsString;
use std::process::ExitCode;

use dia_core::MaskPlanes;
use pyo3::prelude::*;

/// The functions of the module.
#[pymodule(name = "_dia")]
mod extension {
    #[pymodule_export]
    use super::align::align;
    #[pymodule_export]
    use super::errors::DiaError;
    #[pymodule_export]
    use super::scene::Scene;
    #[pymodule_export]
    use super::subtract::subtract;
    #[pymodule_export]
    use super::{mask_planes, run_command, version};
}

/// The version of the library.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Names and bits of the planes of a mask.
#[pyfunction]
fn mask_planes() -> Vec<(&'static str, u16)> {
    MaskPlanes::all().iter_names().map(|(name, plane)| (name, plane.bits())).collect()
}

/// Runs the command `dia` with these arguments, its name first; the exit code.
#[pyfunction]
fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let exit = py.detach(|| dia_cli::run_command(arguments));
    // An exit code does not tell its number.
    (0..=u8::MAX).find(|code| ExitCode::from(*code) == exit).unwrap_or(1)
}
