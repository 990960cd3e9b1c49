//! The frames of a night, and what their results are called.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::fits::FitsSpec;

/// A target image.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) spec: FitsSpec,
    /// As it was given.
    pub(crate) given: String,
    /// The name of its folder: that of the file, with a part of a hash where two files share it.
    pub(crate) id: String,
    /// Place in the list, from 0.
    pub(crate) place: usize,
}

/// The frames that files, patterns and lists name, in their order.
///
/// # Errors
/// If a list cannot be read, a pattern matches nothing, or a frame is named twice.
pub(crate) fn frames(targets: &[String]) -> Result<Vec<Frame>> {
    let mut names = Vec::new();
    for target in targets {
        if is_list(target) {
            let text = fs::read_to_string(target)
                .with_context(|| format!("cannot read the list of targets {target}"))?;
            let lines = text.lines().map(str::trim);
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                ensure!(
                    !is_list(line),
                    "{target} names {line}: a list of targets names images, and no further list"
                );
                expand(line, &mut names)?;
            }
        } else {
            expand(target, &mut names)?;
        }
    }
    ensure!(!names.is_empty(), "{}: no target is named there", targets.join(", "));
    let mut seen = HashSet::new();
    for name in &names {
        ensure!(
            seen.insert(name),
            "{name} is named twice among the targets; leave out one of them"
        );
    }
    let specs = names.iter().map(FitsSpec::parse).collect::<Result<Vec<_>, _>>()?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for spec in &specs {
        *counts.entry(plain_id(spec)).or_default() += 1;
    }
    let frame = |(place, (spec, given)): (usize, (FitsSpec, String))| {
        let plain = plain_id(&spec);
        let id = if counts[&plain] == 1 {
            plain
        } else {
            format!("{plain}-{}", &blake3::hash(given.as_bytes()).to_hex()[..8])
        };
        Frame { spec, given, id, place }
    };
    Ok(specs.into_iter().zip(names).enumerate().map(frame).collect())
}

fn is_list(name: &str) -> bool {
    let suffix = Path::new(name).extension().and_then(|suffix| suffix.to_str());
    matches!(suffix, Some("txt" | "lst" | "list"))
}

/// The files that a pattern matches, sorted by name; or the name itself.
fn expand(name: &str, names: &mut Vec<String>) -> Result<()> {
    let is_pattern = name.contains(['*', '?']) && !Path::new(name).exists();
    if !is_pattern {
        names.push(name.to_owned());
        return Ok(());
    }
    let paths = glob::glob(name).with_context(|| format!("{name} is no pattern of file names"))?;
    let before = names.len();
    for path in paths {
        let path: PathBuf = path.with_context(|| format!("cannot look for {name}"))?;
        let shown = path.to_str().with_context(|| {
            format!("{}: the name is not Unicode; rename the file", path.display())
        })?;
        names.push(shown.to_owned());
    }
    if names.len() == before {
        bail!("{name}: no file matches this pattern");
    }
    Ok(())
}

/// The name of the file without its suffixes, and the extension.
fn plain_id(spec: &FitsSpec) -> String {
    let name = spec.path.file_name().unwrap_or_default().to_string_lossy();
    let mut stem = name.as_ref();
    for suffix in [".gz", ".fz", ".fits", ".fit", ".fts"] {
        stem = stem.strip_suffix(suffix).unwrap_or(stem);
    }
    let selector = spec.selector.as_ref().map_or_else(String::new, |s| format!("_{s}"));
    let plane = spec.plane.map_or_else(String::new, |plane| format!("_{plane}"));
    let id = format!("{stem}{selector}{plane}");
    let plain = |char: char| {
        if char.is_alphanumeric() || "-_.+".contains(char) { char } else { '_' }
    };
    let id: String = id.chars().map(plain).collect();
    // No hidden folder, and not the parent.
    if id.starts_with('.') || id.is_empty() { format!("_{id}") } else { id }
}

#[cfg(test)]
mod tests {
    use super::frames;

    #[test]
    fn frames_come_from_files_patterns_and_lists() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("other")).unwrap();
        for name in ["b.fits", "a.fits", "other/a.fits", "c.fits.gz"] {
            std::fs::write(path(name), "").unwrap();
        }
        std::fs::write(path("l.txt"), format!("# night\n{}\n\n", path("c.fits.gz"))).unwrap();
        let targets = [path("?.fits"), path("other/a.fits"), path("l.txt"), path("m.fits[SCI]")];
        let found = frames(&targets).unwrap();
        let ids: Vec<&str> = found.iter().map(|frame| frame.id.as_str()).collect();
        assert_eq!((ids[1], ids[3], ids[4]), ("b", "c", "m_SCI"));
        assert!(ids[0].starts_with("a-") && ids[2].starts_with("a-") && ids[0] != ids[2]);
        assert!(found.iter().enumerate().all(|(place, frame)| frame.place == place));
        let error = |targets: &[String]| format!("{:#}", frames(targets).unwrap_err());
        assert!(error(&[path("a.fits"), path("*.fits")]).contains("twice"));
        assert!(error(&[path("z*.fits")]).contains("no file matches"));
        assert!(error(&[path("none.txt")]).contains("none.txt"));
        std::fs::write(path("e.txt"), "# nothing\n").unwrap();
        assert!(error(&[path("e.txt")]).contains("no target"));
    }
}
