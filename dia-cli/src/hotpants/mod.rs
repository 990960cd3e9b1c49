//! `dia hotpants`: the command line and the files of HOTPANTS (Becker 2015, ascl:1504.004) with the fit of this crate.

mod flags;
mod output;
mod request;

use std::process::ExitCode;

use anyhow::Result;

use crate::notice::Level;
use crate::subtraction::subtract;
use crate::terminal::chain;

use flags::Given;
use output::Outputs;
use request::{Asked, Frame};

/// Exit code of a result that was written and whose verdict says not to use it.
const NOT_TO_BE_USED: u8 = 3;

/// Runs the command with the words after its name. Everything is said on the standard error, as HOTPANTS does.
pub(crate) fn run(words: &[String]) -> ExitCode {
    if words.is_empty() {
        eprint!("{}", flags::usage());
        return ExitCode::FAILURE;
    }
    // In the pool of threads, as the other commands: each parallel loop would be handed over to it from outside.
    match rayon::scope(|_| difference(words)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hotpants: error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn difference(words: &[String]) -> Result<ExitCode> {
    let given = Given::parse(words)?;
    let asked = Asked::of(&given)?;
    let outputs = Outputs::of(&given)?;
    let ignored = given.ignored();
    if !ignored.is_empty() && asked.verbosity > 0 {
        eprintln!("hotpants: note: without effect: -{}", ignored.join(" -"));
    }
    if asked.verbosity > 0 {
        asked.lowered.iter().for_each(|text| eprintln!("hotpants: note: {text}"));
    }
    let template = Frame::read(&asked.template, asked.fill, asked.region)?;
    let image = Frame::read(&asked.image, asked.fill, asked.region)?;
    let (region, header) = (image.region, image.header.clone());
    let (of_template, of_image) = (template.bits, image.bits);
    if asked.verbosity > 0 {
        eprintln!("Convolving...");
    }
    let subtraction = subtract(template.input, image.input, &asked.request, &mut |_| ())?;
    if asked.verbosity > 0 {
        for notice in subtraction.report.notices.iter().filter(|n| n.level > Level::Pass) {
            eprintln!("hotpants: warning: {}", notice.text);
        }
    }
    outputs.write(&subtraction, &asked, region, &header, [&of_template, &of_image], words)?;
    if subtraction.report.verdict.level == Level::Fail {
        eprintln!("hotpants: error: the files are written, but the verdict on the fit is FAIL");
        return Ok(ExitCode::from(NOT_TO_BE_USED));
    }
    eprintln!("SUCCESS");
    Ok(ExitCode::SUCCESS)
}
