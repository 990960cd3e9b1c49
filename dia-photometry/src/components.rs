//! Connected components of significant pixels.

use dia_core::Image;

/// Pixels above the threshold that hang together, both signs in one if they are near.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Component {
    /// The significant pixels as indices into the image, in ascending order.
    pub(crate) pixels: Vec<usize>,
}

/// The components of |significance| ≥ `threshold` that are within `reach` pixels of each other in both axes, in the order of their first pixels.
pub(crate) fn components(
    significance: &Image<f32>,
    threshold: f32,
    reach: usize,
) -> Vec<Component> {
    let (height, width) = significance.view().shape();
    let above = |i: &usize| significance.pixels()[*i].abs() >= threshold;
    let pixels: Vec<usize> = (0..height * width).filter(above).collect();
    let mut parents: Vec<usize> = (0..pixels.len()).collect();
    for (a, pixel) in pixels.iter().enumerate() {
        let (y, x) = (pixel / width, pixel % width);
        for other_y in y.saturating_sub(reach)..=y {
            let first = other_y * width + x.saturating_sub(reach);
            let last = other_y * width + (x + reach).min(width - 1);
            let start = pixels.partition_point(|p| *p < first);
            for (b, other) in pixels.iter().enumerate().skip(start) {
                if *other > last || b >= a {
                    break;
                }
                // The earlier pixel stays the root.
                let (ra, rb) = (root(&mut parents, a), root(&mut parents, b));
                parents[ra.max(rb)] = ra.min(rb);
            }
        }
    }
    let mut place = vec![usize::MAX; pixels.len()];
    let mut components: Vec<Component> = Vec::new();
    for (i, pixel) in pixels.iter().enumerate() {
        let root = root(&mut parents, i);
        if place[root] == usize::MAX {
            place[root] = components.len();
            components.push(Component { pixels: Vec::new() });
        }
        components[place[root]].pixels.push(*pixel);
    }
    components
}

fn root(parents: &mut [usize], mut i: usize) -> usize {
    while parents[i] != i {
        parents[i] = parents[parents[i]];
        i = parents[i];
    }
    i
}

#[cfg(test)]
mod tests {
    use super::components;
    use dia_core::Image;

    #[test]
    fn pixels_within_reach_hang_together_and_signs_merge() {
        let mut image = Image::filled(8, 12, f32::NAN);
        // A U whose arms meet at the bottom, a negative pixel two columns to the right of it, and one far away.
        for (y, x, v) in [
            (1, 1, 6.0),
            (2, 1, 6.0),
            (3, 2, 6.0),
            (2, 3, 6.0),
            (1, 3, 6.0),
            (2, 5, -7.0),
            (6, 10, 5.0),
        ] {
            image.row_mut(y)[x] = v;
        }
        let near = components(&image, 5.0, 1);
        assert_eq!(near.iter().map(|c| c.pixels.len()).collect::<Vec<_>>(), [5, 1, 1]);
        let merged = components(&image, 5.0, 2);
        assert_eq!(merged.iter().map(|c| c.pixels.len()).collect::<Vec<_>>(), [6, 1]);
        assert!(components(&image, 7.5, 2).is_empty());
    }
}
