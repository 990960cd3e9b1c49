//! The planes that a measurement looks at, and what its tables say of where they come from.

use anyhow::{Context, Result, ensure};
use dia_core::{Design, Image, Mask, NoiseModel};
use dia_photometry::{FitCovariance, PsfOptions, ReferencePsf, Scene, reference_psf};

use crate::fits::{FitsFile, FitsSpec, Header};
use crate::input::{Input, Real};
use crate::kernel_basis::BasisRecipe;
use crate::report::Report;
use crate::sky::Sky;
use crate::subtraction::Subtraction;

/// What measurements on a difference need, with its planes: a [`Scene`] that owns them.
#[derive(Clone, Debug)]
pub struct Scenery {
    pub(crate) origin: Origin,
    pub(crate) difference: Image<f32>,
    pub(crate) target_variance: Image<f32>,
    pub(crate) reference_variance: Image<f32>,
    /// The reference without its sky; NaN where it is masked.
    pub(crate) reference: Image<f32>,
    pub(crate) mask: Mask,
    /// What the basis of `design` was made of.
    pub(crate) basis: BasisRecipe,
    pub(crate) design: Design,
    pub(crate) parameters: Vec<f64>,
    pub(crate) covariance: ParameterCovariance,
    pub(crate) psf: ReferencePsf,
    /// ADU of variance per ADU of light that the variances do not know of.
    pub(crate) photon: f64,
}

/// The covariance of all parameters: its lower triangle, row after row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParameterCovariance {
    pub(crate) unknowns: usize,
    pub(crate) elements: Vec<f64>,
}

impl ParameterCovariance {
    /// Numbers in the triangle.
    pub(crate) fn length(unknowns: usize) -> usize {
        unknowns * (unknowns + 1) / 2
    }
}

impl FitCovariance for ParameterCovariance {
    fn product(&self, a: &[f64], b: &[f64]) -> f64 {
        let (mut rest, mut sum) = (self.elements.as_slice(), 0.0);
        for i in 0..self.unknowns {
            let (row, further) = rest.split_at(i + 1);
            rest = further;
            let (mut of_a, mut of_b) = (0.0, 0.0);
            for ((c, a), b) in row[..i].iter().zip(a).zip(b) {
                of_a += c * a;
                of_b += c * b;
            }
            sum += b[i] * (of_a + row[i] * a[i]) + a[i] * of_b;
        }
        sum
    }
}

/// Where a measurement comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) reference: String,
    pub(crate) target: String,
    /// Units of the target's and the reference's pixels.
    pub(crate) unit: String,
    pub(crate) reference_unit: String,
    pub(crate) scale: f64,
    pub(crate) verdict: String,
    /// Of the target; or why its places on the sky are not known.
    pub(crate) sky: Result<Option<Sky>, String>,
}

impl Origin {
    /// Of a result and the header of its target.
    pub(crate) fn of(report: &Report, target: &Header) -> Self {
        Self {
            reference: report.reference.image.clone(),
            target: report.target.image.clone(),
            unit: report.target.unit.clone(),
            reference_unit: report.reference.unit.clone(),
            scale: report.photometric_scale.value,
            verdict: report.verdict.level.name().to_owned(),
            sky: Sky::of(target),
        }
    }
}

impl Scenery {
    /// Of a subtraction whose parameters have a covariance; `psf` is the reference's if it is given.
    pub(crate) fn of<T: Real>(
        subtraction: &Subtraction<T>,
        psf: Option<&FitsSpec>,
    ) -> Result<Self> {
        let Subtraction { difference, report, reference, target, basis } = subtraction;
        let name = &target.taken.image;
        ensure!(
            report.kernel.convolves == "reference",
            "{name}: sources are measured where the reference is convolved, and here the target was; add --convolve reference, or give as the reference the image \
             of the better seeing"
        );
        let psf = match psf {
            Some(spec) => given_psf(spec)?,
            None => reference_psf(
                reference.image.view(),
                &reference.unusable(),
                &PsfOptions::default(),
            )
            .with_context(|| {
                format!(
                    "{}: the sources cannot be measured; give --reference-psf FILE, an image of odd sides with a star in its middle",
                    reference.taken.image
                )
            })?,
        };
        let matrix = difference.covariance.as_ref().context("the fit has no covariance")?;
        let unknowns = difference.parameters.len();
        let pairs = (0..unknowns).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let scale = difference.noise_scale as f32;
        Ok(Self {
            origin: Origin::of(report, &target.header),
            difference: difference.difference.map(|value| value.widen() as f32),
            target_variance: variance(target, &difference.model).map(|v| scale * v),
            reference_variance: variance(reference, &reference.image),
            reference: light(reference, difference.reference_sky),
            mask: difference.mask.clone(),
            basis: *basis,
            design: difference.design.clone(),
            parameters: difference.parameters.clone(),
            covariance: ParameterCovariance {
                unknowns,
                elements: pairs.map(|(i, j)| matrix[(i, j)]).collect(),
            },
            psf,
            photon: match target.exposure().noise {
                NoiseModel::Ccd(ccd, _) => difference.noise_scale * ccd.photon(1.0),
                NoiseModel::Variance(_) => 0.0,
            },
        })
    }

    /// To be measured on.
    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene {
            difference: self.difference.view(),
            target_variance: self.target_variance.view(),
            reference_variance: self.reference_variance.view(),
            reference: self.reference.view(),
            mask: &self.mask,
            design: &self.design,
            parameters: &self.parameters,
            reference_psf: &self.psf,
            photon: self.photon,
            covariance: Some(&self.covariance),
        }
    }
}

/// The PSF in an image.
fn given_psf(spec: &FitsSpec) -> Result<ReferencePsf> {
    let context = || format!("the PSF {spec} cannot be used");
    let (file, index): (FitsFile, usize) = spec.open_selected().with_context(context)?;
    let image = file.read_image::<f64>(index).with_context(context)?;
    let (height, width) = (image.height, image.width);
    ensure!(
        height % 2 == 1 && width % 2 == 1,
        "{}: it has {height} × {width} pixels; give an image of odd sides, with the star in its middle pixel",
        context()
    );
    let image = Image::from_vec(height, width, image.pixels).with_context(context)?;
    ReferencePsf::of_image(&image).with_context(context)
}

/// σ² of an image at the values `at`, in the square of its unit; 0 where they are not known.
fn variance<T: Real>(input: &Input<T>, at: &Image<T>) -> Image<f32> {
    let (height, width) = at.view().shape();
    match input.exposure().noise {
        NoiseModel::Variance(variance) => {
            let known = |v: f32| if v.is_finite() { v } else { 0.0 };
            Image::from_fn(height, width, |y, x| known(variance.at(y, x).widen() as f32))
        }
        NoiseModel::Ccd(ccd, _) => at.map(|value| {
            let variance = ccd.of_value(value.widen());
            if variance.is_finite() { variance as f32 } else { 0.0 }
        }),
    }
}

/// The reference without its sky; NaN where it is masked.
fn light<T: Real>(reference: &Input<T>, sky: f64) -> Image<f32> {
    let mask = reference.unusable();
    let (height, width) = reference.image.view().shape();
    Image::from_fn(height, width, |y, x| {
        let good = mask.at(y, x).is_empty();
        if good { (reference.image.view().at(y, x).widen() - sky) as f32 } else { f32::NAN }
    })
}

#[cfg(test)]
mod tests {
    use dia_photometry::FitCovariance;

    use super::ParameterCovariance;

    #[test]
    fn a_triangle_is_the_whole_symmetric_matrix() {
        // (2 3 5; 3 7 11; 5 11 13).
        let elements = vec![2.0, 3.0, 7.0, 5.0, 11.0, 13.0];
        let covariance = ParameterCovariance { unknowns: 3, elements };
        assert_eq!(covariance.elements.len(), ParameterCovariance::length(3));
        let (a, b) = ([1.0, -1.0, 2.0], [0.5, 1.0, 3.0]);
        // C b = (19, 41.5, 52.5).
        assert_eq!(covariance.product(&a, &b), 19.0 - 41.5 + 105.0);
        assert_eq!(covariance.product(&b, &a), covariance.product(&a, &b));
    }
}
