//! Of which exposures a reference is the mean, in its header, so that a target which is one of them is known as such: its noise is in both images.
//!
//! | card | what it holds |
//! |---|---|
//! | DIANREF | number of frames |
//! | DIAFnnnn | file of frame nnnn, from 1 |
//! | DIAHnnnn | hash of its pixels (BLAKE3) as big-endian float32 with its rows and columns: the same whatever its header says and however it is compressed |
//! | DIAWnnnn | its part of the mean |
//! | DIASnnnn | the covariance of reference and frame over the frame's variance; missing where the frame was warped or turned, and it is not known which pixels share their noise |
//! | DIAXnnnn, DIAYnnnn | with it, by how many columns and rows the frame was moved: a star's place in the reference minus that in the frame |

use anyhow::{Context, Result};
use dia_solvers::{Part, mean_without};

use crate::align::Shift;
use crate::fits::Header;
use crate::input::{Input, InputNoise, Real};
use crate::notice::{Level, Notice};
use crate::request::SubtractRequest;

/// Most frames that four digits number.
pub(super) const MOST: usize = 9999;

/// An exposure in a reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) file: String,
    pub(crate) hash: String,
    /// Its part of the mean, from 0 to 1.
    pub(crate) weight: f64,
    /// Where it is known which pixels share their noise.
    pub(crate) shared: Option<Shared>,
}

/// Noise of a frame that is in the reference, pixel by pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shared {
    /// Cov(n_R, n_I)/σ_I².
    pub(crate) part: f64,
    /// By what the frame was moved.
    pub(crate) moved: Shift,
}

/// Takes a target that is one of the frames of the reference, by `member` or by the request, out of the mean, and says so. `as_it_was` tells whether their pixels lie upon each other as they did when
/// the mean was taken.
///
/// # Errors
/// If nothing of the reference would be left.
pub(crate) fn leave_out<T: Real>(
    reference: &mut Input<T>,
    target: &Input<T>,
    member: Option<&Member>,
    as_it_was: bool,
    request: &SubtractRequest,
) -> Result<()> {
    let said = request.reference_contains_target.map(Part::one_of);
    let known = member.filter(|_| said.is_none());
    let of_frame = |member: &Member| {
        let shared = member.shared.filter(|_| as_it_was)?;
        Some(Part { weight: member.weight, scale: shared.part / member.weight })
    };
    let which = known.map_or_else(String::new, |member| format!(" ({})", member.file));
    let (target_name, name) = (&target.taken.image, &reference.taken.image);
    let Some(part) = said.or_else(|| known.and_then(of_frame)) else {
        if let Some(member) = known {
            let text = format!(
                "{target_name} is one of the frames of {name}{which}, {:.1} % of it, and cannot be taken out of it, since an image was warped or turned: they share noise, by which the photometric \
                 scale is too high, and what is new in the target is in the reference as well; give a reference without this frame",
                100.0 * member.weight
            );
            reference.notices.push(Notice::new(Level::Warn, "frame-of-reference", text));
        }
        return Ok(());
    };
    let (image, variance) = mean_without(&reference.exposure(), &target.exposure(), part)
        .with_context(|| format!("{target_name} cannot be taken out of {name}"))?;
    let text = format!(
        "{target_name} is one of the frames of {name}{which}, {:.1} % of it, and was taken out of it: the difference is from the mean of the others",
        100.0 * part.weight
    );
    reference.notices.push(Notice::new(Level::Pass, "frame-of-reference", text));
    reference.image = image;
    reference.noise = InputNoise::Variance(variance);
    if let Some(sky) = &mut reference.sky {
        sky.sigma /= (1.0 - part.weight).sqrt();
    }
    Ok(())
}

/// Writes the cards.
pub(super) fn write(header: &mut Header, members: &[Member]) {
    header.set("DIANREF", members.len() as i64, "frames that this reference is the mean of");
    for (i, member) in members.iter().enumerate() {
        let card = |letter: char| format!("DIA{letter}{:04}", i + 1);
        header.set(&card('F'), member.file.as_str(), "");
        header.set(&card('H'), member.hash.as_str(), "");
        header.set(&card('W'), member.weight, "part of the mean that the frame has");
        if let Some(Shared { part, moved }) = member.shared {
            header.set(&card('S'), part, "Cov(reference, frame)/Var(frame)");
            header.set(&card('X'), moved.dx as i64, "[pix] by what the frame was moved");
            header.set(&card('Y'), moved.dy as i64, "[pix] by what the frame was moved");
        }
    }
}

/// The exposure in the reference with this header that `target` is, if it is one.
pub(crate) fn exposure_in<T: Real>(header: &Header, target: &Input<T>) -> Option<Member> {
    let count = header.get_i64("DIANREF")?.clamp(0, MOST as i64);
    let own = target.hash();
    let card = |letter: char, i: i64| format!("DIA{letter}{i:04}");
    let i = (1..=count).find(|i| header.get_str(&card('H', *i)).as_deref() == Some(&own))?;
    let pixels = |letter: char| Some(header.get_i64(&card(letter, i))? as isize);
    let shared = || {
        let part = header.get_f64(&card('S', i)).filter(|part| *part > 0.0)?;
        Some(Shared { part, moved: Shift { dx: pixels('X')?, dy: pixels('Y')? } })
    };
    Some(Member {
        file: header.get_str(&card('F', i)).unwrap_or_default(),
        hash: own,
        weight: header.get_f64(&card('W', i)).unwrap_or_default(),
        shared: shared(),
    })
}

#[cfg(test)]
mod tests {
    use dia_core::{CcdNoise, Image, NoiseModel};
    use dia_solvers::Exposure;

    use super::{Member, Shared, exposure_in, write};
    use crate::align::Shift;
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
            hash: input(seed).hash(),
            weight: 0.25,
            shared,
        };
        let shared = Shared { part: 0.3, moved: Shift { dx: -4, dy: 7 } };
        let members = [member(1, Some(shared)), member(2, None)];
        let mut header = Header::new();
        write(&mut header, &members);
        for (seed, member) in [(1, &members[0]), (2, &members[1])] {
            assert_eq!(exposure_in(&header, &input(seed)).as_ref(), Some(member));
        }
        assert_eq!(exposure_in(&header, &input(3)), None);
        assert_eq!(exposure_in(&Header::new(), &input(1)), None);
        assert!(header.get_i64("DIANREF") == Some(2) && input(1).hash().len() == 64);
    }
}
