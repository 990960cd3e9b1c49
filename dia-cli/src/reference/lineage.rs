//! Of which exposures a reference is the mean, in its header, so that a target which is one of them is known as such: its noise is in both images.
//!
//! | card | what it holds |
//! |---|---|
//! | DIANREF | number of frames |
//! | DIAFnnnn | file of frame nnnn, from 1 |
//! | DIAHnnnn | hash of its pixels (BLAKE3) as big-endian float32 with its rows and columns: the same whatever its header says and however it is compressed |
//! | DIAWnnnn | its part of the mean |
//! | DIASnnnn | the covariance of reference and frame over the frame's variance; missing where the frame was warped, and the noise is no longer that of one pixel |

use crate::fits::Header;
use crate::input::{Input, Real};

/// Most frames that four digits number.
pub(super) const MOST: usize = 9999;

/// An exposure in a reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) file: String,
    pub(crate) hash: String,
    /// Its part of the mean, from 0 to 1.
    pub(crate) weight: f64,
    /// Cov(n_R, n_I)/σ_I², where the noise is that of one pixel.
    pub(crate) shared: Option<f64>,
}

/// The hash of an image's pixels.
pub(super) fn hash<T: Real>(input: &Input<T>) -> String {
    let image = input.image.view();
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

/// Writes the cards.
pub(super) fn write(header: &mut Header, members: &[Member]) {
    header.set("DIANREF", members.len() as i64, "frames that this reference is the mean of");
    for (i, member) in members.iter().enumerate() {
        let card = |letter: char| format!("DIA{letter}{:04}", i + 1);
        header.set(&card('F'), member.file.as_str(), "");
        header.set(&card('H'), member.hash.as_str(), "");
        header.set(&card('W'), member.weight, "part of the mean that the frame has");
        if let Some(shared) = member.shared {
            header.set(&card('S'), shared, "Cov(reference, frame)/Var(frame)");
        }
    }
}

/// The exposure in the reference with this header that `target` is, if it is one.
pub(crate) fn exposure_in<T: Real>(header: &Header, target: &Input<T>) -> Option<Member> {
    let count = header.get_i64("DIANREF")?.clamp(0, MOST as i64);
    let own = hash(target);
    let card = |letter: char, i: i64| format!("DIA{letter}{i:04}");
    let i = (1..=count).find(|i| header.get_str(&card('H', *i)).as_deref() == Some(&own))?;
    Some(Member {
        file: header.get_str(&card('F', i)).unwrap_or_default(),
        hash: own,
        weight: header.get_f64(&card('W', i)).unwrap_or_default(),
        shared: header.get_f64(&card('S', i)).filter(|shared| *shared > 0.0),
    })
}

#[cfg(test)]
mod tests {
    use dia_core::{CcdNoise, Image, NoiseModel};
    use dia_solvers::Exposure;

    use super::{Member, exposure_in, hash, write};
    use crate::fits::Header;
    use crate::input::{Input, Role};

    fn input(seed: usize) -> Input<f32> {
        let image = Image::from_fn(30, 20, |y, x| 100.0 + ((y * 31 + x * 17 + seed) % 23) as f32);
        let ccd = CcdNoise { gain: 1.0, read_noise: 5.0, subtracted_sky: 0.0 };
        let noise = NoiseModel::Ccd(ccd, None);
        let exposure = Exposure { image: image.view(), mask: None, noise, saturation: None };
        Input::of_exposure("x", Role::Target, &exposure).unwrap()
    }

    #[test]
    fn a_frame_is_known_by_its_pixels() {
        let member = |seed, shared| Member {
            file: format!("{seed}.fits"),
            hash: hash(&input(seed)),
            weight: 0.25,
            shared,
        };
        let members = [member(1, Some(0.3)), member(2, None)];
        let mut header = Header::new();
        write(&mut header, &members);
        for (seed, member) in [(1, &members[0]), (2, &members[1])] {
            assert_eq!(exposure_in(&header, &input(seed)).as_ref(), Some(member));
        }
        assert_eq!(exposure_in(&header, &input(3)), None);
        assert_eq!(exposure_in(&Header::new(), &input(1)), None);
        assert!(header.get_i64("DIANREF") == Some(2) && hash(&input(1)).len() == 64);
    }
}
