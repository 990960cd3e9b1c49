//! Kernels that are fine in the middle and coarse in the wings.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Kernel, KernelBasis, KernelSupport};

/// How fine a [`KernelBasis::mixed_resolution`] is, radii and lengths in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolution {
    /// The radius within which every pixel is free.
    pub core: f64,
    /// The spacing of the nodes beyond it.
    pub spacing: usize,
    /// The radius from which there are rings instead of nodes; infinite for none.
    pub inner: f64,
}

/// A matrix of kernel pixels × coefficients with few elements.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseColumns {
    /// For each coefficient, the places in the row-major (2h + 1)² square and the values there.
    pub(super) columns: Vec<Vec<(usize, f64)>>,
    /// Of the last coefficients, those of rings, the radius in pixels and the sum over the ring.
    rings: Vec<(f64, f64)>,
}

impl SparseColumns {
    /// Eᵀ g, for the coefficients from `first` on.
    pub(super) fn project(&self, gradient: &[f64], first: usize, coefficients: &mut [f64]) {
        for (column, a) in self.columns[first..].iter().zip(coefficients) {
            *a = sparse_dot(column, gradient);
        }
    }
}

/// Σ value · dense[place], as four sums side by side.
fn sparse_dot(column: &[(usize, f64)], dense: &[f64]) -> f64 {
    let (blocks, rest) = column.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for block in blocks {
        for (sum, (place, value)) in sums.iter_mut().zip(block) {
            *sum += value * dense[*place];
        }
    }
    let rest: f64 = rest.iter().map(|(place, value)| value * dense[*place]).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

impl KernelBasis {
    /// The delta basis of mixed resolution: pixels near the centre are free, those beyond are interpolated bilinearly between nodes (free blocks of pixels:
    /// Bramich et al. 2013, MNRAS 428, 2275; interpolation leaves no steps), and those far out between rings whose radii grow by a factor of about 1.6; at
    /// the half-width the last one has fallen to zero.
    ///
    /// Where `conserve_flux`, all functions but the first have their sum taken off the central pixel, as in
    /// [`FluxConservingDelta`](Self::FluxConservingDelta).
    pub fn mixed_resolution(
        support: KernelSupport,
        resolution: Resolution,
        conserve_flux: bool,
    ) -> Self {
        let Resolution { core, spacing, inner } = resolution;
        // The central pixel is no ring.
        let (spacing, inner) = (spacing.max(1) as isize, inner.max(1.0));
        let h = support.half_width() as isize;
        let place = |dy: isize, dx: isize| ((dy + h) * (2 * h + 1) + dx + h) as usize;
        let mut columns = vec![vec![(place(0, 0), 1.0)]];
        let mut nodes: BTreeMap<(isize, isize), Vec<(usize, f64)>> = BTreeMap::new();
        let mut rings = Rings::new(inner, h as f64);
        for (dy, dx) in support.offsets().filter(|offset| *offset != (0, 0)) {
            let radius = ((dy * dy + dx * dx) as f64).sqrt();
            if radius <= core {
                columns.push(vec![(place(dy, dx), 1.0)]);
                continue;
            }
            if radius > inner {
                rings.add(radius, place(dy, dx));
                continue;
            }
            // The nodes on either side, and how near they are.
            let sides = |d: isize| {
                let (node, rest) = (d.div_euclid(spacing), d.rem_euclid(spacing));
                let far = rest as f64 / spacing as f64;
                [(node, 1.0 - far), (node + 1, far)]
            };
            for (ny, wy) in sides(dy) {
                for (nx, wx) in sides(dx).into_iter().filter(|(_, wx)| wx * wy > 0.0) {
                    nodes.entry((ny, nx)).or_default().push((place(dy, dx), wy * wx));
                }
            }
        }
        columns.extend(independent(nodes.into_values().collect()));
        let flux = |column: &[(usize, f64)]| column.iter().map(|(_, value)| value).sum::<f64>();
        let mut of_rings = Vec::new();
        for (radius, column) in rings.radii.into_iter().zip(rings.columns) {
            if !column.is_empty() {
                of_rings.push((radius, flux(&column)));
                columns.push(column);
            }
        }
        if conserve_flux {
            for column in &mut columns[1..] {
                let sum = flux(column);
                column.push((place(0, 0), -sum));
            }
        }
        let elements = SparseColumns { columns, rings: of_rings };
        Self::MixedResolution { support, elements }
    }

    /// Of the last functions, those of rings, the inner radius in pixels and the flux of each; none but of a [`mixed_resolution`](Self::mixed_resolution) with
    /// rings.
    pub fn rings(&self) -> &[(f64, f64)] {
        match self {
            Self::MixedResolution { elements, .. } => &elements.rings,
            _ => &[],
        }
    }

    /// The radius in pixels of all but its wings: that of the innermost ring, or the half-width where there are none.
    pub fn inner_radius(&self) -> f64 {
        self.rings().first().map_or(self.support().half_width() as f64, |(radius, _)| *radius)
    }

    /// The same without the functions of rings, on the square that holds the others.
    #[must_use]
    pub fn without_rings(&self) -> Self {
        let Self::MixedResolution { support, elements } = self else { return self.clone() };
        let inner = KernelSupport::new(self.inner_radius() as usize, support.shape());
        let margin = support.half_width() - inner.half_width();
        let place = |place: usize| {
            let (row, column) = (place / support.side(), place % support.side());
            (row - margin) * inner.side() + column - margin
        };
        let others = &elements.columns[..elements.columns.len() - elements.rings.len()];
        let moved =
            |column: &Vec<(usize, f64)>| column.iter().map(|(p, v)| (place(*p), *v)).collect();
        let elements =
            SparseColumns { columns: others.iter().map(moved).collect(), rings: Vec::new() };
        Self::MixedResolution { support: inner, elements }
    }

    /// The functions of rings as images.
    pub fn ring_images(&self) -> Vec<Kernel> {
        let image = |function: usize| {
            let mut kernel = Kernel::zero(self.support().half_width());
            self.expand_part(function, &[1.0], &mut kernel);
            kernel
        };
        (self.len() - self.rings().len()..self.len()).map(image).collect()
    }
}

/// The functions of the distance from the centre that are one at a ring and fall to zero at its neighbours, as cones times a power.
struct Rings {
    /// The inner radius, those of the rings in between, and the outer one at which all have fallen to zero.
    radii: Vec<f64>,
    /// For each radius but the last, the places and values of its function.
    columns: Vec<Vec<(usize, f64)>>,
}

impl Rings {
    /// Each is about so many times as wide as the one before.
    const GROWTH: f64 = 1.6;

    /// The power of 1/r as which the functions fall beside their cones. The wings of seeing fall as r⁻⁴ to r⁻⁶: functions that do so need few coefficients, which the
    /// brighter inner part of each ring determines.
    const FALL: i32 = 5;

    fn new(inner: f64, outer: f64) -> Self {
        let steps = ((outer / inner).ln() / Self::GROWTH.ln()).round().max(1.0);
        let radii = if inner < outer { steps as usize + 1 } else { 1 };
        let radius = |k: usize| inner * (outer / inner).powf(k as f64 / steps);
        Self { radii: (0..radii).map(radius).collect(), columns: vec![Vec::new(); radii - 1] }
    }

    /// Adds a pixel beyond the inner radius.
    fn add(&mut self, radius: f64, place: usize) {
        let outer = self.radii.partition_point(|ring| *ring < radius);
        if outer == 0 || outer == self.radii.len() {
            return;
        }
        let far = (radius - self.radii[outer - 1]) / (self.radii[outer] - self.radii[outer - 1]);
        for (ring, value) in [(outer - 1, 1.0 - far), (outer, far)] {
            let value = value * (radius / self.radii[ring]).powi(-Self::FALL);
            if let Some(column) = self.columns.get_mut(ring).filter(|_| value > 0.0) {
                column.push((place, value));
            }
        }
    }
}

/// Without the columns that are sums of those before them: where few pixels lie between the core and the edge, there are more nodes around than pixels.
fn independent(columns: Vec<Vec<(usize, f64)>>) -> Vec<Vec<(usize, f64)>> {
    /// Part of a column's square that the others leave if it is dependent but for rounding.
    const NOTHING: f64 = 1e-6;
    let places: BTreeSet<usize> = columns.iter().flatten().map(|(place, _)| *place).collect();
    let numbers: BTreeMap<usize, usize> = places.into_iter().zip(0..).collect();
    // An orthonormal basis of what is kept (Gram & Schmidt).
    let mut known: Vec<Vec<f64>> = Vec::new();
    let mut is_new = |column: &Vec<(usize, f64)>| {
        let mut rest = vec![0.0; numbers.len()];
        for (place, value) in column {
            rest[numbers[place]] = *value;
        }
        let square = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
        let whole = square(&rest);
        // Twice, for rounding.
        for known in known.iter().chain(&known) {
            let along: f64 = known.iter().zip(&rest).map(|(k, r)| k * r).sum();
            rest.iter_mut().zip(known).for_each(|(r, k)| *r -= along * k);
        }
        let left = square(&rest);
        let new = left > NOTHING * whole;
        if new {
            known.push(rest.into_iter().map(|r| r / left.sqrt()).collect());
        }
        new
    };
    columns.into_iter().filter(|column| is_new(column)).collect()
}
