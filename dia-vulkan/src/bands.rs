//! The cut of an image into bands of rows, each small enough for one buffer, and where each of them lies.

use std::ops::Range;

use dia_core::{Design, OperatorError};

use crate::buffer::Place;

/// Data vectors that a fit keeps at its peak: data, two parts of the noise, the reference's variance in the model, weights, scratch memory of
/// two kinds, two of the uncertainties; and the three that the next target of a series brings.
const VECTORS: usize = 12;

/// The reference and its variance.
const IMAGES: usize = 2;

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
    /// Bands of a design: the reference's buffers have 2h rows more than those of the data.
    pub(crate) fn new(design: &Design, room: Room) -> Result<Self, OperatorError> {
        let (valid, halo) = (design.valid(), 2 * design.half_width());
        let line = (design.reference_shape().1 * size_of::<f32>()) as u64;
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

    use super::{Bands, IMAGES, Room, VECTORS};
    use crate::buffer::Place;

    fn design() -> Design {
        Design::new(50, 40, KernelBasis::delta(3), None).unwrap()
    }

    #[test]
    fn bands_hold_every_row_once_and_fit() {
        for lines in [7_u64, 8, 20, 50, 1000] {
            let room = Room { buffer: lines * 160, device: 1 << 20, host: 0 };
            let bands = Bands::new(&design(), room).unwrap();
            let mut next = 0;
            for rows in bands.rows() {
                assert_eq!(rows.start, next);
                assert!((rows.len() + 6) as u64 <= lines);
                next = rows.end;
            }
            assert_eq!((next, bands.rows_on_device()), (44, 44));
        }
        let room = Room { buffer: 6 * 160, device: 1 << 20, host: 0 };
        let error = Bands::new(&design(), room).unwrap_err().to_string();
        assert!(error.contains("1120 bytes"), "{error}");
    }

    #[test]
    fn rows_that_the_device_has_no_room_for_lie_on_the_host() {
        // Ten rows in one band, with its halo of six.
        let ten = 160 * (IMAGES * 16 + VECTORS * 10) as u64;
        for (device, on_device) in [(ten, 10), (ten - 1, 9), (0, 0)] {
            let room = Room { buffer: 30 * 160, device, host: 1 << 20 };
            let bands = Bands::new(&design(), room).unwrap();
            assert_eq!(bands.rows_on_device(), on_device);
            let rows: Vec<usize> = bands.rows().flatten().collect();
            assert_eq!(rows, (0..44).collect::<Vec<_>>());
            let mut places = bands.places().skip_while(|place| *place == Place::Device);
            assert!(places.all(|place| place == Place::Host));
        }
        let room = Room { buffer: 30 * 160, device: ten, host: 1000 };
        let error = Bands::new(&design(), room).unwrap_err().to_string();
        assert!(error.contains("50 × 40") && error.contains("MiB"), "{error}");
    }
}
