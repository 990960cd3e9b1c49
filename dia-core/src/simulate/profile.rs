//! Point spread functions, integrated over pixels, and the stars that are drawn with them.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI};
use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Image;

/// The profile of a star before it is integrated over pixels, r being the distance from its centre.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Psf {
    /// ψ ∝ exp(−r²/2σ²), of full width 2 √(2 ln 2) σ at half maximum.
    Gaussian,
    /// ψ ∝ (1 + r²/α²)^−β, of full width 2 α √(2^{1/β} − 1) at half maximum (Moffat 1969, A&A 3, 455).
    Moffat {
        /// The exponent β, 2 to 100; turbulent air gives 2.5 to 4.8, and smaller ones have wider wings.
        beta: f64,
    },
}

/// A normalised profile ψ of elliptical contours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    psf: Psf,
    /// Geometric mean of the widths of both axes, in pixels.
    pub(super) fwhm: f64,
    /// s = xx·dx² + 2·xy·dx·dy + yy·dy² is (r/σ)² of a Gaussian and (r/α)² of a Moffat profile.
    xx: f64,
    xy: f64,
    yy: f64,
    /// σ or α along the long axis, in pixels.
    long: f64,
    /// ψ at the centre, per square pixel.
    pub(super) peak: f64,
}

impl Profile {
    pub(super) fn new(psf: Psf, fwhm: f64, ellipticity: f64, angle: f64) -> Self {
        // σ or α of the round profile, and ∫ψ/ψ(0) over the plane in units of its square.
        let (size, area) = match psf {
            Psf::Gaussian => (fwhm / (8.0 * LN_2).sqrt(), 2.0 * PI),
            Psf::Moffat { beta } => {
                (0.5 * fwhm / (2.0_f64.powf(1.0 / beta) - 1.0).sqrt(), PI / (beta - 1.0))
            }
        };
        let stretch = (1.0 - ellipticity).sqrt();
        let (long, short) = (size / stretch, size * stretch);
        let (sine, cosine) = angle.sin_cos();
        let (l, s) = (long.powi(-2), short.powi(-2));
        Self {
            psf,
            fwhm,
            xx: l * cosine * cosine + s * sine * sine,
            xy: (l - s) * sine * cosine,
            yy: l * sine * sine + s * cosine * cosine,
            long,
            peak: 1.0 / (area * size * size),
        }
    }

    /// ψ at an offset from the centre, per square pixel.
    pub(super) fn at(&self, dx: f64, dy: f64) -> f64 {
        let s = self.xx * dx * dx + 2.0 * self.xy * dx * dy + self.yy * dy * dy;
        self.peak
            * match self.psf {
                Psf::Gaussian => (-0.5 * s).exp(),
                Psf::Moffat { beta } => {
                    let base = 1.0 + s;
                    let whole = base.powi(-(beta as i32));
                    // The usual exponents do without the slow function.
                    match beta.fract() {
                        0.0 => whole,
                        0.5 => whole / base.sqrt(),
                        rest => whole * base.powf(-rest),
                    }
                }
            }
    }

    /// ∫ψ over the pixel whose centre is at an offset from the star.
    pub(super) fn over_pixel(&self, dx: f64, dy: f64) -> f64 {
        // The error of n nodes falls as (pixel/width)^2n and, in the wings of a power law, as (pixel/distance)^2n.
        let distance = dx.hypot(dy);
        if distance > 20.0_f64.max(4.0 * self.fwhm) {
            return self.at(dx, dy);
        }
        let nodes = if distance > 9.0_f64.max(3.0 * self.fwhm) {
            GAUSS_LEGENDRE_2
        } else if self.fwhm >= 3.0 {
            GAUSS_LEGENDRE_3
        } else if self.fwhm >= 1.75 {
            GAUSS_LEGENDRE_5
        } else {
            GAUSS_LEGENDRE_8
        };
        let mut integral = 0.0;
        for &(v, weight_v) in nodes {
            for &(u, weight_u) in nodes {
                integral += weight_u * weight_v * self.at(dx + u, dy + v);
            }
        }
        integral
    }

    /// The radius in pixels beyond which `flux` times this profile is below `faintest` ADU and may be left out.
    pub(super) fn radius(&self, flux: f64, faintest: f64) -> f64 {
        let contrast = (flux.abs() * self.peak / faintest).max(1.0);
        // The larger s of two: where the profile is 1/contrast, and beyond which CUT_OF_FLUX is left.
        let s = match self.psf {
            Psf::Gaussian => 2.0 * contrast.max(1.0 / CUT_OF_FLUX).ln(),
            Psf::Moffat { beta } => {
                contrast.powf(1.0 / beta).max(CUT_OF_FLUX.powf(1.0 / (1.0 - beta))) - 1.0
            }
        };
        // The pixels that this circle cuts belong to the star: their centres lie up to half a diagonal outside.
        self.long * s.sqrt() + FRAC_1_SQRT_2
    }
}

/// (node, weight) of Gauss–Legendre quadrature over [−½, ½].
pub(super) type Quadrature = &'static [(f64, f64)];

pub(super) const GAUSS_LEGENDRE_2: Quadrature =
    &[(-0.288_675_134_594_812_9, 0.5), (0.288_675_134_594_812_9, 0.5)];

pub(super) const GAUSS_LEGENDRE_3: Quadrature = &[
    (-0.387_298_334_620_741_7, 5.0 / 18.0),
    (0.0, 8.0 / 18.0),
    (0.387_298_334_620_741_7, 5.0 / 18.0),
];

pub(super) const GAUSS_LEGENDRE_5: Quadrature = &[
    (-0.453_089_922_969_332, 0.118_463_442_528_094_54),
    (-0.269_234_655_052_841_55, 0.239_314_335_249_683_23),
    (0.0, 0.284_444_444_444_444_44),
    (0.269_234_655_052_841_55, 0.239_314_335_249_683_23),
    (0.453_089_922_969_332, 0.118_463_442_528_094_54),
];

pub(super) const GAUSS_LEGENDRE_8: Quadrature = &[
    (-0.480_144_928_248_768_1, 0.050_614_268_145_188_13),
    (-0.398_333_238_706_813_4, 0.111_190_517_226_687_24),
    (-0.262_766_204_958_164_5, 0.156_853_322_938_943_64),
    (-0.091_717_321_247_824_9, 0.181_341_891_689_181),
    (0.091_717_321_247_824_9, 0.181_341_891_689_181),
    (0.262_766_204_958_164_5, 0.156_853_322_938_943_64),
    (0.398_333_238_706_813_4, 0.111_190_517_226_687_24),
    (0.480_144_928_248_768_1, 0.050_614_268_145_188_13),
];

/// The largest fraction of a star's flux that may lie beyond its pixels.
pub(super) const CUT_OF_FLUX: f64 = 5e-4;

/// The pixels of an axis of `pixels` pixels that are within `reach` of `centre`.
pub(super) fn pixels_within(centre: f64, reach: f64, pixels: usize) -> Range<usize> {
    let first = (centre - reach).ceil().max(0.0) as usize;
    let end = ((centre + reach).floor() + 1.0).clamp(0.0, pixels as f64) as usize;
    first..end.max(first)
}

/// A star as it is drawn into an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) x: f64,
    pub(super) y: f64,
    /// In ADU; negative for what is missing.
    flux: f64,
    profile: Profile,
    radius: f64,
}

impl Source {
    pub(super) fn new(x: f64, y: f64, flux: f64, profile: Profile, faintest: f64) -> Self {
        Self { x, y, flux, profile, radius: profile.radius(flux, faintest) }
    }

    /// Calls `add` with the column and the value in ADU of each of the star's pixels in row `y` of a wide image.
    pub(super) fn for_row(&self, y: usize, width: usize, mut add: impl FnMut(usize, f64)) {
        let dy = y as f64 - self.y;
        let reach = (self.radius * self.radius - dy * dy).max(0.0).sqrt();
        for x in pixels_within(self.x, reach, width) {
            add(x, self.flux * self.profile.over_pixel(x as f64 - self.x, dy));
        }
    }

    /// √(Σ_p ψ²/σ²): one over the σ of this star's flux, fitted to an image of known variance.
    pub(super) fn inverse_sigma(&self, variance: &Image<f64>) -> f64 {
        let mut sum = 0.0;
        for y in pixels_within(self.y, self.radius, variance.height()) {
            let row = variance.view().row(y);
            self.for_row(y, row.len(), |x, value| sum += value * value / row[x]);
        }
        sum.sqrt() / self.flux.abs()
    }
}

/// Adds the stars to the image; each pixel sums them in their order, whatever the number of threads.
pub(super) fn add_sources(image: &mut Image<f64>, sources: &[Source]) {
    const BAND: usize = 16;
    let (height, width) = (image.height(), image.width());
    image.pixels_mut().par_chunks_mut(BAND * width).enumerate().for_each(|(band, pixels)| {
        let rows = band * BAND..height.min((band + 1) * BAND);
        for source in sources {
            let touched = pixels_within(source.y, source.radius, height);
            for y in touched.start.max(rows.start)..touched.end.min(rows.end) {
                let row = &mut pixels[(y - rows.start) * width..][..width];
                source.for_row(y, width, |x, value| row[x] += value);
            }
        }
    });
}
