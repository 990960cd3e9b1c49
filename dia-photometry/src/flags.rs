//! What an observer has to know of a measurement. Nothing is ever deleted for it.

bitflags::bitflags! {
    /// Why a measurement may be no change in the sky, or none at all; one bit each.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u32 {
        /// A coordinate of the position is NaN or infinite.
        const NOT_FINITE = 1;
        /// The position is outside the image.
        const OUTSIDE = 1 << 1;
        /// The same position as an earlier row's.
        const DUPLICATE = 1 << 2;
        /// The difference is missing at the position's own pixel.
        const MASKED = 1 << 3;
        /// Less than half of the weight lies on pixels with a difference: no flux is given.
        const NO_COVERAGE = 1 << 4;
        /// More than a tenth of the weight lies on masked pixels.
        const PARTLY_MASKED = 1 << 5;
        /// The weights reach over the edge of the difference.
        const EDGE = 1 << 6;
        /// A saturated pixel within the PSF.
        const SATURATED_NEAR = 1 << 7;
        /// A masked pixel of the reference within reach.
        const REFERENCE_BAD = 1 << 8;
        /// On pixels that the fit took for a variable source.
        const VARIABLE = 1 << 9;
        /// The reference is significantly negative here: it has a hole, which looks like a new source.
        const REFERENCE_HOLE = 1 << 10;
        /// Sharper than the PSF: a hot pixel or a cosmic ray describes it better.
        const SHARP = 1 << 11;
        /// A moved or badly registered star describes it better than a flux at one place.
        const DIPOLE = 1 << 12;
        /// Much longer than wide.
        const TRAIL = 1 << 13;
        /// The reference is much brighter than the change: what remains of a bright star.
        const NEAR_BRIGHT = 1 << 14;
        /// The refinement of the position did not converge within a pixel of where it began.
        const POSITION = 1 << 15;
    }
}
