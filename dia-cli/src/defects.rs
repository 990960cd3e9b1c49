//! What the pixels of an image themselves say: which of them hold no measurement, and how noisy their sky is.

use anyhow::{Result, ensure};
use dia_core::defects::{
    FilledHoles, SkyNoise, Unexposed, constant_blocks, fill_holes, pile_up, sentinels,
    sharp_pixels, sky_noise, unexposed,
};
use dia_core::{Image, Mask, seeing};

use crate::input::{Input, InputNoise, Provenance, Real, Role};
use crate::notice::{Level, Notice};

/// At least this part of the pixels must be left of those that the inputs leave.
const LEAST_LEFT: f64 = 0.1;

/// From this factor on, the noise that is said of an image is doubted.
const DOUBTFUL: f64 = 1.4;

/// From this factor on, a plane of variances holds something else if another meaning fits the sky.
const AMBIGUOUS: f64 = 2.0;

/// From this factor on, it holds something else; and below this one, whatever the resampling.
const WRONG: f64 = 3.0;
const LEAST: f64 = 0.1;

/// The sky was subtracted from an image if its level is less than this part of what its noise is that of.
const SUBTRACTED: f64 = 0.1;

/// Below this ratio of the sky's scatter to what its level makes, a part of the level is no light; the scatter is known to 3 %.
const PEDESTAL: f64 = 0.9;

/// Most values that one notice names.
const NAMED: usize = 4;

/// Whether the sky contradicts what is said of the noise. Stars widen the scatter of a crowded field, too.
pub(crate) fn is_doubtful(sky: &SkyNoise) -> bool {
    let ratio = sky.sigma / sky.expected;
    ratio < 1.0 / DOUBTFUL || ratio > DOUBTFUL && !sky.crowded
}

impl<T: Real> Input<T> {
    /// Adds values that stand for no data, padding, saturated pixels and what no light has reached to the `mask` of what is known, and says so.
    pub(crate) fn find_defects(&mut self, mask: &mut Mask) {
        let found = sentinels(self.image.view(), mask);
        let pixels = found.iter().map(|sentinel| sentinel.pixels).sum();
        self.say("fill-value", pixels, || {
            let values = values(found.iter().map(|sentinel| sentinel.value));
            format!("have values that stand for no data ({values}), and are masked")
        });
        if let Some(found) = pile_up(self.image.view(), mask, self.saturation) {
            let known = self.taken.saturation.as_ref().map_or(String::new(), |known| {
                format!(", below the saturation level of {} ADU ({})", known.value, known.source)
            });
            self.say("saturation", found.pixels, || {
                format!("are piled up at {} ADU{known}, and are masked as saturated", found.level)
            });
            let source = "piled-up pixels".into();
            self.saturation = Some(found.level);
            self.taken.saturation = Some(Provenance { value: found.level, source });
            let saturated = self.unusable();
            mask.merge(|i| saturated.planes()[i]);
        }
        let found = constant_blocks(self.image.view(), mask);
        let pixels = found.iter().map(|block| block.pixels).sum();
        self.say("padding", pixels, || {
            let values = values(found.iter().map(|block| block.value));
            format!("of areas of one value ({values}) hold no data, and are masked")
        });
        if let Some(Unexposed { pixels, level, sky }) = unexposed(self.image.view(), mask) {
            self.say("unexposed", pixels, || {
                format!(
                    "lie in or beside regions that no light has reached ({level:.4} ADU, while the sky has {sky:.4}), \
                     and are masked"
                )
            });
        }
    }

    /// Adds pixels that are sharper than any star to the `mask` of what is known, and says so.
    pub(crate) fn find_sharp_pixels(&mut self, mask: &mut Mask) {
        let (image, noise) = (self.image.view(), self.exposure().noise);
        let Some(sky) = &self.sky else { return };
        let fwhm = |mask: &Mask| seeing::fwhm(image, mask);
        let found = sharp_pixels(image, mask, &noise, sky, fwhm);
        self.say("hot-pixels", found.bright, || {
            "are sharper than any star (hot pixels, cosmic rays), and are masked".into()
        });
        self.say("dead-pixels", found.dark, || {
            "are darker than the sky can be (dead pixels), and are masked".into()
        });
    }

    /// Interpolates small holes, so that a kernel does not carry them to everything around, and says so. From then on, the noise is a plane of variances.
    pub(crate) fn fill_holes(&mut self) {
        let mut mask = self.unusable();
        if mask.good_pixels() == mask.planes().len() {
            return;
        }
        let hash = self.hash();
        let noise = &self.noise;
        let variance = |image: &Image<T>| noise.of(image);
        let found = fill_holes(&mut self.image, &mut mask, variance, seeing::measure);
        let Some(FilledHoles { pixels, variance }) = found else { return };
        self.hash_as_read = Some(hash);
        self.noise = InputNoise::Variance(variance);
        self.mask = Some(mask);
        self.say("interpolated", pixels, || {
            "without a measurement lie among good ones, and are interpolated from these, with the errors that the same has in the stars of the image".into()
        });
    }

    /// Takes the mask of all that was found.
    ///
    /// # Errors
    /// If hardly any pixel is left of the `given` good ones.
    pub(crate) fn mask_found(&mut self, role: Role, mask: Mask, given: usize) -> Result<()> {
        let left = mask.good_pixels();
        if left < mask.planes().len() {
            self.mask = Some(mask);
        }
        ensure!(
            left as f64 >= LEAST_LEFT * given as f64,
            "hardly any pixel of the {} can be used, {left} of {given}: {}; is it the right file and extension?",
            role.name(),
            self.notices.iter().map(|notice| notice.text.as_str()).collect::<Vec<_>>().join("; ")
        );
        Ok(())
    }

    /// Compares the noise that is said of the image with the scatter of its sky.
    ///
    /// A sky whose scatter is that of more photons than it has was subtracted: what it had is estimated. A plane of uncertainties that is wrong by much
    /// holds something else.
    ///
    /// # Errors
    /// If a plane of variances cannot be one.
    pub(crate) fn check_noise(&mut self, role: Role, mask: &Mask) -> Result<()> {
        self.sky = sky_noise(self.image.view(), mask, &self.exposure().noise);
        let Some(sky) = self.sky else { return Ok(()) };
        let doubtful = is_doubtful(&sky);
        let SkyNoise { level, sigma, expected, .. } = sky;
        let ratio = sigma / expected;
        let (name, role) = (&self.taken.image, role.name());
        match &mut self.noise {
            InputNoise::Variance(_) => {
                let plane = self.taken.variance.as_deref().unwrap_or("the variance");
                let rather =
                    self.uncertainty.and_then(|kind| kind.rather(expected * expected, sigma));
                let remedy = rather.map_or_else(
                    || {
                        format!(
                            "give --{role}-gain, or what the plane holds: --{role}-variance, --{role}-sigma or --{role}-weight"
                        )
                    },
                    |kind| format!("it is right as {}: give --{role}-{}", kind.name(), kind.option()),
                );
                // Noise that is correlated from pixel to pixel, as in resampled images, scatters less.
                let wrong = !(LEAST..WRONG).contains(&ratio)
                    || rather.is_some() && !(1.0 / AMBIGUOUS..AMBIGUOUS).contains(&ratio);
                ensure!(
                    !(doubtful && wrong),
                    "{name}: the scatter of the sky, {sigma:.4e}, is {ratio:.3e} times that which {plane} gives; {remedy}"
                );
            }
            InputNoise::Ccd(ccd) if ratio > DOUBTFUL && self.taken.subtracted_sky.is_none() => {
                // σ² is that of the level and of what is missing.
                let missing = (sigma * sigma - ccd.fixed(1.0)) * ccd.gain - level;
                if missing > 0.0 && level < SUBTRACTED * missing {
                    ccd.subtracted_sky = missing;
                    self.sky = Some(SkyNoise { expected: ccd.variance(level, 1.0).sqrt(), ..sky });
                    let source = "estimated from the scatter of the sky".into();
                    self.taken.subtracted_sky = Some(Provenance { value: missing, source });
                    let text = format!(
                        "{name}: the scatter of the sky, {sigma:.4} (by gain and read noise it would be {expected:.4}), is that of a sky of {missing:.1} ADU, which was subtracted before; give \
                         --{role}-subtracted-sky"
                    );
                    self.notices.push(Notice::new(Level::Pass, "subtracted-sky", text));
                    return Ok(());
                }
            }
            // Stars, and noise that neighbours share, only hide a pedestal.
            InputNoise::Ccd(ccd) if ratio < PEDESTAL && self.taken.subtracted_sky.is_none() => {
                let light = (sigma * sigma - ccd.fixed(1.0)) * ccd.gain;
                if light > 0.0 && light < level {
                    let pedestal = level - light;
                    let expected = ccd.variance(light, 1.0).sqrt();
                    self.sky = Some(SkyNoise { level: light, expected, ..sky });
                    let text = format!(
                        "{name}: the scatter of the sky, {sigma:.4} (by gain and read noise it would be {expected:.4}), is that of {light:.1} ADU of light: {pedestal:.1} ADU of its \
                         level count as a pedestal and are taken off; if it is the gain that is wrong, as after averaging exposures, give --{role}-gain"
                    );
                    let level = if doubtful { Level::Warn } else { Level::Pass };
                    self.notices.push(Notice::new(level, "pedestal", text));
                    self.image = self.image.map(|value| T::narrow(value.widen() - pedestal));
                    self.saturation = self.saturation.map(|saturation| saturation - pedestal);
                    return Ok(());
                }
            }
            InputNoise::Ccd(_) => {}
        }
        if doubtful {
            let text = format!(
                "{name}: the scatter of the sky, {sigma:.4e}, is {ratio:.2} times that which the noise gives that was said of it ({expected:.4e}); check gain, read noise and variance, or give \
                 --noise-scale estimated"
            );
            self.notices.push(Notice::new(Level::Warn, "noise", text));
        }
        Ok(())
    }

    /// Says that `pixels` of the image, if there are any, are what `text` has.
    fn say(&mut self, code: &'static str, pixels: usize, text: impl FnOnce() -> String) {
        if pixels > 0 {
            let percent = 100.0 * pixels as f64 / self.image.pixels().len() as f64;
            let (name, text) = (&self.taken.image, text());
            let text = format!("{name}: {pixels} pixels ({percent:.2} %) {text}");
            self.notices.push(Notice::new(Level::Pass, code, text));
        }
    }
}

/// The first few different values.
fn values(values: impl Iterator<Item = f64>) -> String {
    let mut different: Vec<f64> = Vec::new();
    for value in values {
        if !different.contains(&value) {
            different.push(value);
        }
    }
    let short = |v: &f64| if v.abs() < 1e6 { v.to_string() } else { format!("{v:e}") };
    let mut named: Vec<String> = different.iter().take(NAMED).map(short).collect();
    if different.len() > NAMED {
        named.push("…".into());
    }
    named.join(", ")
}
