//! A series of targets gives what they give alone.

mod field;

use dia_core::{Design, Image, KernelBasis};
use dia_fft::FftDesignMatrix;
use dia_solvers::{Exposure, FitOptions, PreparedReference, SubtractError, series, subtract};
use field::{Planes, simulated};

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
