//! Options of what is known of the images' pixels.

use clap::{Args, ValueEnum};

use crate::fits::FitsSpec;
use crate::input::{InputOptions, NumberOrKeyword, Role};
use crate::planes::{MaskBits, Uncertainty};

/// Noise, masks and saturation of the two images.
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "Detector, noise and masks (VALUE: a number or the name of a header keyword; by default the usual names)"
)]
pub(crate) struct NoiseArgs {
    /// Gain of both images, in e⁻/ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) gain: Option<NumberOrKeyword>,
    /// Gain of the reference, in e⁻/ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_gain: Option<NumberOrKeyword>,
    /// Gain of the target, in e⁻/ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_gain: Option<NumberOrKeyword>,
    /// Read noise of both images, in e⁻
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) read_noise: Option<NumberOrKeyword>,
    /// Read noise of the reference, in e⁻
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_read_noise: Option<NumberOrKeyword>,
    /// Read noise of the target, in e⁻
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_read_noise: Option<NumberOrKeyword>,
    /// Saturation level of both images, in ADU; pixels at or above it are masked
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) saturation: Option<NumberOrKeyword>,
    /// Saturation level of the reference, in ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_saturation: Option<NumberOrKeyword>,
    /// Saturation level of the target, in ADU
    #[arg(long, value_name = "VALUE", value_parser = positive_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_saturation: Option<NumberOrKeyword>,
    /// Sky that was subtracted from the reference, in ADU; its photons still make noise
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) reference_subtracted_sky: Option<NumberOrKeyword>,
    /// Sky that was subtracted from the target, in ADU
    #[arg(long, value_name = "VALUE", value_parser = not_negative_or_keyword, allow_negative_numbers = true)]
    pub(crate) target_subtracted_sky: Option<NumberOrKeyword>,
    /// Variance plane of the reference in ADU², FILE or FILE[EXT], instead of gain and read noise
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) reference_variance: Option<FitsSpec>,
    /// Variance plane of the target in ADU², instead of gain and read noise
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) target_variance: Option<FitsSpec>,
    /// Plane of σ of the reference in ADU, in the variance's place
    #[arg(long, value_name = "FILE[EXT]", conflicts_with = "reference_variance")]
    pub(crate) reference_sigma: Option<FitsSpec>,
    /// Plane of σ of the target in ADU
    #[arg(long, value_name = "FILE[EXT]", conflicts_with = "target_variance")]
    pub(crate) target_sigma: Option<FitsSpec>,
    /// Plane of the reference's inverse variance (a weight map) in ADU⁻²
    #[arg(long, value_name = "FILE[EXT]", conflicts_with_all = ["reference_variance", "reference_sigma"])]
    pub(crate) reference_weight: Option<FitsSpec>,
    /// Plane of the target's inverse variance in ADU⁻²
    #[arg(long, value_name = "FILE[EXT]", conflicts_with_all = ["target_variance", "target_sigma"])]
    pub(crate) target_weight: Option<FitsSpec>,
    /// The bits of masks that make a pixel bad, as a sum of powers of two, instead of the convention that their header tells; for the same masks as --mask-good-is
    #[arg(long, value_name = "BITS", conflicts_with = "mask_good_is")]
    pub(crate) bad_bits: Option<u64>,
    /// Which pixels of a mask are the good ones: of those given by options, or where none is given, of those beside the images. Without it, a mask that leaves out more than half is refused
    #[arg(long, value_enum)]
    pub(crate) mask_good_is: Option<MaskGood>,
    /// Mask of the reference; bad planes by their MP_ keywords, or any value but 0
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) reference_mask: Option<FitsSpec>,
    /// Mask of the target
    #[arg(long, value_name = "FILE[EXT]")]
    pub(crate) target_mask: Option<FitsSpec>,
}

impl NoiseArgs {
    /// The files of all planes that are given.
    pub(crate) fn planes(&self) -> impl Iterator<Item = &FitsSpec> {
        [
            &self.reference_variance,
            &self.target_variance,
            &self.reference_sigma,
            &self.target_sigma,
            &self.reference_weight,
            &self.target_weight,
            &self.reference_mask,
            &self.target_mask,
        ]
        .into_iter()
        .flatten()
    }

    /// Those of one image; what is given for it wins over what is given for both.
    pub(crate) fn of(&self, role: Role) -> InputOptions {
        let of_zeros = |good| match good {
            MaskGood::Zero => MaskBits::ZeroIsGood,
            MaskGood::Nonzero => MaskBits::NonzeroIsGood,
        };
        let bits = self.bad_bits.map(MaskBits::Bad).or_else(|| self.mask_good_is.map(of_zeros));
        // What is said of masks is said of those that were given, if any were.
        let given = [self.reference_mask.is_some(), self.target_mask.is_some()];
        let bits = bits.filter(|_| given == [false; 2] || given[usize::from(role == Role::Target)]);
        let first = |planes: [&Option<FitsSpec>; 3]| {
            let kinds = [Uncertainty::Variance, Uncertainty::Sigma, Uncertainty::InverseVariance];
            planes.into_iter().zip(kinds).find_map(|(plane, kind)| Some((plane.clone()?, kind)))
        };
        let or_both = |own: &Option<NumberOrKeyword>, both: &Option<NumberOrKeyword>| {
            own.as_ref().or(both.as_ref()).cloned()
        };
        match role {
            Role::Reference => InputOptions {
                gain: or_both(&self.reference_gain, &self.gain),
                read_noise: or_both(&self.reference_read_noise, &self.read_noise),
                saturation: or_both(&self.reference_saturation, &self.saturation),
                subtracted_sky: self.reference_subtracted_sky.clone(),
                uncertainty: first([
                    &self.reference_variance,
                    &self.reference_sigma,
                    &self.reference_weight,
                ]),
                mask: self.reference_mask.clone(),
                mask_bits: bits,
            },
            Role::Target => InputOptions {
                gain: or_both(&self.target_gain, &self.gain),
                read_noise: or_both(&self.target_read_noise, &self.read_noise),
                saturation: or_both(&self.target_saturation, &self.saturation),
                subtracted_sky: self.target_subtracted_sky.clone(),
                uncertainty: first([
                    &self.target_variance,
                    &self.target_sigma,
                    &self.target_weight,
                ]),
                mask: self.target_mask.clone(),
                mask_bits: bits,
            },
        }
    }
}

/// `--mask-good-is`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MaskGood {
    /// Pixels of value 0.
    Zero,
    /// All others.
    Nonzero,
}

pub(super) fn positive_or_keyword(text: &str) -> Result<NumberOrKeyword, String> {
    number_or_keyword(text, |number| number > 0.0, "positive")
}

pub(super) fn not_negative_or_keyword(text: &str) -> Result<NumberOrKeyword, String> {
    number_or_keyword(text, |number| number >= 0.0, "zero or positive")
}

fn number_or_keyword(
    text: &str,
    valid: impl Fn(f64) -> bool,
    range: &str,
) -> Result<NumberOrKeyword, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && valid(number) => Ok(NumberOrKeyword::Number(number)),
        Ok(_) => Err(format!("a number given here must be {range}")),
        Err(_) if text.trim().is_empty() => Err("expected a number or a header keyword".into()),
        Err(_) => Ok(NumberOrKeyword::Keyword(text.to_string())),
    }
}
