//! Which frames a reference is made of: the sharpest of the deep ones is the base, and those join it that bring most.

use anyhow::{Context, Result, ensure};
use dia_core::{seeing, stars};

use crate::input::{Input, Real};

/// The base is deep enough if the noise of a point source in it, over its stars' fluxes, is at most so many times that of the deepest.
const DEEP: f64 = 2.0;

/// A frame brings next to nothing from so many times the noise of the deepest on: a hundredth of its weight.
const SHALLOW: f64 = 10.0;

/// Stars whose fluxes tell the transparency.
const STARS: usize = 50;

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quality {
    /// Seeing in pixels.
    pub(super) fwhm: f64,
    /// σ of a point source's flux in parts of the median star's: by what a frame brings to a reference, frames are ranked by its inverse.
    pub(super) depth: f64,
}

impl Quality {
    /// # Errors
    /// If the seeing, stars or the noise of the sky cannot be told.
    pub(super) fn of<T: Real>(input: &Input<T>) -> Result<Self> {
        let mask = input.unusable();
        let fwhm = seeing::fwhm(input.image.view(), &mask)
            .context("the seeing cannot be measured: too few usable stars")?;
        let mut fluxes: Vec<f64> =
            stars::find(input.image.view(), &mask, STARS).iter().map(|star| star.flux).collect();
        let flux = dia_core::robust::median(&mut fluxes).context("no stars")?;
        let sky = input.sky.context("the noise of the sky cannot be told")?;
        ensure!(flux > 0.0 && sky.sigma > 0.0, "it has no noise, or its stars have no light");
        Ok(Self { fwhm, depth: fwhm * sky.sigma / flux })
    }
}

/// The frames that a reference is made of, by their places.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) base: usize,
    /// The base and others, the deepest first.
    pub(super) members: Vec<usize>,
    /// Why others are none.
    pub(super) left_out: Vec<(usize, String)>,
}

/// Chooses among frames of which the quality is known: at most `most`, of a seeing of up to `widest` times that of the base. `None` if nothing is known of any.
pub(super) fn choose(qualities: &[Option<Quality>], most: usize, widest: f64) -> Option<Choice> {
    let known = || (0..qualities.len()).filter_map(|i| Some((i, qualities[i]?)));
    let deepest = known().map(|(_, quality)| quality.depth).fold(f64::INFINITY, f64::min);
    let deep = known().filter(|(_, quality)| quality.depth <= DEEP * deepest);
    let (base, sharpest) = deep.min_by(|a, b| a.1.fwhm.total_cmp(&b.1.fwhm))?;
    let mut left_out = Vec::new();
    let mut members: Vec<(usize, Quality)> = Vec::new();
    for (i, quality) in known() {
        if quality.fwhm > widest * sharpest.fwhm {
            let text = format!(
                "its seeing of {:.2} px is more than {widest} times that of the base",
                quality.fwhm
            );
            left_out.push((i, text));
        } else if quality.depth > SHALLOW * deepest {
            let times = quality.depth / deepest;
            left_out.push((
                i,
                format!("a point source has {times:.0} times the noise of the deepest frame"),
            ));
        } else {
            members.push((i, quality));
        }
    }
    // The base is in it whatever its rank.
    members.sort_by(|a, b| (a.0 != base).cmp(&(b.0 != base)).then(a.1.depth.total_cmp(&b.1.depth)));
    for (i, _) in members.drain(most.max(1).min(members.len())..) {
        left_out.push((i, format!("{most} others bring more")));
    }
    members.sort_by(|a, b| a.1.depth.total_cmp(&b.1.depth));
    left_out.sort_by_key(|(i, _)| *i);
    Some(Choice { base, members: members.into_iter().map(|(i, _)| i).collect(), left_out })
}

#[cfg(test)]
mod tests {
    use super::{Quality, choose};

    #[test]
    fn the_sharpest_of_the_deep_is_the_base_and_the_deepest_come_first() {
        let quality = |fwhm, depth| Some(Quality { fwhm, depth });
        let frames = [
            quality(3.0, 0.010),
            quality(2.8, 0.012),
            None,
            // Sharp and shallow, wide, clouded.
            quality(2.5, 0.024),
            quality(4.5, 0.011),
            quality(2.9, 0.2),
        ];
        let choice = choose(&frames, 10, 1.3).unwrap();
        assert_eq!((choice.base, &choice.members[..]), (1, &[0, 1, 3][..]));
        let left_out: Vec<usize> = choice.left_out.iter().map(|(i, _)| *i).collect();
        assert_eq!(left_out, [4, 5]);
        let few = choose(&frames, 2, 1.3).unwrap();
        assert_eq!((few.base, &few.members[..]), (1, &[0, 1][..]));
        assert!(choose(&frames, 1, 1.3).unwrap().members == [1]);
        assert!(choose(&[None, None], 3, 1.3).is_none());
    }
}
