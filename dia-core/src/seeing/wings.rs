//! How much light is in the wings of an image's stars: 1/β of the Moffat profile that fits them.

use super::{Field, Shape, UNUSABLE};
use crate::Pixel;
use crate::moffat::{MOST_WINGS, profile};

/// The wings of the stars of an image: 1/β of Moffat's profiles (see [`moffat`](crate::moffat)), 0 for Gaussian ones, with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wings {
    /// 1/β, from 0 to [`MOST_WINGS`].
    pub inverse_beta: f64,
    /// Its σ, from the noise and from how well the profiles fit.
    pub sigma: f64,
}

/// Stars that are looked at, the brightest ones.
const STARS: usize = 12;

/// Radius in widths at half maximum: there, β = 3 and a Gaussian differ by 4·10⁻³ of the peak at a hundred pixels.
const RADIUS: f64 = 3.0;

/// Deviations of real stars from the profile, in its own units: no pixel is known better.
const FLATNESS: f64 = 0.02;

/// Residuals beyond this many σ count less: neighbours.
const HUBER: f64 = 1.5;

/// Rounds of reweighting.
const ROUNDS: usize = 2;

/// The steps of the grids of 1/β and of the width's square over that of the core, from its first.
const BETA: (f64, f64, usize) = (0.0, 0.0587, 9);
const WIDTH: (f64, f64, usize) = (0.8, 0.06, 8);

/// Places of the tabulated profile in ρ.
const PLACES: usize = 256;

/// A pixel near a star.
struct Sample {
    /// The distance from the star's centre in places of a [`Table`]: ρ = r/σ, σ that of the core, over its step.
    place: usize,
    beyond: f64,
    /// Over the star's height.
    value: f64,
    /// The noise over the star's height, squared.
    noise2: f64,
    weight: f64,
}

/// Measures the wings of stars of a typical covariance, pixels included. `None` where fewer than six pixels are left of each.
pub(super) fn measure<T: Pixel>(
    field: &Field<'_, T>,
    shapes: &[Shape],
    [xx, xy, yy]: [f64; 3],
) -> Option<Wings> {
    let mut shapes = shapes.to_vec();
    shapes.sort_by(|a, b| b.height.total_cmp(&a.height));
    shapes.truncate(STARS);
    let determinant = xx * yy - xy * xy;
    let reach = RADIUS * 8.0_f64.sqrt() * std::f64::consts::LN_2.sqrt();
    let step = reach / PLACES as f64;
    let (rows, columns) = ((reach * yy.sqrt()) as isize, (reach * xx.sqrt()) as isize);
    let samples = |shape: &Shape| -> Vec<Sample> {
        let [y0, x0] = shape.centre;
        let (cy, cx) = (y0.round() as isize, x0.round() as isize);
        let (height, width) = field.image.shape();
        let mut samples = Vec::new();
        for y in (cy - rows).max(0)..(cy + rows + 1).min(height as isize) {
            for x in (cx - columns).max(0)..(cx + columns + 1).min(width as isize) {
                let (dy, dx) = (y as f64 - y0, x as f64 - x0);
                let rho2 = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant;
                let (y, x) = (y as usize, x as usize);
                if rho2 > reach * reach || field.mask.at(y, x).intersects(UNUSABLE) {
                    continue;
                }
                let value = field.at(y, x) / shape.height;
                if value.is_finite() {
                    let noise2 = (field.scatter / shape.height).powi(2);
                    let distance = rho2.sqrt() / step;
                    let place = distance as usize;
                    let beyond = distance - place as f64;
                    samples.push(Sample { place, beyond, value, noise2, weight: 1.0 });
                }
            }
        }
        samples
    };
    let mut stars: Vec<Vec<Sample>> = shapes.iter().map(samples).filter(|s| s.len() > 5).collect();
    if stars.is_empty() {
        return None;
    }
    let mut found = None;
    for _ in 0..ROUNDS {
        let cost = |i: usize, j: usize| {
            let table = Table::new(at(BETA, i), at(WIDTH, j), step);
            stars.iter().map(|star| table.fit(star).2).sum::<f64>()
        };
        let costs: Vec<Vec<f64>> =
            (0..BETA.2).map(|i| (0..WIDTH.2).map(|j| cost(i, j)).collect()).collect();
        let (beta, width, sigma) = minimum(&costs);
        let table = Table::new(beta, width, step);
        let (mut chi2, mut count) = (0.0, 0.0);
        for star in &mut stars {
            let (amplitude, sky, _) = table.fit(star);
            for sample in star {
                let (model, variance) = table.at(sample);
                let z = (sample.value - amplitude * model - sky).abs() / variance.sqrt();
                chi2 += sample.weight * z * z;
                count += sample.weight;
                sample.weight = (HUBER / z).min(1.0);
            }
        }
        found = Some(Wings { inverse_beta: beta, sigma: sigma * (chi2 / count).max(1.0).sqrt() });
    }
    found.filter(|wings| wings.sigma.is_finite())
}

fn at((first, step, _): (f64, f64, usize), i: usize) -> f64 {
    first + step * i as f64
}

/// 1/β and the width's square where a cost that is half of no χ² but a whole one is least, and the σ of 1/β.
fn minimum(costs: &[Vec<f64>]) -> (f64, f64, f64) {
    let places = (0..BETA.2).flat_map(|i| (0..WIDTH.2).map(move |j| (i, j)));
    let least = places.min_by(|a, b| costs[a.0][a.1].total_cmp(&costs[b.0][b.1]));
    let (i, j) = least.map_or((1, 1), |(i, j)| (i.clamp(1, BETA.2 - 2), j.clamp(1, WIDTH.2 - 2)));
    // The paraboloid through nine places, by differences.
    let c = |di: isize, dj: isize| costs[i.wrapping_add_signed(di)][j.wrapping_add_signed(dj)];
    let (gi, gj) = (0.5 * (c(1, 0) - c(-1, 0)), 0.5 * (c(0, 1) - c(0, -1)));
    let (ii, jj) = (c(1, 0) - 2.0 * c(0, 0) + c(-1, 0), c(0, 1) - 2.0 * c(0, 0) + c(0, -1));
    let ij = 0.25 * (c(1, 1) - c(1, -1) - c(-1, 1) + c(-1, -1));
    let determinant = ii * jj - ij * ij;
    if !(ii > 0.0 && determinant > 0.0) {
        return (at(BETA, i), at(WIDTH, j), f64::INFINITY);
    }
    let (di, dj) = ((ij * gj - jj * gi) / determinant, (ij * gi - ii * gj) / determinant);
    // χ² rises by one at one σ: its second derivative is 2/σ².
    let sigma = BETA.1 * (2.0 * jj / determinant).sqrt();
    let beta = (at(BETA, i) + BETA.1 * di.clamp(-1.5, 1.5)).clamp(0.0, MOST_WINGS);
    (beta, at(WIDTH, j) + WIDTH.1 * dj.clamp(-1.5, 1.5), sigma)
}

/// A profile of given wings at steps of ρ, and its square times that of [`FLATNESS`].
struct Table {
    values: Vec<[f64; 2]>,
}

impl Table {
    fn new(inverse_beta: f64, width2: f64, step: f64) -> Self {
        let value = |i: usize| profile((step * i as f64).powi(2) / width2, inverse_beta);
        let values = (0..PLACES + 2).map(value).map(|m| [m, (FLATNESS * m).powi(2)]);
        Self { values: values.collect() }
    }

    /// The profile at a sample, and the variance of a pixel.
    fn at(&self, sample: &Sample) -> (f64, f64) {
        let [[m, s], [next, next_s]] = [self.values[sample.place], self.values[sample.place + 1]];
        let variance = sample.noise2 + s + sample.beyond * (next_s - s);
        (m + sample.beyond * (next - m), variance)
    }

    /// The height, the sky and χ² of a star.
    fn fit(&self, samples: &[Sample]) -> (f64, f64, f64) {
        let [mut w, mut wm, mut wmm, mut wv, mut wvm, mut wvv] = [0.0; 6];
        for sample in samples {
            let (m, variance) = self.at(sample);
            let weight = sample.weight / variance;
            w += weight;
            wm += weight * m;
            wmm += weight * m * m;
            wv += weight * sample.value;
            wvm += weight * sample.value * m;
            wvv += weight * sample.value * sample.value;
        }
        let determinant = w * wmm - wm * wm;
        let amplitude = (w * wvm - wm * wv) / determinant;
        let sky = (wv - amplitude * wm) / w;
        (amplitude, sky, wvv - amplitude * wvm - sky * wv)
    }
}

#[cfg(test)]
#[cfg(feature = "simulate")]
mod tests {
    use crate::seeing;
    use crate::simulate::{Psf, SimulationOptions, simulate};

    #[test]
    fn wings_of_simulated_stars_are_found() {
        for (fwhm, density) in [(2.4, 3.0), (3.5, 3.0), (3.5, 30.0), (5.0, 3.0)] {
            for (psf, expected) in [
                (Psf::Gaussian, 0.0),
                (Psf::Moffat { beta: 4.0 }, 0.25),
                (Psf::Moffat { beta: 3.0 }, 1.0 / 3.0),
            ] {
                let options = SimulationOptions {
                    width: 300,
                    height: 300,
                    psf,
                    reference_fwhm: fwhm,
                    density,
                    ..SimulationOptions::default()
                };
                let pair = simulate(&options).unwrap();
                let seeing = seeing::measure(pair.reference.view(), &pair.reference_mask).unwrap();
                let wings = seeing.wings.unwrap();
                println!("{fwhm} {density} {psf:?}: {wings:?} from {}", seeing.stars);
                // Pixels, and neighbours in the crowded field, add to the errors of the noise.
                assert!(
                    (wings.inverse_beta - expected).abs() < 3.0 * wings.sigma + 0.05,
                    "{fwhm} {density} {psf:?}: {wings:?}"
                );
            }
        }
    }
}
