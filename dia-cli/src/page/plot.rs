//! Diagrams as SVG, in the colour of the text around them.

use std::fmt::Write;

/// Size of a diagram in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;

/// Room for the labels.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// A point with its error, and whether it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) error: f64,
    pub(crate) usable: bool,
}

/// An axis with its range.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64> + Clone, logarithmic: bool) -> Option<Self> {
        let known = values.filter(|v| v.is_finite() && (!logarithmic || *v > 0.0));
        let scaled = known.map(|v| if logarithmic { v.log10() } else { v });
        let low = scaled.clone().fold(f64::INFINITY, f64::min);
        let high = scaled.fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return None;
        }
        let margin = 0.05 * (high - low);
        let margin = if margin > 0.0 { margin } else { 0.5 * low.abs().max(1e-3) };
        Some(Self { low: low - margin, high: high + margin, logarithmic })
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// Round numbers along it, with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        let step = if self.logarithmic {
            ((self.high - self.low) / 6.0).ceil().max(1.0)
        } else {
            let rough = (self.high - self.low) / 5.0;
            let power = 10.0_f64.powf(rough.log10().floor());
            [1.0, 2.0, 5.0, 10.0]
                .map(|s| s * power)
                .into_iter()
                .find(|s| *s >= rough)
                .unwrap_or(rough)
        };
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        (first..=last)
            .map(|k| {
                let at = k as f64 * step;
                let place = (at - self.low) / (self.high - self.low);
                let label = if self.logarithmic {
                    let power = at as i32;
                    if (-3..6).contains(&power) {
                        format!("{}", 10.0_f64.powi(power))
                    } else {
                        format!("1e{power}")
                    }
                } else {
                    format!("{at:.digits$}")
                };
                (place, label)
            })
            .collect()
    }
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn down(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// The frame with its labels; `names` are those of the axes.
fn begin(title: &str, x: &Axis, y: &Axis, names: [&str; 2]) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" class=\"frame\"/>",
        escaped(title),
        WIDTH - LEFT - RIGHT,
        HEIGHT - TOP - BOTTOM
    );
    for (place, label) in x.ticks() {
        let at = across(place);
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} {:.1}v5\" class=\"frame\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for (place, label) in y.ticks() {
        let at = down(place);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}h-5\" class=\"frame\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    let [x_name, y_name] = names.map(escaped);
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text><text transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{y_name}</text>",
        across(0.5),
        HEIGHT - 4.0,
        down(0.5)
    );
    svg
}

/// Flux against time; what does not count is hollow. `None` without a point.
pub(crate) fn light_curve(title: &str, marks: &[Mark], names: [&str; 2]) -> Option<String> {
    let usable: Vec<&Mark> = marks.iter().filter(|mark| mark.usable).collect();
    let x = Axis::around(usable.iter().map(|mark| mark.x), false)?;
    let both = usable.iter().flat_map(|mark| [mark.y - mark.error, mark.y + mark.error]);
    let y = Axis::around(both, false)?;
    let mut svg = begin(title, &x, &y, names);
    for mark in marks {
        let (at, place) = (across(x.place(mark.x)), y.place(mark.y));
        let inside = (0.0..=1.0).contains(&place) && (0.0..=1.0).contains(&x.place(mark.x));
        if !inside {
            continue;
        }
        let clamped = |value: f64| down(y.place(value).clamp(0.0, 1.0));
        let class = if mark.usable { "mark" } else { "doubtful" };
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} {:.1}V{:.1}\" class=\"error\"/><circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3\" class=\"{class}\"/>",
            clamped(mark.y - mark.error),
            clamped(mark.y + mark.error),
            down(place)
        );
    }
    svg += "</svg>";
    Some(svg)
}

/// Points on two logarithmic axes, and a line through others; those that do not count are hollow.
pub(crate) fn diagram(
    title: &str,
    marks: &[Mark],
    line: &[(f64, f64)],
    names: [&str; 2],
) -> Option<String> {
    let x = Axis::around(marks.iter().map(|mark| mark.x), true)?;
    let all = marks.iter().map(|mark| mark.y).chain(line.iter().map(|(_, y)| *y));
    let y = Axis::around(all, true)?;
    let mut svg = begin(title, &x, &y, names);
    for mark in marks {
        let (a, b) = (x.place(mark.x), y.place(mark.y));
        if a.is_finite() && b.is_finite() {
            let class = if mark.usable { "mark" } else { "doubtful" };
            let (a, b) = (across(a), down(b));
            let _ =
                write!(svg, "<circle cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"2.5\" class=\"{class}\"/>");
        }
    }
    let place = |(a, b): &(f64, f64)| (x.place(*a), y.place(*b));
    let path: Vec<String> = line
        .iter()
        .map(place)
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .map(|(a, b)| format!("{:.1} {:.1}", across(a), down(b)))
        .collect();
    if path.len() > 1 {
        let _ = write!(svg, "<path d=\"M{}\" class=\"line\"/>", path.join("L"));
    }
    svg += "</svg>";
    Some(svg)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{Axis, Mark, light_curve};

    #[test]
    fn ticks_are_round_numbers_inside() {
        let axis = Axis::around([3.1, 17.9].into_iter(), false).unwrap();
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["5", "10", "15"]);
        let axis = Axis::around([2.0, 5e4].into_iter(), true).unwrap();
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["10", "100", "1000", "10000"]);
        assert!(Axis::around([f64::NAN].into_iter(), false).is_none());
    }

    #[test]
    fn a_light_curve_has_a_mark_for_each_point_within_the_frame() {
        let mark = |x: f64, y: f64, usable| Mark { x, y, error: 1.0, usable };
        let marks = [
            mark(1.0, 10.0, true),
            mark(2.0, 12.0, true),
            mark(1.5, 11.0, false),
            mark(1.2, 900.0, false),
        ];
        let svg = light_curve("a <b>", &marks, ["t", "F"]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches("doubtful").count(), 1);
        assert!(svg.contains("a &lt;b>") && svg.ends_with("</svg>"));
        assert!(light_curve("", &[], ["t", "F"]).is_none());
    }
}
