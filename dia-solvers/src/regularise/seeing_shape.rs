//! The kernel between two Moffat profiles.

use std::f64::consts::PI;

use dia_core::moffat::{MOST_WINGS, MoffatTransfer};
use dia_core::seeing::Seeing;
use faer::Mat;

/// The profile of the reference's stars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReferenceStars {
    /// The second moments yy and xx, in pixels², of the Gaussian that is as wide at half maximum.
    moments: [f64; 2],
    /// 1/β and its σ.
    pub(crate) wings: [f64; 2],
    /// By how much the moments of the target's stars exceed these, and the σ of that in parts of a moment, where they were measured.
    widening: Option<([f64; 2], f64)>,
    /// The frequency in radians per pixel from which on stars do not stand out of the noise, once that is known.
    band: Option<f64>,
}

/// What is known of 1/β before a star is seen, with its σ: profiles without wings lie at 1.3 σ, β = 3 at 0.9 σ.
const WINGS: [f64; 2] = [0.2, 0.15];

/// Real stars have no Moffat profiles: σ of what 1/β is in the kernel, if it were known from the reference.
const FAMILY: f64 = 0.03;

/// σ of the difference of moments as many stars of both images tell it, in parts of the moment: a tenth of the FWHM, for two exposures through one seeing may differ by half of that.
const MEASURED: f64 = 0.2;

/// So few stars tell the half of it.
const MANY: f64 = 20.0;

/// σ, in pixels², that is left where stars are hardly wider than pixels.
const FINEST: f64 = 0.03;

/// The seeing where no star is seen, FWHM in pixels.
const UNSEEN: f64 = 3.0;

/// The least signal to noise ratio: of a single faint star.
const LEAST_SEEN: f64 = 10.0;

/// Over how much of 1/h a kernel of half-width h falls off beyond the band of the stars: at h, its ringing is a hundredth of that in the middle.
const ROLL_OFF: f64 = 1.5;

/// And no wider kernel any slower: bases hold ringing near the centre only.
const COMPACT: usize = 6;

/// Above all frequencies of pixels, in radians per pixel.
const HIGHEST: f64 = 5.0;

/// The least moment that a star is taken to have, in pixels²: FWHM 1 px.
const SHARPEST: f64 = 0.18;

impl ReferenceStars {
    /// The mean second moment in pixels².
    pub(crate) fn moment(&self) -> f64 {
        0.5 * (self.moments[0] + self.moments[1])
    }

    /// Of the seeing of the reference, and of the target.
    pub(crate) fn new(seeing: Option<&Seeing>, target: Option<&Seeing>) -> Self {
        let of_width = |fwhm: f64| fwhm * fwhm / (8.0 * std::f64::consts::LN_2);
        let of_stars = |seeing: &Seeing| {
            let [xx, _, yy] = seeing.covariance;
            [yy, xx].map(|moment| moment.max(SHARPEST))
        };
        let moments = seeing.map_or([of_width(UNSEEN); 2], of_stars);
        let widening = seeing.zip(target).map(|(reference, target)| {
            let stars = reference.stars.min(target.stars).max(1) as f64;
            let target = of_stars(target);
            ([0, 1].map(|i| target[i] - moments[i]), MEASURED * (1.0 + MANY / stars).sqrt())
        });
        let mut wings = WINGS;
        if let Some(measured) = seeing.and_then(|seeing| seeing.wings) {
            let [before, after] =
                [WINGS[1], measured.sigma.hypot(FAMILY)].map(|sigma| sigma.powi(-2));
            let mean = (before * WINGS[0] + after * measured.inverse_beta) / (before + after);
            wings = [mean, (before + after).powf(-0.5)];
        }
        Self { moments, wings, widening, band: None }
    }

    /// The same, where the light of all together is known to this signal to noise ratio: at the end of their band, it is one in the power of a single frequency.
    pub(crate) fn seen_with(self, signal_to_noise: f64) -> Self {
        let least = -signal_to_noise.max(LEAST_SEEN).ln();
        let transfer = MoffatTransfer::new(self.wings[0], self.moment() * HIGHEST * HIGHEST);
        let (mut low, mut high) = (0.0, HIGHEST);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            let seen = transfer.ln(self.moment() * middle * middle)[0] > least;
            (low, high) = if seen { (middle, high) } else { (low, middle) };
        }
        Self { band: Some(low), ..self }
    }

    /// Whether that is still to be said.
    pub(crate) fn is_new(&self) -> bool {
        self.band.is_none()
    }

    /// What is left at s = σ_R²k² of a kernel of this half-width that ends with the band of the stars. What ends sharply there rings in pixels: over d radians per pixel, by e^(−π d r) at a distance r.
    fn within_band(&self, half_width: usize, s: f64) -> f64 {
        let Some(band) = self.band else { return 1.0 };
        let width = ROLL_OFF / half_width.clamp(1, COMPACT) as f64;
        let edge = band + 1.5 * width;
        let at = |k: f64| 1.0 + ((k - edge) / width).exp();
        at(0.0) / at((s / self.moment()).sqrt())
    }
}

/// The kernel between two profiles, with the frequencies that pixels can hold and no others.
///
/// Samples would have those beyond Nyquist folded back: below a σ of one pixel, that is another kernel. With them cut off, a width of zero is a
/// shift by a part of a pixel, and a negative second moment sharpens.
///
/// It ends at the frequencies at which no star stands out of the noise: there it would amplify noise and nothing else, by e^(Δm k²/2) where it sharpens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SeeingShape {
    reference: ReferenceStars,
    /// Centre (y, x) in pixels.
    centre: [f64; 2],
    /// By how much the second moments yy and xx of the target's Gaussian exceed those of the reference's, in pixels².
    moments: [f64; 2],
    /// 1/β.
    pub(crate) wings: f64,
}

/// Least of these moments: the highest frequency is amplified by two.
const LEAST_MOMENT: f64 = -0.14;

/// Least number of frequencies of the integrals over them. By the trapezoidal rule, what lies at twice as many pixels is folded back.
const FREQUENCIES: usize = 64;

/// Step in 1/β of differences.
const WINGS_STEP: f64 = 0.01;

/// cos k(y − c) and −∂/∂y of it at −h … h by the frequencies, with the weights of the integral.
fn waves(half_width: usize, centre: f64, frequencies: usize) -> [Mat<f64>; 2] {
    let [mut even, mut odd] = [0; 2].map(|_| Mat::zeros(2 * half_width + 1, frequencies + 1));
    for i in 0..=frequencies {
        let k = PI * i as f64 / frequencies as f64;
        let end = if i == 0 || i == frequencies { 0.5 } else { 1.0 };
        let weight = end / frequencies as f64;
        for y in 0..=2 * half_width {
            let (sine, cosine) = (k * (y as f64 - half_width as f64 - centre)).sin_cos();
            even[(y, i)] = weight * cosine;
            odd[(y, i)] = weight * k * sine;
        }
    }
    [even, odd]
}

/// The transform of a kernel at the frequencies of one quadrant, and its derivatives.
struct Transform {
    value: Mat<f64>,
    /// By s = σ_I²k².
    by_s: Mat<f64>,
    by_wings: Mat<f64>,
}

impl SeeingShape {
    pub(crate) fn round(reference: ReferenceStars, sigma: f64) -> Self {
        Self { reference, centre: [0.0; 2], moments: [sigma * sigma; 2], wings: reference.wings[0] }
    }

    /// As the stars of both images were measured, if they were.
    pub(crate) fn measured(reference: ReferenceStars) -> Option<Self> {
        let (widening, _) = reference.widening?;
        let moments = widening.map(|moment| moment.max(LEAST_MOMENT));
        Some(Self { moments, ..Self::round(reference, 0.0) })
    }

    /// The same beside another knowledge of these stars.
    pub(crate) fn of(self, reference: ReferenceStars) -> Self {
        Self { reference, ..self }
    }

    /// The moments of the target's stars.
    fn of_target(self) -> [f64; 2] {
        [0, 1].map(|i| self.reference.moments[i] + self.moments[i])
    }

    fn transform(self, half_width: usize) -> Transform {
        let frequencies = Self::frequencies(half_width);
        let k2 = |i: usize| (PI * i as f64 / frequencies as f64).powi(2);
        let (reference, target) = (self.reference.moments, self.of_target());
        let s = |moments: [f64; 2], i: usize, j: usize| moments[0] * k2(i) + moments[1] * k2(j);
        let largest =
            s(reference, frequencies, frequencies).max(s(target, frequencies, frequencies));
        let [below, above] =
            [-1.0, 1.0].map(|sign| (self.wings + sign * WINGS_STEP).clamp(0.0, MOST_WINGS));
        let [at, lower, upper] =
            [self.wings, below, above].map(|wings| MoffatTransfer::new(wings, largest));
        let (n, band) = (frequencies + 1, self.reference);
        let [mut value, mut by_s, mut by_wings] = [0; 3].map(|_| Mat::zeros(n, n));
        for j in 0..n {
            for i in 0..n {
                let (of_target, of_reference) = (s(target, i, j), s(reference, i, j));
                let [ln, slope] = at.ln(of_target);
                let of_reference_ln = at.ln(of_reference)[0];
                let ratio =
                    band.within_band(half_width, of_reference) * (ln - of_reference_ln).exp();
                let with = |transfer: &MoffatTransfer| {
                    transfer.ln(of_target)[0] - transfer.ln(of_reference)[0]
                };
                value[(i, j)] = ratio;
                by_s[(i, j)] = ratio * slope;
                by_wings[(i, j)] = ratio * (with(&upper) - with(&lower)) / (above - below);
            }
        }
        Transform { value, by_s, by_wings }
    }

    /// Frequencies for a kernel of this size.
    fn frequencies(half_width: usize) -> usize {
        FREQUENCIES.max(2 * half_width)
    }

    /// Of unit sum, and its derivatives by centre, moments, and 1/β.
    pub(crate) fn templates(self, half_width: usize) -> [Vec<f64>; 6] {
        let frequencies = Self::frequencies(half_width);
        let k2 = |i: usize| (PI * i as f64 / frequencies as f64).powi(2);
        let Transform { value, by_s, by_wings } = self.transform(half_width);
        let [y, x] = self.centre.map(|centre| waves(half_width, centre, frequencies));
        let by_moment = |of: &dyn Fn(usize, usize) -> f64| {
            Mat::from_fn(value.nrows(), value.ncols(), |i, j| by_s[(i, j)] * of(i, j))
        };
        let even = &y[0] * &value;
        [
            image(&even, &x[0]),
            image(&(&y[1] * &value), &x[0]),
            image(&even, &x[1]),
            image(&(&y[0] * by_moment(&|i, _| k2(i))), &x[0]),
            image(&(&y[0] * by_moment(&|_, j| k2(j))), &x[0]),
            image(&(&y[0] * by_wings), &x[0]),
        ]
    }

    /// Of unit sum; its derivatives by centre and moments as [`templates`](Self::templates) has them; and that by the mixed moment yx.
    pub(crate) fn changes(self, half_width: usize) -> Vec<Vec<f64>> {
        let mut changes = self.templates(half_width).to_vec();
        changes.pop();
        let frequencies = Self::frequencies(half_width);
        let [y, x] = self.centre.map(|centre| waves(half_width, centre, frequencies));
        // s has 2 m_yx k_y k_x, and the odd waves hold k.
        let mixed = self.transform(half_width).by_s * faer::Scale(-2.0);
        changes.push(image(&(&y[1] * mixed), &x[1]));
        changes
    }

    /// The largest difference of a centre, a moment or 1/β.
    pub(crate) fn distance(self, other: Self) -> f64 {
        let of = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
        let wings = (self.wings - other.wings).abs();
        of(self.centre, other.centre).max(of(self.moments, other.moments)).max(wings)
    }

    /// Moved by a step of Gauss & Newton, as far as it can be trusted; centre and widths stay within half of the radius of a kernel.
    pub(crate) fn moved(self, step: [f64; 5], radius: f64) -> Self {
        let reach = 0.5 * radius.max(1.0);
        let centre = [0, 1].map(|i| {
            let most = self.moments[i].max(0.25).sqrt();
            (self.centre[i] + step[i].clamp(-most, most)).clamp(-reach, reach)
        });
        let moments = [0, 1].map(|i| {
            let most = 0.3 + self.moments[i].abs();
            let moment = self.moments[i] + step[2 + i].clamp(-most, most);
            let least = LEAST_MOMENT.max(-0.7 * self.reference.moments[i]);
            moment.clamp(least, reach * reach)
        });
        Self { centre, moments, wings: (self.wings + step[4]).clamp(0.0, MOST_WINGS), ..self }
    }

    /// What is known of amplitude, centre, moments and 1/β, as changes of this shape with their σ: of the amplitude nothing, of a centre that it is this to a fifth of the stars' width, of the others
    /// their [`priors`](Self::priors), or of a moment that it is this to a fifth of that of the stars.
    pub(crate) fn known_changes(self) -> [[f64; 2]; 6] {
        let moment = self.of_stars();
        let [centre, width] = [0.2 * moment.sqrt(), 0.2 * moment].map(|sigma| [0.0, sigma]);
        let mut known = [[0.0, f64::INFINITY], centre, centre, width, width, width];
        self.priors().for_each(|(i, prior)| known[i] = prior);
        known
    }

    /// What is known before the fit of the change that has this place in [`templates`](Self::templates): how much of it is expected, and the σ.
    pub(crate) fn priors(self) -> impl Iterator<Item = (usize, [f64; 2])> {
        let [mean, sigma] = self.reference.wings;
        let of_moments = self.reference.widening.into_iter().flat_map(move |(widening, part)| {
            let sigma = (part * self.of_stars()).hypot(FINEST);
            [0, 1].map(|i| (3 + i, [widening[i] - self.moments[i], sigma]))
        });
        of_moments.chain([(5, [mean - self.wings, sigma])])
    }

    /// The mean moment of the target's stars.
    fn of_stars(self) -> f64 {
        0.5 * (self.of_target()[0] + self.of_target()[1])
    }

    /// What the priors add to half of χ².
    pub(crate) fn improbability(self) -> f64 {
        0.5 * self.priors().map(|(_, [change, sigma])| (change / sigma).powi(2)).sum::<f64>()
    }
}

/// The image of rows y and columns x, row by row.
fn image(y: &Mat<f64>, x: &Mat<f64>) -> Vec<f64> {
    // Columns of the transpose are rows of the image.
    let product = x * y.transpose();
    (0..product.ncols()).flat_map(|j| product.col_as_slice(j)).copied().collect()
}

#[cfg(test)]
mod tests {
    use dia_core::seeing::{Seeing, Wings};

    use super::{ReferenceStars, SeeingShape, WINGS};

    const HALF_WIDTH: usize = 14;

    fn stars(fwhm: f64, inverse_beta: f64) -> ReferenceStars {
        let moment = fwhm * fwhm / (8.0 * 2.0_f64.ln());
        let wings = Some(Wings { inverse_beta, sigma: 1e-3 });
        let covariance = [moment, 0.0, moment];
        ReferenceStars::new(Some(&Seeing { fwhm, covariance, stars: 10, wings }), None)
    }

    fn shape(inverse_beta: f64) -> SeeingShape {
        let reference = stars(3.0, inverse_beta);
        let centre = [0.3, -0.7];
        SeeingShape { reference, centre, moments: [2.1, 1.6], wings: inverse_beta }
    }

    #[test]
    fn between_gaussians_lies_a_gaussian() {
        let [kernel, ..] = shape(0.0).templates(HALF_WIDTH);
        let side = 2 * HALF_WIDTH + 1;
        for (i, value) in kernel.iter().enumerate() {
            let offset = |k: usize| k as f64 - HALF_WIDTH as f64;
            let (y, x) = (offset(i / side) - 0.3, offset(i % side) + 0.7);
            let exponent = y * y / 2.1 + x * x / 1.6;
            let expected =
                (-0.5 * exponent).exp() / (2.0 * std::f64::consts::PI * (2.1 * 1.6_f64).sqrt());
            // e^(−½ 1.6 π²) beyond Nyquist.
            assert!((value - expected).abs() < 4e-4, "{i}: {value} {expected}");
        }
    }

    #[test]
    fn the_kernel_carries_one_profile_to_the_other() {
        // Of sizes for which what lies beyond Nyquist is small.
        let (inverse_beta, reference, target) = (1.0 / 3.0, 9.0, 12.0);
        let stars = stars(reference, inverse_beta);
        let of = |fwhm: f64| fwhm * fwhm / (8.0 * 2.0_f64.ln());
        let moments = [of(target) - of(reference); 2];
        let shape =
            SeeingShape { reference: stars, centre: [0.0; 2], moments, wings: inverse_beta };
        let h = 60;
        let [kernel, ..] = shape.templates(h);
        let profile = |fwhm: f64, y: f64, x: f64| {
            // ∫ψ = π α²/(β − 1).
            let alpha2 = fwhm * fwhm / (4.0 * (2.0_f64.powf(inverse_beta) - 1.0));
            (1.0 + (y * y + x * x) / alpha2).powi(-3) * 2.0 / (std::f64::consts::PI * alpha2)
        };
        let side = 2 * h + 1;
        for (y, x) in [(0.0, 0.0), (4.0, 3.0), (0.0, 12.0), (20.0, 0.0)] {
            let at = |i: usize| [(i / side) as f64 - h as f64, (i % side) as f64 - h as f64];
            let terms = kernel.iter().enumerate().map(|(i, k)| {
                let [v, u] = at(i);
                k * profile(reference, y - v, x - u)
            });
            let (found, expected) = (terms.sum::<f64>(), profile(target, y, x));
            // The wings of the kernel beyond 60 px, a part of 10⁻³.
            assert!((found / expected - 1.0).abs() < 5e-3, "{y} {x}: {found} {expected}");
        }
    }

    #[test]
    fn derivatives_are_differences() {
        for inverse_beta in [0.05, 0.3] {
            let at = shape(inverse_beta);
            let [_, derivatives @ ..] = at.templates(HALF_WIDTH);
            let step = 1e-4;
            for (k, derivative) in derivatives.iter().enumerate() {
                let moved = |sign: f64| {
                    let mut other = at;
                    match k {
                        0 | 1 => other.centre[k] += sign * step,
                        2 | 3 => other.moments[k - 2] += sign * step,
                        _ => other.wings += sign * step,
                    }
                    other.templates(HALF_WIDTH)[0].clone()
                };
                let (below, above) = (moved(-1.0), moved(1.0));
                let largest = derivative.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
                for ((below, above), derivative) in below.iter().zip(&above).zip(derivative) {
                    let difference = (above - below) / (2.0 * step);
                    // Interpolated slopes, and for 1/β a difference over 0.02.
                    assert!(
                        (difference - derivative).abs() < 0.02 * largest,
                        "{k}: {difference} {derivative}"
                    );
                }
            }
        }
    }

    #[test]
    fn stars_that_tell_their_wings_are_believed_and_others_are_not() {
        assert!((stars(3.0, 0.0).wings[0] - 0.0).abs() < 0.01);
        assert!((stars(3.0, 0.4).wings[0] - 0.4).abs() < 0.01);
        assert_eq!(ReferenceStars::new(None, None).wings, WINGS);
    }
}
