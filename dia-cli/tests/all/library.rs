//! The library behind the command: what it gives for images in memory is what the command gives for files, and what the
//! command says is what its documentation lists.

use dia_cli::fits::FitsFile;
use dia_cli::{Input, Level, Role, SubtractRequest, subtract};
use dia_core::simulate::{SimulationOptions, simulate};
use dia_core::{CcdNoise, Image, Mask, NoiseModel};
use dia_solvers::Exposure;
use serde_json::Value;

use crate::dia::Folder;

const README: &str = include_str!("../../README.md");

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

/// The names of all fields of a report, at any depth; those of mask planes are data.
fn fields(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                into.push(name.clone());
                if name != "planes" {
                    fields(value, into);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, into)),
        _ => (),
    }
}

#[test]
fn the_readme_lists_all_fields_and_keywords() {
    let folder = Folder::with_pair(&["--size", "160", "--seed", "12"]);
    // A target that is turned, so that what is left out otherwise is said, too.
    let mut target = crate::dia::Frame::read(&folder, "target.fits");
    target.pixels.reverse();
    target.mask.reverse();
    target.write(&folder, "turned.fits");
    let _ = folder.succeed(&[
        "subtract",
        "reference.fits",
        "turned.fits",
        "-o",
        "out.fits",
        "--report",
        "report.json",
        "--kernel-degree",
        "1",
        "--fail-on=never",
    ]);
    let report: Value = serde_json::from_slice(&folder.bytes("report.json")).unwrap();
    assert_eq!(report["offset"]["turned"], "180");
    let word = |text: &str, name: &str| {
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split(|c| !of_name(c)).any(|word| word == name)
    };
    let mut names = Vec::new();
    fields(&report, &mut names);
    let section = &README[README.find("## The report, schema 1").unwrap()..];
    let section = &section[..section.find("## The model").unwrap()];
    names.retain(|name| !word(section, name));
    assert!(names.is_empty(), "not in the README: {names:?}");

    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    let own = file.hdus().iter().flat_map(|hdu| hdu.header.keywords().collect::<Vec<_>>());
    let own: Vec<String> = own.filter(|keyword| keyword.starts_with("DIA")).collect();
    assert!(own.len() > 40, "{own:?}");
    // DIABG3 is one of DIABG0 ….
    let shown = |keyword: &String| {
        let series = ["DIABG", "DIABE"].iter().any(|s| keyword.starts_with(s));
        series || word(README, keyword)
    };
    let missing: Vec<_> = own.into_iter().filter(|keyword| !shown(keyword)).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
}
