//! Why there is no difference.

/// An image could not be read or used, or a subtraction did not come to an end.
///
/// Its words name the image, the cause and the remedy; [`source`](std::error::Error::source) is what caused it, a
/// [`FitsError`](crate::fits::FitsError) for example.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] anyhow::Error);
