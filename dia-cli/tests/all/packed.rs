//! Tile-compressed outputs.

#![cfg(feature = "cfitsio")]

use crate::dia::Folder;
use dia_cli::fits::{FitsFile, Hdu};

#[test]
fn packed_outputs_lose_a_hundredth_of_the_noise() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "9", "--density", "100"]);
    for name in ["plain.fits", "packed.fits.fz", "again.fits.fz"] {
        let output = ["-o", name, "--planes", "scene", "--quiet"];
        let _ =
            folder.succeed(&[&["subtract", "reference.fits", "target.fits"], &output[..]].concat());
    }
    assert!(folder.bytes("packed.fits.fz") == folder.bytes("again.fits.fz"));
    let [plain, packed] =
        ["plain.fits", "packed.fits.fz"].map(|name| FitsFile::open(&folder.path(name)).unwrap());
    assert!(3 * folder.bytes("packed.fits.fz").len() < 2 * folder.bytes("plain.fits").len());
    let names: Vec<String> = plain.hdus().iter().filter_map(Hdu::name).collect();
    let index = |file: &FitsFile, name: &str| {
        file.hdus().iter().find(|hdu| hdu.name().as_deref() == Some(name)).unwrap().index
    };
    let read =
        |file: &FitsFile, name: &str| file.read_image::<f64>(index(file, name)).unwrap().pixels;
    let integers = |file: &FitsFile, name: &str| file.read_integers(index(file, name)).unwrap();
    assert_eq!(integers(&plain, "MASK"), integers(&packed, "MASK"));
    for name in ["KERNEL", "PSF", "COVARIANCE"] {
        assert!(names.iter().any(|n| n == name));
        assert_eq!(read(&plain, name), read(&packed, name), "{name}");
    }
    let (d, sigma2) = (read(&plain, "DIFFERENCE"), read(&plain, "VARIANCE"));
    let rounded = read(&packed, "DIFFERENCE");
    assert!(d.iter().zip(&rounded).all(|(a, b)| a.is_nan() == b.is_nan()));
    let errors = d.iter().zip(&rounded).zip(&sigma2).filter(|((d, _), _)| !d.is_nan());
    let (sum, count) = errors
        .fold((0.0, 0.0), |(sum, count), ((a, b), v)| (sum + (a - b).powi(2) / v, count + 1.0));
    // A step is a 32nd of the noise of the row, which stars make at most a tenth larger here: 1.1/(32 √12).
    let rms: f64 = f64::sqrt(sum / count);
    assert!((0.005..0.01).contains(&rms), "{rms}");

    // What was packed is measured as what was not.
    let fluxes = ["plain.fits", "packed.fits.fz"].map(|name| {
        let _ = folder.succeed(&["detect", name, "--sources", "found.csv", "--quiet"]);
        String::from_utf8(folder.bytes("found.csv")).unwrap().lines().count()
    });
    assert_eq!(fluxes[0], fluxes[1]);
}
