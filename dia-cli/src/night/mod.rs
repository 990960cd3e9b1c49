//! `dia night`: one reference, many targets, and light curves; and `dia lightcurves`, for further places on what a night has left.
//!
//! ```text
//! DIR/frames/ID/   difference.fits, sources.ecsv, report.json, pictures, timings.json; done.json last
//! DIR/             frames.ecsv, sources.ecsv, lightcurves.ecsv, report.html; night.json last
//! ```
//!
//! A frame is done if its done.json has the key of its inputs, options and this version; everything is written under another name and renamed. So a run that was ended goes on
//! where it was, and several may run over one folder: a frame is locked by who works on it.

mod args;
mod curves;
mod frame;
mod key;
mod lightcurves;
mod log;
mod page;
mod record;
mod season;
mod sources;
mod stacked;
mod summary;
mod tables;
mod time;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dia_solvers::Covariance;

use crate::args::FailOn;
use crate::backend::Precision;
use crate::crew::Crew;
use crate::fits::FitsSpec;
use crate::frames::{Frame, frames};
use crate::input::Real;
use crate::memory::planes;
use crate::notice::Level;
use crate::request::{Convolve, SubtractRequest};
use crate::table::read_positions;
use crate::terminal::{chain, say};

use frame::{Ended, Night, folder_of, level, measuring, shared_key};
use log::{Log, Weight};
use record::{Outcome, Record};
use season::Season;
use stacked::Reference;
use summary::Summary;

pub(crate) use args::{LightCurvesArgs, NightArgs};
pub(crate) use lightcurves::run as run_light_curves;

/// Exit codes: some frames are not to be used, and try again.
const NOT_TO_BE_USED: u8 = 3;
const TRY_AGAIN: u8 = 75;

/// What beside the planes of a subtraction a frame takes, in their parts: spectra, the reference's copy, the score.
const BESIDE_PLANES: f64 = 1.5;

/// Runs `dia night`.
pub(crate) fn run(args: &NightArgs, command_line: &[String]) -> Result<ExitCode> {
    match args.model.precision {
        Precision::F32 => run_in::<f32>(args, command_line),
        Precision::F64 => run_in::<f64>(args, command_line),
    }
}

fn run_in<T: Real>(args: &NightArgs, command_line: &[String]) -> Result<ExitCode> {
    let mut all = frames(&args.targets)?;
    let positions = args.at.as_deref().map(read_positions).transpose()?;
    let mut request = request(args)?;
    let shown = args.output.display();
    fs::create_dir_all(args.output.join("frames"))
        .with_context(|| format!("cannot make the folder {shown}; choose another --output"))?;
    let log = Log::new(args.log, args.run.quiet, all.len());
    let reference = if let Some(spec) = &args.reference {
        Reference::<T>::given(spec, args)?
    } else {
        let _lock = wait(&args.output)?;
        Reference::of_frames(&all, args, &log)?
    };
    let Reference { spec, input: reference } = reference;
    // The reference is no target of its own.
    let place =
        |spec: &FitsSpec| (crate::output::place(&spec.path), spec.selector.clone(), spec.plane);
    all.retain(|frame| place(&frame.spec) != place(&spec));
    ensure!(!all.is_empty(), "{spec} is the reference, and there is no other target");
    for notice in reference.notices.iter().filter(|notice| notice.level > Level::Pass) {
        log.tell(Weight::Warning, "", "reference", &notice.text);
    }
    let mine: Vec<&Frame> = all.iter().filter(|frame| is_mine(frame, args)).collect();
    ensure!(
        !mine.is_empty() || args.task_index.is_none(),
        "--task-index {} is none of the {} targets, or the reference; give one from 0 on",
        args.task_index.unwrap_or_default(),
        all.len()
    );
    let (height, width) = reference.image.view().shape();
    let each = (BESIDE_PLANES * planes::<T>(height, width) as f64) as u64;
    let limit = request.max_memory;
    let crew = Crew::of(args.run.threads, args.jobs, mine.len(), (each, limit));
    request.max_memory = limit.map(|limit| limit / crew.jobs as u64);
    let measure = measuring(args.threshold, args.reference_psf.clone());
    let history = command(command_line);
    let precision = T::PRECISION.name();
    let night = Night {
        folder: &args.output,
        reference: &reference,
        request: &request,
        measure: &measure,
        noise: &args.noise,
        key: shared_key(&request, &measure, &args.noise, precision, &spec.path)?,
        history: &history,
        force: args.force,
        retry_failed: args.retry_failed,
    };
    let (mut later, mut refused) = (0_usize, 0_usize);
    let did = |frame: &&Frame| {
        let ended = night.run(frame);
        tell(&log, frame, &ended);
        Ok(ended)
    };
    let mut ended = crew.each(&mine, did)?;
    // What another process worked on is done now, or it ended before.
    for (frame, ended) in mine.iter().zip(&mut ended) {
        if matches!(ended, Ok(Ended::Busy)) {
            wait(&folder_of(&args.output, &frame.id))?;
            *ended = Ok(Night { force: false, ..night }.run(frame));
        }
    }
    log.finish();
    for (frame, ended) in mine.iter().zip(&ended) {
        match ended {
            Ok(Ended::Kept(record) | Ended::Done(record)) => {
                refused += usize::from(is_refused(record, args.fail_on));
            }
            Ok(Ended::Busy | Ended::Later(_)) => later += 1,
            Err(error) => {
                log.tell(Weight::Error, &frame.id, "frame", &chain(error));
                later += 1;
            }
        }
    }
    let done = mine.iter().zip(ended).filter_map(|(frame, ended)| match ended {
        Ok(Ended::Kept(record) | Ended::Done(record)) => Some((frame.id.as_str(), *record)),
        Ok(Ended::Busy | Ended::Later(_)) | Err(_) => None,
    });
    let mut done: BTreeMap<&str, Record> = done.collect();
    let records: Vec<Record> = all
        .iter()
        .filter_map(|frame| {
            if let Some(record) = done.remove(frame.id.as_str()) {
                return Some(record);
            }
            // That of another process, or none.
            let record = Record::read(&folder_of(&args.output, &frame.id))?;
            let key = night.key.with_files(&[&frame.spec.path]).map(key::Key::to_hex);
            // What could not be read has no key.
            (record.key == key.unwrap_or_default()).then_some(record)
        })
        .collect();
    let missing = all.len() - records.len();
    if missing > 0 {
        let text = format!(
            "{missing} of {} frames are not done yet; light curves are made when all are",
            all.len()
        );
        log.tell(Weight::Info, "", "night", &text);
    } else {
        let season = Season {
            args,
            spec: &spec,
            reference: &reference,
            records: &records,
            positions: positions.as_ref(),
            history: &history,
            crew: Crew::of(args.run.threads, args.jobs, records.len(), (each, limit)),
        };
        log.tell(Weight::Info, "", "lightcurves", "all frames are done; measuring light curves");
        let summary = season.write()?;
        if !args.run.quiet {
            say(told(&summary, &args.output))?;
        }
    }
    Ok(if later > 0 {
        ExitCode::from(TRY_AGAIN)
    } else if refused > 0 {
        ExitCode::from(NOT_TO_BE_USED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The request of every frame: sources are measured where the reference is convolved.
fn request(args: &NightArgs) -> Result<SubtractRequest> {
    let mut request = args.model.request(&args.run);
    ensure!(
        request.convolve != Convolve::Target,
        "sources are measured where the reference is convolved; leave out --convolve target"
    );
    request.convolve = Convolve::Reference;
    request.fit.covariance = Some(Covariance::Sampled);
    Ok(request)
}

fn is_mine(frame: &Frame, args: &NightArgs) -> bool {
    match (args.shard, args.task_index) {
        (Some(shard), _) => shard.has(frame.place),
        (None, Some(index)) => frame.place == index,
        (None, None) => true,
    }
}

/// The command without what says only where to, how fast and which part: the same for every run over a folder.
fn command(command_line: &[String]) -> String {
    const WITH_VALUE: &[&str] = &[
        "--shard",
        "--task-index",
        "--jobs",
        "--log",
        "--threads",
        "--max-memory",
        "--fail-on",
        "-o",
        "--output",
    ];
    const ALONE: &[&str] = &["--force", "--retry-failed", "-q", "--quiet", "-v", "--verbose"];
    let mut words = vec!["dia"];
    let mut arguments = command_line.iter().skip(1).map(String::as_str);
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument) {
            arguments.next();
        } else if argument == "--targets" {
            // The frames are told one by one elsewhere.
            words.extend(["--targets", "…"]);
            while arguments.clone().next().is_some_and(|next| !next.starts_with('-')) {
                arguments.next();
            }
        } else if !ALONE.contains(&argument)
            && !WITH_VALUE.iter().any(|name| argument.starts_with(&format!("{name}=")))
        {
            words.push(argument);
        }
    }
    words.join(" ")
}

fn tell(log: &Log, frame: &Frame, ended: &Ended) {
    let (weight, text) = match ended {
        Ended::Kept(_) => (Weight::Info, "was done before".to_owned()),
        Ended::Busy => (Weight::Info, "another process works on it".to_owned()),
        Ended::Later(reason) => (Weight::Error, format!("cannot be written now: {reason}")),
        Ended::Done(record) => match &record.outcome {
            Outcome::Failed(reason) => (Weight::Error, format!("no difference: {reason}")),
            Outcome::Measured(result) => {
                let codes: Vec<&str> =
                    result.reasons.iter().map(|(code, _)| code.as_str()).collect();
                let weight = if level(&result.verdict) == Level::Pass {
                    Weight::Info
                } else {
                    Weight::Warning
                };
                let why = if codes.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", codes.join(", "))
                };
                let text = format!(
                    "{}{why}, scale {:.4} ± {:.4}, {} detections",
                    result.verdict,
                    result.scale,
                    result.scale_sigma,
                    result.detections.len()
                );
                (weight, text)
            }
        },
    };
    log.tell(weight, &frame.id, "frame", &text);
    log.step();
}

fn is_refused(record: &Record, fail_on: FailOn) -> bool {
    match (&record.outcome, fail_on) {
        (Outcome::Failed(_), _) => true,
        (Outcome::Measured(_), FailOn::Never) => false,
        (Outcome::Measured(result), FailOn::Fail) => level(&result.verdict) >= Level::Fail,
        (Outcome::Measured(result), FailOn::Warn) => level(&result.verdict) >= Level::Warn,
    }
}

/// Waits until nobody holds the lock of a folder, and holds it as long as the file lives.
fn wait(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let locking = || format!("cannot lock {}", path.display());
    let file = File::options().create(true).append(true).open(&path).with_context(locking)?;
    file.lock().with_context(locking)?;
    Ok(file)
}

/// A few lines for the terminal.
fn told(summary: &Summary, folder: &Path) -> String {
    let frames = format!(
        "{} frames: {} pass, {} doubtful, {} not to be used, {} without a difference; {} sources found, {} of them without doubt",
        summary.frames,
        summary.passed,
        summary.warned,
        summary.failed_verdicts,
        summary.without_difference,
        summary.sources,
        summary.clean_sources
    );
    let scatter = summary.scatter_over_expected.map_or_else(String::new, |scatter| {
        format!("; that of faint ones is {scatter:.2} times what their errors let expect")
    });
    let stars = summary.bright_floor_mmag.map_or_else(String::new, |floor| {
        format!(
            "\nof {} constant stars the brightest tenth scatters by {floor:.1} mmag{scatter}",
            summary.constant_stars
        )
    });
    format!("{frames}{stars}\nwrote {}", folder.join("report.html").display())
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_is_the_same_for_every_run_over_a_folder() {
        let of = |line: &str| command(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let wanted = "dia night --reference r.fits --targets … --saturation 60000";
        for line in [
            "dia night --reference r.fits --targets a.fits b.fits -o out --saturation 60000",
            "/bin/dia night --reference r.fits --targets *.fits --saturation 60000 --shard 1/2 -o x -q",
            "dia night --reference r.fits --jobs=2 --targets a --saturation 60000 --force --output x",
        ] {
            assert_eq!(of(line), wanted);
        }
    }
}
