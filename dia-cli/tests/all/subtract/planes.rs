//! Planes of masks and noise, and the pixels under a mask.

use dia_cli::fits::{self, HduData, HduOut, Header};

use super::{Subtraction, bits};
use crate::dia::{Folder, Frame, write_plane};

/// Bits of the mask, as the MP_ cards of every mask of ours say.
const BAD: i16 = 1 << 3;

/// The target with the variance that the command would give it, so that a variance plane can take the gain's place.
fn variance_of(frame: &Frame) -> Vec<f32> {
    let (gain, read_noise) =
        (frame.header.get_f64("GAIN").unwrap(), frame.header.get_f64("RDNOISE").unwrap());
    let variance = |v: f32| (read_noise / gain).powi(2) + f64::from(v.max(0.0)) / gain;
    frame.pixels.iter().map(|v| variance(*v) as f32).collect()
}

/// A file as LSST's stack writes it: no data in the primary HDU, planes known by EXTTYPE, mask bits by MP_ cards.
fn write_lsst(folder: &Folder, name: &str, frame: &Frame, bits: &[i32]) {
    let (mut primary, mut image, mut mask, mut variance) =
        (Header::new(), Header::new(), Header::new(), Header::new());
    primary.set("TELESCOP", "Simonyi", "");
    primary.set("CRVAL1", 1.0, "of the boresight");
    image.set("EXTTYPE", "IMAGE", "");
    image.set("CRVAL1", 2.0, "of the detector");
    mask.set("EXTTYPE", "MASK", "");
    mask.set("MP_BAD", 0, "");
    mask.set("MP_DETECTED", 5, "");
    mask.set("MP_NO_DATA", 8, "");
    variance.set("EXTTYPE", "VARIANCE", "");
    let sigma2 = variance_of(frame);
    let shape = |data| Some((frame.height, frame.width, data));
    let hdus = [
        HduOut { name: "", header: &primary, image: None },
        HduOut { name: "", header: &image, image: shape(HduData::F32(&frame.pixels)) },
        HduOut { name: "", header: &mask, image: shape(HduData::I32(bits)) },
        HduOut { name: "", header: &variance, image: shape(HduData::F32(&sigma2)) },
    ];
    fits::write(&folder.path(name), &hdus).unwrap();
}

#[test]
fn planes_by_their_names_and_by_options() {
    // Nothing changes but the noise: which sources are left out, and on which way the fit comes to its end, depends on the seeing, and that on the kind of a mask, for
    // pixels that the user masks may spoil their neighbours.
    let constant = ["--variables", "0", "--transients", "0"];
    let field = [&["--size", "128", "--seed", "9", "--density", "100"][..], &constant].concat();
    let folder = Folder::with_pair(&field);
    let target = Frame::read(&folder, "target.fits");
    // Bad pixels of the simulation, a "detected" block that does not matter, and a block without data.
    let named: Vec<i32> = (0..target.mask.len())
        .map(|i| {
            let (y, x) = (i / 128, i % 128);
            let block =
                |y0: usize, x0: usize| (y0..y0 + 5).contains(&y) && (x0..x0 + 5).contains(&x);
            i32::from(target.mask[i] != 0)
                | i32::from(block(60, 30)) << 5
                | i32::from(block(70, 90)) << 8
        })
        .collect();
    write_lsst(&folder, "lsst.fits", &target, &named);
    let base = ["-o", "out.fits", "--report", "report.json"];
    let subtract = |target: &str, options: &[&str]| {
        let arguments =
            [&["subtract", "reference.fits[IMAGE]", target], &base[..], options].concat();
        let _ = folder.succeed(&arguments);
        Subtraction::read(&folder)
    };
    let d = subtract("lsst.fits", &[]);
    assert_eq!(d.text("/target/image"), "lsst.fits, 1 (IMAGE)");
    assert_eq!(d.text("/target/mask"), "lsst.fits, 2 (MASK)");
    assert_eq!(d.text("/target/variance"), "lsst.fits, 3 (VARIANCE)");
    assert!(d.report.pointer("/target/gain").is_none());
    let at = |y: usize, x: usize| d.mask[y * 128 + x];
    let variable = 1 << 7;
    let found = (at(62, 32) & !variable, at(72, 92));
    assert_eq!(found, (0, 1), "DETECTED is no defect, NO_DATA is one");
    for (i, planes) in target.mask.iter().enumerate() {
        assert!(*planes == 0 || d.mask[i] & i64::from(BAD) != 0, "pixel {i} is not bad");
    }
    // The image's own cards win over those of the primary HDU, which are kept otherwise.
    let cards = d.header().keywords().filter(|keyword| keyword == "CRVAL1").count();
    assert_eq!((cards, d.header().get_f64("CRVAL1")), (1, Some(2.0)));
    assert_eq!(d.header().get_str("TELESCOP").as_deref(), Some("Simonyi"));
    for plane in 1..4 {
        assert_eq!(d.file.hdu(plane).unwrap().header.get_f64("CRVAL1"), Some(2.0));
    }
    let expected = bits(&folder, "out.fits");

    // The same by number, by name, and from files of their own.
    for image in ["lsst.fits[1]", "lsst.fits[image]"] {
        let _ = subtract(image, &[]);
        assert!(bits(&folder, "out.fits") == expected, "{image}");
    }
    target.write_unmasked(&folder, "image.fits");
    let options = ["--target-mask", "lsst.fits[2]", "--target-variance", "lsst.fits[VARIANCE]"];
    let d = subtract("image.fits", &options);
    assert_eq!(d.text("/target/variance"), "lsst.fits, 3 (VARIANCE)");
    assert!(bits(&folder, "out.fits") == expected);
    // A mask without names: every value but 0 counts.
    let plain: Vec<i16> = named.iter().map(|bits| i16::from(bits & !32 != 0)).collect();
    write_plane(&folder, "mask.fits", (128, 128), HduData::I16(&plain));
    let options = ["--target-mask", "mask.fits", "--target-variance", "lsst.fits[VARIANCE]"];
    let _ = subtract("image.fits", &options);
    let mut by_user = bits(&folder, "out.fits");
    by_user.insert("MASK".to_string(), expected["MASK"].clone());
    assert!(by_user == expected);
    // A gain wins over the file's own variance.
    let d = subtract("lsst.fits", &["--target-gain", "1.5"]);
    assert!(d.report.pointer("/target/variance").is_none());
    assert_eq!(d.text("/target/gain/source"), "option");
}

#[test]
fn a_file_of_several_detectors() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "9", "--density", "100"]);
    let target = Frame::read(&folder, "target.fits");
    let chip = |version: i64| {
        let mut header = target.header.clone();
        header.remove("EXTNAME");
        header.set("CCDVER", version, "");
        header
    };
    // The writer keeps no EXTVER of its input; a chip's is put into place by hand.
    let (first, second) = (chip(1), chip(2));
    let nothing = vec![0_i16; target.mask.len()];
    let mut everything = target.mask.clone();
    everything[128 * 64..128 * 96].fill(BAD);
    let shape = |data| Some((128, 128, data));
    let primary = Header::new();
    let mut masks = [target.mask_header.clone(), target.mask_header.clone()];
    masks[0].set("CCDVER", 1, "");
    masks[1].set("CCDVER", 2, "");
    let hdus = [
        HduOut { name: "", header: &primary, image: None },
        HduOut { name: "SCI", header: &first, image: shape(HduData::F32(&target.pixels)) },
        HduOut { name: "MASK", header: &masks[0], image: shape(HduData::I16(&everything)) },
        HduOut { name: "SCI", header: &second, image: shape(HduData::F32(&target.pixels)) },
        HduOut { name: "MASK", header: &masks[1], image: shape(HduData::I16(&nothing)) },
    ];
    fits::write(&folder.path("chips.fits"), &hdus).unwrap();
    let text = folder.bytes("chips.fits");
    let renamed: Vec<u8> = rename(&text, b"CCDVER  =", b"EXTVER  =");
    folder.write("chips.fits", &renamed);
    for (chip, mask) in [("1", 2), ("2", 4)] {
        let image = format!("chips.fits[SCI,{chip}]");
        let arguments =
            ["subtract", "reference.fits", &image, "-o", "out.fits", "--report", "report.json"];
        let _ = folder.succeed(&arguments);
        let d = Subtraction::read(&folder);
        assert_eq!(d.text("/target/mask"), format!("chips.fits, {mask} (MASK)"));
    }
}

/// All `from` replaced by `to`, of the same length.
fn rename(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(i, _)| i).collect();
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn what_is_under_a_mask_does_not_matter() {
    let folder = Folder::with_pair(&["--size", "128", "--seed", "10", "--bad-columns", "2"]);
    let mut target = Frame::read(&folder, "target.fits");
    let mut reference = Frame::read(&folder, "reference.fits");
    // A hot pixel and a piece of a column of the reference, besides the target's own dead columns.
    reference.mask[128 * 40 + 90] = BAD;
    (20..30).for_each(|y| reference.mask[128 * y + 50] = BAD);
    // A block over a star, so that a leak would show.
    let brightest = (0..128 * 128)
        .filter(|i| (30..98).contains(&(i / 128)) && (30..98).contains(&(i % 128)))
        .max_by(|a, b| target.pixels[*a].total_cmp(&target.pixels[*b]))
        .unwrap();
    (brightest - 2..brightest + 2).for_each(|i| target.mask[i] = BAD);
    reference.write(&folder, "reference.fits");
    target.write(&folder, "target.fits");
    let _ = Subtraction::run(&folder, &[]);
    let expected = bits(&folder, "out.fits");

    for poison in [f32::NAN, f32::INFINITY, 1e30, -1e30, 0.0] {
        for (name, clean) in [("target.fits", &target), ("reference.fits", &reference)] {
            let mut poisoned = clean.clone();
            for (pixel, planes) in poisoned.pixels.iter_mut().zip(&clean.mask) {
                if *planes != 0 {
                    *pixel = poison;
                }
            }
            poisoned.write(&folder, name);
            let _ = Subtraction::run(&folder, &[]);
            clean.write(&folder, name);
            let mut found = bits(&folder, "out.fits");
            // A pixel may have more reasons than before to be masked, but there are no more such pixels.
            let mask = found.insert("MASK".to_string(), expected["MASK"].clone()).unwrap();
            let masked = |mask: &[u64]| mask.iter().map(|planes| *planes != 0).collect::<Vec<_>>();
            assert!(masked(&mask) == masked(&expected["MASK"]), "{poison} in {name}");
            for (plane, expected) in &expected {
                assert!(found[plane] == *expected, "{poison} in {name} changes {plane}");
            }
        }
    }
}
