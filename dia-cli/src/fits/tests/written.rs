//! What is written, and names of files.

use std::fs;

use super::same;
use crate::fits::{FitsError, FitsFile, FitsSpec, HduData, HduOut, Header, Value, write};

#[test]
fn specs_are_parsed_and_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.fits");
    let header = Header::new();
    let mask: &[i32] = &[4];
    let empty = HduOut { name: "", header: &header, image: None };
    let first = HduOut { name: "MASK", header: &header, image: Some((1, 1, HduData::I32(mask))) };
    let mut versioned = Header::new();
    versioned.set("EXTTYPE", "other", "");
    let second = HduOut { name: "", header: &versioned, image: Some((1, 1, HduData::I32(mask))) };
    write(&path, &[empty, first, second]).unwrap();
    let name = path.to_str().unwrap();
    let select = |suffix: &str| {
        FitsSpec::parse(format!("{name}{suffix}")).unwrap().open_selected().map(|found| found.1)
    };
    assert_eq!(select("").unwrap(), 1);
    assert_eq!(select("[0]").unwrap(), 0);
    assert_eq!(select("[mask]").unwrap(), 1);
    assert_eq!(select("[MASK,1]").unwrap(), 1);
    assert_eq!(select("[Other]").unwrap(), 2);
    for wrong in ["[3]", "[SCI]", "[MASK,2]"] {
        let error = select(wrong).unwrap_err().to_string();
        assert!(error.contains("1 (MASK): 1 x 1 pixels"), "{error}");
    }
    fs::copy(&path, folder.path().join("a.fits[9]")).unwrap();
    assert_eq!(select("[9]").unwrap(), 1);
    for wrong in ["", "[1]", "x[]", "x[a,b]"] {
        assert!(matches!(FitsSpec::parse(wrong), Err(FitsError::Spec { .. })), "{wrong}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.fits");
    let mut header = Header::new();
    header.set("BZERO", 32768, "of the input");
    header.set("NAXIS3", 7, "of the input");
    header.set("CHECKSUM", "abc", "of the input");
    header.set("OBJECT", "β Pic\n", "");
    header.set("A LONGER KEYWORD", "it's ".repeat(40), "why not");
    for (index, value) in
        [0.1, -1.2345678901234567e-308, 1e300, 1e16, 5.0, 1e-7].into_iter().enumerate()
    {
        header.set(&format!("F{index}"), value, "");
    }
    header.push_comment("");
    let wide = [1.0, f64::NAN, -0.0, f64::MAX, f64::MIN_POSITIVE, 6.5];
    let narrow = wide.map(|v| v as f32);
    let image = |name, data| HduOut { name, header: &header, image: Some((2, 3, data)) };
    let hdus = [
        image("A", HduData::F32(&narrow)),
        image("B", HduData::F64(&wide)),
        image("C", HduData::I16(&[i16::MIN, -1, 0, 1, 2, i16::MAX])),
        image("D", HduData::I32(&[i32::MIN, -1, 0, 1, 2, i32::MAX])),
    ];
    write(&path, &hdus).unwrap();
    let file = FitsFile::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len() % 2880, 0);
    assert_eq!(file.hdus().len(), 4);
    same(&file.read_image::<f64>(0).unwrap().pixels, &narrow.map(f64::from));
    same(&file.read_image::<f64>(1).unwrap().pixels, &wide);
    assert_eq!(file.read_integers(2).unwrap().pixels, [-32768, -1, 0, 1, 2, 32767]);
    assert_eq!(file.read_integers(3).unwrap().pixels, [-2147483648, -1, 0, 1, 2, 2147483647]);
    let read = &file.hdus()[3].header;
    assert!(["BZERO", "NAXIS3", "CHECKSUM"].iter().all(|keyword| !read.contains(keyword)));
    assert_eq!(read.get_str("OBJECT").as_deref(), Some("? Pic?"));
    assert_eq!(
        read.get("A LONGER KEYWORD"),
        Some((Value::Text("it's ".repeat(40).trim_end().into()), "why not".into()))
    );
    assert_eq!(read.get_f64("F1"), Some(-1.2345678901234567e-308));
    assert_eq!(
        [2, 3, 4, 5].map(|n| read.get_f64(&format!("F{n}")).unwrap()),
        [1e300, 1e16, 5.0, 1e-7]
    );
}

#[test]
#[cfg(unix)]
fn outputs_follow_the_umask_and_leave_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    let folder = tempfile::tempdir().unwrap();
    let (plain, path) = (folder.path().join("plain"), folder.path().join("out.fits"));
    fs::write(&plain, "").unwrap();
    let header = Header::new();
    let hdus = [HduOut { name: "", header: &header, image: None }];
    write(&path, &hdus).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
    // The file behind a link is replaced and keeps its permissions; the link stays.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write(&link, &hdus).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&path) & 0o777, 0o640);
    let error = write(&folder.path().join("no/such/out.fits"), &hdus).unwrap_err().to_string();
    assert!(error.contains("create its folder") && error.contains("no/such/out.fits"), "{error}");
    assert!(
        write(folder.path(), &hdus).unwrap_err().to_string().contains("give the path of a file")
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(write(&path, &hdus).unwrap_err().to_string().contains("read-only"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    use std::path::Path;

    let pixels = vec![0.0f32; 1 << 20];
    let header = Header::new();
    let hdus =
        [HduOut { name: "", header: &header, image: Some((1024, 1024, HduData::F32(&pixels))) }];
    let error = write(Path::new("/dev/full"), &hdus).unwrap_err().to_string();
    assert!(error.contains("/dev/full") && error.contains("free some space"), "{error}");
    assert!(fs::metadata("/dev/full").is_ok_and(|metadata| !metadata.is_file()));
    write(Path::new("/dev/null"), &hdus).unwrap();
}
