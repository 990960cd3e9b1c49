//! `dia bench peers`: the same simulated pairs through other tools, as processes of their own.
//!
//! Every tool gets the images as files in the form that it documents, and gives a difference image in the units of the target. What is said of a tool
//! comes from that image alone: M = I − D is compared with the target's true expectation. Nothing of the tools is part of this program; a tool
//! that is not installed is a row that says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use dia_core::robust::median;
use dia_core::simulate::{SimulatedPair, SimulationOptions, simulate};
use dia_core::{CcdNoise, Image};
use serde::Serialize;
use serde_json::json;

use super::args::PeersArgs;
use super::peer_score::{Score, score};
use super::process::{self, Ended};
use super::progress::progress_bar;
use super::table::markdown;
use crate::args::RunArgs;
use crate::fits::{self, FitsFile, HduData, HduOut, Header};
use crate::output::check_place;
use crate::report::write_json;
use crate::simulate::Files;
use crate::subtract::set_threads;
use crate::terminal::say;

/// Version of the results' schema: raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

const SFFT: &str = include_str!("peers/sfft.py");
const PYTORCHDIA: &str = include_str!("peers/pytorchdia.py");

/// A tool that subtracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Dia,
    Hotpants,
    Sfft,
    PyTorchDia,
}

impl Tool {
    const ALL: [Self; 4] = [Self::Dia, Self::Hotpants, Self::Sfft, Self::PyTorchDia];

    fn name(self) -> &'static str {
        match self {
            Self::Dia => "dia subtract",
            Self::Hotpants => "hotpants",
            Self::Sfft => "sfft",
            Self::PyTorchDia => "PyTorchDIA",
        }
    }
}

/// What a tool made of the pairs: medians.
#[derive(Clone, Debug, Serialize)]
struct Row {
    tool: &'static str,
    /// "ran", or why there are no numbers.
    status: String,
    pairs: usize,
    wall_s: Option<f64>,
    peak_bytes: Option<f64>,
    #[serde(flatten)]
    score: Option<Score>,
}

#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    version: &'static str,
    size: u32,
    half_width: u32,
    seed: u64,
    rows: Vec<Row>,
}

/// Runs the command.
pub(crate) fn run(args: &PeersArgs) -> Result<()> {
    if let Some(path) = &args.output {
        check_place("results", path)?;
    }
    set_threads(&RunArgs { threads: args.threads, ..RunArgs::default() })?;
    let bar = progress_bar(usize::from(args.pairs) * Tool::ALL.len(), "subtractions", args.quiet);
    let mut runs: [Vec<(Ended, Score)>; 4] = [const { Vec::new() }; 4];
    let mut failures: [Option<String>; 4] = [const { None }; 4];
    for index in 0..args.pairs {
        let bench = Bench::new(args, args.seed + u64::from(index))?;
        for (tool, (runs, failure)) in Tool::ALL.iter().zip(runs.iter_mut().zip(&mut failures)) {
            bar.set_message(tool.name());
            if failure.is_none() {
                match bench.subtract(*tool) {
                    Ok(run) => runs.push(run),
                    Err(error) => *failure = Some(format!("{error:#}")),
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let rows: Vec<Row> = Tool::ALL
        .iter()
        .zip(runs.iter().zip(failures))
        .map(|(tool, (runs, failure))| row(*tool, runs, failure))
        .collect();
    say(tabulate(&rows))?;
    if let Some(path) = &args.output {
        let (version, seed) = (env!("CARGO_PKG_VERSION"), args.seed);
        let (size, half_width) = (args.size, args.half_width);
        write_json(path, &Results { schema: SCHEMA, version, size, half_width, seed, rows })?;
    }
    Ok(())
}

fn row(tool: Tool, runs: &[(Ended, Score)], failure: Option<String>) -> Row {
    let of = |value: &dyn Fn(&(Ended, Score)) -> Option<f64>| {
        median(&mut runs.iter().filter_map(value).collect::<Vec<f64>>())
    };
    let scores: Vec<Score> = runs.iter().map(|(_, score)| *score).collect();
    Row {
        tool: tool.name(),
        status: failure.unwrap_or_else(|| "ran".into()),
        pairs: runs.len(),
        wall_s: of(&|(ended, _)| Some(ended.wall_s)),
        peak_bytes: of(&|(ended, _)| ended.peak_bytes.map(|bytes| bytes as f64)),
        score: Score::median_of(&scores),
    }
}

fn tabulate(rows: &[Row]) -> String {
    let heads = [
        "tool",
        "pairs",
        "wall time / s",
        "peak memory / MB",
        "scale error",
        "MFB",
        "MFV",
        "model error / σ",
        "transient flux found / true",
        "status",
    ];
    let cells = |row: &Row| {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or(String::new(), |value| format!("{value:.digits$}"))
        };
        let of = |value: fn(&Score) -> f64| row.score.as_ref().map(value);
        vec![
            row.tool.to_owned(),
            row.pairs.to_string(),
            number(row.wall_s, 2),
            number(row.peak_bytes.map(|bytes| bytes / 1e6), 0),
            of(|s| s.scale_error).map_or(String::new(), |error| format!("{error:+.5}")),
            of(|s| s.mfb).map_or(String::new(), |mfb| format!("{mfb:+.4}")),
            number(of(|s| s.mfv), 4),
            number(of(|s| s.model_error), 4),
            number(row.score.as_ref().and_then(|s| s.transient_recovery), 4),
            row.status.clone(),
        ]
    };
    markdown(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// A simulated pair as files in a folder of its own.
struct Bench<'a> {
    args: &'a PeersArgs,
    pair: SimulatedPair,
    folder: tempfile::TempDir,
    files: Files,
    threads: usize,
}

impl<'a> Bench<'a> {
    fn new(args: &'a PeersArgs, seed: u64) -> Result<Self> {
        let side = args.size as usize;
        let mut options = SimulationOptions {
            height: side,
            width: side,
            seed,
            transients: 20,
            ..SimulationOptions::default()
        };
        options.event_margin = options.event_margin.min(side as f64 / 3.0);
        let pair = simulate(&options)?;
        let folder = tempfile::tempdir()
            .context("cannot make a temporary folder; free some space or set TMPDIR")?;
        let files = Files::within(folder.path());
        crate::simulate::write(&pair, &files, folder.path())?;
        let bench = Self { args, pair, folder, files, threads: rayon::current_num_threads() };
        bench.write_plain()?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// For tools that read one image of a file: the images as they are, with masked pixels replaced by the median, and the masks.
    fn write_plain(&self) -> Result<()> {
        let options = &self.pair.truth.options;
        let all = [
            (
                "reference",
                &self.pair.reference,
                &self.pair.reference_mask,
                options.reference_noise(),
            ),
            ("target", &self.pair.target, &self.pair.target_mask, options.target_noise()),
        ];
        for (name, image, mask, noise) in all {
            let header = header(noise, options.saturation);
            let pixels: Vec<f32> = image.pixels().iter().map(|v| *v as f32).collect();
            let sky = median(&mut image.pixels().to_vec()).unwrap_or(0.0) as f32;
            let good = |planes: &dia_core::MaskPlanes| planes.is_empty();
            let masked: Vec<f32> = pixels
                .iter()
                .zip(mask.planes())
                .map(|(v, planes)| if good(planes) { *v } else { sky })
                .collect();
            let bad: Vec<i16> = mask.planes().iter().map(|p| i16::from(!good(p))).collect();
            let shape = image.view().shape();
            let write = |suffix: &str, data| -> Result<()> {
                let image = Some((shape.0, shape.1, data));
                let hdu = HduOut { name: "", header: &header, image };
                Ok(fits::write(&self.path(&format!("{name}_{suffix}.fits")), &[hdu])?)
            };
            write("plain", HduData::F32(&pixels))?;
            write("masked", HduData::F32(&masked))?;
            write("bad", HduData::I16(&bad))?;
        }
        let target = options.target_noise();
        let settings = json!({
            "half_width": self.args.half_width,
            "threads": self.threads,
            "gain": target.gain,
            "read_noise": target.read_noise,
            "pytorchdia": self.args.pytorchdia,
        });
        write_json(&self.path("settings.json"), &settings)?;
        fs::write(self.path("run_sfft.py"), SFFT)?;
        fs::write(self.path("run_pytorchdia.py"), PYTORCHDIA)?;
        Ok(())
    }

    /// Runs the tool and looks at its difference.
    fn subtract(&self, tool: Tool) -> Result<(Ended, Score)> {
        self.check_installed(tool)?;
        let difference = self.path(&format!("difference_{tool:?}.fits"));
        let mut command = self.command(tool, &difference)?;
        command.current_dir(self.folder.path());
        let ended = process::run(&mut command, self.args.limit)?;
        match ended.success {
            None => bail!("over the limit of {} s", self.args.limit),
            Some(false) => bail!("failed: {}", ended.last_words()),
            Some(true) => (),
        }
        let image = FitsFile::open(&difference)
            .and_then(|file| file.read_image::<f32>(0))
            .context("there is no difference image to be read")?;
        let (height, width) = self.pair.target.view().shape();
        if (image.height, image.width) != (height, width) {
            bail!(
                "its difference has {} × {} pixels (rows × columns), the target {height} × {width}",
                image.height,
                image.width
            );
        }
        let image = Image::from_vec(height, width, image.pixels)?;
        Ok((ended, score(&self.pair, &image, self.args.half_width as usize)))
    }

    fn check_installed(&self, tool: Tool) -> Result<()> {
        let modules = match tool {
            Tool::Dia => return Ok(()),
            Tool::Hotpants => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&path).any(|f| f.join("hotpants").is_file());
                return if found { Ok(()) } else { bail!("not installed: no hotpants on PATH") };
            }
            Tool::Sfft => "import sfft.CustomizedPacket",
            Tool::PyTorchDia => {
                "import json, sys; sys.path.insert(0, json.load(open('settings.json'))['pytorchdia'] or '.'); import astropy, PyTorchDIA"
            }
        };
        let python = &self.args.python;
        let mut command = Command::new(python);
        command.args(["-c", modules]).current_dir(self.folder.path());
        let ended = process::run(&mut command, self.args.limit)
            .with_context(|| format!("not installed: {} does not run", python.display()))?;
        match ended.success {
            Some(true) => Ok(()),
            _ => bail!("not installed in {}: {}", python.display(), ended.last_words()),
        }
    }

    fn command(&self, tool: Tool, difference: &Path) -> Result<Command> {
        let half_width = self.args.half_width.to_string();
        Ok(match tool {
            Tool::Dia => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("subtract").args([&self.files.reference, &self.files.target]);
                command.arg("-o").arg(difference);
                command.args(["--quiet", "--half-width", &half_width]);
                command.args(["--threads", &self.threads.to_string()]);
                command
            }
            Tool::Hotpants => self.hotpants(difference),
            Tool::Sfft | Tool::PyTorchDia => {
                let script = if tool == Tool::Sfft { "run_sfft.py" } else { "run_pytorchdia.py" };
                let mut command = Command::new(&self.args.python);
                command.arg(self.path(script)).arg(self.folder.path()).arg(difference);
                command.env("OMP_NUM_THREADS", self.threads.to_string());
                command
            }
        })
    }

    /// HOTPANTS 5.1.11 by its help and README: the template is convolved, the flux scale is the image's; three Gaussians of ½, 1 and 2 times the
    /// width that matches the two PSFs; one region, a kernel that does not vary, a background of degree 1; noise by gain and read noise.
    fn hotpants(&self, difference: &Path) -> Command {
        let options = &self.pair.truth.options;
        let sigma = |fwhm: f64| fwhm / (8.0 * std::f64::consts::LN_2).sqrt();
        let (reference, target) = (sigma(options.reference_fwhm), sigma(options.target_fwhm));
        let matching = (target.powi(2) - reference.powi(2)).max(0.25).sqrt();
        let (template, image) = (options.reference_noise(), options.target_noise());
        let saturation = options.saturation.unwrap_or(1e6);
        let mut command = Command::new("hotpants");
        let files = [
            ("-inim", self.path("target_plain.fits")),
            ("-tmplim", self.path("reference_plain.fits")),
            ("-imi", self.path("target_bad.fits")),
            ("-tmi", self.path("reference_bad.fits")),
            ("-outim", difference.to_owned()),
        ];
        for (option, path) in files {
            command.arg(option).arg(path);
        }
        let numbers = [
            ("-r", f64::from(self.args.half_width)),
            ("-rss", 2.0 * f64::from(self.args.half_width)),
            ("-iu", saturation),
            ("-tu", saturation),
            ("-iuk", saturation),
            ("-tuk", saturation),
            ("-il", -1000.0),
            ("-tl", -1000.0),
            ("-ig", image.gain),
            ("-tg", template.gain),
            ("-ir", image.read_noise),
            ("-tr", template.read_noise),
            ("-ko", 0.0),
            ("-bgo", 1.0),
            ("-nrx", 1.0),
            ("-nry", 1.0),
            ("-v", 0.0),
        ];
        for (option, value) in numbers {
            command.arg(option).arg(value.to_string());
        }
        command.args(["-c", "t", "-n", "i", "-ng", "3", "6"]);
        command.arg(format!("{:.3}", 0.5 * matching)).arg("4");
        command.arg(format!("{matching:.3}")).arg("2").arg(format!("{:.3}", 2.0 * matching));
        command
    }
}

fn header(noise: CcdNoise, saturation: Option<f64>) -> Header {
    let mut header = Header::new();
    header.set("GAIN", noise.gain, "[electron/adu] gain");
    header.set("RDNOISE", noise.read_noise, "[electron] read noise");
    if let Some(saturation) = saturation {
        header.set("SATURATE", saturation, "[adu] saturation level");
    }
    header
}
