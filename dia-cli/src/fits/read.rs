//! The structure of a file: its HDUs, with every declared size checked against the bytes that are there.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::{
    error::FitsError,
    header::{CARD_LENGTH, Card, Header},
    standard::{is_text, may_shape_pixels},
    stream,
};

/// Headers and data are padded to whole blocks of this many bytes.
pub(super) const BLOCK_LENGTH: usize = 2880;

/// A header longer than this is taken for damage: 64 MiB, 840 000 cards.
pub(super) const MAX_HEADER_LENGTH: u64 = 64 << 20;

/// What an HDU holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HduKind {
    /// A plain array, perhaps empty.
    Image,
    /// A tile-compressed image in a binary table (ZIMAGE = T).
    CompressedImage,
    /// A binary or ASCII table.
    Table,
    /// Random groups or the extension type named here.
    Other(String),
}

/// One header and where its data are.
#[derive(Clone, Debug)]
pub struct Hdu {
    /// Place in the file, 0 for the primary HDU.
    pub index: usize,
    /// All cards but END.
    pub header: Header,
    /// What the HDU holds.
    pub kind: HduKind,
    /// Bits per stored pixel, negative for floats; ZBITPIX for a compressed image.
    pub bitpix: i64,
    /// NAXIS1, NAXIS2, … in pixels, x first; `ZNAXISn` for a compressed image.
    pub axes: Vec<u64>,
    /// The plane of a cube that was selected, from 0; then `axes` are those of the plane.
    pub plane: Option<usize>,
    pub(super) data_offset: u64,
    pub(super) data_length: u64,
}

impl Hdu {
    /// EXTNAME, else EXTTYPE, trimmed and in upper case.
    pub fn name(&self) -> Option<String> {
        let name = self.header.get_str("EXTNAME").or_else(|| self.header.get_str("EXTTYPE"))?;
        Some(name.trim().to_ascii_uppercase()).filter(|name| !name.is_empty())
    }

    /// The index and, where there are any, the name and the plane: "2 (MASK)", "1 (SCI), plane 3".
    pub fn label(&self) -> String {
        let name = self.name().map_or_else(String::new, |name| format!(" ({name})"));
        let plane = self.plane.map_or_else(String::new, |plane| format!(", plane {plane}"));
        format!("{}{name}{plane}", self.index)
    }

    /// (height, width) in pixels of a two-dimensional image, plain or compressed; further axes must have length 1.
    pub fn shape(&self) -> Option<(usize, usize)> {
        if !matches!(self.kind, HduKind::Image | HduKind::CompressedImage) {
            return None;
        }
        let [width, height, rest @ ..] = self.axes.as_slice() else { return None };
        let flat = *width > 0
            && *height > 0
            && width.checked_mul(*height).is_some()
            && rest.iter().all(|&length| length == 1);
        flat.then_some(((*height).try_into().ok()?, (*width).try_into().ok()?))
    }

    /// "0: empty", "2 (MASK): 193 x 193 pixels", for lists in messages.
    pub(super) fn describe(&self) -> String {
        let lengths: Vec<_> = self.axes.iter().map(u64::to_string).collect();
        let content = match &self.kind {
            HduKind::Image | HduKind::CompressedImage if lengths.is_empty() => "empty".to_owned(),
            HduKind::Image => format!("{} pixels", lengths.join(" x ")),
            HduKind::CompressedImage => format!("{} pixels, compressed", lengths.join(" x ")),
            HduKind::Table => "a table".to_owned(),
            HduKind::Other(kind) => kind.clone(),
        };
        format!("{}: {content}", self.label())
    }
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A plain file, read piece by piece.
    File(File),
    /// An uncompressed gzip stream or what came through a pipe.
    Memory(Vec<u8>),
}

/// An open FITS file: its HDUs, and its pixels on demand. A plain file stays on disk; a gzipped one is held in memory.
#[derive(Debug)]
pub struct FitsFile {
    pub(super) path: PathBuf,
    pub(super) source: Source,
    hdus: Vec<Hdu>,
    trailing: u64,
}

impl FitsFile {
    /// Opens a plain or gzipped (by its first bytes) file and reads all its headers.
    ///
    /// # Errors
    /// [`FitsError::Read`] and [`FitsError::Gzip`] if the bytes cannot be had; [`FitsError::Empty`]; [`FitsError::NotFits`];
    /// [`FitsError::HeaderCut`], [`FitsError::HeaderBad`] and [`FitsError::DataCut`] if any HDU is damaged or cut short;
    /// [`FitsError::HduLost`] if an extension begins where the one before does not end; [`FitsError::StreamTooLong`] for
    /// compressed files and pipes that do not end.
    pub fn open(path: &Path) -> Result<Self, FitsError> {
        let read_error = |source| FitsError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if metadata.is_dir() {
            return Err(read_error(io::ErrorKind::IsADirectory.into()));
        }
        let mut magic = Vec::new();
        (&file).take(2).read_to_end(&mut magic).map_err(read_error)?;
        let source = if magic == [0x1f, 0x8b] {
            let gzip_error = |source| FitsError::Gzip { path: path.to_owned(), source };
            let bytes = MultiGzDecoder::new(BufReader::new(Cursor::new(magic).chain(file)));
            Source::Memory(stream::read(path, bytes, gzip_error)?)
        } else if metadata.is_file() {
            file.rewind().map_err(read_error)?;
            Source::File(file)
        } else {
            Source::Memory(stream::read(path, Cursor::new(magic).chain(file), read_error)?)
        };
        let (hdus, trailing) = match &source {
            Source::File(file) => scan(path, BufReader::new(file), metadata.len()),
            Source::Memory(bytes) => scan(path, Cursor::new(bytes), bytes.len() as u64),
        }?;
        Ok(Self { path: path.to_owned(), source, hdus, trailing })
    }

    /// Bytes after the last HDU that are not filling. Old files may have records there; they are also what a block that was
    /// inserted into the data pushes out.
    pub fn trailing(&self) -> u64 {
        self.trailing
    }

    /// From now on, plane `plane` (from 0) of the cube in HDU `index` is its image; so it is of all cubes of the same axes,
    /// which may be its mask and its variances.
    ///
    /// # Errors
    /// [`FitsError::NoSuchHdu`]; [`FitsError::NoSuchPlane`] if that HDU is no plain cube of so many planes.
    pub fn select_plane(&mut self, index: usize, plane: usize) -> Result<(), FitsError> {
        let cube = self.hdu(index)?;
        let (axes, label) = (cube.axes.clone(), cube.label());
        let planes = match axes.as_slice() {
            [_, _, rest @ ..] if cube.kind == HduKind::Image => rest.iter().product(),
            _ => 0,
        };
        if plane as u64 >= planes {
            return Err(FitsError::NoSuchPlane {
                path: self.path.clone(),
                hdu: label,
                plane,
                planes,
            });
        }
        let same = |hdu: &&mut Hdu| hdu.kind == HduKind::Image && hdu.axes == axes;
        for hdu in self.hdus.iter_mut().filter(same) {
            hdu.plane = Some(plane);
            hdu.axes.truncate(2);
            // The product of all axes fits the file.
            hdu.data_length = hdu.axes.iter().product::<u64>() * (hdu.bitpix.unsigned_abs() / 8);
            hdu.data_offset += plane as u64 * hdu.data_length;
        }
        Ok(())
    }

    /// The path given to [`FitsFile::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All HDUs, the primary one first. Never empty.
    pub fn hdus(&self) -> &[Hdu] {
        &self.hdus
    }

    /// The HDU at `index`.
    ///
    /// # Errors
    /// [`FitsError::NoSuchHdu`] if the file has no such HDU.
    pub fn hdu(&self, index: usize) -> Result<&Hdu, FitsError> {
        self.hdus.get(index).ok_or_else(|| FitsError::NoSuchHdu {
            path: self.path.clone(),
            wanted: index.to_string(),
            available: self.describe(),
        })
    }

    /// All HDUs in words, for messages.
    pub(super) fn describe(&self) -> String {
        let all: Vec<_> = self.hdus.iter().map(Hdu::describe).collect();
        all.join("; ")
    }
}

/// Whether a file may begin with these nine bytes.
pub(super) fn check_start(path: &Path, start: &[u8]) -> Result<(), FitsError> {
    if start.is_empty() {
        return Err(FitsError::Empty { path: path.to_owned() });
    }
    if start.starts_with(b"SIMPLE") && start.ends_with(b"=") {
        return Ok(());
    }
    let start = start.escape_ascii().to_string();
    Err(FitsError::NotFits { path: path.to_owned(), start })
}

/// Walks over all headers of a file of `length` bytes; returns the HDUs and how many bytes that are not filling come after them.
fn scan(
    path: &Path,
    mut reader: impl Read + Seek,
    length: u64,
) -> Result<(Vec<Hdu>, u64), FitsError> {
    let read_error = |source| FitsError::Read { path: path.to_owned(), source };
    let mut hdus: Vec<Hdu> = Vec::new();
    let mut offset = 0;
    while offset < length || hdus.is_empty() {
        let index = hdus.len();
        let start = bytes_at(&mut reader, offset, 9).map_err(read_error)?;
        if index == 0 {
            check_start(path, &start)?;
        } else if !start.starts_with(b"XTENSION") {
            break;
        }
        reader.seek(SeekFrom::Start(offset)).map_err(read_error)?;
        let room = (length - offset).min(MAX_HEADER_LENGTH);
        let cut = || FitsError::HeaderCut { path: path.to_owned(), hdu: index, bytes: room };
        let bad = |reason| FitsError::HeaderBad { path: path.to_owned(), hdu: index, reason };
        let (header, header_length) = match read_header(&mut reader, room) {
            Ok(found) => found.ok_or_else(cut)?,
            Err(HeaderFault::Read(source)) => return Err(read_error(source)),
            Err(HeaderFault::Damage(reason)) => return Err(bad(reason)),
        };
        let (mut hdu, declared) = interpret(index, header).map_err(bad)?;
        hdu.data_offset = offset + header_length;
        let present = length - hdu.data_offset;
        if declared > u128::from(present) {
            return Err(FitsError::DataCut {
                path: path.to_owned(),
                hdu: hdu.label(),
                declared,
                present,
            });
        }
        hdu.data_length = declared as u64;
        // The data fit the file, so this cannot overflow. The padding of the last HDU may be missing.
        offset = hdu.data_offset + hdu.data_length.next_multiple_of(BLOCK_LENGTH as u64);
        hdus.push(hdu);
    }
    if offset >= length {
        return Ok((hdus, 0));
    }
    find_lost(path, &mut reader, &hdus, length)?;
    reader.seek(SeekFrom::Start(offset)).map_err(read_error)?;
    let (mut block, mut trailing) = ([0; BLOCK_LENGTH], 0);
    loop {
        let read = reader.read(&mut block).map_err(read_error)?;
        if read == 0 {
            return Ok((hdus, trailing));
        }
        trailing += block[..read].iter().filter(|byte| !matches!(byte, 0 | b' ')).count() as u64;
    }
}

/// A block too many or too few hides what comes after: an extension then begins within data or after them, where none is expected.
fn find_lost(
    path: &Path,
    reader: &mut (impl Read + Seek),
    hdus: &[Hdu],
    length: u64,
) -> Result<(), FitsError> {
    for hdu in hdus {
        let expected = hdu.data_offset + hdu.data_length.next_multiple_of(BLOCK_LENGTH as u64);
        let last = hdu.index + 1 == hdus.len();
        for at in (hdu.data_offset..if last { length } else { expected }).step_by(BLOCK_LENGTH) {
            let start = bytes_at(reader, at, 10)
                .map_err(|source| FitsError::Read { path: path.to_owned(), source })?;
            if start == b"XTENSION= " {
                let (path, hdu) = (path.to_owned(), hdu.label());
                return Err(FitsError::HduLost { path, hdu, expected, at });
            }
        }
    }
    Ok(())
}

/// Up to `count` bytes from `offset` on.
fn bytes_at(reader: &mut (impl Read + Seek), offset: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.seek(SeekFrom::Start(offset))?;
    reader.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a header cannot be read.
pub(super) enum HeaderFault {
    Read(io::Error),
    /// What is damaged, in words.
    Damage(String),
}

/// Reads whole blocks up to the END card; None if it is not within `room` bytes.
pub(super) fn read_header(
    reader: &mut impl Read,
    room: u64,
) -> Result<Option<(Header, u64)>, HeaderFault> {
    let mut header = Header::new();
    let mut block = [0; BLOCK_LENGTH];
    for blocks in 1..=room / BLOCK_LENGTH as u64 {
        reader.read_exact(&mut block).map_err(HeaderFault::Read)?;
        let (cards, _): (&[Card], _) = block.as_chunks::<CARD_LENGTH>();
        for (place, card) in cards.iter().enumerate() {
            // END and nothing else: a keyword that begins with END, or one called END with a value, ends nothing.
            if card.starts_with(b"END") && is_filling(&card[3..]) {
                if let Some(more) = cards[place + 1..].iter().find(|card| !is_filling(*card)) {
                    let text = more.escape_ascii().to_string();
                    let reason = format!("cards follow its END card: \"{}\"", text.trim());
                    return Err(HeaderFault::Damage(reason));
                }
                return Ok(Some((header, blocks * BLOCK_LENGTH as u64)));
            }
            if !is_text(card) && may_shape_pixels(card) {
                let (number, text) = (header.cards().len() + 1, card.escape_ascii().to_string());
                let reason = format!("its card {number} is no text: \"{}\"", text.trim());
                return Err(HeaderFault::Damage(reason));
            }
            header.push_card(*card);
        }
    }
    Ok(None)
}

/// Blanks, or the zeros with which some writers fill up.
fn is_filling(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0 | b' '))
}

/// Reads the structural keywords; returns the HDU, still without its place, and the length of its data in bytes.
pub(super) fn interpret(index: usize, header: Header) -> Result<(Hdu, u128), String> {
    let extension = header.get_str("XTENSION").unwrap_or_default().trim().to_ascii_uppercase();
    let (bitpix, axes) = array_shape(&header, "")?;
    let groups =
        extension.is_empty() && axes.first() == Some(&0) && header.get_bool("GROUPS") == Some(true);
    let kind = match extension.as_str() {
        "" if groups => HduKind::Other("random groups".to_owned()),
        "" | "IMAGE" | "IUEIMAGE" => HduKind::Image,
        "BINTABLE" | "A3DTABLE" if header.get_bool("ZIMAGE") == Some(true) => {
            HduKind::CompressedImage
        }
        "BINTABLE" | "A3DTABLE" | "TABLE" => HduKind::Table,
        _ => HduKind::Other(format!("an extension of type {extension}")),
    };
    // |BITPIX| / 8 · GCOUNT · (PCOUNT + Π NAXISn), where random groups leave out NAXIS1.
    let counted = &axes[usize::from(groups)..];
    let product = |total: u128, &length: &u64| total.saturating_mul(u128::from(length));
    let elements = if axes.is_empty() { 0 } else { counted.iter().fold(1, product) };
    let pcount = optional_count(&header, "PCOUNT", 0)?;
    let gcount = optional_count(&header, "GCOUNT", 1)?;
    if kind == HduKind::Image && gcount == 0 {
        return Err("GCOUNT = 0, but an image is one group".to_owned());
    }
    let bytes_per_element = u128::from(bitpix.unsigned_abs() / 8);
    let declared =
        elements.saturating_add(pcount).saturating_mul(gcount).saturating_mul(bytes_per_element);
    let (bitpix, axes) = match kind {
        HduKind::CompressedImage => array_shape(&header, "Z")?,
        _ => (bitpix, axes),
    };
    let plane = None;
    Ok((Hdu { index, header, kind, bitpix, axes, plane, data_offset: 0, data_length: 0 }, declared))
}

/// BITPIX and `NAXISn`, or ZBITPIX and `ZNAXISn`.
fn array_shape(header: &Header, prefix: &str) -> Result<(i64, Vec<u64>), String> {
    let bitpix = integer(header, &format!("{prefix}BITPIX"))?;
    if ![8, 16, 32, 64, -32, -64].contains(&bitpix) {
        return Err(format!("{prefix}BITPIX = {bitpix} is none of 8, 16, 32, 64, -32, -64"));
    }
    let naxis = integer(header, &format!("{prefix}NAXIS"))?;
    if !(0..=999).contains(&naxis) {
        return Err(format!("{prefix}NAXIS = {naxis} is not within 0 to 999"));
    }
    let axis = |n| {
        let keyword = format!("{prefix}NAXIS{n}");
        let length = integer(header, &keyword)?;
        u64::try_from(length).map_err(|_| format!("{keyword} = {length} is negative"))
    };
    Ok((bitpix, (1..=naxis).map(axis).collect::<Result<_, _>>()?))
}

fn integer(header: &Header, keyword: &str) -> Result<i64, String> {
    header.get_i64(keyword).ok_or_else(|| match header.get(keyword) {
        Some((value, _)) => format!("{keyword} = {} is not an integer", value.text()),
        None => format!("{keyword} is missing"),
    })
}

fn optional_count(header: &Header, keyword: &str, default: u128) -> Result<u128, String> {
    if !header.contains(keyword) {
        return Ok(default);
    }
    let count = integer(header, keyword)?;
    u128::try_from(count).map_err(|_| format!("{keyword} = {count} is negative"))
}
