//! The cut of an image into bands of rows, each small enough for one buffer.

use std::ops::Range;

use dia_core::{Design, OperatorError};

/// Valid rows in bands of equal height, but for the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bands {
    pub(crate) width: usize,
    pub(crate) height: usize,
    rows: usize,
}

impl Bands {
    /// Bands of a design whose buffers hold at most `max_bytes`: the reference's have 2h rows more than those of the data.
    pub(crate) fn new(design: &Design, max_bytes: u64) -> Result<Self, OperatorError> {
        let (valid, halo) = (design.valid(), 2 * design.half_width());
        let lines = max_bytes / (design.width() * size_of::<f32>()) as u64;
        let rows = usize::try_from(lines).unwrap_or(usize::MAX).saturating_sub(halo);
        if rows == 0 {
            let needed = (design.width() * size_of::<f32>() * (halo + 1)) as u64;
            return Err(OperatorError::new(format!(
                "one row of the image with its {halo} neighbours takes {needed} bytes, more than the {max_bytes} of a buffer; \
                 choose a smaller half-width or another device"
            )));
        }
        Ok(Self { width: valid.width, height: valid.height, rows: rows.min(valid.height) })
    }

    /// The valid rows of each band.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = (0..self.height).step_by(self.rows);
        starts.map(|start| start..(start + self.rows).min(self.height))
    }

    /// The elements of a data vector that each band holds.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.iter().map(|rows| rows.start * self.width..rows.end * self.width)
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, KernelBasis};

    use super::Bands;

    #[test]
    fn bands_hold_every_row_once_and_fit() {
        let design = Design::new(50, 40, KernelBasis::delta(3), None).unwrap();
        for lines in [7_u64, 8, 20, 50, 1000] {
            let bands = Bands::new(&design, lines * 160).unwrap();
            let mut next = 0;
            for rows in bands.iter() {
                assert_eq!(rows.start, next);
                assert!((rows.len() + 6) as u64 <= lines);
                next = rows.end;
            }
            assert_eq!(next, 44);
        }
        let error = Bands::new(&design, 6 * 160).unwrap_err().to_string();
        assert!(error.contains("1120 bytes"), "{error}");
    }
}
