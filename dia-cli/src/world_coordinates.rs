//! Which cards of a header say where its pixels lie on the sky.

use crate::fits::Header;

/// Their names, # a number, without the letter of an alternative description at the end: the standard (Greisen & Calabretta 2002 and what followed), its
/// predecessors, the polynomials of SIP, TPV, TNX and ZPX, the plate solutions of the Digitized Sky Survey, and the frame's epoch.
const NAMES: &[&str] = &[
    "WCSAXES", "WCSNAME", "WCSDIM", "CTYPE#", "CRVAL#", "CRPIX#", "CDELT#", "CROTA#", "CUNIT#",
    "CNAME#", "CRDER#", "CSYER#", "CD#_#", "PC#_#", "PV#_#", "PS#_#", "CD#", "PC#", "PROJP#",
    "LONGPOLE", "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX", "EPOCH", "DATE-OBS",
    "MJD-OBS", "TIMESYS", "SPECSYS", "RESTFRQ", "RESTWAV", "A_#_#", "B_#_#", "AP_#_#", "BP_#_#",
    "A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER", "A_DMAX", "B_DMAX", "WAT#_#", "LTM#_#", "LTV#",
    "DTM#_#", "DTV#", "AMDX#", "AMDY#", "PPO#", "CNPIX#", "XPIXELSZ", "YPIXELSZ", "PLTRAH",
    "PLTRAM", "PLTRAS", "PLTDECSN", "PLTDECD", "PLTDECM", "PLTDECS", "PLTSCALE", "OBJCTX",
    "OBJCTY",
];

/// The cards of `header` that belong to its world coordinates, as they stand.
pub(crate) fn of(header: &Header) -> Header {
    let mut cards = header.clone();
    cards.retain(is_one);
    cards
}

fn is_one(keyword: &str) -> bool {
    let mut name = String::new();
    for char in keyword.chars() {
        match char {
            '0'..='9' if name.ends_with('#') => {}
            '0'..='9' => name.push('#'),
            other => name.push(other),
        }
    }
    let primary = name.strip_suffix(|char: char| char.is_ascii_uppercase());
    [Some(name.as_str()), primary].into_iter().flatten().any(|name| NAMES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::is_one;

    #[test]
    fn all_descriptions_are_known_and_nothing_else() {
        for keyword in [
            "CTYPE1", "CRVAL2A", "CD1_2", "CD2_1B", "PC1_1", "PC001002", "PV1_10", "PV2_3A",
            "A_ORDER", "A_2_0", "BP_0_12", "A_DMAX", "WAT0_001", "WAT2_012", "EPOCH", "RADECSYS",
            "RADESYSA", "LTV1", "LTM1_1", "WCSAXES", "WCSNAMEB", "AMDX13", "CROTA2",
        ] {
            assert!(is_one(keyword), "{keyword}");
        }
        for keyword in [
            "GAIN", "COMMENT", "HISTORY", "", "FILTER1", "A", "CD", "PCOUNT", "NAXIS1", "BZERO",
            "WATER", "OBJECT",
        ] {
            assert!(!is_one(keyword), "{keyword}");
        }
    }
}
