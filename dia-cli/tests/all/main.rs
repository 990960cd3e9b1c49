//! The tests of the `dia` command and of its library, one program for all of them: linking costs more than compiling.

mod align;
mod awkward_inputs;
mod bad_input;
mod bench_accuracy;
#[cfg(unix)]
mod bench_peers;
mod bench_solvers;
mod book;
mod commands;
mod dia;
mod direction;
mod doubtful_headers;
mod fields;
mod fits_astropy;
mod golden;
mod holes;
mod hotpants;
mod library;
#[cfg(unix)]
mod night;
mod packed;
mod page;
mod photometry;
mod real_images;
mod reference;
mod subtract;
mod vulkan;
