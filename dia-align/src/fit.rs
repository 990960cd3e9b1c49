//! The map that pairs of places tell: weighted least squares that outliers do not bend.

use dia_core::robust::median;
use faer::linalg::solvers::{DenseSolveCore, Solve};
use faer::{Mat, Side};

use crate::PlaneMap;
use crate::map::{monomials, terms};

/// Which maps are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A shift, a rotation and one scale, after a mirror image or not: four parameters.
    Similarity {
        /// Whether the columns are reversed first.
        mirrored: bool,
    },
    /// Also shear and two scales: six.
    Affine,
    /// Polynomials of degree 2: twelve.
    Quadratic,
    /// Polynomials of degree 3: twenty.
    Cubic,
}

/// Parameters of the largest model.
const MOST: usize = 20;

impl Model {
    /// Number of parameters.
    pub fn parameters(self) -> usize {
        match self {
            Self::Similarity { .. } => 4,
            Self::Affine => 6,
            Self::Quadratic => 12,
            Self::Cubic => MOST,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Similarity { .. } => "similarity",
            Self::Affine => "affine",
            Self::Quadratic => "quadratic",
            Self::Cubic => "cubic",
        }
    }

    fn degree(self) -> usize {
        match self {
            Self::Similarity { .. } | Self::Affine => 1,
            Self::Quadratic => 2,
            Self::Cubic => 3,
        }
    }

    /// ∂u/∂θ and ∂v/∂θ at scaled coordinates.
    fn rows(self, x: f64, y: f64) -> [[f64; MOST]; 2] {
        let (mut u, mut v) = ([0.0; MOST], [0.0; MOST]);
        if let Self::Similarity { mirrored } = self {
            let x = if mirrored { -x } else { x };
            u[..4].copy_from_slice(&[1.0, 0.0, x, -y]);
            v[..4].copy_from_slice(&[0.0, 1.0, y, x]);
        } else {
            let n = terms(self.degree());
            let at = monomials(x, y);
            u[..n].copy_from_slice(&at[..n]);
            v[n..2 * n].copy_from_slice(&at[..n]);
        }
        [u, v]
    }

    fn map(self, centre: (f64, f64), scale: f64, theta: &[f64]) -> PlaneMap {
        if let Self::Similarity { mirrored } = self {
            let sign = if mirrored { -1.0 } else { 1.0 };
            let [c, d, a, b] = [theta[0], theta[1], theta[2], theta[3]];
            PlaneMap::polynomial(1, centre, scale, [&[c, sign * a, -b], &[d, sign * b, a]])
        } else {
            let (u, v) = theta.split_at(terms(self.degree()));
            PlaneMap::polynomial(self.degree(), centre, scale, [u, v])
        }
    }
}

/// A fitted map, with what is known of its errors.
#[derive(Clone, Debug)]
pub struct FittedMap {
    /// The map.
    pub map: PlaneMap,
    /// What it was allowed to be.
    pub model: Model,
    /// Scatter of the pairs about it in pixels of the image that it leads to, in one coordinate.
    pub residual: f64,
    /// Number of pairs that have any weight.
    pub used: usize,
    /// Covariance of the model's parameters.
    covariance: Mat<f64>,
}

/// Where the loss of Tukey (Beaton & Tukey 1974, Technometrics 16, 147) has no weight left, in σ; efficiency is 95 % for Gaussian errors.
const TUKEY: f64 = 4.685;

/// Least scatter that is believed, in pixels: centroids are no better.
const LEAST_SCATTER: f64 = 0.005;

/// Pairs from which on a shear is fitted.
pub(crate) const FEWEST_AFFINE: usize = 8;

/// Pairs from which on distortions are.
const FEWEST_QUADRATIC: usize = 30;

/// By how much a quadratic map has to lower χ² for each of its six more parameters: chance does so by 1 ± 0.6.
const GAIN: f64 = 6.0;

/// Pairs count no more than those that are this many σ off.
const OUTLIER: f64 = 3.5;

/// Passes of reweighting at most; they end when the scatter changes by less than this part of itself.
const SETTLED: f64 = 1e-4;

/// The most passes.
const PASSES: usize = 12;

/// From the median of |r| of one coordinate to σ.
const MAD: f64 = 1.4826;

impl FittedMap {
    /// Fits pairs of places, ((x, y), (u, v)), with weights of Tukey's loss about their own scatter.
    ///
    /// `None` if there are not enough pairs, or they lie on a line.
    pub fn of(pairs: &[[(f64, f64); 2]], model: Model) -> Option<Self> {
        let p = model.parameters();
        if 2 * pairs.len() < p {
            return None;
        }
        let (centre, scale) = extent(pairs)?;
        let at = |(x, y): (f64, f64)| ((x - centre.0) / scale, (y - centre.1) / scale);
        let mut weights = vec![1.0; pairs.len()];
        let mut sigma = f64::INFINITY;
        let mut found = None;
        for _ in 0..PASSES {
            let mut normal = Mat::<f64>::zeros(p, p);
            let mut right = Mat::<f64>::zeros(p, 1);
            for (pair, weight) in pairs.iter().zip(&weights) {
                let (x, y) = at(pair[0]);
                for (row, value) in model.rows(x, y).iter().zip([pair[1].0, pair[1].1]) {
                    for i in 0..p {
                        right[(i, 0)] += weight * row[i] * value;
                        for j in 0..p {
                            normal[(i, j)] += weight * row[i] * row[j];
                        }
                    }
                }
            }
            let factor = normal.llt(Side::Lower).ok()?;
            let theta: Vec<f64> = factor.solve(&right).col(0).iter().copied().collect();
            let map = model.map(centre, scale, &theta);
            let miss = |pair: &[(f64, f64); 2]| {
                let (u, v) = map.place(pair[0].0, pair[0].1);
                (pair[1].0 - u, pair[1].1 - v)
            };
            let misses: Vec<(f64, f64)> = pairs.iter().map(miss).collect();
            let mut sizes: Vec<f64> =
                misses.iter().flat_map(|(du, dv)| [du.abs(), dv.abs()]).collect();
            // Of few pairs, most of the freedom is the map's.
            let freedom = (2 * pairs.len()) as f64 / (2 * pairs.len() - p).max(1) as f64;
            let scatter = (MAD * median(&mut sizes)? * freedom.sqrt()).max(LEAST_SCATTER);
            let settled = (scatter - sigma).abs() < SETTLED * scatter;
            sigma = scatter;
            let squares = misses.iter().map(|(du, dv)| (du * du + dv * dv) / (sigma * sigma));
            weights =
                squares.map(|square| (1.0 - square / (TUKEY * TUKEY)).max(0.0).powi(2)).collect();
            found = Some((map, factor));
            if settled {
                break;
            }
        }
        let (map, factor) = found?;
        let used = weights.iter().filter(|weight| **weight > 0.0).count();
        let covariance = factor.inverse() * faer::Scale(sigma * sigma);
        Some(Self { map, model, residual: sigma, used, covariance })
    }

    /// The same, of the model that the pairs bear out: a similarity for few, an affine map from 8 pairs on, and where `quadratic` allows it and they show it, one of degree 2.
    pub fn best(pairs: &[[(f64, f64); 2]], mirrored: bool, quadratic: bool) -> Option<Self> {
        let few = pairs.len() < FEWEST_AFFINE;
        let plain = if few { Model::Similarity { mirrored } } else { Model::Affine };
        let plain = Self::of(pairs, plain)?;
        if !quadratic || pairs.len() < FEWEST_QUADRATIC {
            return Some(plain);
        }
        let added = (Model::Quadratic.parameters() - Model::Affine.parameters()) as f64;
        let gain = |bent: &Self| {
            (plain.cost(pairs, plain.residual) - bent.cost(pairs, plain.residual)) / added
        };
        let bent = Self::of(pairs, Model::Quadratic).filter(|bent| gain(bent) > GAIN);
        Some(bent.unwrap_or(plain))
    }

    /// Σ r²/σ² over both coordinates of all pairs, of which each counts no more than an outlier does.
    fn cost(&self, pairs: &[[(f64, f64); 2]], sigma: f64) -> f64 {
        let costs = pairs.iter().map(|[(x, y), (u, v)]| {
            let (at_u, at_v) = self.map.place(*x, *y);
            let square = ((u - at_u).powi(2) + (v - at_v).powi(2)) / (sigma * sigma);
            square.min(OUTLIER * OUTLIER)
        });
        costs.sum()
    }

    /// The covariance of the place that (x, y) is carried to: of u, of both, and of v, in square pixels.
    pub fn covariance_at(&self, x: f64, y: f64) -> [f64; 3] {
        let (centre, scale) = self.map.coordinates();
        let rows = self.model.rows((x - centre.0) / scale, (y - centre.1) / scale);
        let p = self.model.parameters();
        let product = |a: usize, b: usize| -> f64 {
            (0..p)
                .flat_map(|i| (0..p).map(move |j| (i, j)))
                .map(|(i, j)| rows[a][i] * self.covariance[(i, j)] * rows[b][j])
                .sum()
        };
        [product(0, 0), product(0, 1), product(1, 1)]
    }
}

/// The middle of the first places, and half of their larger extent; `None` where they are one.
fn extent(pairs: &[[(f64, f64); 2]]) -> Option<((f64, f64), f64)> {
    let range = |of: fn(&[(f64, f64); 2]) -> f64| {
        let values = pairs.iter().map(of);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
    };
    let ((x0, x1), (y0, y1)) = (range(|pair| pair[0].0), range(|pair| pair[0].1));
    let scale = 0.5 * (x1 - x0).max(y1 - y0);
    (scale > 0.0 && scale.is_finite()).then_some(((0.5 * (x0 + x1), 0.5 * (y0 + y1)), scale))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal, Uniform};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::{FittedMap, Model};
    use crate::PlaneMap;

    fn truth() -> PlaneMap {
        PlaneMap::affine([[20.0, 0.98, 0.1], [-5.0, -0.1, 0.99]])
    }

    /// Pairs of the truth with a scatter of 0.1 pixels, and every fifth far off.
    fn pairs(seed: u64, count: usize) -> Vec<[(f64, f64); 2]> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (place, noise) = (Uniform::new(0.0, 500.0).unwrap(), Normal::new(0.0, 0.1).unwrap());
        let mut pair = |k: usize| {
            let (x, y) = (place.sample(&mut rng), place.sample(&mut rng));
            let (u, v) = truth().place(x, y);
            let off = if k % 5 == 4 { 2.0 } else { 0.0 };
            [(x, y), (u + off + noise.sample(&mut rng), v + noise.sample(&mut rng))]
        };
        (0..count).map(&mut pair).collect()
    }

    #[test]
    fn errors_are_those_of_the_covariance_with_a_fifth_of_outliers() {
        let (mut square, mut count) = (0.0, 0.0);
        for seed in 0..200 {
            let fitted = FittedMap::of(&pairs(seed, 60), Model::Affine).unwrap();
            // Outliers make the median absolute deviation larger by a seventh.
            assert!((0.06..0.18).contains(&fitted.residual), "{}", fitted.residual);
            for (x, y) in [(0.0, 0.0), (250.0, 250.0), (499.0, 100.0)] {
                let ((u, v), (tu, tv)) = (fitted.map.place(x, y), truth().place(x, y));
                let [uu, _, vv] = fitted.covariance_at(x, y);
                square += (u - tu).powi(2) / uu + (v - tv).powi(2) / vv;
                count += 2.0;
            }
        }
        let pull = f64::sqrt(square / count);
        assert!((0.85..1.15).contains(&pull), "{pull}");
    }

    #[test]
    fn every_model_finds_what_it_can_be() {
        let exact = |map: &PlaneMap| -> Vec<[(f64, f64); 2]> {
            let place = |k: usize| ((37 * k % 101) as f64, (53 * k % 97) as f64);
            (0..20).map(|k| [place(k), map.place(place(k).0, place(k).1)]).collect()
        };
        let mirrored = PlaneMap::affine([[3.0, -0.6, -0.8], [1.0, -0.8, 0.6]]);
        let bent = PlaneMap::polynomial(
            2,
            (50.0, 50.0),
            50.0,
            [&[1.0, 50.0, 2.0, 0.4, 0.3, -0.2], &[2.0, -2.0, 51.0, 0.1, -0.4, 0.3]],
        );
        for (map, model) in [
            (&mirrored, Model::Similarity { mirrored: true }),
            (&mirrored, Model::Affine),
            (&bent, Model::Quadratic),
        ] {
            let fitted = FittedMap::of(&exact(map), model).unwrap();
            for (x, y) in [(0.0, 0.0), (90.0, 30.0)] {
                let ((u, v), (tu, tv)) = (fitted.map.place(x, y), map.place(x, y));
                assert!((u - tu).hypot(v - tv) < 1e-9, "{model:?}");
            }
        }
    }

    #[test]
    fn pairs_that_do_not_determine_a_map_give_none() {
        let line: Vec<_> = (0..9).map(|k| [(f64::from(k), 2.0), (f64::from(k), 3.0)]).collect();
        assert!(FittedMap::of(&line, Model::Affine).is_none());
        assert!(FittedMap::of(&line[..1], Model::Similarity { mirrored: false }).is_none());
        assert!(FittedMap::of(&[], Model::Affine).is_none());
    }
}
