//! Gain and read noise from what headers say of a detector.
//!
//! GAIN is the gain in e⁻/ADU, or a setting of the camera's amplifier, or what the detector had before the pixels were turned into electrons. So EGAIN, which
//! means one thing only, comes first; BUNIT tells whether the pixels are electrons; and what was not believed is said.

use anyhow::{Result, bail, ensure};

use crate::fits::Header;
use crate::input::Provenance;
use crate::notice::{Level, Notice};

/// Keywords that usually hold a gain in e⁻/ADU, in the order in which they are tried.
pub(crate) const GAIN_KEYWORDS: &[&str] = &[
    "EGAIN",
    "GAINADU",
    "GAIN",
    "CCDGAIN",
    "GAINEFF",
    "EPERADU",
    "ATODGAIN",
    "CELL.GAIN",
    "GAINA",
    "GAIN1",
    "ATODGNA",
    "ESO DET OUT1 CONAD",
    "CVF",
];

/// Keywords that usually hold a read noise in e⁻.
pub(crate) const READ_NOISE_KEYWORDS: &[&str] = &[
    "RDNOISE",
    "READNOIS",
    "READNOISE",
    "RON",
    "ENOISE",
    "READNOI",
    "RN",
    "CELL.READNOISE",
    "RDNOISEA",
    "RDNOISE1",
    "READNSEA",
    "ESO DET OUT1 RON",
];

/// Keywords that usually hold the exposure time in seconds.
const EXPOSURE_KEYWORDS: &[&str] =
    &["EXPTIME", "EXPOSURE", "EFFEXPTM", "XPOSURE", "TEXPTIME", "EXP_TIME", "ITIME"];

/// Keywords that usually hold a saturation level in ADU.
pub(crate) const SATURATION_KEYWORDS: &[&str] =
    &["SATURATE", "SATURATION", "SATLEVEL", "SATURLEV", "MAXLIN"];

/// A whole number of this range is hardly a gain in e⁻/ADU.
const LIKELY_SETTING: std::ops::RangeInclusive<f64> = 50.0..=10_000.0;

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
            None => {
                let rate = ["s-1", "s^-1", "s**-1", "s**(-1)"];
                match rate.iter().find_map(|rate| text.strip_suffix(rate)) {
                    Some(count) => (count.trim_end_matches(['.', '*']), true),
                    None => (text.as_str(), false),
                }
            }
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

/// The unit of the pixels by BUNIT; ADU where none is given.
pub(crate) fn unit(header: &Header) -> String {
    let unit = header.get_str("BUNIT").unwrap_or_default().trim().to_owned();
    if unit.is_empty() || unit.eq_ignore_ascii_case("adu") { "adu".into() } else { unit }
}

/// The mean over the amplifiers of a detector, where `keyword` is that of the first: GAINA, GAINB …, or GAIN1, GAIN2 …; with the names of all.
fn over_amplifiers(header: &Header, keyword: &str) -> Option<(String, f64)> {
    let first = header.get_number(keyword)?;
    let place = match keyword.find("OUT1") {
        Some(place) => place + 3,
        None => keyword.len() - 1,
    };
    let letter = keyword.as_bytes()[place];
    if !matches!(letter, b'1' | b'A') {
        return Some((keyword.to_owned(), first));
    }
    let (mut names, mut values) = (vec![keyword.to_owned()], vec![first]);
    for step in 1..4 {
        let next = char::from(letter + step);
        let other = format!("{}{next}{}", &keyword[..place], &keyword[place + 1..]);
        let Some(value) = header.get_number(&other) else { break };
        names.push(other);
        values.push(value);
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Some((names.join(", "), mean))
}

/// The numbers that the header has for `keywords`.
fn known(header: &Header, keywords: &[&str]) -> Vec<(String, f64)> {
    keywords.iter().filter_map(|keyword| over_amplifiers(header, keyword)).collect()
}

/// "GAIN = 100, EGAIN = 0.25", without the one that was taken.
fn others(known: &[(String, f64)], taken: &str) -> String {
    let others = known.iter().filter(|(keyword, _)| keyword != taken);
    others.map(|(keyword, value)| format!("{keyword} = {value}")).collect::<Vec<_>>().join(", ")
}

/// The gain in electrons per unit of the pixels, by the header.
///
/// # Errors
/// Where it has none, or what it has cannot be one.
pub(crate) fn gain(header: &Header, image: &str, notices: &mut Vec<Notice>) -> Result<Provenance> {
    let known = known(header, GAIN_KEYWORDS);
    let mut say = |level, text: String| {
        notices.push(Notice::new(level, "gain", format!("{image}: {text}")));
    };
    let exposure = EXPOSURE_KEYWORDS.iter().find_map(|keyword| {
        let seconds = header.get_number(keyword)?;
        (seconds.is_finite() && seconds > 0.0).then_some((*keyword, seconds))
    });
    let unit = Unit::of(header);
    match (unit, exposure) {
        (Unit::Electrons, _) => {
            if known.iter().any(|(_, value)| *value != 1.0) {
                let others = others(&known, "");
                say(
                    Level::Pass,
                    format!(
                        "the pixels are electrons (BUNIT), so the gain is 1; {others} not believed"
                    ),
                );
            }
            return Ok(Provenance { value: 1.0, source: "keyword BUNIT".into() });
        }
        (Unit::ElectronsPerSecond, Some((keyword, seconds))) => {
            let doubts = match known.as_slice() {
                [] => String::new(),
                known => format!("; {} not believed", others(known, "")),
            };
            let text = format!(
                "the pixels are electrons per second (BUNIT), so the gain is {keyword} = {seconds}{doubts}"
            );
            say(Level::Pass, text);
            let source = format!("keyword {keyword}");
            return Ok(Provenance { value: seconds, source });
        }
        _ => {}
    }
    let plausible = |(_, value): &&(String, f64)| value.is_finite() && *value > 0.0;
    let Some((keyword, value)) = known.iter().find(plausible) else {
        ensure!(known.is_empty(), "{} cannot be one, which is positive", others(&known, ""));
        let text = GAIN_KEYWORDS.iter().find_map(|keyword| Some((keyword, header.get(keyword)?.0)));
        match text {
            Some((keyword, value)) => bail!("{keyword} = {value} is not a number"),
            None => bail!("its header has none of the keywords {}", GAIN_KEYWORDS.join(", ")),
        }
    };
    let left = others(&known, keyword);
    if known.iter().any(|(_, other)| other != value) {
        say(Level::Pass, format!("the gain is {keyword} = {value} e⁻/ADU; {left} not believed"));
    } else if keyword == "GAIN" && value.fract() == 0.0 && LIKELY_SETTING.contains(value) {
        say(
            Level::Warn,
            format!(
                "GAIN = {value} was taken for e⁻/ADU, and is likely a setting of the camera; give the gain by an option"
            ),
        );
    }
    match (unit, exposure) {
        (Unit::CountsPerSecond, Some((seconds_keyword, seconds))) => {
            say(
                Level::Pass,
                format!(
                    "the pixels are counts per second (BUNIT): the gain is {keyword} times {seconds_keyword} = {seconds}"
                ),
            );
            let source = format!("keywords {keyword} and {seconds_keyword}");
            Ok(Provenance { value: value * seconds, source })
        }
        (Unit::ElectronsPerSecond | Unit::CountsPerSecond, None) => {
            say(
                Level::Pass,
                format!(
                    "the pixels are per second (BUNIT), but the header has none of {}: {keyword} = {value} was taken as the electrons per unit of the pixels",
                    EXPOSURE_KEYWORDS.join(", ")
                ),
            );
            Ok(Provenance { value: *value, source: format!("keyword {keyword}") })
        }
        _ => Ok(Provenance { value: *value, source: format!("keyword {keyword}") }),
    }
}

/// The read noise in electrons, by the header; 0, and said so, where it does not tell.
pub(crate) fn read_noise(
    header: &Header,
    image: &str,
    role: &str,
    notices: &mut Vec<Notice>,
) -> Provenance {
    let known = known(header, READ_NOISE_KEYWORDS);
    let mut say = |text: String| {
        let text = format!("{image}: {text}; give --{role}-read-noise");
        notices.push(Notice::new(Level::Pass, "read-noise", text));
    };
    let plausible = |(_, value): &&(String, f64)| value.is_finite() && *value > 0.0;
    if let Some((keyword, value)) = known.iter().find(plausible) {
        if known.iter().any(|(_, other)| other != value) {
            say(format!(
                "the read noise is {keyword} = {value} e⁻, and {} not believed",
                others(&known, keyword)
            ));
        }
        return Provenance { value: *value, source: format!("keyword {keyword}") };
    }
    if known.is_empty() {
        say("the read noise is not known, and taken for 0".into());
    } else {
        say(format!("{} is hardly the read noise, which is taken for 0", others(&known, "")));
    }
    Provenance { value: 0.0, source: "default".into() }
}

#[cfg(test)]
mod tests {
    use super::{gain, read_noise};
    use crate::fits::{Header, Value};
    use crate::notice::{Level, Notice};

    fn header(cards: &[(&str, Value)]) -> Header {
        let mut header = Header::new();
        for (keyword, value) in cards {
            header.set(keyword, value.clone(), "");
        }
        header
    }

    fn of(cards: &[(&str, Value)]) -> (Option<f64>, Vec<Notice>) {
        let mut notices = Vec::new();
        let gain = gain(&header(cards), "image", &mut notices);
        (gain.ok().map(|gain| gain.value), notices)
    }

    #[test]
    fn a_setting_or_an_impossible_gain_gives_way_to_egain() {
        for setting in [100.0, -25.0, 0.0, 1.3] {
            let (found, notices) = of(&[("GAIN", setting.into()), ("EGAIN", 0.25.into())]);
            assert_eq!(found, Some(0.25));
            assert!(notices[0].text.contains(&format!("GAIN = {setting}")));
        }
        let (setting, notices) = of(&[("GAIN", 120.0.into())]);
        assert_eq!((setting, notices[0].level), (Some(120.0), Level::Warn));
        assert_eq!(of(&[("GAIN", 1.3.into())]), (Some(1.3), Vec::new()));
        // An impossible EGAIN gives way, too; and where nothing is possible, all that there is is named.
        assert_eq!(of(&[("GAIN", 1.3.into()), ("EGAIN", 0.0.into())]).0, Some(1.3));
        let nothing = header(&[("GAIN", (-25.0).into()), ("EPERADU", 0.0.into())]);
        let error = gain(&nothing, "image", &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("GAIN = -25, EPERADU = 0"), "{error}");
        let error = gain(&Header::new(), "image", &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("none of the keywords EGAIN, GAINADU"), "{error}");
    }

    #[test]
    fn numbers_may_be_strings_with_units() {
        for text in ["1.5", " 1.5 e-/ADU", "1.5D0", "1.5 electrons/ADU"] {
            assert_eq!(of(&[("GAIN", text.into())]).0, Some(1.5), "{text}");
        }
        for text in ["high", "1 x 1", "nan", ""] {
            assert_eq!(of(&[("GAIN", text.into())]).0, None, "{text}");
        }
    }

    #[test]
    fn amplifiers_have_one_gain_together() {
        assert_eq!(of(&[("GAINA", 4.0.into()), ("GAINB", 4.2.into())]).0, Some(4.1));
        assert_eq!(
            of(&[("GAIN1", 2.0.into()), ("GAIN2", 3.0.into()), ("GAIN3", 4.0.into())]).0,
            Some(3.0)
        );
        let eso = [("ESO DET OUT1 CONAD", 1.0.into()), ("ESO DET OUT2 CONAD", 2.0.into())];
        assert_eq!(of(&eso).0, Some(1.5));
        let noise = header(&[("RDNOISEA", 7.0.into()), ("RDNOISEB", 6.0.into())]);
        assert_eq!(read_noise(&noise, "image", "target", &mut Vec::new()).value, 6.5);
    }

    #[test]
    fn a_read_noise_of_zero_is_never_silent() {
        for cards in [vec![], vec![("RDNOISE", 0.0.into())], vec![("RDNOISE", Value::from(-1.0))]] {
            let mut notices = Vec::new();
            assert_eq!(read_noise(&header(&cards), "image", "target", &mut notices).value, 0.0);
            assert!(
                notices[0].text.contains("taken for 0; give --target-read-noise"),
                "{notices:?}"
            );
        }
        let mut notices = Vec::new();
        let both = header(&[("RDNOISE", 0.0.into()), ("ENOISE", "5.0".into())]);
        assert_eq!(read_noise(&both, "image", "target", &mut notices).value, 5.0);
        assert!(notices[0].text.contains("RDNOISE = 0 not believed"), "{notices:?}");
    }

    #[test]
    fn units_say_what_is_counted() {
        let with = |unit: &str| {
            of(&[("GAIN", 1.9.into()), ("EXPTIME", 60.0.into()), ("BUNIT", unit.into())]).0
        };
        for unit in ["electron", "ELECTRONS", "e-"] {
            assert_eq!(with(unit), Some(1.0));
        }
        for unit in ["electron/s", "e-/sec", "ELECTRONS / S", "electron s-1", "electron.s**-1"] {
            assert_eq!(with(unit), Some(60.0), "{unit}");
        }
        assert_eq!(with("adu/s"), Some(114.0));
        assert_eq!(with("adu"), Some(1.9));
        assert_eq!(with("MJy/sr"), Some(1.9));
        // Other names of the exposure time; and none.
        let of_effective = of(&[("EFFEXPTM", 30.0.into()), ("BUNIT", "electron/s".into())]);
        assert_eq!(of_effective.0, Some(30.0));
        assert_eq!(of(&[("BUNIT", "electron/s".into())]).0, None);
        let (gain, notices) = of(&[("GAIN", 1.9.into()), ("BUNIT", "electron/s".into())]);
        assert!(gain == Some(1.9) && notices[0].text.contains("none of EXPTIME"));
    }
}
