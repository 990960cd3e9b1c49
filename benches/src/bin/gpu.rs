//! The Vulkan operator on one device: `benches/gpu.sh` builds, tests and runs this; alone it is `gpu [DEVICE [SIDE…]]`.
//!
//! Times are medians on the host's clock, each from recording a command buffer to having its results. Compiling pipelines is not in them.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dia_benches::Field;
use dia_core::{Design, DesignMatrix, Image, ImageView, KernelBasis, LinearOperator, Traffic};
use dia_solvers::{FitOptions, FitOutcome, difference, fit, series};
use dia_vulkan::{ContextOptions, DeviceChoice, VulkanContext, VulkanDesignMatrix};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HALF_WIDTHS: [usize; 2] = [9, 12];
const DEGREES: [usize; 2] = [0, 2];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let choice = args.next().map_or(Ok(DeviceChoice::Auto), |device| device.parse())?;
    let mut sides = args.map(|side| Ok(side.parse()?)).collect::<Result<Vec<usize>>>()?;
    if sides.is_empty() {
        sides = vec![512, 1024, 2048, 4096];
    }
    let context = VulkanContext::open(&choice, ContextOptions::default())?;
    println!("dia {} on {}", env!("CARGO_PKG_VERSION"), context.device());
    transfers(&context, &sides)?;
    products(&context, &sides)?;
    fits(&context, &sides)?;
    series_of_targets(&context, &sides)
}

/// Median time in ms of what `run` says that it took, after one run that warms up: 21 runs, fewer where they take more than 5 s together.
fn median(mut run: impl FnMut() -> Result<Duration>) -> Result<f64> {
    run()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 21 && (times.len() < 3 || start.elapsed() < Duration::from_secs(5)) {
        times.push(run()?);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}

/// Time and result of `work`.
fn timed<T, E>(
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<(Duration, T), E> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed(), result))
}

/// A peak of the device, from the environment.
fn peak(name: &str, default: f64) -> Result<f64> {
    Ok(std::env::var(name).map_or(Ok(default), |value| value.parse())?)
}

fn design(side: usize, half_width: usize, degree: usize) -> Result<Design> {
    let design = Design::new(side, side, KernelBasis::delta(half_width), Some(1))?;
    Ok(design.with_variation(degree, degree)?)
}

/// An image without meaning.
fn image(side: usize) -> Image<f32> {
    Image::from_fn(side, side, |y, x| ((y * 57 + x * 23) % 101) as f32)
}

fn transfers(context: &Arc<VulkanContext>, sides: &[usize]) -> Result<()> {
    println!(
        "\nReference: checked, uploaded, with its polynomials. Data: the pixels alone.\n\n\
         | image | reference up / ms | data up / ms | GB/s | data down / ms | GB/s |\n|---|---|---|---|---|---|"
    );
    for &side in sides {
        let (image, design) = (image(side), design(side, 9, 0)?);
        let new = || VulkanDesignMatrix::new(context, image.view(), design.clone());
        let reference = median(|| Ok(timed(new)?.0))?;
        let a = new()?;
        let values = vec![1.0; a.nrows()];
        let up = median(|| {
            let values = values.clone();
            Ok(timed(|| a.upload(values))?.0)
        })?;
        let down = median(|| {
            let data = a.zeros()?;
            Ok(timed(|| a.download(data))?.0)
        })?;
        let rate = |ms: f64| 4e-6 * a.nrows() as f64 / ms;
        println!(
            "| {side}² | {reference:.2} | {up:.2} | {:.1} | {down:.2} | {:.1} |",
            rate(up),
            rate(down)
        );
    }
    Ok(())
}

/// Each product against the time that the device needs for its flop or its bytes, whichever is longer.
///
/// A convolution has 2 flop per pixel of the image and parameter of the kernel, AᵀWA x twice as many. A x and Aᵀ y read R and read or write the
/// data, 8 bytes per pixel; AᵀWA x does both and multiplies by W in between, 28 bytes.
fn products(context: &Arc<VulkanContext>, sides: &[usize]) -> Result<()> {
    let (tflops, gbs) = (peak("DIA_TFLOPS", 60.0)?, peak("DIA_GBS", 3000.0)?);
    println!(
        "\nFloor: {tflops} Tflop/s, {gbs} GB/s (DIA_TFLOPS, DIA_GBS).\n\n\
         | image | kernel | degree | product | time / ms | Gflop/s | floor / ms | reached |\n|---|---|---|---|---|---|---|---|"
    );
    for &side in sides {
        for (half_width, degree) in settings() {
            let design = design(side, half_width, degree)?;
            let flop = 2.0 * (design.kernel_ncols() * design.nrows()) as f64;
            let a = VulkanDesignMatrix::new(context, image(side).view(), design)?;
            let x: Vec<f64> = (0..a.ncols()).map(|k| (k as f64).sin()).collect();
            let mut workspace = a.workspace()?;
            let (mut y, mut g) = (a.zeros()?, vec![0.0; a.ncols()]);
            let weights = a.upload(vec![0.5; a.nrows()])?;
            let model = median(|| Ok(timed(|| a.apply(&x, &mut y, &mut workspace))?.0))?;
            let adjoint = median(|| Ok(timed(|| a.apply_adjoint(&y, &mut g, &mut workspace))?.0))?;
            let normal = median(|| {
                Ok(timed(|| a.apply_normal(&x, &weights, &mut g, &mut y, &mut workspace))?.0)
            })?;
            for (name, time, flop, bytes) in [
                ("A x", model, flop, 8.0),
                ("Aᵀ y", adjoint, flop, 8.0),
                ("AᵀWA x", normal, 2.0 * flop, 28.0),
            ] {
                let floor = (1e-9 * flop / tflops).max(1e-6 * bytes * a.nrows() as f64 / gbs);
                println!(
                    "| {side}² | {k}² | {degree} | {name} | {time:.3} | {:.0} | {floor:.3} | {:.0} % |",
                    1e-6 * flop / time,
                    100.0 * floor / time,
                    k = 2 * half_width + 1
                );
            }
        }
    }
    Ok(())
}

fn settings() -> impl Iterator<Item = (usize, usize)> {
    HALF_WIDTHS.into_iter().flat_map(|h| DEGREES.map(|degree| (h, degree)))
}

/// Times of the parts of one subtraction.
#[derive(Default)]
struct Parts {
    prepare: Duration,
    upload: Duration,
    fit: Duration,
    difference: Duration,
}

/// Whole robust fits of simulated fields: the plain one, and the default one, which also chooses λ and looks for variable sources.
fn fits(context: &Arc<VulkanContext>, sides: &[usize]) -> Result<()> {
    println!(
        "\nPrepare: masks, noise and sky, on the CPU. Upload: reference and its variance. Fit: with data and noise up. Difference: planes down, and \
         what the CPU makes of them.\n\n\
         | image | kernel | degree | fit | prepare / ms | upload / ms | fit / ms | difference / ms | passes | products | MB in | MB out | submits | stop |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for &side in sides {
        let field = Field::simulate(side);
        for (half_width, degree) in settings() {
            for (name, options) in
                [("plain", FitOptions::plain()), ("default", FitOptions::default())]
            {
                let k = 2 * half_width + 1;
                let mut last = None;
                let mut parts = Vec::new();
                let whole = median(|| {
                    let (times, outcome) = subtract(context, &field, half_width, degree, &options)?;
                    let time = times.fit;
                    parts.push(times);
                    last = Some(outcome);
                    Ok(time)
                });
                let whole = match whole {
                    Ok(whole) => whole,
                    // Too small a field for so many unknowns, or too large a one for the device.
                    Err(error) => {
                        println!("| {side}² | {k}² | {degree} | {name} | {error} |");
                        continue;
                    }
                };
                let middle = |of: fn(&Parts) -> Duration| {
                    let mut times: Vec<Duration> = parts.iter().skip(1).map(of).collect();
                    times.sort_unstable();
                    times[times.len() / 2].as_secs_f64() * 1e3
                };
                let FitOutcome { stop, passes, products, traffic, .. } = last.ok_or("no run")?;
                let Traffic { bytes_in, bytes_out, submits, .. } = traffic;
                println!(
                    "| {side}² | {k}² | {degree} | {name} | {:.1} | {:.1} | {whole:.1} | {:.1} | {passes} | {products} | {:.2} | {:.2} | {submits} | {stop:?} |",
                    middle(|p| p.prepare),
                    middle(|p| p.upload),
                    middle(|p| p.difference),
                    1e-6 * bytes_in as f64,
                    1e-6 * bytes_out as f64,
                );
            }
        }
    }
    Ok(())
}

fn subtract(
    context: &Arc<VulkanContext>,
    field: &Field,
    half_width: usize,
    degree: usize,
    options: &FitOptions,
) -> Result<(Parts, FitOutcome)> {
    let mut times = Parts::default();
    let start = Instant::now();
    let mut prepared = field.prepare_varying(half_width, degree, true);
    times.prepare = start.elapsed();
    let operator =
        |image: ImageView<'_, f32>, design| VulkanDesignMatrix::new(context, image, design);
    let start = Instant::now();
    let a = operator(prepared.reference(), prepared.design().clone())?;
    let variance = prepared.reference_variance().ok_or("it was asked for")?;
    let variance = operator(variance, prepared.design().of_variance())?;
    times.upload = start.elapsed();
    let (time, fit) = timed(|| fit(&mut prepared, &a, Some(&variance), options, &mut |_| ()))?;
    times.fit = time;
    let outcome = fit.outcome;
    times.difference = timed(|| difference(&prepared, &a, fit))?.0;
    Ok((times, outcome))
}

/// Targets of a series.
const TARGETS: usize = 8;

/// Plain fits of targets of one reference: the next one is prepared and uploaded while one is fitted.
fn series_of_targets(context: &Arc<VulkanContext>, sides: &[usize]) -> Result<()> {
    println!(
        "\n{TARGETS} targets of one reference, for each: prepare, upload, fit and difference one after the other; or as a series.\n\n\
         | image | kernel | degree | alone / ms | in a series / ms |\n|---|---|---|---|---|"
    );
    for &side in sides {
        let field = Field::simulate(side);
        for (half_width, degree) in settings() {
            let options = FitOptions::plain();
            let reference = field.prepare_reference(half_width, degree, true);
            let design = reference.design();
            let a = VulkanDesignMatrix::new(context, reference.image().view(), design.clone())?;
            let variance = reference.variance().ok_or("it was asked for")?;
            let variance = VulkanDesignMatrix::new(context, variance.view(), design.of_variance())?;
            let alone = || -> Result<()> {
                let mut prepared = reference.with_target(&field.target())?;
                let fit = fit(&mut prepared, &a, Some(&variance), &options, &mut |_| ())?;
                difference(&prepared, &a, fit)?;
                Ok(())
            };
            let (one_by_one, ()) = timed(|| (0..TARGETS).try_for_each(|_| alone()))?;
            let mut failed = Ok(());
            let targets = std::iter::repeat_n(field.target(), TARGETS);
            let (as_series, ()) = timed(|| {
                series(
                    &reference,
                    &a,
                    Some(&variance),
                    targets,
                    |t| *t,
                    &options,
                    |_, d| {
                        if let Err(error) = d {
                            failed = Err(error);
                        }
                    },
                );
                failed
            })?;
            let each = |time: Duration| 1e3 * time.as_secs_f64() / TARGETS as f64;
            println!(
                "| {side}² | {k}² | {degree} | {:.1} | {:.1} |",
                each(one_by_one),
                each(as_series),
                k = 2 * half_width + 1
            );
        }
    }
    Ok(())
}
