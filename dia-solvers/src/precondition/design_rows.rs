//! Explicit rows of the design matrix.

use std::borrow::Cow;

use dia_core::simd::{Loop, widest};
use dia_core::{Design, ImageView, KernelBasis, KernelSupport, Pixel};
use faer::Mat;

use crate::precondition::gram::{GramPrecision, Rows, weighted_gram};

/// The rows of the design matrix, written out: T_t(p) R(p − u) for every kernel coefficient, φ_j(p) for the background.
#[derive(Clone, Debug)]
pub struct DesignRows<'a, T> {
    design: &'a Design,
    reference: ImageView<'a, T>,
    /// The functions of the kernel that are summed up here: all, or those that are no rings.
    summed: Cow<'a, KernelBasis>,
    /// R convolved with the others, at the valid pixels.
    rings: Vec<&'a [T]>,
}

/// Scratch memory for one row.
#[derive(Clone, Debug)]
pub struct RowWorkspace {
    /// R(p − u) over the whole (2h + 1)² square of what is summed up.
    footprint: Vec<f64>,
    /// The values of the basis, where they are not pixels.
    values: Vec<f64>,
    /// Those of polynomials.
    terms: Vec<f64>,
}

impl<'a, T: Pixel> DesignRows<'a, T> {
    /// The rows of `design` for the given reference (sky subtracted, 0 where masked and in the design's margin).
    pub fn new(design: &'a Design, reference: ImageView<'a, T>) -> Self {
        assert_eq!(reference.shape(), design.reference_shape());
        Self { design, reference, summed: Cow::Borrowed(design.basis()), rings: Vec::new() }
    }

    /// The same with R convolved with each ring of the kernel, as [`DesignMatrix::ring_images`](dia_core::DesignMatrix::ring_images) has it: wings are then looked up, where their sums take most of
    /// the time. Without images nothing changes.
    ///
    /// # Panics
    /// If there is another number of images than of rings, or one of them has another length than there are rows.
    #[must_use]
    pub fn with_rings(self, rings: Vec<&'a [T]>) -> Self {
        if rings.is_empty() {
            return self;
        }
        let rows = self.design.nrows();
        assert_eq!(rings.len(), self.design.basis().rings().len(), "an image for each ring");
        assert!(rings.iter().all(|image| image.len() == rows), "images of {rows} rows");
        Self { summed: Cow::Owned(self.design.basis().without_rings()), rings, ..self }
    }

    /// The design whose rows these are.
    pub fn design(&self) -> &'a Design {
        self.design
    }

    /// Scratch memory for [`write`](Self::write).
    pub fn workspace(&self) -> RowWorkspace {
        let footprint = vec![0.0; self.summed.support().side().pow(2)];
        let terms = self.design.variation().len();
        let terms = terms.max(self.design.ncols() - self.design.kernel_ncols());
        let values = vec![0.0; self.design.basis().len()];
        RowWorkspace { footprint, values, terms: vec![0.0; terms] }
    }

    /// Writes row `row` (0 ≤ row < m, in the order of the valid pixels) to `values`, of length n.
    pub fn write(&self, row: usize, values: &mut [f64], workspace: &mut RowWorkspace) {
        self.write_scaled(row, 1.0, values, workspace);
    }

    /// AᵀWA over all rows, lower triangle; `weights` has length m.
    ///
    /// Streams over blocks of rows: memory does not grow with the image. Cost: m n² flop.
    pub fn normal_matrix(&self, weights: &[f64], precision: GramPrecision) -> Mat<f64> {
        assert_eq!(weights.len(), self.design.nrows());
        self.gram(weights.len(), precision, |i| (i, weights[i]))
    }

    /// Σᵢ wᵢ aᵢ aᵢᵀ over `count` rows, lower triangle; `select(i)` gives the index of the row aᵢ and its weight wᵢ ≥ 0.
    pub fn gram(
        &self,
        count: usize,
        precision: GramPrecision,
        select: impl Fn(usize) -> (usize, f64) + Sync,
    ) -> Mat<f64> {
        weighted_gram(self, count, precision, select)
    }
}

impl<T: Pixel> Rows for DesignRows<'_, T> {
    type Workspace = RowWorkspace;

    fn ncols(&self) -> usize {
        self.design.ncols()
    }

    fn workspace(&self) -> RowWorkspace {
        Self::workspace(self)
    }

    fn write_scaled<E: Pixel>(
        &self,
        row: usize,
        scale: E,
        values: &mut [E],
        workspace: &mut RowWorkspace,
    ) {
        let (valid, h) = (self.design.valid(), self.design.half_width());
        let (y, x) = (row / valid.width, row % valid.width);
        // The middle of the footprint in the reference.
        let at = (y + h, x + h);
        let (kernels, rest) = values.split_at_mut(self.design.kernel_ncols());
        let (kernel, varying) = kernels.split_at_mut(self.design.basis().len());
        let RowWorkspace { footprint, values: written, terms } = workspace;
        if let KernelBasis::Delta(support) = self.design.basis() {
            widest(WriteLines { reference: self.reference, support, at, scale, kernel });
        } else {
            let inner = self.summed.support().half_width();
            for (i, line) in footprint.chunks_exact_mut(2 * inner + 1).enumerate() {
                let pixels = &self.reference.row(at.0 + inner - i)[at.1 - inner..=at.1 + inner];
                line.iter_mut().zip(pixels.iter().rev()).for_each(|(v, r)| *v = r.widen());
            }
            let (summed, looked_up) = written.split_at_mut(self.summed.len());
            self.summed.project(footprint, summed);
            looked_up.iter_mut().zip(&self.rings).for_each(|(v, ring)| *v = ring[row].widen());
            copy_scaled(written, scale, kernel);
        }
        let (y, x) = (valid.y + y, valid.x + x);
        // T_0 = 1.
        let mut varying = varying;
        if !varying.is_empty() {
            self.design.variation().evaluate(y, x, terms);
            for (term, value) in self.design.kernel_terms().zip(&*terms).skip(1) {
                let (line, later) = varying.split_at_mut(term.columns.len());
                copy_scaled(&kernel[term.functions], E::narrow(*value), line);
                varying = later;
            }
        }
        if let Some(polynomial) = self.design.background() {
            polynomial.evaluate(y, x, terms);
            copy_scaled(&terms[..rest.len()], scale, rest);
        }
    }
}

/// `kernel` ← `scale` · R(p − u) for the offsets u of the support, in their order.
struct WriteLines<'a, T, E> {
    reference: ImageView<'a, T>,
    support: &'a KernelSupport,
    /// p = (y, x).
    at: (usize, usize),
    scale: E,
    kernel: &'a mut [E],
}

impl<T: Pixel, E: Pixel> Loop for WriteLines<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (y, x) = self.at;
        let h = self.support.half_width() as isize;
        let mut kernel = self.kernel;
        for dy in -h..=h {
            let reach = self.support.row_reach(dy) as usize;
            let row = self.reference.row(y.wrapping_add_signed(-dy));
            let (line, rest) = kernel.split_at_mut(2 * reach + 1);
            copy_reversed(&row[x - reach..=x + reach], self.scale, line);
            kernel = rest;
        }
    }
}

/// `to` ← `scale` · `from`.
pub(crate) fn copy_scaled<T: Pixel, E: Pixel>(from: &[T], scale: E, to: &mut [E]) {
    assert_eq!(from.len(), to.len());
    for (to, from) in to.iter_mut().zip(from) {
        *to = scale * E::narrow(from.widen());
    }
}

/// Elements that are turned around in registers.
const CHUNK: usize = 8;

/// `to` ← `scale` · `from`, last element first.
#[inline(always)]
fn copy_reversed<T: Pixel, E: Pixel>(from: &[T], scale: E, to: &mut [E]) {
    assert_eq!(from.len(), to.len());
    let Some(last) = to.len().checked_sub(CHUNK) else {
        for (to, from) in to.iter_mut().zip(from.iter().rev()) {
            *to = scale * E::narrow(from.widen());
        }
        return;
    };
    let mut start = 0;
    loop {
        let from = &from[last - start..][..CHUNK];
        let to = &mut to[start..][..CHUNK];
        for i in 0..CHUNK {
            to[i] = scale * E::narrow(from[CHUNK - 1 - i].widen());
        }
        if start == last {
            return;
        }
        // The last chunk overlaps the one before: cheaper than element after element.
        start = (start + CHUNK).min(last);
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, Image, KernelBasis, KernelShape, KernelSupport};
    use dia_fft::FftDesignMatrix;

    use super::{DesignRows, copy_reversed};
    use crate::GramPrecision;

    #[test]
    fn lines_of_any_length_are_turned_around() {
        for len in 1..40 {
            let from: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let mut to = vec![f64::NAN; len];
            copy_reversed(&from, 0.5, &mut to);
            let expected: Vec<f64> = (0..len).rev().map(|i| 0.5 * i as f64).collect();
            assert_eq!(to, expected);
        }
    }

    #[test]
    fn rows_and_normal_matrix_are_those_of_the_operator() {
        let reference = Image::from_fn(31, 43, |y, x| ((y * 57 + x * 23) % 101) as f64 - 40.0);
        let circle = KernelSupport::new(3, KernelShape::Circle);
        for basis in [KernelBasis::Delta(circle.clone()), KernelBasis::FluxConservingDelta(circle)]
        {
            let design = Design::new(31, 43, basis, Some(1)).unwrap();
            let a = FftDesignMatrix::new(reference.view(), design.clone()).unwrap();
            let columns = dia_core::testing::columns(&a);
            let rows = DesignRows::new(&design, reference.view());
            let mut workspace = rows.workspace();
            let mut row = vec![f64::NAN; design.ncols()];
            for i in 0..design.nrows() {
                rows.write(i, &mut row, &mut workspace);
                for (column, value) in columns.iter().zip(&row) {
                    // Values below 120; a tile's transform rounds at ε log₂(N²) √N² of them, N ≤ 64.
                    assert!((column[i] - value).abs() < f64::EPSILON * 12.0 * 64.0 * 120.0);
                }
            }
            let weights: Vec<f64> = (0..design.nrows())
                .map(|i| if i % 3 == 0 { 0.0 } else { 1.0 / i as f64 })
                .collect();
            let h = rows.normal_matrix(&weights, GramPrecision::Double);
            for i in 0..design.ncols() {
                for j in 0..=i {
                    let terms = columns[i].iter().zip(&columns[j]).zip(&weights);
                    let expected: f64 = terms.map(|((a, b), w)| a * b * w).sum();
                    // Σ w < log(925) + 1 < 8, products below 120².
                    assert!((h[(i, j)] - expected).abs() < 8.0 * 120.0 * 120.0 * 1e-12);
                }
            }
        }
    }
}
