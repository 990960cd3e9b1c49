//! Frames side by side, each with its part of the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};

/// How many work at once, and with how many threads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crew {
    pub(crate) jobs: usize,
    pub(crate) threads: usize,
}

impl Crew {
    /// `jobs` if it is given, else as many as threads; fewer where there is less work, or where `each` bytes for each of them are more than the limit.
    pub(crate) fn of(
        threads: Option<u16>,
        jobs: Option<u16>,
        work: usize,
        (each, limit): (u64, Option<u64>),
    ) -> Self {
        let all = threads
            .map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
        let room = limit.map_or(usize::MAX, |limit| (limit / each.max(1)) as usize);
        let jobs = jobs.map_or(all, usize::from).min(work).min(room).max(1);
        Self { jobs, threads: (all / jobs).max(1) }
    }

    /// Does all of `work`, one piece at a time in each job; the results are in the order of the work. What panics is an error.
    pub(crate) fn each<W: Sync, R: Send>(
        self,
        work: &[W],
        of: impl Fn(&W) -> Result<R> + Sync,
    ) -> Result<Vec<Result<R>>> {
        let next = AtomicUsize::new(0);
        let run = |pool: &rayon::ThreadPool| {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = work.get(place) else { return done };
                let result = catch_unwind(AssertUnwindSafe(|| pool.install(|| of(piece))));
                done.push((place, result.unwrap_or_else(|panic| Err(told(&*panic)))));
            }
        };
        let pools = (0..self.jobs)
            .map(|_| rayon::ThreadPoolBuilder::new().num_threads(self.threads).build())
            .collect::<Result<Vec<_>, _>>()
            .context("cannot start the threads; give a smaller --threads or --jobs")?;
        let mut done: Vec<(usize, Result<R>)> = thread::scope(|scope| {
            let workers: Vec<_> = pools.iter().map(|pool| scope.spawn(|| run(pool))).collect();
            let finished = workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default());
            finished.collect()
        });
        done.sort_by_key(|(place, _)| *place);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }
}

/// What a panic said.
fn told(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    anyhow!("this is a fault of dia: {}", text.unwrap_or_else(|| "a panic without words".into()))
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::Crew;

    #[test]
    fn jobs_share_threads_and_memory() {
        let crew = |threads, jobs, work, limit| Crew::of(Some(threads), jobs, work, (100, limit));
        assert_eq!(crew(8, None, 50, None), Crew { jobs: 8, threads: 1 });
        assert_eq!(crew(8, Some(2), 50, None), Crew { jobs: 2, threads: 4 });
        assert_eq!(crew(8, None, 50, Some(350)), Crew { jobs: 3, threads: 2 });
        assert_eq!(crew(8, None, 2, None), Crew { jobs: 2, threads: 4 });
        assert_eq!(crew(8, None, 50, Some(1)), Crew { jobs: 1, threads: 8 });
    }

    #[test]
    fn a_panic_is_the_error_of_its_piece_alone() {
        let work: Vec<usize> = (0..20).collect();
        let done = Crew { jobs: 3, threads: 1 }.each(&work, |n| {
            assert_ne!(*n, 7, "seven");
            ensure!(*n != 8, "eight");
            Ok(n * n)
        });
        let done = done.unwrap();
        assert_eq!(done.len(), 20);
        assert!(format!("{:#}", done[7].as_ref().unwrap_err()).contains("seven"));
        assert_eq!(done[8].as_ref().unwrap_err().to_string(), "eight");
        assert_eq!(*done[19].as_ref().unwrap(), 361);
    }
}
