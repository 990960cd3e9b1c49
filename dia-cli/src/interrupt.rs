//! An end by the user or the system, by Ctrl-C or SIGTERM: nothing half-written is left behind.

use std::io;

/// From now on such an end removes the files that are being written, and then ends the process as it would have ended without this.
#[cfg(unix)]
pub(crate) fn clean_up() -> io::Result<()> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        for signal in signals.forever() {
            crate::fits::remove_unfinished();
            // It does not return from these.
            let _ = emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

/// Elsewhere the system does not tell.
#[cfg(not(unix))]
pub(crate) fn clean_up() -> io::Result<()> {
    Ok(())
}
