//! What is said on the terminal.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line.
///
/// # Errors
/// Those of the standard output, which may be a closed pipe or a full disk; `println!` would panic.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Whether the command failed only because nobody reads its output any more.
pub(crate) fn reader_has_gone(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// An error and its causes in one line, without the causes that the words before them already tell.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::chain;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk full").context("cannot write a.fits: disk full; free some space");
        assert_eq!(chain(&error), "cannot write a.fits: disk full; free some space");
        let error: anyhow::Result<()> = Err(anyhow!("disk full")).context("cannot write a.fits");
        assert_eq!(chain(&error.unwrap_err()), "cannot write a.fits: disk full");
    }
}
