//! Transposition of square planes.

use std::ops::Range;

use pulp::Arch;

/// Side of the blocks that are transposed at once: both sides stay within a few cache lines.
pub(crate) const BLOCK: usize = 8;

/// Element types with a fast transposition.
pub trait Transpose: Copy {
    /// `to[x][y]` ← `from[y][x]` for the given rows y and columns x; both planes have rows of `stride` elements, and all
    /// bounds are multiples of 8.
    fn transpose(
        arch: Arch,
        from: &[Self],
        to: &mut [Self],
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    );
}

impl Transpose for f64 {
    fn transpose(
        _: Arch,
        from: &[f64],
        to: &mut [f64],
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        blocks(from, to, stride, rows, columns, turn);
    }
}

impl Transpose for f32 {
    fn transpose(
        arch: Arch,
        from: &[f32],
        to: &mut [f32],
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
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
                    || blocks(from, to, stride, rows, columns, |block| avx::turn(simd, block)),
                );
            }
        }
        let _ = arch;
        blocks(from, to, stride, rows, columns, turn);
    }
}

type Block<T> = [[T; BLOCK]; BLOCK];

/// Cuts the planes into blocks and turns each.
#[inline(always)]
fn blocks<T: Copy>(
    from: &[T],
    to: &mut [T],
    stride: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    turn: impl Fn(Block<T>) -> Block<T>,
) {
    for y in rows.step_by(BLOCK) {
        for x in columns.clone().step_by(BLOCK) {
            // Plain loops: what goes through closures of the standard library is compiled without the vector instructions.
            let mut block = [[from[0]; BLOCK]; BLOCK];
            for i in 0..BLOCK {
                let row = &from[(y + i) * stride + x..][..BLOCK];
                for j in 0..BLOCK {
                    block[i][j] = row[j];
                }
            }
            let block = turn(block);
            for i in 0..BLOCK {
                let row = &mut to[(x + i) * stride + y..][..BLOCK];
                for j in 0..BLOCK {
                    row[j] = block[i][j];
                }
            }
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
    fn blocks_are_turned_and_the_rest_is_left_alone() {
        fn check<T: Transpose + PartialEq + From<u16>>() {
            let stride = 40;
            let from: Vec<T> = (0..40 * 40).map(|i| T::from(i + 1)).collect();
            let mut to = vec![T::from(0); 40 * 40];
            T::transpose(Arch::new(), &from, &mut to, stride, 8..32, 16..24);
            for (i, value) in to.into_iter().enumerate() {
                let (x, y) = (i / stride, i % stride);
                let turned = (8..32).contains(&y) && (16..24).contains(&x);
                let expected = if turned { from[y * stride + x] } else { T::from(0) };
                assert!(value == expected, "({x}, {y})");
            }
        }
        check::<f32>();
        check::<f64>();
    }
}
