//! The noise of the reference in the model is correlated: what that adds to the variance of a functional.
//!
//! The noise n of the reference reaches the residuals as K ⊗ n, of the variance K² ⊗ σ_R² in each pixel; but neighbours share it. A functional that weighs
//! the residuals by f(p) has the variance
//!
//! > Σ_q σ_R²(q) c(q)², c(q) = Σ_u K(u) f(q + u),
//!
//! which for a smooth f exceeds Σ_p f² (K² ⊗ σ_R²) by (ΣK)²/ΣK², ten and more: a reference only ten times deeper than the target matters for the
//! photometric scale, which is smooth over a star, and for the background, though not for the noise of a pixel.
//!
//! The sum over q is taken over a part of the sampled rows, each with the inverse of its probability. Pixels of the reference outside the valid region,
//! its border and the margin, are left out.

use dia_core::{DataVector, DesignMatrix, Image, Kernel, OperatorError, Pixel};

use crate::linear::cg::dot;
use crate::robust::problem::Problem;

/// Number of pixels q of the reference: the sum is known to some percent of itself, and is a small part of the variance.
const SAMPLE: usize = 2000;

/// The pixels q, with what they weigh and where their noise goes.
pub(crate) struct CorrelatedNoise {
    pixels: Vec<SampledPixel>,
    /// The rows q + u of all pixels, one pixel after the other.
    rows: Vec<usize>,
    /// K(u) there.
    kernel: Vec<f64>,
}

struct SampledPixel {
    /// Its place among the valid ones.
    place: usize,
    /// σ_R²(q) over the probability of q.
    variance: f64,
    /// Number of its rows.
    rows: usize,
}

/// The part of Σ|K| in the smallest pixels that is left out: less than the sum is known to.
const LEFT_OUT: f64 = 0.01;

/// A pixel of the kernel at (dy, dx) from its centre, of all terms.
struct Tap {
    dy: isize,
    dx: isize,
    of_terms: Vec<f64>,
}

/// The pixels of the mean kernel that hold all of Σ|K| but [`LEFT_OUT`], out to a half-width: wings carry a percent of the flux.
fn taps(kernels: &[Kernel], half_width: usize) -> Vec<Tap> {
    let h = half_width as isize;
    let places = (-h..=h).flat_map(|dy| (-h..=h).map(move |dx| (dy, dx)));
    let size = |(dy, dx): &(isize, isize)| kernels[0].at(*dy, *dx).abs();
    let mut places: Vec<(isize, isize)> = places.filter(|place| size(place) > 0.0).collect();
    places.sort_by(|a, b| size(a).total_cmp(&size(b)));
    let mut left = LEFT_OUT * places.iter().map(size).sum::<f64>();
    let is_small = |place: &&(isize, isize)| {
        left -= size(place);
        left >= 0.0
    };
    let small = places.iter().take_while(is_small).count();
    let mut places = places.split_off(small);
    // In the order of memory.
    places.sort_unstable();
    let tap = |(dy, dx)| {
        let of_terms = kernels.iter().map(|kernel| kernel.at(dy, dx)).collect();
        Tap { dy, dx, of_terms }
    };
    places.into_iter().map(tap).collect()
}

impl CorrelatedNoise {
    /// For the kernel of the parameters `x`.
    pub(crate) fn new<A: DesignMatrix>(
        problem: &Problem<'_, A>,
        reference_variance: &Image<A::Pixel>,
        x: &[f64],
    ) -> Self {
        let design = problem.a.design();
        let (valid, margin) = (design.valid(), design.margin());
        let border = design.inner_half_width();
        let kernels = design.kernels(x);
        let taps = taps(&kernels, design.half_width() - margin);
        let mut terms = vec![0.0; kernels.len()];
        let draw = problem.sample.draw;
        let every = draw.rows().len().div_ceil(SAMPLE);
        let mut noise = Self { pixels: Vec::new(), rows: Vec::new(), kernel: Vec::new() };
        for (row, probability) in draw.rows().iter().zip(draw.probabilities()).step_by(every) {
            let (y, x) = (row / valid.width, row % valid.width);
            let before = noise.rows.len();
            // Over its own width, K hardly varies.
            design.variation().evaluate(valid.y + y, valid.x + x, &mut terms);
            for Tap { dy, dx, of_terms } in &taps {
                let at = y.checked_add_signed(*dy).zip(x.checked_add_signed(*dx));
                let Some((py, px)) = at.filter(|(y, x)| *y < valid.height && *x < valid.width)
                else {
                    continue;
                };
                noise.rows.push(py * valid.width + px);
                noise.kernel.push(dot(of_terms, &terms));
            }
            let at = (border + y, border + x);
            let variance = reference_variance.view().at(at.0, at.1).widen();
            noise.pixels.push(SampledPixel {
                place: *row,
                variance: variance * every as f64 / probability,
                rows: noise.rows.len() - before,
            });
        }
        noise
    }

    /// The pixels q as valid pixels, and σ_R² over the probability of each.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.pixels.iter().map(|pixel| (pixel.place, pixel.variance))
    }

    /// c(q) of the pixels q.
    pub(crate) fn carried<A: DesignMatrix>(
        &self,
        a: &A,
        f: &A::Data,
    ) -> Result<Vec<f64>, OperatorError> {
        let mut values = vec![0.0; self.rows.len()];
        a.gather(f, &self.rows, &mut values)?;
        let mut weighted = values.iter().zip(&self.kernel).map(|(f, k)| f * k);
        Ok(self.pixels.iter().map(|pixel| weighted.by_ref().take(pixel.rows).sum()).collect())
    }

    /// Σ_q σ_R²(q) c(q)² − Σ_p f(p)² (K² ⊗ σ_R²)(p), what f has beyond independent pixels; `reference` is K² ⊗ σ_R².
    pub(crate) fn excess<A: DesignMatrix>(
        &self,
        a: &A,
        f: &A::Data,
        reference: &A::Data,
    ) -> Result<f64, OperatorError> {
        let carried = self.carried(a, f)?;
        let terms = self.pixels.iter().zip(carried);
        let correlated: f64 = terms.map(|(pixel, c)| pixel.variance * c.powi(2)).sum();
        let mut squares = a.zeros()?;
        squares.axpby(1.0, f, 0.0)?;
        squares.multiply(f)?;
        Ok(correlated - squares.dot(reference)?)
    }
}
