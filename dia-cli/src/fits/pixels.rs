//! From stored to physical pixels: BSCALE · stored + BZERO in f64, BLANK → NaN.

use std::{
    borrow::Cow,
    io::{Cursor, Read, Seek, SeekFrom},
};

use fitsrs::{
    card::{self, Card},
    fits::HDU,
    hdu::{
        data::FitsRead,
        header::{Bitpix, extension::image::Image},
    },
};

use super::{
    compressed,
    error::FitsError,
    read::{FitsFile, Hdu, HduKind, Source},
};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The type of a pixel in memory: f32 or f64.
pub trait Pixel: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The nearest value of this type.
    fn from_f32(value: f32) -> Self;
}

impl Pixel for f32 {
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Pixel for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn from_f32(value: f32) -> Self {
        value.into()
    }
}

/// An image in physical units (BUNIT); blank pixels are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct FitsImage<T> {
    /// Rows: NAXIS2.
    pub height: usize,
    /// Columns: NAXIS1.
    pub width: usize,
    /// `height * width` pixels, row by row, x fastest.
    pub pixels: Vec<T>,
}

/// A mask or another image of integers, laid out as [`FitsImage`].
pub type IntegerImage = FitsImage<i64>;

/// The linear map from stored to physical values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    pub(super) scale: f64,
    pub(super) zero: f64,
    pub(super) blank: Option<i64>,
}

#[allow(clippy::float_cmp, reason = "a card holds 1 exactly or it does not")]
impl Scaling {
    pub(super) fn of(file: &FitsFile, hdu: &Hdu) -> Result<Self, FitsError> {
        let error = |keyword| {
            let value = hdu.header.get(keyword).map(|(value, _)| value.text()).unwrap_or_default();
            FitsError::Scaling { path: file.path.clone(), hdu: hdu.label(), keyword, value }
        };
        let real = |keyword, default| match hdu.header.get_f64(keyword) {
            None if hdu.header.contains(keyword) => Err(error(keyword)),
            value => Ok(value.unwrap_or(default)),
        };
        let (scale, zero) = (real("BSCALE", 1.0)?, real("BZERO", 0.0)?);
        if scale == 0.0 {
            return Err(error("BSCALE"));
        }
        // BLANK has no meaning for stored floats; a compressed image may call it ZBLANK.
        let blank = ["BLANK", "ZBLANK"]
            .into_iter()
            .find(|keyword| hdu.bitpix > 0 && hdu.header.contains(keyword));
        let blank = blank
            .map(|keyword| hdu.header.get_i64(keyword).ok_or_else(|| error(keyword)))
            .transpose()?;
        Ok(Self { scale, zero, blank })
    }

    pub(super) fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.zero == 0.0
    }

    pub(super) fn apply(&self, stored: f64) -> f64 {
        self.scale * stored + self.zero
    }

    /// Exactly where BZERO is the offset of unsigned integers, which may be as large as the integers themselves.
    fn apply_integer(&self, stored: i64) -> f64 {
        if self.scale == 1.0 && self.zero.fract() == 0.0 && self.zero.abs() < 1e30 {
            (i128::from(stored) + self.zero as i128) as f64
        } else {
            self.apply(stored as f64)
        }
    }

    fn integer<T: Pixel>(&self, stored: i64) -> T {
        T::from_f64(if Some(stored) == self.blank { f64::NAN } else { self.apply_integer(stored) })
    }

    fn float<T: Pixel>(&self, stored: f64) -> T {
        T::from_f64(self.apply(stored))
    }

    /// What is added to stored integers, where that is all: nothing is undefined, and no sum with a number of 32 bits is too large.
    fn shift(&self) -> Option<i64> {
        let whole = self.scale == 1.0 && self.zero.fract() == 0.0 && self.zero.abs() < 1e18;
        (whole && self.blank.is_none()).then_some(self.zero as i64)
    }

    /// The exact integer, or the value that is none.
    pub(super) fn exact(&self, stored: i64) -> Result<i64, String> {
        if Some(stored) == self.blank {
            return Err("an undefined value (BLANK)".to_owned());
        }
        if self.scale != 1.0 || self.zero.fract() != 0.0 {
            return whole(self.apply(stored as f64));
        }
        if self.zero == 0.0 {
            return Ok(stored);
        }
        let value = i128::from(stored).saturating_add(self.zero as i128);
        i64::try_from(value).map_err(|_| value.to_string())
    }
}

/// A float that is an integer of 64 signed bits.
pub(super) fn whole(value: f64) -> Result<i64, String> {
    let fits = value.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(63)).contains(&value);
    if fits { Ok(value as i64) } else { Err(value.to_string()) }
}

/// Splits bytes into values of N bytes.
fn values<const N: usize, V>(
    bytes: &[u8],
    decode: impl Fn([u8; N]) -> V,
) -> impl Iterator<Item = V> {
    bytes.as_chunks().0.iter().map(move |&value| decode(value))
}

/// Appends values up to the first that is no integer, which it returns.
pub(super) fn append(
    pixels: &mut Vec<i64>,
    values: impl Iterator<Item = Result<i64, String>>,
) -> Result<(), String> {
    for value in values {
        pixels.push(value?);
    }
    Ok(())
}

impl FitsFile {
    /// Reads the two-dimensional image of an HDU in physical units.
    ///
    /// Each pixel is BSCALE · stored + BZERO, computed in f64 and rounded once to `T`; BLANK becomes NaN.
    ///
    /// # Errors
    /// [`FitsError::NoSuchHdu`]; [`FitsError::NotImage`]; [`FitsError::NotTwoDimensional`] if more than two axes are longer
    /// than 1; [`FitsError::Scaling`]; [`FitsError::NeedsCfitsio`]; [`FitsError::Memory`]; [`FitsError::Read`];
    /// [`FitsError::DataCut`] if the file became shorter since it was opened.
    pub fn read_image<T: Pixel>(&self, index: usize) -> Result<FitsImage<T>, FitsError> {
        let (hdu, height, width) = self.image_hdu(index)?;
        let scaling = Scaling::of(self, hdu)?;
        let mut pixels = self.reserve(hdu, height * width)?;
        if hdu.kind == HduKind::CompressedImage {
            compressed::read_image(self, hdu, &scaling, &mut pixels)?;
        } else {
            let exact = scaling.is_identity();
            self.decode(hdu, height, width, |bitpix, bytes| match bitpix {
                Bitpix::U8 => pixels.extend(bytes.iter().map(|&v| scaling.integer::<T>(v.into()))),
                Bitpix::I16 => pixels
                    .extend(values(bytes, |v| scaling.integer::<T>(i16::from_be_bytes(v).into()))),
                Bitpix::I32 => pixels
                    .extend(values(bytes, |v| scaling.integer::<T>(i32::from_be_bytes(v).into()))),
                Bitpix::I64 => {
                    pixels.extend(values(bytes, |v| scaling.integer::<T>(i64::from_be_bytes(v))));
                }
                Bitpix::F32 if exact => {
                    pixels.extend(values(bytes, |v| T::from_f32(f32::from_be_bytes(v))));
                }
                Bitpix::F32 => pixels
                    .extend(values(bytes, |v| scaling.float::<T>(f32::from_be_bytes(v).into()))),
                Bitpix::F64 if exact => {
                    pixels.extend(values(bytes, |v| T::from_f64(f64::from_be_bytes(v))));
                }
                Bitpix::F64 => {
                    pixels.extend(values(bytes, |v| scaling.float::<T>(f64::from_be_bytes(v))));
                }
            })?;
        }
        self.complete(hdu, height, width, pixels)
    }

    /// Reads the two-dimensional image of an HDU as integers, for instance the bit planes of a mask.
    ///
    /// Unsigned types (BZERO) are exact; floats must have integer values.
    ///
    /// # Errors
    /// Those of [`FitsFile::read_image`], and [`FitsError::NotInteger`] for a pixel that is blank, not an integer or too
    /// large for 64 signed bits.
    pub fn read_integers(&self, index: usize) -> Result<IntegerImage, FitsError> {
        let (hdu, height, width) = self.image_hdu(index)?;
        let scaling = Scaling::of(self, hdu)?;
        let mut pixels = self.reserve(hdu, height * width)?;
        let result = if hdu.kind == HduKind::CompressedImage {
            compressed::read_integers(self, hdu, &scaling, &mut pixels)?
        } else {
            let physical = |v: f64| if scaling.is_identity() { v } else { scaling.apply(v) };
            let shift = scaling.shift();
            self.decode(hdu, height, width, |bitpix, bytes| match (bitpix, shift) {
                (Bitpix::U8, Some(by)) => {
                    pixels.extend(bytes.iter().map(|&v| i64::from(v) + by));
                    Ok(())
                }
                (Bitpix::I16, Some(by)) => {
                    pixels.extend(values(bytes, |v| i64::from(i16::from_be_bytes(v)) + by));
                    Ok(())
                }
                (Bitpix::I32, Some(by)) => {
                    pixels.extend(values(bytes, |v| i64::from(i32::from_be_bytes(v)) + by));
                    Ok(())
                }
                (Bitpix::U8, None) => {
                    append(&mut pixels, bytes.iter().map(|&v| scaling.exact(v.into())))
                }
                (Bitpix::I16, None) => append(
                    &mut pixels,
                    values(bytes, |v| scaling.exact(i16::from_be_bytes(v).into())),
                ),
                (Bitpix::I32, None) => append(
                    &mut pixels,
                    values(bytes, |v| scaling.exact(i32::from_be_bytes(v).into())),
                ),
                (Bitpix::I64, _) => {
                    append(&mut pixels, values(bytes, |v| scaling.exact(i64::from_be_bytes(v))))
                }
                (Bitpix::F32, _) => append(
                    &mut pixels,
                    values(bytes, |v| whole(physical(f32::from_be_bytes(v).into()))),
                ),
                (Bitpix::F64, _) => {
                    append(&mut pixels, values(bytes, |v| whole(physical(f64::from_be_bytes(v)))))
                }
            })?
        };
        result.map_err(|value| {
            let (x, y) = (pixels.len() % width, pixels.len() / width);
            FitsError::NotInteger { path: self.path.clone(), hdu: hdu.label(), x, y, value }
        })?;
        self.complete(hdu, height, width, pixels)
    }

    /// The HDU with its height and width.
    fn image_hdu(&self, index: usize) -> Result<(&Hdu, usize, usize), FitsError> {
        let hdu = self.hdu(index)?;
        if let Some((height, width)) = hdu.shape() {
            return Ok((hdu, height, width));
        }
        let (path, label, available) = (self.path.clone(), hdu.label(), self.describe());
        Err(match &hdu.kind {
            HduKind::Image | HduKind::CompressedImage => {
                FitsError::NotTwoDimensional { path, hdu: label, axes: hdu.axes.clone(), available }
            }
            HduKind::Table => {
                FitsError::NotImage { path, hdu: label, kind: "a table".to_owned(), available }
            }
            HduKind::Other(kind) => {
                FitsError::NotImage { path, hdu: label, kind: kind.clone(), available }
            }
        })
    }

    /// Room for `count` values. The file is long enough to declare them: that was checked when it was opened.
    fn reserve<T>(&self, hdu: &Hdu, count: usize) -> Result<Vec<T>, FitsError> {
        let bytes = count as u128 * size_of::<T>() as u128;
        let error = || FitsError::Memory { path: self.path.clone(), hdu: hdu.label(), bytes };
        compressed::check_ratio(hdu, count).ok_or_else(error)?;
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| error())?;
        Ok(values)
    }

    /// Hands the stored bytes of a plain image, big-endian, and their type to `sink`, as `fitsrs` finds them.
    ///
    /// Its iterators over pixels take 9 to 15 ns each; its raw bytes, swapped in bulk, take a fifth of that.
    fn decode<O>(
        &self,
        hdu: &Hdu,
        height: usize,
        width: usize,
        sink: impl FnOnce(Bitpix, &[u8]) -> O,
    ) -> Result<O, FitsError> {
        let data = self.data(hdu)?;
        // `fitsrs` sees the checked shape alone: its own arithmetic on sizes may overflow.
        let shape = [
            ("BITPIX", hdu.bitpix),
            ("NAXIS", 2),
            ("NAXIS1", width as i64),
            ("NAXIS2", height as i64),
        ];
        let card = |(name, value): (&str, i64)| Card::Value {
            name: name.to_owned(),
            value: card::Value::Integer { value, comment: None },
        };
        let cards = shape.into_iter().map(card).chain([Card::End]).collect();
        let mut reader = Cursor::new(&data);
        let image =
            HDU::<Image>::new(&mut reader, &mut 0, cards).map_err(|error| FitsError::Decode {
                path: self.path.clone(),
                hdu: hdu.label(),
                message: error.to_string(),
            })?;
        let header = image.get_header();
        Ok(sink(header.get_xtension().get_bitpix(), reader.read_data_unit(header, 0).raw_bytes()))
    }

    /// The bytes of the data of an HDU, all of them.
    pub(super) fn data(&self, hdu: &Hdu) -> Result<Cow<'_, [u8]>, FitsError> {
        let (start, length) = (hdu.data_offset as usize, hdu.data_length as usize);
        let mut file = match &self.source {
            Source::Memory(bytes) => return Ok(Cow::Borrowed(&bytes[start..start + length])),
            Source::File(file) => file,
        };
        let read_error = |source| FitsError::Read { path: self.path.clone(), source };
        let mut bytes = self.reserve(hdu, length)?;
        file.seek(SeekFrom::Start(hdu.data_offset)).map_err(read_error)?;
        file.take(hdu.data_length).read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.len() == length {
            Ok(Cow::Owned(bytes))
        } else {
            Err(self.data_cut(hdu, bytes.len() as u64))
        }
    }

    /// No image leaves here with fewer pixels than declared.
    fn complete<T>(
        &self,
        hdu: &Hdu,
        height: usize,
        width: usize,
        pixels: Vec<T>,
    ) -> Result<FitsImage<T>, FitsError> {
        if pixels.len() == height * width {
            return Ok(FitsImage { height, width, pixels });
        }
        Err(self.data_cut(hdu, pixels.len() as u64 * (hdu.bitpix.unsigned_abs() / 8)))
    }

    fn data_cut(&self, hdu: &Hdu, present: u64) -> FitsError {
        FitsError::DataCut {
            path: self.path.clone(),
            hdu: hdu.label(),
            declared: hdu.data_length.into(),
            present,
        }
    }
}
