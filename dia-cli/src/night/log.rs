//! What is told of a run while it goes on, on the standard error: lines for people with a bar, or JSON lines.

use std::io::{self, IsTerminal, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::args::LogFormat;

/// Where it goes.
pub(super) struct Log {
    format: LogFormat,
    quiet: bool,
    start: Instant,
    bar: Option<ProgressBar>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Info,
    Warning,
    Error,
}

impl Log {
    /// With a bar for `frames` frames where a person looks.
    pub(super) fn new(format: LogFormat, quiet: bool, frames: usize) -> Self {
        let seen = format == LogFormat::Text && !quiet && io::stderr().is_terminal();
        let bar = seen.then(|| {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(frames as u64), target);
            let template = "{bar:40} {pos}/{len} frames, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { format, quiet, start: Instant::now(), bar }
    }

    /// One event of a frame, or of the whole run where `frame` is empty.
    pub(super) fn tell(&self, weight: Weight, frame: &str, stage: &str, text: &str) {
        if self.quiet && weight != Weight::Error {
            return;
        }
        let line = match self.format {
            LogFormat::Text if frame.is_empty() => text.to_owned(),
            LogFormat::Text => format!("{frame}: {text}"),
            LogFormat::Json => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let level = match weight {
                    Weight::Info => "info",
                    Weight::Warning => "warning",
                    Weight::Error => "error",
                };
                json!({
                    "t": now.as_secs_f64(),
                    "level": level,
                    "frame": frame,
                    "stage": stage,
                    "ms": self.start.elapsed().as_millis() as u64,
                    "msg": text,
                })
                .to_string()
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            // Nobody may read it any more.
            None => drop(writeln!(io::stderr().lock(), "{line}")),
        }
    }

    /// One frame more is done.
    pub(super) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// No bar any more.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
