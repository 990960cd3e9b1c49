//! Polynomials at the valid pixels.

use dia_core::{Polynomial2d, Region};

use crate::vector::Lanes;

/// The factors of the polynomials P_i(x) P_j(y) at the valid pixels, in the precision of the pixels.
pub(crate) struct Factors<T> {
    /// (i, j) of each polynomial, in order.
    pub(crate) powers: Vec<(usize, usize)>,
    /// P_i at each valid column, for i ≤ degree.
    pub(crate) x: Vec<Vec<T>>,
    /// P_j at each valid row, for j ≤ degree.
    pub(crate) y: Vec<Vec<T>>,
}

impl<T: Lanes> Factors<T> {
    pub(crate) fn new(polynomial: &Polynomial2d, valid: Region) -> Self {
        let line = |values: &[f64], first: usize, length: usize| {
            values[first..first + length].iter().map(|p| T::nearest(*p)).collect()
        };
        let degrees = 0..=polynomial.degree();
        Self {
            powers: polynomial.powers().collect(),
            x: degrees
                .clone()
                .map(|i| line(polynomial.factors_x(i), valid.x, valid.width))
                .collect(),
            y: degrees.map(|j| line(polynomial.factors_y(j), valid.y, valid.height)).collect(),
        }
    }
}
