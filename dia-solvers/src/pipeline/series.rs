//! Many targets, one reference.

use std::panic;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dia_core::DesignMatrix;

use crate::pipeline::fit::fit_uploaded;
use crate::{
    Difference, Exposure, FitOptions, PreparedReference, SubtractError, Uploaded, difference,
};

/// Fits and subtracts one target after the other. The reference, in `a` and `reference_variance`, stays where they compute. While one target is
/// fitted, another thread takes the next one from `targets`, prepares it and moves its pixels there.
///
/// `targets` may read files: it is asked for one target at a time, and two exist at once, each with a copy of its pixels. `exposure` borrows from the target
/// alone: what it needs must be part of it. `take` is given the targets back in their order, each with its difference or its error, which does
/// not end the series. The results are those of [`subtract`](crate::subtract()), bit for bit, but for the `traffic` of an outcome: that has what both
/// threads moved meanwhile. The other thread computes in rayon's global pool.
///
/// # Panics
/// If `targets`, `exposure` or `take` does.
///
/// # Example
/// ```
/// use dia_core::{CcdNoise, Design, DesignMatrix, Image, KernelBasis, NoiseModel};
/// use dia_fft::FftDesignMatrix;
/// use dia_solvers::{Exposure, FitOptions, PreparedReference, ReferenceNoise, series};
///
/// let reference = Image::from_fn(60, 80, |y, x| {
///     let star = |cy: f64, cx: f64| (-((y as f64 - cy).powi(2) + (x as f64 - cx).powi(2)) / 6.0).exp();
///     100.0 + ((y * 13 + x * 29) % 7) as f64 + 5000.0 * (star(20.0, 30.0) + star(41.3, 55.8))
/// });
/// let noise = NoiseModel::Ccd(CcdNoise { gain: 1.5, read_noise: 6.0, subtracted_sky: 0.0 }, None);
/// let design = Design::new(60, 80, KernelBasis::delta(2), Some(0))?;
/// let options = FitOptions { reference_noise: ReferenceNoise::Ignore, ..FitOptions::plain() };
///
/// let exposure = Exposure { image: reference.view(), mask: None, noise, saturation: None };
/// let prepared = PreparedReference::new(&exposure, design.clone(), false)?;
/// let a = FftDesignMatrix::new(prepared.image().view(), design)?;
/// // A night of ever thicker clouds.
/// let night = [1.0, 0.8, 0.5].map(|scale| reference.map(|r| scale * r));
/// let mut scales = Vec::new();
/// series(
///     &prepared,
///     &a,
///     None,
///     night.into_iter(),
///     |image: &Image<f64>| Exposure { image: image.view(), mask: None, noise, saturation: None },
///     &options,
///     |_image, difference| scales.push(difference.map(|d| d.photometric_scale.value)),
/// );
/// for (scale, expected) in scales.into_iter().zip([1.0, 0.8, 0.5]) {
///     assert!((scale? - expected).abs() < 1e-3);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn series<A: DesignMatrix, T: Send>(
    reference: &PreparedReference<A::Pixel>,
    a: &A,
    reference_variance: Option<&A>,
    targets: impl Iterator<Item = T> + Send,
    exposure: impl Fn(&T) -> Exposure<'_, A::Pixel> + Send,
    options: &FitOptions,
    mut take: impl FnMut(T, Result<Difference<A::Pixel>, SubtractError>),
) {
    thread::scope(|scope| {
        // The sender waits until its target is taken: one is ready at most. If `take` panics, the receiver is dropped before the scope waits for the sender.
        let (send, ready) = mpsc::sync_channel(0);
        let loader = scope.spawn(move || {
            for target in targets {
                let prepare = || {
                    let mut prepared = reference.with_target(&exposure(&target))?.into_owned();
                    let uploaded = Uploaded::new(&mut prepared, a, options)?;
                    Ok((prepared, uploaded))
                };
                let prepared = prepare();
                // Nobody takes it if `take` has panicked.
                if send.send((target, prepared)).is_err() {
                    return;
                }
            }
        });
        while let Some((target, prepared)) = receive(&ready) {
            let subtract = |(prepared, uploaded)| {
                let fit =
                    fit_uploaded(&prepared, uploaded, a, reference_variance, options, &mut |_| ())?;
                difference(&prepared, a, fit)
            };
            take(target, prepared.and_then(subtract));
        }
        if let Err(panic) = loader.join() {
            panic::resume_unwind(panic);
        }
    });
}

/// What comes next. A thread of rayon's pool goes on with the work of others, which may be that of the sender.
fn receive<T>(from: &mpsc::Receiver<T>) -> Option<T> {
    loop {
        match from.try_recv() {
            Ok(value) => return Some(value),
            Err(mpsc::TryRecvError::Disconnected) => return None,
            Err(mpsc::TryRecvError::Empty) => match rayon::yield_now() {
                None => return from.recv().ok(),
                Some(rayon::Yield::Executed) => {}
                Some(rayon::Yield::Idle) => thread::sleep(PAUSE),
            },
        }
    }
}

/// Between two looks for work.
const PAUSE: Duration = Duration::from_micros(100);
