//! Point sources in a difference image, by a matched filter.
//!
//! With the PSF ψ (sum 1) at a place and the variance σ² of the pixels, the best estimate of a flux is
//! F = Σ ψ D/σ² / Σ ψ²/σ², and its standard deviation (Σ ψ²/σ²)^−½.

use dia_core::simulate::Psf;
use dia_core::{Image, Pixel};
use rayon::prelude::*;

/// A point source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Column.
    pub(crate) x: f64,
    /// Row.
    pub(crate) y: f64,
    /// ADU.
    pub(crate) flux: f64,
    /// Its standard deviation in ADU.
    pub(crate) sigma: f64,
}

impl Source {
    /// F/σ_F, negative where the source has faded.
    pub(crate) fn signal_to_noise(&self) -> f64 {
        self.flux / self.sigma
    }
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
    (weight > 0.0).then(|| Source { x, y, flux: signal / weight, sigma: weight.sqrt().recip() })
}

/// Sources of |F/σ_F| ≥ `threshold`: pixels whose filtered value is the largest within one FWHM.
pub(crate) fn detect<T: Pixel>(
    difference: &Image<T>,
    variance: &Image<T>,
    psf: PointSpread,
    threshold: f64,
) -> Vec<Source> {
    let (height, width) = difference.view().shape();
    let filtered: Vec<f64> = (0..height * width)
        .into_par_iter()
        .map(|i| {
            let (y, x) = (i / width, i % width);
            if !difference.pixels()[i].is_finite() {
                return 0.0;
            }
            measure(difference, variance, psf, x as f64, y as f64)
                .map_or(0.0, |source| source.signal_to_noise())
        })
        .collect();
    let reach = psf.fwhm.ceil() as usize;
    let largest_around = |y: usize, x: usize, value: f64| {
        let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
        rows.flat_map(|y| {
            let start = y * width;
            &filtered[start + x.saturating_sub(reach)..start + (x + reach + 1).min(width)]
        })
        .all(|other| other.abs() <= value)
    };
    let peaks = filtered.iter().enumerate().filter(|(_, s)| s.abs() >= threshold);
    peaks
        .filter(|(i, s)| largest_around(i / width, i % width, s.abs()))
        .filter_map(|(i, _)| {
            measure(difference, variance, psf, (i % width) as f64, (i / width) as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dia_core::Image;
    use dia_core::simulate::Psf;

    use super::{PointSpread, detect, measure};

    #[test]
    fn a_noiseless_star_is_found_with_its_flux() {
        let psf = PointSpread { psf: Psf::Moffat { beta: 3.0 }, fwhm: 5.0 };
        let star = |y: f64, x: f64, cy: f64, cx: f64| {
            psf.norm() * psf.profile((y - cy).powi(2) + (x - cx).powi(2))
        };
        let difference = Image::from_fn(60, 70, |y, x| {
            let (y, x) = (y as f64, x as f64);
            1000.0 * star(y, x, 20.0, 30.0) - 500.0 * star(y, x, 45.0, 12.0)
        });
        let variance = Image::filled(60, 70, 4.0);
        let found = detect(&difference, &variance, psf, 5.0);
        assert_eq!(found.len(), 2, "{found:?}");
        // The other star's wings, (1 + 31²/α²)^−3 of its peak, are all that disturbs: below a part in a thousand.
        assert!((found[0].flux - 1000.0).abs() < 1.0 && (found[1].flux + 500.0).abs() < 1.0);
        let moved = measure(&difference, &variance, psf, 30.0, 20.0).unwrap();
        assert!((moved.flux - 1000.0).abs() < 1.0);
    }
}
