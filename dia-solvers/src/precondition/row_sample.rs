//! The preconditioner from a random sample of rows (compare Blendenpik: Avron, Maymounkov & Toledo 2010, SIAM J. Sci. Comput.
//! 32, 1217, doi:10.1137/090767911).
//!
//! The normal matrix H = Σ_p w_p a_p a_pᵀ is a sum over pixels. A few thousand of them, chosen at random and scaled by the inverse
//! of their probability, have nearly the same sum. Its Cholesky factor makes the preconditioned system so well conditioned
//! that a handful of iterations suffice, and its cost does not grow with the image.

use dia_core::Pixel;
use dia_core::simd::{Loop, widest};
use faer::Mat;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::precondition::gram::SINGLE_ROUNDING;
use crate::precondition::leverage::over_bands;
use crate::{Cholesky, DesignRows, GramPrecision, Prepared, SampledRows, SolveError};

/// Rows of the design matrix, row p drawn with probability min(1, s π_p): half of π is uniform over the usable pixels,
/// half is proportional to w_p ‖a_p‖².
#[derive(Clone, Debug)]
pub struct RowSample {
    rows: Vec<usize>,
    probabilities: Vec<f64>,
}

impl RowSample {
    /// Draws about `size` rows (all, if there are no more) with the weights of the noise model on the data.
    ///
    /// The draw is systematic (Madow 1949, Ann. Math. Stat. 20, 333): along each row of the image the probabilities are added up,
    /// and the pixels are taken at which the sum passes u, u + 1, u + 2 …, with one random u of [0, 1) for the row. A pixel of
    /// probability P ≤ 1 covers a stretch of length P and is hit with exactly that probability, wherever it lies; so the sampled
    /// sum is without bias. Pixels of one row are not independent: they are spread out, which makes the sample better, as
    /// neighbours have nearly the same row of the matrix. Rows of the image are independent.
    ///
    /// A star far brighter than all others would take half of the sample for itself, and leave nearly none for these. Its pixels are drawn with
    /// certainty, which is less than they would be due, and what they leave is due to the others.
    pub fn draw<T: Pixel>(prepared: &Prepared<'_, T>, size: usize, seed: u64) -> Self {
        // Two passes over the image, first the total and then the draw, cost less than a plane of numbers in memory. Both add in a
        // fixed order: the draw is the same for any number of threads.
        let size = (size as f64).min(prepared.used_pixels() as f64);
        let uniform = 0.5 * size / prepared.used_pixels() as f64;
        let (mut certain, mut density) = (0.0, [uniform, 0.0]);
        let mut drawn = Vec::new();
        for _ in 0..DRAWS {
            let sums = over_bands(prepared, |sums: &mut Sums, _, leverages| {
                widest(AddUncertain { leverages, density, sums });
            });
            let sums = sums.into_iter().fold(Sums::default(), Sums::and);
            let left = 0.5 * size - (1.0 - uniform) * sums.certain;
            // None has become certain, or they are too many.
            if !drawn.is_empty() && (sums.certain <= certain || left <= 0.0) {
                break;
            }
            certain = sums.certain;
            density[1] = left / sums.uncertain;
            drawn = Self::draw_once(prepared, density, seed);
            if drawn.len() as f64 >= ENOUGH * size {
                break;
            }
        }
        let (rows, probabilities) = drawn.into_iter().unzip();
        Self { rows, probabilities }
    }

    /// Rows with their probabilities.
    fn draw_once<T: Pixel>(
        prepared: &Prepared<'_, T>,
        density: [f64; 2],
        seed: u64,
    ) -> Vec<(usize, f64)> {
        let width = prepared.design().valid().width;
        let drawn = over_bands(prepared, |drawn: &mut Vec<(usize, f64)>, y, leverages| {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ ((y as u64) << 20));
            let take = |x, probability| drawn.push((y * width + x, probability));
            widest(DrawRow { leverages, density, start: random.random(), take });
        });
        drawn.into_iter().flatten().collect()
    }

    /// The indices of the rows.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The probability with which each row was drawn.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The rows themselves, written out.
    pub fn gather<T: Pixel>(&self, rows: &DesignRows<'_, T>) -> SampledRows<T> {
        SampledRows::gather(rows, &self.rows)
    }

    /// The factor of P = Σ (w_p / probability) a_p a_pᵀ; `weights[i]` is that of `rows()[i]`, in ADU⁻².
    ///
    /// A ridge of 1e-10 of the mean diagonal keeps P positive definite where the sample does not determine a column.
    ///
    /// # Errors
    /// [`SolveError::NonFinite`] if a weight is not finite; [`SolveError::NotPositiveDefinite`] if all are zero.
    pub fn factor<T: Pixel>(
        &self,
        rows: &DesignRows<'_, T>,
        weights: &[f64],
    ) -> Result<Cholesky, SolveError> {
        of_least_precision(|precision| self.gram_of_design(rows, weights, precision))
    }

    /// How many rows of equal weight tell as much: (Σ w/p)²/Σ (w/p)² (Kish 1965, *Survey Sampling*).
    pub(crate) fn effective_rows(&self, weights: &[f64]) -> f64 {
        let weights = self.over_probabilities(weights);
        weights.iter().sum::<f64>().powi(2) / weights.iter().map(|w| w * w).sum::<f64>()
    }

    /// P itself, of rows that are written out: those of [`gather`](Self::gather).
    pub(crate) fn gram<T: Pixel>(
        &self,
        rows: &SampledRows<T>,
        weights: &[f64],
        precision: GramPrecision,
    ) -> Mat<f64> {
        with_ridge(rows.gram(&self.over_probabilities(weights), precision))
    }

    /// P itself, of rows that are not.
    pub(crate) fn gram_of_design<T: Pixel>(
        &self,
        rows: &DesignRows<'_, T>,
        weights: &[f64],
        precision: GramPrecision,
    ) -> Mat<f64> {
        let weights = self.over_probabilities(weights);
        with_ridge(rows.gram(weights.len(), precision, |i| (self.rows[i], weights[i])))
    }

    /// The weights that make the sum over the sample an estimate of that over all rows.
    fn over_probabilities(&self, weights: &[f64]) -> Vec<f64> {
        assert_eq!(weights.len(), self.rows.len());
        weights.iter().zip(&self.probabilities).map(|(w, p)| w / p).collect()
    }
}

/// The factor of a matrix: of that in single precision, and where a pivot may be its rounding, of that in double.
pub(crate) fn of_least_precision(
    matrix: impl Fn(GramPrecision) -> Mat<f64>,
) -> Result<Cholesky, SolveError> {
    match Cholesky::of_rounded(&matrix(GramPrecision::Single), SINGLE_ROUNDING) {
        Err(SolveError::NotPositiveDefinite { .. }) => {
            Cholesky::new(&matrix(GramPrecision::Double))
        }
        factored => factored,
    }
}

/// A column that is zero in the whole sample (a basis function that touches no star) gets a weak unit of its own.
fn with_ridge(mut gram: Mat<f64>) -> Mat<f64> {
    let n = gram.ncols();
    let ridge = 1e-10 * (0..n).map(|i| gram[(i, i)]).sum::<f64>() / n as f64;
    for i in 0..n {
        gram[(i, i)] += ridge;
    }
    gram
}

/// Pixels whose probabilities are added up at once: most have no sampled pixel among them.
const GROUP: usize = 16;

/// Most draws, and the part of the rows that is enough.
const DRAWS: usize = 5;
const ENOUGH: f64 = 0.9;

/// What a density makes of the pixels of a band.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// How many have a probability of one.
    certain: f64,
    /// Σ leverages of all others.
    uncertain: f64,
}

impl Sums {
    fn and(self, other: Self) -> Self {
        Self { certain: self.certain + other.certain, uncertain: self.uncertain + other.uncertain }
    }
}

/// That of a usable pixel, from what all get and what they get for a leverage of 1.
#[inline(always)]
fn probability([uniform, proportional]: [f64; 2], leverage: f64) -> f64 {
    (uniform + proportional * leverage).min(1.0)
}

/// Adds a row of pixels up, in lanes that fill the vector registers.
struct AddUncertain<'a> {
    leverages: &'a [f64],
    density: [f64; 2],
    sums: &'a mut Sums,
}

impl Loop for AddUncertain<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [mut certain, mut uncertain] = [[0.0; GROUP]; 2];
        let mut add = |i: usize, value: f64| {
            let is_certain = probability(self.density, value) >= 1.0;
            certain[i] += if is_certain { 1.0 } else { 0.0 };
            uncertain[i] += if is_certain { 0.0 } else { value };
        };
        let (groups, rest) = self.leverages.as_chunks::<GROUP>();
        for group in groups {
            (0..GROUP).for_each(|i| add(i, group[i]));
        }
        rest.iter().enumerate().for_each(|(i, value)| add(i, *value));
        let row = Sums { certain: add_lanes(certain), uncertain: add_lanes(uncertain) };
        *self.sums = self.sums.and(row);
    }
}

/// Σ lanes, as a tree.
#[inline(always)]
fn add_lanes(mut lanes: [f64; GROUP]) -> f64 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// Draws from a row of pixels and calls `take(x, probability)` for those drawn; overwrites the leverages with the probabilities.
struct DrawRow<'a, F> {
    leverages: &'a mut [f64],
    /// What every usable pixel gets, and what it gets for a leverage of 1.
    density: [f64; 2],
    /// Where the grid starts, in [0, 1).
    start: f64,
    take: F,
}

impl<F: FnMut(usize, f64)> Loop for DrawRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for value in self.leverages.iter_mut() {
            *value = if *value > 0.0 { probability(self.density, *value) } else { 0.0 };
        }
        systematic(self.leverages, self.start, self.take);
    }
}

/// Calls `take(x, probability)` for the elements at which the sum of the probabilities passes `start`, `start` + 1 ….
#[inline(always)]
fn systematic(probabilities: &[f64], start: f64, mut take: impl FnMut(usize, f64)) {
    let (mut passed, mut next) = (0.0, start);
    for (i, group) in probabilities.chunks(GROUP).enumerate() {
        if let Some(group) = group.as_array::<GROUP>() {
            let whole = passed + add_lanes(*group);
            if whole <= next {
                passed = whole;
                continue;
            }
        }
        // The sum element after element rounds differently; from here on it is the one that counts. So passed ≤ next always holds
        // before an element, and one of probability 0 is never taken.
        for (x, p) in group.iter().enumerate() {
            passed += p;
            if passed > next {
                take(i * GROUP + x, *p);
                next += 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{CcdNoise, Design, Image, KernelBasis, NoiseModel};

    use super::{ENOUGH, GROUP, RowSample, of_least_precision, systematic, with_ridge};
    use crate::{Exposure, GramPrecision, Prepared};

    #[test]
    fn a_star_that_outshines_all_leaves_rows_to_the_others() {
        let star = |y: usize, x: usize, flux: f64, (cy, cx): (f64, f64)| {
            let r2 = (y as f64 - cy).powi(2) + (x as f64 - cx).powi(2);
            flux * (-0.5 * r2 / 1.5).exp()
        };
        let faint = |k: usize| ((17 + 23 * (k / 5)) as f64, (19 + 25 * (k % 5)) as f64);
        let image = Image::from_fn(160, 160, |y, x| {
            let all = (0..25).map(|k| star(y, x, 1e3, faint(k))).sum::<f64>();
            400.0 + 9.0 * ((y * 37 + x * 101) as f64).sin() + all + star(y, x, 1e6, (140.0, 80.0))
        });
        let noise =
            NoiseModel::Ccd(CcdNoise { gain: 1.5, read_noise: 6.0, subtracted_sky: 0.0 }, None);
        let exposure = Exposure { image: image.view(), mask: None, noise, saturation: None };
        let design = Design::new(160, 160, KernelBasis::delta(6), None).unwrap();
        let prepared = Prepared::new(&exposure, &exposure, design, false).unwrap();
        let (size, seeds) = (2000, 20);
        let valid = prepared.design().valid();
        let mut of_faint = 0;
        for seed in 0..seeds {
            let sample = RowSample::draw(&prepared, size, seed);
            // By the leverages as they are, the bright star's pixels alone would have half of the sample, and 800 rows would be missing.
            let drawn = sample.rows().len() as f64;
            assert!((ENOUGH..1.1).contains(&(drawn / size as f64)), "seed {seed}: {drawn}");
            // Σ 1/p estimates the number of pixels: uniform draws of a thousand rows with p ≥ 1000/21904 have it to 3 %; five of that.
            let pixels: f64 = sample.probabilities().iter().map(|p| p.recip()).sum();
            let relative = pixels / prepared.used_pixels() as f64;
            assert!((relative - 1.0).abs() < 0.15, "seed {seed}: {relative}");
            let near = |row: &&usize| {
                let (y, x) = (valid.y + *row / valid.width, valid.x + *row % valid.width);
                (0..25).any(|k| {
                    let (cy, cx) = faint(k);
                    (y as f64 - cy).abs() <= 3.0 && (x as f64 - cx).abs() <= 3.0
                })
            };
            of_faint += sample.rows().iter().filter(near).count();
        }
        // The 49 pixels of each of the 25: uniform draws alone would have 1 in 22 of them.
        assert!(of_faint as u64 > seeds * 25 * 49 / 10, "{of_faint}");
    }

    #[test]
    fn every_element_is_drawn_with_its_probability() {
        let len = 5 * GROUP + 3;
        let probability = |i: usize| match i % 5 {
            0 => 0.0,
            1 => 1.0,
            _ => (i % 17) as f64 / 40.0,
        };
        let probabilities: Vec<f64> = (0..len).map(probability).collect();
        // On a fine grid of starts, each element is hit by a share of them that is its probability, to one point of the grid at either
        // end of its stretch.
        let starts = 4000;
        let mut hits = vec![0; len];
        for k in 0..starts {
            let start = (f64::from(k) + 0.5) / f64::from(starts);
            systematic(&probabilities, start, |i, p| {
                assert_eq!(p, probabilities[i]);
                hits[i] += 1;
            });
        }
        for (hits, p) in hits.iter().zip(&probabilities) {
            assert!((f64::from(*hits) - p * f64::from(starts)).abs() <= 2.0, "{hits} for {p}");
            assert!(*p > 0.0 || *hits == 0);
        }
    }

    #[test]
    fn what_single_precision_cannot_tell_is_factored_in_double() {
        // The second pivot is 2e-6 in double; in single, its sign is lost or its size is.
        for error in [2e-6, 1e-7] {
            let gram = |precision| {
                let rounding = if precision == GramPrecision::Single { error } else { 0.0 };
                let c = 1.0 - 1e-6 + rounding;
                faer::Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { c })
            };
            let mut b = [1.0, -1.0];
            let factor = of_least_precision(|precision| with_ridge(gram(precision)));
            factor.unwrap().solve_in_place(&mut b);
            // H⁻¹ (1, −1) = (1, −1) / (1 − c + ridge), the ridge being 1e-10; the pivot has a relative rounding of ε/2e-6.
            assert!((b[0] * (1e-6 + 1e-10) - 1.0).abs() < 1e-9, "{b:?}");
        }
    }
}
