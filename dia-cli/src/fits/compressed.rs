//! Tile-compressed images, read and written by CFITSIO where it was built in (feature `cfitsio`).

#[cfg(not(feature = "cfitsio"))]
use std::{io, path::Path};

use super::{
    error::FitsError,
    pixels::{Pixel, Scaling},
    read::{FitsFile, Hdu, HduKind},
};

/// No tile compression packs pixels more tightly than this; a header that claims so is damaged.
const MAX_RATIO: u128 = 1 << 14;

/// None if a compressed image declares more pixels than its bytes can hold.
pub(super) fn check_ratio(hdu: &Hdu, count: usize) -> Option<()> {
    let possible = u128::from(hdu.data_length) * MAX_RATIO;
    (hdu.kind != HduKind::CompressedImage || count as u128 <= possible).then_some(())
}

/// Appends all pixels in physical units, blank ones as NaN.
#[cfg(not(feature = "cfitsio"))]
pub(super) fn read_image<T: Pixel>(
    file: &FitsFile,
    hdu: &Hdu,
    _: &Scaling,
    _: &mut Vec<T>,
) -> Result<(), FitsError> {
    Err(FitsError::NeedsCfitsio { path: file.path().to_owned(), hdu: hdu.label() })
}

/// Appends all pixels up to the first that is no integer, which it returns.
#[cfg(not(feature = "cfitsio"))]
pub(super) fn read_integers(
    file: &FitsFile,
    hdu: &Hdu,
    _: &Scaling,
    _: &mut Vec<i64>,
) -> Result<Result<(), String>, FitsError> {
    Err(FitsError::NeedsCfitsio { path: file.path().to_owned(), hdu: hdu.label() })
}

/// Makes the file `packed` of the file `plain`, which is never asked for.
#[cfg(not(feature = "cfitsio"))]
pub(super) fn pack(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "built without the feature cfitsio"))
}

#[cfg(feature = "cfitsio")]
pub(super) use with_cfitsio::{pack, read_image, read_integers};

#[cfg(feature = "cfitsio")]
mod with_cfitsio {
    use std::{ffi::c_int, io, path::Path};

    use fitsio::hdu::HduInfo;
    use fitsio::sys::{
        RICE_1, SUBTRACTIVE_DITHER_1, ffcopy, ffflus, ffgpvd, ffgpve, fits_img_compress,
        fits_set_compression_type, fits_set_dither_seed, fits_set_quantize_dither,
        fits_set_quantize_level,
    };

    use super::{
        super::{
            pixels::{append, whole},
            tiles::Checked,
        },
        FitsError, FitsFile, Hdu, Pixel, Scaling,
    };

    /// Appends all pixels in physical units, blank ones as NaN.
    pub(crate) fn read_image<T: Pixel>(
        file: &FitsFile,
        hdu: &Hdu,
        _: &Scaling,
        pixels: &mut Vec<T>,
    ) -> Result<(), FitsError> {
        if hdu.bitpix == -32 {
            pixels.extend(read(file, hdu, read_f32)?.into_iter().map(T::from_f32));
        } else {
            pixels.extend(read(file, hdu, read_f64)?.into_iter().map(T::from_f64));
        }
        Ok(())
    }

    /// Appends all pixels up to the first that is no integer, which it returns.
    pub(crate) fn read_integers(
        file: &FitsFile,
        hdu: &Hdu,
        scaling: &Scaling,
        pixels: &mut Vec<i64>,
    ) -> Result<Result<(), String>, FitsError> {
        if hdu.bitpix != 64 {
            // f64 holds integers of up to 32 bits and their offsets exactly.
            return Ok(append(pixels, read(file, hdu, read_f64)?.into_iter().map(whole)));
        }
        let blank = scaling.blank.and_then(|blank| scaling.exact(blank).ok());
        let stored: Vec<i64> = read(file, hdu, |fits, _| fits.hdu(COMPRESSED)?.read_image(fits))?;
        Ok(append(
            pixels,
            stored.into_iter().map(|value| {
                if Some(value) == blank {
                    Err("an undefined value (BLANK)".to_owned())
                } else {
                    Ok(value)
                }
            }),
        ))
    }

    /// The HDU in the file that CFITSIO sees.
    const COMPRESSED: usize = 1;

    /// Opens a file of the HDU alone with CFITSIO and lets `read` fetch as many pixels as the HDU has.
    fn read<P>(
        file: &FitsFile,
        hdu: &Hdu,
        read: impl FnOnce(&mut fitsio::FitsFile, usize) -> fitsio::errors::Result<Vec<P>>,
    ) -> Result<Vec<P>, FitsError> {
        let checked = Checked::new(file, hdu)?;
        let read_error = |source| FitsError::Read { path: file.path().to_owned(), source };
        let folder = tempfile::tempdir().map_err(read_error)?;
        let path = folder.path().join("image.fits");
        checked.write(&path).map_err(read_error)?;
        let count = hdu.shape().map_or(0, |(height, width)| height * width);
        let decode = || {
            let mut fits = fitsio::FitsFile::open(&path)?;
            fits.hdu(COMPRESSED)?;
            read(&mut fits, count)
        };
        decode().map_err(|error| FitsError::Decode {
            path: file.path().to_owned(),
            hdu: hdu.label(),
            message: format!("CFITSIO: {error}"),
        })
    }

    fn read_f32(fits: &mut fitsio::FitsFile, count: usize) -> fitsio::errors::Result<Vec<f32>> {
        let mut pixels = vec![0.0; count];
        let (mut any_blank, mut status): (c_int, c_int) = (0, 0);
        #[allow(
            unsafe_code,
            reason = "the safe interface returns noise for blank pixels of quantised floats"
        )]
        // SAFETY: the handle is open and `pixels` has room for the `count` values asked for.
        unsafe {
            ffgpve(
                fits.as_raw(),
                1,
                1,
                count as i64,
                f32::NAN,
                pixels.as_mut_ptr(),
                &raw mut any_blank,
                &raw mut status,
            );
        }
        fitsio::errors::check_status(status).map(|()| pixels)
    }

    fn read_f64(fits: &mut fitsio::FitsFile, count: usize) -> fitsio::errors::Result<Vec<f64>> {
        let mut pixels = vec![0.0; count];
        let (mut any_blank, mut status): (c_int, c_int) = (0, 0);
        #[allow(
            unsafe_code,
            reason = "the safe interface returns noise for blank pixels of quantised floats"
        )]
        // SAFETY: the handle is open and `pixels` has room for the `count` values asked for.
        unsafe {
            ffgpvd(
                fits.as_raw(),
                1,
                1,
                count as i64,
                f64::NAN,
                pixels.as_mut_ptr(),
                &raw mut any_blank,
                &raw mut status,
            );
        }
        fitsio::errors::check_status(status).map(|()| pixels)
    }

    /// Steps of quantised floats in the noise of the pixels: rounding adds 1/(32 √12) = 0.9 % of it, in quadrature.
    const STEPS: f32 = 32.0;

    /// Makes the file `packed` of the file `plain`: images of the size of the first one are compressed by the algorithm of Rice in tiles of one row, integers
    /// without loss, floats rounded to a 32nd of the noise of their row (with dithers that reading takes off again); all else is copied.
    pub(crate) fn pack(plain: &Path, packed: &Path) -> io::Result<()> {
        let copy = || {
            let mut from = fitsio::FitsFile::open(plain)?;
            let mut shape: Option<Vec<usize>> = None;
            let mut status: c_int = 0;
            // With an empty primary HDU, as compressed files have it.
            let mut to = fitsio::FitsFile::create(packed).open()?;
            let hdus = from.iter().count();
            for index in 0..hdus {
                let hdu = from.hdu(index)?;
                let own = match &hdu.info {
                    HduInfo::ImageInfo { shape, .. } if shape.len() == 2 => Some(shape.clone()),
                    _ => None,
                };
                let first = shape.get_or_insert_with(|| own.clone().unwrap_or_default());
                let is_plane = own.is_some_and(|own| own == *first);
                #[allow(unsafe_code, reason = "the safe interface does not compress")]
                // SAFETY: both handles are open, and the first is at the HDU.
                unsafe {
                    let (source, target) = (from.as_raw(), to.as_raw());
                    if is_plane {
                        fits_set_compression_type(target, RICE_1 as c_int, &raw mut status);
                        fits_set_quantize_level(target, STEPS, &raw mut status);
                        let dither = SUBTRACTIVE_DITHER_1 as c_int;
                        fits_set_quantize_dither(target, dither, &raw mut status);
                        // Not by the clock: equal images make equal files.
                        fits_set_dither_seed(target, 1, &raw mut status);
                        fits_img_compress(source, target, &raw mut status);
                    } else {
                        ffcopy(source, target, 0, &raw mut status);
                    }
                    // A full disk shows here, and not when the file is closed.
                    ffflus(target, &raw mut status);
                }
                fitsio::errors::check_status(status)?;
            }
            Ok(())
        };
        copy().map_err(|error: fitsio::errors::Error| io::Error::other(format!("CFITSIO: {error}")))
    }
}
