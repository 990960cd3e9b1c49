//! The figure of injected stars: how many are found at which S/N, and how far off they are measured.

use std::path::Path;

use anyhow::Result;
use dia_photometry::found_part;
use plotters::prelude::*;

use super::injection::{EDGES, Injection, Range};
use crate::figure::{Area, FONT, Failure, png, write_png};

const SIZE: (u32, u32) = (1200, 460);
const INK: RGBColor = RGBColor(33, 82, 164);
const SECOND: RGBColor = RGBColor(178, 24, 43);

/// Pulls beyond are counted in the last bar.
const WIDEST: f64 = 4.0;
const BARS: usize = 16;

/// Writes the figure, whole or not at all.
pub(crate) fn write_injection(path: &Path, stars: &Injection) -> Result<()> {
    write_png(path, SIZE, |area| draw(area, stars))
}

/// The bytes of the figure.
pub(crate) fn injection_png(stars: &Injection) -> Result<Vec<u8>> {
    png(SIZE, |area| draw(area, stars))
}

fn draw(area: &Area<'_>, stars: &Injection) -> Result<(), Failure> {
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    draw_completeness(&left, stars)?;
    draw_pulls(&right, stars)
}

/// The part of the stars that is found, with the errors of counting, and the curve by the S/N at which half of them
/// are.
fn draw_completeness(area: &Area<'_>, stars: &Injection) -> Result<(), Failure> {
    let report = stars.report();
    let (low, high) = (EDGES[0], EDGES[EDGES.len() - 1]);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Completeness of {} injected stars", stars.stars.len()), (FONT, 19))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d((low..high).log_scale().with_key_points(EDGES.to_vec()), 0.0..1.02)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("signal over noise")
        .y_desc("part that is found")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .label_style((FONT, 15))
        .draw()?;
    if let Some(half) = report.half_complete {
        let step = |k: i32| low * (high / low).powf(f64::from(k) / 200.0);
        let curve = (0..=200).map(step).map(|s| (s, found_part(s, half)));
        chart.draw_series(LineSeries::new(curve, BLACK.stroke_width(1)))?;
    }
    for range in report.completeness.iter().filter(|range| range.injected > 0) {
        let middle = (range.from * range.to).sqrt();
        let part = range.found as f64 / range.injected as f64;
        let (least, most) = likely(range);
        let style = INK.stroke_width(2);
        chart.draw_series([
            PathElement::new(vec![(middle, least), (middle, most)], style),
            PathElement::new(vec![(range.from, part), (range.to, part)], style),
        ])?;
        chart.draw_series([Circle::new((middle, part), 4, INK.filled())])?;
    }
    Ok(())
}

/// Where the true part of the stars may lie by one standard deviation (Wilson 1927).
fn likely(range: &Range) -> (f64, f64) {
    let (n, k) = (range.injected as f64, range.found as f64);
    let middle = (k + 0.5) / (n + 1.0);
    let reach = (k * (n - k) / n + 0.25).sqrt() / (n + 1.0);
    (middle - reach, middle + reach)
}

/// How often which (measured − true)/σ occurs, beside the normal distribution.
fn draw_pulls(area: &Area<'_>, stars: &Injection) -> Result<(), Failure> {
    let normal = |z: f64| (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    let (fluxes, places) = (densities(&stars.flux_pulls), densities(&stars.position_pulls));
    let top = fluxes.iter().chain(&places).fold(normal(0.0), |top, d| top.max(*d));
    let mut chart = ChartBuilder::on(area)
        .caption("(measured − true)/σ beside the normal distribution", (FONT, 19))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(-WIDEST..WIDEST, 0.0..1.1 * top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("(measured − true)/σ")
        .y_desc("density")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value:.2}"))
        .label_style((FONT, 15))
        .draw()?;
    let edge = |bar: usize| 2.0 * WIDEST * bar as f64 / BARS as f64 - WIDEST;
    let bars = fluxes.iter().enumerate().map(|(bar, density)| {
        Rectangle::new([(edge(bar), 0.0), (edge(bar + 1), *density)], INK.mix(0.35).filled())
    });
    chart
        .draw_series(bars)?
        .label(format!("{} fluxes", stars.flux_pulls.len()))
        .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], INK.mix(0.35).filled()));
    let steps = places.iter().enumerate();
    let steps = steps.flat_map(|(bar, density)| [(edge(bar), *density), (edge(bar + 1), *density)]);
    let style = SECOND.stroke_width(2);
    chart
        .draw_series(LineSeries::new(steps, style))?
        .label(format!("{} coordinates", stars.position_pulls.len()))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    let curve = (-80..=80).map(|k| WIDEST * f64::from(k) / 80.0).map(|z| (z, normal(z)));
    chart.draw_series(LineSeries::new(curve, BLACK.stroke_width(1)))?;
    chart.configure_series_labels().label_font((FONT, 15)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}

/// The density in each bar.
fn densities(pulls: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; BARS];
    for pull in pulls {
        let place = (pull + WIDEST) / (2.0 * WIDEST) * BARS as f64;
        counts[(place.max(0.0) as usize).min(BARS - 1)] += 1.0;
    }
    let width = 2.0 * WIDEST / BARS as f64;
    let whole = width * pulls.len().max(1) as f64;
    counts.into_iter().map(|count| count / whole).collect()
}

#[cfg(test)]
mod tests {
    use super::{BARS, Range, WIDEST, densities, likely};

    #[test]
    fn the_likely_part_is_within_zero_and_one_and_around_what_was_found() {
        for (injected, found) in [(1, 0), (1, 1), (10, 5), (40, 39)] {
            let (least, most) = likely(&Range { from: 2.0, to: 3.0, injected, found });
            let part = found as f64 / injected as f64;
            assert!((0.0..=part).contains(&least) && (part..=1.0).contains(&most));
        }
        // Of many stars the errors are those of counting.
        let (least, most) = likely(&Range { from: 2.0, to: 3.0, injected: 10_000, found: 2_000 });
        assert!((0.5 * (most - least) - 0.004).abs() < 1e-5);
    }

    #[test]
    fn densities_hold_all_pulls() {
        let whole: f64 = densities(&[-9.0, -0.1, 0.1, 3.9, 12.0]).iter().sum();
        assert!((whole * 2.0 * WIDEST / BARS as f64 - 1.0).abs() < 1e-12);
        assert!(densities(&[]).iter().all(|density| *density == 0.0));
    }
}
