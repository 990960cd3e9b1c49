//! A target on its way from the host to where the operator computes.

use std::fmt;

use dia_core::{Design, DesignMatrix, Photon};

use crate::robust::sample_fit::SampledTarget;
use crate::{FitOptions, Prepared, RowSample, SubtractError};

/// The pixels of a prepared target where the operator computes, and of the sampled ones a copy where the fit starts. Made by one thread while another
/// one fits, it hides the transfer.
pub struct Uploaded<A: DesignMatrix> {
    pub(crate) sampled: Sampled<A::Pixel>,
    /// Enough for all columns of the design, where fewer are fitted first.
    pub(crate) ample: Option<Sampled<A::Pixel>>,
    pub(crate) data: A::Data,
    /// The part of σ² that does not depend on the model.
    pub(crate) fixed: A::Data,
    pub(crate) photon: Photon<A::Data>,
}

/// The rows that were drawn, and the target there.
pub(crate) struct Sampled<T> {
    pub(crate) draw: RowSample,
    pub(crate) target: SampledTarget<T>,
}

impl<A: DesignMatrix> Uploaded<A> {
    /// Draws the sample, and moves the planes of `prepared` to where `a` computes, which is free on the CPU.
    ///
    /// What asks `prepared` for its weights panics afterwards.
    ///
    /// # Errors
    /// [`SubtractError::AlreadyFitted`] if that was done before; if there is not enough memory or a transfer fails.
    pub fn new(
        prepared: &mut Prepared<'_, A::Pixel>,
        a: &A,
        options: &FitOptions,
    ) -> Result<Self, SubtractError> {
        if prepared.data.is_empty() {
            return Err(SubtractError::AlreadyFitted);
        }
        let sampled = |design: &Design| {
            let rows = options.sample_per_unknown * design.constant().ncols();
            let draw = RowSample::draw(prepared, rows, options.seed);
            Sampled { target: SampledTarget::new(prepared, &draw), draw }
        };
        let (whole, simplest) = (a.design(), options.simplest(a.design()));
        let ample = (simplest.background() != whole.background()).then(|| sampled(whole));
        let sampled = sampled(&simplest);
        let photon = std::mem::replace(&mut prepared.photon, Photon::Uniform(0.0));
        Ok(Self {
            sampled,
            ample,
            data: a.upload(std::mem::take(&mut prepared.data))?,
            fixed: a.upload(std::mem::take(&mut prepared.fixed))?,
            photon: photon.try_map(|photon| a.upload(photon))?,
        })
    }
}

impl<A: DesignMatrix> fmt::Debug for Uploaded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploaded").field("sample", &self.sampled.draw).finish_non_exhaustive()
    }
}
