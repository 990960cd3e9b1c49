//! What the sky of an image says of its noise.

use dia_core::{Image, Mask, Pixel, robust};

/// Side of the blocks in pixels: a thousand differences know their scatter to 4 %.
const BLOCK: usize = 32;

/// Blocks from the quietest on, of all: stars raise the others.
const QUIET: f64 = 0.2;

/// The scatter of the sky from pixel to pixel, and the variance that is said of the same pixels; of the quieter parts of the image.
///
/// The second difference along rows, v(x) − ½ (v(x − 1) + v(x + 1)), has 1.5 times the variance of white noise and none of a gradient. Stars are in every block of a crowded
/// field, which is why the quiet ones count; noise that is correlated from pixel to pixel, as in resampled images, comes out too small.
pub(crate) fn measure<T: Pixel>(
    image: &Image<T>,
    mask: &Mask,
    variance: impl Fn(usize) -> f64,
) -> Option<(f64, f64)> {
    let (height, width) = image.view().shape();
    let pixels = image.pixels();
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            let (mut differences, mut variances) = (Vec::new(), Vec::new());
            for y in top..(top + BLOCK).min(height) {
                for x in left.max(1)..(left + BLOCK).min(width.saturating_sub(1)) {
                    let i = y * width + x;
                    if [i - 1, i, i + 1].iter().all(|i| mask.planes()[*i].is_empty()) {
                        let [before, here, after] = [i - 1, i, i + 1].map(|i| pixels[i].widen());
                        differences.push(here - 0.5 * (before + after));
                        variances.push(variance(i));
                    }
                }
            }
            if differences.len() < BLOCK * BLOCK / 2 {
                continue;
            }
            let scatter = robust::median_and_scatter(differences.into_iter());
            let expected = {
                variances.retain(|v: &f64| v.is_finite());
                robust::median(&mut variances)
            };
            if let (Some((_, scatter)), Some(expected)) = (scatter, expected) {
                blocks.push((scatter / 1.5_f64.sqrt(), expected));
            }
        }
    }
    blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let quiet = &blocks[..((QUIET * blocks.len() as f64).ceil() as usize).min(blocks.len())];
    let (mut scatters, mut variances): (Vec<f64>, Vec<f64>) = quiet.iter().copied().unzip();
    Some((robust::median(&mut scatters)?, robust::median(&mut variances)?))
}

#[cfg(test)]
mod tests {
    use dia_core::simulate::{SimulationOptions, simulate};

    use super::measure;

    #[test]
    fn it_is_that_of_the_pixels_where_stars_are_few_and_many() {
        for density in [5.0, 60.0, 200.0] {
            let options =
                SimulationOptions { height: 256, width: 256, density, ..Default::default() };
            let pair = simulate(&options).unwrap();
            let variance = pair.target_variance.pixels();
            let (scatter, expected) =
                measure(&pair.target, &pair.target_mask, |i| variance[i]).unwrap();
            // 4 % of a block, and the quietest fifth of 64 blocks lies 1.4 of that below; stars add up to a tenth.
            let ratio = scatter / expected.sqrt();
            assert!((0.88..1.12).contains(&ratio), "{density}: {ratio}");
        }
    }
}
