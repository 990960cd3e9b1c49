//! A process that may take only so long.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::memory;

/// How a process ended.
pub(crate) struct Ended {
    /// `None` if it was ended at the limit.
    pub(crate) success: Option<bool>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) wall_s: f64,
    /// Largest resident memory, by looking every few milliseconds.
    pub(crate) peak_bytes: Option<u64>,
}

/// Runs a command to its end, or to `limit` seconds.
pub(crate) fn run(command: &mut Command, limit: f64) -> Result<Ended> {
    // Files take any amount of output; a pipe would have to be drained.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let start = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let mut peak_bytes = None;
    let success = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status.success());
        }
        peak_bytes = peak_bytes.max(memory::peak_of(child.id()));
        if start.elapsed().as_secs_f64() > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        sleep(Duration::from_millis(2));
    };
    let wall_s = start.elapsed().as_secs_f64();
    let text = |file: &mut std::fs::File| -> Result<String> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Ended { success, stdout: text(&mut out)?, stderr: text(&mut err)?, wall_s, peak_bytes })
}

impl Ended {
    /// The last line of the error output, or of the output: mostly what went wrong.
    pub(crate) fn last_words(&self) -> &str {
        let last =
            |text: &'_ str| text.lines().rev().map(str::trim).find(|l| !l.is_empty()).map(str::len);
        let text = if last(&self.stderr).is_some() { &self.stderr } else { &self.stdout };
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no output")
    }
}
