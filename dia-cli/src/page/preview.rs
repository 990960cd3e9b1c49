//! Small grey pictures of images for a page.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use dia_core::{Image, robust};

use crate::fits;

/// How values become greys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greys {
    /// Stars on a sky, by asinh from 2 σ below the sky.
    Stars,
    /// Noise around zero, from −8 to 8 σ.
    Noise,
    /// From minus the largest value to the largest; zero is the middle.
    Signed,
}

/// Writes a picture as PNG, whole or not at all.
pub(crate) fn write(path: &Path, image: &Image<f32>, greys: Greys, longest: usize) -> Result<()> {
    let bytes = png(image, greys, longest)?;
    Ok(fits::write_atomically(path, |mut file| file.write_all(&bytes))?)
}

/// The bytes of a grey PNG whose longest side has at most `longest` pixels, north as the rows go: the first row below.
pub(crate) fn png(image: &Image<f32>, greys: Greys, longest: usize) -> Result<Vec<u8>> {
    let (height, width) = image.view().shape();
    let block = height.max(width).div_ceil(longest);
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
    let top = known.clone().fold(f64::MIN, f64::max).max(middle + 10.0 * scatter);
    let largest = known.map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
    let scaled = |value: f64| ((value - middle) / scatter).max(-2.0).asinh() + 2.0_f64.asinh();
    let place = |value: f64| match greys {
        Greys::Stars => scaled(value) / scaled(top),
        Greys::Noise => 0.5 + value / (16.0 * scatter),
        Greys::Signed => 0.5 + value / (2.0 * largest),
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
    Ok(bytes)
}
