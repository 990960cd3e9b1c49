//! Files that are seen whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use super::error::FitsError;

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
        Ok(metadata) if !metadata.is_file() || path.starts_with("/dev") => {
            OpenOptions::new().write(true).open(path).and_then(|file| write(&file))
        }
        Ok(metadata) if metadata.permissions().readonly() => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file exists and is read-only"))
        }
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
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
    let file = builder.tempfile_in(folder)?;
    write(file.as_file())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
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
