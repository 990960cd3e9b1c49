//! Why there is no difference.

use crate::terminal::chain;

/// An image could not be read or used, or a subtraction did not come to an end.
///
/// Its words name the image, the cause and the remedy; [`source`](std::error::Error::source) is what caused it, a
/// [`FitsError`](crate::fits::FitsError) for example.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] anyhow::Error);

impl Error {
    /// The error and its causes in one line, as the command prints it.
    pub fn line(&self) -> String {
        chain(&self.0)
    }
}
