//! Transposition of square planes, in place.

use pulp::Arch;

/// Side of the blocks that are transposed at once: both sides stay within a few cache lines.
const BLOCK: usize = 8;

/// Element types with a fast transposition.
pub trait Transpose: Copy {
    /// Exchanges rows and columns of a plane of `side`² elements, a multiple of 8 squared, with rows `stride` apart.
    fn transpose(arch: Arch, plane: &mut [Self], side: usize, stride: usize);
}

impl Transpose for f64 {
    fn transpose(_: Arch, plane: &mut [f64], side: usize, stride: usize) {
        blocks(plane, side, stride, turn);
    }
}

impl Transpose for f32 {
    fn transpose(arch: Arch, plane: &mut [f32], side: usize, stride: usize) {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            // AVX-512 includes AVX, and moves no more elements per cycle with its wider shuffles.
            let avx = match arch {
                Arch::V4(simd) => Some(*simd),
                Arch::V3(simd) => Some(simd),
                _ => None,
            };
            if let Some(simd) = avx {
                return simd.vectorize(
                    #[inline(always)]
                    || {
                        blocks(
                            plane,
                            side,
                            stride,
                            #[inline(always)]
                            |block| avx::turn(simd, block),
                        );
                    },
                );
            }
        }
        let _ = arch;
        blocks(plane, side, stride, turn);
    }
}

type Block<T> = [[T; BLOCK]; BLOCK];

/// Cuts the plane into blocks, turns each, and exchanges those on both sides of the diagonal.
#[inline(always)]
fn blocks<T: Copy>(
    plane: &mut [T],
    side: usize,
    stride: usize,
    turn: impl Fn(Block<T>) -> Block<T>,
) {
    for y in (0..side).step_by(BLOCK) {
        for x in (y..side).step_by(BLOCK) {
            let above = turn(load(plane, y * stride + x, stride));
            let below = turn(load(plane, x * stride + y, stride));
            store(plane, x * stride + y, stride, above);
            store(plane, y * stride + x, stride, below);
        }
    }
}

#[inline(always)]
#[expect(clippy::manual_memcpy, reason = "library functions are compiled without the vectors")]
fn load<T: Copy>(plane: &[T], start: usize, stride: usize) -> Block<T> {
    let mut block = [[plane[start]; BLOCK]; BLOCK];
    for i in 0..BLOCK {
        let row = &plane[start + i * stride..][..BLOCK];
        for j in 0..BLOCK {
            block[i][j] = row[j];
        }
    }
    block
}

#[inline(always)]
#[expect(clippy::manual_memcpy, reason = "library functions are compiled without the vectors")]
fn store<T: Copy>(plane: &mut [T], start: usize, stride: usize, block: Block<T>) {
    for i in 0..BLOCK {
        let row = &mut plane[start + i * stride..][..BLOCK];
        for j in 0..BLOCK {
            row[j] = block[i][j];
        }
    }
}

#[inline(always)]
fn turn<T: Copy>(block: Block<T>) -> Block<T> {
    let mut turned = block;
    for i in 0..BLOCK {
        for j in 0..BLOCK {
            turned[i][j] = block[j][i];
        }
    }
    turned
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx {
    #[cfg(target_arch = "x86")]
    use std::arch::x86::__m256;
    #[cfg(target_arch = "x86_64")]
    use std::arch::x86_64::__m256;

    use pulp::cast;
    use pulp::x86::V3;

    use super::Block;

    /// Eight rows of eight numbers in registers: pairs of rows, then pairs of pairs, then halves are interleaved.
    #[inline(always)]
    pub(super) fn turn(simd: V3, block: Block<f32>) -> Block<f32> {
        let avx = simd.avx;
        let [a, b, c, d, e, f, g, h]: [__m256; 8] = cast(block);
        let low = |a, b| avx._mm256_unpacklo_ps(a, b);
        let high = |a, b| avx._mm256_unpackhi_ps(a, b);
        let [s0, s1, s2, s3] = [low(a, b), high(a, b), low(c, d), high(c, d)];
        let [s4, s5, s6, s7] = [low(e, f), high(e, f), low(g, h), high(g, h)];
        let first = |a, b| avx._mm256_shuffle_ps::<0x44>(a, b);
        let second = |a, b| avx._mm256_shuffle_ps::<0xee>(a, b);
        let [t0, t1, t2, t3] = [first(s0, s2), second(s0, s2), first(s1, s3), second(s1, s3)];
        let [t4, t5, t6, t7] = [first(s4, s6), second(s4, s6), first(s5, s7), second(s5, s7)];
        let left = |a, b| avx._mm256_permute2f128_ps::<0x20>(a, b);
        let right = |a, b| avx._mm256_permute2f128_ps::<0x31>(a, b);
        cast([
            left(t0, t4),
            left(t1, t5),
            left(t2, t6),
            left(t3, t7),
            right(t0, t4),
            right(t1, t5),
            right(t2, t6),
            right(t3, t7),
        ])
    }
}

#[cfg(test)]
mod tests {
    use pulp::Arch;

    use super::Transpose;

    #[test]
    fn rows_and_columns_are_exchanged_and_the_rest_is_left_alone() {
        fn check<T: Transpose + PartialEq + From<u16>>() {
            let (side, stride) = (32, 40);
            let original: Vec<T> = (0..32 * 40).map(T::from).collect();
            let mut plane = original.clone();
            T::transpose(Arch::new(), &mut plane, side, stride);
            for (i, value) in plane.into_iter().enumerate() {
                let (y, x) = (i / stride, i % stride);
                let expected = if x < side { x * stride + y } else { i };
                assert!(value == original[expected], "({y}, {x})");
            }
        }
        check::<f32>();
        check::<f64>();
    }
}
