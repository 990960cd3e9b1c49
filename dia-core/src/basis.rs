//! Kernel bases: linear maps from a few coefficients to the pixels of a kernel.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Kernel, KernelShape, KernelSupport, ModelError};

/// How a kernel is made of coefficients, K = Σ_k a_k K_k.
///
/// A basis is a linear map E from coefficients to kernel pixels. Operators convolve with the kernel E a and hand the
/// gradient over kernel pixels back through Eᵀ, so every basis costs the same products.
#[derive(Clone, Debug, PartialEq)]
pub enum KernelBasis {
    /// Every pixel of the support is free (Bramich 2008, MNRAS 386, L77); coefficients in the order of the offsets.
    Delta(KernelSupport),
    /// The delta basis {δ_0, δ_u − δ_0 (u ≠ 0)}: the first coefficient is the photometric scale, all others carry no
    /// flux (Bramich et al. 2013, MNRAS 428, 2275).
    FluxConservingDelta(KernelSupport),
    /// A delta basis of mixed resolution: every pixel free near the centre, interpolated between the nodes of a coarser grid further out, where kernels
    /// are smooth; see [`mixed_resolution`](Self::mixed_resolution).
    MixedResolution {
        /// The support.
        support: KernelSupport,
        /// E by its elements that are not zero, by coefficient.
        elements: SparseColumns,
    },
    /// A sum of given images of one size, say those of [`gaussian_polynomials`](Self::gaussian_polynomials).
    Images {
        /// The support that holds all of them.
        support: KernelSupport,
        /// The images K_k.
        images: Vec<Kernel>,
    },
}

/// A matrix of kernel pixels × coefficients with few elements.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseColumns {
    /// For each coefficient, the places in the row-major (2h + 1)² square and the values there.
    columns: Vec<Vec<(usize, f64)>>,
    /// Of the last coefficients, those of rings, the radius in pixels and the sum over the ring.
    rings: Vec<(f64, f64)>,
}

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

/// One Gaussian of the basis of Alard & Lupton: its width and the degree of the polynomial that multiplies it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianTerm {
    /// σ in pixels.
    pub sigma: f64,
    /// Highest total degree of u^i v^j.
    pub degree: usize,
}

impl GaussianTerm {
    /// HOTPANTS' defaults: σ = 0.7, 1.5, 3.0 px with degrees 6, 4, 2; 49 functions.
    pub const HOTPANTS: [Self; 3] = [
        Self { sigma: 0.7, degree: 6 },
        Self { sigma: 1.5, degree: 4 },
        Self { sigma: 3.0, degree: 2 },
    ];
}

impl KernelBasis {
    /// A free pixel array over the (2h + 1)² square.
    pub fn delta(half_width: usize) -> Self {
        Self::Delta(KernelSupport::new(half_width, KernelShape::Square))
    }

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

    /// A sum of given images.
    ///
    /// # Errors
    /// [`ModelError::Basis`] if there are none or their sizes differ.
    pub fn images(images: Vec<Kernel>) -> Result<Self, ModelError> {
        let half_width = images.first().ok_or(ModelError::Basis)?.half_width();
        if images.iter().any(|image| image.half_width() != half_width) {
            return Err(ModelError::Basis);
        }
        Ok(Self::Images { support: KernelSupport::new(half_width, KernelShape::Square), images })
    }

    /// The basis of Alard & Lupton (1998, ApJ 503, 325): e^{−(u²+v²)/2σ²} u^i v^j for each Gaussian, cut at the outline `shape`.
    ///
    /// As in HOTPANTS, the functions with even i and j have unit sum; those but the first have the first subtracted, and the
    /// others sum to zero by symmetry. So the first coefficient is the photometric scale. Functions that vanish on a small
    /// support (those with an odd power at half-width 0) are left out.
    pub fn gaussian_polynomials(
        half_width: usize,
        shape: KernelShape,
        terms: &[GaussianTerm],
    ) -> Self {
        let support = KernelSupport::new(half_width, shape);
        let mut images: Vec<Kernel> = Vec::new();
        for term in terms {
            for (i, j) in (0..=term.degree).flat_map(|d| (0..=d).map(move |j| (d - j, j))) {
                let mut image = Kernel::from_fn(half_width, |dy, dx| {
                    if dx.abs() > support.row_reach(dy) {
                        return 0.0;
                    }
                    let (v, u) = (dy as f64, dx as f64);
                    let gaussian = (-(u * u + v * v) / (2.0 * term.sigma * term.sigma)).exp();
                    // Scaled by σ so that all functions are of one size.
                    gaussian * (u / term.sigma).powi(i as i32) * (v / term.sigma).powi(j as i32)
                });
                if image.pixels().iter().all(|k| *k == 0.0) {
                    continue;
                }
                if i % 2 == 0 && j % 2 == 0 {
                    let sum = image.photometric_scale();
                    image.pixels_mut().iter_mut().for_each(|k| *k /= sum);
                    if let Some(first) = images.first() {
                        for (k, first) in image.pixels_mut().iter_mut().zip(first.pixels()) {
                            *k -= first;
                        }
                    }
                }
                images.push(image);
            }
        }
        Self::Images { support, images }
    }

    /// Number of coefficients.
    pub fn len(&self) -> usize {
        match self {
            Self::Delta(support) | Self::FluxConservingDelta(support) => support.len(),
            Self::MixedResolution { elements, .. } => elements.columns.len(),
            Self::Images { images, .. } => images.len(),
        }
    }

    /// Whether it has no function at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether only the first function carries flux, so that its coefficient is the photometric scale times its own sum.
    pub fn conserves_flux(&self) -> bool {
        match self {
            Self::Delta(support) => support.len() == 1,
            Self::FluxConservingDelta(_) => true,
            Self::MixedResolution { elements, .. } => {
                let sum = |column: &Vec<(usize, f64)>| column.iter().map(|(_, v)| v).sum::<f64>();
                elements.columns[1..].iter().all(|column| sum(column).abs() <= 1e-12)
            }
            Self::Images { images, .. } => images[1..].iter().all(|image| {
                let size: f64 = image.pixels().iter().map(|k| k.abs()).sum();
                image.photometric_scale().abs() <= 1e-10 * size
            }),
        }
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

    /// The pixels that any kernel of this basis may use.
    pub fn support(&self) -> &KernelSupport {
        match self {
            Self::Delta(support)
            | Self::FluxConservingDelta(support)
            | Self::MixedResolution { support, .. }
            | Self::Images { support, .. } => support,
        }
    }

    /// E a: the kernel of the given coefficients, written over `kernel` (all (2h + 1)² pixels of it).
    pub fn expand(&self, coefficients: &[f64], kernel: &mut Kernel) {
        assert_eq!(coefficients.len(), self.len());
        self.expand_part(0, coefficients, kernel);
    }

    /// As [`expand`](Self::expand), for the coefficients of the functions from `first` on; those of the others are 0.
    pub(crate) fn expand_part(&self, first: usize, coefficients: &[f64], kernel: &mut Kernel) {
        assert!(first + coefficients.len() <= self.len());
        assert_eq!(kernel.half_width(), self.support().half_width());
        let pixels = kernel.pixels_mut();
        pixels.fill(0.0);
        match self {
            Self::Delta(support) => {
                for (place, a) in support.places().skip(first).zip(coefficients) {
                    pixels[place] = *a;
                }
            }
            Self::FluxConservingDelta(support) => {
                let centre = pixels.len() / 2;
                let (flux, others) = coefficients.split_at(usize::from(first == 0));
                pixels[centre] = flux.iter().sum::<f64>() - others.iter().sum::<f64>();
                let places = support.places().filter(|place| *place != centre);
                for (place, a) in places.skip(first.saturating_sub(1)).zip(others) {
                    pixels[place] = *a;
                }
            }
            Self::MixedResolution { elements, .. } => {
                for (column, a) in elements.columns[first..].iter().zip(coefficients) {
                    for (place, value) in column {
                        pixels[*place] += value * a;
                    }
                }
            }
            Self::Images { images, .. } => {
                for (image, a) in images[first..].iter().zip(coefficients) {
                    for (pixel, k) in pixels.iter_mut().zip(image.pixels()) {
                        *pixel += a * k;
                    }
                }
            }
        }
    }

    /// Eᵀ g: from a gradient over the (2h + 1)² kernel pixels to one over the coefficients.
    pub fn project(&self, gradient: &[f64], coefficients: &mut [f64]) {
        assert_eq!(coefficients.len(), self.len());
        self.project_part(gradient, 0, coefficients);
    }

    /// As [`project`](Self::project), to the coefficients of the functions from `first` on.
    pub(crate) fn project_part(&self, gradient: &[f64], first: usize, coefficients: &mut [f64]) {
        assert!(first + coefficients.len() <= self.len());
        assert_eq!(gradient.len(), self.support().side().pow(2));
        match self {
            Self::Delta(support) => {
                for (place, a) in support.places().skip(first).zip(coefficients) {
                    *a = gradient[place];
                }
            }
            Self::FluxConservingDelta(support) => {
                let centre = gradient.len() / 2;
                let (flux, others) = coefficients.split_at_mut(usize::from(first == 0));
                flux.fill(gradient[centre]);
                let places = support.places().filter(|place| *place != centre);
                for (place, a) in places.skip(first.saturating_sub(1)).zip(others) {
                    *a = gradient[place] - gradient[centre];
                }
            }
            Self::MixedResolution { elements, .. } => {
                for (column, a) in elements.columns[first..].iter().zip(coefficients) {
                    *a = sparse_dot(column, gradient);
                }
            }
            Self::Images { images, .. } => {
                for (image, a) in images[first..].iter().zip(coefficients) {
                    *a = image.pixels().iter().zip(gradient).map(|(k, g)| k * g).sum();
                }
            }
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

#[cfg(test)]
mod tests {
    use super::{GaussianTerm, KernelBasis, Resolution};
    use crate::{Kernel, KernelShape, KernelSupport, ModelError};

    fn resolution(core: f64, spacing: usize) -> Resolution {
        Resolution { core, spacing, inner: f64::INFINITY }
    }

    fn bases() -> Vec<KernelBasis> {
        let circle = KernelSupport::new(4, KernelShape::Circle);
        vec![
            KernelBasis::delta(4),
            KernelBasis::Delta(circle.clone()),
            KernelBasis::mixed_resolution(circle.clone(), resolution(1.5, 3), false),
            KernelBasis::mixed_resolution(circle.clone(), resolution(2.5, 2), true),
            KernelBasis::FluxConservingDelta(circle),
            KernelBasis::gaussian_polynomials(4, KernelShape::Circle, &GaussianTerm::HOTPANTS),
        ]
    }

    /// Σ values, pseudo-random in [−1, 1] and reproducible.
    fn values(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f64 / 504.5 - 1.0).collect()
    }

    #[test]
    fn project_is_the_adjoint_of_expand() {
        for basis in bases() {
            let (a, g) = (values(basis.len()), values(81));
            let mut kernel = Kernel::from_fn(4, |_, _| f64::NAN);
            basis.expand(&a, &mut kernel);
            let mut projected = vec![f64::NAN; basis.len()];
            basis.project(&g, &mut projected);
            let left: f64 = kernel.pixels().iter().zip(&g).map(|(k, g)| k * g).sum();
            let right: f64 = projected.iter().zip(&a).map(|(p, a)| p * a).sum();
            // At most 81 × 49 products of size below 10; each rounds once.
            assert!((left - right).abs() < 81.0 * 49.0 * 10.0 * f64::EPSILON);
        }
    }

    #[test]
    fn only_the_first_function_of_a_flux_conserving_basis_carries_flux() {
        for basis in &bases()[3..] {
            assert!(basis.conserves_flux());
            for k in 0..basis.len() {
                let mut a = vec![0.0; basis.len()];
                a[k] = 1.0;
                let mut kernel = Kernel::zero(4);
                basis.expand(&a, &mut kernel);
                let expected = f64::from(u8::from(k == 0));
                // 81 values of size at most 10⁴ (u⁶ at the edge, in units of σ) that cancel in pairs.
                assert!((kernel.photometric_scale() - expected).abs() < 1e-11, "function {k}");
            }
        }
    }

    #[test]
    fn mixed_resolution_has_free_pixels_inside_and_planes_outside() {
        let support = KernelSupport::new(10, KernelShape::Square);
        let basis = KernelBasis::mixed_resolution(support, resolution(4.0, 3), false);
        // 49 pixels within 4 px of the centre; of the nodes at −12, −9 … 12, 81 in all, only the middle one borders on no pixel outside.
        assert_eq!(basis.len(), 49 + 80);
        // Coefficients that are a plane at their nodes make a plane; E has full rank if what it makes is different for each.
        let mut kernel = Kernel::zero(10);
        let a: Vec<f64> = (0..basis.len()).map(|k| if k < 49 { 0.0 } else { 7.0 }).collect();
        basis.expand(&a, &mut kernel);
        for dy in -10..=10_isize {
            for dx in -10..=10_isize {
                let expected = if dy * dy + dx * dx <= 16 { 0.0 } else { 7.0 };
                // Weights of thirds add up to one within a rounding.
                assert!((kernel.at(dy, dx) - expected).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn rings_follow_a_power_and_end_in_zero() {
        let support = KernelSupport::new(20, KernelShape::Square);
        let resolution = Resolution { core: 2.0, spacing: 3, inner: 8.0 };
        let basis = KernelBasis::mixed_resolution(support, resolution, false);
        // Of the radii 8, 8 q, 8 q² = 20 with q = 2.5^(1/2) = 1.58, the last one has no function.
        let radii = [8.0, 8.0 * 2.5_f64.sqrt()];
        assert_eq!(basis.rings().iter().map(|(radius, _)| *radius).collect::<Vec<_>>(), radii);
        let first = basis.len() - 2;
        // Coefficients (20 − r) r⁻⁵ at the rings make the same in between.
        let wing = |r: f64| (20.0 - r) * r.powi(-5);
        let mut a = vec![0.0; basis.len()];
        a[first..].copy_from_slice(&radii.map(wing));
        let mut kernel = Kernel::zero(20);
        basis.expand(&a, &mut kernel);
        for (dy, dx) in (-20..=20_isize).flat_map(|dy| (-20..=20_isize).map(move |dx| (dy, dx))) {
            let radius = ((dy * dy + dx * dx) as f64).sqrt();
            let expected = if radius > 8.0 && radius < 20.0 { wing(radius) } else { 0.0 };
            // Two terms below 12 · 8⁻⁵ = 4e-4, each rounded ten times.
            assert!((kernel.at(dy, dx) - expected).abs() < 1e-17, "{dy} {dx}");
        }
        let flux: f64 = basis.rings().iter().zip(&a[first..]).map(|((_, flux), a)| flux * a).sum();
        // Some thousand terms of that size.
        assert!((flux - kernel.photometric_scale()).abs() < 1e-14);
    }

    #[test]
    fn hotpants_defaults_make_49_functions() {
        let basis =
            KernelBasis::gaussian_polynomials(10, KernelShape::Square, &GaussianTerm::HOTPANTS);
        assert_eq!(basis.len(), 28 + 15 + 6);
    }

    #[test]
    fn images_must_share_one_size() {
        assert_eq!(KernelBasis::images(vec![]), Err(ModelError::Basis));
        let mixed = vec![Kernel::zero(2), Kernel::zero(3)];
        assert_eq!(KernelBasis::images(mixed), Err(ModelError::Basis));
    }
}
