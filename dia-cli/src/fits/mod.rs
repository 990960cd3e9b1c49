//! FITS in and out.
//!
//! The header blocks are parsed here, card by card, because cards must be copied verbatim and because every size that
//! a header declares is checked against the true size of the file before a byte of data is read. The pixels of plain
//! and gzipped files are decoded by `fitsrs`; BSCALE, BZERO and BLANK are applied here. Tile-compressed images are read
//! by CFITSIO, with the cargo feature `cfitsio`. The writer is our own.
//!
//! Conventions: an image is row-major with `height` = NAXIS2 and `width` = NAXIS1, the first FITS axis (x) is the
//! fastest, and pixels and HDUs are counted from 0 (HDU 0 is the primary one).

mod atomic;
mod compressed;
mod error;
mod header;
mod pixels;
mod read;
mod spec;
mod standard;
mod stream;
mod table;
#[cfg(test)]
mod tests;
#[cfg(feature = "cfitsio")]
mod tiles;
mod value;
mod write;

pub use atomic::{check_writable, remove_unfinished, write_atomically};
pub use error::FitsError;
pub use header::{CARD_LENGTH, Card, Header};
pub use pixels::{FitsImage, IntegerImage, Pixel};
pub use read::{FitsFile, Hdu, HduKind};
pub use spec::{FitsSpec, HduSelector};
pub use standard::{damaged, mended};
pub use value::Value;
pub use write::{Field, HduData, HduOut, write};
