//! Resident memory of processes, where the system tells it.

use std::fs;

/// The value of a line such as `VmHWM:  1234 kB` of /proc/PID/status, in bytes.
fn status(process: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The largest resident memory that a process has had, in bytes.
pub(crate) fn peak_of(process: u32) -> Option<u64> {
    status(&process.to_string(), "VmHWM")
}

/// The resident memory of this process in bytes, from which its peak is counted anew.
pub(crate) fn restart_peak() -> Option<u64> {
    // 5 resets the high-water mark (man 5 proc).
    fs::write("/proc/self/clear_refs", "5").ok()?;
    status("self", "VmRSS")
}

/// The largest resident memory of this process since [`restart_peak`], in bytes.
pub(crate) fn peak() -> Option<u64> {
    status("self", "VmHWM")
}
