//! The figures of `dia bench solvers`, as PNG and as SVG.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Once;

use anyhow::{Result, anyhow};
use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::prelude::*;
use plotters::style::register_font;

use super::backend::Backend;
use super::case::Row;
use super::method::Method;
use super::solver_tables::{problems, time_to_minimum};
use crate::args::name_of;
use crate::fits::write_atomically;

const SIZE: (u32, u32) = (1000, 640);
/// A family that viewers of SVG have; in PNG it is the built-in font.
const FONT: &str = "sans-serif";
/// Width of the list of methods beside a figure, in dots.
const LEGEND: i32 = 190;

type Failure = Box<dyn std::error::Error>;
type Area<'a, B> = DrawingArea<B, Shift>;
type Logarithmic<'a, B> = ChartContext<'a, B, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

/// A line of points per method.
struct Lines {
    title: String,
    axes: [&'static str; 2],
    methods: BTreeMap<Method, Vec<(f64, f64)>>,
}

/// Who wins, at (pixels, unknowns).
struct Winners {
    title: String,
    cells: Vec<(f64, f64, Method)>,
}

enum Figure {
    Lines(Lines),
    Winners(Winners),
}

/// Draws all figures that the rows allow into `folder`; the names of those of a device end in its name.
pub(crate) fn draw(folder: &Path, rows: &[Row]) -> Result<()> {
    let mut parts: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        parts.entry((&row.case.backend, row.case.loss)).or_default().push(row);
    }
    for ((backend, loss), mut rows) in parts {
        let Some(threads) = rows.iter().map(|row| row.case.threads).max() else { continue };
        rows.retain(|row| row.case.threads == threads);
        let loss = name_of(&loss);
        let (note, suffix) = match backend {
            Backend::Cpu => (format!("{loss} loss, threads: {threads}"), loss),
            Backend::Vulkan(name) => {
                (format!("{loss} loss, {name}"), format!("{loss}-{}", words(name)))
            }
        };
        let constant: Vec<&Row> = rows.iter().filter(|row| row.case.degree == 0).copied().collect();
        let half_width = richest(constant.iter().map(|r| (r.case.half_width, r.case.side)));
        let side = richest(constant.iter().map(|r| (r.case.side, r.case.half_width)));
        let figures = [
            ("time-pixels", half_width.map(|h| over_pixels(&constant, h, &note))),
            ("time-half-width", side.map(|side| over_half_width(&constant, side, &note))),
            ("convergence", convergence(&constant, &note)),
            ("crossover", Some(Figure::Winners(winners(&rows, &note)))),
        ];
        for (name, figure) in figures {
            if let Some(figure) = figure {
                write(&folder.join(format!("{name}-{suffix}")), &figure)?;
            }
        }
    }
    Ok(())
}

/// The letters and digits of a name, in a form for files.
fn words(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// The key that occurs with most different values.
fn richest(pairs: impl Iterator<Item = (usize, usize)>) -> Option<usize> {
    let mut values: BTreeMap<usize, std::collections::BTreeSet<usize>> = BTreeMap::new();
    pairs.for_each(|(key, value)| {
        values.entry(key).or_default().insert(value);
    });
    values.into_iter().max_by_key(|(_, values)| values.len()).map(|(key, _)| key)
}

fn lines<'a>(
    rows: impl Iterator<Item = &'a &'a Row>,
    point: impl Fn(&Row) -> Option<(f64, f64)>,
) -> BTreeMap<Method, Vec<(f64, f64)>> {
    let mut methods: BTreeMap<Method, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        if let Some(point) = point(row) {
            methods.entry(row.case.method).or_default().push(point);
        }
    }
    for points in methods.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    methods
}

fn over_pixels(rows: &[&Row], half_width: usize, note: &str) -> Figure {
    let kernel = 2 * half_width + 1;
    let of_kernel = rows.iter().filter(|row| row.case.half_width == half_width);
    let point = |row: &Row| time_to_minimum(row).map(|m| (m.pixels as f64, m.total_s));
    Figure::Lines(Lines {
        title: format!("Time to the minimum, {kernel} × {kernel} kernel, {note}"),
        axes: ["pixels", "time / s"],
        methods: lines(of_kernel, point),
    })
}

fn over_half_width(rows: &[&Row], side: usize, note: &str) -> Figure {
    let of_side = rows.iter().filter(|row| row.case.side == side);
    let point = |row: &Row| time_to_minimum(row).map(|m| (row.case.half_width as f64, m.total_s));
    Figure::Lines(Lines {
        title: format!("Time to the minimum, {side} × {side} pixels, {note}"),
        axes: ["half-width of the kernel / px", "time / s"],
        methods: lines(of_side, point),
    })
}

/// Of the problem with curves of most methods, the largest of these.
fn convergence(rows: &[&Row], note: &str) -> Option<Figure> {
    let curves = |row: &&&Row| row.measured.as_ref().is_some_and(|m| !m.curve.is_empty());
    let place = |row: &Row| (row.case.side, row.case.half_width);
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for row in rows.iter().filter(curves) {
        *counts.entry(place(row)).or_default() += 1;
    }
    let ((side, half_width), _) =
        counts.into_iter().max_by_key(|(place, count)| (*count, *place))?;
    let mut methods = BTreeMap::new();
    for row in rows.iter().filter(curves).filter(|row| place(row) == (side, half_width)) {
        let points = row.measured.iter().flat_map(|m| &m.curve);
        // Below this a distance is the reference's own.
        let points = points.map(|p| (p.seconds, p.distance.max(1e-5)));
        methods.insert(row.case.method, points.collect::<Vec<_>>());
    }
    let kernel = 2 * half_width + 1;
    Some(Figure::Lines(Lines {
        title: format!(
            "Way to the minimum, {side} × {side} pixels, {kernel} × {kernel} kernel, {note}"
        ),
        axes: ["time / s", "distance from the minimum / σ"],
        methods,
    }))
}

fn winners(rows: &[&Row], note: &str) -> Winners {
    let groups = problems(rows.iter().copied());
    let cells = groups.iter().filter_map(|group| {
        let (row, m) = group.first()?;
        Some((m.pixels as f64, m.unknowns as f64, row.case.method))
    });
    Winners { title: format!("Fastest method, {note}"), cells: cells.collect() }
}

/// Colour of a method; direct methods are red to yellow, iterative ones blue to green, the others grey.
fn colour(method: Method) -> RGBColor {
    match method {
        Method::Cholesky => RGBColor(178, 24, 43),
        Method::CholeskyF32 => RGBColor(230, 110, 60),
        Method::CholeskyRebuilt => RGBColor(120, 20, 70),
        Method::FitCholesky => RGBColor(225, 170, 20),
        Method::PcgNone => RGBColor(170, 170, 170),
        Method::PcgJacobi => RGBColor(110, 110, 110),
        Method::PcgFftGram => RGBColor(90, 190, 210),
        Method::PcgSampledGram => RGBColor(33, 82, 164),
        Method::Lsqr => RGBColor(0, 130, 90),
        Method::FitPcg => RGBColor(120, 80, 190),
        Method::AdamLbfgs => BLACK,
    }
}

/// Writes `stem`.png and `stem`.svg, whole or not at all.
fn write(stem: &Path, figure: &Figure) -> Result<()> {
    static FONT_REGISTERED: Once = Once::new();
    FONT_REGISTERED.call_once(|| {
        // Only a font that is no font is refused; the text would then fail to draw, with its own error.
        let _ = register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT);
    });
    let failed = |error: Failure| anyhow!("cannot draw {}: {error}", stem.display());
    let png = tempfile::Builder::new().suffix(".png").tempfile()?;
    let area = BitMapBackend::new(png.path(), SIZE).into_drawing_area();
    draw_figure(&area, figure).map_err(failed)?;
    drop(area);
    let png = std::fs::read(png.path())?;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw_figure(&area, figure).map_err(failed)?;
    drop(area);
    for (extension, bytes) in [("png", &png[..]), ("svg", svg.as_bytes())] {
        write_atomically(&stem.with_extension(extension), |mut file| file.write_all(bytes))?;
    }
    Ok(())
}

fn draw_figure<B>(area: &Area<'_, B>, figure: &Figure) -> Result<(), Failure>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    match figure {
        Figure::Lines(lines) => draw_lines(area, lines)?,
        Figure::Winners(winners) => draw_winners(area, winners)?,
    }
    area.present()?;
    Ok(())
}

/// Least and largest value, a little apart, for a logarithmic axis; a whole decade where they lie within one, for labels stand at powers of ten.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let positive = values.filter(|v| *v > 0.0 && v.is_finite());
    let (low, high) = positive.fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return 1.0..10.0;
    }
    let (low, high) = (low / 1.3, high * 1.3);
    let decade = low.log10().floor();
    if high < 10.0_f64.powf(decade + 1.0) {
        return 10.0_f64.powf(decade)..10.0_f64.powf(decade + 1.0);
    }
    low..high
}

/// A chart with a title and two logarithmic axes, for a legend at its right; the grid has a colour for light and one for bold lines.
fn logarithmic<'a, B>(
    area: &'a Area<'_, B>,
    title: &str,
    [x, y]: [&str; 2],
    (xs, ys): (Range<f64>, Range<f64>),
    [light, bold]: [RGBColor; 2],
) -> Result<Logarithmic<'a, B>, Failure>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 19))
        .margin(12)
        .margin_right(LEGEND)
        .set_label_area_size(LabelAreaPosition::Left, 74)
        .set_label_area_size(LabelAreaPosition::Bottom, 48)
        .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(light)
        .bold_line_style(bold)
        .label_style((FONT, 14))
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|v| number(*v))
        .y_label_formatter(&|v| number(*v))
        .draw()?;
    Ok(chart)
}

fn draw_lines<B>(area: &Area<'_, B>, figure: &Lines) -> Result<(), Failure>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let points = || figure.methods.values().flatten();
    let (xs, ys) = (range(points().map(|p| p.0)), range(points().map(|p| p.1)));
    let grid = [RGBColor(240, 240, 240), RGBColor(215, 215, 215)];
    let mut chart = logarithmic(area, &figure.title, figure.axes, (xs, ys), grid)?;
    for (method, points) in &figure.methods {
        let colour = colour(*method);
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 4, colour.filled())))?;
    }
    legend(area, figure.methods.keys().copied())
}

fn draw_winners<B>(area: &Area<'_, B>, figure: &Winners) -> Result<(), Failure>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let widened = |r: Range<f64>| r.start / 1.5..r.end * 1.5;
    let xs = widened(range(figure.cells.iter().map(|c| c.0)));
    let ys = widened(range(figure.cells.iter().map(|c| c.1)));
    let (names, grid) = (["pixels N", "unknowns n"], [WHITE, RGBColor(225, 225, 225)]);
    let mut chart = logarithmic(area, &figure.title, names, (xs, ys), grid)?;
    let marks = figure.cells.iter().map(|(x, y, method)| {
        let square = [(-13, -13), (13, 13)];
        EmptyElement::at((*x, *y)) + Rectangle::new(square, colour(*method).filled())
    });
    chart.draw_series(marks)?;
    let mut methods: Vec<Method> = figure.cells.iter().map(|c| c.2).collect();
    methods.sort_unstable();
    methods.dedup();
    legend(area, methods.into_iter())
}

/// The names of the methods to the right of a figure.
fn legend<B>(area: &Area<'_, B>, methods: impl Iterator<Item = Method>) -> Result<(), Failure>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let x = SIZE.0 as i32 - LEGEND + 14;
    for (i, method) in methods.enumerate() {
        let y = 60 + 24 * i as i32;
        area.draw(&Rectangle::new([(x, y), (x + 14, y + 14)], colour(method).filled()))?;
        area.draw(&Text::new(name_of(&method), (x + 22, y), (FONT, 15).into_font()))?;
    }
    Ok(())
}

/// A number on an axis.
fn number(value: f64) -> String {
    if (0.01..10_000.0).contains(&value) {
        let digits = if value < 0.1 { 2 } else { usize::from(value < 1.0) };
        format!("{value:.digits$}")
    } else {
        format!("{value:.0e}")
    }
}
