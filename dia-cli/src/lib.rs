//! Difference images from FITS files: the library behind the `dia` command.
//!
//! [`subtract()`] takes two [`Input`]s, read from FITS files or made of arrays in memory, and a [`SubtractRequest`], whose default
//! is what `dia subtract` does; a [`Subtraction`] is planes, solution and report. The layer of [FITS files](fits) is public.
//! The command wires all of it together and alone knows terminals and command lines; each subcommand has its file.

mod align;
mod args;
mod backend;
mod bench;
mod cli;
mod command;
mod crew;
mod defects;
mod demo;
mod detector;
mod devices;
mod direction;
mod error;
mod fields;
mod figure;
pub mod fits;
mod frames;
mod hotpants;
mod info;
mod input;
mod interrupt;
mod kernel_basis;
mod linear;
mod matched_filter;
mod memory;
mod night;
mod notice;
mod options;
mod output;
mod page;
mod photometry;
mod planes;
mod quality_bits;
mod reference;
mod report;
mod request;
mod shared_noise;
mod shell;
mod simulate;
mod sky;
mod subtract;
mod subtraction;
mod table;
mod terminal;
mod verdict;
mod world_coordinates;

pub use align::command::Alignment;
pub use backend::{Backend, OnDevice, Precision};
pub use cli::{command_line, run_command};
pub use error::Error;
pub use input::{Input, InputOptions, NumberOrKeyword, Real, Role};
pub use notice::Level;
pub use photometry::Scenery;
pub use planes::{MaskBits, Uncertainty};
pub use report::Report;
pub use request::{Align, Basis, Convolve, Degree, HalfWidth, SubtractRequest};
pub use subtraction::{Event, Subtraction, subtract};
pub use table::{About, Column, Positions, Table, Values};
