//! Fluxes in an aperture as wide as the seeing, around every pixel of a field.
//!
//! With a Gaussian g of the seeing's FWHM and Σ g = 1, the flux of a star at a pixel is Σ g D / Σ g², and its variance Σ g² σ² / (Σ g²)²: the
//! matched filter of a Gaussian star on uniform noise. It is taken of the residual and of the model alike, and what is masked is left out of
//! both, so that their ratio is a relative change of flux, at the edge of a mask as elsewhere.

use dia_core::Pixel;
use dia_core::simd::{Loop, widest};
use dia_core::sum::LEAF;
use rayon::prelude::*;

/// σ of a Gaussian of FWHM 1: 1/√(8 ln 2).
pub(crate) const SIGMA_PER_FWHM: f64 = 0.424_660_900_144_009_5;
/// The Gaussian ends here, in σ; 1 % of its weight in two dimensions is beyond.
const REACH: f64 = 3.0;

/// What the apertures hold, for every pixel, row after row.
#[derive(Debug)]
pub(crate) struct Apertures<T> {
    /// Flux of the residual in ADU.
    pub(crate) change: Vec<T>,
    /// Flux of the model in ADU.
    pub(crate) flux: Vec<T>,
    /// Standard deviation of `change` in ADU; +∞ where the pixel is masked.
    pub(crate) noise: Vec<T>,
}

impl<T: Pixel> Apertures<T> {
    /// Apertures of FWHM `fwhm` pixels on rows of `width`, of residual, flux and variance; `used` tells which pixels are not masked, and all three are zero where they are.
    pub(crate) fn new(planes: [&[T]; 3], used: &[bool], width: usize, fwhm: f64) -> Self {
        let gaussian = gaussian(SIGMA_PER_FWHM * fwhm);
        let squares: Vec<f64> = gaussian.iter().map(|g| g * g).collect();
        let norm = T::narrow(squares.iter().sum::<f64>().powi(-2));
        let taps = [&gaussian, &gaussian, &squares]
            .map(|taps| taps.iter().map(|&tap| T::narrow(tap)).collect::<Vec<T>>());

        let new = || vec![T::zero(); used.len()];
        let mut apertures = Self { change: new(), flux: new(), noise: new() };
        let rows = apertures.change.par_chunks_mut(width);
        let rows = rows.zip(apertures.flux.par_chunks_mut(width));
        let rows = rows.zip(apertures.noise.par_chunks_mut(width));
        let rows = rows.zip(used.par_chunks(width)).enumerate();
        let room = || vec![T::zero(); width + gaussian.len() - 1];
        rows.for_each_init(room, |column, (y, (((change, flux), noise), used))| {
            let outputs = [&mut *change, flux, noise];
            for ((plane, taps), out) in planes.iter().zip(&taps).zip(outputs) {
                widest(SmoothRow { plane, taps, y, column, out });
            }
            widest(
                #[inline(always)]
                || {
                    let pixels = change.iter_mut().zip(flux).zip(noise).zip(used);
                    for (((change, flux), noise), used) in pixels {
                        *change *= norm;
                        *flux *= norm;
                        *noise = if *used { noise.sqrt() * norm } else { T::infinity() };
                    }
                },
            );
        });
        apertures
    }

    /// The pixels whose change, flux and noise fulfil `condition`, in their order. Few are expected to.
    pub(crate) fn places(&self, condition: impl Fn(f64, f64, f64) -> bool + Sync) -> Vec<usize> {
        /// Pixels that are asked at once whether one of them does.
        const BLOCK: usize = 64;
        let planes = [&self.change, &self.flux, &self.noise];
        let of_leaf = |leaf: usize| {
            let mut found = Vec::new();
            let leaf = leaf * LEAF..self.change.len().min((leaf + 1) * LEAF);
            widest(
                #[inline(always)]
                || {
                    for first in leaf.clone().step_by(BLOCK) {
                        let [d, f, n] = planes.map(|p| &p[first..leaf.end.min(first + BLOCK)]);
                        let holds = |(d, (f, n)): (&T, (&T, &T))| {
                            condition(d.widen(), f.widen(), n.widen())
                        };
                        let pixels = || d.iter().zip(f.iter().zip(n)).map(holds);
                        if pixels().fold(false, |any, holds| any | holds) {
                            let those = pixels().enumerate().filter(|(_, holds)| *holds);
                            found.extend(those.map(|(i, _)| first + i));
                        }
                    }
                },
            );
            found
        };
        (0..self.change.len().div_ceil(LEAF)).into_par_iter().flat_map_iter(of_leaf).collect()
    }
}

/// One row of a plane, smoothed in both directions. Beyond the edges of the plane all is zero.
struct SmoothRow<'a, T> {
    plane: &'a [T],
    /// The one-dimensional filter, symmetric, of odd length.
    taps: &'a [T],
    y: usize,
    /// Room for the row smoothed along the columns, with half a filter of zeros at both ends.
    column: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Pixel> Loop for SmoothRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { plane, taps, y, column, out } = self;
        let (width, reach) = (out.len(), taps.len() / 2);
        let middle = &mut column[reach..reach + width];
        middle.fill(T::zero());
        for (k, &tap) in taps.iter().enumerate() {
            let row = (y + k).checked_sub(reach).and_then(|y| plane.get(y * width..)?.get(..width));
            for (m, &p) in middle.iter_mut().zip(row.unwrap_or(&[])) {
                *m += tap * p;
            }
        }
        out.fill(T::zero());
        for (k, &tap) in taps.iter().enumerate() {
            for (o, &c) in out.iter_mut().zip(&column[k..]) {
                *o += tap * c;
            }
        }
    }
}

/// A Gaussian of standard deviation `sigma` pixels with the sum 1.
fn gaussian(sigma: f64) -> Vec<f64> {
    let reach = (REACH * sigma).ceil() as i32;
    let values = (-reach..=reach).map(|i| (-0.5 * (f64::from(i) / sigma).powi(2)).exp());
    let values: Vec<f64> = values.collect();
    let sum: f64 = values.iter().sum();
    values.iter().map(|v| v / sum).collect()
}
