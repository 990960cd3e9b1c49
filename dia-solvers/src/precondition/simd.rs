//! Plain loops, compiled for the vector registers of the machine that runs them.

/// A loop with its arguments. Only what is inlined into `call` is compiled for wide vectors: `call` itself and all that it
/// leaves to others have to be `#[inline(always)]` or small.
pub(crate) use pulp::NullaryFnOnce as Loop;

/// Runs a loop with the widest vectors that the machine has.
///
/// Nothing is reordered or fused: the bits are the same with vectors of any width.
pub(crate) fn widest<L: Loop>(body: L) -> L::Output {
    pulp::Arch::new().dispatch(body)
}
