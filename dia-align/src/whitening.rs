//! The noise that interpolation takes away, put back: so that what is warped has white noise again.
//!
//! Interpolated noise lacks high frequencies: midway between pixels it has 0.62 of its variance left, by the phase, and neighbours are correlated. Low frequencies have all of theirs. A fit
//! that knows a variance for each pixel takes such noise for signal. Noise of exactly the missing spectrum makes it white, of the variance that the low frequencies have (Rowe et al. 2015,
//! A&C 10, 121, do so for simulated galaxies). A star has next to no light at the frequencies that it fills.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::lanczos::Taps;

/// Phases in x and in y for which the missing spectrum is found.
const PHASES: usize = 8;

/// Radius in pixels of the kernel that gives white noise that spectrum.
const REACH: usize = 3;

const SIDE: usize = 2 * REACH + 1;

/// Frequencies in each dimension.
const FREQUENCIES: usize = 24;

/// Kernels of the missing noise, and white noise for them.
pub(crate) struct Whitening {
    /// Of each phase, SIDE² values, for noise of variance 1 in the old pixels.
    kernels: Vec<f64>,
    /// Variance of the whitened noise, for the same.
    pub(crate) level: f64,
    /// White noise of variance 1, REACH pixels wider than the new grid on all sides.
    noise: Vec<f32>,
    width: usize,
}

impl Whitening {
    /// For taps and the derivatives of the map in the middle of a grid of `shape`.
    pub(crate) fn new(
        taps: &Taps,
        jacobian: [[f64; 2]; 2],
        shape: (usize, usize),
        seed: u64,
    ) -> Self {
        let phases = PHASES * PHASES;
        let spectra: Vec<Vec<f64>> =
            (0..phases).into_par_iter().map(|phase| spectrum(taps, jacobian, phase)).collect();
        // That of the lowest frequency.
        let level = spectra.iter().map(|spectrum| spectrum[0]).sum::<f64>() / phases as f64;
        let kernels =
            spectra.par_iter().flat_map_iter(|spectrum| kernel(spectrum, level)).collect();
        let (height, width) = (shape.0 + 2 * REACH, shape.1 + 2 * REACH);
        let mut noise = vec![0.0_f32; height * width];
        noise.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
            // A generator for each row: the result is the same on any number of threads.
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(y as u64));
            for value in row {
                *value = StandardNormal.sample(&mut rng);
            }
        });
        Self { kernels, level, noise, width }
    }

    /// What is missing at pixel (y, x) of the new grid, which shows (u, v) of the old one, in the old noise's σ.
    pub(crate) fn at(&self, y: usize, x: usize, (u, v): (f64, f64)) -> f64 {
        let phase = |at: f64| ((at - at.floor()) * PHASES as f64).round() as usize % PHASES;
        let phase = phase(v) * PHASES + phase(u);
        let kernel = &self.kernels[phase * SIDE * SIDE..(phase + 1) * SIDE * SIDE];
        let rows = kernel.chunks_exact(SIDE).enumerate().map(|(dy, kernel)| {
            let start = (y + dy) * self.width + x;
            let noise = &self.noise[start..start + SIDE];
            kernel.iter().zip(noise).map(|(k, z)| k * f64::from(*z)).sum::<f64>()
        });
        rows.sum()
    }
}

/// The power spectrum of interpolated white noise about a pixel of the given phase, by frequency.
fn spectrum(taps: &Taps, [[a, b], [c, d]]: [[f64; 2]; 2], phase: usize) -> Vec<f64> {
    let place = |phase: usize| phase as f64 / PHASES as f64;
    let (u, v) = (place(phase % PHASES), place(phase / PHASES));
    let n = taps.count();
    let fill = |u: f64, v: f64| {
        let (mut across, mut down) = (vec![0.0; n], vec![0.0; n]);
        let corner = (taps.fill(u, &mut across), taps.fill(v, &mut down));
        (corner, across, down)
    };
    let ((x0, y0), across, down) = fill(u, v);
    // Beyond that, no pixel of the old grid is shared.
    let longest = [a.hypot(c), b.hypot(d)].into_iter().fold(f64::INFINITY, f64::min);
    let reach = (n as f64 / longest).ceil() as isize;
    let shared = |one: &[f64], other: &[f64], offset: isize| -> f64 {
        let at = |k: usize| usize::try_from(k as isize - offset).ok().and_then(|k| other.get(k));
        one.iter().enumerate().filter_map(|(k, tap)| Some(tap * at(k)?)).sum()
    };
    let mut lags = Vec::new();
    for (dy, dx) in (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (y, x))) {
        let (x, y) = (dx as f64, dy as f64);
        let ((x1, y1), along, below) = fill(u + a * x + b * y, v + c * x + d * y);
        let covariance = shared(&across, &along, x1 - x0) * shared(&down, &below, y1 - y0);
        if covariance != 0.0 {
            lags.push((dx, dy, covariance));
        }
    }
    let cosines = cosines();
    (0..FREQUENCIES * FREQUENCIES)
        .map(|k| lags.iter().map(|(x, y, c)| c * cosines[turns(k, *y, *x)]).sum())
        .collect()
}

/// cos(2πk/n) of all n frequencies.
fn cosines() -> Vec<f64> {
    let angle = |k: usize| std::f64::consts::TAU * k as f64 / FREQUENCIES as f64;
    (0..FREQUENCIES).map(|k| angle(k).cos()).collect()
}

/// What the phase of frequency `k` is at (dy, dx), in parts of a turn.
fn turns(k: usize, dy: isize, dx: isize) -> usize {
    let (kx, ky) = ((k % FREQUENCIES) as isize, (k / FREQUENCIES) as isize);
    (kx * dx + ky * dy).rem_euclid(FREQUENCIES as isize) as usize
}

/// The kernel that gives white noise what a spectrum lacks of a level; where it has more, as windows do that overshoot, none.
fn kernel(spectrum: &[f64], level: f64) -> Vec<f64> {
    let missing: Vec<f64> = spectrum.iter().map(|power| (level - power).max(0.0).sqrt()).collect();
    let cosines = cosines();
    let size = (FREQUENCIES * FREQUENCIES) as f64;
    let reach = REACH as isize;
    (-reach..=reach)
        .flat_map(|y| (-reach..=reach).map(move |x| (y, x)))
        .map(|(y, x)| {
            let terms =
                missing.iter().enumerate().map(|(k, power)| power * cosines[turns(k, y, x)]);
            terms.sum::<f64>() / size
        })
        .collect()
}
