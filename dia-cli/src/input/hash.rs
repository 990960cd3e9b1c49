//! By what an image is known again whose file was renamed or compressed.

use crate::input::{Input, Real};

impl<T: Real> Input<T> {
    /// The hash (BLAKE3) of the image's pixels as they were read, as big-endian float32 with its rows and columns.
    pub(crate) fn hash(&self) -> String {
        if let Some(hash) = &self.hash_as_read {
            return hash.clone();
        }
        let image = self.image.view();
        let (height, width) = image.shape();
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{height} {width} ").as_bytes());
        let mut bytes = Vec::with_capacity(4 * width);
        for y in 0..height {
            bytes.clear();
            for value in image.row(y) {
                let value = value.widen() as f32;
                // NaNs differ in bits, and zeros in sign.
                let value = if value.is_nan() { f32::NAN } else { value + 0.0 };
                bytes.extend(value.to_be_bytes());
            }
            hasher.update(&bytes);
        }
        hasher.finalize().to_hex().to_string()
    }
}
