//! A series of targets gives what they give alone.

use crate::field::{Planes, simulated};
use dia_core::{Design, Image, KernelBasis};
use dia_fft::FftDesignMatrix;
use dia_solvers::{
    Exposure, FitOptions, PreparedReference, ReferenceNoise, SubtractError, series, subtract,
};

#[test]
fn a_series_is_its_targets_one_by_one() {
    let pair = simulated(150, 4);
    let planes = Planes::<f32>::of(&pair);
    let (reference, target) = planes.exposures(&pair);
    let design = Design::new(150, 150, KernelBasis::delta(4), Some(1)).unwrap();
    let options = FitOptions::default();
    // One in the middle is of no use, and the others do not mind.
    let images = [1.0, f32::NAN, 0.8].map(|factor| planes.target.map(|v| factor * v));
    let prepared = PreparedReference::new(&reference, design.clone(), true).unwrap();
    let a = FftDesignMatrix::new(prepared.image().view(), design.clone()).unwrap();
    let of_variance = design.of_variance();
    let variance = FftDesignMatrix::new(prepared.variance().unwrap().view(), of_variance).unwrap();
    let mut done = Vec::new();
    let targets = images.iter().map(|image| Exposure { image: image.view(), ..target });
    series(
        &prepared,
        &a,
        Some(&variance),
        targets.enumerate(),
        |(_, target)| *target,
        &options,
        |(i, _), difference| done.push((i, difference)),
    );
    assert_eq!(done.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1, 2]);
    for (image, (i, got)) in images.iter().zip(done) {
        let alone = Exposure { image: image.view(), ..target };
        let alone = subtract(
            &reference,
            &alone,
            design.clone(),
            FftDesignMatrix::new,
            &options,
            &mut |_| (),
        );
        match (got, alone) {
            (Err(SubtractError::NoPixels { .. }), Err(SubtractError::NoPixels { .. })) => {
                assert_eq!(i, 1);
            }
            (got, alone) => {
                let (got, alone) = (got.unwrap(), alone.unwrap());
                assert_eq!(got.parameters, alone.parameters);
                let bits = |image: &Image<f32>| -> Vec<u32> {
                    image.pixels().iter().map(|v| v.to_bits()).collect()
                };
                assert_eq!(bits(&got.difference), bits(&alone.difference));
                assert_eq!(bits(&got.variance), bits(&alone.variance));
            }
        }
    }
}

/// A small reference as its own target; `targets` says how often, `look` sees each scale.
fn looked_at(targets: impl Iterator<Item = ()> + Send, mut look: impl FnMut(f64)) {
    let pair = simulated(90, 5);
    let planes = Planes::<f32>::of(&pair);
    let (reference, _) = planes.exposures(&pair);
    let design = Design::new(90, 90, KernelBasis::delta(1), Some(0)).unwrap();
    let prepared = PreparedReference::new(&reference, design.clone(), false).unwrap();
    let a = FftDesignMatrix::new(prepared.image().view(), design).unwrap();
    let options = FitOptions { reference_noise: ReferenceNoise::Ignore, ..FitOptions::plain() };
    let targets = targets.map(|()| reference);
    series(
        &prepared,
        &a,
        None,
        targets,
        |target| *target,
        &options,
        |_, difference| look(difference.unwrap().photometric_scale.value),
    );
}

fn of_itself(targets: impl Iterator<Item = ()> + Send) -> Vec<f64> {
    let mut scales = Vec::new();
    looked_at(targets, |scale| scales.push(scale));
    scales
}

#[test]
fn threads_of_a_pool_may_run_series() {
    // As many as the pool has threads, so that none is left for what the series have to do.
    let all = rayon::broadcast(|_| of_itself(std::iter::repeat_n((), 3)));
    for scales in all {
        // The fit is exact but for the rounding of f32 sums.
        assert!(scales.len() == 3 && scales.iter().all(|p| (p - 1.0).abs() < 1e-5), "{scales:?}");
    }
}

#[test]
fn a_panic_of_the_receiver_comes_through() {
    let (send, done) = std::sync::mpsc::channel();
    // Not joined: a series that waits for ever must not make the test do so.
    std::thread::spawn(move || {
        let series = || looked_at(std::iter::repeat_n((), 4), |_| panic!("the disk is full"));
        let _ = send.send(std::panic::catch_unwind(series).is_err());
    });
    // Four fits of 90² pixels take well below a second.
    assert_eq!(done.recv_timeout(std::time::Duration::from_mins(1)), Ok(true));
}

#[test]
#[should_panic(expected = "the tape is torn")]
fn a_panic_of_the_targets_comes_through() {
    let _ = of_itself((0..3).map(|i| assert!(i < 2, "the tape is torn")));
}
