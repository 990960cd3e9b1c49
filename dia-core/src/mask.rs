//! Why a pixel does not count: named bit planes.

use rayon::prelude::*;

use crate::sum::LEAF;
use crate::{ImageError, KernelSupport};

bitflags::bitflags! {
    /// The reasons for which a pixel is left out, one bit each; the FITS `MASK` plane stores these numbers.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct MaskPlanes: u16 {
        /// No value: NaN, infinite, BLANK, or outside the detector.
        const NO_DATA = 1;
        /// At or above the saturation level.
        const SATURATED = 1 << 1;
        /// The kernel's footprint leaves the reference image.
        const EDGE = 1 << 2;
        /// A defect of the detector: bad pixel, column or flat field.
        const BAD = 1 << 3;
        /// Rejected as an outlier by the fit.
        const CLIPPED = 1 << 4;
        /// The kernel's footprint touches a masked pixel of the reference image.
        const REFERENCE_BAD = 1 << 5;
        /// A cosmic ray.
        const COSMIC_RAY = 1 << 6;
        /// In the footprint of a source that varies; left out of the fit, not of the difference.
        const VARIABLE = 1 << 7;
        /// Marked unusable by a mask whose planes have no names.
        const USER = 1 << 8;
        /// Suspect: in the non-linear range of the detector, or interpolated over.
        const SUSPECT = 1 << 9;
    }
}

impl MaskPlanes {
    /// One line that says what a plane means; for several planes, that of the lowest.
    pub fn meaning(self) -> &'static str {
        match self.iter().next() {
            Some(Self::NO_DATA) => "no value: NaN, BLANK or off the detector",
            Some(Self::SATURATED) => "at or above saturation",
            Some(Self::EDGE) => "kernel footprint leaves the reference",
            Some(Self::BAD) => "defect of the detector",
            Some(Self::CLIPPED) => "rejected by the fit",
            Some(Self::REFERENCE_BAD) => "footprint touches masked reference pixel",
            Some(Self::COSMIC_RAY) => "cosmic ray",
            Some(Self::VARIABLE) => "variable source, not used in the fit",
            Some(Self::USER) => "masked by the user",
            Some(Self::SUSPECT) => "non-linear or interpolated",
            _ => "good",
        }
    }
}

/// One [`MaskPlanes`] value per pixel, row-major like [`crate::Image`]; zero means good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    height: usize,
    width: usize,
    planes: Vec<MaskPlanes>,
}

impl Mask {
    /// A mask with every pixel good.
    pub fn good(height: usize, width: usize) -> Self {
        Self { height, width, planes: vec![MaskPlanes::empty(); height * width] }
    }

    /// A mask over given planes, row after row.
    ///
    /// # Errors
    /// [`ImageError::Length`] if there are not `height × width` of them.
    pub fn from_vec(
        height: usize,
        width: usize,
        planes: Vec<MaskPlanes>,
    ) -> Result<Self, ImageError> {
        if height.checked_mul(width) == Some(planes.len()) {
            Ok(Self { height, width, planes })
        } else {
            Err(ImageError::Length { height, width, pixels: planes.len() })
        }
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All pixels, row after row.
    pub fn planes(&self) -> &[MaskPlanes] {
        &self.planes
    }

    /// The pixels of row `y`.
    pub fn row(&self, y: usize) -> &[MaskPlanes] {
        &self.planes[y * self.width..(y + 1) * self.width]
    }

    /// The planes of the pixel in row `y` and column `x`.
    ///
    /// # Panics
    /// If it lies outside the mask.
    pub fn at(&self, y: usize, x: usize) -> MaskPlanes {
        assert!(x < self.width, "column {x} of a mask of {} columns", self.width);
        self.planes[y * self.width + x]
    }

    /// Sets `planes` at pixel (y, x), beside what is set there.
    ///
    /// # Panics
    /// If it lies outside the mask.
    pub fn insert(&mut self, y: usize, x: usize, planes: MaskPlanes) {
        assert!(x < self.width, "column {x} of a mask of {} columns", self.width);
        self.planes[y * self.width + x] |= planes;
    }

    /// Makes pixel (y, x) a good one.
    ///
    /// # Panics
    /// If it lies outside the mask.
    pub fn clear(&mut self, y: usize, x: usize) {
        assert!(x < self.width, "column {x} of a mask of {} columns", self.width);
        self.planes[y * self.width + x] = MaskPlanes::empty();
    }

    /// Sets, beside what is set, the planes that `of` gives for the index of each pixel (in row-major order).
    pub fn merge(&mut self, of: impl Fn(usize) -> MaskPlanes + Sync) {
        self.planes.par_chunks_mut(LEAF).enumerate().for_each(|(leaf, planes)| {
            for (i, planes) in planes.iter_mut().enumerate() {
                *planes |= of(leaf * LEAF + i);
            }
        });
    }

    /// Number of pixels without any plane.
    pub fn good_pixels(&self) -> usize {
        self.planes.iter().filter(|planes| planes.is_empty()).count()
    }

    /// Number of pixels with any of `planes` set.
    pub fn count(&self, planes: MaskPlanes) -> usize {
        self.planes.iter().filter(|p| p.intersects(planes)).count()
    }

    /// For every pixel p, whether the footprint {p − u : u in `support`} of a kernel touches a masked pixel.
    ///
    /// Footprints are cut at the image's border; row-major, `true` where touched.
    pub fn touched_by(&self, support: &KernelSupport) -> Vec<bool> {
        let (height, width) = (self.height as isize, self.width as isize);
        let bad_rows: Vec<bool> =
            (0..self.height).map(|y| self.row(y).iter().any(|p| !p.is_empty())).collect();
        let h = support.half_width() as isize;
        let mut touched = vec![false; self.planes.len()];
        touched.par_chunks_mut(self.width.max(1)).enumerate().for_each(|(y, touched)| {
            for dy in -h..=h {
                let source = y as isize - dy;
                if source < 0 || source >= height || !bad_rows[source as usize] {
                    continue;
                }
                let reach = support.row_reach(dy);
                let row = self.row(source as usize);
                for x in (0..row.len()).filter(|&x| !row[x].is_empty()) {
                    let x = x as isize;
                    touched[(x - reach).max(0) as usize..=(x + reach).min(width - 1) as usize]
                        .fill(true);
                }
            }
        });
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::{Mask, MaskPlanes};
    use crate::{KernelShape, KernelSupport};

    #[test]
    fn touched_is_the_footprint_of_the_support() {
        for shape in [KernelShape::Square, KernelShape::Circle] {
            let support = KernelSupport::new(3, shape);
            let mut mask = Mask::good(12, 9);
            for (y, x) in [(0, 0), (6, 4), (11, 8)] {
                mask.insert(y, x, MaskPlanes::BAD);
            }
            let touched = mask.touched_by(&support);
            for (i, &touched) in touched.iter().enumerate() {
                let (y, x) = ((i / 9) as isize, (i % 9) as isize);
                let expected = support.offsets().any(|(dy, dx)| {
                    let (sy, sx) = (y - dy, x - dx);
                    (0..12).contains(&sy)
                        && (0..9).contains(&sx)
                        && !mask.at(sy as usize, sx as usize).is_empty()
                });
                assert_eq!(touched, expected, "{shape:?} at ({y}, {x})");
            }
        }
    }

    #[test]
    fn every_plane_has_a_name_and_a_meaning() {
        for (name, plane) in MaskPlanes::all().iter_names() {
            assert!(!name.is_empty() && plane.meaning() != "good");
        }
    }
}
