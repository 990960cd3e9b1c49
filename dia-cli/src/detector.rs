//! Gain and read noise from what headers say of a detector.
//!
//! GAIN is the gain in e⁻/ADU, or a setting of the camera's amplifier, or what the detector had before the pixels were turned into electrons. So EGAIN, which
//! means one thing only, comes first; BUNIT tells whether the pixels are electrons; and what was not believed is said.

use crate::fits::Header;
use crate::input::Provenance;
use crate::notice::{Level, Notice};

/// Keywords that usually hold a gain in e⁻/ADU, in the order in which they are tried.
pub(crate) const GAIN_KEYWORDS: &[&str] = &[
    "EGAIN",
    "GAIN",
    "CCDGAIN",
    "GAINEFF",
    "EPERADU",
    "ATODGAIN",
    "GAINA",
    "GAIN1",
    "CELL.GAIN",
    "ESO DET OUT1 CONAD",
];

/// Keywords that usually hold a read noise in e⁻.
pub(crate) const READ_NOISE_KEYWORDS: &[&str] = &[
    "RDNOISE",
    "READNOIS",
    "READNOISE",
    "RON",
    "ENOISE",
    "READNOI",
    "RDNOISEA",
    "RDNOISE1",
    "CELL.READNOISE",
    "ESO DET OUT1 RON",
];

/// Keywords that usually hold a saturation level in ADU.
pub(crate) const SATURATION_KEYWORDS: &[&str] =
    &["SATURATE", "SATURATION", "SATLEVEL", "SATURLEV", "MAXLIN"];

/// A GAIN of this many e⁻/ADU is hardly one.
const LIKELY_SETTING: f64 = 50.0;

/// What the pixels count, by BUNIT.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Electrons,
    ElectronsPerSecond,
    CountsPerSecond,
    Other,
}

impl Unit {
    fn of(header: &Header) -> Self {
        let text = header.get_str("BUNIT").unwrap_or_default().to_lowercase();
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (count, per_second) = match text.split_once('/') {
            Some((count, "s" | "sec" | "second" | "seconds")) => (count, true),
            Some(_) => return Self::Other,
            None => match text.strip_suffix("s-1").or_else(|| text.strip_suffix("s**-1")) {
                Some(count) => (count, true),
                None => (text.as_str(), false),
            },
        };
        match (count, per_second) {
            ("e" | "e-" | "electron" | "electrons" | "photoelectron" | "photoelectrons", false) => {
                Self::Electrons
            }
            ("e" | "e-" | "electron" | "electrons", true) => Self::ElectronsPerSecond,
            ("adu" | "dn" | "count" | "counts" | "ct" | "cts", true) => Self::CountsPerSecond,
            _ => Self::Other,
        }
    }
}

/// The gain in electrons per unit of the pixels, by the header.
pub(crate) fn gain(header: &Header, image: &str, notices: &mut Vec<Notice>) -> Option<Provenance> {
    let known: Vec<(&str, f64)> = GAIN_KEYWORDS
        .iter()
        .filter_map(|keyword| Some((*keyword, header.get_number(keyword)?)))
        .collect();
    let plausible = |(_, value): &&(&str, f64)| value.is_finite() && *value > 0.0;
    let others = |taken: &str| {
        let others = known.iter().filter(|(keyword, _)| *keyword != taken);
        others.map(|(keyword, value)| format!("{keyword} = {value}")).collect::<Vec<_>>().join(", ")
    };
    let mut say = |level, text: String| {
        notices.push(Notice::new(level, "gain", format!("{image}: {text}")));
    };
    let exposure = header.get_number("EXPTIME").filter(|seconds| *seconds > 0.0);
    let unit = Unit::of(header);
    match (unit, exposure) {
        (Unit::Electrons, _) => {
            if known.iter().any(|(_, value)| *value != 1.0) {
                say(
                    Level::Pass,
                    format!(
                        "the pixels are electrons (BUNIT), so the gain is 1; {} not believed",
                        others("")
                    ),
                );
            }
            return Some(Provenance { value: 1.0, source: "keyword BUNIT".into() });
        }
        (Unit::ElectronsPerSecond, Some(seconds)) => {
            say(
                Level::Pass,
                format!(
                    "the pixels are electrons per second (BUNIT), so the gain is EXPTIME = {seconds}"
                ),
            );
            return Some(Provenance { value: seconds, source: "keyword EXPTIME".into() });
        }
        _ => {}
    }
    let (keyword, value) = *known.iter().find(plausible)?;
    let left = others(keyword);
    if known.iter().any(|(_, other)| *other != value) {
        say(Level::Pass, format!("the gain is {keyword} = {value} e⁻/ADU; {left} not believed"));
    } else if keyword == "GAIN" && value >= LIKELY_SETTING {
        say(
            Level::Warn,
            format!(
                "GAIN = {value} was taken for e⁻/ADU, and is likely a setting of the camera; give the gain by an option"
            ),
        );
    }
    match (unit, exposure) {
        (Unit::CountsPerSecond, Some(seconds)) => {
            say(
                Level::Pass,
                format!(
                    "the pixels are counts per second (BUNIT): the gain is {keyword} times EXPTIME = {seconds}"
                ),
            );
            Some(Provenance {
                value: value * seconds,
                source: format!("keywords {keyword} and EXPTIME"),
            })
        }
        _ => Some(Provenance { value, source: format!("keyword {keyword}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::gain;
    use crate::fits::{Header, Value};
    use crate::notice::{Level, Notice};

    fn of(cards: &[(&str, Value)]) -> (Option<f64>, Vec<Notice>) {
        let (mut header, mut notices) = (Header::new(), Vec::new());
        for (keyword, value) in cards {
            header.set(keyword, value.clone(), "");
        }
        (gain(&header, "image", &mut notices).map(|gain| gain.value), notices)
    }

    #[test]
    fn a_setting_or_an_impossible_gain_gives_way_to_egain() {
        for setting in [100.0, -25.0, 0.0, 1.3] {
            let (gain, notices) = of(&[("GAIN", setting.into()), ("EGAIN", 0.25.into())]);
            assert_eq!(gain, Some(0.25));
            assert!(notices[0].text.contains(&format!("GAIN = {setting}")));
        }
        let (gain, notices) = of(&[("GAIN", 120.0.into())]);
        assert_eq!((gain, notices[0].level), (Some(120.0), Level::Warn));
        assert_eq!(of(&[("GAIN", 1.3.into())]), (Some(1.3), Vec::new()));
        assert_eq!(of(&[("GAIN", (-25.0).into())]).0, None);
    }

    #[test]
    fn numbers_may_be_strings() {
        assert_eq!(of(&[("GAIN", "1.5".into())]).0, Some(1.5));
        assert_eq!(of(&[("GAIN", " 1.5 e-/ADU".into())]).0, None);
    }

    #[test]
    fn units_say_what_is_counted() {
        let with = |unit: &str| {
            of(&[("GAIN", 1.9.into()), ("EXPTIME", 60.0.into()), ("BUNIT", unit.into())]).0
        };
        for unit in ["electron", "ELECTRONS", "e-"] {
            assert_eq!(with(unit), Some(1.0));
        }
        for unit in ["electron/s", "e-/sec", "ELECTRONS / S", "electron s-1"] {
            assert_eq!(with(unit), Some(60.0), "{unit}");
        }
        assert_eq!(with("adu/s"), Some(114.0));
        assert_eq!(with("adu"), Some(1.9));
        assert_eq!(with("MJy/sr"), Some(1.9));
    }
}
