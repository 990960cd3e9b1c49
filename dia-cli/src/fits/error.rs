//! What can go wrong with a FITS file, with the file, the HDU, the value and the remedy.

use std::{io, path::PathBuf};

/// A FITS file could not be read or written. HDUs and pixels are counted from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitsError {
    /// The operating system refused to open or read the file.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The input file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The gzip stream is damaged or cut short.
    #[error("cannot uncompress {}: {source}; fetch the file again or try gunzip on it", path.display())]
    Gzip {
        /// The input file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{} is empty; fetch it again", path.display())]
    Empty {
        /// The input file.
        path: PathBuf,
    },
    /// A table was wanted.
    #[error("{} has no binary table; it has {available}", path.display())]
    NoTable {
        /// The input file.
        path: PathBuf,
        /// Its HDUs.
        available: String,
    },
    /// The file does not begin as a FITS file does.
    #[error("{} is not a FITS file: it begins with \"{start}\", not with \"SIMPLE  =\"; give a plain or gzipped FITS file", path.display())]
    NotFits {
        /// The input file.
        path: PathBuf,
        /// The first bytes, escaped.
        start: String,
    },
    /// The file ends, or goes on for too long, without the END card of a header.
    #[error("{}: the header of HDU {hdu} has no END card in its {bytes} bytes; the file is cut short or damaged, fetch it again", path.display())]
    HeaderCut {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: usize,
        /// Bytes from the start of this header to where the search ended.
        bytes: u64,
    },
    /// A structural keyword is missing or has an impossible value.
    #[error("{}: the header of HDU {hdu} is damaged: {reason}; fetch the file again or mend its header", path.display())]
    HeaderBad {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: usize,
        /// The keyword and what is wrong with it.
        reason: String,
    },
    /// The data are shorter than the header says.
    #[error("{}: HDU {hdu} declares {declared} bytes of data but only {present} are there; the file is cut short or its header is wrong, fetch it again", path.display())]
    DataCut {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// Bytes by `NAXISn`, BITPIX, PCOUNT and GCOUNT.
        declared: u128,
        /// Bytes from the start of the data to the end of the file.
        present: u64,
    },
    /// An extension begins where the HDU before it does not end.
    #[error("{}: an extension begins at byte {at}, but HDU {hdu} ends at byte {expected} by its header: blocks were lost or inserted, and pixels lie in wrong places; fetch the file again", path.display())]
    HduLost {
        /// The input file.
        path: PathBuf,
        /// The HDU before it.
        hdu: String,
        /// Byte at which that HDU ends by its header.
        expected: u64,
        /// Byte at which the extension begins.
        at: u64,
    },
    /// A compressed file or a pipe goes on for too long.
    #[error("{}: its uncompressed bytes go on beyond {limit_gib} GiB; uncompress it to a file, or check what it is", path.display())]
    StreamTooLong {
        /// The input file.
        path: PathBuf,
        /// Most that is held in memory.
        limit_gib: u64,
    },
    /// A plane was asked for of what is no cube, or has fewer planes.
    #[error("{}: HDU {hdu} has no plane {plane}: it has {planes} planes that can be chosen as FILE[EXT][PLANE], counted from 0", path.display())]
    NoSuchPlane {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// What was asked for.
        plane: usize,
        /// How many it has.
        planes: u64,
    },
    /// The HDU does not hold an image.
    #[error("{}: HDU {hdu} holds {kind}, not an image; pick another extension as FILE[EXT]; the file has {available}", path.display())]
    NotImage {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// What it holds.
        kind: String,
        /// The HDUs of the file.
        available: String,
    },
    /// The image is empty or has more than two axes longer than one pixel.
    #[error("{}: HDU {hdu} is not a two-dimensional image: its NAXISn are {axes:?}; pick another extension as FILE[EXT], or a plane of a cube as FILE[EXT][PLANE]; the file has {available}", path.display())]
    NotTwoDimensional {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// NAXIS1, NAXIS2, …
        axes: Vec<u64>,
        /// The HDUs of the file.
        available: String,
    },
    /// BSCALE, BZERO or BLANK cannot be used.
    #[error("{}: HDU {hdu} has {keyword} = {value}, which cannot scale pixels; mend or remove this card", path.display())]
    Scaling {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// The card.
        keyword: &'static str,
        /// Its value.
        value: String,
    },
    /// A pixel of a mask is not an integer that fits 64 signed bits.
    #[error("{}: HDU {hdu} holds {value} at x = {x}, y = {y} (from 0), not an integer; give a mask of integer bit planes", path.display())]
    NotInteger {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// Column, from 0.
        x: usize,
        /// Row, from 0.
        y: usize,
        /// The physical value.
        value: String,
    },
    /// The image does not fit into memory.
    #[error("{}: HDU {hdu} needs {bytes} bytes of memory, which cannot be had; cut the image into parts", path.display())]
    Memory {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// Bytes wanted.
        bytes: u128,
    },
    /// The decoder of pixels failed.
    #[error("{}: cannot decode HDU {hdu}: {message}; check the file with fitsverify", path.display())]
    Decode {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
        /// The decoder's words.
        message: String,
    },
    /// The image is tile-compressed and CFITSIO was not built in.
    #[error("{}: HDU {hdu} is a tile-compressed image, which needs CFITSIO: rebuild with --features cfitsio, or uncompress the file with funpack", path.display())]
    NeedsCfitsio {
        /// The input file.
        path: PathBuf,
        /// The HDU.
        hdu: String,
    },
    /// The file has no such extension.
    #[error("{} has no HDU {wanted}; it has {available}", path.display())]
    NoSuchHdu {
        /// The input file.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// The HDUs of the file.
        available: String,
    },
    /// No extension was asked for and none is a two-dimensional image.
    #[error("{} has no two-dimensional image; pick a plane of a cube as FILE[EXT][PLANE]; it has {available}", path.display())]
    NoImage {
        /// The input file.
        path: PathBuf,
        /// The HDUs of the file.
        available: String,
    },
    /// A `FILE[EXT]` argument has no file or no extension.
    #[error(
        "\"{text}\" is not FILE, FILE[EXT] or FILE[EXT][PLANE], where EXT is a number (0 is the primary HDU), NAME or NAME,EXTVER, and \
         PLANE a number from 0; the standard input is /dev/stdin"
    )]
    Spec {
        /// The argument.
        text: String,
    },
    /// The output could not be written. Nothing half-written is left at its path.
    #[error("cannot write {}: {source}; {remedy}", path.display())]
    Write {
        /// The output file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
}
