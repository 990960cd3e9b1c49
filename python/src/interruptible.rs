//! Work without the interpreter's lock that Ctrl-C ends, and that tells Python of its progress.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use dia_cli::Event;
use pyo3::prelude::*;

use crate::errors::DiaError;

/// How long a signal may wait to be seen.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the stack of a fit that nobody waits for any more is unwound with.
struct Stopped;

/// Runs `work` in a pool of its own of so many threads, 0 for as many as there are cores, while this thread hears its events and Python's signals.
///
/// The pool is not the global one: its threads would be missing in a process that was forked from this one. Once a signal handler or `hear` has raised, the
/// work ends at its next event.
///
/// # Errors
/// What `hear` or a signal handler raised, or [`DiaError`] if there are no threads.
pub(crate) fn run<R: Send>(
    py: Python<'_>,
    threads: usize,
    mut hear: impl FnMut(Python<'_>, Event) -> PyResult<()> + Send,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> R + Send,
) -> PyResult<R> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| {
        DiaError::new_err(format!("cannot start the threads; give fewer threads: {error}"))
    })?;
    py.detach(|| {
        let (sender, events) = channel();
        let stop = AtomicBool::new(false);
        let mut done = None;
        let mut raised = None;
        pool.in_place_scope(|scope| {
            let (stop, done) = (&stop, &mut done);
            scope.spawn(move |_| {
                let mut tell = |event| {
                    // A receiver that has gone has raised.
                    let _ = sender.send(event);
                    if stop.load(Ordering::Relaxed) {
                        resume_unwind(Box::new(Stopped));
                    }
                };
                *done = Some(catch_unwind(AssertUnwindSafe(|| work(&mut tell))));
            });
            while raised.is_none() {
                let event = match events.recv_timeout(PATIENCE) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                let heard = Python::attach(|py| {
                    py.check_signals()?;
                    event.map_or(Ok(()), |event| hear(py, event))
                });
                if let Err(error) = heard {
                    raised = Some(error);
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        match (raised, done) {
            (Some(error), _) => Err(error),
            (None, Some(Ok(result))) => Ok(result),
            (None, Some(Err(panic))) => resume_unwind(panic),
            (None, None) => unreachable!("the scope has waited for its work"),
        }
    })
}
