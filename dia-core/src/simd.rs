//! Plain loops, compiled for the vector registers of the machine that runs them.

/// A loop with its arguments, or a closure. Only what is inlined into it is compiled for wide vectors: `call`, or the closure, and all that it
/// leaves to others have to be `#[inline(always)]` or small.
pub use pulp::NullaryFnOnce as Loop;

/// Runs a loop with the widest vectors that the machine has.
///
/// Nothing is reordered or fused: the bits are the same with vectors of any width.
///
/// ```
/// use dia_core::simd::widest;
///
/// let mut squares = [1.0_f32, 2.0, 3.0];
/// widest(
///     #[inline(always)]
///     || squares.iter_mut().for_each(|v| *v *= *v),
/// );
/// assert_eq!(squares, [1.0, 4.0, 9.0]);
/// ```
pub fn widest<L: Loop>(body: L) -> L::Output {
    pulp::Arch::new().dispatch(body)
}
