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
};

/// Headers and data are padded to whole blocks of this many bytes.
pub(super) const BLOCK_LENGTH: usize = 2880;

/// A header longer than this is taken for damage: 64 MiB, 840 000 cards.
const MAX_HEADER_LENGTH: u64 = 64 << 20;

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
    pub(super) data_offset: u64,
    pub(super) data_length: u64,
}

impl Hdu {
    /// EXTNAME, else EXTTYPE, trimmed and in upper case.
    pub fn name(&self) -> Option<String> {
        let name = self.header.get_str("EXTNAME").or_else(|| self.header.get_str("EXTTYPE"))?;
        Some(name.trim().to_ascii_uppercase()).filter(|name| !name.is_empty())
    }

    /// The index and, where there is one, the name: "2 (MASK)".
    pub fn label(&self) -> String {
        match self.name() {
            Some(name) => format!("{} ({name})", self.index),
            None => self.index.to_string(),
        }
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
}

impl FitsFile {
    /// Opens a plain or gzipped (by its first bytes) file and reads all its headers.
    ///
    /// # Errors
    /// [`FitsError::Read`] and [`FitsError::Gzip`] if the bytes cannot be had; [`FitsError::Empty`]; [`FitsError::NotFits`];
    /// [`FitsError::HeaderCut`], [`FitsError::HeaderBad`] and [`FitsError::DataCut`] if any HDU is damaged or cut short.
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
            let mut bytes = Vec::new();
            MultiGzDecoder::new(BufReader::new(Cursor::new(magic).chain(file)))
                .read_to_end(&mut bytes)
                .map_err(|source| FitsError::Gzip { path: path.to_owned(), source })?;
            Source::Memory(bytes)
        } else if metadata.is_file() {
            file.rewind().map_err(read_error)?;
            Source::File(file)
        } else {
            file.read_to_end(&mut magic).map_err(read_error)?;
            Source::Memory(magic)
        };
        let hdus = match &source {
            Source::File(file) => scan(path, BufReader::new(file), metadata.len()),
            Source::Memory(bytes) => scan(path, Cursor::new(bytes), bytes.len() as u64),
        }?;
        Ok(Self { path: path.to_owned(), source, hdus })
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

/// Walks over all headers of a file of `length` bytes. Bytes after the last HDU that begin no extension are ignored.
fn scan(path: &Path, mut reader: impl Read + Seek, length: u64) -> Result<Vec<Hdu>, FitsError> {
    let read_error = |source| FitsError::Read { path: path.to_owned(), source };
    let mut hdus = Vec::new();
    let mut offset = 0;
    while offset < length || hdus.is_empty() {
        let index = hdus.len();
        reader.seek(SeekFrom::Start(offset)).map_err(read_error)?;
        let mut start = Vec::new();
        reader.by_ref().take(9).read_to_end(&mut start).map_err(read_error)?;
        if index == 0 && start.is_empty() {
            return Err(FitsError::Empty { path: path.to_owned() });
        }
        if index == 0 && !(start.starts_with(b"SIMPLE") && start.ends_with(b"=")) {
            return Err(FitsError::NotFits {
                path: path.to_owned(),
                start: start.escape_ascii().to_string(),
            });
        }
        if index > 0 && !start.starts_with(b"XTENSION") {
            break;
        }
        reader.seek(SeekFrom::Start(offset)).map_err(read_error)?;
        let room = (length - offset).min(MAX_HEADER_LENGTH);
        let cut = || FitsError::HeaderCut { path: path.to_owned(), hdu: index, bytes: room };
        let (header, header_length) =
            read_header(&mut reader, room).map_err(read_error)?.ok_or_else(cut)?;
        let bad = |reason| FitsError::HeaderBad { path: path.to_owned(), hdu: index, reason };
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
    Ok(hdus)
}

/// Reads whole blocks up to the END card; None if it is not within `room` bytes.
fn read_header(reader: &mut impl Read, room: u64) -> io::Result<Option<(Header, u64)>> {
    let mut header = Header::new();
    let mut block = [0; BLOCK_LENGTH];
    for blocks in 1..=room / BLOCK_LENGTH as u64 {
        reader.read_exact(&mut block)?;
        let (cards, _): (&[Card], _) = block.as_chunks::<CARD_LENGTH>();
        for card in cards {
            // What follows END is blank; "END     =" is a keyword of that name.
            if card.starts_with(b"END") && card[3..].iter().all(|c| *c == b' ') {
                return Ok(Some((header, blocks * BLOCK_LENGTH as u64)));
            }
            header.push_card(*card);
        }
    }
    Ok(None)
}

/// Reads the structural keywords; returns the HDU, still without its place, and the length of its data in bytes.
fn interpret(index: usize, header: Header) -> Result<(Hdu, u128), String> {
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
    Ok((Hdu { index, header, kind, bitpix, axes, data_offset: 0, data_length: 0 }, declared))
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
