//! Files that are seen whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::error::FitsError;

/// Files that are being written, under their temporary names.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the files that are being written at this moment, for a process that is about to end. Their writers cannot put them in their place
/// any more.
pub fn remove_unfinished() {
    let mut files = unfinished();
    for path in std::mem::take(&mut *files) {
        // Nothing is left to tell of a failure.
        let _ = fs::remove_file(path);
    }
    // Nobody starts another one.
    std::mem::forget(files);
}

/// Finds out whether [`write_atomically`] could write to `path` now, by making a file in its folder that goes away at once.
///
/// # Errors
/// [`FitsError::Write`] with the cause and the remedy.
pub fn check_writable(path: &Path) -> Result<(), FitsError> {
    let result = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Ok(metadata) if metadata.permissions().readonly() => Err(read_only()),
        Ok(_) => fs::canonicalize(path)
            .and_then(|path| tempfile::tempfile_in(folder_of(&path)))
            .map(drop),
        Err(_) => tempfile::tempfile_in(folder_of(path)).map(drop),
    };
    result.map_err(|source| FitsError::Write {
        path: path.to_owned(),
        remedy: remedy(&source),
        source,
    })
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the file exists and is read-only")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a path names an open file, which may be a regular one (`> file`) and is not to be replaced.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/std", "/dev/fd/", "/proc/self/fd/"]
        .iter()
        .any(|prefix| path.to_str().is_some_and(|path| path.starts_with(prefix)))
}

/// Writes a file under another name in the same folder, syncs it, and renames it: at `path` there is the old file or the
/// whole new one. What exists and is no regular file (a device, a pipe) is written to directly.
///
/// # Errors
/// [`FitsError::Write`] with the cause and the remedy.
pub fn write_atomically(
    path: &Path,
    write: impl Fn(&File) -> io::Result<()>,
) -> Result<(), FitsError> {
    let result = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() || is_descriptor(path) => {
            OpenOptions::new().write(true).open(path).and_then(|file| write(&file))
        }
        Ok(metadata) if metadata.permissions().readonly() => Err(read_only()),
        // Through a symbolic link the file behind it is replaced, and it keeps its permissions.
        Ok(metadata) => fs::canonicalize(path)
            .and_then(|path| replace(&path, metadata.permissions().into(), write)),
        Err(_) => replace(path, None, write),
    };
    result.map_err(|source| FitsError::Write {
        path: path.to_owned(),
        remedy: remedy(&source),
        source,
    })
}

fn replace(
    path: &Path,
    permissions: Option<fs::Permissions>,
    write: impl Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    {
        // The umask takes its bits away from these, as for any new file.
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    // Made and noted under one lock: there is no file that an interrupt would not find.
    let file = {
        let mut files = unfinished();
        let file = builder.tempfile_in(folder_of(path))?;
        files.insert(file.path().to_owned());
        file
    };
    let name = file.path().to_owned();
    let written = fill(&file, permissions, write).and_then(|()| {
        let mut files = unfinished();
        file.persist(path).map_err(|error| error.error)?;
        files.remove(&name);
        Ok(())
    });
    if written.is_err() {
        unfinished().remove(&name);
    }
    written
}

fn fill(
    file: &NamedTempFile,
    permissions: Option<fs::Permissions>,
    write: impl Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    write(file.as_file())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create its folder first",
        io::ErrorKind::NotADirectory => "a part of its path is a file; choose another path",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose another path or change the permissions"
        }
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidFilename => "give the path of a file",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space or choose another disk"
        }
        io::ErrorKind::BrokenPipe => "the reader of the pipe has gone",
        _ => "check the disk or choose another path",
    }
}
