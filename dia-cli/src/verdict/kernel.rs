//! Whether the kernel is one that a change of seeing makes.

use dia_core::Kernel;

use crate::notice::{Level, Notice};

/// A share of |K| in its outermost ring that a kernel with room does not have; wings of Moffat profiles hold half a percent there.
const BORDER: f64 = 0.05;

/// Displacement in pixels. Alignment leaves half a pixel in each direction, 0.7 in all; its own error on few faint stars may be as large again.
const CENTROID: f64 = 1.5;

/// √ΣK²/|ΣK|, by which the kernel multiplies the noise of a single pixel against that of light. A kernel that only widens has at most 1; the noise of its pixels adds to it.
const AMPLIFICATION: f64 = 1.1;

/// Judges a kernel that is more than wings out to `inner` pixels.
pub(super) fn judge(kernel: &Kernel, inner: usize) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut doubt = |code, value: f64, limit: f64, text: String| {
        if value > limit {
            notices.push(Notice::new(Level::Warn, code, text).measured(value, limit));
        }
    };
    let border = share_at_the_border(kernel, inner);
    let text = format!(
        "the kernel has {:.0} % of its weight in its outermost ring: it wants more room; give a larger --half-width, or check the alignment",
        100.0 * border
    );
    doubt("kernel-border", border, BORDER, text);

    let (dy, dx) = kernel.centroid();
    let off = dy.hypot(dx);
    let text = format!(
        "the kernel moves stars by {off:.2} pixels (dx {dx:+.2}, dy {dy:+.2}), which is more than alignment leaves: the offset is wrong, or the light of the stars differs in shape; \
         check the alignment, or give --align DX,DY"
    );
    doubt("kernel-centroid", off, CENTROID, text);

    let squares = kernel.pixels().iter().map(|k| k * k).sum::<f64>();
    let amplification = squares.sqrt() / kernel.photometric_scale().abs();
    let text = format!(
        "the kernel multiplies noise by {amplification:.2}: it sharpens stars instead of widening them; give --convolve target, or change the images' places"
    );
    doubt("deconvolution", amplification, AMPLIFICATION, text);
    notices
}

/// Σ|K| over the outermost ring within `inner` pixels and over the wings beyond, relative to all.
fn share_at_the_border(kernel: &Kernel, inner: usize) -> f64 {
    let (h, side) = (kernel.half_width() as f64, 2 * kernel.half_width() + 1);
    let (mut ring, mut all) = (0.0, 0.0);
    for (i, k) in kernel.pixels().iter().enumerate() {
        let (dy, dx) = ((i / side) as f64 - h, (i % side) as f64 - h);
        all += k.abs();
        if dy.hypot(dx) > inner as f64 - 1.0 {
            ring += k.abs();
        }
    }
    if all > 0.0 { ring / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use dia_core::Kernel;

    use super::judge;

    fn codes(kernel: &Kernel) -> Vec<&'static str> {
        judge(kernel, 8).iter().map(|notice| notice.code).collect()
    }

    #[test]
    fn a_kernel_that_widens_is_not_doubted() {
        assert!(codes(&Kernel::gaussian(8, 1.5)).is_empty());
        // A Gaussian of σ = 5 has half of its light within 5.9 pixels of the 8 that it is given.
        assert_eq!(codes(&Kernel::gaussian(8, 5.0)), ["kernel-border"]);
    }

    #[test]
    fn a_displaced_and_a_sharpening_kernel_are_named() {
        let gaussian =
            |dy: f64, dx: f64, sigma: f64| (-0.5 * (dy * dy + dx * dx) / (sigma * sigma)).exp();
        let moved = Kernel::from_fn(8, |dy, dx| gaussian(dy as f64, dx as f64 - 2.0, 1.2));
        assert_eq!(codes(&moved), ["kernel-centroid"]);
        // 2δ less a Gaussian of sum 1, √(4 − 4·0.11 + 0.055) = 1.9.
        let sharp = Kernel::from_fn(8, |dy, dx| {
            let delta = if dy == 0 && dx == 0 { 2.0 } else { 0.0 };
            delta - gaussian(dy as f64, dx as f64, 1.2) / (std::f64::consts::TAU * 1.44)
        });
        assert_eq!(codes(&sharp), ["deconvolution"]);
    }
}
