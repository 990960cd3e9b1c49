//! The flux of a point source of known profile in a difference image, by a matched filter, for benchmarks.
//!
//! With the PSF ψ (sum 1) at a place and the variance σ² of the pixels, the best estimate of a flux is
//! F = Σ ψ D/σ² / Σ ψ²/σ², and its standard deviation (Σ ψ²/σ²)^−½.

use dia_core::simulate::Psf;
use dia_core::{Image, Pixel};

/// A point source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// ADU.
    pub(crate) flux: f64,
    /// Its standard deviation in ADU.
    pub(crate) sigma: f64,
}

/// A point-spread function of given profile and width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PointSpread {
    /// The profile.
    pub(crate) psf: Psf,
    /// Full width at half maximum in pixels.
    pub(crate) fwhm: f64,
}

impl PointSpread {
    /// ψ per pixel², not yet divided by its sum, at a squared distance from the centre.
    fn profile(self, r2: f64) -> f64 {
        match self.psf {
            Psf::Gaussian => (-4.0 * std::f64::consts::LN_2 * r2 / self.fwhm.powi(2)).exp(),
            Psf::Moffat { beta } => {
                let alpha2 = self.fwhm.powi(2) / (4.0 * (2.0_f64.powf(1.0 / beta) - 1.0));
                (1.0 + r2 / alpha2).powf(-beta)
            }
        }
    }

    /// 1/Σψ over the plane.
    fn norm(self) -> f64 {
        use std::f64::consts::{LN_2, PI};
        match self.psf {
            Psf::Gaussian => 4.0 * LN_2 / (PI * self.fwhm.powi(2)),
            Psf::Moffat { beta } => {
                let alpha2 = self.fwhm.powi(2) / (4.0 * (2.0_f64.powf(1.0 / beta) - 1.0));
                (beta - 1.0) / (PI * alpha2)
            }
        }
    }
}

/// The flux at (x, y) of the difference, over the usable pixels within three half-widths; `None` if there are none.
pub(crate) fn measure<T: Pixel>(
    difference: &Image<T>,
    variance: &Image<T>,
    psf: PointSpread,
    x: f64,
    y: f64,
) -> Option<Source> {
    let view = difference.view();
    let radius = 1.5 * psf.fwhm;
    let range = |centre: f64, length: usize| {
        let first = (centre - radius).ceil().max(0.0) as usize;
        first..((centre + radius).floor() + 1.0).clamp(0.0, length as f64) as usize
    };
    let (mut signal, mut weight) = (0.0, 0.0);
    for py in range(y, view.height()) {
        for px in range(x, view.width()) {
            let (d, v) = (view.at(py, px).widen(), variance.view().at(py, px).widen());
            if d.is_finite() {
                let r2 = (py as f64 - y).powi(2) + (px as f64 - x).powi(2);
                let p = psf.norm() * psf.profile(r2);
                signal += p * d / v;
                weight += p * p / v;
            }
        }
    }
    (weight > 0.0).then(|| Source { flux: signal / weight, sigma: weight.sqrt().recip() })
}

#[cfg(test)]
mod tests {
    use dia_core::Image;
    use dia_core::simulate::Psf;

    use super::{PointSpread, measure};

    #[test]
    fn a_noiseless_star_has_its_flux() {
        let psf = PointSpread { psf: Psf::Moffat { beta: 3.0 }, fwhm: 5.0 };
        let star = |y: f64, x: f64, cy: f64, cx: f64| {
            psf.norm() * psf.profile((y - cy).powi(2) + (x - cx).powi(2))
        };
        let difference = Image::from_fn(60, 70, |y, x| {
            let (y, x) = (y as f64, x as f64);
            1000.0 * star(y, x, 20.0, 30.0) - 500.0 * star(y, x, 45.0, 12.0)
        });
        let variance = Image::filled(60, 70, 4.0);
        let left = measure(&difference, &variance, psf, 30.0, 20.0).unwrap();
        let right = measure(&difference, &variance, psf, 12.0, 45.0).unwrap();
        // The other star's wings, (1 + 31²/α²)^−3 of its peak, are all that disturbs: below a part in a thousand.
        assert!((left.flux - 1000.0).abs() < 1.0 && (right.flux + 500.0).abs() < 1.0);
        // The weights are ψ²/σ².
        assert!(left.sigma > 0.0 && (left.sigma - right.sigma).abs() < 1e-6 * left.sigma);
    }
}
