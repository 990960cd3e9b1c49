//! `dia devices`.

use anyhow::Result;

/// Prints one line per Vulkan device.
pub(crate) fn run() -> Result<()> {
    for device in dia_vulkan::devices()? {
        println!("{device}");
    }
    Ok(())
}
