//! The table of fields in the README, against results that have all that may be left out: it lists what is there, and the
//! header says what the report says.

use std::collections::BTreeSet;

use dia_cli::fits::{FitsFile, HduData, Header};
use serde_json::Value;

use crate::dia::{Folder, Frame, write_plane};

/// Place and keyword of each field.
fn table() -> Vec<(&'static str, &'static str)> {
    let readme = include_str!("../../README.md");
    let heading = "| field | keyword | unit | meaning |\n|---|---|---|---|\n| `";
    let (_, rows) = readme.split_once(heading).unwrap();
    let (rows, _) = rows.split_once("\n\n").unwrap();
    let row = |row: &'static str| {
        let (place, rest) = row.split_once("` | ").unwrap();
        (place, rest.split_once(" |").unwrap().0)
    };
    rows.split("\n| `").map(row).collect()
}

/// The places of the values below one, with those of lists themselves.
fn places(value: &Value, place: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                // The names of mask planes are data.
                let name = if place == "pixels.planes" { "NAME" } else { name };
                let dot = if place.is_empty() { "" } else { "." };
                places(value, &format!("{place}{dot}{name}"), into);
            }
            return;
        }
        Value::Array(values) => {
            for value in values {
                places(value, &format!("{place}[j]"), into);
            }
        }
        _ => (),
    }
    into.insert(place.to_owned());
}

/// The `j`th value at a place of a report.
fn at<'a>(report: &'a Value, place: &str, j: usize) -> Option<&'a Value> {
    let pointer = place.replace("[j]", &format!(".{j}")).replace('.', "/");
    report.pointer(&format!("/{pointer}")).filter(|value| !value.is_null())
}

/// Report and header of the difference with `target`.
fn subtract(folder: &Folder, target: &str, options: &[&str]) -> (Value, Header) {
    let base = ["-o", "out.fits", "--report", "report.json", "--fail-on=never"];
    let _ = folder.succeed(&[&["subtract", "reference.fits", target], &base[..], options].concat());
    let file = FitsFile::open(&folder.path("out.fits")).unwrap();
    let report = serde_json::from_slice(&folder.bytes("report.json")).unwrap();
    (report, file.hdu(0).unwrap().header.clone())
}

/// Gives an image world coordinates.
fn point(header: &mut Header, projection: &str) {
    header.set("CTYPE1", format!("RA---{projection}"), "");
    header.set("CTYPE2", format!("DEC--{projection}"), "");
    for (keyword, value) in [("CRVAL", 30.0), ("CRPIX", 80.0)] {
        header.set(&format!("{keyword}1"), value, "");
        header.set(&format!("{keyword}2"), value, "");
    }
    header.set("CD1_1", -7e-5, "");
    header.set("CD2_2", 7e-5, "");
}

/// Writes the variance of an image, by its gain and read noise.
fn write_variance(folder: &Folder, name: &str, frame: &Frame) {
    let [gain, read_noise] =
        ["GAIN", "RDNOISE"].map(|keyword| frame.header.get_f64(keyword).unwrap() as f32);
    let variance = |pixel: &f32| pixel.max(0.0) / gain + (read_noise / gain).powi(2);
    let plane: Vec<f32> = frame.pixels.iter().map(variance).collect();
    write_plane(folder, name, (frame.height, frame.width), HduData::F32(&plane));
}

/// One with a doubtful gain, whose target is turned and measured, and one with planes of the noise.
fn results() -> [(Value, Header); 2] {
    let few = ["--density", "60", "--variables", "2", "--transients", "1"];
    let folder = Folder::with_pair(&[&["--size", "200", "--seed", "3"], &few[..]].concat());
    let [mut reference, mut target] =
        ["reference.fits", "target.fits"].map(|name| Frame::read(&folder, name));
    write_variance(&folder, "reference_variance.fits", &reference);
    write_variance(&folder, "target_variance.fits", &target);
    point(&mut reference.header, "TAN");
    reference.write(&folder, "reference.fits");
    // A projection that is not known.
    point(&mut target.header, "XYZ");
    target.write(&folder, "target.fits");
    let planes = ["--reference-variance", "reference_variance.fits"];
    let planes = [&planes[..], &["--target-variance", "target_variance.fits"]].concat();
    let with_planes =
        subtract(&folder, "target.fits", &[&planes[..], &["--kernel-degree", "1"]].concat());
    point(&mut target.header, "TAN");
    target.pixels.reverse();
    target.mask.reverse();
    target.write(&folder, "turned.fits");
    folder.write("places.csv", b"x,y\n60,70\n");
    let measured = ["--at", "places.csv", "--photometry", "fluxes.csv", "--sources", "s.csv"];
    let more = ["--inject", "3", "--convolve", "reference", "--target-gain", "3"];
    let skies = ["--reference-subtracted-sky", "20", "--target-subtracted-sky", "20"];
    let turned = subtract(&folder, "turned.fits", &[&measured[..], &more, &skies].concat());
    [with_planes, turned]
}

#[test]
fn the_table_lists_what_is_in_reports_and_headers() {
    let table = table();
    let mut found = BTreeSet::new();
    for (report, header) in results() {
        places(&report, "", &mut found);
        let mut keywords = BTreeSet::new();
        for (place, keyword) in table.iter().filter(|(_, keyword)| !keyword.is_empty()) {
            let most = if place.contains("[j]") { usize::MAX } else { 1 };
            for (j, value) in (0..most).map_while(|j| Some((j, at(&report, place, j)?))) {
                let keyword = keyword.replace('j', &j.to_string());
                let said = match value {
                    Value::String(text) => {
                        let card = header.get_str(&keyword);
                        // That of the verdict is in capitals.
                        card.is_some_and(|card| card.eq_ignore_ascii_case(text))
                    }
                    Value::Bool(truth) => header.get_bool(&keyword) == Some(*truth),
                    Value::Array(values) => header.get_i64(&keyword) == Some(values.len() as i64),
                    _ => header.get_f64(&keyword) == value.as_f64(),
                };
                assert!(said, "{keyword} is {:?}, and {place} {value}", header.get(&keyword));
                keywords.insert(keyword);
            }
        }
        let own: BTreeSet<_> = header.keywords().filter(|name| name.starts_with("DIA")).collect();
        assert_eq!(own, keywords);
    }
    // A list or a null stands for what could be in it.
    let of = |listed: &str, place: &str| {
        let rest = listed.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let listed = |place: &&String| table.iter().any(|(listed, _)| of(listed, place));
    let unknown: Vec<_> = found.iter().filter(|place| !listed(place)).collect();
    assert!(unknown.is_empty(), "not in the README: {unknown:?}");
    // What a Vulkan device exchanges is not there without one.
    let missing =
        |(place, _): &&(&str, _)| !place.starts_with("traffic.") && !found.contains(*place);
    let missing: Vec<_> = table.iter().filter(missing).collect();
    assert!(missing.is_empty(), "in no report: {missing:?}");
}
