//! `dia align`.

use anyhow::Result;
use serde::Serialize;

use super::{AlignmentReport, Shift, plan};
use crate::args::AlignArgs;
use crate::input::{Input, Role};
use crate::notice::{Level, Notice};
use crate::report::write_json;
use crate::request::{Align, SubtractRequest};
use crate::subtract::set_threads;
use crate::terminal::say;

/// Version of the document: raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// How two images lie: what `dia align` writes.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the section has the name that it has in the report")]
pub struct Alignment {
    schema: u32,
    version: &'static str,
    reference: String,
    target: String,
    /// Rows and columns.
    reference_shape: [usize; 2],
    target_shape: [usize; 2],
    /// Turn and whole-pixel offset of `dia subtract`, where it does not warp the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    turned: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Offset>,
    alignment: AlignmentReport,
    notices: Vec<Notice>,
}

#[derive(Debug, Serialize)]
struct Offset {
    dx: isize,
    dy: isize,
}

/// Finds how two images lie and writes it.
pub(crate) fn run(args: &AlignArgs) -> Result<()> {
    set_threads(&args.run)?;
    let read = |spec, role| Input::<f32>::read(spec, role, &args.noise.of(role));
    let (reference, target) =
        rayon::join(|| read(&args.reference, Role::Reference), || read(&args.target, Role::Target));
    let (reference, target) = (reference?, target?);
    let document = find(&reference, &target, args.align)?;
    for notice in document.notices.iter().filter(|_| !args.run.quiet) {
        let kind = if notice.level == Level::Pass { "note" } else { "warning" };
        eprintln!("{kind}: {}", notice.text);
    }
    match &args.output {
        Some(path) => write_json(path, &document),
        None => Ok(say(serde_json::to_string_pretty(&document)?)?),
    }
}

impl Alignment {
    /// Finds how `target` lies against `reference`; neither is moved.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn of(
        reference: &Input<f32>,
        target: &Input<f32>,
        align: Align,
    ) -> Result<Self, crate::Error> {
        Ok(find(reference, target, align)?)
    }

    /// The document that `dia align` writes.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, crate::Error> {
        Ok(serde_json::to_string_pretty(self).map_err(anyhow::Error::from)?)
    }
}

fn find(reference: &Input<f32>, target: &Input<f32>, align: Align) -> Result<Alignment> {
    let request = SubtractRequest { align, ..SubtractRequest::default() };
    let plan = plan(reference, target, &request)?;
    let shape = |input: &Input<f32>| [input.image.height(), input.image.width()];
    let Shift { dx, dy } = plan.decision.shift;
    let moved = plan.decision.warp.is_none();
    Ok(Alignment {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        reference: reference.taken.image.clone(),
        target: target.taken.image.clone(),
        reference_shape: shape(reference),
        target_shape: shape(target),
        turned: plan.decision.turn.filter(|_| moved).map(|turn| turn.code),
        offset: moved.then_some(Offset { dx, dy }),
        alignment: plan.report,
        notices: [reference.notices.clone(), target.notices.clone(), plan.notices].concat(),
    })
}
