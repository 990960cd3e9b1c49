//! The cut of an image into bands of rows, each small enough for one buffer, and where each of them lies.

use std::ops::Range;

use dia_core::{Design, OperatorError};

use crate::buffer::Place;

/// Data vectors that a fit keeps at its peak: data, two parts of the noise, the reference's variance in the model, weights, scratch memory of
/// two kinds, two of the uncertainties; and the three that the next target of a series brings.
const VECTORS: usize = 12;

/// The reference and its variance.
const IMAGES: usize = 2;

/// Rows that every band is planned to have beyond those of its data, and columns likewise, unless the kernel takes more: so that the operator of the reference and that of its variance, whose
/// kernel has no wings, have the same bands.
const HALO: usize = 90;

/// What there is room for, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// In one buffer.
    pub(crate) buffer: u64,
    /// In the device's own memory.
    pub(crate) device: u64,
    /// In memory of the host that the device can use.
    pub(crate) host: u64,
}

/// Valid rows in bands. The first ones lie in the device's memory, and what it has no room for in the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bands {
    pub(crate) width: usize,
    pub(crate) height: usize,
    placed: Vec<(Range<usize>, Place)>,
}

impl Bands {
    /// Bands of a design: the reference's buffers have up to [`HALO`] rows more than those of the data, or 2h if that is more.
    pub(crate) fn new(design: &Design, room: Room) -> Result<Self, OperatorError> {
        let (valid, halo) = (design.valid(), HALO.max(2 * design.half_width()));
        let line = ((valid.width + halo) * size_of::<f32>()) as u64;
        let lines = |bytes: u64| usize::try_from(bytes / line).unwrap_or(usize::MAX);
        let most = lines(room.buffer).saturating_sub(halo);
        if most == 0 {
            return Err(OperatorError::new(format!(
                "one row of the image with its {halo} neighbours takes {} bytes, more than the {} of a buffer; \
                 choose a smaller half-width or another device",
                line * (halo as u64 + 1),
                room.buffer
            )));
        }
        // Every band has a halo of its own.
        let bytes = |rows: usize| {
            let bands = rows.div_ceil(most);
            line * (IMAGES * (rows + bands * halo) + VECTORS * rows) as u64
        };
        let fitting = |room: u64| {
            let guess = (lines(room) / (IMAGES + VECTORS)).min(valid.height);
            (0..=guess).rev().find(|rows| bytes(*rows) <= room).unwrap_or(0)
        };
        let on_device = fitting(room.device);
        let rest = valid.height - on_device;
        if bytes(rest) > room.host {
            let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            return Err(OperatorError::new(format!(
                "a fit of {} × {} pixels needs about {:.1} MiB, and there are {:.1} MiB on the device and {:.1} MiB that it may use of the host; use smaller \
                 images, another device or the CPU",
                design.height(),
                design.width(),
                mebibytes(bytes(valid.height)),
                mebibytes(room.device),
                mebibytes(room.host),
            )));
        }
        let cut = |rows: Range<usize>, place| {
            let starts = rows.clone().step_by(most);
            starts.map(move |start| (start..(start + most).min(rows.end), place))
        };
        let placed = cut(0..on_device, Place::Device)
            .chain(cut(on_device..valid.height, Place::Host))
            .collect();
        Ok(Self { width: valid.width, height: valid.height, placed })
    }

    /// The valid rows of each band.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.placed.iter().map(|(rows, _)| rows.clone())
    }

    /// Where the buffers of each band lie.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.placed.iter().map(|(_, place)| *place)
    }

    /// The elements of a data vector that each band holds.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.rows().map(|rows| rows.start * self.width..rows.end * self.width)
    }

    /// The rows that lie in the device's own memory.
    pub(crate) fn rows_on_device(&self) -> usize {
        self.placed.iter().filter(|(_, place)| *place == Place::Device).map(|(r, _)| r.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, KernelBasis};

    use super::{Bands, HALO, IMAGES, Room, VECTORS};
    use crate::buffer::Place;

    /// Of 34 valid columns and the halo, in bytes.
    const LINE: u64 = 4 * (34 + 90);

    fn design() -> Design {
        Design::new(50, 40, KernelBasis::delta(3), None).unwrap()
    }

    #[test]
    fn bands_hold_every_row_once_and_fit() {
        for lines in [91_u64, 92, 104, 134, 1000] {
            let room = Room { buffer: lines * LINE, device: 1 << 23, host: 0 };
            let bands = Bands::new(&design(), room).unwrap();
            let mut next = 0;
            for rows in bands.rows() {
                assert_eq!(rows.start, next);
                assert!((rows.len() + HALO) as u64 <= lines);
                next = rows.end;
            }
            assert_eq!((next, bands.rows_on_device()), (44, 44));
        }
        let room = Room { buffer: 90 * LINE, device: 1 << 20, host: 0 };
        let error = Bands::new(&design(), room).unwrap_err().to_string();
        assert!(error.contains("45136 bytes"), "{error}");
    }

    #[test]
    fn rows_that_the_device_has_no_room_for_lie_on_the_host() {
        // Ten rows in one band, with its halo.
        let ten = LINE * (IMAGES * (10 + HALO) + VECTORS * 10) as u64;
        for (device, on_device) in [(ten, 10), (ten - 1, 9), (0, 0)] {
            let room = Room { buffer: 120 * LINE, device, host: 1 << 20 };
            let bands = Bands::new(&design(), room).unwrap();
            assert_eq!(bands.rows_on_device(), on_device);
            let rows: Vec<usize> = bands.rows().flatten().collect();
            assert_eq!(rows, (0..44).collect::<Vec<_>>());
            let mut places = bands.places().skip_while(|place| *place == Place::Device);
            assert!(places.all(|place| place == Place::Host));
        }
        let room = Room { buffer: 120 * LINE, device: ten, host: 1000 };
        let error = Bands::new(&design(), room).unwrap_err().to_string();
        assert!(error.contains("50 × 40") && error.contains("MiB"), "{error}");
    }
}
