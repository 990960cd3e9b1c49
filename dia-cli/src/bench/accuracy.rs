//! `dia bench accuracy`: fit quality and photometric accuracy on the simulated pairs of Hitchcock et al. (2021).

use anyhow::{Context, Result};
use dia_core::{CcdNoise, Design, Image, Kernel, KernelBasis, NoiseModel, Pixel};
use dia_fft::{FftDesignMatrix, FftPixel};
use dia_solvers::{
    Difference, Exposure, FitOptions, Lambda, PreparedReference, ReferenceNoise, difference,
    fit_prepared,
};
use rayon::prelude::*;
use serde::Serialize;

use super::args::{AccuracyArgs, EdgesArg};
use super::hitchcock2021::{
    CENTRE, Cell, HALF_WIDTH, Pair, READ_NOISE, REFERENCE_DEPTH, SIDE, variance,
};
use super::photometry::{convolved, difference_flux, gaussian, least_sigma, stamp, stamp_radius};
use super::progress::progress_bar;
use super::published::{Published, published};
use super::summary::{Measurement, Summary};
use super::table::markdown;
use crate::args::{RunArgs, SolverArg, name_of};
use crate::output::check_place;
use crate::report::write_json;
use crate::subtract::set_threads;
use crate::terminal::say;

/// Version of the results' schema: raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// Pairs per regime of `--quick`.
const QUICK: u32 = 4;

/// Runs the command.
pub(crate) fn run(args: &AccuracyArgs) -> Result<()> {
    if let Some(path) = &args.output {
        check_place("results", path)?;
    }
    set_threads(&RunArgs { threads: args.threads, ..Default::default() })?;
    let pairs = if args.quick { QUICK } else { args.pairs };
    let (cells, edges, methods) = (Cell::all(), Edges::of(args.edges), Method::of(args));
    let draws: Vec<(usize, u32)> =
        (0..cells.len()).flat_map(|cell| (0..pairs).map(move |index| (cell, index))).collect();

    let bar = progress_bar(draws.len(), "pairs", args.quiet);
    // For each pair, for each kind of edges, for each method.
    let outcomes: Vec<Vec<Vec<Result<Measurement>>>> = draws
        .par_iter()
        .map(|&(cell, index)| {
            let pair = Pair::draw(args.seed, &cells[cell], u64::from(index));
            let of_methods = |edges: &Edges| {
                methods.iter().map(|method| method.measure(&pair, *edges)).collect()
            };
            let measured = edges.iter().map(of_methods).collect();
            bar.inc(1);
            measured
        })
        .collect();
    bar.finish_and_clear();

    let mut results = Vec::new();
    for (e, edges) in edges.iter().enumerate() {
        for (c, (cell, outcomes)) in cells.iter().zip(outcomes.chunks(pairs as usize)).enumerate() {
            let of_method = |(m, method): (usize, &Method)| {
                MethodResult::of(method, outcomes.iter().map(|pair| &pair[e][m]))
            };
            results.push(CellResult {
                edges: *edges,
                cell: *cell,
                methods: methods.iter().enumerate().map(of_method).collect(),
                published: published(c),
            });
        }
    }
    for edges in &edges {
        let shown = results.iter().filter(|result| result.edges == *edges);
        say(format!("{}\n\n{}", edges.title(), tabulate(shown)))?;
    }
    if let Some(path) = &args.output {
        write_json(
            path,
            &Results {
                schema: SCHEMA,
                version: env!("CARGO_PKG_VERSION"),
                seed: args.seed,
                pairs,
                side: SIDE,
                half_width: HALF_WIDTH,
                regimes: results,
            },
        )?;
    }
    Ok(())
}

/// Which pixels are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Edges {
    /// Those at which the kernel lies inside the reference.
    Valid,
    /// All of them, the reference counting as 0 outside, without noise.
    Padded,
}

impl Edges {
    fn of(argument: EdgesArg) -> Vec<Self> {
        match argument {
            EdgesArg::Valid => vec![Self::Valid],
            EdgesArg::Padded => vec![Self::Padded],
            EdgesArg::Both => vec![Self::Valid, Self::Padded],
        }
    }

    /// Width in pixels of the border of zeros.
    fn margin(self) -> usize {
        match self {
            Self::Valid => 0,
            Self::Padded => HALF_WIDTH,
        }
    }

    fn title(self) -> String {
        match self {
            Self::Valid => {
                let side = SIDE - 2 * HALF_WIDTH;
                format!("Valid pixels only ({side} × {side})")
            }
            Self::Padded => {
                format!("Reference padded with zeros, all {SIDE} × {SIDE} pixels fitted")
            }
        }
    }
}

/// A way to fit a pair.
#[derive(Clone, Debug)]
struct Method {
    name: String,
    options: FitOptions,
    double: bool,
}

impl Method {
    /// The plain methods that were asked for, and the defaults of the library.
    ///
    /// Plain as published: the reference counts as free of noise, the kernel is not regularised, no variable source is looked for.
    fn of(args: &AccuracyArgs) -> Vec<Self> {
        let mut methods = Vec::new();
        for loss in &args.losses {
            for solver in &args.solvers {
                let double = *solver == SolverArg::Cholesky;
                let precision = if double { "f64" } else { "f32" };
                methods.push(Self {
                    name: format!("{}, {} {precision}", name_of(loss), name_of(solver)),
                    options: FitOptions {
                        loss: loss.loss(),
                        clipping: loss.clipping(),
                        solver: solver.solver(),
                        reference_noise: ReferenceNoise::Ignore,
                        lambda: Lambda::Fixed(0.0),
                        variable_sources: None,
                        ..FitOptions::default()
                    },
                    double,
                });
            }
        }
        methods.push(Self {
            name: "default f32".into(),
            options: FitOptions::default(),
            double: false,
        });
        methods
    }

    /// Fits a pair and compares with the truth.
    fn measure(&self, pair: &Pair, edges: Edges) -> Result<Measurement> {
        if self.double {
            measure(pair, edges, &subtract::<f64>(pair, edges, &self.options)?)
        } else {
            measure(pair, edges, &subtract::<f32>(pair, edges, &self.options)?)
        }
    }
}

/// The subtraction of a pair with a free kernel and a constant background. The sky of the reference is known.
fn subtract<T: FftPixel>(pair: &Pair, edges: Edges, options: &FitOptions) -> Result<Difference<T>> {
    let margin = edges.margin();
    let side = SIDE + 2 * margin;
    let inside = margin..margin + SIDE;
    let embedded = |image: &Image<f64>, value: &dyn Fn(f64) -> f64| {
        Image::from_fn(side, side, |y, x| {
            let known = inside.contains(&y) && inside.contains(&x);
            T::narrow(if known { value(image.view().at(y - margin, x - margin)) } else { 0.0 })
        })
    };
    let reference = embedded(&pair.reference, &|value| value - pair.sky);
    let reference_variance =
        embedded(&pair.reference, &|value| variance(value.max(0.0)) / REFERENCE_DEPTH);
    let target = embedded(&pair.target, &|value| value);
    // At a gain of 1 e⁻/ADU.
    let noise = CcdNoise { gain: 1.0, read_noise: READ_NOISE, subtracted_sky: 0.0 };
    let exposure = |image, noise| Exposure { image, mask: None, noise, saturation: None };
    let mut prepared = PreparedReference::with_sky(
        &exposure(reference.view(), NoiseModel::Variance(reference_variance.view())),
        Design::new(side, side, KernelBasis::delta(HALF_WIDTH), Some(0))?,
        options.needs_reference_variance(),
        0.0,
    )?
    .with_target(&exposure(target.view(), NoiseModel::Ccd(noise, None)))?;
    let (a, fit) = fit_prepared(&mut prepared, FftDesignMatrix::new, options, &mut |_| ())?;
    if !fit.outcome.stop.converged() {
        anyhow::bail!(
            "the fit ended ({}) {:.3} σ from the minimum",
            fit.outcome.stop,
            fit.outcome.optimality
        );
    }
    Ok(difference(&prepared, &a, fit)?)
}

fn measure<T: Pixel>(pair: &Pair, edges: Edges, fitted: &Difference<T>) -> Result<Measurement> {
    let margin = edges.margin();
    // D on the frame of the pair; NaN where there is no model.
    let d = Image::from_fn(SIDE, SIDE, |y, x| {
        pair.target.view().at(y, x) - fitted.model.view().at(y + margin, x + margin).widen()
    });
    let (mut count, mut mse, mut mean_d2, mut mfb, mut squares) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let pixels = d.pixels().iter().zip(pair.target.pixels()).zip(pair.target_noiseless.pixels());
    for ((d, target), truth) in pixels.filter(|((d, _), _)| d.is_finite()) {
        count += 1.0;
        mse += (target - d - truth).powi(2);
        mean_d2 += d * d;
        let z = d / variance(*truth).sqrt();
        mfb += z;
        squares += z * z;
    }
    let background = fitted.background.first().context("no background was fitted")?.value;
    Ok(Measurement {
        photometric_scale: fitted.photometric_scale.value,
        background_error: background - pair.sky,
        mse: mse / count,
        mean_d2: mean_d2 / count,
        mfb: mfb / count,
        // |mfb| ≪ 1: nothing is lost by subtracting it afterwards.
        mfv: (squares - mfb * mfb / count) / (count - 1.0),
        flux: central_flux(pair, &d, &fitted.kernel),
    })
}

/// F/σ_min of the brightest star in the difference `d`.
fn central_flux(pair: &Pair, d: &Image<f64>, kernel: &Kernel) -> f64 {
    let radius = stamp_radius(pair.phi_target);
    let reference_psf = gaussian(radius, pair.phi_reference, (0.0, 0.0));
    let psf = convolved(reference_psf.view(), kernel);
    let true_psf = gaussian(radius, pair.phi_target, pair.shift);
    let variance = stamp(pair.target_noiseless.view(), CENTRE, radius).map(variance);
    let flux = difference_flux(&psf, &stamp(d.view(), CENTRE, radius), &variance);
    flux / kernel.photometric_scale() / least_sigma(&true_psf, &variance)
}

#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    version: &'static str,
    seed: u64,
    /// In each regime.
    pairs: u32,
    /// Of the images, in pixels.
    side: usize,
    half_width: usize,
    regimes: Vec<CellResult>,
}

#[derive(Debug, Serialize)]
struct CellResult {
    edges: Edges,
    #[serde(flatten)]
    cell: Cell,
    methods: Vec<MethodResult>,
    published: [Published; 2],
}

#[derive(Debug, Serialize)]
struct MethodResult {
    method: String,
    /// Pairs that were fitted.
    pairs: usize,
    /// Pairs whose fit ended with an error or did not converge; they are left out.
    failed: usize,
    first_failure: Option<String>,
    summary: Option<Summary>,
}

impl MethodResult {
    fn of<'a>(method: &Method, outcomes: impl Iterator<Item = &'a Result<Measurement>>) -> Self {
        let (mut measurements, mut failures) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(measurement) => measurements.push(*measurement),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        Self {
            method: method.name.clone(),
            pairs: measurements.len(),
            failed: failures.len(),
            first_failure: failures.into_iter().next(),
            summary: Summary::of(&measurements),
        }
    }
}

/// The results of one kind of edges, with the published ones below each regime.
fn tabulate<'a>(results: impl Iterator<Item = &'a CellResult>) -> String {
    let heads = [
        "SNR",
        "φ_R, φ_K",
        "method",
        "pairs",
        "P",
        "B₀ − sky",
        "MSE",
        "mean D²",
        "MFB",
        "MFV",
        "MPB",
        "MPV",
    ];
    let mut rows = Vec::new();
    for result in results {
        let Cell { snr, phi_reference, phi_kernel } = result.cell;
        let side_of_one = |range: (f64, f64)| if range.0 < 1.0 { "< 1" } else { "> 1" };
        let regime = [
            format!("{}–{}", snr.0, snr.1),
            format!("{}, {}", side_of_one(phi_reference), side_of_one(phi_kernel)),
        ];
        let mut push = |cells: [String; 10]| rows.push([&regime[..], &cells[..]].concat());
        for method in &result.methods {
            let pairs = match method.failed {
                0 => method.pairs.to_string(),
                failed => format!("{} ({failed} failed)", method.pairs),
            };
            let Some(s) = method.summary else {
                let mut cells = [const { String::new() }; 10];
                (cells[0], cells[1]) = (method.method.clone(), pairs);
                push(cells);
                continue;
            };
            push([
                method.method.clone(),
                pairs,
                format!("{:.4}", s.photometric_scale),
                format!("{:+.2}", s.background_error),
                format!("{:.2}", s.mse),
                format!("{:.2}", s.mean_d2),
                format!("{:+.4}", s.mfb),
                format!("{:.4}", s.mfv),
                match s.mpb_error {
                    Some(error) => format!("{:+.3} ± {error:.3}", s.mpb),
                    None => format!("{:+.3}", s.mpb),
                },
                s.mpv.map_or(String::new(), |mpv| format!("{mpv:.3}")),
            ]);
        }
        for p in result.published {
            push([
                p.method.into(),
                String::new(),
                format!("{:.4}", p.photometric_scale),
                String::new(),
                String::new(),
                format!("{:.2}", p.mean_d2),
                format!("{:+.4}", p.mfb),
                format!("{:.4}", p.mfv),
                format!("{:+.3}", p.mpb),
                format!("{:.3}", p.mpv),
            ]);
        }
    }
    markdown(&heads, &rows)
}
