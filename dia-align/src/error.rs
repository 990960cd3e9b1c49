//! Why two images could not be aligned, or what a header says of the sky not be understood.

/// An alignment that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// A list that is too short to be recognised.
    #[error(
        "{first} and {second} stars were found, and {needed} in each image are the fewest whose pattern can be recognised"
    )]
    FewStars {
        /// Stars of the first list.
        first: usize,
        /// Of the second.
        second: usize,
        /// The fewest.
        needed: usize,
    },
    /// Lists that chance explains.
    #[error(
        "{first} and {second} stars were found, of which {pairs} meet at best, and as many would by chance with a probability of 10^{:.1}", log_chance.min(0.0)
    )]
    NoMatch {
        /// Stars of the first list.
        first: usize,
        /// Of the second.
        second: usize,
        /// Pairs under the best map.
        pairs: usize,
        /// log₁₀ of the bound on the chance of them.
        log_chance: f64,
    },
}
