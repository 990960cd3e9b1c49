//! Places of stars to hundredths of a pixel.

use dia_core::stars::Star;
use dia_core::{ImageView, LocalSky, Mask, MaskPlanes, Pixel};
use rayon::prelude::*;

/// From the full width at half maximum of a Gaussian to its σ.
const SIGMA: f64 = 0.424_660_900_144_009_5;

/// Radius of the window in its σ.
const REACH: f64 = 3.0;

/// Steps; each leaves a small part of the distance.
const STEPS: usize = 20;

/// A step of fewer pixels ends the search.
const CLOSE: f64 = 1e-4;

/// Stars that move farther than this many FWHM are not what was found.
const FARTHEST: f64 = 0.7;

/// The stars with centroids of a Gaussian window as wide as they are, about which their light is even.
///
/// A step moves the window by 2 Σ w v (x − x₀) / Σ w v, w the window and v the light above the local sky (as the windowed positions of SExtractor do; for Gaussian
/// stars the factor 2 is Newton's step). Their error is that of a fit of the profile, nearly, and pixels far out, where neighbours are, do not count. A star with a masked
/// pixel in its window, or from which the window runs away, keeps its place.
///
/// # Panics
/// If the mask has another size than the image, or the width is not positive.
pub fn recentre<T: Pixel>(
    image: ImageView<'_, T>,
    mask: &Mask,
    stars: &[Star],
    fwhm: f64,
) -> Vec<Star> {
    assert!(fwhm > 0.0, "a star has a width");
    let Some(sky) = LocalSky::of(image, mask, MaskPlanes::all()) else { return stars.to_vec() };
    let sigma = SIGMA * fwhm;
    let step = |x: f64, y: f64| -> Option<(f64, f64)> {
        let reach = REACH * sigma;
        let (height, width) = image.shape();
        let range = |centre: f64, size: usize| {
            let (from, to) = ((centre - reach).ceil(), (centre + reach).floor());
            (from >= 0.0 && to < size as f64).then_some(from as usize..=to as usize)
        };
        let (rows, columns) = (range(y, height)?, range(x, width)?);
        let weight = |d: f64| (-0.5 * d * d / (sigma * sigma)).exp();
        let across: Vec<f64> = columns.clone().map(|px| weight(px as f64 - x)).collect();
        let (mut sum, mut sx, mut sy) = (0.0, 0.0, 0.0);
        for py in rows {
            let dy = py as f64 - y;
            let (down, sky) = (weight(dy), sky.row(py));
            let (pixels, planes) = (image.row(py), mask.row(py));
            for (px, across) in columns.clone().zip(&across) {
                let dx = px as f64 - x;
                if dx * dx + dy * dy > reach * reach {
                    continue;
                }
                if !planes[px].is_empty() {
                    return None;
                }
                let light = pixels[px].widen() - sky(px);
                let weighted = light * down * across;
                sum += weighted;
                sx += weighted * dx;
                sy += weighted * dy;
            }
        }
        (sum > 0.0).then(|| (2.0 * sx / sum, 2.0 * sy / sum))
    };
    let settled = |star: &Star| -> Option<Star> {
        let (mut x, mut y) = (star.x, star.y);
        for _ in 0..STEPS {
            let (dx, dy) = step(x, y)?;
            (x, y) = (x + dx, y + dy);
            if (x - star.x).hypot(y - star.y) > FARTHEST * fwhm {
                return None;
            }
            if dx.hypot(dy) < CLOSE {
                return Some(Star { x, y, ..*star });
            }
        }
        None
    };
    stars.par_iter().map(|star| settled(star).unwrap_or(*star)).collect()
}

#[cfg(test)]
mod tests {
    use dia_core::stars::Star;
    use dia_core::{Image, Mask, MaskPlanes};

    use super::recentre;

    /// A star of FWHM 5 at (31.37, 28.81) with a neighbour 12 pixels away, on a sky of some texture.
    fn image() -> Image<f64> {
        let star = |y: f64, x: f64, at: (f64, f64)| {
            4000.0 * (-((x - at.0).powi(2) + (y - at.1).powi(2)) / (2.0 * 4.508)).exp()
        };
        Image::from_fn(60, 60, |y, x| {
            let (y, x) = (y as f64, x as f64);
            100.0
                + ((3.0 * x + 5.0 * y) % 4.0)
                + star(y, x, (31.37, 28.81))
                + star(y, x, (43.0, 29.0))
        })
    }

    #[test]
    fn a_star_is_found_to_a_hundredth_of_a_pixel() {
        let found = Star { x: 31.1, y: 29.05, flux: 1e4 };
        let [star] = recentre(image().view(), &Mask::good(60, 60), &[found], 5.0)[..] else {
            panic!()
        };
        assert!((star.x - 31.37).hypot(star.y - 28.81) < 0.01, "{star:?}");
        assert_eq!(star.flux, found.flux);
    }

    #[test]
    fn a_star_that_cannot_be_centred_keeps_its_place() {
        let found = [Star { x: 31.1, y: 29.05, flux: 1e4 }, Star { x: 2.0, y: 3.0, flux: 10.0 }];
        let mut mask = Mask::good(60, 60);
        mask.insert(30, 32, MaskPlanes::BAD);
        assert_eq!(recentre(image().view(), &mask, &found, 5.0), found);
    }
}
