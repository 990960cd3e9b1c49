//! What CFITSIO gets to see of a tile-compressed image: it follows a damaged header or stream beyond its memory,
//! which ends the process.
//!
//! It sees a file of its own, with one HDU that has the cards which tell of tiles, once each, and the bytes as they
//! are; neither other HDUs nor what else a header says reach it. Before that the sizes of tiles, their number, and
//! where each stream lies are checked; streams of the algorithm of Rice (Pence et al. 2009, PASP 121, 414) are walked
//! to their end, and of HCOMPRESS the size that each declares is looked at.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Write},
    path::Path,
};

use rayon::prelude::*;

use super::{
    error::FitsError,
    header::Header,
    read::{BLOCK_LENGTH, FitsFile, Hdu},
    table::{Column, Rows},
};

/// A compressed image that can be unpacked.
pub(super) struct Checked<'a> {
    header: Header,
    data: Cow<'a, [u8]>,
}

impl<'a> Checked<'a> {
    /// Finds what CFITSIO would stumble over.
    ///
    /// # Errors
    /// [`FitsError::Decode`] says what is damaged; those of reading the data.
    pub(super) fn new(file: &'a FitsFile, hdu: &Hdu) -> Result<Self, FitsError> {
        let data = file.data(hdu)?;
        let rows = file.rows(hdu)?;
        Tiles::new(hdu, &rows).and_then(|tiles| tiles.check(&data)).map_err(|message| {
            FitsError::Decode { path: file.path().to_owned(), hdu: hdu.label(), message }
        })?;
        Ok(Self { header: cards(&hdu.header), data })
    }

    /// Writes it as the first extension of a file.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut primary = Header::new();
        primary.set("SIMPLE", true, "");
        primary.set("BITPIX", 8_i64, "");
        primary.set("NAXIS", 0_i64, "");
        let mut file = File::create(path)?;
        for header in [&primary, &self.header] {
            let mut bytes = header.cards().concat();
            bytes.extend(b"END");
            bytes.resize(bytes.len().next_multiple_of(BLOCK_LENGTH), b' ');
            file.write_all(&bytes)?;
        }
        file.write_all(&self.data)?;
        let filling = self.data.len().next_multiple_of(BLOCK_LENGTH) - self.data.len();
        file.write_all(&vec![0; filling])
    }
}

/// The cards of a header that tell of tiles and of the values of pixels, the first of each.
fn cards(header: &Header) -> Header {
    /// In the order that the standard asks for.
    const FIRST: [&str; 8] =
        ["XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS"];
    const OTHERS: [&str; 12] = [
        "THEAP", "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZQUANTIZ", "ZDITHER0", "ZBLANK",
        "ZSCALE", "ZZERO", "BSCALE", "BZERO",
    ];
    const SERIES: [&str; 8] =
        ["TTYPE", "TFORM", "TSCAL", "TZERO", "ZNAXIS", "ZTILE", "ZNAME", "ZVAL"];
    let is_one_of_many = |keyword: &String| {
        let stem = keyword.trim_end_matches(|char: char| char.is_ascii_digit());
        stem.len() < keyword.len() && SERIES.contains(&stem)
    };
    let mut own = Header::new();
    let rest = header.keywords().filter(|name| OTHERS.contains(&&**name) || is_one_of_many(name));
    for keyword in FIRST.map(str::to_owned).into_iter().chain(rest).chain(["BLANK".to_owned()]) {
        if let Some((value, _)) = header.get(&keyword)
            && !own.contains(&keyword)
        {
            own.set(&keyword, value, "");
        }
    }
    own
}

/// How the pixels of an image are shared out, and where they are.
struct Tiles<'a> {
    /// Pixels along each axis of the image and of a tile.
    axes: Vec<(u64, u64)>,
    rows: &'a Rows,
    /// Where the streams begin after the first byte of the data.
    heap: u64,
    algorithm: Algorithm,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Rice(Rice),
    Hcompress,
    /// It keeps to its memory by itself.
    Other,
}

impl<'a> Tiles<'a> {
    fn new(hdu: &Hdu, rows: &'a Rows) -> Result<Self, String> {
        let header = &hdu.header;
        let tile = |(axis, &length): (usize, &u64)| {
            let keyword = format!("ZTILE{}", axis + 1);
            let usual = if axis == 0 { length } else { 1 };
            let said = if header.contains(&keyword) {
                header.get_i64(&keyword).and_then(|size| u64::try_from(size).ok())
            } else {
                Some(usual)
            };
            let size = said.filter(|size| (1..=length).contains(size));
            let size = size.ok_or_else(|| format!("{keyword} is not from 1 to {length}"))?;
            Ok((length, size))
        };
        let axes = hdu.axes.iter().enumerate().map(tile).collect::<Result<Vec<_>, String>>()?;
        let expected: u64 = axes.iter().map(|(length, size)| length.div_ceil(*size)).product();
        if expected != rows.count as u64 {
            return Err(format!("there are {} tiles instead of {expected}", rows.count));
        }
        if header.contains("ZDITHER0")
            && !header.get_i64("ZDITHER0").is_some_and(|seed| (1..=10_000).contains(&seed))
        {
            return Err("ZDITHER0 is not from 1 to 10000".to_owned());
        }
        let name = header.get_str("ZCMPTYPE").unwrap_or_default();
        let algorithm = match name.trim() {
            "RICE_1" | "RICE_ONE" => Algorithm::Rice(Rice::new(hdu)?),
            "HCOMPRESS_1" => Algorithm::Hcompress,
            _ => Algorithm::Other,
        };
        let begin = header.get_i64("THEAP").and_then(|heap| u64::try_from(heap).ok());
        let heap = begin.unwrap_or(rows.length as u64 * rows.count as u64);
        Ok(Self { axes, rows, heap, algorithm })
    }

    /// Pixels of the tile in a row: those at the end of an axis may be smaller.
    fn pixels(&self, row: usize) -> u64 {
        let mut rest = row as u64;
        self.axes
            .iter()
            .map(|&(length, size)| {
                let along = length.div_ceil(size);
                let begin = (rest % along) * size;
                rest /= along;
                size.min(length - begin)
            })
            .product()
    }

    fn check(&self, data: &[u8]) -> Result<(), String> {
        let packed = self.rows.column("COMPRESSED_DATA").ok_or("there is no COMPRESSED_DATA")?;
        let plain = self.rows.column("UNCOMPRESSED_DATA");
        let fault = |row: usize| {
            let what = self.fault(row, packed, plain, data)?;
            Some(format!("tile {} {what}", row + 1))
        };
        (0..self.rows.count).into_par_iter().find_map_first(fault).map_or(Ok(()), Err)
    }

    /// What is wrong with the tile in a row.
    fn fault(
        &self,
        row: usize,
        packed: &Column,
        plain: Option<&Column>,
        data: &[u8],
    ) -> Option<&'static str> {
        let Some(stream) = self.stream(packed, row, data) else {
            return Some("lies outside of the data");
        };
        let pixels = self.pixels(row);
        if stream.is_empty() {
            let count = plain.map(|column| self.rows.descriptor(column, row, data));
            let fits = count.is_none_or(|count| count.is_some_and(|(n, _)| n <= pixels));
            return (!fits).then_some("has more pixels than it should have");
        }
        let whole = match self.algorithm {
            Algorithm::Rice(rice) => rice.is_whole(stream, pixels),
            Algorithm::Hcompress => hcompress_pixels(stream) == Some(pixels),
            Algorithm::Other => true,
        };
        (!whole).then_some("is damaged")
    }

    /// The stream of a tile.
    fn stream<'d>(&self, column: &Column, row: usize, data: &'d [u8]) -> Option<&'d [u8]> {
        let (count, offset) = self.rows.descriptor(column, row, data)?;
        let begin = usize::try_from(self.heap.checked_add(offset)?).ok()?;
        let length = usize::try_from(count).ok()?.checked_mul(column.element_width())?;
        if length == 0 { Some(&[]) } else { data.get(begin..begin.checked_add(length)?) }
    }
}

/// Pixels that a stream of HCOMPRESS says it has: two lengths after two bytes that name the format.
fn hcompress_pixels(stream: &[u8]) -> Option<u64> {
    let length = |at: usize| {
        let bytes = stream.get(at..at + 4)?.try_into().ok()?;
        u64::try_from(i32::from_be_bytes(bytes)).ok()
    };
    length(2)?.checked_mul(length(6)?)
}

/// The parameters of Rice's algorithm.
#[derive(Clone, Copy, Debug)]
struct Rice {
    /// Pixels that share a number of low bits.
    block: u64,
    /// Bits of a pixel, of a block's number, and the number that means pixels as they are.
    bits: u32,
    number_bits: u32,
    verbatim: u32,
}

impl Rice {
    fn new(hdu: &Hdu) -> Result<Self, String> {
        let header = &hdu.header;
        // CFITSIO reads the values by their places, and may find them changed over.
        let old = header.get_str("ZNAME2").is_some_and(|name| name.trim() == "NOISEBIT");
        let block =
            header.get_i64("ZVAL1").ok_or("ZVAL1, the block of Rice's algorithm, is missing")?;
        let bytes = header.get_i64("ZVAL2").filter(|_| !old).unwrap_or(4);
        let (block, bytes) = if block < 16 && bytes > 8 { (bytes, block) } else { (block, bytes) };
        let (bits, number_bits, verbatim) = match bytes {
            1 => (8, 3, 6),
            2 => (16, 4, 14),
            4 | 8 => (32, 5, 25),
            _ => return Err(format!("a pixel of Rice's algorithm has {bytes} bytes")),
        };
        match u64::try_from(block) {
            Ok(block @ 1..=0xffff) => Ok(Self { block, bits, number_bits, verbatim }),
            _ => Err(format!("a block of Rice's algorithm has {block} pixels")),
        }
    }

    /// Whether a stream holds that many pixels: the first as it is, then for each block a number of low bits, from
    /// which 1 is subtracted, and for each pixel as many zeros as its high bits say, a one, and the low bits.
    fn is_whole(self, stream: &[u8], pixels: u64) -> bool {
        self.walk(stream, pixels).is_some()
    }

    fn walk(self, stream: &[u8], pixels: u64) -> Option<()> {
        let mut bits = Bits { stream, at: 0 };
        bits.take(self.bits)?;
        let mut left = pixels;
        while left > 0 {
            let block = left.min(self.block);
            left -= block;
            match bits.take(self.number_bits)? {
                0 => {}
                number if number - 1 == self.verbatim => {
                    bits.skip(block * u64::from(self.bits))?;
                }
                number => {
                    for _ in 0..block {
                        bits.skip_zeros_and_one()?;
                        bits.skip(u64::from(number - 1))?;
                    }
                }
            }
        }
        Some(())
    }
}

/// Bits of a stream, the highest of each byte first; `None` beyond its end.
struct Bits<'a> {
    stream: &'a [u8],
    at: u64,
}

impl Bits<'_> {
    /// The next bits, with zeros beyond the end, from the highest on: at least 57 of them are those of the stream.
    fn window(&self) -> u64 {
        let rest = &self.stream[((self.at / 8) as usize).min(self.stream.len())..];
        let word = if let Some(first) = rest.first_chunk::<8>() {
            u64::from_be_bytes(*first)
        } else {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        };
        word << (self.at % 8)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= 8 * self.stream.len() as u64).then_some(())
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let value = (self.window() >> (64 - count)) as u32;
        self.skip(count.into()).map(|()| value)
    }

    fn skip_zeros_and_one(&mut self) -> Option<()> {
        loop {
            let zeros = self.window().leading_zeros();
            if zeros < 57 {
                return self.skip(u64::from(zeros) + 1);
            }
            self.skip(56)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, Rice};

    const WORDS: Rice = Rice { block: 4, bits: 32, number_bits: 5, verbatim: 25 };

    #[test]
    fn bits_are_taken_from_the_highest_on() {
        let stream = [0b1010_0000, 0, 0, 0, 0, 0, 0, 0, 0b0000_0101];
        let mut bits = Bits { stream: &stream, at: 0 };
        assert_eq!(bits.take(3), Some(0b101));
        bits.skip_zeros_and_one().unwrap();
        assert_eq!((bits.at, bits.take(2), bits.take(1)), (70, Some(1), None));
        assert_eq!(Bits { stream: &[0; 40], at: 0 }.skip_zeros_and_one(), None);
    }

    #[test]
    fn a_stream_is_whole_if_it_holds_all_pixels() {
        // The first pixel, and a block of zeros.
        let zeros = [0, 0, 1, 44, 0];
        assert!(WORDS.is_whole(&zeros, 4) && WORDS.is_whole(&zeros, 1));
        assert!(!WORDS.is_whole(&zeros[..4], 4) && !WORDS.is_whole(&zeros, 8));
        // Two low bits: number 3, then 1xx, 01xx, 1xx, 001xx: 5 + 3 + 4 + 3 + 5 bits.
        let mixed = [0, 0, 0, 0, 0b0001_1101, 0b0110_1100, 0b0110_0000];
        assert!(WORDS.is_whole(&mixed, 4));
        // Nothing but zeros never ends.
        assert!(!WORDS.is_whole(&[0, 0, 0, 0, 0b0001_1000, 0, 0, 0, 0, 0, 0, 0], 4));
        // As they are: number 26, then 32 bits for each.
        let mut verbatim = [0xff; 4 + 17];
        verbatim[4] = 0b1101_0000;
        assert!(WORDS.is_whole(&verbatim, 4) && !WORDS.is_whole(&verbatim[..20], 4));
    }
}
