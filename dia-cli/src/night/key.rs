//! Keys by content: equal keys, equal results.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use super::record::SCHEMA;

/// A hash (BLAKE3) of options, versions and the bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(blake3::Hash);

impl Key {
    /// Of this version of dia, and of options in words.
    pub(super) fn of(options: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self(blake3::hash(format!("dia night {SCHEMA} {version} {options}").as_bytes()))
    }

    /// The same with the contents of files, in their order.
    ///
    /// # Errors
    /// If one cannot be read, which it names.
    pub(super) fn with_files(self, files: &[&Path]) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes());
        for path in files {
            let reading = || format!("cannot read {}", path.display());
            let mut of_file = blake3::Hasher::new();
            let file = File::open(path).with_context(reading)?;
            of_file.update_reader(file).with_context(reading)?;
            hasher.update(of_file.finalize().as_bytes());
        }
        Ok(Self(hasher.finalize()))
    }

    pub(super) fn to_hex(self) -> String {
        self.0.to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_follows_options_and_contents_but_not_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "one").unwrap();
        std::fs::write(path("b"), "one").unwrap();
        std::fs::write(path("c"), "two").unwrap();
        let key = |options: &str, names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
            let paths: Vec<_> = paths.iter().map(std::path::PathBuf::as_path).collect();
            Key::of(options).with_files(&paths)
        };
        let first = key("x", &["a", "c"]).unwrap();
        assert_eq!(first, key("x", &["b", "c"]).unwrap());
        for other in [key("y", &["a", "c"]), key("x", &["c", "a"]), key("x", &["a"])] {
            assert_ne!(first, other.unwrap());
        }
        assert!(format!("{:#}", key("x", &["d"]).unwrap_err()).contains("cannot read"));
        assert_eq!(first.to_hex().len(), 64);
    }
}
