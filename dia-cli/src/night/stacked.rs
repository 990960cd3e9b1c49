//! The reference where none is given: made of the best frames as `dia reference` does, or the best one where fewer than five can be stacked.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::args::NightArgs;
use super::key::Key;
use super::log::{Log, Weight};
use crate::crew::Crew;
use crate::fits::FitsSpec;
use crate::frames::Frame;
use crate::input::{Input, InputOptions, Real, Role};
use crate::reference::{Selection, make, write};
use crate::report::write_json;
use crate::request::{Convolve, SubtractRequest};

/// Fewest frames of a stack that is the reference of its own frames: with a third of a target's noise in the reference, some fits do not find their minimum.
const FEWEST: usize = 5;

/// What was made, as it is kept, for it takes all frames to be read.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    /// The frame whose grid it has.
    base: String,
    /// Whether it is reference.fits, and not that frame.
    stacked: bool,
}

/// The reference of a night.
pub(super) struct Reference<T> {
    pub(super) spec: FitsSpec,
    pub(super) input: Input<T>,
}

impl<T: Real> Reference<T> {
    /// The given one.
    pub(super) fn given(spec: &FitsSpec, args: &NightArgs) -> Result<Self> {
        let input = Input::read(spec, Role::Reference, &args.noise.of(Role::Reference))?;
        Ok(Self { spec: spec.clone(), input })
    }

    /// One that is made of `frames`, or was made of them before.
    ///
    /// # Errors
    /// If nothing can be measured on any.
    pub(super) fn of_frames(frames: &[Frame], args: &NightArgs, log: &Log) -> Result<Self> {
        let path = args.output.join("reference.fits");
        let record = args.output.join("reference.json");
        let request = SubtractRequest { convolve: Convolve::Auto, ..args.model.request(&args.run) };
        let key = key::<T>(frames, &request, args);
        if let Some(kept) = kept(&record).filter(|kept| kept.key == key) {
            if kept.stacked && path.is_file() {
                return Self::stack(&path);
            }
            let base = frames.iter().find(|frame| !kept.stacked && frame.given == kept.base);
            if let Some(base) = base {
                return Self::given(&base.spec, args);
            }
        }
        let crew = Crew::of(args.run.threads, args.jobs, frames.len(), (0, None));
        let recipe = Selection::default().recipe(&request, &args.noise, crew)?;
        let tell = |frame: &Frame, text: &str| log.tell(Weight::Info, &frame.id, "reference", text);
        let made = make::<T>(frames, &recipe, &tell)?;
        let (count, base) = (made.members.len(), made.base_file.clone());
        let stacked = count >= FEWEST;
        let text = if stacked {
            write(&path, &made, "night")?;
            format!(
                "{count} frames are the reference, on the grid of {base}; a point source is {:.2} times as significant as in that alone",
                made.gain
            )
        } else {
            format!("{base} is the reference: fewer than {FEWEST} frames can be stacked")
        };
        log.tell(Weight::Info, "", "reference", &text);
        let given = frames.iter().find(|frame| frame.given == base).map(|frame| &frame.spec);
        write_json(&record, &Kept { key, base, stacked })?;
        if stacked {
            Self::stack(&path)
        } else {
            Self::given(given.context("the base is one of the frames")?, args)
        }
    }

    /// What the options say of the noise is said of single frames: the stack has planes of its own.
    fn stack(path: &Path) -> Result<Self> {
        let spec = FitsSpec::parse(path)?;
        let input = Input::read(&spec, Role::Reference, &InputOptions::default())?;
        Ok(Self { spec, input })
    }
}

fn kept(record: &Path) -> Option<Kept> {
    serde_json::from_slice(&std::fs::read(record).ok()?).ok()
}

fn key<T: Real>(frames: &[Frame], request: &SubtractRequest, args: &NightArgs) -> String {
    let said = format!("reference {request:?} {:?} {:?}", args.noise, T::PRECISION);
    let key = frames.iter().fold(Key::of(&said), |key, frame| {
        // What cannot be read is no candidate.
        key.with_files(&[&frame.spec.path]).unwrap_or(key)
    });
    key.to_hex()
}
