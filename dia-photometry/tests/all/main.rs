//! All tests of the crate that need whole fields, one program.

mod certificate;
mod detection;
mod field;
mod noise;
mod psf;
mod rows;
