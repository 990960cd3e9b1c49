//! A target on its way from the host to where the operator computes.

use std::fmt;

use dia_core::{DesignMatrix, Photon};

use crate::robust::sample_fit::SampledTarget;
use crate::{FitOptions, Prepared, RowSample, SubtractError};

/// The pixels of a prepared target where the operator computes, and of the sampled ones a copy where the fit starts. Made by one thread while another
/// one fits, it hides the transfer.
pub struct Uploaded<A: DesignMatrix> {
    pub(crate) sample: RowSample,
    pub(crate) sampled: SampledTarget<A::Pixel>,
    pub(crate) data: A::Data,
    /// The part of σ² that does not depend on the model.
    pub(crate) fixed: A::Data,
    pub(crate) photon: Photon<A::Data>,
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
        let rows = options.sample_per_unknown * a.design().constant().ncols();
        let sample = RowSample::draw(prepared, rows, options.seed);
        let sampled = SampledTarget::new(prepared, &sample);
        let photon = std::mem::replace(&mut prepared.photon, Photon::Uniform(0.0));
        Ok(Self {
            sample,
            sampled,
            data: a.upload(std::mem::take(&mut prepared.data))?,
            fixed: a.upload(std::mem::take(&mut prepared.fixed))?,
            photon: photon.try_map(|photon| a.upload(photon))?,
        })
    }
}

impl<A: DesignMatrix> fmt::Debug for Uploaded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploaded").field("sample", &self.sample).finish_non_exhaustive()
    }
}
