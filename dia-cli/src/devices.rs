//! `dia devices`.

use anyhow::Result;

use crate::terminal::say;

/// Prints one line per Vulkan device.
pub(crate) fn run() -> Result<()> {
    for device in dia_vulkan::devices()? {
        say(device)?;
    }
    Ok(())
}
