//! When an exposure was taken: the middle of it, as a modified Julian date in the time scale that the header names.

use serde::{Deserialize, Serialize};

use crate::fits::Header;

/// A time as the header tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Time {
    /// Modified Julian date of the middle of the exposure, in days.
    pub(super) mjd: Option<f64>,
    /// Of what it is made, for the table.
    pub(super) source: String,
    /// TIMESYS, `UTC` where none is named.
    pub(super) scale: String,
    /// Exposure time in seconds.
    pub(super) exposure: Option<f64>,
}

/// Keywords of the middle itself, of the beginning as a number, and of the exposure time.
const MIDDLE: [&str; 3] = ["MJD-AVG", "MJDMID", "MJD-MID"];
const BEGIN: [&str; 4] = ["MJD-OBS", "MJD-BEG", "MJD", "MJDSTART"];
const EXPOSURE: [&str; 4] = ["EXPTIME", "EXPOSURE", "XPOSURE", "ELAPTIME"];
const CLOCK: [&str; 5] = ["UT", "UTC", "TIME-OBS", "UTSTART", "UTC-OBS"];

impl Time {
    /// Of a header: the middle where it is given, else the beginning and half of the exposure time, which is none where the header does not tell it.
    pub(super) fn of(header: &Header) -> Self {
        let number = |keyword: &&str| header.get_number(keyword).filter(|value| value.is_finite());
        let first = |keywords: &[&'static str]| -> Option<(&'static str, f64)> {
            keywords.iter().find_map(|keyword| Some((*keyword, number(keyword)?)))
        };
        let scale = header.get_str("TIMESYS").map(|scale| scale.trim().to_ascii_uppercase());
        let exposure = first(&EXPOSURE).map(|(_, seconds)| seconds).filter(|s| *s >= 0.0);
        let mut time = Self {
            scale: scale.filter(|scale| !scale.is_empty()).unwrap_or_else(|| "UTC".into()),
            exposure,
            ..Self::default()
        };
        if let Some((keyword, mjd)) = first(&MIDDLE) {
            (time.mjd, time.source) = (Some(mjd), keyword.into());
            return time;
        }
        let begin = first(&BEGIN).map(|(keyword, mjd)| (keyword.to_owned(), mjd)).or_else(|| {
            let date = header.get_str("DATE-OBS").or_else(|| header.get_str("DATE-BEG"))?;
            if date.contains('T') {
                return Some(("DATE-OBS".into(), of_text(&date)?));
            }
            // Without a clock the date is a day wide, which is no time.
            let clock = CLOCK.iter().find_map(|keyword| Some((keyword, header.get_str(keyword)?)));
            let (keyword, clock) = clock?;
            let time = of_text(&format!("{}T{}", date.trim(), clock.trim()))?;
            Some((format!("DATE-OBS, {keyword}"), time))
        });
        if let Some((source, mjd)) = begin {
            time.mjd = Some(mjd + exposure.unwrap_or(0.0) / 2.0 / 86_400.0);
            time.source = match exposure {
                Some(_) => format!("{source} + EXPTIME/2"),
                None => format!("{source}, the beginning"),
            };
        }
        time
    }
}

/// The modified Julian date of `yyyy-mm-ddThh:mm:ss.s`, also of `dd/mm/yy`, as old headers have it for the years 1900 to 1999.
fn of_text(text: &str) -> Option<f64> {
    let (date, clock) = text.split_once('T')?;
    let numbers = |text: &str, mark: char| -> Option<Vec<f64>> {
        text.split(mark).map(|part| part.trim().parse().ok()).collect()
    };
    let (year, month, day) = if let Some([year, month, day]) = numbers(date, '-').as_deref() {
        (*year, *month, *day)
    } else if let Some([day, month, year]) = numbers(date, '/').as_deref() {
        (1900.0 + year, *month, *day)
    } else {
        return None;
    };
    let clock = numbers(clock.trim_end_matches('Z'), ':')?;
    let [hour, minute, second] = [0, 1, 2].map(|place| clock.get(place).copied().unwrap_or(0.0));
    let whole = |value: f64, range: std::ops::RangeInclusive<f64>| {
        value.fract() == 0.0 && range.contains(&value)
    };
    let valid = whole(year, 1858.0..=3000.0)
        && whole(month, 1.0..=12.0)
        && whole(day, 1.0..=31.0)
        && (0.0..=24.0).contains(&hour)
        && (0.0..60.0).contains(&minute)
        && (0.0..61.0).contains(&second);
    valid.then(|| {
        let days = julian_day(year as i64, month as i64, day as i64) - 2_400_001;
        days as f64 + (hour + (minute + second / 60.0) / 60.0) / 24.0
    })
}

/// The Julian day number that begins at noon of a day of the Gregorian calendar (Fliegel & Van Flandern 1968, CACM 11, 657).
fn julian_day(year: i64, month: i64, day: i64) -> i64 {
    let a = (month - 14) / 12;
    (1461 * (year + 4800 + a)) / 4 + (367 * (month - 2 - 12 * a)) / 12
        - (3 * ((year + 4900 + a) / 100)) / 4
        + day
        - 32_075
}

#[cfg(test)]
mod tests {
    use super::{Time, of_text};
    use crate::fits::Header;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // J2000.0 is MJD 51544.5; MJD 0 is 1858-11-17; 2013-06-27T23:13:12 is MJD 56470.9675.
        assert_eq!(of_text("2000-01-01T12:00:00"), Some(51_544.5));
        assert_eq!(of_text("1858-11-17T00:00:00"), Some(0.0));
        assert_eq!(of_text("2024-02-29T00:00:00Z"), Some(60_369.0));
        assert!((of_text("2013-06-27T23:13:12").unwrap() - 56_470.967_5).abs() < 1e-9);
        assert_eq!(of_text("27/06/99T00:00:00"), Some(51_356.0));
        for bad in ["2013-13-01T00:00:00", "2013-06-27", "2013-06-27T25:00:00", "yesterdayT1:2:3"] {
            assert_eq!(of_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_middle_is_half_an_exposure_after_the_beginning() {
        let mut header = Header::new();
        assert_eq!(Time::of(&header).mjd, None);
        header.set("DATE-OBS", "2013-06-27", "");
        // A date alone is no time.
        assert_eq!(Time::of(&header).mjd, None);
        header.set("UT", "23:13:12", "");
        header.set("EXPTIME", 300.0, "");
        let time = Time::of(&header);
        assert!((time.mjd.unwrap() - 56_470.967_5 - 150.0 / 86_400.0).abs() < 1e-9);
        assert_eq!(
            (time.source.as_str(), time.scale.as_str()),
            ("DATE-OBS, UT + EXPTIME/2", "UTC")
        );
        header.set("MJD-OBS", 56_470.0, "");
        header.set("TIMESYS", "TDB", "");
        let time = Time::of(&header);
        assert_eq!((time.mjd, time.scale.as_str()), (Some(56_470.0 + 150.0 / 86_400.0), "TDB"));
        header.set("MJD-AVG", 56_471.0, "");
        assert_eq!(Time::of(&header).mjd, Some(56_471.0));
    }
}
