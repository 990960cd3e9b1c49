//! Scratch memory that threads take and give back.

use std::sync::{Mutex, PoisonError};

/// Scratch items, made beforehand for the threads of the current rayon pool. The last one given back, which is still in a
/// cache, is the first to be taken again.
pub(crate) struct Pool<S>(Mutex<Vec<S>>);

impl<S> Pool<S> {
    pub(crate) fn new(make: impl FnMut() -> S) -> Self {
        let threads = rayon::current_num_threads();
        Self(Mutex::new(std::iter::repeat_with(make).take(threads).collect()))
    }

    /// Lends an item to `work`; a thread beyond those planned for gets a new one.
    pub(crate) fn with<R>(&self, make: impl FnOnce() -> S, work: impl FnOnce(&mut S) -> R) -> R {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let item = free().pop();
        let mut item = item.unwrap_or_else(make);
        let result = work(&mut item);
        free().push(item);
        result
    }
}
