//! What is said on the terminal.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line.
///
/// # Errors
/// Those of the standard output, which may be a closed pipe or a full disk; `println!` would panic.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Whether the command failed only because nobody reads its output any more.
pub(crate) fn reader_has_gone(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// An error and its causes in one line, without the causes that the words before them already tell.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// A value and its standard deviation with two digits of the latter: "0.9981 ± 0.0023", "(1.23 ± 0.05)e-16".
pub(crate) fn with_sigma(value: f64, sigma: f64) -> String {
    if !(value.is_finite() && sigma.is_finite() && sigma > 0.0) {
        return format!("{value} ± {sigma}");
    }
    let of_sigma = sigma.log10().floor();
    let largest = value.abs().max(sigma).log10().floor();
    let unit = if (-4.0..6.0).contains(&largest) { 0.0 } else { largest };
    let digits = (1.0 - of_sigma + unit).clamp(0.0, 17.0) as usize;
    let power = 10_f64.powi(unit as i32);
    let numbers = format!("{:.digits$} ± {:.digits$}", value / power, sigma / power);
    if unit == 0.0 { numbers } else { format!("({numbers})e{unit}") }
}

/// A number with six digits: "0.998123", "233319", "1.23456e-16".
pub(crate) fn six_digits(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        return format!("{value}");
    }
    if !(1e-4..1e6).contains(&size) {
        return format!("{value:.5e}");
    }
    let digits = (5.0 - size.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::{chain, six_digits, with_sigma};

    #[test]
    fn numbers_have_six_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-31.0, "-31"),
            (0.998_123_4, "0.998123"),
            (-1.5, "-1.50000"),
            (0.000_123_456_7, "0.000123457"),
            (999_999.7, "1000000"),
            (1.234_567e-16, "1.23457e-16"),
            (1.5e7 + 0.5, "1.50000e7"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(six_digits(value), text);
        }
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk full").context("cannot write a.fits: disk full; free some space");
        assert_eq!(chain(&error), "cannot write a.fits: disk full; free some space");
        let error: anyhow::Result<()> = Err(anyhow!("disk full")).context("cannot write a.fits");
        assert_eq!(chain(&error.unwrap_err()), "cannot write a.fits: disk full");
    }

    #[test]
    fn two_digits_of_the_deviation_are_shown() {
        for (value, sigma, text) in [
            (0.99812, 0.00234, "0.9981 ± 0.0023"),
            (-0.000_123, 0.000_045_6, "-0.000123 ± 0.000046"),
            (1.2351e-16, 5.1e-18, "(1.235 ± 0.051)e-16"),
            (201.23, 0.85, "201.23 ± 0.85"),
            (4.56e9, 3.2e7, "(4.560 ± 0.032)e9"),
            (12.0, 340.0, "12 ± 340"),
            (0.0, 1e-9, "(0.0 ± 1.0)e-9"),
        ] {
            assert_eq!(with_sigma(value, sigma), text);
        }
        assert_eq!(with_sigma(1.0, f64::NAN), "1 ± NaN");
    }
}
