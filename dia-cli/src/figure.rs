//! The figure of a subtraction: reference, target, model, difference, normalised residuals and kernel.

use std::io::Write;
use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Result, anyhow};
use dia_core::{Image, robust};
use dia_solvers::Difference;
use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::colors::colormaps::{ColorMap, DerivedColorMap, ViridisRGB};
use plotters::style::register_font;

use crate::fits;

const WIDTH: u32 = 1998;
const HEIGHT: u32 = 1240;
pub(crate) const FONT: &str = "figure";
/// Pixels without a value.
const NO_VALUE: RGBColor = RGBColor(205, 212, 220);

/// Which of two colours marks a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Primary,
    Secondary,
}

/// A circle around a place, in pixels of the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) radius: f64,
    pub(crate) colour: Colour,
}

/// How values become colours.
#[derive(Clone, Copy, Debug)]
enum Stretch {
    /// From sky to bright stars: asinh of (v − sky)/scatter.
    Stars { sky: f64, scatter: f64, top: f64 },
    /// Linear between −limit and limit, blue to red.
    Symmetric { limit: f64 },
}

impl Stretch {
    /// For images of stars on a sky.
    fn stars(values: &[f32]) -> Self {
        let stride = (values.len() / 200_000).max(1) | 1;
        let mut sample: Vec<f64> = values
            .iter()
            .step_by(stride)
            .filter(|v| v.is_finite())
            .map(|v| f64::from(*v))
            .collect();
        let Some((sky, scatter)) = robust::median_and_scatter(sample.iter().copied()) else {
            return Self::Stars { sky: 0.0, scatter: 1.0, top: 1.0 };
        };
        let bright = sample.len() - 1 - sample.len() / 500;
        let top = *sample.select_nth_unstable_by(bright, f64::total_cmp).1;
        let scatter = scatter.max(1e-6 * (top - sky).abs()).max(f64::MIN_POSITIVE);
        Self::Stars { sky, scatter, top: top.max(sky + 10.0 * scatter) }
    }

    /// The place of a value on the colour scale, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Stars { sky, scatter, top } => {
                let low = -2.0_f64;
                let scaled = |v: f64| ((v - sky) / scatter).max(low).asinh() - low.asinh();
                scaled(value) / scaled(top)
            }
            Self::Symmetric { limit } => 0.5 * (value / limit + 1.0),
        };
        place.clamp(0.0, 1.0)
    }

    fn colour(self, place: f64) -> RGBColor {
        match self {
            Self::Stars { .. } => ViridisRGB.get_color(place as f32),
            Self::Symmetric { .. } => {
                let anchors =
                    [RGBColor(33, 82, 164), RGBColor(250, 250, 250), RGBColor(178, 24, 43)];
                DerivedColorMap::new(&anchors).get_color(place as f32)
            }
        }
    }

    /// Values to print beside the colour bar.
    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Stars { sky, scatter, top } => {
                let steps = [0.0, 10.0, 100.0, 1000.0].map(|step| sky + step * scatter);
                steps.into_iter().filter(|v| *v < 0.8 * top || *v == sky).chain([top]).collect()
            }
            Self::Symmetric { limit } => vec![-limit, -0.5 * limit, 0.0, 0.5 * limit, limit],
        }
    }
}

struct Panel<'a> {
    title: &'a str,
    unit: &'a str,
    image: &'a Image<f32>,
    /// Coordinates of the centre of pixel (0, 0).
    origin: f64,
    stretch: Stretch,
    markers: &'a [Marker],
}

/// Draws the figure, and writes it to `path` whole or not at all.
pub(crate) fn subtraction(
    path: &Path,
    heading: &str,
    images: [&Image<f32>; 2],
    difference: &Difference<f32>,
    markers: &[Marker],
) -> Result<()> {
    let scatter = |image: &Image<f32>| {
        let values = image.pixels().iter().map(|v| f64::from(*v));
        robust::median_and_scatter(values).map_or(1.0, |(_, s)| s.max(f64::MIN_POSITIVE))
    };
    let pixels = difference.difference.pixels().iter().zip(difference.variance.pixels());
    let view = difference.difference.view();
    let normalised =
        Image::from_vec(view.height(), view.width(), pixels.map(|(d, v)| d / v.sqrt()).collect())?;
    let kernel = difference.kernel.to_image().map(|k| k as f32);
    let peak = kernel.pixels().iter().fold(f32::MIN_POSITIVE, |peak, k| peak.max(k.abs()));
    let panel = |title, unit, image, stretch, markers| Panel {
        title,
        unit,
        image,
        origin: 0.0,
        stretch,
        markers,
    };
    let target = Stretch::stars(images[1].pixels());
    let panels = [
        panel("Reference", "ADU", images[0], Stretch::stars(images[0].pixels()), &[][..]),
        panel("Target", "ADU", images[1], target, &[]),
        panel("Model", "ADU", &difference.model, target, &[]),
        panel(
            "Difference",
            "ADU",
            &difference.difference,
            Stretch::Symmetric { limit: 5.0 * scatter(&difference.difference) },
            markers,
        ),
        panel("Normalised residuals", "σ", &normalised, Stretch::Symmetric { limit: 5.0 }, &[]),
        Panel {
            title: "Kernel",
            unit: "",
            image: &kernel,
            origin: -(difference.kernel.half_width() as f64),
            stretch: Stretch::Symmetric { limit: f64::from(peak) },
            markers: &[],
        },
    ];
    write(path, heading, &panels, (2, 3), (WIDTH, HEIGHT))
}

/// Most places that are cut out.
pub(crate) const MOST_CUT_OUTS: usize = 6;

/// A place to cut out, with what is said of it.
pub(crate) struct CutOut {
    pub(crate) title: String,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// Half of the side of a cut-out in pixels.
const CUT: usize = 15;

/// Draws target, model, difference and score around each place, a row for each, and writes the figure to `path` whole or not at all.
pub(crate) fn cut_outs(
    path: &Path,
    heading: &str,
    [target, difference, score]: [&Image<f32>; 3],
    model: &Image<f32>,
    places: &[CutOut],
) -> Result<()> {
    let (height, width) = target.view().shape();
    let side = 2 * CUT + 1;
    let cut = |image: &Image<f32>, place: &CutOut| {
        Image::from_fn(side, side, |dy, dx| {
            let pixel = |centre: f64, step: usize| {
                usize::try_from(centre.round() as isize + step as isize - CUT as isize).ok()
            };
            let (y, x) = (pixel(place.y, dy), pixel(place.x, dx));
            match (y.filter(|y| *y < height), x.filter(|x| *x < width)) {
                (Some(y), Some(x)) => image.view().at(y, x),
                _ => f32::NAN,
            }
        })
    };
    let limit = |image: &Image<f32>| {
        let values = image.pixels().iter().map(|v| f64::from(*v));
        8.0 * robust::median_and_scatter(values).map_or(1.0, |(_, s)| s.max(f64::MIN_POSITIVE))
    };
    let stars = Stretch::stars(target.pixels());
    let kinds = [
        ("target", "ADU", target, stars),
        ("model", "ADU", model, stars),
        ("difference", "ADU", difference, Stretch::Symmetric { limit: limit(difference) }),
        ("score", "σ", score, Stretch::Symmetric { limit: 8.0 }),
    ];
    let cuts: Vec<(String, &str, Image<f32>, Stretch)> = places
        .iter()
        .flat_map(|place| {
            kinds.map(|(name, unit, image, stretch)| {
                let title = if name == "target" { place.title.clone() } else { name.to_owned() };
                (title, unit, cut(image, place), stretch)
            })
        })
        .collect();
    let panels: Vec<Panel<'_>> = cuts
        .iter()
        .map(|(title, unit, image, stretch)| Panel {
            title,
            unit,
            image,
            origin: -(CUT as f64),
            stretch: *stretch,
            markers: &[],
        })
        .collect();
    let rows = places.len().max(1);
    write(path, heading, &panels, (rows, 4), (4 * 400, 44 + 330 * rows as u32))
}

/// Draws panels in rows and columns, and writes the figure to `path` whole or not at all.
fn write(
    path: &Path,
    heading: &str,
    panels: &[Panel<'_>],
    grid: (usize, usize),
    size: (u32, u32),
) -> Result<()> {
    let draw = |root: &Area<'_>| {
        root.draw(&Text::new(heading.to_string(), (24, 14), (FONT, 22).into_font()))?;
        let (_, body) = root.split_vertically(44);
        for (panel, area) in panels.iter().zip(body.split_evenly(grid)) {
            draw_panel(panel, &area)?;
        }
        Ok(())
    };
    write_png(path, size, draw)
}

/// What is drawn on.
pub(crate) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Draws on white, and writes the figure to `path` whole or not at all.
pub(crate) fn write_png(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<()> {
    let png = png(size, draw).with_context(|| format!("cannot draw {}", path.display()))?;
    Ok(fits::write_atomically(path, |mut file| file.write_all(&png))?)
}

/// The bytes of a figure on white.
pub(crate) fn png(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<Vec<u8>> {
    static FONT_REGISTERED: Once = Once::new();
    FONT_REGISTERED.call_once(|| {
        // Only a font that is no font is refused; the text would then fail to draw, with its own error.
        let _ = register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT);
    });
    // plotters writes to a path of its own.
    let drawing = tempfile::Builder::new().suffix(".png").tempfile()?;
    let on_white = || -> Result<(), Failure> {
        let root = BitMapBackend::new(drawing.path(), size).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
        Ok(())
    };
    on_white().map_err(|error| anyhow!("{error}"))?;
    Ok(std::fs::read(drawing.path())?)
}

fn draw_panel(panel: &Panel<'_>, area: &Area<'_>) -> Result<(), Failure> {
    const LEFT: u32 = 58;
    const RIGHT: u32 = 92;
    const TOP: u32 = 34;
    const BOTTOM: u32 = 40;
    let (height, width) = panel.image.view().shape();
    let (area_width, area_height) = area.dim_in_pixel();
    let (free_width, free_height) = (area_width - LEFT - RIGHT, area_height - TOP - BOTTOM);
    let fit = (f64::from(free_width) / width as f64).min(f64::from(free_height) / height as f64);
    // A whole number of dots per pixel, or of pixels per dot: anything else would beat with the pixel grid.
    let scale = if fit >= 1.0 { fit.floor() } else { fit.recip().ceil().recip() };
    let shown = (
        ((width as f64 * scale).floor() as u32).max(1),
        ((height as f64 * scale).floor() as u32).max(1),
    );
    let (spare_x, spare_y) = ((free_width - shown.0) / 2, (free_height - shown.1) / 2);
    let inner = area.margin(
        TOP + spare_y,
        free_height - shown.1 - spare_y,
        spare_x,
        RIGHT + free_width - shown.0 - spare_x,
    );

    let style = (FONT, 15).into_font();
    let edge = panel.origin - 0.5;
    let mut chart = ChartBuilder::on(&inner)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM)
        .build_cartesian_2d(edge..edge + width as f64, edge..edge + height as f64)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(5)
        .y_labels(5)
        .label_style(style.clone())
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let (w, h) = chart.plotting_area().dim_in_pixel();
    let corner = (edge, edge + height as f64);
    let rgb = resample(panel, w as usize, h as usize);
    let bitmap = BitMapElement::with_owned_buffer(corner, (w, h), rgb)
        .ok_or("the buffer of a panel has the wrong size")?;
    chart.plotting_area().draw(&bitmap)?;
    for marker in panel.markers {
        let colour = match marker.colour {
            Colour::Primary => RGBColor(0, 130, 60),
            Colour::Secondary => RGBColor(150, 90, 0),
        };
        let radius = (marker.radius * scale).max(3.0) as i32;
        let circle = Circle::new((marker.x, marker.y), radius, colour.stroke_width(2));
        chart.plotting_area().draw(&circle)?;
    }

    let left = (LEFT + spare_x) as i32;
    let top = (TOP + spare_y) as i32;
    area.draw(&Text::new(panel.title, (left, top - 26), (FONT, 19).into_font()))?;
    draw_colour_bar(panel, area, left + shown.0 as i32 + 10, top, shown.1 as i32)
}

/// A strip of the colours with a few values, `x` pixels from the left.
fn draw_colour_bar(
    panel: &Panel<'_>,
    area: &Area<'_>,
    x: i32,
    top: i32,
    length: i32,
) -> Result<(), Failure> {
    const THICKNESS: i32 = 12;
    for row in 0..length {
        let place = 1.0 - f64::from(row) / f64::from((length - 1).max(1));
        let colour = panel.stretch.colour(place);
        let line = [(x, top + row), (x + THICKNESS, top + row + 1)];
        area.draw(&Rectangle::new(line, colour.filled()))?;
    }
    let mut last = i32::MAX;
    for tick in panel.stretch.ticks() {
        let y = top + ((1.0 - panel.stretch.place(tick)) * f64::from(length - 1)) as i32;
        // Values that would overlap are left out.
        if (last - y).abs() < 16 {
            continue;
        }
        last = y;
        let text = format!("{} {}", short(tick), panel.unit);
        area.draw(&PathElement::new([(x + THICKNESS, y), (x + THICKNESS + 4, y)], BLACK))?;
        area.draw(&Text::new(text, (x + THICKNESS + 7, y - 8), (FONT, 14).into_font()))?;
    }
    Ok(())
}

/// A number in three digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 1e5 => format!("{value:.1e}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        v if v >= 1e-3 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// The colours of an image on `width` × `height` dots, three bytes each, row after row from the top; y points upwards.
///
/// Each dot shows the mean of the pixels that it covers, or the nearest pixel where it covers less than one.
fn resample(panel: &Panel<'_>, width: usize, height: usize) -> Vec<u8> {
    let view = panel.image.view();
    let covered = |dot: usize, dots: usize, pixels: usize| {
        let start = (dot * pixels / dots).min(pixels - 1);
        start..((dot + 1) * pixels / dots).clamp(start + 1, pixels)
    };
    let mut rgb = Vec::with_capacity(3 * width * height);
    for dot_y in (0..height).rev() {
        let rows = covered(dot_y, height, view.height());
        for dot_x in 0..width {
            let columns = covered(dot_x, width, view.width());
            let pixels = rows.clone().flat_map(|y| &view.row(y)[columns.clone()]);
            let (sum, count) = pixels
                .filter(|v| v.is_finite())
                .fold((0.0, 0), |(sum, count), v| (sum + f64::from(*v), count + 1));
            let colour = if count == 0 {
                NO_VALUE
            } else {
                panel.stretch.colour(panel.stretch.place(sum / f64::from(count)))
            };
            rgb.extend([colour.0, colour.1, colour.2]);
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use dia_core::Image;

    use super::{NO_VALUE, Panel, Stretch, resample, short};

    #[test]
    fn stretches_map_their_range_to_the_colour_scale() {
        let stretch = Stretch::Symmetric { limit: 4.0 };
        assert_eq!(
            [-9.0, -4.0, 0.0, 4.0, 9.0].map(|v| stretch.place(v)),
            [0.0, 0.0, 0.5, 1.0, 1.0]
        );
        let values: Vec<f32> =
            (0..1000).map(|i| (i % 10) as f32 + if i > 990 { 500.0 } else { 0.0 }).collect();
        let stretch = Stretch::stars(&values);
        let places = [-100.0, 4.5, 50.0, 600.0].map(|v| stretch.place(v));
        assert!(places[0] == 0.0 && places[3] == 1.0);
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
        // An image without any value, or of one value, still has a scale.
        assert!(Stretch::stars(&[f32::NAN]).place(0.5).is_finite());
        assert!(Stretch::stars(&[7.0; 50]).place(7.0).is_finite());
    }

    #[test]
    fn dots_average_pixels_upside_down_and_skip_missing_values() {
        let image =
            Image::from_vec(2, 4, vec![-1.0, f32::NAN, 1.0, 1.0, f32::NAN, f32::NAN, 0.0, 0.0])
                .unwrap();
        let stretch = Stretch::Symmetric { limit: 1.0 };
        let panel =
            Panel { title: "", unit: "", image: &image, origin: 0.0, stretch, markers: &[] };
        let rgb = resample(&panel, 2, 2);
        let dot = |i: usize| plotters::style::RGBColor(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
        assert_eq!(dot(0), NO_VALUE);
        assert_eq!(dot(1), stretch.colour(0.5));
        assert_eq!(dot(2), stretch.colour(0.0));
        assert_eq!(dot(3), stretch.colour(1.0));
        assert_eq!(resample(&panel, 9, 5).len(), 3 * 9 * 5);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 123.4, 1.26, -0.05, 6e5, 1e-5].map(short);
        assert_eq!(texts, ["0", "123", "1.3", "-0.050", "6.0e5", "1.0e-5"]);
    }
}
