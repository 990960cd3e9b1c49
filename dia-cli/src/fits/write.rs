//! The writer.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

use super::{
    atomic::write_atomically, compressed, error::FitsError, header::Header, read::BLOCK_LENGTH,
    standard::mended,
};

/// Pixels encoded at a time.
const PIXELS_PER_WRITE: usize = 16 << 10;

/// Pixels to write, row by row, x fastest. BITPIX follows from the type.
#[derive(Clone, Copy, Debug)]
pub enum HduData<'a> {
    /// BITPIX = -32; NaN marks blank pixels.
    F32(&'a [f32]),
    /// BITPIX = -64; NaN marks blank pixels.
    F64(&'a [f64]),
    /// BITPIX = 16.
    I16(&'a [i16]),
    /// BITPIX = 16 with BZERO = 32768.
    U16(&'a [u16]),
    /// BITPIX = 32.
    I32(&'a [i32]),
    /// A binary table: `height` rows of `width` bytes, big-endian, and what is in them. Not in the primary HDU.
    Rows(&'a [u8], &'a [Field]),
}

/// A column of a binary table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// TTYPE.
    pub name: String,
    /// TFORM: `D`, `K`, `L`, `12A` and so on.
    pub form: String,
    /// TUNIT; empty for none.
    pub unit: String,
    /// The comment of TTYPE.
    pub description: String,
}

/// One HDU to write.
#[derive(Clone, Copy, Debug)]
pub struct HduOut<'a> {
    /// EXTNAME; empty for none.
    pub name: &'a str,
    /// Cards after the structural ones, for instance a copy of an input header. Its structural, scaling, compression and
    /// checksum cards are left out, for they describe the input's data; illegal ones are [`mended`].
    pub header: &'a Header,
    /// Height and width in pixels, and the pixels; None for an HDU without data.
    pub image: Option<(usize, usize, HduData<'a>)>,
}

/// Writes a FITS file, the first of `hdus` as the primary HDU and the others as IMAGE or BINTABLE extensions.
///
/// The file is written under another name in the same folder, synced, and renamed: at `path` there is the old file or
/// the whole new one. What exists and is no regular file (a device, a pipe) is written to directly. A name that ends with .gz makes a
/// gzipped file; one that ends with .fz, by the feature `cfitsio`, a file of tile-compressed images: integers without loss, floats rounded to a 32nd of the noise of
/// their row, in extensions after an empty primary HDU. Kernels, tables and others of another size than the first image are left as they are.
///
/// # Errors
/// [`FitsError::Write`] with the cause and the remedy.
///
/// # Panics
/// If the number of pixels of an HDU is not height · width, or if `hdus` is empty.
pub fn write(path: &Path, hdus: &[HduOut<'_>]) -> Result<(), FitsError> {
    assert!(!hdus.is_empty(), "a FITS file has at least one HDU");
    let ends_with = |suffix: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(suffix));
    let (zipped, packed) = (ends_with("gz"), ends_with("fz"));
    write_atomically(path, |mut file: &File| {
        if packed {
            let folder = tempfile::tempdir()?;
            let [plain, packed] =
                ["plain.fits", "packed.fits"].map(|name| folder.path().join(name));
            write_all(File::create(&plain)?, hdus)?;
            compressed::pack(&plain, &packed)?;
            io::copy(&mut File::open(&packed)?, &mut file).map(drop)
        } else if zipped {
            // No name and no time in it: equal images make equal files.
            let mut out = GzEncoder::new(file, Compression::fast());
            write_all(&mut out, hdus)?;
            out.finish().map(drop)
        } else {
            write_all(file, hdus)
        }
    })
}

fn write_all(out: impl Write, hdus: &[HduOut<'_>]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for (index, hdu) in hdus.iter().enumerate() {
        write_header(&mut out, index, hdus.len(), hdu)?;
        if let Some((height, width, data)) = hdu.image {
            let expected = height.checked_mul(width);
            match data {
                HduData::F32(pixels) => write_pixels(&mut out, expected, pixels, f32::to_be_bytes),
                HduData::F64(pixels) => write_pixels(&mut out, expected, pixels, f64::to_be_bytes),
                HduData::I16(pixels) => write_pixels(&mut out, expected, pixels, i16::to_be_bytes),
                HduData::U16(pixels) => {
                    let encode = |pixel: u16| (pixel ^ 0x8000).to_be_bytes();
                    write_pixels(&mut out, expected, pixels, encode)
                }
                HduData::I32(pixels) => write_pixels(&mut out, expected, pixels, i32::to_be_bytes),
                HduData::Rows(bytes, _) => write_pixels(&mut out, expected, bytes, |byte| [byte]),
            }?;
        }
    }
    out.flush()
}

fn write_header(
    out: &mut impl Write,
    index: usize,
    hdus: usize,
    hdu: &HduOut<'_>,
) -> io::Result<()> {
    let mut header = Header::new();
    let fields = match hdu.image {
        Some((_, _, HduData::Rows(_, fields))) => Some(fields),
        _ => None,
    };
    if index == 0 {
        assert!(fields.is_none(), "a table is an extension");
        header.set("SIMPLE", true, "conforms to the FITS standard");
    } else if fields.is_some() {
        header.set("XTENSION", "BINTABLE", "binary table");
    } else {
        header.set("XTENSION", "IMAGE", "image extension");
    }
    let bitpix = match hdu.image {
        Some((_, _, HduData::F32(_))) => -32,
        Some((_, _, HduData::F64(_))) => -64,
        Some((_, _, HduData::I16(_) | HduData::U16(_))) => 16,
        Some((_, _, HduData::I32(_))) => 32,
        Some((_, _, HduData::Rows(..))) | None => 8,
    };
    header.set("BITPIX", bitpix, "bits per pixel, negative for floats");
    header.set("NAXIS", if hdu.image.is_some() { 2 } else { 0 }, "number of axes");
    if let Some((height, width, _)) = hdu.image {
        let [of_width, of_height] = if fields.is_some() {
            ["bytes in a row", "number of rows"]
        } else {
            ["width in pixels", "height in pixels"]
        };
        header.set("NAXIS1", width as i64, of_width);
        header.set("NAXIS2", height as i64, of_height);
    }
    if index > 0 {
        header.set("PCOUNT", 0, "no parameters");
        header.set("GCOUNT", 1, "one group");
    } else if hdus > 1 {
        header.set("EXTEND", true, "extensions follow");
    }
    if let Some((_, _, HduData::U16(_))) = hdu.image {
        header.set("BZERO", 32768, "offset of unsigned integers");
        header.set("BSCALE", 1, "default scale");
    }
    if let Some(fields) = fields {
        header.set("TFIELDS", fields.len() as i64, "number of columns");
        for (i, field) in (1..).zip(fields) {
            header.set(&format!("TTYPE{i}"), field.name.as_str(), &field.description);
            header.set(&format!("TFORM{i}"), field.form.as_str(), "");
            if !field.unit.is_empty() {
                header.set(&format!("TUNIT{i}"), field.unit.as_str(), "");
            }
        }
    }
    if !hdu.name.is_empty() {
        header.set("EXTNAME", hdu.name, "name of this HDU");
    }
    let (mut others, _) = mended(hdu.header);
    others.retain(|keyword| !is_ours(keyword));
    header.extend(&others);
    for card in header.cards() {
        out.write_all(card)?;
    }
    let mut end = [b' '; 80];
    end[..3].copy_from_slice(b"END");
    out.write_all(&end)?;
    pad(out, (header.cards().len() + 1) * end.len(), b' ')
}

fn write_pixels<T: Copy, const N: usize>(
    out: &mut impl Write,
    expected: Option<usize>,
    pixels: &[T],
    encode: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    assert_eq!(Some(pixels.len()), expected, "the number of pixels is height times width");
    let mut bytes = Vec::with_capacity(N * PIXELS_PER_WRITE);
    for chunk in pixels.chunks(PIXELS_PER_WRITE) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|&pixel| encode(pixel)));
        out.write_all(&bytes)?;
    }
    pad(out, N * pixels.len(), 0)
}

fn pad(out: &mut impl Write, written: usize, filler: u8) -> io::Result<()> {
    let missing = written.next_multiple_of(BLOCK_LENGTH) - written;
    out.write_all(&[filler; BLOCK_LENGTH][..missing])
}

/// Keywords that describe the stored data, which we write, and not the sky.
fn is_ours(keyword: &str) -> bool {
    const EXACT: &[&str] = &[
        "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "EXTEND", "GROUPS", "BLOCKED",
        "EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT", "END", "BSCALE", "BZERO", "BLANK", "DATAMIN",
        "DATAMAX", "BSOFTEN", "BOFFSET", "CHECKSUM", "DATASUM", "TFIELDS", "THEAP", "ZIMAGE",
        "ZCMPTYPE", "ZMASKCMP", "ZSIMPLE", "ZTENSION", "ZEXTEND", "ZBITPIX", "ZNAXIS", "ZPCOUNT",
        "ZGCOUNT", "ZBLOCKED", "ZHECKSUM", "ZDATASUM", "ZQUANTIZ", "ZDITHER0", "ZSCALE", "ZZERO",
        "ZBLANK",
    ];
    const NUMBERED: &[&str] = &[
        "NAXIS", "ZNAXIS", "ZTILE", "ZNAME", "ZVAL", "TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL",
        "TZERO", "TDISP", "TDIM", "TBCOL", "PTYPE", "PSCAL", "PZERO",
    ];
    let numbered = || {
        let stem = keyword.trim_end_matches(|char: char| char.is_ascii_digit());
        stem.len() < keyword.len() && NUMBERED.contains(&stem)
    };
    EXACT.contains(&keyword) || numbered()
}
