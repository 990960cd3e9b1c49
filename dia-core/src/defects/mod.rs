//! Pixels that hold no measurement although nothing in the file says so, found from the image alone.
//!
//! Each kind has a finder of its own. A finder takes the image and the [`Mask`](crate::Mask) of what is known already, ignores
//! masked pixels, adds what it finds, and returns it in numbers that can be told to a person. Finders rely on what no sky can do: a value that
//! repeats exactly where values are finely resolved, a source that is sharper than the point-spread function, an edge of the sky. Where an
//! image is too coarse to tell (photon counts of a few values), they find nothing.
//!
//! | kind | finder | plane |
//! |---|---|---|
//! | values that mean "no data": −999, −1e30, 0 | [`sentinels()`] | `NO_DATA` |
//! | areas of one value: padding of mosaics, gaps | [`constant_blocks()`] | `NO_DATA` |
//! | the level at which the detector or the converter clips | [`pile_up()`] | none: a saturation level |
//! | dark parts behind a field stop, and their rims | [`unexposed()`] | `BAD` |
//! | hot pixels and cosmic rays; dead pixels | [`sharp_pixels()`] | `COSMIC_RAY`; `BAD` |
//!
//! Beside these, [`sky_noise()`] compares the noise of the sky with what is said of it.
//!
//! [`fill_holes()`] interpolates what they and others have masked, where it is small, of an image that is to be convolved.
//!
//! Finders are meant to be called in this order. All work in one or two passes over the pixels, and give the same for any number of threads.

mod blocks;
mod constant_blocks;
mod holes;
mod pile_up;
mod sample;
mod sentinels;
mod sharp_pixels;
mod sky_noise;
mod unexposed;

pub use constant_blocks::{ConstantBlock, constant_blocks};
pub use holes::{FilledHoles, fill_holes};
pub use pile_up::{PileUp, pile_up};
pub use sentinels::{Sentinel, sentinels};
pub use sharp_pixels::{SharpPixels, sharp_pixels};
pub use sky_noise::{SkyNoise, sky_noise};
pub use unexposed::{Unexposed, unexposed};

#[cfg(test)]
mod tests;
