//! What everything is compared with: one convolution of the same image by global Fourier transforms.

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use std::sync::Arc;

/// Forward transform, multiplication and inverse transform of a square image with rustfft, on one thread and in `f32`.
///
/// Two real images are packed as one complex one, the fastest way that the library offers; one image is half of a
/// [`run`](Self::run).
pub struct Yardstick {
    side: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    plane: Vec<Complex<f32>>,
    turned: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Yardstick {
    /// For images of `side` × `side` pixels, a multiple of 16.
    pub fn new(side: usize) -> Self {
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(side), planner.plan_fft_inverse(side));
        let plane = vec![Complex::new(1.0, 0.5); side * side];
        let scratch = forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len());
        let scratch = vec![Complex::default(); scratch];
        Self { side, forward, inverse, turned: plane.clone(), plane, scratch }
    }

    /// Convolves two images.
    pub fn run(&mut self) {
        let transfer = Complex::new(0.8, 0.6) / (self.side * self.side) as f32;
        self.forward.process_with_scratch(&mut self.plane, &mut self.scratch);
        turn(self.side, &self.plane, &mut self.turned);
        self.forward.process_with_scratch(&mut self.turned, &mut self.scratch);
        self.turned.iter_mut().for_each(|z| *z *= transfer);
        self.inverse.process_with_scratch(&mut self.turned, &mut self.scratch);
        turn(self.side, &self.turned, &mut self.plane);
        self.inverse.process_with_scratch(&mut self.plane, &mut self.scratch);
    }
}

impl std::fmt::Debug for Yardstick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Yardstick").field("side", &self.side).finish_non_exhaustive()
    }
}

fn turn(side: usize, from: &[Complex<f32>], to: &mut [Complex<f32>]) {
    const BLOCK: usize = 16;
    for y0 in (0..side).step_by(BLOCK) {
        for x0 in (0..side).step_by(BLOCK) {
            for y in y0..y0 + BLOCK {
                for x in x0..x0 + BLOCK {
                    to[x * side + y] = from[y * side + x];
                }
            }
        }
    }
}
