//! Pixels that hold no data though nothing says so: fill values, padding, saturation and hot pixels, found by their values alone.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::robust::{median, median_and_scatter};
use crate::{ImageView, Mask, MaskPlanes, Pixel};

/// What was found in an image, and marked in its mask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defects {
    /// Values that stand for "no data", each with its number of pixels.
    pub fill_values: Vec<(f64, usize)>,
    /// Pixels of constant blocks that touch the border.
    pub padding: usize,
    /// The highest value, if many pixels are piled up at it, and their number.
    pub saturation: Option<(f64, usize)>,
    /// Pixels of regions at the border that saw no sky: behind a field stop, an obstruction, a gap.
    pub dark: usize,
    /// Pixels sharper than any star: hot pixels, and cosmic rays that hit one pixel.
    pub hot: usize,
}

/// Pixels of one value that are no chance.
const REPEATED: usize = 5;

/// Smallest constant block at the border.
const BLOCK: usize = 32;

/// Distance from the sky, in its scatter, at which a repeated low value is none of the sky.
const FAR_BELOW: f64 = 20.0;

/// No detector counts that far.
const ABSURD: f64 = 1e29;

/// Finds them among the pixels that `mask` leaves, and marks them there.
///
/// - A value at the lower end that many pixels have exactly, many times the scatter below the sky; and values beyond 10²⁹: `NO_DATA`.
/// - A block of one value that touches the border, of a value that is rare elsewhere: `NO_DATA`.
/// - The highest value, if many pixels have exactly that one: `SATURATED`.
/// - Blocks of 16 × 16 pixels with less than half of the sky that the image has elsewhere, connected to the border, with a rim of one and a half blocks: `NO_DATA`.
/// - A pixel many times the noise above the ring around it whose eight neighbours hold less light than those of a star of 1.3 pixels FWHM would:
///   `COSMIC_RAY`.
///
/// # Panics
/// If the mask has another size than the image.
pub fn find<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask) -> Defects {
    let (height, width) = image.shape();
    assert_eq!(mask.planes().len(), height * width);
    let mut defects = Defects::default();
    fill_values(image, mask, &mut defects);
    let good = |i: usize, mask: &Mask| mask.planes()[i].is_empty();
    let values = (0..height * width).filter(|i| good(*i, mask)).map(|i| image.pixels()[i].widen());
    let Some((_, scatter)) = median_and_scatter(values) else { return defects };
    // A constant image is no block of another.
    if scatter <= 0.0 {
        return defects;
    }
    defects.padding = padding(image, mask);
    saturation(image, mask, &mut defects);
    defects.dark = dark_regions(image, mask);
    let hot = hot_pixels(image, mask, scatter);
    defects.hot = hot.len();
    for i in hot {
        mask.insert(i / width, i % width, MaskPlanes::COSMIC_RAY);
    }
    defects
}

/// The lowest values, one after the other, as long as they are repeated and far below the sky.
fn fill_values<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask, defects: &mut Defects) {
    let (_, width) = image.shape();
    let pixels = image.pixels();
    let absurd: Vec<usize> =
        (0..pixels.len()).filter(|i| pixels[*i].widen().abs() >= ABSURD).collect();
    for i in &absurd {
        let value = pixels[*i].widen();
        if mask.planes()[*i].is_empty() {
            match defects.fill_values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, count)) => *count += 1,
                None => defects.fill_values.push((value, 1)),
            }
            mask.insert(i / width, i % width, MaskPlanes::NO_DATA);
        }
    }
    loop {
        let good = || (0..pixels.len()).filter(|i| mask.planes()[*i].is_empty());
        let least = good().map(|i| pixels[i].widen()).fold(f64::INFINITY, f64::min);
        let Some((sky, scatter)) = median_and_scatter(good().map(|i| pixels[i].widen())) else {
            return;
        };
        if least >= sky - FAR_BELOW * scatter {
            return;
        }
        let those: Vec<usize> = good().filter(|i| pixels[*i].widen() == least).collect();
        if those.len() < REPEATED {
            return;
        }
        for i in &those {
            mask.insert(i / width, i % width, MaskPlanes::NO_DATA);
        }
        defects.fill_values.push((least, those.len()));
    }
}

/// Marks blocks of equal pixels that touch the border; returns how many pixels.
fn padding<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask) -> usize {
    let (height, width) = image.shape();
    let pixels = image.pixels();
    let mut seen = vec![false; pixels.len()];
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let edges = (0..width)
        .flat_map(|x| [x, (height - 1) * width + x])
        .chain((0..height).flat_map(|y| [y * width, y * width + width - 1]));
    for start in edges {
        if seen[start] || !mask.planes()[start].is_empty() {
            continue;
        }
        seen[start] = true;
        let mut block = vec![start];
        let mut next = 0;
        while next < block.len() {
            let i = block[next];
            next += 1;
            let (y, x) = (i / width, i % width);
            let around = [
                (y > 0).then(|| i - width),
                (x > 0).then(|| i - 1),
                (x + 1 < width).then(|| i + 1),
                (y + 1 < height).then(|| i + width),
            ];
            for other in around.into_iter().flatten() {
                if !seen[other] && pixels[other] == pixels[start] && mask.planes()[other].is_empty()
                {
                    seen[other] = true;
                    block.push(other);
                }
            }
        }
        if block.len() >= BLOCK {
            blocks.push(block);
        }
    }
    let mut of_value: HashMap<u64, usize> = HashMap::new();
    for block in &blocks {
        *of_value.entry(pixels[block[0]].widen().to_bits()).or_default() += block.len();
    }
    // Where few values occur at all, neighbours are equal by chance.
    of_value.retain(|bits, count| {
        let value = f64::from_bits(*bits);
        let all = pixels.iter().filter(|pixel| pixel.widen() == value).count();
        all < 2 * *count
    });
    let mut marked = 0;
    for block in blocks {
        if of_value.contains_key(&pixels[block[0]].widen().to_bits()) {
            marked += block.len();
            for i in block {
                mask.insert(i / width, i % width, MaskPlanes::NO_DATA);
            }
        }
    }
    marked
}

/// Side of the blocks whose medians are compared, in pixels.
const SKY_BLOCK: usize = 16;

/// Of the sky elsewhere, what a dark block has at most. No vignetting of an image that is worth subtracting comes to that.
const DARK: f64 = 0.5;

/// A sky of fewer scatters than this may be none: it was subtracted.
const LEAST_SKY: f64 = 3.0;

/// Fewer dark blocks than this are no region.
const REGION: usize = 3;

/// Marks regions without sky at the border; returns how many pixels.
fn dark_regions<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask) -> usize {
    let (height, width) = image.shape();
    let (rows, columns) = (height.div_ceil(SKY_BLOCK), width.div_ceil(SKY_BLOCK));
    let of_block = |b: usize| {
        let (top, left) = (b / columns * SKY_BLOCK, b % columns * SKY_BLOCK);
        let mut values = Vec::with_capacity(SKY_BLOCK * SKY_BLOCK);
        for y in top..(top + SKY_BLOCK).min(height) {
            for x in left..(left + SKY_BLOCK).min(width) {
                if mask.planes()[y * width + x].is_empty() {
                    values.push(image.at(y, x).widen());
                }
            }
        }
        median(&mut values).unwrap_or(f64::NAN)
    };
    let medians: Vec<f64> = (0..rows * columns).into_par_iter().map(of_block).collect();
    let good = (0..height * width).filter(|i| mask.planes()[*i].is_empty());
    let scatter = median_and_scatter(good.map(|i| image.pixels()[i].widen()));
    let mut known: Vec<f64> = medians.iter().copied().filter(|m| m.is_finite()).collect();
    let (Some(sky), Some((_, scatter))) = (median(&mut known), scatter) else { return 0 };
    if sky < LEAST_SKY * scatter {
        return 0;
    }
    let is_dark = |b: usize| medians[b] < DARK * sky;
    let mut dark = vec![false; medians.len()];
    for start in 0..medians.len() {
        let (y, x) = (start / columns, start % columns);
        let border = y == 0 || x == 0 || y + 1 == rows || x + 1 == columns;
        if !border || dark[start] || !is_dark(start) {
            continue;
        }
        let mut region = vec![start];
        dark[start] = true;
        let mut next = 0;
        while next < region.len() {
            let (y, x) = (region[next] / columns, region[next] % columns);
            next += 1;
            for py in y.saturating_sub(1)..(y + 2).min(rows) {
                for px in x.saturating_sub(1)..(x + 2).min(columns) {
                    let other = py * columns + px;
                    if !dark[other] && is_dark(other) {
                        dark[other] = true;
                        region.push(other);
                    }
                }
            }
        }
        if region.len() < REGION {
            for b in region {
                dark[b] = false;
            }
        }
    }
    if !dark.contains(&true) {
        return 0;
    }
    // With the rim, where the sky goes over into the dark.
    let rim = SKY_BLOCK + SKY_BLOCK / 2;
    let mut marked = vec![false; height * width];
    for b in (0..dark.len()).filter(|b| dark[*b]) {
        let (top, left) = (b / columns * SKY_BLOCK, b % columns * SKY_BLOCK);
        for y in top.saturating_sub(rim)..(top + SKY_BLOCK + rim).min(height) {
            marked[y * width + left.saturating_sub(rim)
                ..y * width + (left + SKY_BLOCK + rim).min(width)]
                .fill(true);
        }
    }
    let mut count = 0;
    for i in (0..marked.len()).filter(|i| marked[*i]) {
        count += usize::from(mask.planes()[i].is_empty());
        mask.insert(i / width, i % width, MaskPlanes::NO_DATA);
    }
    count
}

/// Where many pixels share the highest value, it is that of saturation.
fn saturation<T: Pixel>(image: ImageView<'_, T>, mask: &mut Mask, defects: &mut Defects) {
    let (_, width) = image.shape();
    let pixels = image.pixels();
    let good = || (0..pixels.len()).filter(|i| mask.planes()[*i].is_empty());
    let most = good().map(|i| pixels[i].widen()).fold(f64::NEG_INFINITY, f64::max);
    let those: Vec<usize> = good().filter(|i| pixels[*i].widen() == most).collect();
    // Of the sky of a shallow image, few values may occur, and the highest more than once.
    let Some((sky, scatter)) = median_and_scatter(good().map(|i| pixels[i].widen())) else {
        return;
    };
    if those.len() < REPEATED || most < sky + FAR_BELOW * scatter {
        return;
    }
    for i in &those {
        mask.insert(i / width, i % width, MaskPlanes::SATURATED);
    }
    defects.saturation = Some((most, those.len()));
}

/// Light of the eight neighbours of a star's brightest pixel, their mean over that pixel: of a Gaussian of 1.3 pixels FWHM in the middle of a pixel 0.18, of
/// wider ones and of those off the middle more. Half of that leaves room for profiles that are sharper in the core.
const LEAST_LIGHT: f64 = 0.09;

/// Height of a hot pixel in units of the scatter.
const HOT: f64 = 15.0;

fn hot_pixels<T: Pixel>(image: ImageView<'_, T>, mask: &Mask, scatter: f64) -> Vec<usize> {
    let (height, width) = image.shape();
    if height < 5 || width < 5 || scatter <= 0.0 {
        return Vec::new();
    }
    let row = |y: usize| {
        let at = |y: usize, x: usize| image.pixels()[y * width + x].widen();
        let (mut found, mut ring) = (Vec::new(), Vec::new());
        for x in 2..width - 2 {
            let value = at(y, x);
            // The cheapest test first.
            if at(y, x - 1) + at(y, x + 1) > value || !mask.planes()[y * width + x].is_empty() {
                continue;
            }
            ring.clear();
            let (mut sum, mut count) = (0.0, 0);
            for (py, px) in (y - 2..=y + 2).flat_map(|py| (x - 2..=x + 2).map(move |px| (py, px))) {
                let good = mask.planes()[py * width + px].is_empty() && at(py, px).is_finite();
                match py.abs_diff(y).max(px.abs_diff(x)) {
                    2 if good => ring.push(at(py, px)),
                    1 if good => {
                        sum += at(py, px);
                        count += 1;
                    }
                    _ => {}
                }
            }
            let Some(sky) = median(&mut ring) else { continue };
            let height = value - sky;
            // A pixel beside a masked one is none to judge.
            if height < HOT * scatter || count < 8 {
                continue;
            }
            sum -= 8.0 * sky;
            let light = sum / 8.0;
            let error = scatter / 8.0_f64.sqrt();
            if light + 2.0 * error < LEAST_LIGHT * height {
                found.push(y * width + x);
            }
        }
        found
    };
    let rows: Vec<Vec<usize>> = (2..height - 2).into_par_iter().map(row).collect();
    rows.concat()
}

#[cfg(test)]
mod tests {
    use super::{Defects, find};
    use crate::simulate::{Psf, SimulationOptions, simulate};
    use crate::{Image, Mask, MaskPlanes};

    fn field(seed: u64, fwhm: f64, psf: Psf) -> Image<f32> {
        let options = SimulationOptions {
            height: 160,
            width: 160,
            seed,
            psf,
            target_fwhm: fwhm,
            reference_fwhm: 0.9 * fwhm,
            cosmic_rays: 0,
            bad_columns: 0,
            saturation: None,
            ..Default::default()
        };
        simulate(&options).unwrap().target.map(|v| v as f32)
    }

    fn found(image: &Image<f32>) -> (Defects, Mask) {
        let mut mask = Mask::good(160, 160);
        (find(image.view(), &mut mask), mask)
    }

    #[test]
    fn clean_fields_have_none() {
        for seed in 0..4 {
            for (fwhm, psf) in [
                (1.5, Psf::Gaussian),
                (2.2, Psf::Moffat { beta: 3.0 }),
                (4.0, Psf::Gaussian),
                (6.0, Psf::Moffat { beta: 3.0 }),
            ] {
                let image = field(seed, fwhm, psf);
                assert_eq!(found(&image).0, Defects::default(), "{seed} {fwhm}");
                // Whole counts, also of a shallow image.
                for unit in [1.0, 8.0] {
                    let whole = image.map(|v| (v / unit).round());
                    assert_eq!(found(&whole).0, Defects::default(), "{seed} {fwhm} / {unit}");
                }
            }
        }
    }

    #[test]
    fn a_field_stop_is_found_with_its_rim_and_a_gradient_is_none() {
        let stopped = |low: f64| {
            let image = field(5, 3.0, Psf::Gaussian);
            Image::from_fn(160, 160, |y, x| {
                let outside = y + x < 60;
                let value = f64::from(image.view().at(y, x));
                if outside { value * low } else { value * (0.75 + 0.5 * x as f64 / 160.0) }
            })
        };
        let mut mask = Mask::good(160, 160);
        let dark = find(stopped(0.1).view(), &mut mask).dark;
        // The triangle has 1830 pixels; its rim is up to 40 wide.
        assert!((1830..6000).contains(&dark), "{dark}");
        assert!((0..60).all(|k| !mask.at(k, 59 - k).is_empty()));
        assert_eq!(find(stopped(0.9).view(), &mut Mask::good(160, 160)).dark, 0);
    }

    #[test]
    fn all_kinds_are_found_and_named() {
        let mut image = field(9, 3.0, Psf::Gaussian);
        for y in 0..160 {
            (0..12).for_each(|x| image.pixels_mut()[y * 160 + x] = 0.0);
        }
        for (k, value) in [(0, -999.0), (1, -1e30)] {
            (0..40).for_each(|i| image.pixels_mut()[(20 + 3 * i) * 160 + 50 + k] = value);
        }
        let level = 3000.0;
        let clipped = image.pixels().iter().filter(|v| **v > level).count();
        image.pixels_mut().iter_mut().for_each(|v| *v = v.min(level));
        let hot: Vec<usize> = (0..30).map(|k| (15 + 4 * k) * 160 + 30 + (37 * k) % 110).collect();
        // Only where no star is near: a pixel on top of one is none that can be told.
        let dark = |i: &&usize| {
            let near = |d: isize| image.pixels()[i.saturating_add_signed(d)] < 480.0;
            [-161, -160, -159, -1, 0, 1, 159, 160, 161].into_iter().all(near)
        };
        let hot: Vec<usize> = hot.iter().filter(dark).copied().collect();
        for i in &hot {
            image.pixels_mut()[*i] += 900.0;
        }
        let (defects, mask) = found(&image);
        assert!(clipped > 5 && hot.len() > 15);
        assert_eq!(defects.saturation, Some((level.into(), clipped)));
        let zeros = defects.padding
            + defects.fill_values.iter().filter(|(v, _)| *v == 0.0).map(|(_, n)| n).sum::<usize>();
        assert_eq!(zeros, 12 * 160);
        for value in [-999.0, -1e30_f32] {
            assert!(defects.fill_values.contains(&(value.into(), 40)), "{defects:?}");
        }
        let missed =
            hot.iter().filter(|i| !mask.planes()[**i].contains(MaskPlanes::COSMIC_RAY)).count();
        assert!(
            missed * 10 <= hot.len() && defects.hot <= hot.len(),
            "{missed} of {}, {defects:?}",
            hot.len()
        );
    }
}
