//! `dia hotpants`: what pipelines that call HOTPANTS read of its files.

use dia_cli::fits::{FitsFile, HduData, Header};

use crate::dia::{Ended, Folder, Frame, write_plane};

const SIDE: usize = 192;

/// A pair without defects and events, of a photometric scale of 0.8; `target_fwhm` beside a reference of 2.8 pixels.
fn pair(target_fwhm: &str) -> Folder {
    let mut options = vec!["--size", "192", "--seed", "5", "--psf", "gaussian", "--density", "60"];
    options.extend(["--scale", "0.8", "--reference-fwhm", "2.8", "--target-fwhm", target_fwhm]);
    Folder::with_quiet_pair(&options)
}

const BASE: [&str; 7] =
    ["hotpants", "-inim", "target.fits[0]", "-tmplim", "reference.fits", "-outim", "d.fits"];

fn hotpants(folder: &Folder, options: &[&str]) -> Ended {
    let target = Frame::read(folder, "target.fits");
    let number = |keyword: &str| target.header.get_f64(keyword).unwrap().to_string();
    let (gain, read_noise) = (number("GAIN"), number("RDNOISE"));
    let noise = ["-ig", &gain, "-tg", &gain, "-ir", &read_noise, "-tr", &read_noise];
    let counts = ["-iu", "60000", "-tu", "60000"];
    folder.dia(&[&BASE[..], &noise, &counts, options].concat())
}

fn succeed(folder: &Folder, options: &[&str]) {
    let ended = hotpants(folder, options);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("Convolving..."), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("SUCCESS\n"), "{}", ended.stderr);
}

fn plane(folder: &Folder, name: &str, hdu: usize) -> Vec<f32> {
    FitsFile::open(&folder.path(name)).unwrap().read_image(hdu).unwrap().pixels
}

fn header(folder: &Folder, name: &str, hdu: usize) -> Header {
    FitsFile::open(&folder.path(name)).unwrap().hdu(hdu).unwrap().header.clone()
}

#[test]
fn layers_files_and_keywords_are_those_of_hotpants() {
    let folder = pair("4.0");
    let outputs = ["-oni", "n.fits", "-ond", "s.fits", "-oci", "c.fits", "-omi", "m.fits"];
    let bad: Vec<i16> = (0..SIDE * SIDE).map(|i| i16::from(i == 90 * SIDE + 100) * 4).collect();
    write_plane(&folder, "bad.fits", (SIDE, SIDE), HduData::I16(&bad));
    let options =
        ["-n", "i", "-c", "t", "-allm", "-imi", "bad.fits", "-rss", "20", "-ng", "1", "4", "1"];
    succeed(&folder, &[&options[..], &outputs].concat());

    let (d, noise) = (plane(&folder, "d.fits", 0), plane(&folder, "d.fits", 3));
    assert_eq!(plane(&folder, "d.fits", 1), plane(&folder, "c.fits", 0));
    assert_eq!(plane(&folder, "d.fits", 2), plane(&folder, "s.fits", 0));
    assert_eq!(noise, plane(&folder, "n.fits", 0));
    assert_eq!(FitsFile::open(&folder.path("d.fits")).unwrap().hdus().len(), 4);
    let target = plane(&folder, "target.fits", 0);
    let convolved = plane(&folder, "c.fits", 0);
    let scaled = plane(&folder, "s.fits", 0);
    let mask = FitsFile::open(&folder.path("m.fits")).unwrap().read_integers(0).unwrap().pixels;
    let mut good = 0_usize;
    for i in 0..d.len() {
        if mask[i] & 0x8000 != 0 {
            assert_eq!((d[i], scaled[i], noise[i]), (1e-30, 1e-30, 0.0));
            continue;
        }
        good += 1;
        assert!((target[i] - convolved[i] - d[i]).abs() < 0.05, "{i}");
        assert!((scaled[i] * noise[i] - d[i]).abs() < 1e-3 * noise[i]);
    }
    assert!(good > d.len() / 2);
    assert_eq!(mask[90 * SIDE + 100], 0x8000 | 0x80 | 0x20);

    let header = header(&folder, "d.fits", 0);
    let text = |keyword: &str| header.get_str(keyword).unwrap();
    let number = |keyword: &str| text(keyword).parse::<f64>().unwrap();
    assert_eq!(text("CONVOL00"), "TEMPLATE");
    assert_eq!(text("REGION00"), "[1:192,1:192]");
    assert_eq!((text("PHOTNORM"), text("TARGET")), ("i".into(), "target.fits[0]".into()));
    assert_eq!((text("TEMPLATE"), text("DIFFIM")), ("reference.fits".into(), "d.fits".into()));
    assert!(text("DIFFCMD").starts_with("hotpants -inim target.fits[0] -tmplim"));
    assert_eq!(header.get_f64("MASKVAL"), Some(f64::from(1e-30_f32)));
    assert!((number("KSUM00") - 0.8).abs() < 0.03, "{}", text("KSUM00"));
    assert!((number("X2NRM00") - 1.0).abs() < 0.1, "{}", text("X2NRM00"));
    assert_eq!(text("NX2NRM00"), good.to_string());
    assert!(number("DMEAN00").abs() < 0.1 * number("DSIG00"));
    assert_eq!(header.get_str("OBJECT").unwrap(), "simulated");
}

#[test]
fn normalisation_fill_values_and_region_are_as_asked_for() {
    let folder = pair("4.0");
    succeed(&folder, &["-n", "i", "-c", "t", "-oni", "n.fits"]);
    let (of_image, noise) = (plane(&folder, "d.fits", 0), plane(&folder, "n.fits", 0));
    succeed(&folder, &["-c", "t", "-oni", "n.fits", "-fi", "-99", "-fin", "1e20"]);
    let (of_template, of_noise) = (plane(&folder, "d.fits", 0), plane(&folder, "n.fits", 0));
    let scale: f32 = header(&folder, "d.fits", 0).get_str("KSUM00").unwrap().parse().unwrap();
    for i in 0..of_image.len() {
        if of_image[i] == 1e-30 {
            assert_eq!((of_template[i], of_noise[i]), (-99.0, 1e20));
        } else {
            assert!(
                (of_template[i] * scale - of_image[i]).abs()
                    < 1e-3 * noise[i].max(of_image[i].abs())
            );
        }
    }

    succeed(&folder, &["-gd", "10", "180", "0", "0", "-c", "t", "-il", "-100", "-tl", "-100"]);
    let part = plane(&folder, "d.fits", 0);
    assert_eq!(part.len(), SIDE * SIDE);
    assert!((0..part.len()).all(|i| (10..180).contains(&(i % SIDE)) || part[i] == 1e-30));
    assert_eq!(header(&folder, "d.fits", 0).get_str("REGION00").unwrap(), "[11:180,1:192]");
}

#[test]
fn a_noise_image_is_sigma_and_a_convolved_image_leaves_the_template_as_it_is() {
    let folder = pair("2.8");
    let variance = |name: &str| -> Vec<f32> {
        let frame = Frame::read(&folder, name);
        let number = |keyword: &str| frame.header.get_f64(keyword).unwrap() as f32;
        let (gain, read_noise) = (number("GAIN"), number("RDNOISE"));
        frame.pixels.iter().map(|p| (p / gain + (read_noise / gain).powi(2)).sqrt()).collect()
    };
    for (name, noise) in [("ini.fits", "target.fits"), ("tni.fits", "reference.fits")] {
        write_plane(&folder, name, (SIDE, SIDE), HduData::F32(&variance(noise)));
    }
    let counts = ["-iu", "60000", "-tu", "60000", "-ini", "ini.fits", "-tni", "tni.fits"];
    let options = ["-c", "i", "-n", "u", "-r", "7", "-ko", "0", "-bgo", "1", "-hki"];
    let ended = folder.dia(&[&BASE[..], &counts, &options].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let header = header(&folder, "d.fits", 0);
    assert_eq!(header.get_str("CONVOL00").unwrap(), "IMAGE");
    let sum: f64 = header.get_str("KSUM00").unwrap().parse().unwrap();
    assert!((sum - 1.25).abs() < 0.06, "{sum}");
    let file = FitsFile::open(&folder.path("d.fits")).unwrap();
    assert_eq!(file.hdu(1).unwrap().name().as_deref(), Some("KERNEL"));
}

#[test]
fn what_fails_has_a_status_and_leaves_no_difference() {
    let folder = pair("4.0");
    for (options, says) in [
        (&["-zz"][..], "unknown option: -zz"),
        (&["-r"], "-r lacks a value"),
        (&["-c", "x"], "-c x"),
        (&["-tmi", "none.fits"], "none.fits"),
        (&["-ki", "k.fits"], "-ki"),
        (&["-il", "50000"], "target.fits"),
        (&["-omi", "target.fits"], "another file of this command"),
    ] {
        let ended = hotpants(&folder, options);
        assert_eq!(ended.code, Some(1), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{options:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("SUCCESS") && !folder.path("d.fits").exists());
    }
    let ended = folder.dia(&["hotpants"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("-inim"), "{}", ended.stderr);
    folder.write("d.fits", b"old");
    assert_eq!(hotpants(&folder, &["-nc"]).code, Some(1));
    assert_eq!(folder.bytes("d.fits"), b"old");
}

#[cfg(unix)]
#[test]
fn the_command_may_be_called_hotpants() {
    let folder = pair("4.0");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dia"), folder.path("hotpants")).unwrap();
    let mut command = std::process::Command::new(folder.path("hotpants"));
    let flags = ["-n", "i", "-c", "t", "-iu", "60000", "-tu", "60000", "-v", "0"];
    let output =
        command.args(&BASE[1..]).args(flags).current_dir(folder.path(".")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"SUCCESS\n");
}
