//! Linear sums of a difference and their exact covariances.

use dia_core::{Design, Kernel};

use crate::Scene;
use crate::filter::Filter;
use crate::offsets::{cut, dot, masked, offsets, reach};
use crate::place::Place;
use crate::spectrum::{convolution, correlation, shifted};

/// Weights w(u) of D(p + u), zero where the difference is missing, with what they are for the reference and for the fit.
#[derive(Clone, Debug)]
pub(crate) struct LinearSum {
    y: usize,
    x: usize,
    filter: Filter,
    /// a = Aᵀ w over all pixels, and over those that the fit saw; empty without a covariance of the fit.
    functional: Vec<f64>,
    fitted: Vec<f64>,
    /// b: what the sum of a point source of unit flux gains with the parameters, whose kernel is its shape.
    of_shape: Vec<f64>,
}

/// The least variance, of that of the images' own noise: what the fit is said to have taken away may be too much.
const LEAST: f64 = 0.1;

impl LinearSum {
    pub(crate) fn new(
        scene: &Scene<'_>,
        (y, x): (usize, usize),
        weights: Kernel,
        place: &Place,
    ) -> Self {
        let filter = Filter::new(weights, &place.kernel);
        let (functional, fitted) = if scene.covariance.is_some() {
            let seen = |dy, dx| filter.weights.at(dy, dx) == 0.0 || scene.is_fitted(y, x, (dy, dx));
            let all = functional(scene, y, x, &filter.weights);
            let fitted = if offsets(&filter.weights).all(|(dy, dx)| seen(dy, dx)) {
                all.clone()
            } else {
                functional(scene, y, x, &masked(&filter.weights, seen))
            };
            (all, fitted)
        } else {
            (Vec::new(), Vec::new())
        };
        Self { y, x, filter, functional, fitted, of_shape: Vec::new() }
    }

    /// The same for a point source at an offset (dy, dx) from the pixel, with the error of the shape that it is taken to have.
    ///
    /// P_n = P_r ⊗ K/P: with parameters that are wrong by δx, wᵀP_n is wrong by bᵀδx, b = (wᵀ(basis ⊗ P_r) − wᵀP_n c)/P and cᵀx = P. A star is as uncertain as one of
    /// the reference that has its flux, but for what the scale alone does.
    pub(crate) fn of_point(
        self,
        scene: &Scene<'_>,
        place: &Place,
        (dy, dx): (f64, f64),
        psf: &Kernel,
    ) -> Self {
        if scene.covariance.is_none() {
            return self;
        }
        let design = scene.design;
        let weights = &self.filter.weights;
        let (up, right) = (dy - place.displacement.0, dx - place.displacement.1);
        let half_width = weights.half_width() + design.half_width();
        let star = shifted(&place.reference_psf, up, right, half_width);
        let scale = place.kernel.photometric_scale();
        let mut b = of_light(design, (self.y, self.x), weights, &star);
        let sum = dot(weights, psf);
        let c = design.photometric_scale_functional_at(self.y, self.x);
        b.iter_mut().zip(c).for_each(|(b, c)| *b = (*b - sum * c) / scale);
        Self { of_shape: b, ..self }
    }

    /// Σ_u w(u) D(p + u).
    pub(crate) fn value(&self, scene: &Scene<'_>) -> f64 {
        self.sum(&self.filter.weights, |dy, dx, y, x| {
            self.filter.weights.at(dy, dx) * scene.difference_at(y, x).unwrap_or(0.0)
        })
    }

    /// The variance of the sum, for a point source of flux `flux` in ADU and shape `psf` whose own photons the target's variance does not know.
    pub(crate) fn variance(&self, scene: &Scene<'_>, flux: f64, psf: &Kernel) -> f64 {
        let own = self.images(scene, self);
        let photons = flux * scene.photon * self.products(self, psf);
        // Of a star that has faded there are fewer photons than the model has, but never none.
        (own + photons + self.fit(scene, self) + self.shape(scene, flux)).max(LEAST * own)
    }

    /// What the error of the shape adds for a flux f: f²bᵀH⁻¹b + 2f (a − a_u)ᵀH⁻¹b.
    fn shape(&self, scene: &Scene<'_>, flux: f64) -> f64 {
        let Some(covariance) = scene.covariance.filter(|_| !self.of_shape.is_empty()) else {
            return 0.0;
        };
        // One product with H⁻¹, which takes as many operations as it has elements, instead of two.
        let mut left = self.unseen();
        left.iter_mut().zip(&self.of_shape).for_each(|(a, b)| *a = flux * (flux * b + 2.0 * *a));
        covariance.product(&left, &self.of_shape)
    }

    /// a − a_u.
    fn unseen(&self) -> Vec<f64> {
        self.functional.iter().zip(&self.fitted).map(|(a, u)| a - u).collect()
    }

    /// Σ_u w_a(u) w_b(u) t(u).
    fn products(&self, other: &Self, shape: &Kernel) -> f64 {
        let (a, b) = (&self.filter.weights, &other.filter.weights);
        offsets(a).map(|(y, x)| a.at(y, x) * b.at(y, x) * shape.at(y, x)).sum()
    }

    /// The covariance of two sums around the same pixel, with the photons of a point source of flux `flux` and shape `psf`.
    pub(crate) fn covariance(
        &self,
        scene: &Scene<'_>,
        other: &Self,
        (flux, psf): (f64, &Kernel),
    ) -> f64 {
        let photons = flux.max(0.0) * scene.photon * self.products(other, psf);
        self.images(scene, other) + photons + self.fit(scene, other)
    }

    /// Σ w_a w_b V_n + Σ c_a c_b V_r, what the noise of the images makes.
    fn images(&self, scene: &Scene<'_>, other: &Self) -> f64 {
        let target = self.sum(&self.filter.weights, |dy, dx, y, x| {
            let product = self.filter.weights.at(dy, dx) * other.filter.weights.at(dy, dx);
            product * scene.target_variance_at(y, x)
        });
        // Those of two sums may reach differently far.
        let (a, b) = (&self.filter.reference_weights, &other.filter.reference_weights);
        let shorter = if a.half_width() < b.half_width() { a } else { b };
        let reference = self.sum(shorter, |dy, dx, y, x| {
            a.at(dy, dx) * b.at(dy, dx) * scene.reference_variance_at(y, x)
        });
        target + reference
    }

    /// What the error of the fit adds: aᵀH⁻¹b − a_uᵀH⁻¹b − aᵀH⁻¹b_u.
    ///
    /// D = y − A H⁻¹A_uᵀ W y with A_u the rows that the fit used, and W C = 1 there. Where the fit did not look, its error adds to that of the difference;
    /// where it did, it took the same away.
    fn fit(&self, scene: &Scene<'_>, other: &Self) -> f64 {
        scene.covariance.map_or(0.0, |covariance| {
            let unseen = self.unseen();
            let outside = if unseen.iter().all(|a| *a == 0.0) {
                0.0
            } else {
                covariance.product(&unseen, &other.functional)
            };
            outside - covariance.product(&self.functional, &other.fitted)
        })
    }

    /// The covariance with a sum over the reference's pixels of `weights` around (y, x): −Σ w_r c V_r + aᵀH⁻¹A_uᵀW K V_r w_r.
    ///
    /// The first is what the difference has of that noise. The second is what the fit, which saw it, has taken out of the difference again: without it, a bright star that rules the fit would have
    /// a flux of less than no variance.
    pub(crate) fn reference_covariance(
        &self,
        scene: &Scene<'_>,
        place: &Place,
        (y, x): (usize, usize),
        weights: &Kernel,
    ) -> f64 {
        let (up, left) = (y as isize - self.y as isize, x as isize - self.x as isize);
        let h = weights.half_width() as isize;
        let through = &self.filter.reference_weights;
        let direct = self.sum(through, |dy, dx, py, px| {
            let (wy, wx) = (dy - up, dx - left);
            if wy.abs() > h || wx.abs() > h {
                return 0.0;
            }
            through.at(dy, dx) * weights.at(wy, wx) * scene.reference_variance_at(py, px)
        });
        let taken = scene.covariance.map_or(0.0, |covariance| {
            let seen = seen_by_fit(scene, place, (y, x), weights);
            covariance.product(&self.functional, &functional(scene, y, x, &seen))
        });
        taken - direct
    }

    fn sum(&self, support: &Kernel, term: impl Fn(isize, isize, isize, isize) -> f64) -> f64 {
        let (y, x) = (self.y as isize, self.x as isize);
        offsets(support).map(|(dy, dx)| term(dy, dx, y + dy, x + dx)).sum()
    }
}

/// W K V_r w_r around (y, x), at the pixels that the fit saw: how much they weigh of the noise that a sum of `weights` over the reference has.
fn seen_by_fit(
    scene: &Scene<'_>,
    place: &Place,
    (y, x): (usize, usize),
    weights: &Kernel,
) -> Kernel {
    let weights = cut(weights, reach(weights, 1e-3));
    // The wings carry a percent of the light over thousands of pixels.
    let kernel = cut(&place.kernel, scene.design.inner_half_width());
    let (py, px) = (y as isize, x as isize);
    let noise = Kernel::from_fn(weights.half_width(), |dy, dx| {
        weights.at(dy, dx) * scene.reference_variance_at(py + dy, px + dx)
    });
    let carried = convolution(&noise, &kernel, weights.half_width() + kernel.half_width());
    let squares = kernel.squared();
    // V_r hardly varies over a kernel: that of the pixel itself.
    let through = squares.photometric_scale();
    Kernel::from_fn(carried.half_width(), |dy, dx| {
        if !scene.is_fitted(y, x, (dy, dx)) {
            return 0.0;
        }
        let variance = scene.target_variance_at(py + dy, px + dx)
            + through * scene.reference_variance_at(py + dy, px + dx);
        if variance > 0.0 { carried.at(dy, dx) / variance } else { 0.0 }
    })
}

/// a with aᵀ x = Σ_u w(u) M(p + u); the polynomials of kernel and background are those at p, which hardly vary over the weights.
fn functional(scene: &Scene<'_>, y: usize, x: usize, weights: &Kernel) -> Vec<f64> {
    let design = scene.design;
    let around = scene.reference_around(y, x, weights.half_width() + design.half_width());
    let mut a = of_light(design, (y, x), weights, &around);
    if let Some(background) = design.background() {
        let of_background = design.split_mut(&mut a).1;
        background.evaluate(y, x, of_background);
        let sum = weights.photometric_scale();
        for phi in of_background {
            *phi *= sum;
        }
    }
    a
}

/// The part of [`functional`] that belongs to the kernel, for given light of the reference around (y, x).
fn of_light(
    design: &Design,
    (y, x): (usize, usize),
    weights: &Kernel,
    around: &Kernel,
) -> Vec<f64> {
    let mut a = vec![0.0; design.ncols()];
    let mut terms = vec![0.0; design.variation().len()];
    design.variation().evaluate(y, x, &mut terms);
    // Σ_u w(u) R(p + u − k) for all k of the kernel.
    let light = correlation(weights, around, design.half_width());
    let gradients: Vec<f64> =
        terms.iter().flat_map(|t| light.pixels().iter().map(move |light| t * light)).collect();
    design.project(&gradients, &mut a);
    a
}

#[cfg(test)]
mod tests {
    use dia_core::{Design, Image, Kernel, KernelBasis, Mask, MaskPlanes};

    use super::{LinearSum, functional};
    use crate::offsets::dot;
    use crate::place::Place;
    use crate::scene::tests::{Fixture, pseudo_random};
    use crate::spectrum::{convolution, shifted};

    /// A difference of unequal noise everywhere, and a kernel that is not symmetric.
    fn fixture() -> Fixture {
        let mut values = pseudo_random(7);
        let design = Design::new(30, 34, KernelBasis::delta(2), Some(1)).unwrap();
        let parameters: Vec<f64> = (0..design.ncols()).map(|_| values()).collect();
        let mut plane = |offset: f64| Image::from_fn(30, 34, |_, _| (offset + values()) as f32);
        Fixture {
            difference: plane(0.0),
            target_variance: plane(3.0),
            reference_variance: plane(2.0),
            reference: plane(10.0),
            mask: Mask::good(30, 34),
            parameters,
            design,
            ..Fixture::empty(30, 34)
        }
    }

    #[test]
    fn variance_is_the_explicit_sum_over_all_pairs_of_pixels() {
        let fixture = fixture();
        let scene = fixture.scene();
        let mut values = pseudo_random(3);
        let weights = Kernel::from_fn(3, |_, _| values());
        let kernel = scene.kernel_at(14.0, 15.0);
        let place = Place::at(&scene, 14.0, 15.0).unwrap();
        let sum = LinearSum::new(&scene, (14, 15), weights.clone(), &place);
        // Cov(D(p), D(q)) = δ_pq V_n(p) + Σ_s K(p − s) K(q − s) V_r(s), by brute force.
        let all: Vec<(isize, isize)> =
            (-3..=3).flat_map(|y| (-3..=3).map(move |x| (y, x))).collect();
        let k = |y: isize, x: isize| {
            if y.abs() <= 2 && x.abs() <= 2 { kernel.at(y, x) } else { 0.0 }
        };
        let (mut expected, mut value) = (0.0, 0.0);
        for (py, px) in &all {
            value += weights.at(*py, *px) * scene.difference_at(14 + py, 15 + px).unwrap();
            for (qy, qx) in &all {
                let mut covariance = 0.0;
                if (py, px) == (qy, qx) {
                    covariance += scene.target_variance_at(14 + py, 15 + px);
                }
                for (sy, sx) in (-5..=5_isize).flat_map(|y| (-5..=5_isize).map(move |x| (y, x))) {
                    covariance += k(py - sy, px - sx)
                        * k(qy - sy, qx - sx)
                        * scene.reference_variance_at(14 + sy, 15 + sx);
                }
                expected += weights.at(*py, *px) * weights.at(*qy, *qx) * covariance;
            }
        }
        let got = sum.variance(&scene, 0.0, &Kernel::zero(3));
        // What is cut off the reference's weights is 1e-5 of their squares.
        assert!((got / expected - 1.0).abs() < 1e-5, "{got} {expected}");
        assert!((sum.value(&scene) - value).abs() < 1e-12);
        // Photons of a source: Σ w² f P/gain.
        let photons = Fixture { photon: 0.5, ..fixture.clone() };
        let psf = Kernel::gaussian(3, 1.0);
        let more = sum.variance(&photons.scene(), 10.0, &psf) - got;
        let squares: f64 =
            weights.squared().pixels().iter().zip(psf.pixels()).map(|(a, b)| a * b).sum();
        assert!((more - 5.0 * squares).abs() < 1e-12 * got);
    }

    #[test]
    fn the_functional_of_the_fit_is_the_weighted_model() {
        let fixture = fixture();
        let scene = fixture.scene();
        let mut values = pseudo_random(5);
        let weights = Kernel::from_fn(3, |_, _| values());
        let a = functional(&scene, 14, 15, &weights);
        let of_fit: f64 = a.iter().zip(&fixture.parameters).map(|(a, x)| a * x).sum();
        let kernel = scene.kernel_at(14.0, 15.0);
        let mut expected = 0.0;
        for (y, x) in (-3..=3_isize).flat_map(|y| (-3..=3_isize).map(move |x| (y, x))) {
            let mut model = scene.design.background_at(&fixture.parameters, 14, 15);
            for (ky, kx) in (-2..=2_isize).flat_map(|y| (-2..=2_isize).map(move |x| (y, x))) {
                model += kernel.at(ky, kx) * scene.reference_at(14 + y - ky, 15 + x - kx);
            }
            expected += weights.at(y, x) * model;
        }
        // 49 · 25 products below 11 by Fourier transforms.
        assert!((of_fit - expected).abs() < 1e-10, "{of_fit} {expected}");
    }

    #[test]
    fn the_fit_adds_its_error_where_it_did_not_look_and_takes_it_away_where_it_did() {
        let mut fixture = fixture();
        let weights = Kernel::gaussian(3, 1.2);
        let flat = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| 2e-5 * a * b).sum();
        let variance = |fixture: &Fixture, with: bool| {
            let mut scene = fixture.scene();
            if with {
                scene.covariance = Some(&flat);
            }
            let place = Place::at(&scene, 14.0, 15.0).unwrap();
            let sum = LinearSum::new(&scene, (14, 15), weights.clone(), &place);
            let a = functional(&scene, 14, 15, &weights);
            (sum.variance(&scene, 0.0, &weights), flat(&a, &a))
        };
        let (bare, _) = variance(&fixture, false);
        let (seen, term) = variance(&fixture, true);
        for y in 0..30 {
            for x in 0..34 {
                fixture.mask.insert(y, x, MaskPlanes::VARIABLE);
            }
        }
        let (unseen, _) = variance(&fixture, true);
        assert!(term > 1e-3 * bare && term < 0.5 * bare, "{term} {bare}");
        // Sums of a thousand terms.
        assert!((seen - (bare - term)).abs() < 1e-10 * bare);
        assert!((unseen - (bare + term)).abs() < 1e-10 * bare);
    }
    #[test]
    fn the_error_of_the_shape_is_that_of_the_derivative() {
        let mut fixture = Fixture::empty(40, 40);
        // A Gaussian kernel, of which the parameters may be wrong in each pixel.
        let kernel = Kernel::gaussian(4, 1.3);
        fixture.design = Design::new(40, 40, KernelBasis::delta(4), None).unwrap();
        fixture.parameters = kernel.pixels().to_vec();
        let flat = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| 1e-6 * a * b).sum();
        let mut scene = fixture.scene();
        scene.covariance = Some(&flat);
        let place = Place::at(&scene, 20.0, 20.0).unwrap();
        let at = (0.2, -0.3);
        let point = place.point(at.0, at.1);
        let weights = point.weights.clone();
        let sum = LinearSum::new(&scene, (20, 20), weights.clone(), &place);
        let bare = sum.variance(&scene, 1000.0, &point.shape);
        let sum = sum.of_point(&scene, &place, at, &point.shape);
        let found = sum.variance(&scene, 1000.0, &point.shape) - bare;
        // d(wᵀP_n)/dK(k) by a change of 1e-4 of each pixel; the place of the star is held.
        let mut expected = 0.0;
        for k in 0..81 {
            let mut changed = kernel.clone();
            changed.pixels_mut()[k] += 1e-4;
            let of = |kernel: &Kernel| {
                let psf = convolution(&place.reference_psf, kernel, 20);
                let psf = shifted(&psf, at.0, at.1, weights.half_width());
                dot(&psf, &weights) / kernel.photometric_scale()
            };
            expected += 1e-6 * 1e6 * ((of(&changed) - of(&kernel)) / 1e-4).powi(2);
        }
        // Second order of 1e-4.
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");
    }
}
