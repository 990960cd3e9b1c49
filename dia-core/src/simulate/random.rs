//! Random numbers: each purpose has a generator of its own.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What random numbers are for: each purpose has a generator of its own.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Stars = 1,
    ReferenceNoise,
    TargetNoise,
    Variables,
    Transients,
    CosmicRays,
    BadColumns,
}

/// The seed of the generators of one purpose; generator i is seeded with this plus i.
pub(super) fn seed_of(seed: u64, purpose: Purpose) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA): neighbouring seeds have nothing in common.
    let mut z = seed.wrapping_add((purpose as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Generator `index` of a purpose.
pub(super) fn generator(seed: u64, purpose: Purpose, index: usize) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed_of(seed, purpose).wrapping_add(index as u64))
}

/// A number between `low` and `high`, evenly distributed.
pub(super) fn between(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A number between `low` and `high` with an evenly distributed logarithm.
pub(super) fn between_logarithmic(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    between(rng, (low.ln(), high.ln())).exp().clamp(low, high)
}

/// A whole number below `n`, evenly distributed; the same on platforms of any word size.
pub(super) fn below(rng: &mut impl Rng, n: usize) -> usize {
    ((rng.random::<f64>() * n as f64) as usize).min(n - 1)
}
