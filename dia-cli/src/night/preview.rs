//! Small pictures of a frame for the page.

use std::path::Path;

use anyhow::{Context, Result};
use dia_core::{Image, robust};

use crate::fits;

/// Longest side in pixels.
const LONGEST: usize = 320;

/// Writes an image as a grey PNG, north as the rows go: the first row below. Stars on a sky by asinh from 2 σ below the sky; a difference (`symmetric`) from −8 to 8 σ around zero.
pub(super) fn write(path: &Path, image: &Image<f32>, symmetric: bool) -> Result<()> {
    let (height, width) = image.view().shape();
    let block = height.max(width).div_ceil(LONGEST);
    let (rows, columns) = (height.div_ceil(block), width.div_ceil(block));
    let mean = |y: usize, x: usize| {
        let rows = y * block..((y + 1) * block).min(height);
        let columns = move || x * block..((x + 1) * block).min(width);
        let pixels = rows.flat_map(|y| columns().map(move |x| image.view().at(y, x)));
        let (sum, count) = pixels
            .filter(|value| value.is_finite())
            .fold((0.0, 0), |(sum, count), value| (sum + f64::from(value), count + 1));
        if count == 0 { f64::NAN } else { sum / f64::from(count) }
    };
    let values: Vec<f64> = (0..rows)
        .rev()
        .flat_map(|y| (0..columns).map(move |x| (y, x)))
        .map(|(y, x)| mean(y, x))
        .collect();
    let known = values.iter().copied().filter(|value| value.is_finite());
    let (middle, scatter) = robust::median_and_scatter(known.clone()).unwrap_or((0.0, 1.0));
    let scatter = if scatter > 0.0 { scatter } else { 1.0 };
    let top = known.fold(f64::MIN, f64::max).max(middle + 10.0 * scatter);
    let place = |value: f64| {
        if symmetric {
            return 0.5 + value / (16.0 * scatter);
        }
        let scaled = |value: f64| ((value - middle) / scatter).max(-2.0).asinh() + 2.0_f64.asinh();
        scaled(value) / scaled(top)
    };
    // Without a value: a grey that neither has often.
    let grey = |value: &f64| {
        if value.is_finite() { (place(*value).clamp(0.0, 1.0) * 255.0).round() as u8 } else { 96 }
    };
    let pixels: Vec<u8> = values.iter().map(grey).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().context("cannot encode a picture")?;
    writer.write_image_data(&pixels).context("cannot encode a picture")?;
    writer.finish().context("cannot encode a picture")?;
    Ok(fits::write_atomically(path, |mut file| std::io::Write::write_all(&mut file, &bytes))?)
}
