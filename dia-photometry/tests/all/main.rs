//! All tests of the crate that need whole fields, one program.

mod detection;
mod field;
mod noise;
mod psf;
mod rows;
