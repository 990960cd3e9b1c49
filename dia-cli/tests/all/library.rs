//! The library behind the command: what it gives for images in memory is what the command gives for files.

use dia_cli::fits::FitsFile;
use dia_cli::{Input, Level, Role, SubtractRequest, subtract};
use dia_core::simulate::{SimulationOptions, simulate};
use dia_core::{CcdNoise, Image, Mask, NoiseModel};
use dia_solvers::Exposure;

use crate::dia::Folder;

fn exposure<'a>(
    image: &'a Image<f32>,
    mask: &'a Mask,
    noise: CcdNoise,
    saturation: Option<f64>,
) -> Exposure<'a> {
    let noise = NoiseModel::Ccd(noise, None);
    Exposure { image: image.view(), mask: Some(mask), noise, saturation }
}

#[test]
fn images_in_memory_give_the_bits_of_the_same_images_in_files() {
    let folder = Folder::with_pair(&["--size", "160", "--seed", "12"]);
    let _ = folder.succeed(&[
        "subtract",
        "reference.fits",
        "target.fits",
        "-o",
        "out.fits",
        "--backend",
        "cpu",
        "--fail-on=never",
    ]);
    let written = FitsFile::open(&folder.path("out.fits")).unwrap();

    let side = 160;
    let defaults = SimulationOptions::default();
    let options = SimulationOptions {
        height: side,
        width: side,
        seed: 12,
        // As the command does for small images.
        event_margin: defaults.event_margin.min(side as f64 / 3.0),
        ..defaults
    };
    let pair = simulate(&options).unwrap();
    let [reference, target] = [&pair.reference, &pair.target].map(|image| image.map(|v| v as f32));
    let reference =
        exposure(&reference, &pair.reference_mask, options.reference_noise(), options.saturation);
    let target = exposure(&target, &pair.target_mask, options.target_noise(), options.saturation);
    let request = SubtractRequest { backend: dia_cli::Backend::Cpu, ..Default::default() };
    let subtraction = subtract(
        Input::of_exposure("reference", Role::Reference, &reference).unwrap(),
        Input::of_exposure("target", Role::Target, &target).unwrap(),
        &request,
        &mut |_| (),
    )
    .unwrap();

    let bits = |pixels: &[f32]| pixels.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let planes = [&subtraction.difference.difference, &subtraction.difference.variance];
    for (hdu, plane) in planes.into_iter().enumerate() {
        let file = written.read_image::<f32>(hdu).unwrap().pixels;
        // NaNs are what masked pixels are, whatever their bits.
        let known = |pixels: &[f32]| pixels.iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        assert_eq!(known(&file), known(plane.pixels()));
        let zeroed = |pixels: &[f32]| {
            bits(&pixels.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect::<Vec<_>>())
        };
        assert!(zeroed(&file) == zeroed(plane.pixels()), "HDU {hdu}");
    }
    assert!(subtraction.report.level() < Level::Fail);
}

#[test]
fn what_is_wrong_with_an_image_in_memory_is_named() {
    let image = Image::from_fn(64, 64, |y, x| ((y * 64 + x) * 7919 % 1009) as f32);
    let (mask, small) = (Mask::good(64, 64), Mask::good(64, 32));
    let good = CcdNoise { gain: 1.5, read_noise: 4.0, subtracted_sky: 0.0 };
    let refused = |mask: &Mask, noise: CcdNoise| {
        let exposure = exposure(&image, mask, noise, None);
        Input::of_exposure("night 3", Role::Target, &exposure).unwrap_err().to_string()
    };
    for gain in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let text = refused(&mask, CcdNoise { gain, ..good });
        assert!(text.contains("night 3: the gain of the target"), "{text}");
    }
    let text = refused(&mask, CcdNoise { read_noise: -1.0, ..good });
    assert!(text.contains("the read noise of the target is -1"), "{text}");
    let text = refused(&small, good);
    assert!(text.contains("night 3: the mask of the target has 64 × 32 pixels"), "{text}");
}
