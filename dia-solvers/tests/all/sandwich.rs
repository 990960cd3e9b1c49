//! The error of the photometric scale against dense matrices and explicit sums: a robust loss, a reference as noisy as the target, and nothing regularised.

use dia_core::{Design, Image, ImageView, Kernel, KernelBasis, Loss, NoiseModel, OperatorError};
use dia_fft::FftDesignMatrix;
use dia_solvers::{Cholesky, Difference, Exposure, FitOptions, Lambda, subtract};
use faer::Mat;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

const SIDE: usize = 56;
const HALF_WIDTH: usize = 2;
const SIGMA: f64 = 10.0;

/// Sixty Gaussian stars of a width, of which the reference has some ADU less.
fn stars(sigma: f64, scale: f64) -> Image<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let stars: Vec<[f64; 3]> = (0..60)
        .map(|_| {
            let [y, x, u]: [f64; 3] = std::array::from_fn(|_| random.random());
            [y * SIDE as f64, x * SIDE as f64, 700.0 * (u + 0.02).powf(-0.8)]
        })
        .collect();
    Image::from_fn(SIDE, SIDE, |y, x| {
        let star = |[sy, sx, flux]: &[f64; 3]| {
            let r2 = (y as f64 - sy).powi(2) + (x as f64 - sx).powi(2);
            scale * flux * (-0.5 * r2 / (sigma * sigma)).exp()
                / (2.0 * std::f64::consts::PI * sigma * sigma)
        };
        100.0 + stars.iter().map(star).sum::<f64>()
    })
}

/// The pair, with noise of `SIGMA` in both images and outliers in the target.
fn pair() -> (Image<f64>, Image<f64>) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(6);
    let mut noisy = |image: Image<f64>, outliers: f64| {
        image.map(|value| {
            let noise: f64 = StandardNormal.sample(&mut random);
            let tail = if random.random::<f64>() < outliers { 4.0 } else { 1.0 };
            value + SIGMA * tail * noise
        })
    };
    (noisy(stars(0.8, 1.0), 0.0), noisy(stars(1.1, 0.8), 0.05))
}

fn fitted(reference: &Image<f64>, target: &Image<f64>, loss: Loss) -> Difference<f64> {
    let variance = Image::filled(SIDE, SIDE, SIGMA * SIGMA);
    let noise = NoiseModel::Variance(variance.view());
    let exposure = |image| Exposure { image, mask: None, noise, saturation: None };
    let design = Design::new(SIDE, SIDE, KernelBasis::delta(HALF_WIDTH), Some(0)).unwrap();
    let options = FitOptions {
        loss,
        lambda: Lambda::Fixed(0.0),
        variable_sources: None,
        tolerance: 1e-6,
        // More rows than there are: each is drawn, so that the sum over the reference's pixels is whole.
        sample_per_unknown: 1000,
        ..FitOptions::default()
    };
    let operator = |image: ImageView<'_, f64>, design: Design| -> Result<_, OperatorError> {
        FftDesignMatrix::new(image, design)
    };
    let (reference, target) = (exposure(reference.view()), exposure(target.view()));
    subtract(&reference, &target, design, operator, &options, &mut |_| ()).unwrap()
}

/// The valid pixels.
fn valid() -> impl Iterator<Item = (usize, usize)> + Clone {
    let inside = HALF_WIDTH..SIDE - HALF_WIDTH;
    inside.clone().flat_map(move |y| inside.clone().map(move |x| (y, x)))
}

/// The offsets of the kernel's pixels.
fn offsets() -> impl Iterator<Item = (isize, isize)> + Clone {
    let h = HALF_WIDTH as isize;
    (-h..=h).flat_map(move |dy| (-h..=h).map(move |dx| (dy, dx)))
}

fn at(image: &Image<f64>, y: usize, x: usize, (dy, dx): (isize, isize)) -> f64 {
    image.view().at(y.wrapping_add_signed(-dy), x.wrapping_add_signed(-dx))
}

/// σ_P of dense matrices; with and without the bias ν in J, and the correlation of the model's noise in S.
fn dense(
    reference: &Image<f64>,
    fit: &Difference<f64>,
    threshold: f64,
    with_bias: bool,
    with_correlation: bool,
) -> f64 {
    let n = (2 * HALF_WIDTH + 1).pow(2) + 1;
    let kernel: &Kernel = &fit.kernel;
    let (mut j, mut s) = (Mat::<f64>::zeros(n, n), Mat::<f64>::zeros(n, n));
    let (mut rows, mut curvatures) = (Vec::new(), Vec::new());
    for (y, x) in valid() {
        let mut row: Vec<f64> = offsets().map(|u| at(reference, y, x, u)).collect();
        row.push(1.0);
        let model: f64 = offsets().map(|u| kernel.at(u.0, u.1) * at(reference, y, x, u)).sum();
        let difference = fit.difference.view().at(y, x);
        // K² ⊗ σ_R² of a uniform σ_R.
        let squares: f64 = kernel.pixels().iter().map(|k| k * k).sum();
        let variance = SIGMA * SIGMA * (1.0 + squares);
        let found = fit.variance.view().at(y, x);
        // It is renewed when the fit has moved by 10⁻⁴ σ of the kernel.
        assert!((found / variance - 1.0).abs() < 1e-5, "{found} {variance} {model}");
        let z = difference / variance.sqrt();
        let curvature = if z.abs() < threshold { 1.0 / variance } else { 0.0 };
        let score = z.abs().min(threshold).powi(2) / variance;
        for (a, value) in row.iter().enumerate() {
            for (b, other) in row.iter().enumerate() {
                j[(a, b)] += curvature * value * other;
                s[(a, b)] += score * value * other;
            }
        }
        if with_bias {
            for a in 0..n - 1 {
                j[(a, a)] -= curvature * SIGMA * SIGMA;
            }
        }
        rows.push(row);
        curvatures.push(curvature);
    }
    let mut c = vec![1.0; n];
    c[n - 1] = 0.0;
    let mut y = c.clone();
    Cholesky::new(&j).unwrap().solve_in_place(&mut y);
    let mut variance: f64 = (0..n)
        .flat_map(|a| (0..n).map(move |b| (a, b)))
        .map(|(a, b)| y[a] * s[(a, b)] * y[b])
        .sum();
    if with_correlation {
        let side = SIDE - 2 * HALF_WIDTH;
        let along = |row: &Vec<f64>| row.iter().zip(&y).map(|(a, y)| a * y).sum::<f64>();
        let f: Vec<f64> = rows.iter().zip(&curvatures).map(|(row, w)| w * along(row)).collect();
        let squares: f64 = kernel.pixels().iter().map(|k| k * k).sum();
        variance -= SIGMA * SIGMA * squares * f.iter().map(|f| f * f).sum::<f64>();
        for (qy, qx) in valid() {
            let carried = offsets().filter_map(|(dy, dx)| {
                let y = (qy - HALF_WIDTH).checked_add_signed(dy).filter(|y| *y < side)?;
                let x = (qx - HALF_WIDTH).checked_add_signed(dx).filter(|x| *x < side)?;
                Some(kernel.at(dy, dx) * f[y * side + x])
            });
            variance += (SIGMA * carried.sum::<f64>()).powi(2);
        }
    }
    variance.sqrt()
}

#[test]
fn sigma_of_the_scale_is_that_of_the_dense_sandwich() {
    let (reference, target) = pair();
    for (loss, threshold) in [(Loss::Gaussian, f64::INFINITY), (Loss::HUBER, 1.345)] {
        let fit = fitted(&reference, &target, loss);
        let found = fit.photometric_scale.sigma;
        let expected = dense(&reference, &fit, threshold, true, true);
        let without_bias = dense(&reference, &fit, threshold, false, true);
        let without_correlation = dense(&reference, &fit, threshold, true, false);
        eprintln!(
            "{loss:?}: {found:.6}, dense {expected:.6}, without ν {without_bias:.6}, independent pixels {without_correlation:.6}"
        );
        // y is solved for to a tenth in the norm of P, and the error of σ is at most the square of that.
        assert!((found / expected - 1.0).abs() < 0.006);
        // The test would see either missing.
        assert!((without_bias / expected - 1.0).abs() > 0.012);
        assert!((without_correlation / expected - 1.0).abs() > 0.05);
    }
}
