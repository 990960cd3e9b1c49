//! The sky around a star, in two images at once.

use dia_core::robust::median;

/// Pixels that are farther than this many σ from the median are no sky.
const NEAR: f64 = 3.0;

/// At least this part of a ring must be sky.
const LEAST: f64 = 0.25;

/// A pixel of both images, with the σ of its noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Both {
    pub(super) values: [f64; 2],
    pub(super) sigma: f64,
}

/// The levels of the sky in two images, and the variance of such a level by noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    pub(super) values: [f64; 2],
    pub(super) variance: f64,
}

/// The means of those pixels of a ring that are near the median in both images, after the images were multiplied by `scales`.
///
/// A median of integers, or of a few photons, is off by as much as half of their distance, and a star has many pixels; and what other stars have in the same pixels of both images leaves
/// ratios of fluxes as they are. `None` where too little is sky.
pub(super) fn levels(ring: &[Both], scales: [f64; 2]) -> Option<Levels> {
    let value = |image: usize| move |pixel: &Both| pixel.values[image];
    let middle = |image: usize| median(&mut ring.iter().map(value(image)).collect::<Vec<_>>());
    let middles = [middle(0)?, middle(1)?];
    let is_near = |pixel: &&Both| {
        let off = |image: usize| scales[image] * (pixel.values[image] - middles[image]);
        off(0).abs().max(off(1).abs()) <= NEAR * pixel.sigma
    };
    let near: Vec<Both> = ring.iter().filter(is_near).copied().collect();
    let count = near.len() as f64;
    let mean = |of: &dyn Fn(&Both) -> f64| near.iter().map(of).sum::<f64>() / count;
    let variance = mean(&|pixel| pixel.sigma * pixel.sigma) / count;
    let enough = count > LEAST * ring.len() as f64;
    enough.then(|| Levels { values: [mean(&value(0)), mean(&value(1))], variance })
}

#[cfg(test)]
mod tests {
    use super::{Both, levels};

    #[test]
    fn the_sky_of_integers_is_their_mean_and_stars_are_none() {
        // Three of ten pixels have an electron, and one of ten a star in both images.
        let ring: Vec<Both> = (0..400)
            .map(|i| {
                let star = if i % 10 == 9 { 50.0 } else { 0.0 };
                let photon = f64::from(u8::from(i % 10 < 3));
                Both { values: [10.0 + star, photon + star], sigma: 0.5 }
            })
            .collect();
        let found = levels(&ring, [1.0, 1.0]).unwrap();
        assert_eq!(found.values, [10.0, 1.0 / 3.0]);
        assert!((found.variance - 0.25 / 360.0).abs() < 1e-12);
        // Where two populations share the ring, none of them is the sky.
        let split: Vec<Both> =
            (0..9).map(|i| Both { values: [f64::from(i), 0.0], sigma: 0.1 }).collect();
        assert!(levels(&split, [1.0, 1.0]).is_none());
    }
}
