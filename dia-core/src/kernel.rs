//! The convolution kernel and the pixels that it may use.

use crate::Image;

/// The outline of the free pixels inside the (2h + 1)² square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KernelShape {
    /// All (2h + 1)² pixels.
    #[default]
    Square,
    /// The pixels within a radius of h + ½ of the centre.
    Circle,
}

/// The set of offsets u = (dy, dx), |dy|, |dx| ≤ h, at which a kernel may differ from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSupport {
    half_width: usize,
    shape: KernelShape,
    /// The largest |dx| in each row dy = −h … h.
    reach: Vec<isize>,
}

impl KernelSupport {
    /// The support of half-width h in pixels; its sides have the odd length 2h + 1.
    pub fn new(half_width: usize, shape: KernelShape) -> Self {
        let h = half_width as isize;
        let reach = |dy: isize| match shape {
            KernelShape::Square => h,
            // dx² + dy² ≤ (h + ½)² means ≤ h² + h for whole numbers.
            KernelShape::Circle => {
                (0..=h).rev().find(|dx| dx * dx + dy * dy <= h * h + h).unwrap_or(0)
            }
        };
        Self { half_width, shape, reach: (-h..=h).map(reach).collect() }
    }

    /// h, in pixels.
    pub fn half_width(&self) -> usize {
        self.half_width
    }

    /// The outline.
    pub fn shape(&self) -> KernelShape {
        self.shape
    }

    /// 2h + 1, in pixels.
    pub fn side(&self) -> usize {
        2 * self.half_width + 1
    }

    /// Number of pixels in the support.
    pub fn len(&self) -> usize {
        self.reach.iter().map(|r| 2 * *r as usize + 1).sum()
    }

    /// Never: the central pixel always belongs to it.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The largest |dx| of the support in row `dy`, −h ≤ dy ≤ h.
    pub fn row_reach(&self, dy: isize) -> isize {
        self.reach[(dy + self.half_width as isize) as usize]
    }

    /// The offsets (dy, dx), row after row; the order of the coefficients of a delta basis.
    pub fn offsets(&self) -> impl Iterator<Item = (isize, isize)> + '_ {
        let h = self.half_width as isize;
        (-h..=h).flat_map(move |dy| {
            let reach = self.row_reach(dy);
            (-reach..=reach).map(move |dx| (dy, dx))
        })
    }

    /// For each offset of [`offsets`](Self::offsets), its place in the row-major (2h + 1)² square.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let (h, side) = (self.half_width as isize, self.side() as isize);
        self.offsets().map(move |(dy, dx)| ((dy + h) * side + dx + h) as usize)
    }
}

/// A convolution kernel K on the (2h + 1)² square: (R ⊗ K)(p) = Σ_u K(u) R(p − u).
///
/// The centre u = (0, 0) is element (h, h). The orientation is that of `scipy.signal.convolve2d`: convolving an image
/// that holds a single pixel of value 1 gives a copy of the kernel. Values are dimensionless, target ADU per reference ADU.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    half_width: usize,
    pixels: Vec<f64>,
}

impl Kernel {
    /// The kernel that is zero everywhere.
    pub fn zero(half_width: usize) -> Self {
        let side = 2 * half_width + 1;
        Self { half_width, pixels: vec![0.0; side * side] }
    }

    /// The kernel whose value at offset (dy, dx) is `value(dy, dx)`.
    pub fn from_fn(half_width: usize, mut value: impl FnMut(isize, isize) -> f64) -> Self {
        let h = half_width as isize;
        let pixels = (-h..=h)
            .flat_map(|dy| (-h..=h).map(move |dx| (dy, dx)))
            .map(|(dy, dx)| value(dy, dx))
            .collect();
        Self { half_width, pixels }
    }

    /// The normalised circular Gaussian of width σ in pixels.
    pub fn gaussian(half_width: usize, sigma: f64) -> Self {
        let mut kernel = Self::from_fn(half_width, |dy, dx| {
            (-0.5 * ((dy * dy + dx * dx) as f64) / (sigma * sigma)).exp()
        });
        let sum = kernel.photometric_scale();
        kernel.pixels.iter_mut().for_each(|k| *k /= sum);
        kernel
    }

    /// The pixels within a smaller `half_width`.
    ///
    /// # Panics
    /// If it is larger than the kernel's.
    #[must_use]
    pub fn within(&self, half_width: usize) -> Self {
        assert!(half_width <= self.half_width, "a part is not larger than the whole");
        Self::from_fn(half_width, |dy, dx| self.at(dy, dx))
    }

    /// h, in pixels.
    pub fn half_width(&self) -> usize {
        self.half_width
    }

    /// 2h + 1, in pixels.
    pub fn side(&self) -> usize {
        2 * self.half_width + 1
    }

    /// All (2h + 1)² values, row after row.
    pub fn pixels(&self) -> &[f64] {
        &self.pixels
    }

    /// All (2h + 1)² values, row after row, to be changed.
    pub fn pixels_mut(&mut self) -> &mut [f64] {
        &mut self.pixels
    }

    /// K at the offset (dy, dx), |dy|, |dx| ≤ h.
    pub fn at(&self, dy: isize, dx: isize) -> f64 {
        let h = self.half_width as isize;
        self.pixels[((dy + h) * (2 * h + 1) + dx + h) as usize]
    }

    /// K(0), the pixel in the middle.
    pub fn centre(&self) -> f64 {
        self.pixels[self.pixels.len() / 2]
    }

    /// P = ΣK: target ADU per reference ADU of a star.
    pub fn photometric_scale(&self) -> f64 {
        self.pixels.iter().sum()
    }

    /// The kernel of the squared values K², which carries the reference's variance into the model.
    pub fn squared(&self) -> Self {
        Self { half_width: self.half_width, pixels: self.pixels.iter().map(|k| k * k).collect() }
    }

    /// The flux-weighted mean offset (dy, dx) in pixels; how far a star moves from the reference to the target.
    pub fn centroid(&self) -> (f64, f64) {
        let h = self.half_width as f64;
        let (mut sum_y, mut sum_x) = (0.0, 0.0);
        for (row, k) in self.pixels.chunks(self.side()).enumerate() {
            for (column, k) in k.iter().enumerate() {
                sum_y += k * (row as f64 - h);
                sum_x += k * (column as f64 - h);
            }
        }
        let scale = self.photometric_scale();
        (sum_y / scale, sum_x / scale)
    }

    /// The kernel as an image of (2h + 1)² pixels, its centre in the middle.
    pub fn to_image(&self) -> Image<f64> {
        Image::from_vec(self.side(), self.side(), self.pixels.clone())
            .expect("a kernel holds side × side pixels")
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, KernelShape, KernelSupport};

    #[test]
    fn supports_count_and_order_their_offsets() {
        let square = KernelSupport::new(2, KernelShape::Square);
        assert_eq!((square.len(), square.offsets().count()), (25, 25));
        assert!(square.places().eq(0..25));
        // Within 2.5 px of the centre: rows of 3, 5, 5, 5, 3.
        let circle = KernelSupport::new(2, KernelShape::Circle);
        assert_eq!((circle.len(), circle.offsets().count()), (21, 21));
        assert!(circle.offsets().all(|(dy, dx)| dy * dy + dx * dx <= 6));
        assert_eq!(KernelSupport::new(0, KernelShape::Circle).len(), 1);
    }

    #[test]
    fn gaussian_is_centred_normalised_and_as_wide_as_asked() {
        let kernel = Kernel::gaussian(12, 1.5);
        assert!((kernel.photometric_scale() - 1.0).abs() < 1e-14);
        let (dy, dx) = kernel.centroid();
        assert!(dy.abs() < 1e-13 && dx.abs() < 1e-13);
        let second: f64 = (-12..=12)
            .flat_map(|dy: isize| (-12..=12).map(move |dx: isize| (dy, dx)))
            .map(|(dy, dx)| kernel.at(dy, dx) * (dx * dx) as f64)
            .sum();
        // Sampling a Gaussian of σ = 1.5 changes its second moment by about exp(−2π²σ²) < 1e-19; 12 px cut off at 8 σ.
        assert!((second - 2.25).abs() < 1e-12);
    }

    #[test]
    fn centroid_follows_a_shifted_delta() {
        let kernel = Kernel::from_fn(3, |dy, dx| if (dy, dx) == (-1, 2) { 0.5 } else { 0.0 });
        assert_eq!(kernel.centroid(), (-1.0, 2.0));
        assert_eq!(kernel.at(-1, 2), 0.5);
    }
}
