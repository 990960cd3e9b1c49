//! A weighted mean of frames that lie on one grid, at one photometric scale and on one sky: a reference image from single exposures.
//!
//! Frames are not convolved to one seeing, which would cost depth. So that the mean nevertheless has one PSF everywhere, a frame has the same weight at all of its pixels, and
//! where a pixel of it is rejected, what the base (the frame that all are compared with) shows there, seen with that frame's PSF, takes its place.

use rayon::prelude::*;

use crate::robust::median;
use crate::{Image, KernelShape, KernelSupport, Mask, MaskPlanes, Pixel};

/// A frame of the stack.
#[derive(Clone, Debug)]
pub struct Layer<T> {
    /// At the common scale, with the common sky; NaN where there is no value.
    pub image: Image<T>,
    /// σ² of a pixel of `image`.
    pub variance: Image<T>,
    /// `image` minus the base convolved to this frame's PSF, NaN where that tells nothing (near the border and the base's masked pixels), with its variance; `None` for the base.
    pub deviation: Option<(Image<T>, Image<T>)>,
    /// Why pixels of `image` cannot be used.
    pub mask: Mask,
}

/// How outliers are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejection {
    /// A pixel is rejected if it is so many σ from the median of the frames.
    pub sigmas: f64,
    /// σ of what the kernel leaves of a star, in parts of its light.
    pub model_error: f64,
    /// The same where frames are compared without a kernel.
    pub seeing_error: f64,
    /// Radius in pixels about a pixel on which many frames disagree in which nothing is rejected: that of a star.
    pub reach: usize,
}

impl Default for Rejection {
    /// 5 σ; 5 % of the light, or half of it without a kernel; 8 pixels.
    fn default() -> Self {
        Self { sigmas: 5.0, model_error: 0.05, seeing_error: 0.5, reach: 8 }
    }
}

/// A stack.
#[derive(Clone, Debug)]
pub struct Coadd<T> {
    /// The mean, at the common scale and on the common sky; NaN where no frame has a value.
    pub image: Image<T>,
    /// σ² of a pixel.
    pub variance: Image<T>,
    /// What cannot be used: pixels of which less than half of the weight is left, with the reasons of their frames; [`MaskPlanes::CLIPPED`] where it was rejection.
    pub mask: Mask,
    /// The number of frames that a pixel is the mean of.
    pub coverage: Vec<i16>,
    /// The number of pixels of each frame that were rejected as outliers.
    pub rejected: Vec<usize>,
    /// The number of pixels about which too many frames disagree for any to be rejected: sources that vary, whose mean flux is in the mean.
    pub disputed: usize,
}

/// The least part of the weight of which a pixel is taken.
const LEAST_SHARE: f64 = 0.5;

/// One in so many frames may be an outlier at a pixel, one at least.
const MOST_OUTLIERS: usize = 4;

/// The weights, of sum 1, of frames with PSFs of `(fwhm, σ of a pixel's noise)` that let a point source in their mean have the largest significance.
///
/// The mean of Gaussian PSFs of variances s_i² with weights w_i has the squared significance wᵀGw / wᵀVw with G_ij = ∫P_i P_j ∝ 1/(s_i² + s_j²) and V the diagonal matrix of
/// σ_i²: w = V^−½ u for the leading eigenvector u of V^−½ G V^−½. As all its elements are positive, so are those of u (Perron), and the power method finds it.
///
/// Also returns the significance squared over that of each frame alone, in the frames' order.
pub fn weights(frames: &[(f64, f64)]) -> (Vec<f64>, Vec<f64>) {
    /// Distance of the vector from the eigenvector at which it is near enough: weights need three digits.
    const NEAR: f64 = 1e-9;
    const MOST_ROUNDS: usize = 10_000;
    let element = |i: usize, j: usize| {
        let ((fi, ni), (fj, nj)) = (frames[i], frames[j]);
        ((fi * fi + fj * fj) * ni * nj).recip()
    };
    let count = frames.len();
    let times = |u: &[f64]| -> Vec<f64> {
        (0..count).map(|i| (0..count).map(|j| element(i, j) * u[j]).sum()).collect()
    };
    let mut u = vec![(count as f64).sqrt().recip(); count];
    let mut largest = 0.0;
    for _ in 0..MOST_ROUNDS {
        let next = times(&u);
        largest = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        let moved = next.iter().zip(&u).map(|(new, old)| (new / largest - old).abs());
        let moved = moved.fold(0.0, f64::max);
        u = next.iter().map(|x| x / largest).collect();
        if moved < NEAR {
            break;
        }
    }
    let w: Vec<f64> = u.iter().zip(frames).map(|(u, (_, noise))| u / noise).collect();
    let sum: f64 = w.iter().sum();
    let gains = (0..count).map(|i| largest / element(i, i)).collect();
    (w.iter().map(|w| w / sum).collect(), gains)
}

/// The mean of `layers` with [`weights`], one for each, without outliers. `sky` is the common level of the sky.
///
/// A pixel is judged by the median of the frames' deviations from the base, or where these are not known by that of the frames themselves, which half of a star's light may
/// differ by. What strikes one frame in four is an outlier; where more disagree, the source varies, and nothing is rejected within its reach, so that it keeps the shape of a
/// star. Of two frames that disagree neither is taken.
///
/// # Panics
/// If the layers differ in shape, there are none, or the weights are not as many.
pub fn coadd<T: Pixel>(
    layers: &[Layer<T>],
    weights: &[f64],
    sky: f64,
    rejection: &Rejection,
) -> Coadd<T> {
    let shape = layers[0].image.view().shape();
    let alike = layers.iter().all(|layer| layer.image.view().shape() == shape);
    assert!(alike && weights.len() == layers.len(), "layers of one shape, and a weight for each");
    let (height, width) = shape;
    let of_pixel = |samples: &mut Vec<Sample>, pixel: usize| {
        samples.clear();
        samples.extend(
            layers.iter().zip(weights).map(|(layer, weight)| Sample::of(layer, *weight, pixel)),
        );
    };
    let disputed = (0..height * width)
        .into_par_iter()
        .map_init(Vec::new, |samples, pixel| {
            of_pixel(samples, pixel);
            let usable = samples.iter().filter(|sample| sample.usable()).count();
            reject(samples, sky, rejection);
            let rejected = samples.iter().filter(|sample| sample.rejected).count();
            let disputed = usable > 2 && rejected > (usable / MOST_OUTLIERS).max(1);
            if disputed { MaskPlanes::VARIABLE } else { MaskPlanes::empty() }
        })
        .collect();
    let disputed = Mask::from_vec(height, width, disputed).expect("as many as pixels");
    let reach = KernelSupport::new(rejection.reach, KernelShape::Circle);
    let near_disputed = disputed.touched_by(&reach);
    let pixels: Vec<Combined> = (0..height * width)
        .into_par_iter()
        .map_init(Vec::new, |samples, pixel| {
            of_pixel(samples, pixel);
            if !near_disputed[pixel] {
                reject(samples, sky, rejection);
            }
            combined(samples)
        })
        .collect();
    let planes = |of: &dyn Fn(&Combined) -> f64| {
        Image::from_fn(height, width, |y, x| T::narrow(of(&pixels[y * width + x])))
    };
    let mask = pixels.iter().map(|pixel| pixel.mask).collect();
    let mut rejected = vec![0; layers.len()];
    for frame in pixels.iter().flat_map(|pixel| &pixel.rejected) {
        rejected[*frame] += 1;
    }
    Coadd {
        image: planes(&|pixel| pixel.value),
        variance: planes(&|pixel| pixel.variance),
        mask: Mask::from_vec(height, width, mask).expect("as many as pixels"),
        coverage: pixels.iter().map(|pixel| pixel.frames as i16).collect(),
        rejected,
        disputed: near_disputed.iter().filter(|near| **near).count(),
    }
}

/// A pixel of a frame.
#[derive(Clone, Copy, Debug)]
struct Sample {
    value: f64,
    variance: f64,
    /// From the base, and its variance, where it is known.
    deviation: Option<(f64, f64)>,
    is_base: bool,
    mask: MaskPlanes,
    weight: f64,
    rejected: bool,
}

impl Sample {
    fn of<T: Pixel>(layer: &Layer<T>, weight: f64, pixel: usize) -> Self {
        let value = layer.image.pixels()[pixel].widen();
        let variance = layer.variance.pixels()[pixel].widen();
        let mut mask = layer.mask.planes()[pixel];
        if !(value.is_finite() && variance.is_finite() && variance >= 0.0) {
            mask |= MaskPlanes::NO_DATA;
        }
        let deviation = layer.deviation.as_ref().map(|(deviation, variance)| {
            (deviation.pixels()[pixel].widen(), variance.pixels()[pixel].widen())
        });
        let known = |(d, v): &(f64, f64)| d.is_finite() && v.is_finite() && *v > 0.0;
        let deviation = deviation.filter(known);
        let is_base = layer.deviation.is_none();
        Self { value, variance, deviation, is_base, mask, weight, rejected: false }
    }

    fn usable(&self) -> bool {
        self.mask.is_empty() && !self.rejected
    }
}

/// A pixel of the stack.
#[derive(Clone, Debug)]
struct Combined {
    value: f64,
    variance: f64,
    mask: MaskPlanes,
    frames: usize,
    rejected: Vec<usize>,
}

fn combined(samples: &[Sample]) -> Combined {
    let (mut sum, mut weight, mut variance) = (0.0, 0.0, 0.0);
    let usable = samples.iter().filter(|sample| sample.usable());
    let frames = usable.clone().count();
    for sample in usable.clone().filter(|sample| !sample.is_base) {
        sum += sample.weight * sample.value;
        variance += sample.weight * sample.weight * sample.variance;
        weight += sample.weight;
    }
    // What comes from the base has one noise.
    let mut of_base = 0.0;
    if let Some(base) = usable.clone().find(|sample| sample.is_base) {
        sum += base.weight * base.value;
        weight += base.weight;
        of_base += base.weight * base.variance.sqrt();
    }
    let kept = weight;
    let mut deviations: Vec<f64> =
        usable.filter_map(|sample| sample.deviation.map(|(d, _)| d)).collect();
    let median_deviation = median(&mut deviations);
    for sample in samples.iter().filter(|sample| !sample.usable()) {
        // The base as this frame sees it, moved to what most frames see.
        let seen = sample.deviation.zip(median_deviation).filter(|_| sample.value.is_finite());
        if let Some(((deviation, of_deviation), median)) = seen {
            sum += sample.weight * (sample.value - deviation + median);
            weight += sample.weight;
            of_base += sample.weight * (of_deviation - sample.variance).max(0.0).sqrt();
        }
    }
    let all: f64 = samples.iter().map(|sample| sample.weight).sum();
    let mut mask = MaskPlanes::empty();
    if kept < LEAST_SHARE * all {
        mask = samples.iter().fold(mask, |mask, sample| mask | sample.mask);
        if samples.iter().any(|sample| sample.rejected) {
            mask |= MaskPlanes::CLIPPED;
        }
    }
    let rejected = (0..samples.len()).filter(|i| samples[*i].rejected).collect();
    if kept > 0.0 {
        let variance = (variance + of_base * of_base) / (weight * weight);
        Combined { value: sum / weight, variance, mask, frames, rejected }
    } else {
        let nothing = f64::NAN;
        Combined { value: nothing, variance: nothing, mask, frames, rejected }
    }
}

/// Marks the outliers.
fn reject(samples: &mut [Sample], sky: f64, rejection: &Rejection) {
    let usable = || samples.iter().filter(|sample| sample.usable());
    if usable().count() < 2 {
        return;
    }
    let mut values: Vec<f64> = usable().map(|sample| sample.value).collect();
    let Some(value) = median(&mut values) else { return };
    // Of two in the middle the lower one, which is no outlier: light is what stars and not cosmic rays give.
    let middle = (values.len() - 1) / 2;
    let (_, &mut lower, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let light = (lower - sky).max(0.0);
    let mut deviations: Vec<f64> =
        usable().filter_map(|sample| sample.deviation.map(|(d, _)| d)).collect();
    // The base deviates from itself by nothing.
    if !deviations.is_empty() && usable().any(|sample| sample.is_base) {
        deviations.push(0.0);
    }
    let deviation = median(&mut deviations);
    for sample in samples.iter_mut().filter(|sample| sample.usable()) {
        let (off, variance, error) = match (sample.deviation, deviation) {
            (Some((own, variance)), Some(deviation)) => {
                (own - deviation, variance, rejection.model_error)
            }
            _ => (sample.value - value, sample.variance, rejection.seeing_error),
        };
        let sigma = variance.sqrt().hypot(error * light);
        sample.rejected = off.abs() > rejection.sigmas * sigma;
    }
}

#[cfg(test)]
mod tests;
