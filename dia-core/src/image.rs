//! Rectangular images in row-major order, owned and borrowed.

use ndarray::{Array2, ArrayView2};

use crate::{ImageError, Pixel};

/// An image of `height` rows and `width` columns; pixel (y, x) is element `y * width + x`.
///
/// x is the first FITS axis (the fast one), y the second. Values are in ADU unless said otherwise.
/// Conversions from and to [`ndarray`] arrays move or borrow the memory, they never copy:
///
/// ```
/// use dia_core::{Image, ImageView};
/// use ndarray::{Array2, ArrayView2};
///
/// let array = Array2::from_shape_fn((2, 3), |(y, x)| (10 * y + x) as f32);
/// let view = ImageView::try_from(array.view())?;
/// assert_eq!(view.at(1, 2), 12.0);
/// let image = Image::try_from(array)?;
/// let back: ArrayView2<'_, f32> = image.view().into();
/// assert_eq!(back[[1, 2]], 12.0);
/// # Ok::<(), dia_core::ImageError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Image<T = f32> {
    height: usize,
    width: usize,
    pixels: Vec<T>,
}

impl<T: Pixel> Image<T> {
    /// An image of one value.
    pub fn filled(height: usize, width: usize, value: T) -> Self {
        Self { height, width, pixels: vec![value; height * width] }
    }

    /// An image over the given pixels, row after row.
    ///
    /// # Errors
    /// [`ImageError::Length`] if there are not `height × width` pixels.
    pub fn from_vec(height: usize, width: usize, pixels: Vec<T>) -> Result<Self, ImageError> {
        check_length(height, width, pixels.len())?;
        Ok(Self { height, width, pixels })
    }

    /// An image whose pixel (y, x) is `value(y, x)`.
    pub fn from_fn(height: usize, width: usize, mut value: impl FnMut(usize, usize) -> T) -> Self {
        let pixels = (0..height * width).map(|i| value(i / width, i % width)).collect();
        Self { height, width, pixels }
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All pixels, row after row.
    pub fn pixels(&self) -> &[T] {
        &self.pixels
    }

    /// All pixels, row after row, to be changed.
    pub fn pixels_mut(&mut self) -> &mut [T] {
        &mut self.pixels
    }

    /// The pixels of row `y`, to be changed.
    pub fn row_mut(&mut self, y: usize) -> &mut [T] {
        &mut self.pixels[y * self.width..(y + 1) * self.width]
    }

    /// The pixels themselves, row after row.
    pub fn into_vec(self) -> Vec<T> {
        self.pixels
    }

    /// A borrowed view of the whole image.
    pub fn view(&self) -> ImageView<'_, T> {
        ImageView { height: self.height, width: self.width, pixels: &self.pixels }
    }

    /// The image with each value replaced by `f(value)`.
    pub fn map<U: Pixel>(&self, mut f: impl FnMut(T) -> U) -> Image<U> {
        let pixels = self.pixels.iter().map(|&value| f(value)).collect();
        Image { height: self.height, width: self.width, pixels }
    }
}

/// A borrowed [`Image`]: the same layout, and free to copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageView<'a, T = f32> {
    height: usize,
    width: usize,
    pixels: &'a [T],
}

impl<'a, T: Pixel> ImageView<'a, T> {
    /// A view of pixels that lie row after row.
    ///
    /// # Errors
    /// [`ImageError::Length`] if there are not `height × width` pixels.
    pub fn new(height: usize, width: usize, pixels: &'a [T]) -> Result<Self, ImageError> {
        check_length(height, width, pixels.len())?;
        Ok(Self { height, width, pixels })
    }

    /// Number of rows.
    pub fn height(self) -> usize {
        self.height
    }

    /// Number of columns.
    pub fn width(self) -> usize {
        self.width
    }

    /// (height, width).
    pub fn shape(self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// All pixels, row after row.
    pub fn pixels(self) -> &'a [T] {
        self.pixels
    }

    /// The pixels of row `y`.
    pub fn row(self, y: usize) -> &'a [T] {
        &self.pixels[y * self.width..(y + 1) * self.width]
    }

    /// The pixel in row `y` and column `x`.
    ///
    /// # Panics
    /// If it lies outside the image.
    pub fn at(self, y: usize, x: usize) -> T {
        assert!(x < self.width, "column {x} of an image of {} columns", self.width);
        self.pixels[y * self.width + x]
    }

    /// a − b − c + d of the 2 × 2 pixels from row `y` and column `x` on: of the noise of single pixels it has everything, and of stars and sky next to nothing.
    ///
    /// # Panics
    /// If one of them lies outside the image.
    pub fn mixed_difference(self, y: usize, x: usize) -> f64 {
        let [a, b, c, d] =
            [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)].map(|(y, x)| self.at(y, x).widen());
        a - b - c + d
    }

    /// An owned copy.
    pub fn to_owned(self) -> Image<T> {
        Image { height: self.height, width: self.width, pixels: self.pixels.to_vec() }
    }
}

fn check_length(height: usize, width: usize, pixels: usize) -> Result<(), ImageError> {
    if height.checked_mul(width) == Some(pixels) {
        Ok(())
    } else {
        Err(ImageError::Length { height, width, pixels })
    }
}

impl<'a, T: Pixel> From<&'a Image<T>> for ImageView<'a, T> {
    fn from(image: &'a Image<T>) -> Self {
        image.view()
    }
}

impl<'a, T: Pixel> TryFrom<ArrayView2<'a, T>> for ImageView<'a, T> {
    type Error = ImageError;

    /// Borrows a row-major array.
    ///
    /// # Errors
    /// [`ImageError::Layout`] if the array's rows are not contiguous one after the other.
    fn try_from(array: ArrayView2<'a, T>) -> Result<Self, ImageError> {
        let (height, width) = array.dim();
        let pixels = array.to_slice().ok_or(ImageError::Layout)?;
        Ok(Self { height, width, pixels })
    }
}

impl<'a, T: Pixel> From<ImageView<'a, T>> for ArrayView2<'a, T> {
    fn from(view: ImageView<'a, T>) -> Self {
        ArrayView2::from_shape((view.height, view.width), view.pixels)
            .expect("a view holds height × width pixels")
    }
}

impl<T: Pixel> TryFrom<Array2<T>> for Image<T> {
    type Error = ImageError;

    /// Takes over the memory of a row-major array.
    ///
    /// # Errors
    /// [`ImageError::Layout`] if the array's rows are not contiguous one after the other.
    fn try_from(array: Array2<T>) -> Result<Self, ImageError> {
        let (height, width) = array.dim();
        if !array.is_standard_layout() {
            return Err(ImageError::Layout);
        }
        let (pixels, offset) = array.into_raw_vec_and_offset();
        // An array sliced out of a larger one keeps the larger one's memory.
        if offset.unwrap_or(0) != 0 || pixels.len() != height * width {
            return Err(ImageError::Layout);
        }
        Ok(Self { height, width, pixels })
    }
}

impl<T: Pixel> From<Image<T>> for Array2<T> {
    fn from(image: Image<T>) -> Self {
        Array2::from_shape_vec((image.height, image.width), image.pixels)
            .expect("an image holds height × width pixels")
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, s};

    use super::{Image, ImageView};
    use crate::ImageError;

    #[test]
    fn ndarray_conversions_share_memory() {
        let array = Array2::from_shape_fn((3, 5), |(y, x)| (y * 5 + x) as f64);
        let start = array.as_ptr();
        assert_eq!(ImageView::try_from(array.view()).unwrap().pixels().as_ptr(), start);
        let image = Image::try_from(array).unwrap();
        assert_eq!(image.pixels().as_ptr(), start);
        assert_eq!(ArrayView2::from(image.view()).as_ptr(), start);
        assert_eq!(Array2::from(image).as_ptr(), start);
    }

    #[test]
    fn layouts_that_would_need_a_copy_are_refused() {
        let array = Array2::<f32>::zeros((4, 6));
        assert_eq!(ImageView::try_from(array.t()), Err(ImageError::Layout));
        assert_eq!(ImageView::try_from(array.slice(s![.., 1..3])), Err(ImageError::Layout));
        assert_eq!(Image::try_from(array.slice_move(s![1.., ..])), Err(ImageError::Layout));
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let error = Image::from_vec(2, 3, vec![0.0_f32; 5]).unwrap_err();
        assert_eq!(error, ImageError::Length { height: 2, width: 3, pixels: 5 });
        assert!(ImageView::new(usize::MAX, 2, &[0.0_f32]).is_err());
    }
}
