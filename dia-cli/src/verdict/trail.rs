//! Whether what changed lies on one line: a satellite's trail, or a diffraction spike.

use dia_core::Pixel;
use dia_solvers::VariableSource;

use super::Evidence;
use crate::notice::{Level, Notice};

/// Fewest sources that make a line.
const FEWEST: usize = 5;

/// Distance from a line in pixels within which a source lies on it.
const NEAR: f64 = 5.0;

/// The part of the sources that lie on it.
const MOST: f64 = 0.5;

/// The length of the line, as a part of the image's diagonal.
const LONG: f64 = 0.3;

pub(super) fn judge<T: Pixel>(evidence: &Evidence<'_, T>) -> Vec<Notice> {
    let difference = evidence.difference;
    let Some(found) = &difference.variables else { return Vec::new() };
    let (height, width) = difference.difference.view().shape();
    let places: Vec<(f64, f64)> = found.sources.iter().map(place).collect();
    let (count, length) = longest(&places);
    let share = count as f64 / places.len().max(1) as f64;
    let long = length > LONG * (height as f64).hypot(width as f64);
    if count < FEWEST || share < MOST || !long {
        return Vec::new();
    }
    let text = format!(
        "{count} of the {} sources that seem to have changed lie on one line: a satellite's trail or a spike in one of the images, whose light spoils the fit beyond what was left out; mask it \
         (--target-mask, --reference-mask)",
        places.len()
    );
    vec![Notice::new(Level::Warn, "trail", text).measured(share, MOST)]
}

fn place(source: &VariableSource) -> (f64, f64) {
    (source.x as f64, source.y as f64)
}

/// The largest number of places near a line through two of them, and how far these reach along it.
fn longest(places: &[(f64, f64)]) -> (usize, f64) {
    let mut best = (0, 0.0);
    for (i, a) in places.iter().enumerate() {
        for b in &places[..i] {
            let (dx, dy) = (b.0 - a.0, b.1 - a.1);
            let size = dx.hypot(dy);
            if size < 4.0 * NEAR {
                continue;
            }
            let (mut count, mut least, mut most) = (0, 0.0_f64, 0.0_f64);
            for (x, y) in places.iter().map(|c| (c.0 - a.0, c.1 - a.1)) {
                if (x * dy - y * dx).abs() <= NEAR * size {
                    let along = (x * dx + y * dy) / size;
                    (count, least, most) = (count + 1, least.min(along), most.max(along));
                }
            }
            if (count, most - least) > best {
                best = (count, most - least);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::longest;

    #[test]
    fn a_line_among_scattered_places_is_found() {
        let mut places: Vec<(f64, f64)> =
            (0..6).map(|i| (20.0 + 40.0 * f64::from(i), 30.0 + 22.0 * f64::from(i))).collect();
        places.extend([(200.0, 20.0), (30.0, 250.0), (120.0, 200.0)]);
        let (count, length) = longest(&places);
        assert_eq!(count, 6);
        assert!((length - 5.0 * 40.0_f64.hypot(22.0)).abs() < 1e-9);
        assert_eq!(longest(&places[..1]), (0, 0.0));
    }
}
