//! `dia simulate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dia_core::simulate::{Psf, SimulatedPair, SimulationOptions, simulate};
use dia_core::{CcdNoise, Image, Mask, MaskPlanes, Pixel};

use crate::args::{PsfArg, SimulateArgs, SimulationArgs};
use crate::fits::{self, HduData, HduOut, Header};
use crate::output::{mask_bits, name_planes};
use crate::report::write_json;
use crate::terminal::say;

/// The files of a simulated pair.
pub(crate) struct Files {
    pub(crate) reference: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) model: PathBuf,
    pub(crate) truth: PathBuf,
}

impl Files {
    /// Their names in `folder`.
    pub(crate) fn within(folder: &Path) -> Self {
        Self {
            reference: folder.join("reference.fits"),
            target: folder.join("target.fits"),
            model: folder.join("true_model.fits"),
            truth: folder.join("truth.json"),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &SimulateArgs) -> Result<()> {
    let pair = simulate(&options(&args.simulation))?;
    let files = Files::within(&args.output);
    write(&pair, &files, &args.output)?;
    say(format!(
        "wrote {}, {}, {} (the target without noise and events) and {}",
        files.reference.display(),
        files.target.display(),
        files.model.display(),
        files.truth.display()
    ))?;
    Ok(())
}

/// The options with what was given on the command line.
pub(crate) fn options(args: &SimulationArgs) -> SimulationOptions {
    let mut options = SimulationOptions::default();
    let given = |slot: &mut f64, value: Option<f64>| *slot = value.unwrap_or(*slot);
    given(&mut options.density, args.density);
    given(&mut options.flux_slope, args.flux_slope);
    given(&mut options.flux_max, args.flux_max);
    given(&mut options.reference_fwhm, args.reference_fwhm);
    given(&mut options.target_fwhm, args.target_fwhm);
    given(&mut options.shift_x, args.dx);
    given(&mut options.shift_y, args.dy);
    given(&mut options.scale, args.scale);
    given(&mut options.target_sky, args.sky);
    given(&mut options.sky_gradient_x, args.sky_gradient_x);
    given(&mut options.sky_gradient_y, args.sky_gradient_y);
    given(&mut options.sky_curvature, args.sky_curvature);
    given(&mut options.psf_gradient_x, args.psf_gradient_x);
    given(&mut options.psf_gradient_y, args.psf_gradient_y);
    given(&mut options.gain, args.gain);
    given(&mut options.read_noise, args.read_noise);
    given(&mut options.reference_depth, args.reference_depth);
    let counted = |slot: &mut usize, value: Option<usize>| *slot = value.unwrap_or(*slot);
    counted(&mut options.variables, args.variables);
    counted(&mut options.transients, args.transients);
    counted(&mut options.cosmic_rays, args.cosmic_rays);
    counted(&mut options.bad_columns, args.bad_columns);
    options.seed = args.seed.unwrap_or(options.seed);
    options.saturation = args.saturation.or(options.saturation);
    options.brightest_varies |= args.brightest_varies;
    if let Some(size) = args.size {
        (options.height, options.width) = (size.height, size.width);
        // The default margin is wider than the smallest images.
        let shorter = size.height.min(size.width) as f64;
        options.event_margin = options.event_margin.min(shorter / 3.0);
    }
    match args.psf {
        Some(PsfArg::Gaussian) => options.psf = Psf::Gaussian,
        Some(PsfArg::Moffat) => options.psf = Psf::Moffat { beta: 3.0 },
        None => (),
    }
    options
}

/// Writes images, true model and truth to `folder`.
pub(crate) fn write(pair: &SimulatedPair, files: &Files, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let options = &pair.truth.options;
    let image = |path: &Path, image: &Image<f64>, mask: &Mask, noise: CcdNoise, fwhm: f64| {
        let mut header = Header::new();
        header.set("OBJECT", "simulated", "");
        header.set("BUNIT", "adu", "");
        header.set("GAIN", noise.gain, "[electron/adu] gain");
        header.set("RDNOISE", noise.read_noise, "[electron] read noise");
        if let Some(saturation) = options.saturation {
            header.set("SATURATE", saturation, "[adu] saturation level");
        }
        header.set("SEEING", fwhm, "[pix] true FWHM of the stars");
        header.set("SIMSEED", options.seed as i64, "seed of the simulation");
        write_image(path, &header, image, Some(mask))
    };
    let (reference, target) = (options.reference_noise(), options.target_noise());
    image(
        &files.reference,
        &pair.reference,
        &pair.reference_mask,
        reference,
        options.reference_fwhm,
    )?;
    image(&files.target, &pair.target, &pair.target_mask, target, options.target_fwhm)?;
    write_image(&files.model, &Header::new(), &pair.target_noiseless, None)?;
    write_json(&files.truth, &pair.truth)
}

fn write_image(
    path: &Path,
    header: &Header,
    image: &Image<f64>,
    mask: Option<&Mask>,
) -> Result<()> {
    let (height, width) = image.view().shape();
    let pixels: Vec<f32> = image.pixels().iter().map(|v| v.widen() as f32).collect();
    let bits: Vec<i16>;
    let mut hdus =
        vec![HduOut { name: "IMAGE", header, image: Some((height, width, HduData::F32(&pixels))) }];
    let mut names = Header::new();
    if let Some(mask) = mask {
        name_planes(&mut names, MaskPlanes::all());
        bits = mask_bits(mask, MaskPlanes::all());
        let image = Some((height, width, HduData::I16(&bits)));
        hdus.push(HduOut { name: "MASK", header: &names, image });
    }
    Ok(fits::write(path, &hdus)?)
}
