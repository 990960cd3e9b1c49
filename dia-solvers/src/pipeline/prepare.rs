//! From two images with masks and noise to the numbers that a fit needs.

use std::sync::Arc;

use dia_core::{
    Design, Image, ImageError, ImageView, KernelSupport, Mask, MaskPlanes, NoiseModel, Photon,
    Pixel, Region,
    seeing::{self, Seeing},
};
use rayon::prelude::*;

use crate::SubtractError;
use crate::pipeline::coarseness::{rounding, step};
use crate::pipeline::exposure::{
    Exposure, Level, OF_REFERENCE, OF_TARGET, check_exposure, check_noise, check_structure,
    fixed_variance, own_mask, pixel_variance,
};
use crate::pipeline::own_photons::own_photon;
use crate::pipeline::units::Units;

/// A reference, ready for all the targets that are to be compared with it.
#[derive(Clone, Debug)]
pub struct PreparedReference<T = f32> {
    design: Design,
    image: Arc<Image<T>>,
    /// The power of two in ADU that is one in `image`.
    unit: f64,
    /// The robust scatter of `image`.
    scatter: f64,
    sky: f64,
    variance: Option<Arc<Image<T>>>,
    /// The increase of `variance` per unit of `image`, noise included.
    photon: f64,
    /// The pixels of a target to which a kernel carries masked ones.
    touched: Vec<bool>,
}

impl<T: Pixel> PreparedReference<T> {
    /// Prepares a reference for the model `design`. `noise` says whether its own variance is to be carried into the model's.
    ///
    /// The median of the good pixels is taken for the sky and subtracted: kernel and background are then nearly uncorrelated, and the fitted
    /// background is the target's sky. Masked pixels become 0, and every target pixel that a kernel carries them to is masked, but by the wings that
    /// reach beyond the design's border.
    ///
    /// # Errors
    /// [`SubtractError`] if planes differ in size, the noise parameters are impossible, or the image is constant.
    pub fn new(
        reference: &Exposure<'_, T>,
        design: Design,
        noise: bool,
    ) -> Result<Self, SubtractError> {
        Self::prepare(reference, design, noise, None)
    }

    /// As [`new`](Self::new), with the sky in ADU given: 0 where it is subtracted already.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_sky(
        reference: &Exposure<'_, T>,
        design: Design,
        noise: bool,
        sky: f64,
    ) -> Result<Self, SubtractError> {
        Self::prepare(reference, design, noise, Some(sky))
    }

    fn prepare(
        reference: &Exposure<'_, T>,
        design: Design,
        noise: bool,
        given_sky: Option<f64>,
    ) -> Result<Self, SubtractError> {
        let shape = (design.height(), design.width());
        check_exposure(reference, shape, OF_REFERENCE)?;
        check_noise("reference", &reference.noise)?;
        // It may be free of noise: a model, a very deep stack.
        let mask = own_mask(reference, |variance| variance >= T::zero());
        check_structure(reference.image, &mask, "reference")?;
        let level = Level::of(reference.image, &mask);
        let (sky, unit) = (given_sky.unwrap_or(level.sky), level.unit);
        let support = design.basis().support();
        let spoilt = support.half_width() - design.margin();
        let touched = mask.touched_by(&KernelSupport::new(spoilt, support.shape()));
        let value = |i: usize| reference.image.pixels()[i].widen();
        let with_margin = |design: &Design, of: &(dyn Fn(usize) -> f64 + Sync)| {
            let good = |i: usize| if mask.planes()[i].is_empty() { of(i) } else { 0.0 };
            with_margin(design, good).map(Arc::new)
        };
        let image = with_margin(&design, &|i| (value(i) - sky) / unit)?;
        let rounding = rounding(&reference.noise, step(reference.image, &mask));
        let variance =
            |i: usize| (pixel_variance(&reference.noise, i, value(i)) + rounding) / unit / unit;
        let variance = noise.then(|| with_margin(&design.of_variance(), &variance)).transpose()?;
        let scatter = level.scatter / unit;
        let photon = match &reference.noise {
            // Flat fields have a mean of one.
            NoiseModel::Ccd(ccd, _) => ccd.photon(1.0),
            NoiseModel::Variance(variance) => own_photon(reference.image, *variance, &mask),
        };
        let photon = photon / unit;
        Ok(Self { design, image, unit, scatter, sky, variance, photon, touched })
    }

    /// The model.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// The reference without its sky, in ADU over the power of two that [`Prepared::units`] tells, of the design's
    /// [`reference_shape`](Design::reference_shape); 0 where masked and in the margin.
    pub fn image(&self) -> &Arc<Image<T>> {
        &self.image
    }

    /// The reference's variance in the square of the image's unit, of the [`reference_shape`](Design::reference_shape) of
    /// [`Design::of_variance`]; 0 where masked and in the margin; if it is to be used.
    pub fn variance(&self) -> Option<&Arc<Image<T>>> {
        self.variance.as_ref()
    }

    /// Prepares a target.
    ///
    /// # Errors
    /// [`SubtractError`] if planes differ in size, the noise parameters are impossible, no usable pixel is left, or the image is constant.
    pub fn with_target<'a>(
        &self,
        target: &Exposure<'a, T>,
    ) -> Result<Prepared<'a, T>, SubtractError> {
        let Self { design, touched, .. } = self;
        let shape = (design.height(), design.width());
        check_exposure(target, shape, OF_TARGET)?;
        check_noise("target", &target.noise)?;
        // A pixel without noise would get infinite weight.
        let mut mask = own_mask(target, |variance| variance > T::zero());
        let valid = design.valid();
        mark_unusable(&mut mask, touched, valid);
        let used = count_used(&mask, valid, touched)?;
        if used <= design.ncols() {
            return Err(SubtractError::TooFewPixels { pixels: used, unknowns: design.ncols() });
        }
        check_structure(target.image, &mask, "target")?;

        let (planes, pixels) = (mask.planes(), target.image.pixels());
        let good = |i: usize, value: f64, masked: f64| {
            if planes[i].is_empty() { value } else { masked }
        };
        let Level { sky, scatter, unit } = Level::of(target.image, &mask);
        let data = over_valid(valid, shape.1, |i| good(i, pixels[i].widen() / unit, 0.0));
        let own_photon = match &target.noise {
            NoiseModel::Ccd(..) => 0.0,
            NoiseModel::Variance(variance) => own_photon(target.image, *variance, &mask),
        };
        let step = step(target.image, &mask);
        let rounding = rounding(&target.noise, step);
        // No model lies below it: of a pedestal, the photons are those of what is above.
        let darkest = (sky - 10.0 * scatter).max(0.0);
        let fixed = over_valid(valid, shape.1, |i| {
            let given = fixed_variance(&target.noise, i) + rounding;
            let least = LEAST_FIXED * given - own_photon * darkest;
            let fixed = (given - own_photon * pixels[i].widen()).max(least);
            good(i, fixed / unit / unit, f64::INFINITY)
        });
        let photon = match &target.noise {
            NoiseModel::Ccd(ccd, None) => Photon::Uniform(ccd.photon(1.0) / unit),
            NoiseModel::Ccd(ccd, Some(flat)) => Photon::PerPixel(over_valid(valid, shape.1, |i| {
                good(i, ccd.photon(flat.pixels()[i].widen()) / unit, 0.0)
            })),
            NoiseModel::Variance(_) => Photon::Uniform(own_photon / unit),
        };
        // Pixels far below the sky are outliers: half the sky keeps them from getting a large weight.
        let floor = T::narrow((0.5 * sky / unit).max(0.0));
        Ok(Prepared {
            design: design.clone(),
            reference: Arc::clone(&self.image),
            units: Units { reference: self.unit, target: unit },
            reference_scatter: self.scatter,
            reference_sky: self.sky,
            reference_variance: self.variance.clone(),
            reference_photon: self.photon,
            own_photon,
            step,
            target: Pixels::Borrowed(target.image),
            mask,
            data,
            fixed,
            photon,
            floor,
            used,
        })
    }
}

/// A pair of images, ready for the fit: the reference without its sky, and for each valid pixel of the target the
/// data, the parts of its variance, and why it may not count.
#[derive(Clone, Debug)]
pub struct Prepared<'a, T = f32> {
    design: Design,
    reference: Arc<Image<T>>,
    units: Units,
    reference_scatter: f64,
    reference_sky: f64,
    reference_variance: Option<Arc<Image<T>>>,
    reference_photon: f64,
    own_photon: f64,
    step: f64,
    target: Pixels<'a, T>,
    mask: Mask,
    /// I at the valid pixels in units of the target, as all that follows; 0 where masked.
    pub(crate) data: Vec<T>,
    /// The part of σ² that does not depend on the model, +∞ where masked.
    pub(crate) fixed: Vec<T>,
    pub(crate) photon: Photon<Vec<T>>,
    /// The least model for the first weights, which take the data for the model.
    floor: T,
    used: usize,
}

/// An image of somebody else's, or one's own.
#[derive(Clone, Debug)]
enum Pixels<'a, T> {
    Borrowed(ImageView<'a, T>),
    Owned(Image<T>),
}

impl<'a, T: Pixel> Prepared<'a, T> {
    /// Prepares a pair for the model `design`: [`PreparedReference::new`] and [`PreparedReference::with_target`].
    ///
    /// # Errors
    /// As those two.
    pub fn new(
        reference: &Exposure<'_, T>,
        target: &Exposure<'a, T>,
        design: Design,
        reference_noise: bool,
    ) -> Result<Self, SubtractError> {
        PreparedReference::new(reference, design, reference_noise)?.with_target(target)
    }

    /// The same with a copy of the target, which need not live any longer.
    pub fn into_owned(self) -> Prepared<'static, T> {
        let target = Pixels::Owned(self.target().to_owned());
        Prepared { target, ..self }
    }

    /// The model.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// What is one in the numbers of this pair.
    pub fn units(&self) -> Units {
        self.units
    }

    /// The robust scatter of the reference's good pixels in [`Units::reference`], noise and stars alike.
    pub(crate) fn reference_scatter(&self) -> f64 {
        self.reference_scatter
    }

    /// The reference without its sky, in [`Units::reference`], of the design's [`reference_shape`](Design::reference_shape); 0 where masked and
    /// in the margin.
    pub fn reference(&self) -> ImageView<'_, T> {
        self.reference.view()
    }

    /// The seeing of the reference, from what is used of it.
    pub(crate) fn reference_seeing(&self) -> Option<Seeing> {
        let (valid, offset) = (self.design.valid(), self.design.half_width());
        let (reference, width) = (self.reference(), self.design.width());
        let image =
            Image::from_fn(valid.height, valid.width, |y, x| reference.at(y + offset, x + offset));
        let mut mask = Mask::good(valid.height, valid.width);
        mask.merge(|i| self.mask.planes()[pixel_index(valid, width, i)]);
        seeing::measure(image.view(), &mask)
    }

    /// The seeing of the target.
    pub(crate) fn target_seeing(&self) -> Option<Seeing> {
        seeing::measure(self.target(), &self.mask)
    }

    /// As [`reference`](Self::reference), to be shared with an operator that keeps it.
    pub fn shared_reference(&self) -> &Arc<Image<T>> {
        &self.reference
    }

    /// The sky that was subtracted from the reference, in ADU.
    pub fn reference_sky(&self) -> f64 {
        self.reference_sky
    }

    /// The reference's variance in the square of the image's unit, of the [`reference_shape`](Design::reference_shape) of
    /// [`Design::of_variance`]; 0 where masked and in the margin; if it is to be used.
    pub fn reference_variance(&self) -> Option<ImageView<'_, T>> {
        self.reference_variance.as_ref().map(|variance| variance.view())
    }

    /// As [`reference_variance`](Self::reference_variance), to be shared with an operator that keeps it.
    pub fn shared_reference_variance(&self) -> Option<&Arc<Image<T>>> {
        self.reference_variance.as_ref()
    }

    /// By what the reference's variance grows with the noise of its own pixels, per [`Units::reference`].
    pub(crate) fn reference_photon(&self) -> f64 {
        self.reference_photon
    }

    /// Where the target's plane of variances follows the noise of its own pixels: by how much per ADU. What follows has the model in their place. 0 otherwise.
    pub fn own_photon(&self) -> f64 {
        self.own_photon
    }

    /// The distance in ADU between the values that most pixels of the target have.
    pub(crate) fn step(&self) -> f64 {
        self.step
    }

    /// The target as given.
    pub fn target(&self) -> ImageView<'_, T> {
        match &self.target {
            Pixels::Borrowed(view) => *view,
            Pixels::Owned(image) => image.view(),
        }
    }

    /// Why pixels of the target are left out: its own mask, the reference's through the kernel's footprint, the edge.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Number of pixels that take part in the fit.
    pub fn used_pixels(&self) -> usize {
        self.used
    }

    /// Whether valid pixel `i` takes part in the fit.
    pub fn is_used(&self, i: usize) -> bool {
        self.fixed[i].is_finite()
    }

    /// 1/σ² of valid pixel `i` in [`Units::target`]⁻², with the data in place of the model; 0 where masked.
    pub fn initial_weight(&self, i: usize) -> f64 {
        let mut weight = [0.0];
        self.initial_weights(i, &mut weight);
        weight[0]
    }

    /// 1/σ² as [`initial_weight`](Self::initial_weight), of the valid pixels from `first` on, in the precision of the pixels.
    #[inline(always)]
    pub(crate) fn initial_weights(&self, first: usize, weights: &mut [f64]) {
        let range = first..first + weights.len();
        let pixels = self.fixed[range.clone()].iter().zip(&self.data[range.clone()]);
        let pixels = weights.iter_mut().zip(pixels);
        let weight =
            |fixed: T, photon: T, data: T| (fixed + photon * data.max(self.floor)).recip().widen();
        match &self.photon {
            Photon::Uniform(photon) => {
                let photon = T::narrow(*photon);
                pixels.for_each(|(w, (fixed, data))| *w = weight(*fixed, photon, *data));
            }
            Photon::PerPixel(photon) => pixels
                .zip(&photon[range])
                .for_each(|((w, (fixed, data)), photon)| *w = weight(*fixed, *photon, *data)),
        }
    }
}

/// The least part of a given variance that is left in the dark: a pixel's own photons have all of it where there is no read noise, and rounding could leave less than nothing.
const LEAST_FIXED: f64 = 1e-3;

/// The image of `value(i)` at the pixels i of the design's images, row after row, with its margin of zeros.
fn with_margin<T: Pixel>(
    design: &Design,
    value: impl Fn(usize) -> f64 + Sync,
) -> Result<Image<T>, ImageError> {
    let ((height, width), margin) = (design.reference_shape(), design.margin());
    // Where the border is wider than the kernel, the image is cut.
    let cut = design.valid().y.saturating_sub(design.half_width());
    let mut pixels = vec![T::zero(); height * width];
    let rows = pixels.par_chunks_mut(width).skip(margin).take(design.height() - 2 * cut);
    rows.enumerate().for_each(|(y, row)| {
        let first = (y + cut) * design.width() + cut;
        let row = &mut row[margin..width - margin];
        row.iter_mut().enumerate().for_each(|(x, v)| *v = T::narrow(value(first + x)));
    });
    Image::from_vec(height, width, pixels)
}

/// `value(i)` at the valid pixels, i their indices in the whole image.
fn over_valid<T: Pixel>(
    valid: Region,
    image_width: usize,
    value: impl Fn(usize) -> f64 + Sync,
) -> Vec<T> {
    let mut values = vec![T::zero(); valid.height * valid.width];
    values.par_chunks_mut(valid.width).enumerate().for_each(|(y, row)| {
        let first = (valid.y + y) * image_width + valid.x;
        row.iter_mut().enumerate().for_each(|(x, v)| *v = T::narrow(value(first + x)));
    });
    values
}

/// The index in the whole image of valid pixel `i`.
pub(crate) fn pixel_index(valid: Region, image_width: usize, i: usize) -> usize {
    (valid.y + i / valid.width) * image_width + valid.x + i % valid.width
}

/// Adds to the target's mask what the reference spoils and where the kernel leaves it.
fn mark_unusable(mask: &mut Mask, touched: &[bool], valid: Region) {
    let (height, width) = (mask.height(), mask.width());
    for y in 0..height {
        let inside = (valid.y..valid.y + valid.height).contains(&y);
        let to = if inside { valid.x } else { width };
        for x in (0..to).chain(valid.x + valid.width..width) {
            mask.insert(y, x, MaskPlanes::EDGE);
        }
    }
    mask.merge(|i| if touched[i] { MaskPlanes::REFERENCE_BAD } else { MaskPlanes::empty() });
}

fn count_used(mask: &Mask, valid: Region, touched: &[bool]) -> Result<usize, SubtractError> {
    let used = mask.good_pixels();
    if used > 0 {
        return Ok(used);
    }
    let over_valid = |count: &dyn Fn(usize) -> bool| {
        let indices = (0..valid.height * valid.width).map(|i| pixel_index(valid, mask.width(), i));
        indices.filter(|i| count(*i)).count()
    };
    let by_target = over_valid(&|i| mask.planes()[i].intersects(!MaskPlanes::REFERENCE_BAD));
    let by_reference = over_valid(&|i| touched[i]);
    Err(SubtractError::NoPixels { valid: valid.height * valid.width, by_target, by_reference })
}

#[cfg(test)]
mod tests {
    use dia_core::{CcdNoise, Design, Image, KernelBasis, NoiseModel};

    use super::PreparedReference;
    use crate::Exposure;

    #[test]
    fn a_given_sky_is_subtracted_instead_of_the_median() {
        let image = Image::from_fn(20, 20, |y, x| (7 * y + 3 * x) as f64);
        let noise =
            NoiseModel::Ccd(CcdNoise { gain: 1.0, read_noise: 5.0, subtracted_sky: 0.0 }, None);
        let exposure = Exposure { image: image.view(), mask: None, noise, saturation: None };
        let design = || Design::new(20, 20, KernelBasis::delta(1), Some(0)).unwrap();
        let median = PreparedReference::new(&exposure, design(), false).unwrap();
        // y and x are symmetric about 9.5.
        assert_eq!((median.sky, median.unit * median.image().view().at(0, 0)), (95.0, -95.0));
        let given = PreparedReference::with_sky(&exposure, design(), false, 0.0).unwrap();
        let whole = Image::from_fn(20, 20, |y, x| given.unit * given.image().view().at(y, x));
        assert_eq!((given.sky, whole), (0.0, image.clone()));
    }
}
