//! Damaged files, put to everything that reads files: `fuzz READER COUNT [SEED [FOLDER]]`, READER being headers,
//! packed, tables, coordinates, scenes, nights or all.
//!
//! COUNT inputs are made of good ones by a few changes each; input number n of a seed is always the same. What
//! panics, takes more than ten seconds or more than a GiB of memory is written to FOLDER (`fuzz-found`) with a line
//! that says why, the first few of each kind. A reader that never returns ends the program, and so does one that
//! aborts, with its input still in the folder of temporary files.

mod mutation;
mod seeds;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dia_benches::readers::{Reader, headers};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use seeds::{Seed, Seeds};

/// Longer than any good file of this size takes.
const SLOW: Duration = Duration::from_secs(10);

/// More than any good file of this size needs, in bytes.
const LARGEST: u64 = 1 << 30;

/// Files that are kept of each kind of failure.
const KEPT: usize = 3;

fn main() -> ExitCode {
    // Processes of their own: the command, and what may end one.
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "dia") {
        return dia_cli::run_command(arguments);
    }
    if arguments.next_if(|first| first == "read").is_some() {
        arguments.for_each(|path| headers(Path::new(&path)));
        return ExitCode::SUCCESS;
    }
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The number of failures.
fn run(arguments: &[String]) -> Result<usize> {
    const USAGE: &str = "fuzz READER COUNT [SEED [FOLDER]]";
    let [name, count, rest @ ..] = arguments else { bail!("{USAGE}") };
    let readers: Vec<Reader> =
        Reader::ALL.into_iter().filter(|reader| name == "all" || name == reader.name()).collect();
    let count: u64 = count.parse().context(USAGE)?;
    let seed: u64 = rest.first().map_or(Ok(1), |seed| seed.parse()).context(USAGE)?;
    let folder = PathBuf::from(rest.get(1).map_or("fuzz-found", String::as_str));
    if readers.is_empty() {
        bail!("{name:?} is no reader; {USAGE}");
    }
    fs::create_dir_all(&folder)?;
    let seeds = Seeds::new().context("the good files cannot be made")?;
    let mut failures = 0;
    for reader in readers {
        failures += Campaign::new(reader, seed, &folder, &seeds)?.run(count)?;
    }
    Ok(failures)
}

/// The input that is being read, and since when.
type Running = Arc<Mutex<Option<(Instant, PathBuf)>>>;

/// One reader, and what it is given.
struct Campaign<'a> {
    reader: Reader,
    seed: u64,
    folder: &'a Path,
    seeds: &'a Seeds,
    running: Running,
    /// How often each kind of failure occurred.
    failures: BTreeMap<String, usize>,
}

impl<'a> Campaign<'a> {
    fn new(reader: Reader, seed: u64, folder: &'a Path, seeds: &'a Seeds) -> Result<Self> {
        let running = Running::default();
        let watched = Arc::clone(&running);
        let kept = folder.to_owned();
        thread::Builder::new().spawn(move || watch(&watched, &kept))?;
        Ok(Self { reader, seed, folder, seeds, running, failures: BTreeMap::new() })
    }

    fn run(mut self, count: u64) -> Result<usize> {
        let start = Instant::now();
        let good = &self.seeds.of(self.reader);
        let helper = std::env::current_exe()?;
        // What a panic says is told once for each kind.
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::panic::set_hook(Box::new(move |panic| {
            if let Ok(mut heard) = heard.lock() {
                *heard = panic.to_string();
            }
        }));
        for number in 0..count {
            let mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
            let mut random = Xoshiro256PlusPlus::seed_from_u64(mixed);
            let Seed { name, bytes } = mutation::damaged(good, &mut random);
            let path = self.seeds.folder().join(&name);
            fs::write(&path, &bytes)?;
            self.set_running(Some((Instant::now(), path.clone())));
            reset_peak();
            let begun = Instant::now();
            let read = || self.reader.read(&path, &self.seeds.night(), &helper);
            let result = catch_unwind(AssertUnwindSafe(read));
            self.set_running(None);
            let failure = if result.is_err() {
                said.lock().map_or_else(|_| "panic".to_owned(), |said| said.clone())
            } else if begun.elapsed() > SLOW {
                "slow".to_owned()
            } else if peak_memory().is_some_and(|peak| peak > LARGEST) {
                "large".to_owned()
            } else {
                continue;
            };
            self.keep(&failure, &format!("{}-{number}-{name}", self.seed), &bytes)?;
        }
        let _ = std::panic::take_hook();
        let failed = self.failures.values().sum();
        println!(
            "{}: {count} inputs of seed {}, {failed} failures of {} kinds, {:.0} s",
            self.reader.name(),
            self.seed,
            self.failures.len(),
            start.elapsed().as_secs_f64()
        );
        Ok(failed)
    }

    fn set_running(&self, input: Option<(Instant, PathBuf)>) {
        if let Ok(mut running) = self.running.lock() {
            *running = input;
        }
    }

    fn keep(&mut self, failure: &str, name: &str, bytes: &[u8]) -> Result<()> {
        // Numbers differ from input to input.
        let kind = failure.chars().filter(|char| !char.is_ascii_digit()).collect();
        let seen = self.failures.entry(kind).or_default();
        *seen += 1;
        if *seen <= KEPT {
            println!("{} {name}: {failure}", self.reader.name());
            fs::write(self.folder.join(format!("{}-{name}", self.reader.name())), bytes)?;
        }
        Ok(())
    }
}

/// Ends the program where an input takes far too long: a thread cannot be stopped.
fn watch(running: &Running, folder: &Path) {
    loop {
        thread::sleep(Duration::from_millis(250));
        let input = running.lock().ok().and_then(|running| running.clone());
        if let Some((begun, path)) = input
            && begun.elapsed() > 2 * SLOW
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kept = folder.join(format!("hang-{name}"));
            let copied = fs::copy(&path, &kept);
            println!("{} takes more than {SLOW:?}: {copied:?}", kept.display());
            std::process::exit(1);
        }
    }
}

/// The largest memory of this process in bytes since [`reset_peak`]; only Linux tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

fn reset_peak() {
    // Elsewhere there is no such file, and no peak is told.
    let _ = fs::write("/proc/self/clear_refs", "5");
}
