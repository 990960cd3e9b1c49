//! Bytes whose number is not known before: compressed files and pipes.

use std::{
    io::{self, Read},
    path::Path,
};

use super::{
    error::FitsError,
    read::{BLOCK_LENGTH, MAX_HEADER_LENGTH, check_start, interpret, read_header},
};

/// What is held in memory at most: 64 GiB.
const MAX_LENGTH: u64 = 64 << 30;

/// Bytes after the last HDU that are looked at.
const MAX_TRAILING_LENGTH: u64 = 64 << 20;

/// Reads the HDUs that the headers of a stream declare, and a little more: not whatever comes, which may never end.
///
/// # Errors
/// [`FitsError::Empty`] and [`FitsError::NotFits`] by the first bytes; [`FitsError::StreamTooLong`]; those of the stream as `read_error`
/// makes them. Damage is left to the one who looks at the bytes.
pub(super) fn read(
    path: &Path,
    mut stream: impl Read,
    read_error: impl Fn(io::Error) -> FitsError,
) -> Result<Vec<u8>, FitsError> {
    let mut bytes = Vec::new();
    // Whether the stream has `length` bytes from its start.
    let mut up_to = |bytes: &mut Vec<u8>, length: u64| {
        if length > MAX_LENGTH {
            let path = path.to_owned();
            return Err(FitsError::StreamTooLong { path, limit_gib: MAX_LENGTH >> 30 });
        }
        let missing = length.saturating_sub(bytes.len() as u64);
        stream.by_ref().take(missing).read_to_end(bytes).map_err(&read_error)?;
        Ok(bytes.len() as u64 >= length)
    };
    up_to(&mut bytes, 9)?;
    check_start(path, &bytes)?;
    let block = BLOCK_LENGTH as u64;
    let mut start = 0;
    loop {
        let mut room = block;
        let found = loop {
            if !up_to(&mut bytes, start + room)? {
                return Ok(bytes);
            }
            match read_header(&mut &bytes[start as usize..], room) {
                Ok(None) if room < MAX_HEADER_LENGTH => room *= 2,
                found => break found,
            }
        };
        let Ok(Some((header, length))) = found else { break };
        let Ok((_, declared)) = interpret(0, header) else { break };
        let end = u64::try_from(declared.saturating_add((start + length).into()));
        start = end.unwrap_or(u64::MAX).checked_next_multiple_of(block).unwrap_or(u64::MAX);
        if !up_to(&mut bytes, start.saturating_add(8))? {
            return Ok(bytes);
        }
        if !bytes[start as usize..].starts_with(b"XTENSION") {
            break;
        }
    }
    let end = (bytes.len() as u64).max(start) + MAX_TRAILING_LENGTH;
    up_to(&mut bytes, end)?;
    Ok(bytes)
}
