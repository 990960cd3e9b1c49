//! w_p ‖a_p‖² of every pixel, row after row of the image, from running sums: nothing image-sized is written.

use dia_core::simd::{Loop, widest};
use dia_core::{ImageView, Pixel};
use rayon::prelude::*;

use crate::Prepared;

/// Rows of pixels between two fresh starts of the running sums; bands are worked on in parallel.
const BAND: usize = 64;

/// Calls `visit(state, y, leverages)` for every row y of valid pixels, from the top of each band with a fresh state; returns
/// the states of the bands, from the top.
///
/// `leverages`, which may be overwritten, holds w_p ‖a_p‖², 0 where masked, for the weights of the noise model on the data, and as if the basis were
/// all pixels of the kernel's square but its wings: ‖a_p‖² is the sum of R² over that footprint, plus one for the background.
pub(crate) fn over_bands<T: Pixel, S: Default + Send>(
    prepared: &Prepared<'_, T>,
    visit: impl Fn(&mut S, usize, &mut [f64]) + Sync,
) -> Vec<S> {
    let (valid, margin) = (prepared.design().valid(), prepared.design().margin());
    let side = 2 * (prepared.design().half_width() - margin) + 1;
    let band = |first: usize| {
        let mut state = S::default();
        let mut norms = Norms::new(prepared.reference(), margin, side);
        let mut leverages = vec![0.0; valid.width];
        norms.start(first);
        for y in first..(first + BAND).min(valid.height) {
            widest(Advance { norms: &mut norms, prepared, y, leverages: &mut leverages });
            visit(&mut state, y, &mut leverages);
        }
        state
    };
    let bands: Vec<usize> = (0..valid.height).step_by(BAND).collect();
    bands.into_par_iter().map(band).collect()
}

/// Moves `norms` on to row `y` of valid pixels and writes its `leverages`.
struct Advance<'a, 'n, T> {
    norms: &'a mut Norms<'n, T>,
    prepared: &'a Prepared<'a, T>,
    y: usize,
    leverages: &'a mut [f64],
}

impl<T: Pixel> Loop for Advance<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { norms, prepared, y, leverages } = self;
        norms.advance(y);
        prepared.initial_weights(y * leverages.len(), leverages);
        for (leverage, norm) in leverages.iter_mut().zip(&norms.sums) {
            *leverage *= 1.0 + f64::from(*norm);
        }
    }
}

/// Sums of R² over squares of `side` pixels, one row of squares at a time.
struct Norms<'a, T> {
    reference: ImageView<'a, T>,
    /// What is left out on each side of the reference.
    margin: usize,
    side: usize,
    /// Σ R² over `side` rows, for every column of the image. A bright star leaves a rounding of its square behind; in `f64` that is nothing.
    columns: Vec<f64>,
    /// Sums over 2^k columns, and room for the next k.
    powers: [Vec<f32>; 2],
    /// The sums over squares.
    sums: Vec<f32>,
}

impl<'a, T: Pixel> Norms<'a, T> {
    fn new(reference: ImageView<'a, T>, margin: usize, side: usize) -> Self {
        let width = reference.width() - 2 * margin;
        let powers = [vec![0.0; width], vec![0.0; width]];
        let sums = vec![0.0; width + 1 - side];
        Self { reference, margin, side, columns: vec![0.0; width], powers, sums }
    }

    /// The part of row `y` of the image.
    fn row(&self, y: usize) -> &'a [T] {
        let row = self.reference.row(self.margin + y);
        &row[self.margin..row.len() - self.margin]
    }

    /// Sums the columns over all rows of the squares of row `y` but the last.
    fn start(&mut self, y: usize) {
        self.columns.fill(0.0);
        for y in y..y + self.side - 1 {
            let row = self.row(y);
            self.columns.iter_mut().zip(row).for_each(|(c, r)| *c += r.widen() * r.widen());
        }
    }

    /// Moves on to row `y` of squares, rows y .. y + side of the image: those must be asked for one after the other.
    #[inline(always)]
    fn advance(&mut self, y: usize) {
        let (new, old) = (self.row(y + self.side - 1), self.row(y));
        let [power, next] = &mut self.powers;
        // Beyond the range of f32 one pixel is as good as another.
        let narrow = |sum: f64| sum.clamp(0.0, 1e30) as f32;
        for (((c, power), new), old) in self.columns.iter_mut().zip(&mut *power).zip(new).zip(old) {
            *c += new.widen() * new.widen();
            *power = narrow(*c);
            *c -= old.widen() * old.widen();
        }
        // The sum over `side` columns is put together of sums over powers of two, one for each bit of `side` (which is odd): nothing
        // is subtracted, and every step runs over whole rows.
        let sums = &mut self.sums[..];
        sums.copy_from_slice(&power[..sums.len()]);
        let (mut offset, mut length) = (1, 1);
        while 2 * length <= self.side {
            let pairs = power.iter().zip(&power[length..]);
            next.iter_mut().zip(pairs).for_each(|(next, (a, b))| *next = a + b);
            std::mem::swap(power, next);
            length *= 2;
            if self.side & length != 0 {
                sums.iter_mut().zip(&power[offset..]).for_each(|(sum, p)| *sum += p);
                offset += length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dia_core::{CcdNoise, Design, Image, KernelBasis, NoiseModel};

    use super::over_bands;
    use crate::{Exposure, Prepared};

    #[test]
    fn leverages_are_weights_times_squared_norms() {
        let reference = Image::from_fn(150, 47, |y, x| ((y * 57 + x * 23) % 101) as f64);
        let mut target = reference.clone();
        target.pixels_mut()[70 * 47 + 20] = f64::NAN;
        let exposure = |image| {
            let noise =
                NoiseModel::Ccd(CcdNoise { gain: 1.0, read_noise: 3.0, subtracted_sky: 0.0 }, None);
            Exposure { image, mask: None, noise, saturation: None }
        };
        let design = Design::new(150, 47, KernelBasis::delta(5), None).unwrap();
        let (reference, target) = (exposure(reference.view()), exposure(target.view()));
        let prepared = Prepared::new(&reference, &target, design, false).unwrap();
        let rows = over_bands(&prepared, |rows: &mut Vec<(usize, Vec<f64>)>, y, leverages| {
            rows.push((y, leverages.to_vec()));
        });
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        let valid = prepared.design().valid();
        assert_eq!(rows.len(), valid.height);
        for (expected_y, (y, leverages)) in rows.iter().enumerate() {
            assert_eq!((*y, leverages.len()), (expected_y, valid.width));
            for (x, leverage) in leverages.iter().enumerate() {
                let footprint = (*y..y + 11).flat_map(|y| &prepared.reference().row(y)[x..x + 11]);
                let norm = 1.0 + footprint.map(|r| r * r).sum::<f64>();
                let i = y * valid.width + x;
                let weight = if prepared.is_used(i) { prepared.initial_weight(i) } else { 0.0 };
                // Six additions in f32.
                assert!((leverage - weight * norm).abs() <= 7.0 * 6e-8 * weight * norm);
            }
        }
    }
}
