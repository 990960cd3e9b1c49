//! What can be wrong with what is measured.

/// A measurement that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotometryError {
    /// Planes that do not share the difference's grid.
    #[error(
        "the {plane} has {}×{} pixels (rows × columns), the difference has {}×{}; all planes must share the target's grid",
        got.0, got.1, expected.0, expected.1
    )]
    Shape {
        /// The plane that does not fit.
        plane: &'static str,
        /// Its (height, width).
        got: (usize, usize),
        /// (height, width) of the difference.
        expected: (usize, usize),
    },
    /// A PSF without light.
    #[error("the reference's PSF sums up to {sum}; it must be positive and finite")]
    Psf {
        /// Its sum.
        sum: f64,
    },
    /// Terms of a varying PSF that do not belong together.
    #[error(
        "{count} terms of a PSF are given; there must be 1, 3, 6 … of one size, as many as polynomials of a degree"
    )]
    Terms {
        /// Their number.
        count: usize,
    },
    /// No star that a PSF can be made of.
    #[error(
        "{usable} of {found} stars of the reference can be used for its PSF, {needed} are needed: the others are saturated, crowded, \
         or cut by the edge or the mask; give a PSF, or a smaller half-width"
    )]
    Stars {
        /// Stars found.
        found: usize,
        /// Those that can be used.
        usable: usize,
        /// The fewest that do.
        needed: usize,
    },
    /// A threshold that is no number of σ.
    #[error("the threshold of detection is {value}; it must be positive and finite, in σ")]
    Threshold {
        /// Its value.
        value: f64,
    },
    /// No pixel from which the noise can be told.
    #[error(
        "no pixel of the difference has a finite value and a positive variance; nothing can be measured"
    )]
    Empty,
}
