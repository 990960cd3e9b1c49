//! What the mask says around a place.

use dia_core::{Kernel, MaskPlanes};

use crate::offsets::offsets;
use crate::{Flags, Scene};

/// The part of the PSF's peak down to which a pixel belongs to its surroundings.
const FAINTEST: f64 = 0.01;

/// The flags that the planes of the mask raise within the PSF around a pixel.
pub(crate) fn surroundings(scene: &Scene<'_>, (y, x): (usize, usize), psf: &Kernel) -> Flags {
    let (height, width) = scene.difference.shape();
    let mut flags = Flags::empty();
    flags.set(Flags::MASKED, scene.difference_at(y as isize, x as isize).is_none());
    flags.set(Flags::VARIABLE, scene.mask.at(y, x).contains(MaskPlanes::VARIABLE));
    let peak = psf.pixels().iter().copied().fold(0.0, f64::max);
    for ((dy, dx), _) in offsets(psf).zip(psf.pixels()).filter(|(_, p)| **p >= FAINTEST * peak) {
        let (py, px) = (y as isize + dy, x as isize + dx);
        if py < 0 || px < 0 || py as usize >= height || px as usize >= width {
            flags |= Flags::EDGE;
            continue;
        }
        let planes = scene.mask.at(py as usize, px as usize);
        let pairs = [
            (MaskPlanes::EDGE, Flags::EDGE),
            (MaskPlanes::SATURATED, Flags::SATURATED_NEAR),
            (MaskPlanes::REFERENCE_BAD, Flags::REFERENCE_BAD),
        ];
        for (_, flag) in pairs.into_iter().filter(|(plane, _)| planes.contains(*plane)) {
            flags |= flag;
        }
    }
    flags
}
