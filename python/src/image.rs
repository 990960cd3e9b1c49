//! An image of Python as an input of the library, and planes as arrays: memory is borrowed on the way in and handed over on the way out.

use dia_cli::fits::{CARD_LENGTH, Header};
use dia_cli::{Input, Real, Role};
use dia_core::{CcdNoise, Image, ImageError, ImageView, Mask, MaskPlanes, NoiseModel};
use dia_solvers::Exposure;
use numpy::ndarray::Array2;
use numpy::{Element, IntoPyArray, PyArray2, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::unusable;

/// An image as Python's `dia._images.Image` holds it.
pub(crate) struct Borrowed<'py, T: Element> {
    name: String,
    pixels: PyReadonlyArray2<'py, T>,
    variance: Option<PyReadonlyArray2<'py, T>>,
    mask: Option<PyReadonlyArray2<'py, bool>>,
    gain: f64,
    read_noise: f64,
    subtracted_sky: f64,
    saturation: Option<f64>,
    cards: String,
}

/// The same without its hold on Python, to be read by other threads.
pub(crate) struct Planes<'a, T> {
    name: &'a str,
    role: Role,
    pixels: ImageView<'a, T>,
    variance: Option<ImageView<'a, T>>,
    mask: Option<Mask>,
    ccd: CcdNoise,
    saturation: Option<f64>,
    cards: &'a str,
}

impl<'py, T: Real + Element> Borrowed<'py, T> {
    pub(crate) fn of(image: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Self {
            name: image.getattr("name")?.extract()?,
            pixels: image.getattr("pixels")?.extract()?,
            variance: image.getattr("variance")?.extract()?,
            mask: image.getattr("mask")?.extract()?,
            gain: image.getattr("gain")?.extract()?,
            read_noise: image.getattr("read_noise")?.extract()?,
            subtracted_sky: image.getattr("subtracted_sky")?.extract()?,
            saturation: image.getattr("saturation")?.extract()?,
            cards: image.getattr("cards")?.extract()?,
        })
    }

    pub(crate) fn planes(&self, role: Role) -> PyResult<Planes<'_, T>> {
        Ok(Planes {
            name: &self.name,
            role,
            pixels: view(&self.pixels)?,
            variance: self.variance.as_ref().map(view).transpose()?,
            mask: self.mask.as_ref().map(mask).transpose()?,
            ccd: CcdNoise {
                gain: self.gain,
                read_noise: self.read_noise,
                subtracted_sky: self.subtracted_sky,
            },
            saturation: self.saturation,
            cards: &self.cards,
        })
    }
}

impl<T: Real> Planes<'_, T> {
    /// Checked by the library.
    fn input(&self) -> Result<Input<T>, dia_cli::Error> {
        let noise = match self.variance {
            Some(variance) => NoiseModel::Variance(variance),
            None => NoiseModel::Ccd(self.ccd, None),
        };
        let exposure = Exposure {
            image: self.pixels,
            mask: self.mask.as_ref(),
            noise,
            saturation: self.saturation,
        };
        let input = Input::of_exposure(self.name, self.role, &exposure)?;
        Ok(input.with_header(header(self.cards)))
    }
}

/// Both images, checked at once.
pub(crate) fn inputs<T: Real>(
    reference: &Planes<'_, T>,
    target: &Planes<'_, T>,
) -> PyResult<(Input<T>, Input<T>)> {
    let (reference, target) = rayon::join(|| reference.input(), || target.input());
    reference.and_then(|reference| Ok((reference, target?))).map_err(|error| unusable(&error))
}

fn layout(error: ImageError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn view<'a, T: Real + Element>(array: &'a PyReadonlyArray2<'_, T>) -> PyResult<ImageView<'a, T>> {
    ImageView::try_from(array.as_array()).map_err(layout)
}

/// Pixels that are true are bad.
fn mask(array: &PyReadonlyArray2<'_, bool>) -> PyResult<Mask> {
    let array = array.as_array();
    let planes = |bad: &bool| if *bad { MaskPlanes::USER } else { MaskPlanes::empty() };
    let (height, width) = array.dim();
    Mask::from_vec(height, width, array.iter().map(planes).collect()).map_err(layout)
}

/// Cards of 80 characters, one after the other.
fn header(cards: &str) -> Header {
    let mut header = Header::new();
    let (cards, _) = cards.as_bytes().as_chunks::<CARD_LENGTH>();
    for card in cards {
        header.push_card(*card);
    }
    header
}

/// An array over the memory of an image.
pub(crate) fn array<T: Real + Element>(py: Python<'_>, image: Image<T>) -> Bound<'_, PyArray2<T>> {
    Array2::from(image).into_pyarray(py)
}

/// The bits of a mask.
pub(crate) fn bits<'py>(py: Python<'py>, mask: &Mask) -> PyResult<Bound<'py, PyArray2<u16>>> {
    let bits = mask.planes().iter().map(MaskPlanes::bits).collect();
    let array = Array2::from_shape_vec((mask.height(), mask.width()), bits);
    let array = array.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(array.into_pyarray(py))
}
